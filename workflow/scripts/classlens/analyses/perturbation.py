"""Class identifiability of a model when attention is cut or tokens are removed.

If identifiability falls, class information comes from the tokens that were removed or could not be attended to. Each condition is compared
with the undisturbed model at the same tokens.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1. See docs/analyses/attention.md and docs/analyses/tokens.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses.groups import Groups, TokenLabels
from classlens.compute.transfer import Recorded, to_device, waiting_once
from classlens.data.batches import Batch
from classlens.lens import Lens, rank
from classlens.models import token_pruning
from classlens.models.card import Card
from classlens.protocol import Protocol
from classlens.trace import Trace, ViT, unfused

ATTENTION = ("self_only", "no_cls")
TOKENS = {"without_context": "context", "without_class": "class"}
"""Label of the tokens that each condition removes."""

CONDITIONS = ("none", *ATTENTION, *TOKENS)


SCHEMA = pa.schema(
    [("condition", pa.dictionary(pa.int8(), pa.string())), ("image_id", pa.int32()), ("token", pa.int16()), ("rank", pa.int32())]
)
ACCURACY_SCHEMA = pa.schema([("condition", pa.dictionary(pa.int8(), pa.string())), ("image_id", pa.int32()), ("correct", pa.bool_())])


@dataclass(frozen=True)
class Outcome:
    """Results of some images under one condition, on the CPU.

    Attributes:
        condition: name of the condition.
        rows: indices in the batch of the images that ran, [run].
        emptied: indices in the batch of the images that did not run because they have no image token left, [emptied].
        position: position of each kept token in the whole image, [run, kept].
        real: False for padding tokens, and for removed tokens that keep their place in the sequence, bool [run, kept].
        rank: rank of the true class in the last block, [run, kept].
        correct: whether the model's output is correct, bool [run].
    """

    condition: str
    rows: Tensor
    emptied: Tensor
    position: Tensor
    real: Tensor
    rank: Tensor
    correct: Tensor

    def ranks(self, image_ids: list[int]) -> pa.RecordBatch:
        """Return rows (condition, image, token) for a batch with these image ids."""
        run = self.rows.tolist()
        lengths = self.real.sum(dim=1).numpy()
        image = np.repeat(np.array([image_ids[row] for row in run], np.int32), lengths)
        columns = [image, self.position[self.real].numpy().astype(np.int16), self.rank[self.real].numpy().astype(np.int32)]
        return pa.RecordBatch.from_arrays([self._named(len(image)), *map(pa.array, columns)], schema=SCHEMA)

    def accuracy(self, image_ids: list[int]) -> pa.RecordBatch:
        """Return rows (condition, image) for a batch with these image ids; `correct` is null for an emptied image."""
        rows = [*zip(self.rows.tolist(), self.correct.tolist(), strict=True), *((row, None) for row in self.emptied.tolist())]
        image = pa.array([image_ids[row] for row, _ in sorted(rows)], pa.int32())
        correct = pa.array([right for _, right in sorted(rows)], pa.bool_())
        return pa.RecordBatch.from_arrays([self._named(len(image)), image, correct], schema=ACCURACY_SCHEMA)

    def _named(self, count: int) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(np.full(count, CONDITIONS.index(self.condition), np.int8)), pa.array(CONDITIONS))


def conditions(card: Card, analyses: Sequence[str], masks: bool) -> list[str]:
    """Return the conditions of a model's analyses. `no_cls` needs a model with [CLS], and removing tokens needs masks."""
    attention = [name for name in ATTENTION if card.cls_token or name != "no_cls"] if "attention" in analyses else []
    return ["none", *attention, *(TOKENS if "tokens" in analyses and masks else [])]


def attention_mask(condition: str, card: Card, device: torch.device) -> Tensor | None:
    """Return which tokens (columns) each token (row) may attend to, bool [token, token]; None if a token may attend to all.

    `self_only`: an image token attends to itself only. `no_cls`: no image token attends to [CLS]. Prefix tokens attend to all tokens.
    """
    if condition not in ATTENTION:
        return None
    image = torch.arange(card.tokens, device=device) >= card.prefix_tokens
    if condition == "self_only":
        return torch.eye(card.tokens, dtype=torch.bool, device=device) | ~image[:, None]
    return ~(image[:, None] & (torch.arange(card.tokens, device=device) == 0))


@dataclass(frozen=True)
class _Chosen:
    """The images that run under a condition, and the tokens that they keep, bool [run, token] (`Outcome`), on the CPU."""

    condition: str
    rows: Tensor
    emptied: Tensor
    kept: Tensor


class Perturbations:
    """Runs a model on images under every condition.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: the model's lens.
        card: the model's card.
        conditions: names of the conditions, from the function `conditions`.
        protocol: chooses how `no_cls` blocks attention, and whether images without image tokens run.
    """

    def __init__(self, model: ViT, lens: Lens, card: Card, conditions: list[str], protocol: Protocol):
        self._model, self._lens, self._card = model, lens, card
        self._conditions, self._protocol = conditions, protocol

    def __call__(self, batch: Batch, labels: TokenLabels | None) -> list[Outcome]:
        """Return the outcome under each condition.

        Args:
            batch: images and their classes.
            labels: token labels; None if the images have no masks.
        """
        groups = labels.groups(batch.image_ids) if labels else {}
        chosen = [self._chosen(condition, len(batch), groups) for condition in self._conditions]
        ran = [one for one in chosen if len(one.rows) + len(one.emptied)]
        found = waiting_once(partial(self._run_all, batch, ran))
        return [Outcome(one.condition, one.rows, one.emptied, *found[one.condition]) for one in ran]

    def _chosen(self, condition: str, images: int, groups: Groups) -> _Chosen:
        kept, asked = torch.ones(images, self._card.tokens, dtype=torch.bool), torch.ones(images, dtype=torch.bool)
        if condition in TOKENS:
            kept = ~torch.from_numpy(groups[TOKENS[condition]])
            asked = torch.from_numpy(np.logical_or(*groups.values()).any(axis=1))
        left = kept[:, self._card.prefix_tokens :].any(dim=1)
        if self._protocol.run_emptied_images and not self._lens.pooled:
            left = torch.ones_like(left)
        rows = (asked & left).nonzero()[:, 0]
        return _Chosen(condition, rows, (asked & ~left).nonzero()[:, 0], kept[rows])

    def _run_all(self, batch: Batch, chosen: list[_Chosen]) -> Recorded:
        states = token_pruning.embed(self._model, batch.images)
        return {one.condition: self._run(one, states, batch.classes) for one in chosen}

    def _run(self, chosen: _Chosen, states: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return position, real, rank and correct of an `Outcome`, on the device of the states."""
        rows = to_device(chosen.rows, states.device)
        tokens, classes = token_pruning.keep(self._model, states[rows], chosen.kept), classes[rows]
        if chosen.condition == "no_cls" and self._protocol.zero_attention_to_cls:
            with _attention_to_cls_zeroed(self._model, self._card):
                states = token_pruning.last_states(self._model, tokens.states)
        else:
            mask = attention_mask(chosen.condition, self._card, states.device)
            states = token_pruning.last_states(self._model, tokens.states, tokens.attention_mask if mask is None else mask)
        correct = self._lens.output(states, tokens.real).argmax(dim=-1) == classes
        real = torch.ones_like(tokens.position, dtype=torch.bool) if tokens.real is None else tokens.real
        return tokens.position, real, rank(self._lens(states), classes, self._protocol.ties_rank_first), correct


@contextmanager
def _attention_to_cls_zeroed(model: ViT, card: Card) -> Iterator[None]:
    """Set attention of image tokens to [CLS] to zero after the softmax, so that a token's weights no longer sum to one."""

    def zero(attention: Tensor) -> Tensor:
        attention[:, :, card.prefix_tokens :, 0] = 0
        return attention

    with unfused(model), Trace(model, edit={f"attn_weights.{block}": zero for block in range(card.depth)}):
        yield
