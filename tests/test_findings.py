"""Test what a run has found, in sentences: when a model leaves the range of its random twins, and with which numbers."""

from typing import Any

import polars as pl
import pytest

from classlens.presentation import texts
from classlens.report.findings import Group, findings

CHANCE = 0.55
TWIN = 0.6
"""Largest twin in every block of the made tables."""


def evolution(*values: tuple[float | None, float | None, float | None], tokens: str = "image", seeds: int = 5) -> pl.DataFrame:
    """Rows of F2 for one model with a mean, and the ends of its interval, in each block."""
    twins = {"twins_low": 0.5, "twins_high": TWIN} if seeds else {"twins_low": None, "twins_high": None}
    rows = [
        {"model": "m", "label": "M", "tokens": tokens, "block": block, "mean": mean, "low": low, "high": high, "images": 200}
        | {**twins, "seeds": seeds, "chance": CHANCE}
        for block, (mean, low, high) in enumerate(values)
    ]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(("mean", "low", "high", "twins_low", "twins_high"), pl.Float64))


BELOW, WITHIN, ABOVE = (0.4, 0.35, 0.45), (0.62, 0.59, 0.66), (0.9, 0.85, 0.94)


def sentence(frame: pl.DataFrame, rates: pl.DataFrame | None = None, depth: int | None = None) -> str:
    (found,) = findings(frame, rates, {"m": depth or frame["block"].n_unique()})
    assert found.label == "M"
    return found.text


def test_a_model_leaves_the_range_of_its_twins_where_its_interval_stays_above_the_largest() -> None:
    said = sentence(evolution(WITHIN, ABOVE, WITHIN, ABOVE, (0.97, 0.96, 0.98)))
    assert said == (
        "class identifiability of image tokens leaves the range of its 5 random twins at block 4 of 5"
        " and reaches 0.970 (95 % interval 0.960 to 0.980; chance 0.550) in block 5 (n = 200 images)."
    )


def test_an_interval_that_touches_the_largest_twin_has_not_left() -> None:
    touching = (0.7, TWIN, 0.8)
    assert "never rises above the range of its 5 random twins" in sentence(evolution(touching, touching))
    assert "at block 2 of 2" in sentence(evolution(touching, (0.7, TWIN + 1e-6, 0.8)))


def test_a_model_above_from_the_start_is_said_to_be() -> None:
    assert "is above the range of its 5 random twins from block 1 of 2 on and reaches" in sentence(evolution(ABOVE, ABOVE))


@pytest.mark.parametrize("values", [[WITHIN] * 3, [BELOW] * 3])
def test_a_model_that_never_leaves_is_said_plainly(values: list[Any]) -> None:
    said = sentence(evolution(*values))
    assert "never rises above the range of its 5 random twins (largest twin 0.600) in 3 blocks and reaches" in said
    assert "leaves" not in said


def test_a_model_that_comes_back_has_not_left() -> None:
    said = sentence(evolution(WITHIN, ABOVE, ABOVE, WITHIN, ABOVE, WITHIN))
    assert "is above the range of its 5 random twins only in blocks 2 to 3 and 5 of 6, and is not above it at the end" in said
    assert "leaves" not in said


def test_one_twin_is_not_called_a_range() -> None:
    assert "leaves its only random twin at block 2 of 2" in sentence(evolution(WITHIN, ABOVE, seeds=1))


def test_without_twins_no_comparison_is_claimed() -> None:
    said = sentence(evolution(ABOVE, ABOVE, seeds=0))
    assert said.startswith("class identifiability of image tokens has no random twins to compare with, and reaches 0.900")
    assert not any(word in said for word in ("leaves", "above", "rises"))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_without_an_interval_nothing_is_above(missing: float | None) -> None:
    said = sentence(evolution((0.9, missing, missing), (0.9, missing, missing)))
    assert "never rises above" in said
    assert "reaches 0.900 (no interval; chance 0.550) in block 2" in said


def test_image_tokens_come_first_and_cls_follows() -> None:
    said = sentence(pl.concat([evolution(ABOVE, ABOVE, tokens="cls"), evolution(WITHIN, ABOVE)]))
    first, second = said.split("; [CLS] ")
    assert first.startswith("class identifiability of image tokens leaves the range of its 5 random twins at block 2 of 2")
    assert second.startswith("is above it from block 1 on and reaches 0.900 (0.850 to 0.940) in block 2")


def test_rates_end_the_sentence() -> None:
    rates = pl.DataFrame(
        [
            {"model": "m", "identifiability_rate": 76.489, "identifiability_rate_low": 72.37, "identifiability_rate_high": 80.18}
            | {"accuracy": 94.0, "accuracy_low": 89.807, "accuracy_high": 96.53, "images": 200}
        ]
    )
    assert sentence(evolution(WITHIN, ABOVE), rates).endswith(
        "in block 2; the true class ranks first at 76.5 % (72.4 to 80.2 %) of its image tokens;"
        " the output is right for 94.0 % (89.8 to 96.5 %) of the images (n = 200 images)."
    )


def test_pairs_of_blocks_are_named() -> None:
    """The protocol `paper` averages a model of 24 blocks over pairs of blocks."""
    assert "at block pair 2 of 2 and reaches 0.900 (95 % interval 0.850 to 0.940; chance 0.550) in block pair 2" in sentence(
        evolution(WITHIN, ABOVE), depth=4
    )


def test_each_model_has_a_sentence_in_the_order_of_the_table() -> None:
    frames = [evolution(ABOVE, ABOVE).with_columns(model=pl.lit(name), label=pl.lit(name)) for name in ("b", "a")]
    assert [found.label for found in findings(pl.concat(frames), None, {"a": 2, "b": 2})] == ["b", "a"]


@pytest.mark.parametrize(
    ("low", "stays"),
    [([0.7, 0.7], 0), ([0.5, 0.7], 1), ([0.7, 0.5], None), ([None, 0.7], 1), ([0.7, None], None)],
)
def test_where_an_interval_stays_above(low: list[float | None], stays: int | None) -> None:
    assert Group.of(evolution(*((0.8, value, 0.9) for value in low))).stays_from == stays


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.94, "0.940"),
        (76.4898, "76.5"),
        (94.0, "94.0"),
        (99.96, "100"),
        (100.0, "100"),
        (1234.5, "1230"),
        (0.99961, "1.00"),
        (-0.04213, "\N{MINUS SIGN}0.0421"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.0001, "0.000100"),
        (0.000012, "1.20×10⁻⁵"),
        (-0.000012, "\N{MINUS SIGN}1.20×10⁻⁵"),
        (194, "194"),
        (12345, "12345"),
        (-3, "\N{MINUS SIGN}3"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, said: str) -> None:
    assert texts.number(value) == said


def test_what_is_no_number_is_not_shown_as_one() -> None:
    with pytest.raises(ValueError, match="nan"):
        texts.number(float("nan"))
