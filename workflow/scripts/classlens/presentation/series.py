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
        label: its name in figures and tables.
        twin_of: name of the model whose random twin this is, or None.
        frame: its measures; for most analyses, rows (tokens, image, block).
        metadata: metadata of their file.
        twins: names of the random twins to compare it with.
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
"""Further tables by name: one per model, or an empty list if any model lacks the table."""

Data = Callable[[list[Series], Inputs, Protocol, int], pl.DataFrame]
"""A function that computes a figure's or table's numbers from series, further inputs, protocol and seed."""


def read(models: list[dict[str, Any]], tables: list[Path]) -> list[Series]:
    """Return the measures of models, in the order of the config.

    Args:
        models: name, label, twin_of and twins of each model.
        tables: file with the measures per image of each model.

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
    """Return the series that are not random twins."""
    return [series for series in among if series.twin_of is None]


def twins(of: Series, among: list[Series]) -> list[Series]:
    """Return the random twins of a model among these series."""
    return [series for series in among if series.name in of.twins]


def block_means(frame: pl.DataFrame, measure: str) -> pl.DataFrame:
    """Return rows (tokens, block) with the mean of a measure over all tokens, from rows (tokens, image, block) with n."""
    value, n = pl.col(measure), pl.col("n")
    return frame.drop_nulls(measure).group_by("tokens", "block").agg(((value * n).sum() / n.sum()).alias("mean"))


def twin_range(values: list[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    """Return mean, smallest and largest value of a model's random twins over their seeds.

    Args:
        values: rows of each twin, with the keys and a column `mean`.
        keys: columns that identify a row.

    Returns:
        the keys with twins_mean, twins_low, twins_high and seeds (number of twins).
    """
    value = pl.col("mean")
    every = [value.mean().alias("twins_mean"), value.min().alias("twins_low"), value.max().alias("twins_high"), pl.len().alias("seeds")]
    return pl.concat([frame.select(*keys, value) for frame in values]).group_by(keys).agg(every)


def beside_twins(frame: pl.DataFrame, values: list[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    """Return a model's rows with the columns of `twin_range`; without twins they are null, and `seeds` is 0."""
    if values:
        return frame.join(twin_range(values, keys), on=keys, how="left", maintain_order="left")
    return frame.with_columns(
        *(pl.lit(None, pl.Float64).alias(f"twins_{name}") for name in ("mean", "low", "high")), pl.lit(0, pl.UInt32).alias("seeds")
    )


def paired_blocks(frame: pl.DataFrame, measure: str) -> pl.DataFrame:
    """Return the measures of a 24-block model averaged over pairs of blocks, as in the published figures, or of others unchanged."""
    if frame["block"].max() != 23:
        return frame
    keys = ["tokens", "image_id", pl.col("block") // 2]
    return frame.group_by(keys, maintain_order=True).agg(pl.col("n").first(), pl.col(measure).mean())


def depth_axis(series: list[Series], protocol: Protocol) -> bool:
    """Return whether the models differ in depth, so that curves need an axis of relative depth."""
    depths = {12 if protocol.pair_blocks_of_deep_models and item.depth == 24 else item.depth for item in series}
    return len(depths) > 1


def labelled(frame: pl.DataFrame, series: Series) -> pl.DataFrame:
    """Return the rows of one model with the columns model, label and random in front."""
    names = [pl.lit(series.name).alias("model"), pl.lit(series.label).alias("label"), pl.lit(series.twin_of is not None).alias("random")]
    return frame.select(*names, pl.all())
