"""Heads that are fitted to the features of a split: multinomial logistic regression, ridge regression and class prototypes.

Regressions are fitted in double precision to features of mean 0 and variance 1. The mean and the scale of the features are then folded into
weight and bias, so that the head reads the features as they are. The strength of the L2 penalty is the one with the best accuracy on a
held-out tenth of the images; the head is then fitted again to all images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_array

from classlens.errors import InputError
from classlens.lens import largest
from classlens.models.class_embedding import ClassEmbedding, Vectors
from classlens.progress import log, progress

STRENGTHS = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Strengths of the L2 penalty to choose from, strongest first: the strongest of equally accurate ones is chosen."""
HELD_OUT = 10
"""One image in this number is held out to choose the strength."""
GRADIENT, COARSE_GRADIENT = 1e-7, 1e-4
"""Largest entry of the gradient at which logistic regression ends, and at which it ends while the strength is chosen, because this takes a
fraction of the steps. The loss is a mean over images."""
MOST_STEPS = 5000
ROWS = 8192
"""Images per block of a sum over images, which limits the RAM of double-precision copies."""


Solutions = list[tuple[np.ndarray, np.ndarray]]
"""Weight [class, width] and bias [class] for standardised features, for each strength."""


@dataclass(frozen=True)
class Features:
    """The features of a split.

    Attributes:
        values: float32 [image, width].
        classes: class index of each image, [image].
    """

    values: np.ndarray
    classes: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice) -> "Features":
        return Features(self.values[rows], self.classes[rows])

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each feature, [width]; 1 instead of the deviation of a constant feature."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Scale":
        """Return the mean and deviation of features [image, width]."""
        mean = values.mean(axis=0, dtype=np.float64)
        deviation = np.sqrt(sum(((part - mean) ** 2).sum(axis=0) for part in _blocks(values)) / len(values))
        return cls(mean, np.where(deviation > 0, deviation, 1))

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """Return features of mean 0 and variance 1, float64 [image, width]."""
        return (values - self.mean) / self.deviation

    def folded(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight and bias for features as they are, from those for standardised features, [class, width] and [class]."""
        weight = weight / self.deviation
        return weight, bias - weight @ self.mean


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + ROWS] for start in range(0, len(values), ROWS)]


def fit(kind: str, features: Features, classes: list[tuple[str, str]], seed: int) -> tuple[Vectors, dict[str, Any]]:
    """Fit a head to features.

    Args:
        kind: `linear`, `ridge` or `prototypes`.
        features: features of the split.
        classes: (id, name) of each class.
        seed: seed of the held-out images.

    Returns:
        class vectors, and facts: `images`, `strength` (None for prototypes) and `held_out_accuracy`.

    Raises:
        InputError: a class has fewer than two images.
    """
    held_out = _held_out(features.classes, classes, seed)
    rest, tested = features[~held_out], features[held_out]
    if kind == "prototypes":
        strength, rate = None, accuracy(prototypes(rest, len(classes)), tested)
        vectors = prototypes(features, len(classes))
    else:
        strength, rate = _chosen(kind, rest, tested, len(classes))
        vectors = _regressions(linear if kind == "linear" else ridge, features, len(classes), (strength,))[0]
    return vectors, {"images": len(features), "strength": strength, "held_out_accuracy": rate}


def _held_out(classes: np.ndarray, names: list[tuple[str, str]], seed: int) -> np.ndarray:
    """Return which images are held out, bool [image]: a tenth of each class, and at least one image."""
    counts = np.bincount(classes, minlength=len(names))
    if (counts < 2).any():
        few = int(np.argmax(counts < 2))
        class_id, name = names[few]
        raise InputError(
            f"the split that the head is fitted on has {counts[few]} of the images of class {class_id} ({name}), but at least two are "
            "needed: add some, or set another `split` of the model's `class_embedding`"
        )
    rng, held_out = np.random.default_rng(seed), np.zeros(len(classes), bool)
    for index in range(len(names)):
        members = rng.permutation(np.nonzero(classes == index)[0])
        held_out[members[: max(1, round(len(members) / HELD_OUT))]] = True
    return held_out


def _chosen(kind: str, rest: Features, tested: Features, num_classes: int) -> tuple[float, float]:
    """Return the strength with the best accuracy on held-out images, and this accuracy."""
    solve = partial(linear, gradient=COARSE_GRADIENT) if kind == "linear" else ridge
    rates = [accuracy(vectors, tested) for vectors in _regressions(solve, rest, num_classes, STRENGTHS)]
    best = int(np.argmax(rates))  # the first of equal ones
    return STRENGTHS[best], rates[best]


def _regressions(solve: Callable[..., Solutions], features: Features, num_classes: int, strengths: tuple[float, ...]) -> list[Vectors]:
    """Return the class vectors of a regression (`linear` or `ridge`) for each strength."""
    scale = Scale.of(features.values)
    found = [scale.folded(*solution) for solution in solve(features, scale, num_classes, strengths)]
    return [Vectors(torch.from_numpy(weight).float(), torch.from_numpy(bias).float()) for weight, bias in found]


def linear(features: Features, scale: Scale, num_classes: int, strengths: tuple[float, ...], gradient: float = GRADIENT) -> Solutions:
    """Return multinomial logistic regressions: the minimum of mean cross-entropy + strength / 2 * ‖weight‖², by L-BFGS.

    Args:
        features: features of the split.
        scale: their mean and deviation.
        num_classes: number of classes.
        strengths: strengths of the penalty. Each regression starts from the one before.
        gradient: largest entry of the gradient at which a regression ends.
    """
    width, found = features.values.shape[1], []
    start = np.zeros(num_classes * (width + 1))
    for strength in progress(strengths, len(strengths), "logistic regression", unit="strengths"):
        arguments, options = (features, scale, num_classes, strength), {"maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "gtol": gradient}
        result = minimize(loss, start, arguments, method="L-BFGS-B", jac=True, options={**options, "ftol": 0, "maxcor": 20})
        steepest = float(np.abs(result.jac).max())
        if steepest > 100 * gradient:
            log.warning("logistic regression has not converged: its gradient is %.1e after %d steps", steepest, result.nit)
        start = result.x
        found.append((result.x.reshape(num_classes, -1)[:, :-1], result.x.reshape(num_classes, -1)[:, -1]))
    return found


def loss(parameters: np.ndarray, features: Features, scale: Scale, num_classes: int, strength: float) -> tuple[float, np.ndarray]:
    """Return the penalised loss of logistic regression and its gradient.

    Args:
        parameters: weight and bias, float64 [class * (width + 1)], the bias last in each class.
        features: features of the split.
        scale: their mean and deviation.
        num_classes: number of classes.
        strength: strength of the penalty, which the bias does not have.
    """
    both = parameters.reshape(num_classes, -1)
    weight, bias, total, slope = both[:, :-1], both[:, -1], 0.0, np.zeros_like(both)
    for start in range(0, len(features), ROWS):
        part = features[start : start + ROWS]
        inputs, rows = scale.standardised(part.values), np.arange(len(part))
        logits = inputs @ weight.T + bias
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        sums = shares.sum(axis=1, keepdims=True)
        total += float(np.log(sums).sum() - logits[rows, part.classes].sum())
        shares /= sums
        shares[rows, part.classes] -= 1
        slope[:, :-1] += shares.T @ inputs
        slope[:, -1] += shares.sum(axis=0)
    slope /= len(features)
    slope[:, :-1] += strength * weight
    return total / len(features) + strength / 2 * float((weight**2).sum()), slope.ravel()


def ridge(features: Features, scale: Scale, num_classes: int, strengths: tuple[float, ...]) -> Solutions:
    """Return ridge regressions onto 1 for an image's class and 0 for the others: the minimum of mean squared error + strength * ‖weight‖².

    The arguments are those of `linear`.
    """
    width = features.values.shape[1]
    gram, products = np.zeros((width, width)), np.zeros((num_classes, width))
    for start in range(0, len(features), ROWS):
        part = features[start : start + ROWS]
        inputs = scale.standardised(part.values)
        gram += inputs.T @ inputs
        products += _members(part.classes, num_classes) @ inputs
    share = np.bincount(features.classes, minlength=num_classes) / len(features)
    # The features have mean 0, so that the bias is the share of the class. NumPy's solver uses the thread pool of the products.
    penalty = np.eye(width) * len(features)
    return [(np.linalg.solve(gram + strength * penalty, products.T).T, share) for strength in strengths]


def prototypes(features: Features, num_classes: int) -> Vectors:
    """Return the mean feature of each class, to compare by cosine."""
    sums = np.zeros((num_classes, features.values.shape[1]))
    for start in range(0, len(features), ROWS):
        part = features[start : start + ROWS]
        sums += _members(part.classes, num_classes) @ part.values.astype(np.float64)
    means = sums / np.bincount(features.classes, minlength=num_classes)[:, None]
    return Vectors(torch.from_numpy(means).float(), None, normalization="cosine")


def _members(classes: np.ndarray, num_classes: int) -> csr_array:
    """Return the matrix [class, image] that has 1 where an image belongs to a class."""
    return csr_array((np.ones(len(classes)), (classes, np.arange(len(classes)))), shape=(num_classes, len(classes)))


def accuracy(vectors: Vectors, features: Features) -> float:
    """Return the share of images for which the class vectors predict the true class."""
    head = ClassEmbedding(vectors.vectors, vectors.bias, None, vectors.normalization == "cosine", vectors.temperature)
    right = 0
    for start in range(0, len(features), ROWS):
        part = features[start : start + ROWS]
        with torch.inference_mode():
            best = largest(head(torch.tensor(part.values)), 1)[1][:, 0]
        right += int((best == torch.from_numpy(part.classes)).sum())
    return right / len(features)
