"""Intervals and tests against exact or library results."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy import stats

import interval_coverage
from classlens import statistics
from classlens.protocol import CORRECTED, PAPER


def test_weighted_means() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(400, 2)), rng.integers(0, 3, (400, 2)).astype(float)
    values[weights == 0] = np.nan
    mean, draws = statistics.resampled_means(values, weights, seed=1)
    np.testing.assert_allclose(mean, [np.average(v[w > 0], weights=w[w > 0]) for v, w in zip(values.T, weights.T, strict=True)])
    assert draws.shape == (statistics.RESAMPLES, 2)
    found = statistics.weighted_interval(values, weights, seed=1)
    assert found.n.tolist() == (weights > 0).sum(axis=0).tolist()
    assert ((found.low < mean) & (mean < found.high)).all()


def test_bca_is_scipys() -> None:
    values = np.random.default_rng(0).exponential(size=(60, 1))
    theirs = stats.bootstrap((values[:, 0],), np.mean, method="BCa", n_resamples=20000, rng=0).confidence_interval
    found = statistics.mean_interval(values, 0, "mean")
    np.testing.assert_allclose([found.low[0], found.high[0]], [theirs.low, theirs.high], atol=0.02)


@pytest.mark.parametrize("n", [5, 20, 200])
def test_rounding_does_not_move_an_interval(n: int) -> None:
    values = np.random.default_rng(n).integers(0, 3, (n, 50)).astype(float)  # the mean of many resamples is that of all images
    whole, thirds = statistics.mean_interval(values, 0, "mean"), statistics.mean_interval(values / 3, 0, "mean").scaled(3)
    np.testing.assert_allclose([thirds.low, thirds.high], [whole.low, whole.high], rtol=1e-9)


def test_rounding_does_not_choose_an_interval() -> None:
    distance = np.arange(1, 49) / 49
    values = np.ones((200, len(distance)))
    values[: statistics.OFF_BOUND] -= distance  # just enough images for the bootstrap, whose interval grows with their distance
    found = statistics.mean_interval(values, 0, "share")
    np.testing.assert_allclose((1 - found.low) / distance, 49 * (1 - found.low[0]), rtol=1e-6)
    equal = np.array([0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2])[:, None]
    assert np.isnan(statistics.mean_interval(equal, 0, "mean").low).all()


def test_wilson_is_scipys_and_has_its_exact_coverage() -> None:
    for successes, n in ((0, 20), (3, 20), (200, 200), (199, 200)):
        theirs = stats.binomtest(successes, n).proportion_ci(method="wilson")
        np.testing.assert_allclose(statistics.wilson(np.array([successes / n]), np.array([n])), [[theirs.low], [theirs.high]], atol=1e-12)
    wanted = {(20, 0.5): 0.9586, (20, 0.995): 0.9046, (200, 0.98): 0.9326, (200, 0.995): 0.9202}
    for (n, p), coverage in wanted.items():
        assert interval_coverage.wilson_coverage(p, n) == pytest.approx(coverage, abs=2e-3)
    rng = np.random.default_rng(0)
    drawn = (rng.random((200, 4000)) < 0.98).astype(float)
    found = statistics.mean_interval(drawn, 0, "proportion")
    share = ((found.low <= 0.98) & (found.high >= 0.98)).mean()
    assert share == pytest.approx(interval_coverage.wilson_coverage(0.98, 200), abs=0.015)


@pytest.mark.parametrize("n", interval_coverage.SIZES)
@pytest.mark.parametrize("kind", ["alike", "apart", "mixed"])
def test_intervals_of_shares_hold_the_mean(kind: str, n: int) -> None:
    for p in interval_coverage.PROBABILITIES:
        assert interval_coverage.share_coverage(kind, p, n, 400) >= 0.92 - 2 * 0.0136  # two standard errors of the simulation


def test_an_interval_needs_two_images_and_says_how_many_it_has() -> None:
    values = np.array([[0.5, 1.0, np.nan], [np.nan, 1.0, np.nan], [np.nan, 1.0, np.nan]])
    found = statistics.mean_interval(values, 0, "share")
    assert found.n.tolist() == [1, 3, 0]
    assert np.isnan(found.low).tolist() == [True, False, True]
    assert found.low[1] < 0.5  # three images that are all at the bound do not say that all others are
    assert found.high[1] == 1
    assert np.isnan(found.mean).tolist() == [False, False, True]
    assert np.isnan(statistics.mean_interval(np.full((9, 1), 0.3), 0, "mean").low).all()


def test_equal_seeds_resample_equal_images() -> None:
    values = np.arange(20.0)[:, None]
    first = statistics.resampled_means(values, np.ones_like(values), 3)[1]
    second = statistics.resampled_means(values + 5, np.ones_like(values), 3)[1]
    np.testing.assert_allclose(second - first, 5)


def test_resamples_in_memory_are_those_that_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((30, 2))
    drawn = [statistics.resampled_means(values, np.ones_like(values), 3)[1] for _ in range(2)]
    monkeypatch.setattr(statistics, "KEPT_IMAGES", 29)
    drawn.append(statistics.resampled_means(values, np.ones_like(values), 3)[1])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_sign_flips_match_the_exact_distribution() -> None:
    differences = np.array([0.9, 0.3, -0.2, 0.8, 0.4, 0.1, 0.5])[:, None]
    patterns = np.array(list(product([1, -1], repeat=7)))
    sums = patterns @ differences[:, 0]
    larger = (sums >= differences.sum() - 1e-9).mean()
    assert statistics.paired_permutation_p(differences, 20000, seed=0, two_sided=False)[0] == pytest.approx(larger, abs=0.004)
    farther = (abs(sums) >= differences.sum() - 1e-9).mean()
    for sign in (1, -1):
        assert statistics.paired_permutation_p(sign * differences, 20000, seed=0)[0] == pytest.approx(farther, abs=0.006)


def test_p_is_never_zero_and_one_without_any_difference() -> None:
    assert statistics.paired_permutation_p(np.ones((30, 1)), 99, seed=0)[0] == pytest.approx(1 / 100)
    assert statistics.paired_permutation_p(np.zeros((30, 1)), 99, seed=0)[0] == 1


def test_holm() -> None:
    np.testing.assert_allclose(statistics.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert statistics.holm(np.array([0.9, 0.8])).max() == 1
    np.testing.assert_allclose(statistics.holm(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04])


def test_published_test_on_counts_is_a_permutation_of_tokens() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 6, 40), rng.integers(0, 7, 60)
    pooled, observed = np.concatenate([ours, theirs]), theirs.mean() - ours.mean()
    shuffled = rng.permuted(np.tile(pooled, (20000, 1)), axis=1)
    exact = (shuffled[:, 40:].mean(axis=1) - shuffled[:, :40].mean(axis=1) > observed + 1e-12).mean()
    counts = [np.bincount(ranks, minlength=7) for ranks in (ours, theirs)]
    assert statistics.token_permutation_p(counts[0], counts[1], 20000, seed=0) == pytest.approx(exact, abs=0.015)


def test_difference_by_block_leaves_out_images_without_one_group() -> None:
    rows = [
        {"tokens": tokens, "image_id": image, "block": block, "n": n, "r": value}
        for image in range(6)
        for block in (0, 1)
        for tokens, n, value in (("class", 0 if image == 5 else 2, None if image == 5 else 0.8), ("context", 4, 0.5))
    ]
    frame = statistics.difference_by_block(pl.DataFrame(rows), "r", ("class", "context"), 0, CORRECTED)
    np.testing.assert_allclose(frame["difference"], 0.3)
    np.testing.assert_allclose(frame["context"], 0.5)
    assert frame["images"].to_list() == [5, 5]
    assert frame["block"].to_list() == [0, 1]


def test_estimate_interval_and_p_are_of_one_quantity() -> None:
    """One image has most of the tokens: weighing tokens alike, its difference hides those of all others."""
    differences = np.array([-0.9, *[0.1] * 11])
    rows = [
        {"tokens": tokens, "image_id": image, "block": 0, "n": 500 if image == 0 else 5, "r": 0.0 if tokens == "context" else gap}
        for image, gap in enumerate(differences)
        for tokens in ("class", "context")
    ]
    alike, weighted = (
        statistics.difference_by_block(pl.DataFrame(rows), "r", ("class", "context"), 0, p).row(0, named=True) for p in (CORRECTED, PAPER)
    )
    assert alike["difference"] == pytest.approx(differences.mean())
    assert weighted["difference"] < -0.8
    assert alike["low"] < alike["difference"] < alike["high"]
    assert alike["p"] > 0.3


def test_a_difference_between_two_sets_of_images() -> None:
    rng = np.random.default_rng(0)
    first = np.arange(60) < 40
    values = np.stack([rng.random(60) + first, rng.random(60)], axis=1)
    found = statistics.split_difference(values, first, CORRECTED, seed=0)
    np.testing.assert_allclose(found["difference"], values[first].mean(axis=0) - values[~first].mean(axis=0))
    assert found["p"][0] == pytest.approx(1 / (CORRECTED.permutations + 1))
    assert found["p"][1] > 0.01
    other_way = statistics.split_difference(values, ~first, CORRECTED, seed=0)
    assert other_way["p"][0] == pytest.approx(found["p"][0])
    assert (found["low"] < found["difference"]).all()
    assert (found["difference"] < found["high"]).all()
    assert statistics.split_difference(values, first, PAPER, seed=0)["p"][0] == 0


def test_a_difference_needs_images_on_both_sides() -> None:
    found = statistics.split_difference(np.ones((5, 2)), np.ones(5, bool), CORRECTED, seed=0)
    assert all(np.isnan(value).all() for value in found.values())


def test_against_twins_is_students_test_of_one_more_twin() -> None:
    rng = np.random.default_rng(0)
    model, twins = rng.normal(size=4), rng.normal(size=(5, 4))
    t, p = statistics.against_twins(model, twins)
    theirs = stats.ttest_ind(model[None], twins)  # of samples of one and of five, with their pooled variance
    np.testing.assert_allclose(t, theirs.statistic)
    np.testing.assert_allclose(p, theirs.pvalue)
    assert np.isnan(statistics.against_twins(model, twins[:1])[1]).all()
    assert np.isnan(statistics.against_twins(model, twins[:0])[1]).all()
    same = np.ones((3, 2))
    assert np.isnan(statistics.against_twins(np.array([1, 0.9]), same)[1]).all()  # equal twins do not say how much others differ


def test_random_models_rarely_differ_from_random_twins() -> None:
    """Means of random models over images as they were measured: seeds differ by more than images do, and blocks go together."""
    rng, pairs, images, blocks = np.random.default_rng(1), 200, 200, 12
    false, paired = 0, 0
    for _ in range(pairs):
        seeds = 0.02 * rng.normal(size=(6, 1)) + 0.01 * rng.normal(size=(6, blocks))
        noise = 0.2 * rng.normal(size=(6, images, 1)) + 0.1 * rng.normal(size=(6, images, blocks))
        values = 0.55 + seeds[:, None] + noise
        _, p = statistics.against_twins(values[0].mean(axis=0), values[1:].mean(axis=1))
        false += bool((statistics.holm(p) < statistics.SIGNIFICANT).any())
        one_twin = statistics.paired_permutation_p(values[0] - values[1], 999, 0)
        paired += bool((statistics.holm(one_twin) < statistics.SIGNIFICANT).any())
    assert false <= 0.05 * pairs
    assert paired > 0.05 * pairs  # what images as units, and one twin, would claim
