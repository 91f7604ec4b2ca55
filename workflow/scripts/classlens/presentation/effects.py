"""Direct and total effects of components on the images that have both, for figures and tables."""

import numpy as np
import polars as pl

KEYS = ["part", "block", "head"]


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
    wide = {
        name: part.sort("image_id").pivot("image_id", index=KEYS, values=value).sort(KEYS)
        for name, part, value in (("direct", both, "loss"), ("total", of_total, "loss"), ("accuracy", of_total, "accuracy"))
    }
    return wide["total"].select(KEYS), {name: part.drop(KEYS).cast(pl.Float64).to_numpy().T for name, part in wide.items()}
