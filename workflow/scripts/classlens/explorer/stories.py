"""Stories of a model: images that show something at one look, each with the view that shows it.

All numbers are about image tokens, which the page calls patches, in the residual stream. Blocks count from 1 in texts and states, as on the
page. Of images that are equal in everything else, a story takes the one with the smallest id.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from classlens.explorer.series import Series


@dataclass(frozen=True)
class Outcome:
    """What comes of an image under a condition.

    Attributes:
        right: whether the output is right.
        first: number of image tokens at which the true class has the largest logit in the last block.
        tokens: number of image tokens that the condition leaves.
    """

    right: bool
    first: int
    tokens: int

    @property
    def share(self) -> float:
        """The share of the remaining image tokens at which the true class has the largest logit."""
        return self.first / self.tokens


@dataclass(frozen=True, kw_only=True)
class ToldModel:
    """What stories are chosen from. All lists have one entry per image.

    Attributes:
        series: numbers over blocks.
        names: name of the true class.
        predicted: name of the class with the largest output.
        right: whether the output is right.
        outcomes: outcomes by condition, without conditions under which the image was not run.
        tokens: number of image tokens.
        twin: name of the random twin that the explorer shows too; None if there is none.
    """

    series: Series
    names: list[str]
    predicted: list[str]
    right: list[bool]
    outcomes: list[dict[str, Outcome]]
    tokens: int
    twin: str | None

    @property
    def places(self) -> range:
        return range(len(self.names))

    @property
    def depth(self) -> int:
        return self.series.first.shape[1]

    def final(self, place: int) -> int:
        """Return the number of image tokens at which an image's true class ranks first in the last block."""
        return int(self.series.first[place, -1])

    def state(self, place: int, block: int, **further: str) -> dict[str, Any]:
        """Return the page's state that shows an image at a block."""
        return {"image": self.series.images[place], "block": block, **further}


@dataclass(frozen=True)
class Story:
    """A story: its name, a title of few words, a sentence with the numbers of its image, and the page's state that shows it."""

    name: str
    title: str
    text: str
    state: dict[str, Any]


def stories(model: ToldModel) -> list[Story]:
    """Return the stories of a model, without those that no image tells."""
    found = (late(model), without_object(model), context(model), wrong(model), twin(model))
    return [story for story in found if story]


def late(model: ToldModel) -> Story | None:
    """Return the story of a class that emerges late.

    Among images with a right output, it is the image whose true class leads latest at half of its final number of image tokens: the
    latest block from which on the number is at least half of that in the last block. This block must be in the second half of the
    blocks. Of images with the same block, it is the one with the largest final number.
    """
    candidates = [place for place in model.places if model.right[place] and half_block(model, place) > model.depth / 2]
    best = _best(candidates, lambda place: (half_block(model, place), model.final(place)))
    if best is None:
        return None
    block = half_block(model, best)
    text = (
        f"The true class, {model.names[best]}, ranks first at {model.final(best)} of {model.tokens} patches in the last block, "
        f"but at half of these only from block {block} of {model.depth} on."
    )
    return Story("late", "Emerges late", text, model.state(best, block))


def half_block(model: ToldModel, place: int) -> int:
    """Return the block from which on the true class ranks first at half of its final number of tokens or more; 0 if that number is 0."""
    first = model.series.first[place]
    if not first[-1]:
        return 0
    below = np.flatnonzero(2 * first < first[-1])
    return int(below[-1]) + 2 if len(below) else 1


def without_object(model: ToldModel) -> Story | None:
    """Return the story of an image whose output stays right without its class tokens (condition `without_class`).

    It is the image with the largest share of remaining image tokens at which the true class ranks first. Images whose object is too small
    to remove a token do not count.
    """
    best = _best_outcome(model, "without_class", was_right=True)
    if best is None:
        return None
    ranks_first = _ranks_first(model, best, "without_class")
    text = f"Without the patches that are mostly object, the output is still {model.names[best]}, {ranks_first}."
    return Story("without_object", "Right without its patches", text, model.state(best, model.depth, condition="without_class"))


def context(model: ToldModel) -> Story | None:
    """Return the story of an image whose wrong output becomes right when its context is removed (condition `without_context`).

    It is the image with the largest share of remaining image tokens at which the true class ranks first.
    """
    best = _best_outcome(model, "without_context", was_right=False)
    if best is None:
        return None
    ranks_first = _ranks_first(model, best, "without_context")
    text = f"The output is {model.predicted[best]}; without the patches beside the object it is {model.names[best]}, {ranks_first}."
    return Story("context", "The context misleads", text, model.state(best, model.depth, condition="without_context"))


def _ranks_first(model: ToldModel, place: int, condition: str) -> str:
    """Return at how many of the image tokens that a condition leaves the true class has the largest logit, in words."""
    outcome = model.outcomes[place][condition]
    return f"which ranks first at {outcome.first} of the remaining {outcome.tokens} patches"


def wrong(model: ToldModel) -> Story | None:
    """Return the story of a wrong output whose true class ranks first at the most image tokens in the last block, and at one at least."""
    candidates = [place for place in model.places if not model.right[place] and model.final(place)]
    best = _best(candidates, lambda place: (model.final(place),))
    if best is None:
        return None
    text = (
        f"The output is {model.predicted[best]}, yet {model.names[best]} ranks first "
        f"at {model.final(best)} of {model.tokens} patches in the last block."
    )
    return Story("wrong", "Wrong, yet represented", text, model.state(best, model.depth))


def twin(model: ToldModel) -> Story | None:
    """Return the story of the image that the page shows first (`start`), beside the model's random twin."""
    if model.twin is None:
        return None
    place, block = _start(model)
    text = (
        f"The true class, {model.names[place]}, ranks first at {model.series.first[place, block - 1]} of {model.tokens} patches "
        f"in block {block}; the second view shows random weights."
    )
    return Story("twin", "Beside random weights", text, model.state(place, block, second=model.twin))


def start(model: ToldModel) -> dict[str, int]:
    """Return the image and block that the page shows first.

    The image has the largest gain of class identifiability among those with a right output, or among all if no output is right. The block
    has the largest rise of the number of image tokens at which the true class ranks first; it is the last block if the number never rises.
    """
    return model.state(*_start(model))


def _start(model: ToldModel) -> tuple[int, int]:
    candidates = [place for place in model.places if model.right[place]] or model.places
    place = max(candidates, key=lambda place: (model.series.gain[place], -place))
    rises = np.diff(model.series.first[place])
    return place, int(rises.argmax()) + 2 if (rises > 0).any() else model.depth


def _best_outcome(model: ToldModel, condition: str, was_right: bool) -> int | None:
    """Return the place of the image that is right under a condition, and has the largest share of tokens there; None if no image is right.

    The condition must remove some image tokens, but not all.
    """
    places = [place for place in model.places if model.right[place] is was_right]
    found = {place: model.outcomes[place][condition] for place in places if condition in model.outcomes[place]}
    candidates = [place for place, outcome in found.items() if outcome.right and 0 < outcome.tokens < model.tokens]
    return _best(candidates, lambda place: (found[place].share, found[place].first))


def _best(candidates: Iterable[int], key: Callable[[int], tuple[float, ...]]) -> int | None:
    """Return the place with the largest key, the first of equals; None without candidates."""
    return max(candidates, key=key, default=None)
