"""Linear probes: one ridge regression per site, block and token position, which predicts the class from hidden states.

A probe shows how much class information a linear map can read from hidden states if it is trained for their site and block. The projection
reads only what is written in the form of the class embedding. Each regression is solved exactly, through the Gram matrix of the
centred hidden states, in double precision, because a few directions of the residual stream are orders of magnitude larger than the others.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.1. See docs/analyses/probes.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from classlens.errors import InputError
from classlens.models.card import Card
from classlens.protocol import Protocol
from classlens.storage import hidden_states, parquet
from classlens.storage.hidden_states import StoredStates
from classlens.vocabulary import STORED_SITES

ALPHA = 1.0
RANKS = pa.schema(
    [
        ("site", pa.dictionary(pa.int8(), pa.string())),
        ("block", pa.int16()),
        ("token", pa.int16()),
        ("image_id", pa.int32()),
        ("rank", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Probe:
    """A fitted linear probe.

    Attributes:
        weight: [width, class].
        intercept: [class].
    """

    weight: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(cls, states: np.ndarray, classes: np.ndarray, num_classes: int) -> "Probe":
        """Return the ridge regression, with intercept, onto +1 for the class of a hidden state and -1 for every other class.

        Args:
            states: [image, width].
            classes: class index of each image, [image].
            num_classes: number of classes.
        """
        centre = states.mean(axis=0, dtype=np.float64)
        centred = states.astype(np.float32) - centre.astype(np.float32)
        gram = (centred.T @ centred).astype(np.float64)
        gram[np.diag_indices_from(gram)] += ALPHA
        members = csr_array((np.ones(len(classes), np.float32), (classes, np.arange(len(classes)))), shape=(num_classes, len(classes)))
        sums = (members @ centred).astype(np.float64)
        # NumPy's solver: SciPy's would add a second thread pool, which competes with that of the matrix products.
        weight = np.linalg.solve(gram, 2 * sums.T)
        share = np.bincount(classes, minlength=num_classes) / len(classes)
        return cls(weight.astype(np.float32, order="C"), (2 * share - 1 - centre @ weight).astype(np.float32))

    def scores(self, states: np.ndarray) -> np.ndarray:
        """Return the score of each class, [image, class], for hidden states [image, width]."""
        return states.astype(np.float32) @ self.weight + self.intercept


def ranks(scores: np.ndarray, classes: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Return the rank of each image's class among its scores, [image], by the rule that `lens.rank` applies to logits.

    Args:
        scores: [image, class].
        classes: [image].
        protocol: `ties_rank_first` counts larger scores only.

    Raises:
        InputError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise InputError("a score of a linear probe is NaN: the hidden states are damaged")
    true = np.take_along_axis(scores, classes[:, None], axis=1)
    ahead = scores > true
    if not protocol.ties_rank_first:
        ahead |= (scores == true) & (np.arange(scores.shape[1]) < classes[:, None])
    return ahead.sum(axis=1)


def folds(classes: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of each image, 0 or 1, [image], for data without a second split. Each fold has half of every class's images.

    Args:
        classes: class index of each image, [image].
        seed: seed of the division.

    Raises:
        InputError: a class has only one image, so that no probe could be fitted on the class and tested on it.
    """
    counts = np.bincount(classes)
    if (counts == 1).any():
        raise InputError(
            f"linear probes are fitted on one half of the images and tested on the other, and class {int(np.argmax(counts == 1))} has one "
            "image: set images_per_class to at least 2, give the data set a probe_split, or leave `probes` out of `analyses`"
        )
    rng = np.random.default_rng(seed)
    result = np.empty(len(classes), np.int64)
    for index in np.unique(classes):
        members = rng.permutation(np.nonzero(classes == index)[0])
        result[members] = np.arange(len(members)) % 2
    return result


@dataclass(frozen=True)
class Split:
    """The images of a split, and the shards of their hidden states.

    Attributes:
        image_ids: [image].
        classes: class index, [image].
        shards: shards of hidden states, in order.
        model: sha256 of the model weights that the shards must come from; None for any weights.
    """

    image_ids: np.ndarray
    classes: np.ndarray
    shards: list[Path]
    model: str | None = None

    @classmethod
    def read(cls, manifest: Path, shards: list[Path], model: str) -> "Split":
        """Return a split from its manifest and the shards of its hidden states; `model` is the sha256 of the model weights."""
        table = parquet.read_table(manifest, ["image_id", "class_index"])
        return cls(table["image_id"].to_numpy(), table["class_index"].to_numpy().astype(np.int64), shards, model)

    def states(self, column: str) -> StoredStates:
        """Return the hidden states of one site and block, [image, token, width]."""
        states = StoredStates.concatenated([hidden_states.read_stored_states(path, column, self.model) for path in self.shards])
        return states.reshape(len(self.image_ids), -1)


def probe_ranks(train: Split | None, test: Split, num_classes: int, seed: int, protocol: Protocol) -> Callable[[str], np.ndarray]:
    """Return a function from a column of hidden states, such as `resid_post.3`, to the ranks of the true class, [token, image].

    Args:
        train: images to fit probes on; None to fit on each half of the tested images and test on the other half.
        test: images to test probes on.
        num_classes: number of classes.
        seed: seed of the halves.
        protocol: chooses ranks among equal scores.

    Raises:
        InputError: a tested class has no image to fit a probe on.
    """
    if train is not None:
        _check_classes(train.classes, test.classes)
    halves = folds(test.classes, seed) if train is None else None

    def of_column(column: str) -> np.ndarray:
        tested = test.states(column)
        fitted = tested if train is None else train.states(column)
        return np.stack([of_token(fitted[:, token], tested[:, token]) for token in range(tested.values.shape[1])])

    def of_token(fitted: np.ndarray, tested: np.ndarray) -> np.ndarray:
        if train is not None:
            return ranks(Probe.fit(fitted, train.classes, num_classes).scores(tested), test.classes, protocol)
        result = np.empty(len(tested), np.int64)
        for fold in (0, 1):
            inside = halves == fold
            probe = Probe.fit(fitted[~inside], test.classes[~inside], num_classes)
            result[inside] = ranks(probe.scores(tested[inside]), test.classes[inside], protocol)
        return result

    return of_column


def _check_classes(train: np.ndarray, test: np.ndarray) -> None:
    """Raise an InputError if a tested class has no image to fit on, because a probe would rank the class at random."""
    missing = np.setdiff1d(test, train)
    if len(missing):
        raise InputError(
            f"the split that linear probes are fitted on has no image of {len(missing)} of {len(np.unique(test))} tested classes (indices "
            f"{', '.join(map(str, missing[:5]))}): complete the data set's probe_split, or leave `probes` out of `analyses`"
        )


def columns(card: Card) -> Iterator[tuple[str, int]]:
    """Yield every site and block that is probed."""
    return ((site, block) for site in STORED_SITES for block in range(card.depth))


def rank_rows(site: str, block: int, image_ids: np.ndarray, found: np.ndarray) -> pa.RecordBatch:
    """Return rows (site, block, token, image) from ranks [token, image]."""
    tokens, images = found.shape
    arrays = [
        pa.DictionaryArray.from_arrays(pa.array(np.full(found.size, STORED_SITES.index(site), np.int8)), pa.array(STORED_SITES)),
        pa.array(np.full(found.size, block, np.int16)),
        pa.array(np.repeat(np.arange(tokens, dtype=np.int16), images)),
        pa.array(np.tile(image_ids.astype(np.int32), tokens)),
        pa.array(found.ravel().astype(np.int32)),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=RANKS)
