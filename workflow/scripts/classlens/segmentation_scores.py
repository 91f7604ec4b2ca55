"""Scores of relevance maps against masks over many images.

Methods, section 9. As in Chefer, Gur & Wolf, ICCV 2021, pixel accuracy and mIoU are of the pixels of all images together, the others are
means over images.
"""

import numpy as np
import polars as pl

from classlens import statistics

MEASURES = ("pixel_accuracy", "miou", "average_precision", "pointing_game", "positive_share")
COUNTS = ("right", "pixels", "object_both", "object_either", "rest_both", "rest_either")


def scores(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Rows (method) with each measure in per cent and its 95 % interval over images.

    Args:
        frame: rows (method, image_id) with the fields of `segmentation.Score`.
        seed: seed of the resampling.
    """
    rows = []
    for (method,), part in frame.group_by("method", maintain_order=True):
        part = part.sort("image_id")
        columns = [*COUNTS, "average_precision", "hit", "share"]
        values = part.select(columns).cast(pl.Float64).to_numpy()
        mean, draws = statistics.resampled_means(np.nan_to_num(values), np.where(np.isnan(values), 0.0, 1.0), seed)
        row: dict[str, object] = {"method": method}
        of_mean, of_draws = (_measures(dict(zip(columns, part.T, strict=True))) for part in (mean[None], draws))
        for name in MEASURES:
            low, high = statistics.interval(of_draws[name][:, None])
            row |= {name: 100 * of_mean[name][0], f"{name}_low": 100 * low[0], f"{name}_high": 100 * high[0]}
        rows.append({**row, "images": len(part)})
    return pl.DataFrame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


def _measures(means: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The measures from means over images."""
    return {
        "pixel_accuracy": means["right"] / means["pixels"],
        "miou": (means["object_both"] / means["object_either"] + means["rest_both"] / means["rest_either"]) / 2,
        "average_precision": means["average_precision"],
        "pointing_game": means["hit"],
        "positive_share": means["share"],
    }
