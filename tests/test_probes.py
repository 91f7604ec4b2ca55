"""Linear probes against a direct solution in double precision."""

import numpy as np
import pytest
import torch

from classlens.analyses.probes import ALPHA, Probe, Split, folds, probe_ranks, ranks
from classlens.errors import InputError
from classlens.lens import rank
from classlens.protocol import CORRECTED, PAPER


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


def test_ranks_are_those_of_the_lens() -> None:
    scores = np.random.default_rng(0).integers(0, 3, (50, 4)).astype(np.float32)
    classes = np.random.default_rng(1).integers(0, 4, 50)
    for protocol in (CORRECTED, PAPER):
        wanted = rank(torch.from_numpy(scores), torch.from_numpy(classes), protocol.ties_rank_first)
        assert ranks(scores, classes, protocol).tolist() == wanted.tolist()
    scores[3, 2] = np.nan
    with pytest.raises(InputError, match="NaN"):
        ranks(scores, classes, CORRECTED)


def split(classes: list[int]) -> Split:
    return Split(np.arange(len(classes)), np.array(classes), [])


def test_probes_need_images_of_every_tested_class() -> None:
    """Fitted on no image of the class, every probe was right about all images."""
    with pytest.raises(InputError, match="class 1 has one image: set images_per_class to at least 2, give the data set a probe_split"):
        probe_ranks(None, split([0, 0, 1, 2, 2]), 3, 0, CORRECTED)
    with pytest.raises(InputError, match=r"no image of 2 of 3 tested classes \(indices 1, 3\)"):
        probe_ranks(split([0, 0, 2]), split([0, 1, 3]), 4, 0, CORRECTED)
    probe_ranks(None, split([0, 0, 2, 2]), 3, 0, CORRECTED)
    probe_ranks(split([0, 1, 2, 3]), split([0, 1, 3]), 4, 0, CORRECTED)


def test_folds_halve_every_class_and_follow_the_seed() -> None:
    classes = np.repeat(np.arange(4), 6)
    first = folds(classes, 0)
    for index in range(4):
        assert first[classes == index].sum() == 3
    assert np.array_equal(first, folds(classes, 0))
    assert not np.array_equal(first, folds(classes, 1))
