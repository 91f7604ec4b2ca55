"""Sanity checks of a run: classes in another order, wrong transforms or weights, masks without an object.

A finding is a warning and not an error, because valid data can show each of these signs. A run shows warnings at its end, in the report
and in the explorer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom, binomtest

from classlens.data.manifest_classes import classes_of

LEVEL = 0.95
"""Level of the interval of the accuracy of a model that guesses."""

SIGNIFICANT = 0.001
"""Level of the test for another assignment of classes: every model is tested, and a false alarm costs more than a late one."""

MIN_GAIN = 0.1
"""Minimum gain in accuracy from another assignment of classes: a model that confuses two similar classes shows a small gain."""

MIN_IMAGES = 5
"""Minimum number of images of a class that is reported if none of them is classified correctly."""

MAX_CLASSES = 4096
"""Maximum number of classes in the search for another assignment; its time grows with their cube."""

MASKS = {
    1.0: "nothing but the object: check that the background is marked as such (binary masks: 0 or transparent there)",
    0.0: "no object: check that masks mark the object (binary masks: not 0 there; ImageNet-S: the class's id)",
}
"""Message for masks with this share of object pixels: what is wrong, and what to do."""

MAX_EXAMPLES = 3
"""Maximum number of examples in a warning."""


@dataclass(frozen=True)
class Answers:
    """A model's answers to the images of a split.

    Attributes:
        true: true class index of each image, [image].
        predicted: class index of the model's largest logit, [image].
        classes: number of the model's classes.
    """

    true: np.ndarray
    predicted: np.ndarray
    classes: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float((self.true == self.predicted).mean())

    def confusion(self, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the confusion matrix of the chosen images, [class, class]: true classes in rows, answers in columns."""
        cells = self.true[chosen].astype(np.int64) * self.classes + self.predicted[chosen]
        return np.bincount(cells, minlength=self.classes**2).reshape(self.classes, self.classes)

    def best_assignment(self, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the answer to assign to each class, [class], so that the most images are classified correctly.

        The assignment is one-to-one. Classes without images keep their own answer if no other class takes it. Source: the assignment
        problem, solved by SciPy.
        """
        counts = self.confusion(chosen).astype(np.float64)
        counts[np.diag_indices_from(counts)] += 0.5 / self.classes  # among equally good assignments, prefer the one with the fewest changes
        rows, columns = linear_sum_assignment(counts, maximize=True)
        return columns[np.argsort(rows)]


def of_model(answers: Answers, manifest: pa.Table) -> Iterator[str]:
    """Yield warnings about a model's answers.

    Args:
        answers: the answers of a model that is not a random twin.
        manifest: manifest of the images.
    """
    names = [class_id for class_id, _ in classes_of(manifest)]
    images, right = len(answers.true), f"{100 * answers.accuracy:.3g} % of {len(answers.true)} images are right"
    reassigned = _reassigned(answers)
    if reassigned is not None:
        changed = [index for index in np.unique(answers.true) if reassigned[index] != index]
        shown = ", ".join(f"{names[reassigned[index]]} for {names[index]}" for index in changed[:MAX_EXAMPLES])
        share = (answers.predicted == reassigned[answers.true]).mean()
        yield (
            f"{right}, and {100 * share:.3g} % would be if {len(changed)} classes were assigned otherwise (it answers {shown}"
            f"{', ...' if len(changed) > MAX_EXAMPLES else ''}): the classes probably have another order than the model's;"
            " list them in the model's order in a file that the data set's `classes` names"
        )
    elif answers.accuracy <= binom.ppf((1 + LEVEL) / 2, images, 1 / answers.classes) / images:
        yield (
            f"{right}, no better than guessing among {answers.classes} classes ({100 / answers.classes:.3g} %): check the order of the"
            " classes, the image transform and the checkpoint"
        )
    else:
        yield from _never_right(answers, names)


def _reassigned(answers: Answers) -> np.ndarray | None:
    """Return the best assignment if it is clearly better than the current one in two-fold cross-validation; otherwise None."""
    if answers.classes > MAX_CLASSES:
        return None
    halves = _halves(answers.true)
    right = answers.true == answers.predicted
    assigned = np.zeros_like(right)
    for half in (0, 1):
        assignment = answers.best_assignment(halves != half)
        assigned[halves == half] = (answers.predicted == assignment[answers.true])[halves == half]
    better, worse = int((assigned & ~right).sum()), int((right & ~assigned).sum())
    if assigned.mean() - right.mean() < MIN_GAIN or binomtest(better, better + worse, alternative="greater").pvalue > SIGNIFICANT:
        return None
    return answers.best_assignment()


def _halves(true: np.ndarray) -> np.ndarray:
    """Return the half (0 or 1) of each image, alternating within each class, [image]."""
    order = np.argsort(true, kind="stable")
    starts = np.searchsorted(true[order], true[order])
    result = np.empty(len(true), np.int64)
    result[order] = (np.arange(len(true)) - starts) % 2
    return result


def _never_right(answers: Answers, names: Sequence[str]) -> Iterator[str]:
    """Yield a warning about the classes that have images but no right answer."""
    images = np.bincount(answers.true, minlength=answers.classes)
    right = np.bincount(answers.true[answers.true == answers.predicted], minlength=answers.classes)
    never = [names[index] for index in np.flatnonzero((images >= MIN_IMAGES) & (right == 0)).tolist()]
    if never:
        yield f"no image of {_listed(never, 'class', 'classes')} is classified correctly: check that the model was trained on these classes"


def of_images(manifest: pa.Table) -> Iterator[str]:
    """Yield warnings about the images of a split and their masks."""
    columns = manifest.to_pydict()
    places: dict[str, list[int]] = {}
    for row, digest in enumerate(columns["sha256"]):
        places.setdefault(digest, []).append(row)
    copies = [rows for rows in places.values() if len(rows) > 1]
    if copies:
        across = [rows for rows in copies if len({columns["class_index"][row] for row in rows}) > 1]
        example = " and ".join(columns["path"][row] for row in (across or copies)[0][:2])
        images = "1 image has copies" if len(copies) == 1 else f"{len(copies)} images have copies"
        others = f"{len(across)} of them" if across else "none of them"
        yield f"{images}, {others} in another class (such as {example}), and every copy is counted: remove the copies"
    for share, what in MASKS.items():
        found = [path for path, part in zip(columns["path"], columns.get("mask_fraction", []), strict=False) if part == share]
        if found:
            yield f"the mask of {_listed(found, 'image', 'images')} has {what}"


def of_both(analysed: pa.Table, fitted: pa.Table, split: str) -> Iterator[str]:
    """Yield a warning if the fitted split, named `split`, also holds analysed images."""
    known = set(fitted["sha256"].to_pylist())
    shared = [path for path, digest in zip(*(analysed[name].to_pylist() for name in ("path", "sha256")), strict=True) if digest in known]
    if shared:
        yield (
            f"the split {split} also holds {_listed(shared, 'analysed image', 'analysed images')}, so that probes are fitted on images that"
            " they are tested on: remove them from one of the splits"
        )


def _listed(items: Sequence[str], one: str, many: str) -> str:
    """Return a count with the first few items in brackets: `2 images (a.png, b.png)`."""
    shown = ", ".join(items[:MAX_EXAMPLES]) + (", ..." if len(items) > MAX_EXAMPLES else "")
    return f"{len(items)} {one if len(items) == 1 else many} ({shown})"
