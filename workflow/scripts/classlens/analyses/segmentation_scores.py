"""Scores of relevance maps against masks over many images.

As in Chefer, Gur & Wolf, ICCV 2021, pixel accuracy and mIoU pool the pixels of all images, and the other measures are means over images.
See docs/analyses/relevance.md.
"""

import numpy as np
import polars as pl

from classlens import statistics

MEASURES = ("pixel_accuracy", "miou", "average_precision", "pointing_game", "positive_share")
PER_IMAGE = {
    "average_precision": ("average_precision", "share"),
    "pointing_game": ("hit", "proportion"),
    "positive_share": ("share", "share"),
}
"""Measures with a value per image: the column, and the kind of its values (`statistics.mean_interval`)."""

COUNTS = ("right", "pixels", "object_both", "object_either", "rest_both", "rest_either")


def scores(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return rows (method) with each measure in per cent, its 95 % interval over images and its number of images.

    Args:
        frame: rows (method, image_id) with the fields of `segmentation.Score`.
        seed: seed of the resampling.

    Returns:
        `{measure}`, `{measure}_low`, `{measure}_high` and `{measure}_n` of each measure; null if no image has the measure.
    """
    rows = []
    for (method,), part in frame.group_by("method", maintain_order=True):
        part = part.sort("image_id")
        row: dict[str, object] = {"method": method, **_pooled(part.select(COUNTS).to_numpy().astype(np.float64), seed)}
        for name, (column, kind) in PER_IMAGE.items():
            values = part[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
            row |= {**statistics.row(name, values, seed, kind, 100), f"{name}_n": int((~np.isnan(values)).sum())}
        rows.append({**row, "images": len(part)})
    return pl.DataFrame(rows, infer_schema_length=None)


def _pooled(counts: np.ndarray, seed: int) -> dict[str, float | int]:
    """Return pixel accuracy and mIoU over the pixels of all images together.

    Args:
        counts: numbers of pixels, [image, count], in the order of `COUNTS`.
        seed: seed of the resampling.
    """
    mean, draws = statistics.resampled_means(counts, np.ones_like(counts), seed)
    without = (counts.sum(axis=0) - counts) / max(1, len(counts) - 1)
    row: dict[str, float | int] = {}
    found, drawn, left = (_ratios(dict(zip(COUNTS, part.T, strict=True))) for part in (mean[None], draws, without))
    for name in found:
        low, high = statistics.bca(found[name], drawn[name][:, None], left[name][:, None])
        ends = {f"{name}_low": 100 * low[0], f"{name}_high": 100 * high[0]} if len(counts) > 1 else {}
        row |= {name: 100 * found[name][0], **ends, f"{name}_n": len(counts)}
    return row


def _ratios(counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return pixel accuracy and mIoU from mean counts over images."""
    return {
        "pixel_accuracy": counts["right"] / counts["pixels"],
        "miou": (counts["object_both"] / counts["object_either"] + counts["rest_both"] / counts["rest_either"]) / 2,
    }
