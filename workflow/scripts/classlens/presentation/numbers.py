"""The numbers that a figure or table shows, from files of the models that it shows."""

from pathlib import Path
from typing import Any

import polars as pl

from classlens.presentation import series
from classlens.presentation.series import Data
from classlens.protocol import Protocol
from classlens.storage import parquet


def numbers(data: Data, inputs: dict[str, list[Path]], models: list[dict[str, Any]], protocol: str, seed: int) -> pl.DataFrame:
    """Return what `data` makes of some files, with the protocol and the seed in every row.

    Args:
        data: makes the numbers.
        inputs: files by name, one of each model; `tables` are the measures themselves.
        models: name, label, twin_of and twins of each.
        protocol: its name.
        seed: seed of resampling and permutations.

    Raises:
        InputError: a file is damaged.
    """
    further = {name: [parquet.read_table(path) for path in paths] for name, paths in inputs.items() if name != "tables"}
    frame = data(series.read(models, inputs["tables"]), further, Protocol.named(protocol), seed)
    return frame.with_columns(pl.lit(seed).alias("seed"), pl.lit(protocol).alias("protocol"))
