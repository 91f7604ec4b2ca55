"""The numbers of a figure or table, computed from the files of its models."""

from pathlib import Path
from typing import Any

import polars as pl

from classlens.presentation import series
from classlens.presentation.series import Data
from classlens.protocol import Protocol
from classlens.storage import parquet


def numbers(data: Data, inputs: dict[str, list[Path]], models: list[dict[str, Any]], protocol: str, seed: int) -> pl.DataFrame:
    """Return the numbers that `data` computes from files, with the protocol and the seed in every row.

    Args:
        data: computes the numbers.
        inputs: files by name, one per model; `tables` are the measures themselves.
        models: name, label, twin_of and twins of each model.
        protocol: name of the protocol.
        seed: seed of resampling and permutations.

    Raises:
        InputError: a file is damaged.
    """
    further = {name: [parquet.read_table(path) for path in paths] for name, paths in inputs.items() if name != "tables"}
    frame = data(series.read(models, inputs["tables"]), further, Protocol.named(protocol), seed)
    return frame.with_columns(pl.lit(seed).alias("seed"), pl.lit(protocol).alias("protocol"))
