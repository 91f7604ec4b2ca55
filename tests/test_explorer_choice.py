"""The images that the explorer shows of a larger run, and the stories that it tells, on made numbers."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from classlens.explorer.choice import Candidate, most_telling, numbers_per_class
from classlens.explorer.series import Series
from classlens.explorer.stories import Outcome, ToldModel, half_block, start, stories

RNG = np.random.default_rng(3)


def made(of_class: dict[int, int], wrong: float = 0.0) -> list[Candidate]:
    """Images with random gains, so many in each class, a share of them with wrong outputs."""
    classes = [index for index, count in of_class.items() for _ in range(count)]
    return [Candidate(image, index, RNG.normal(), bool(RNG.random() >= wrong)) for image, index in enumerate(classes)]


@pytest.mark.parametrize(("images", "classes"), [(500, 919), (500, 100), (50, 7), (3, 4), (10_000, 9)])
@pytest.mark.parametrize("wrong", [0, 0.06, 0.5, 1])
def test_classes_and_wrong_outputs_have_their_share(images: int, classes: int, wrong: float) -> None:
    candidates = made(dict.fromkeys(range(classes), 30), wrong)
    of_image = {one.image: one for one in candidates}
    chosen = most_telling(candidates, images)
    assert len(set(chosen)) == len(chosen) == min(images, len(candidates))
    per_class = Counter(of_image[image].class_index for image in chosen)
    counts = [per_class[index] for index in range(classes)]
    assert max(counts) - min(counts) <= 1
    share = {index: np.mean([not one.right for one in candidates if one.class_index == index]) for index in range(classes)}
    expected = sum(share[index] * count for index, count in per_class.items())
    assert abs(sum(not of_image[image].right for image in chosen) - expected) < 0.5001
    for index, count in per_class.items():
        found = sum(not of_image[image].right for image in chosen if of_image[image].class_index == index)
        assert abs(found - share[index] * count) < 1


def test_small_classes_give_all_they_have() -> None:
    candidates = made({0: 2, 1: 20, 2: 20})
    chosen = most_telling(candidates, 20)
    assert Counter(candidates[image].class_index for image in chosen) == {0: 2, 1: 9, 2: 9}


def test_the_largest_and_the_smallest_gains_are_chosen() -> None:
    gains = {0: 0.5, 1: 0.9, 2: -0.2, 3: 0.1, 4: 0.7, 5: 0.0}
    right = [Candidate(image, 0, gain, True) for image, gain in gains.items()]
    assert [most_telling(right, number) for number in range(1, 5)] == [[1], [1, 2], [1, 2, 4], [1, 2, 4, 5]]
    wrong = [Candidate(image + 10, 0, gain, False) for image, gain in gains.items()]
    assert most_telling(right + wrong, 6) == [1, 2, 4, 11, 12, 14]


def test_the_choice_does_not_depend_on_the_order_of_images() -> None:
    candidates = [Candidate(image, image % 5, float(RNG.integers(0, 3)), bool(image % 4)) for image in range(60)]
    again = [candidates[place] for place in RNG.permutation(60)]
    assert most_telling(candidates, 23) == most_telling(again, 23)


def test_classes_that_reach_farthest_have_one_more() -> None:
    of_class = {index: [Candidate(index, index, gain, True)] for index, gain in enumerate([0.0, -5.0, 0.1, 4.0])}
    assert numbers_per_class(of_class, 2) == {0: 0, 1: 1, 2: 0, 3: 1}


# Stories: a model with four blocks and ten image tokens

FIRST = {
    # image: tokens at which the true class ranks first, by block
    3: [0, 1, 8, 8],
    4: [0, 9, 2, 8],  # half of its final number until block 2, then fewer: emerges in block 4
    5: [0, 0, 3, 6],  # half of its final number in block 3
    6: [0, 0, 0, 5],
    7: [9, 9, 9, 9],
}
NONE: dict[str, Outcome] = {}


def told(**changes: Any) -> ToldModel:
    first = np.array(list(FIRST.values()))
    gain = np.array([0.1, 0.2, 0.5, 0.3, 0.9])
    series = Series(list(FIRST), np.stack([0.1 + gain * share for share in (0.0, 0.2, 0.5, 1.0)], axis=1), first)
    usual: dict[str, Any] = {
        "series": series,
        "names": ["cat", "dog", "owl", "fox", "<b>"],
        "predicted": ["cat", "dog", "owl", "fox", "eel"],
        "right": [True, True, True, True, False],
        "outcomes": [NONE] * 5,
        "tokens": 10,
        "twin": None,
    }
    return ToldModel(**{**usual, **changes})


def named(model: ToldModel) -> dict[str, dict[str, Any]]:
    found = stories(model)
    assert all(len(story.title.split()) <= 5 and story.text.count(".") == 1 for story in found)
    return {story.name: story.state for story in found}


def test_the_block_from_which_on_half_of_the_tokens_are_there() -> None:
    model = told()
    assert [half_block(model, place) for place in model.places] == [3, 4, 3, 4, 1]
    empty = told(series=Series([1], np.zeros((1, 4)), np.array([[2, 0, 0, 0]])), names=["cat"], predicted=["cat"], right=[True])
    assert half_block(empty, 0) == 0


def test_late_is_the_latest_and_then_the_one_with_most_tokens() -> None:
    assert named(told())["late"] == {"image": 4, "block": 4}
    (story,) = [story for story in stories(told()) if story.name == "late"]
    assert story.text.startswith("The true class, dog, ranks first at 8 of 10 patches in the last block, ")
    assert story.text.endswith("but at half of these only from block 4 of 4 on.")
    assert named(told(right=[True, False, True, False, True]))["late"] == {"image": 3, "block": 3}
    assert "late" not in named(told(right=[False] * 4 + [True]))  # its class leads from the first block on


def test_wrong_is_the_wrong_output_with_most_tokens_of_the_true_class() -> None:
    assert named(told())["wrong"] == {"image": 7, "block": 4}
    assert named(told(right=[True, True, False, False, True]))["wrong"] == {"image": 5, "block": 4}
    assert "wrong" not in named(told(right=[True] * 5))
    nowhere = Series([1], np.zeros((1, 4)), np.zeros((1, 4), int))
    assert named(told(series=nowhere, names=["cat"], predicted=["owl"], right=[False], outcomes=[NONE])) == {}


@pytest.mark.parametrize(("name", "condition", "right"), [("without_object", "without_class", True), ("context", "without_context", False)])
def test_conditions_that_leave_or_make_the_output_right(name: str, condition: str, right: bool) -> None:
    outcomes = [
        {condition: Outcome(True, 3, 4)},
        {condition: Outcome(True, 4, 8)},
        {condition: Outcome(False, 8, 8)},  # wrong
        {condition: Outcome(True, 10, 10)},  # the condition removes nothing
        {condition: Outcome(True, 0, 0)},  # the condition removes everything
    ]
    model = told(outcomes=outcomes, right=[right] * 5)
    assert named(model)[name] == {"image": 3, "block": 4, "condition": condition}
    (story,) = [story for story in stories(model) if story.name == name]
    assert "3 of the remaining 4 patches." in story.text
    assert named(told(outcomes=outcomes[1:2] + outcomes[:1] + outcomes[2:], right=[right] * 5))[name]["image"] == 4
    assert name not in named(told(outcomes=outcomes, right=[not right] * 5))
    assert name not in named(told(right=[right] * 5))
    assert name not in named(told(outcomes=[NONE, NONE, *outcomes[2:]], right=[right] * 5))


def test_the_page_starts_with_the_largest_gain_of_a_right_output() -> None:
    assert start(told()) == {"image": 5, "block": 3}
    assert start(told(right=[False] * 5)) == {"image": 7, "block": 4}  # no rise: the last block
    assert start(told(right=[True, True, False, True, False])) == {"image": 6, "block": 4}


def test_the_twin_is_beside_the_first_image() -> None:
    model = told(twin="m_random")
    assert named(model)["twin"] == {**start(model), "second": "m_random"}
    assert "twin" not in named(told())


def test_series_of_some_images() -> None:
    series = told().series
    some = series.of([7, 4])
    assert (some.images, some.first.tolist()) == ([7, 4], [FIRST[7], FIRST[4]])
    np.testing.assert_allclose(some.gain, [0.9, 0.2])
    np.testing.assert_allclose(some.arrays["identifiability"] / 255, some.identifiability, atol=0.5 / 255)
    np.testing.assert_allclose(series.means["mean_first"], np.mean(list(FIRST.values()), axis=0))
