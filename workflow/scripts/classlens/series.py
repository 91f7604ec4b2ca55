"""The models that a figure or table compares, with their measures per image."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from classlens import cli, storage
from classlens.protocol import Protocol


@dataclass(frozen=True)
class Series:
    """One model's measures.

    Attributes:
        name: the model's name in the config.
        label: its name for people.
        twin_of: name of the model that it is the random twin of, or None.
        frame: its measures; of most analyses rows (tokens, image, block).
        metadata: what the file says about them.
        twin: name of the random twin that it is compared with, or None.
    """

    name: str
    label: str
    twin_of: str | None
    frame: pl.DataFrame
    metadata: dict[str, str]
    twin: str | None = None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.metadata["classes"])

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return int(self.frame["block"].to_numpy().max()) + 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments from which `from_arguments` makes a list of series."""
    parser.add_argument(
        "--models", type=cli.json_argument, required=True, help="name, label, twin_of and twin of each model, as a JSON list"
    )
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="measures per image of each model")
    parser.add_argument("--seed", type=int, default=0, help="seed of resampling and permutations")


def from_arguments(args: argparse.Namespace) -> list[Series]:
    """The series that a program was given, in the order of the config.

    Raises:
        InputError: a table is damaged.
    """
    result = []
    for model, path in zip(args.models, args.tables, strict=True):
        table = storage.read_table(path)
        metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        result.append(Series(model["name"], model["label"], model["twin_of"], pl.DataFrame(table), metadata, model["twin"]))
    return result


def twin(of: Series, among: list[Series]) -> Series | None:
    """The random twin that a model is compared with, if it is among these."""
    return next((series for series in among if series.name == of.twin), None)


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
