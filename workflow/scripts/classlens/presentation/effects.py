"""Terms and effects of a model's components, image by image, for figures and tables."""

import numpy as np
import polars as pl

KEYS = ["part", "block", "head"]


def by_component(frame: pl.DataFrame, keys: list[str], value: str) -> tuple[pl.DataFrame, np.ndarray]:
    """Return the components, rows with the keys, and the values of each image, [image, component], from rows (image, component)."""
    wide = frame.sort("image_id").pivot("image_id", index=keys, values=value).sort(keys)
    return wide.select(keys), wide.drop(keys).cast(pl.Float64).to_numpy().T


def effects_of(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """Return the components of a model, and their effects on each image.

    Args:
        frame: rows (kind, part, block, head, image) with logit and correct, from `ablation`.

    Returns:
        rows (part, block, head), and arrays [image, component] by name: `direct` and `total`, by how much the true class's logit is lower
        without the component; and `accuracy`, 1 where only the output of the whole model is right, -1 where only the other one is.
    """
    whole = frame.filter(kind="none").select("image_id", pl.col("logit").alias("whole"), pl.col("correct").alias("right"))
    measured = frame.filter(pl.col("kind").is_in(["direct", "total"])).join(whole, on="image_id")
    lost = measured.with_columns(
        (pl.col("whole") - pl.col("logit")).alias("loss"),
        (pl.col("right").cast(pl.Int8) - pl.col("correct").cast(pl.Int8)).alias("accuracy"),
    )
    of_total = lost.filter(kind="total")
    both = lost.filter(kind="direct").join(of_total.select("image_id").unique(), on="image_id", how="semi")
    found = {
        name: by_component(part, KEYS, value)
        for name, part, value in (("direct", both, "loss"), ("total", of_total, "loss"), ("accuracy", of_total, "accuracy"))
    }
    return found["total"][0], {name: values for name, (_, values) in found.items()}
