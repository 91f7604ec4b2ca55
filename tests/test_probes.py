"""Linear probes against a direct solution in double precision."""

import numpy as np
import pytest

from classlens.probes import ALPHA, Probe, folds, ranks


def direct(states: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Weights and intercept [width + 1, class] from the augmented least-squares problem, the intercept not penalised."""
    images, width = states.shape
    design = np.hstack([states, np.ones((images, 1))])
    penalty = np.hstack([np.sqrt(ALPHA) * np.eye(width), np.zeros((width, 1))])
    targets = np.where(classes[:, None] == np.arange(num_classes), 1.0, -1.0)
    solution, *_ = np.linalg.lstsq(np.vstack([design, penalty]), np.vstack([targets, np.zeros((width, num_classes))]), rcond=None)
    return solution


@pytest.mark.parametrize("images", [30, 400])
def test_the_solution_is_exact_even_with_huge_directions(images: int) -> None:
    rng = np.random.default_rng(0)
    states = rng.standard_normal((images, 60)) @ (rng.standard_normal((60, 60)) * np.logspace(0, -2, 60))
    states[:, 7] = 300 + 200 * states[:, 7]
    states = states.astype(np.float16)
    classes = rng.integers(0, 5, images)
    probe, wanted = Probe.fit(states, classes, 8), direct(states.astype(np.float64), classes, 8)
    scores = states.astype(np.float64) @ wanted[:-1] + wanted[-1]
    np.testing.assert_allclose(probe.scores(states), scores, atol=2e-4)
    np.testing.assert_allclose(probe.scores(states)[:, 5:], -1, atol=1e-4)  # classes without images


def test_ranks_count_what_is_strictly_larger() -> None:
    scores = np.array([[3.0, 1.0, 3.0], [0.0, 0.0, 0.0]])
    assert ranks(scores, np.array([1, 2])).tolist() == [2, 0]


def test_folds_halve_every_class_and_follow_the_seed() -> None:
    classes = np.repeat(np.arange(4), 6)
    first = folds(classes, 0)
    for index in range(4):
        assert first[classes == index].sum() == 3
    assert np.array_equal(first, folds(classes, 0))
    assert not np.array_equal(first, folds(classes, 1))
