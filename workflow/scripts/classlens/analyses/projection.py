"""Projection of stored hidden states onto the class embedding.

A projection says which class a hidden state stands for if it is read as the model's head reads its last state. Rank and logit of the true
class are kept, the classes with the largest logits, and the logits of classes of interest, which need not be among the largest.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 3. See docs/concepts.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from classlens.analyses.projection_table import Projections, class_schema, schema
from classlens.compute import out_of_memory
from classlens.compute.device import Compute, without_tf32
from classlens.compute.transfer import Recorded, states_to_device, to_device, waiting_once, writing_beside
from classlens.lens import Lens, largest, rank
from classlens.models.card import Card
from classlens.progress import progress
from classlens.protocol import Protocol
from classlens.storage import hidden_states, parquet
from classlens.vocabulary import PROJECTED_SITES

MID = ("resid_post", "mlp_out")
"""Sites whose difference is `resid_mid`."""

# Bytes per logit during projection: logits of `resid_mid` and of the two sites of `MID`, and what `largest` needs on a GPU.
BYTES_PER_LOGIT = 36


Translate = Callable[[torch.Tensor, int, list[int]], torch.Tensor]
"""Function from states [image, token, width], their block and the ids of their images to other states of the same shape."""


@dataclass(frozen=True)
class States:
    """Stored hidden states of some images. A slice holds those of fewer images.

    Attributes:
        image_ids: [image].
        columns: rows (image, token) of a shard.
        tokens: number of tokens per image.
    """

    image_ids: list[int]
    columns: pa.Table
    tokens: int

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, part: slice) -> "States":
        first, last, _ = part.indices(len(self))
        return States(self.image_ids[part], self.columns.slice(first * self.tokens, (last - first) * self.tokens), self.tokens)


@dataclass(frozen=True)
class Outputs:
    """Shards to write: projections, and logits of the classes of interest."""

    projections: Path
    class_logits: Path


@dataclass(frozen=True)
class Projector:
    """Projects the stored hidden states of one model.

    Attributes:
        lens: the model's lens, on the device.
        card: the model's card.
        top_k: number of classes with the largest logits to keep; all classes if there are fewer.
        compute: device and batch size.
        protocol: chooses the rank of a class among equal logits.
        translate: function that changes states before they are projected, such as a tuned lens; None for none.
    """

    lens: Lens
    card: Card
    top_k: int
    compute: Compute
    protocol: Protocol
    translate: Translate | None = None

    def shard(
        self,
        path: Path,
        interest: dict[int, list[int]],
        outputs: Outputs,
        provenance: dict[str, str],
        *,
        sites: tuple[str, ...] = PROJECTED_SITES,
    ) -> None:
        """Project a shard of hidden states, one batch of images at a time.

        Args:
            path: the shard.
            interest: classes of interest of each image id, without duplicates, the true class first.
            outputs: files to write.
            provenance: schema metadata.
            sites: sites to project.

        Raises:
            InputError: the shard is damaged, or belongs to another model.
        """
        card = self.card

        def work(states: States) -> list[pa.RecordBatch]:
            classes = [interest[image] for image in states.image_ids]
            found, of_interest = self(states, classes, sites)
            return [rows(found), class_rows(found, classes, of_interest)]

        most = self.compute.batch_for(on_device=BYTES_PER_LOGIT * card.tokens * card.classes)
        with (
            parquet.table_writer(outputs.projections, schema(min(self.top_k, card.classes)), provenance) as first,
            parquet.table_writer(outputs.class_logits, class_schema(card.tokens), provenance) as last,
            writing_beside(self.compute.device, partial(parquet.write_all, (first, last))) as write,
        ):
            groups = progress(_groups(path, card), len(interest), "projections", size=len)
            out_of_memory.process_batches(groups, work, write, most)

    def __call__(
        self, states: States, interest: list[list[int]], sites: tuple[str, ...] = PROJECTED_SITES
    ) -> tuple[Projections, np.ndarray]:
        """Return the projections of some images' hidden states, and the logits of their classes of interest.

        Args:
            states: stored hidden states of the images.
            interest: classes of interest of each image, the true class first.
            sites: sites to project, which the states must contain (for `resid_mid`: `resid_post` and `mlp_out`).

        Returns:
            the projections, and logits [image, token, site, block, class]. The last axis is as long as the longest list of `interest`.
            Shorter lists are filled up with their first class.
        """
        with without_tf32():
            found = waiting_once(partial(self._projected, states, interest, sites))["projections"]
        ranks, of_interest, top, top_logit = (part.numpy() for part in found)
        return Projections(states.image_ids, ranks, of_interest[..., 0], top, top_logit, sites), of_interest

    @torch.inference_mode()
    def _projected(self, states: States, interest: list[list[int]], sites: tuple[str, ...]) -> Recorded:
        """Return ranks, logits of the classes of interest, the classes with the largest logits, and these logits, on the device."""
        card, device, top_k = self.card, self.compute.device, min(self.top_k, self.card.classes)
        shape = (len(states), card.tokens, len(sites), card.depth)
        most = max(map(len, interest))
        ranks, of_interest = torch.empty(shape, dtype=torch.int32, device=device), torch.empty((*shape, most), device=device)
        top = torch.empty((*shape, top_k), dtype=torch.int32, device=device)
        top_logit = torch.empty((*shape, top_k), device=device)
        wanted = to_device(torch.tensor([[*classes, *classes[:1] * (most - len(classes))] for classes in interest]), device)
        for block in range(card.depth):
            for site, logits in self._logits(states, block, sites):
                at = np.s_[:, :, sites.index(site), block]
                top_logit[at], top[at] = largest(logits, top_k)
                of_interest[at] = logits.gather(-1, wanted[:, None].expand(-1, card.tokens, -1))
                ranks[at] = rank(logits, wanted[:, 0], self.protocol.ties_rank_first)
        return {"projections": (ranks, of_interest, top, top_logit)}

    def _logits(self, states: States, block: int, sites: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield each site of a block with its logits [image, token, class], `resid_mid` last if they follow from those of its two parts."""
        follows = {*MID, "resid_mid"} <= {*sites} and not self.translate and self.lens.is_linear_but_for_scale
        parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for site in (site for site in sites if site != "resid_mid" or not follows):
            of_site = states_of_site(states.columns, site, block, self.card.tokens, self.compute.device)
            logits = self.lens(self.translate(of_site, block, states.image_ids) if self.translate else of_site)
            if follows and site in MID:
                parts[site] = of_site, logits
            yield site, logits
        if follows:
            (post, of_post), (mlp, of_mlp) = (parts[site] for site in MID)
            yield "resid_mid", self.lens.of_difference(post, mlp, of_post, of_mlp)


def classes_of_interest(manifest: pa.Table, predictions: pa.Table, further: list[int]) -> dict[int, list[int]]:
    """Return the classes of interest by image id: the true class, the model's most likely classes, and the `further` classes."""
    own = dict(zip(manifest["image_id"].to_pylist(), manifest["class_index"].to_pylist(), strict=True))
    likely = zip(predictions["image_id"].to_pylist(), predictions["top"].to_pylist(), strict=True)
    return {image: list(dict.fromkeys([own[image], *classes, *further])) for image, classes in likely}


def _groups(path: Path, card: Card) -> Iterator[States]:
    """Yield each row group of a shard."""
    for group in hidden_states.states_table(path, card.sha256).groups():
        yield States(group["image_id"].to_numpy()[:: card.tokens].tolist(), group, card.tokens)


def states_of_site(group: pa.Table, site: str, block: int, tokens: int, device: torch.device) -> torch.Tensor:
    """Return stored hidden states of a site and block on a device, [image, token, width]. `resid_mid` is `resid_post - mlp_out`."""
    if site == "resid_mid":
        post, mlp = (states_of_site(group, part, block, tokens, device) for part in MID)
        return post - mlp
    return states_to_device(hidden_states.stored_states_of(group, f"{site}.{block}").reshape(-1, tokens), device)


def rows(found: Projections) -> pa.RecordBatch:
    """Return projections, including the largest logits, as rows (image, token, site, block)."""
    images, tokens, sites, blocks, top_k = found.top.shape
    columns = sites * blocks
    assert found.top_logit is not None
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.repeat(np.asarray(found.image_ids, np.int32), tokens * columns)),
            pa.array(np.tile(np.repeat(np.arange(tokens, dtype=np.int16), columns), images)),
            *_sites_and_blocks(found.sites, blocks, images * tokens),
            pa.array(found.rank.ravel()),
            pa.array(found.logit.ravel()),
            pa.FixedSizeListArray.from_arrays(pa.array(found.top.ravel()), top_k),
            pa.FixedSizeListArray.from_arrays(pa.array(found.top_logit.ravel()), top_k),
        ],
        schema=schema(top_k),
    )


def class_rows(found: Projections, interest: list[list[int]], logits: np.ndarray) -> pa.RecordBatch:
    """Return rows (image, class, site, block) from logits [image, token, site, block, class], without the classes that fill up lists."""
    there = [(row, slot) for row, classes in enumerate(interest) for slot in range(len(classes))]
    row, slot = np.array(there).T
    classes = np.array([interest[image][place] for image, place in there], np.int32)
    _, tokens, sites, blocks, _ = logits.shape
    of_class = logits.transpose(0, 4, 2, 3, 1)[row, slot]  # [image and class, site, block, token]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.repeat(np.asarray(found.image_ids, np.int32)[row], sites * blocks)),
            pa.array(np.repeat(classes, sites * blocks)),
            *_sites_and_blocks(found.sites, blocks, len(there)),
            pa.FixedSizeListArray.from_arrays(pa.array(of_class.ravel()), tokens),
        ],
        schema=class_schema(tokens),
    )


def _sites_and_blocks(sites: tuple[str, ...], blocks: int, times: int) -> list[pa.Array]:
    """Return the columns site and block, repeated `times` times."""
    site = np.tile(np.repeat(np.array([PROJECTED_SITES.index(site) for site in sites], np.int8), blocks), times)
    block = np.tile(np.arange(blocks, dtype=np.int16), len(sites) * times)
    return [pa.DictionaryArray.from_arrays(pa.array(site), pa.array(PROJECTED_SITES)), pa.array(block)]
