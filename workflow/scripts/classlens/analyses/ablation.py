"""Ablation: the output if a component is replaced by its mean over images.

Two effects are compared. The *direct* effect replaces only what the component itself writes into the logits (`attribution`) and needs no
forward pass. The *total* effect replaces the component's output in the model, and later blocks run again. Where the total effect is
smaller, later components make up for the loss (self-repair); where it is larger, they depend on the component.

Source: Gandelsman, Efros & Steinhardt, ICLR 2024 (direct); Wang et al., ICLR 2023 (mean ablation); McGrath et al., 2023 (self-repair).
See docs/analyses/ablation.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses.attribution import Attribution
from classlens.analyses.attribution_table import NOWHERE
from classlens.compute.transfer import to_host
from classlens.trace import Edit, Trace, ViT, starting_at

KINDS = ("none", "direct", "cumulative", "total")
"""`none` ablates nothing. `cumulative` is the direct effect of all heads, all MLPs, or both, of a block and all later ones."""
PARTS = ("model", "head", "mlp", "heads", "mlps", "all")
SCHEMA = pa.schema(
    [
        ("kind", pa.dictionary(pa.int8(), pa.string())),
        ("part", pa.dictionary(pa.int8(), pa.string())),
        ("block", pa.int16()),
        ("head", pa.int16()),
        ("image_id", pa.int32()),
        ("logit", pa.float32()),
        ("correct", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Ablated:
    """Logits of images without a part of the model.

    Attributes:
        kind: one of `KINDS`.
        part: one of `PARTS`.
        block: the block, or the first of the ablated blocks; -1 if nothing is ablated.
        head: the head; -1 for other parts.
        logits: minus their mean over classes, [image, class].
    """

    kind: str
    part: str
    block: int
    head: int
    logits: Tensor


@dataclass(frozen=True)
class Effects:
    """Logits and correctness of some images' classes under several ablations, on the CPU.

    Attributes:
        ablated: kind, part, block and head of each (`Ablated`).
        logit: logit of each image's class, [image] each.
        correct: whether this class has the largest logit, bool [image] each.
    """

    ablated: list[tuple[str, str, int, int]]
    logit: tuple[Tensor, ...]
    correct: tuple[Tensor, ...]

    @classmethod
    def of(cls, found: Iterable[Ablated], classes: Tensor) -> "Effects":
        """Return the effects on images with these classes, [image], which are on the device of the logits."""
        ablated, logit, correct = [], [], []
        for one in found:
            ablated.append((one.kind, one.part, one.block, one.head))
            logit.append(one.logits.gather(1, classes[:, None])[:, 0].float())
            correct.append(one.logits.argmax(dim=1) == classes)
        return cls(ablated, **to_host({"logit": tuple(logit), "correct": tuple(correct)}))

    def rows(self, image_ids: list[int]) -> Iterator[pa.RecordBatch]:
        """Yield rows (part, image) for each ablation."""
        count = len(image_ids)
        for (kind, part, block, head), logit, correct in zip(self.ablated, self.logit, self.correct, strict=True):
            named = [
                pa.DictionaryArray.from_arrays(pa.array(np.full(count, names.index(name), np.int8)), pa.array(names))
                for name, names in ((kind, KINDS), (part, PARTS))
            ]
            places = [pa.array(np.full(count, place, np.int16)) for place in (block, head)]
            values = [pa.array(image_ids, pa.int32()), pa.array(logit.numpy()), pa.array(correct.numpy())]
            yield pa.RecordBatch.from_arrays([*named, *places, *values], schema=SCHEMA)


@dataclass(frozen=True)
class Means:
    """Means of an attribution's vectors over images: heads [block, head, width] and MLPs [block, width]."""

    heads: Tensor
    mlps: Tensor


def direct(found: Attribution, means: Means) -> Iterator[Ablated]:
    """Yield the logits of images without each head and each MLP, and without all heads, all MLPs or both from each block on.

    Args:
        found: what each component adds to the output of these images.
        means: means over all images.
    """
    output = found.output
    yield Ablated("none", "model", NOWHERE, NOWHERE, output)
    heads, mlps = found.heads - means.heads, found.mlps - means.mlps
    for block in range(heads.shape[1]):
        for head in range(heads.shape[2]):
            yield Ablated("direct", "head", block, head, output - found.logits(heads[:, block, head]))
        yield Ablated("direct", "mlp", block, NOWHERE, output - found.logits(mlps[:, block]))
    of_heads = heads.sum(dim=2)
    for part, changes in (("heads", of_heads), ("mlps", mlps), ("all", of_heads + mlps)):
        later = changes.flip(1).cumsum(dim=1).flip(1)
        for block in range(heads.shape[1]):
            yield Ablated("cumulative", part, block, NOWHERE, output - found.logits(later[:, block]))


@torch.no_grad()
def total(model: ViT, images: Tensor, means: dict[str, Tensor]) -> Iterator[Ablated]:
    """Yield the logits of images whose model runs without each head and each MLP; their outputs are means over images at each token.

    Args:
        model: an accepted model in evaluation mode.
        images: [image, 3, height, width].
        means: means over images of `attn_heads.{block}` and `mlp_out.{block}`, [token, width], on the model's device.
    """
    depth = len(model.blocks)
    with Trace(model, [f"resid_pre.{block}" for block in range(depth)]) as trace:
        model(images)
    for block, module in enumerate(model.blocks):
        heads = module.attn.num_heads
        start = trace.pop(f"resid_pre.{block}")
        variants = heads + 1
        edits = _edits(block, heads, start, means)
        with starting_at(model, block), Trace(model, edit=edits):
            logits = model(images.repeat(variants, 1, 1, 1))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # of a forward pass in mixed precision
        of_variants = (logits - logits.mean(dim=1, keepdim=True)).unflatten(0, (variants, len(images)))
        for head in range(heads):
            yield Ablated("total", "head", block, head, of_variants[head])
        yield Ablated("total", "mlp", block, NOWHERE, of_variants[heads])


def _edits(block: int, heads: int, start: Tensor, means: dict[str, Tensor]) -> dict[str, Edit]:
    """Return the edits of a run from a block on with one copy of the images per head, and one for the MLP."""

    def restart(states: Tensor) -> Tensor:
        return start.repeat(heads + 1, 1, 1)

    def without_head(states: Tensor) -> Tensor:
        copies = states.unflatten(0, (heads + 1, -1)).unflatten(-1, (heads, -1)).clone()
        mean = means[f"attn_heads.{block}"].to(states).unflatten(-1, (heads, -1))
        for head in range(heads):
            copies[head, :, :, head] = mean[:, head]
        return copies.flatten(-2).flatten(0, 1)

    def without_mlp(states: Tensor) -> Tensor:
        copies = states.unflatten(0, (heads + 1, -1)).clone()
        copies[heads] = means[f"mlp_out.{block}"].to(states)
        return copies.flatten(0, 1)

    return {f"resid_pre.{block}": restart, f"attn_heads.{block}": without_head, f"mlp_out.{block}": without_mlp}
