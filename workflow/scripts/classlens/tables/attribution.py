"""T9: the components that write most into the logit of the true class, and the classes that each writes most.

Source: Elhage et al., 2021; Gandelsman, Efros & Steinhardt, ICLR 2024.
"""

import polars as pl

from classlens import statistics
from classlens.data.manifest_classes import classes_of
from classlens.presentation.effects import by_component
from classlens.presentation.series import Inputs, Series, labelled
from classlens.presentation.texts import DIGITS
from classlens.protocol import Protocol

SHOWN = 10
"""Number of components of each model."""
CLASSES = 3
"""Number of classes of each component."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, component): the components with the largest absolute mean over images, the largest first.

    Columns are component, block and head (from 1), the mean of what the component adds to the logit of the true class (relative to the mean
    over classes) with its 95 % interval, and the classes whose own logit it raises most, with the means over their images.
    """
    frames = []
    for item, manifest in zip(series, inputs["manifest"], strict=True):
        names = [name for _, name in classes_of(manifest)]
        terms = item.frame.cast({"component": pl.String}).filter(pl.col("component").is_in(["head", "mlp"]))
        frames.append(labelled(_strongest(terms, names, seed), item))
    return pl.concat(frames)


def _strongest(terms: pl.DataFrame, names: list[str], seed: int) -> pl.DataFrame:
    keys = ["component", "block", "head"]
    places, values = by_component(terms, keys, "logit")
    found = statistics.mean_interval(values, seed, "mean")
    columns = {"logit": found.mean, "logit_low": found.low, "logit_high": found.high, "images": found.n}
    most = places.with_columns(**columns).sort(pl.col("logit").abs(), descending=True, maintain_order=True).head(SHOWN)
    of_class = terms.group_by(*keys, "class_index").agg(pl.col("logit").mean().alias("of_class"))
    best = of_class.sort("of_class", "class_index", descending=[True, False]).group_by(keys, maintain_order=True).head(CLASSES)
    number = pl.col("of_class").cast(pl.Float64).round_sig_figs(DIGITS).cast(pl.String)
    words = pl.col("class_index").replace_strict(dict(enumerate(names)), return_dtype=pl.String) + " " + number
    told = best.with_columns(words.alias("classes")).group_by(keys, maintain_order=True).agg(pl.col("classes").str.join("; "))
    joined = most.join(told, on=keys, maintain_order="left").with_columns(pl.col("block") + 1)
    return joined.with_columns(pl.when(pl.col("head") >= 0).then(pl.col("head") + 1).alias("head"))
