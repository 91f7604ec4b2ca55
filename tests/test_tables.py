"""What tables make of measures, by hand."""

import numpy as np
import polars as pl
import pytest

from classlens.analyses import deletion_curves, segmentation_scores
from classlens.presentation.series import Series
from classlens.protocol import CORRECTED, PAPER
from classlens.tables import perturbation_rates

METADATA = {"prefix_tokens": "1", "cls_token": "true", "classes": "5", "grid": "[1, 3]"}


def perturbed() -> Series:
    """Two images with [CLS] and three image tokens; without context the first keeps one, the second two."""
    rows = [
        *[("none", 0, token, rank) for token, rank in enumerate((0, 0, 1, 1))],
        *[("none", 1, token, rank) for token, rank in enumerate((0, 0, 0, 2))],
        ("without_context", 0, 0, 0),
        ("without_context", 0, 1, 3),
        ("without_context", 1, 0, 0),
        ("without_context", 1, 2, 0),
        ("without_context", 1, 3, 0),
    ]
    frame = pl.DataFrame(rows, schema=["condition", "image_id", "token", "rank"], orient="row")
    return Series("m", "m", None, frame, METADATA)


def test_rates_are_of_the_kept_image_tokens_against_the_same_unperturbed() -> None:
    rates = perturbation_rates.per_image(perturbed(), "without_context", CORRECTED)
    assert rates["rate"].to_list() == [0, 1]
    assert rates["baseline"].to_list() == [1, 0.5]
    row = perturbation_rates.compared(rates, False, CORRECTED, 0)
    assert (row["rate"], row["baseline"], row["difference"]) == pytest.approx((50, 75, -25))


def test_the_published_rate_counts_cls_and_pools_its_baseline() -> None:
    rates = perturbation_rates.per_image(perturbed(), "without_context", PAPER)
    assert rates["rate"].to_list() == [0.5, 1]
    row = perturbation_rates.compared(rates, True, PAPER, 0)
    assert (row["rate"], row["baseline"]) == pytest.approx((75, 200 / 3))


def test_images_that_could_not_be_run_are_counted() -> None:
    frame = pl.DataFrame({"condition": ["without_class"] * 3, "image_id": [0, 1, 2], "correct": [True, None, False]})
    row = perturbation_rates.accuracy(frame, "without_class", 0)
    assert (row["accuracy"], row["images"], row["images_not_run"]) == (50, 2, 1)


def test_scores_are_of_all_pixels_together() -> None:
    counts = {"right": [3, 90], "pixels": [10, 100], "object_both": [1, 30], "object_either": [4, 40], "rest_both": [2, 60]}
    frame = pl.DataFrame(
        {
            "method": ["ours"] * 2,
            "image_id": [0, 1],
            **counts,
            "rest_either": [9, 70],
            "average_precision": [0.5, 1.0],
            "hit": [True, False],
            "share": [None, 0.5],
        }
    )
    (row,) = segmentation_scores.scores(frame, 0).iter_rows(named=True)
    assert row["pixel_accuracy"] == pytest.approx(100 * 93 / 110)
    assert row["miou"] == pytest.approx(50 * (31 / 44 + 62 / 79))
    assert (row["average_precision"], row["pointing_game"], row["positive_share"], row["images"]) == (75, 50, 50, 2)


def test_random_orders_are_averaged_and_stand_for_both_orders() -> None:
    correct = {
        ("ours", "negative", 0): [[1, 1], [1, 0]],
        ("random", "negative", 0): [[1, 0], [0, 0]],
        ("random", "negative", 1): [[1, 1], [0, 0]],
    }
    rows = [(*key, image, one) for key, images in correct.items() for image, one in enumerate(images)]
    frame = pl.DataFrame(rows, schema=["method", "order", "draw", "image_id", "correct"], orient="row")
    frame = frame.with_columns(probability=pl.col("correct"))
    found = deletion_curves.by_curve(frame, "probability")
    assert set(found) == {("ours", "negative"), ("random", "negative"), ("random", "positive")}
    np.testing.assert_allclose(found["random", "positive"], [[1, 0.5], [0, 0]])
    _, areas = deletion_curves.tables(frame, [0, 1], 1, CORRECTED, 0)
    ours = areas.filter(method="ours").row(0, named=True)
    assert (ours["area"], ours["difference"]) == pytest.approx((0.75, 0.75 - 0.375))
    assert (ours["probability_area"], ours["probability_difference"]) == pytest.approx((0.75, 0.75 - 0.375))
