"""The models that a figure or table compares, with their measures per image."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from classlens.protocol import Protocol
from classlens.storage import parquet


@dataclass(frozen=True)
class Series:
    """One model's measures.

    Attributes:
        name: the model's name in the config.
        label: its name for people.
        twin_of: name of the model that it is the random twin of, or None.
        frame: its measures; of most analyses rows (tokens, image, block).
        metadata: what the file says about them.
        twins: names of the random twins that it is compared with.
    """

    name: str
    label: str
    twin_of: str | None
    frame: pl.DataFrame
    metadata: dict[str, str]
    twins: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.metadata["classes"])

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return int(self.frame["block"].to_numpy().max()) + 1


Inputs = dict[str, list[pa.Table]]
"""Tables besides the series' own, by name: one per model, or none where some model lacks it."""

Data = Callable[[list[Series], Inputs, Protocol, int], pl.DataFrame]
"""Makes a figure's or table's numbers from series, further inputs, protocol and seed."""


def read(models: list[dict[str, Any]], tables: list[Path]) -> list[Series]:
    """Return the measures of models, in the order of the config.

    Args:
        models: name, label, twin_of and twins of each.
        tables: measures per image of each.

    Raises:
        InputError: a table is damaged.
    """
    result = []
    for model, path in zip(models, tables, strict=True):
        table = parquet.read_table(path)
        metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        result.append(Series(model["name"], model["label"], model["twin_of"], pl.DataFrame(table), metadata, tuple(model["twins"])))
    return result


def models_only(among: list[Series]) -> list[Series]:
    """Return the series that are no random twins."""
    return [series for series in among if series.twin_of is None]


def twins(of: Series, among: list[Series]) -> list[Series]:
    """Return the random twins that a model is compared with, of those that are among these."""
    return [series for series in among if series.name in of.twins]


def block_means(frame: pl.DataFrame, measure: str) -> pl.DataFrame:
    """Return the mean of a measure over all tokens, rows (tokens, block) with column mean, of rows (tokens, image, block) with n."""
    value, n = pl.col(measure), pl.col("n")
    return frame.drop_nulls(measure).group_by("tokens", "block").agg(((value * n).sum() / n.sum()).alias("mean"))


def twin_range(values: list[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    """Return mean, smallest and largest value of a model's random twins over their seeds.

    Args:
        values: of each twin, rows with the keys and a column `mean`.
        keys: columns that tell rows apart.

    Returns:
        the keys with twins_mean, twins_low, twins_high and seeds (number of twins).
    """
    value = pl.col("mean")
    every = [value.mean().alias("twins_mean"), value.min().alias("twins_low"), value.max().alias("twins_high"), pl.len().alias("seeds")]
    return pl.concat([frame.select(*keys, value) for frame in values]).group_by(keys).agg(every)


def beside_twins(frame: pl.DataFrame, values: list[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    """Return a model's rows with the columns of `twin_range`, which are null (and `seeds` 0) where it has no twins."""
    if values:
        return frame.join(twin_range(values, keys), on=keys, how="left", maintain_order="left")
    return frame.with_columns(
        *(pl.lit(None, pl.Float64).alias(f"twins_{name}") for name in ("mean", "low", "high")), pl.lit(0, pl.UInt32).alias("seeds")
    )


def paired_blocks(frame: pl.DataFrame, measure: str) -> pl.DataFrame:
    """A 24-block model's measures with pairs of blocks averaged, as the published figures draw them; others unchanged."""
    if frame["block"].max() != 23:
        return frame
    keys = ["tokens", "image_id", pl.col("block") // 2]
    return frame.group_by(keys, maintain_order=True).agg(pl.col("n").first(), pl.col(measure).mean())


def depth_axis(series: list[Series], protocol: Protocol) -> bool:
    """Whether curves must be drawn over relative depth, because the models differ in theirs."""
    depths = {12 if protocol.pair_blocks_of_deep_models and item.depth == 24 else item.depth for item in series}
    return len(depths) > 1


def labelled(frame: pl.DataFrame, series: Series) -> pl.DataFrame:
    """Rows of one model with columns that name it in front."""
    names = [pl.lit(series.name).alias("model"), pl.lit(series.label).alias("label"), pl.lit(series.twin_of is not None).alias("random")]
    return frame.select(*names, pl.all())
