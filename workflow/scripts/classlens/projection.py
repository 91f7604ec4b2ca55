"""Projections of stored hidden states onto the class embedding: rank and logit of the true class, and the classes with the largest logits.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 3; methods, section 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens import out_of_memory, storage
from classlens.card import Card
from classlens.cli import progress
from classlens.compute import Compute
from classlens.errors import InputError
from classlens.lens import Lens, rank
from classlens.projection_table import SITES, schema

# Bytes of a logit while it is projected: itself, what ranks and the largest are found with, and as much again for what is on its way.
BYTES_PER_LOGIT = 12


@dataclass(frozen=True)
class States:
    """Stored hidden states of some images; a slice is those of fewer.

    Attributes:
        image_ids: [image].
        columns: rows (image, token) of a shard.
        tokens: how many an image has.
    """

    image_ids: list[int]
    columns: pa.Table
    tokens: int

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, part: slice) -> "States":
        first, last, _ = part.indices(len(self))
        return States(self.image_ids[part], self.columns.slice(first * self.tokens, (last - first) * self.tokens), self.tokens)


def project(
    lens: Lens,
    card: Card,
    states_path: Path,
    manifest: pa.Table,
    top_k: int,
    compute: Compute,
    path: Path,
    provenance: dict[str, str],
) -> None:
    """Project a shard of hidden states, one batch of images at a time.

    Args:
        lens: the model's lens.
        card: the model's card.
        states_path: shard of hidden states.
        manifest: rows of the manifest, for the images' classes.
        top_k: how many classes with the largest logits to keep.
        compute: how to run.
        path: shard of projections to write.
        provenance: schema metadata.

    Raises:
        InputError: the shard is damaged, is not this model's, or `top_k` exceeds the number of classes.
    """
    if top_k > card.classes:
        raise InputError(f"config key `projection.top_k` is {top_k}, and the model has {card.classes} classes: lower it")
    compute.place(lens)
    classes = dict(zip(manifest["image_id"].to_pylist(), manifest["class_index"].to_pylist(), strict=True))

    def work(states: States) -> pa.RecordBatch:
        return _projected(lens, card, states, torch.tensor([classes[image] for image in states.image_ids]), top_k, compute)

    most = compute.batch_for(on_device=BYTES_PER_LOGIT * card.tokens * card.classes)
    with storage.table_writer(path, schema(top_k), provenance) as write:
        out_of_memory.each(progress(_groups(states_path, card), len(classes), "projections", size=len), work, write, most)


def _groups(path: Path, card: Card) -> Iterator[States]:
    """Each row group of a shard."""
    for group in storage.StoredTable(path, card.sha256).groups():
        yield States(group["image_id"].to_numpy()[:: card.tokens].tolist(), group, card.tokens)


def states_of_site(group: pa.Table, site: str, block: int, tokens: int) -> np.ndarray:
    """Stored states of a site and block as float32 [image, token, width]; `resid_mid` is computed from its two neighbours."""
    if site == "resid_mid":
        return states_of_site(group, "resid_post", block, tokens) - states_of_site(group, "mlp_out", block, tokens)
    states = storage.states_of(group[f"{site}.{block}"], group.schema.metadata[b"dtype"].decode())
    return states.reshape(-1, tokens, states.shape[1]).astype(np.float32)


def _projected(lens: Lens, card: Card, states: States, classes: Tensor, top_k: int, compute: Compute) -> pa.RecordBatch:
    order = [(site, block) for site in SITES for block in range(card.depth)]
    shape = (len(states), card.tokens, len(order))
    ranks, logit = np.empty(shape, np.int32), np.empty(shape, np.float32)
    top, top_logit = np.empty((*shape, top_k), np.int32), np.empty((*shape, top_k), np.float32)
    classes = classes.to(compute.device)
    for column, (site, block) in enumerate(order):
        with torch.inference_mode():
            logits = lens(torch.from_numpy(states_of_site(states.columns, site, block, card.tokens)).to(compute.device))
            best = logits.topk(top_k, dim=-1)
            true = logits.gather(-1, classes.view(-1, 1, 1).expand(-1, card.tokens, 1))[..., 0]
            ranks[:, :, column], logit[:, :, column] = rank(logits, classes).cpu(), true.cpu()
            top[:, :, column], top_logit[:, :, column] = best.indices.cpu(), best.values.cpu()
    images, tokens, columns = shape
    site_index = np.tile(np.repeat(np.arange(len(SITES), dtype=np.int8), card.depth), images * tokens)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.repeat(np.asarray(states.image_ids, np.int32), tokens * columns)),
            pa.array(np.tile(np.repeat(np.arange(tokens, dtype=np.int16), columns), images)),
            pa.DictionaryArray.from_arrays(pa.array(site_index), pa.array(SITES)),
            pa.array(np.tile(np.arange(card.depth, dtype=np.int16), images * tokens * len(SITES))),
            pa.array(ranks.ravel()),
            pa.array(logit.ravel()),
            pa.FixedSizeListArray.from_arrays(pa.array(top.ravel()), top_k),
            pa.FixedSizeListArray.from_arrays(pa.array(top_logit.ravel()), top_k),
        ],
        schema=schema(top_k),
    )
