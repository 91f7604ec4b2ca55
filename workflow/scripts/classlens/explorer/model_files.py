"""The explorer's files of one model: facts about the model and, for each image, its numbers and the image as the model sees it."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from classlens.analyses import projection_table, tokens
from classlens.analyses.identifiability import chance
from classlens.compute.ordered_map import ordered_map
from classlens.data.geometry import Geometry
from classlens.data.images import read_image
from classlens.data.manifest_classes import classes_of
from classlens.explorer import terms
from classlens.explorer.choice import Choice, predictions_of
from classlens.explorer.payload import call, indices, packed
from classlens.explorer.series import Series
from classlens.explorer.stories import Outcome, ToldModel, start, stories
from classlens.explorer.tables import ImageArrays, Maps, Objects, Perturbed, Shards, outcomes, projected, shown_sites
from classlens.models.card import Card
from classlens.progress import progress
from classlens.storage import parquet
from classlens.vocabulary import SUBLAYERS, TUNED_LENS

JPEG_QUALITY = 85
THUMBNAIL = 96
"""Largest width and height of a thumbnail in pixels."""
IMAGES_AHEAD = 16
"""Maximum number of images that are in work or waiting, so that the RAM does not depend on the number of images."""


@dataclass(frozen=True)
class Sources:
    """Paths of a model's tables; None or an empty list for analyses that were not run."""

    manifest: Path
    card: Path
    predictions: Path
    projections: list[Path]
    class_logits: list[Path]
    memory_keys: list[Path]
    interpretable_values: Path | None
    tokens: Path | None
    ranks: Path | None
    accuracy: Path | None
    relevance: Path | None
    attribution: Path | None = None
    tuned: list[Path] = field(default_factory=list)
    tuned_logits: list[Path] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to show of a model.

    Attributes:
        name: name of the model in the config.
        choice: which images to show.
        twin: name of the random twin that the explorer shows beside the model; None if there is none.
    """

    name: str
    choice: Choice
    twin: str | None


class ModelFiles:
    """Writer of the explorer's files of one model.

    Args:
        sources: paths of the model's tables.
        wanted: what to show.
        root: folder of the data set; None if only results are available, without images.
        mask_root: folder that the paths of masks are relative to; None for `root`.

    Raises:
        InputError: a table is damaged or belongs to another model.
    """

    def __init__(self, sources: Sources, wanted: Wanted, root: Path | None, mask_root: Path | None = None):
        self._sources, self._wanted, self._root, self._mask_root = sources, wanted, root, mask_root or root
        self._card = card = Card.read(sources.card)
        self._manifest = parquet.read_table(sources.manifest)
        self._rows = {row["image_id"]: row for row in self._manifest.to_pylist()}
        self._predictions = predictions_of(sources.predictions, card)
        self._images = wanted.choice.among(list(self._predictions))
        self._maps = Maps(sources.relevance, card.sha256) if sources.relevance else None
        self._perturbed = Perturbed(sources.ranks, sources.accuracy, card) if sources.ranks and sources.accuracy else None
        self._objects = Objects(sources.tokens) if sources.tokens else None
        self._values = parquet.read_table(sources.interpretable_values, model=card.sha256) if sources.interpretable_values else None
        self._sites = [*shown_sites(projection_table.sites_in(sources.projections[0], card)), *([TUNED_LENS] if sources.tuned else [])]
        self._geometry = Geometry(card.transform)

    def write(self, folder: Path, threads: int) -> None:
        """Write all files of the model.

        Args:
            folder: folder to write, which does not exist yet.
            threads: number of images to pack in parallel.

        Raises:
            InputError: a table is damaged, or an image is not the one that the manifest describes.
        """
        for name in ("images", "thumbnails"):
            (folder / name).mkdir(parents=True)
        memories = 1 + max(self._values["memory"].to_pylist()) if self._values else 0
        sources = self._sources
        shards = Shards(
            card=self._card, projections=sources.projections, class_logits=sources.class_logits,
            memory_keys=sources.memory_keys, memories=memories, tuned=sources.tuned, tuned_logits=sources.tuned_logits,
        )  # fmt: skip
        images = progress(projected(shards, set(self._images)), len(self._images), "images of the explorer")

        def submit(pool: ThreadPoolExecutor, item: tuple[int, ImageArrays]) -> Callable[[], tuple[int, dict[str, Outcome]]]:
            return pool.submit(self._write_image, folder, *item).result

        found = dict(ordered_map(submit, images, threads, IMAGES_AHEAD))
        (folder / "model.js").write_bytes(call("model", self._wanted.name, self._summary(found)))
        if self._values:
            written = packed(written_classes(self._values, self._card), {})
            (folder / "memories.js").write_bytes(call("memories", self._wanted.name, written))
        if sources.attribution:
            self._write_terms(folder / "attribution", sources.attribution)

    def _write_terms(self, folder: Path, table: Path) -> None:
        """Write what heads and MLPs add to the logits of each image, a file per image."""
        folder.mkdir()
        for image, arrays in progress(terms.read(table, self._card), len(self._images), "images with terms of heads and MLPs"):
            (folder / f"{image:05d}.js").write_bytes(call("attribution", self._wanted.name, image, packed(arrays, {})))

    def _write_image(self, folder: Path, image: int, shown: ImageArrays) -> tuple[int, dict[str, Outcome]]:
        """Write an image's files; return its id, and its outcomes by condition."""
        for part in (self._maps, self._perturbed, self._objects):
            if part:
                part.add(image, shown)
        prediction = self._predictions[image]
        shown.arrays["output"] = np.array(prediction["top"], np.int32)
        shown.arrays["output_logit"] = np.array(prediction["top_logit"], np.float32)
        if self._root:
            self._write_photograph(folder / "thumbnails" / f"{image:05d}.jpg", self._rows[image], shown)
        (folder / "images" / f"{image:05d}.js").write_bytes(call("image", self._wanted.name, image, shown.text()))
        return image, outcomes(shown, self._perturbed.conditions, self._card.prefix_tokens) if self._perturbed else {}

    def _write_photograph(self, path: Path, row: dict[str, Any], shown: ImageArrays) -> None:
        """Write a thumbnail, and add the image as the model sees it (JPEG) and the mask of its object, one bit per pixel, if it has one."""
        assert self._root and self._mask_root
        image, photograph = self._geometry.image(read_image(row, self._root)), io.BytesIO()
        image.save(photograph, "JPEG", quality=JPEG_QUALITY, optimize=True)
        # Among the numbers, because a page from disk cannot read an image file, which a saved view contains.
        shown.arrays["photograph"] = np.frombuffer(photograph.getbuffer(), np.uint8)
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        image.save(path, "JPEG", quality=JPEG_QUALITY, optimize=True)
        if row["mask_path"]:
            binary = self._manifest.schema.metadata[b"masks"] == b"binary"
            is_object = self._geometry.mask(tokens.read_mask(row, self._mask_root, binary)) == row["mask_id"]
            shown.arrays["object"] = np.packbits(is_object, axis=1, bitorder="little")
            shown.facts["object_width"] = str(is_object.shape[1])

    def _summary(self, found: dict[int, dict[str, Outcome]]) -> dict[str, Any]:
        """Return the facts that the page needs before it shows an image: the model, its classes, its stories, and a list of its images."""
        card = self._card
        images = [self._predictions[image] for image in found]
        names = [name.split(",")[0] for _, name in classes_of(self._manifest)]
        series = Series.read(self._sources.projections, card)
        told = ToldModel(
            series=series.of(list(found)),
            names=[names[row["class_index"]] for row in images],
            predicted=[names[row["predicted"]] for row in images],
            right=[row["correct"] for row in images],
            outcomes=list(found.values()),
            tokens=card.image_tokens,
            twin=self._wanted.twin,
        )
        return {
            "classes": names,
            "grid": card.grid,
            "prefix": card.prefix_tokens,
            "cls": card.cls_token,
            "pooled": card.pooling == "mean",
            "depth": card.depth,
            "chance": chance(card.classes),
            "sites": self._sites,
            "layers": SUBLAYERS,
            "methods": self._maps.methods if self._maps else [],
            "conditions": self._perturbed.conditions if self._perturbed else [],
            "memories": self._values is not None,
            "active": bool(self._sources.memory_keys),
            "attribution": self._sources.attribution is not None,
            "photographs": self._root is not None,
            "chosen": {"shown": len(images), "of": len(self._predictions)},
            "accuracy": float(np.mean([row["correct"] for row in self._predictions.values()])),
            "images": self._list(list(found), told.series.arrays | series.means),
            "stories": [asdict(story) for story in stories(told)] if card.source != "random" else [],
            "start": start(told),
        }

    def _list(self, images: list[int], series: dict[str, np.ndarray]) -> str:
        """Return what the page lists of all images, packed: ids, classes, predicted classes, paths and numbers over blocks."""
        rows = [self._predictions[image] for image in images]
        columns = {"class": [row["class_index"] for row in rows], "predicted": [row["predicted"] for row in rows], "id": images}
        paths = ["/".join(self._rows[image]["path"].split("/")[-2:]) for image in images]
        return packed({name: np.array(column, np.int32) for name, column in columns.items()} | series, {"path": json.dumps(paths)})


def written_classes(values: pa.Table, card: Card) -> dict[str, np.ndarray]:
    """Return the classes that each memory writes, [block, memory, class], by layer."""
    frame = pl.DataFrame(values).cast({"layer": pl.String}).sort("block", "memory")
    of_layers = {layer: np.array(frame.filter(layer=layer)["class_index"].to_list()) for layer in SUBLAYERS}
    return {layer: indices(classes, card.classes).reshape(card.depth, -1, classes.shape[1]) for layer, classes in of_layers.items()}
