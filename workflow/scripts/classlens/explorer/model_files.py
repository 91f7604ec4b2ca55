"""The explorer's files of one model: facts about the model and, for each image, its numbers and the image as the model sees it."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from classlens.analyses import projection_table, tokens
from classlens.analyses.identifiability import chance, class_identifiability
from classlens.compute.ordered_map import ordered_map
from classlens.data.geometry import Geometry
from classlens.data.images import read_image
from classlens.data.manifest_classes import classes_of
from classlens.explorer.payload import call, indices, packed
from classlens.explorer.tables import ImageArrays, Maps, Objects, Perturbed, projected, shown_sites
from classlens.models.card import Card
from classlens.progress import progress
from classlens.storage import parquet
from classlens.vocabulary import SUBLAYERS

JPEG_QUALITY = 85
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


@dataclass(frozen=True)
class ImageSeries:
    """An image's numbers over blocks, from its image tokens in the residual stream.

    Attributes:
        identifiability: mean class identifiability, [block].
        first: number of tokens at which the true class has the largest logit, [block].
    """

    identifiability: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, ranks: np.ndarray, classes: int) -> "ImageSeries":
        """Return the numbers for ranks [block, image token] of the true class."""
        return cls(class_identifiability(ranks, classes).mean(axis=1), (ranks == 0).sum(axis=1))

    @staticmethod
    def together(found: Iterable["ImageSeries"]) -> dict[str, np.ndarray]:
        """Return the arrays of all images, [image, block]; class identifiability as 255ths."""
        series = list(found)
        identifiability = np.rint(255 * np.stack([one.identifiability for one in series])).astype(np.uint8)
        return {"identifiability": identifiability, "first": np.stack([one.first for one in series]).astype(np.uint16)}


class ModelFiles:
    """Writer of the explorer's files of one model.

    Args:
        sources: paths of the model's tables.
        name: name of the model in the config.
        root: folder of the data set; None if only results are available, without images.
        mask_root: folder that the paths of masks are relative to; None for `root`.

    Raises:
        InputError: a table is damaged or belongs to another model.
    """

    def __init__(self, sources: Sources, name: str, root: Path | None, mask_root: Path | None = None):
        self._sources, self._name, self._root, self._mask_root = sources, name, root, mask_root or root
        self._card = card = Card.read(sources.card)
        self._manifest = parquet.read_table(sources.manifest)
        self._rows = {row["image_id"]: row for row in self._manifest.to_pylist()}
        predictions = pl.DataFrame(parquet.read_table(sources.predictions, model=card.sha256))
        self._predictions = {row["image_id"]: row for row in predictions.iter_rows(named=True)}
        self._maps = Maps(sources.relevance, card.sha256) if sources.relevance else None
        self._perturbed = Perturbed(sources.ranks, sources.accuracy, card) if sources.ranks and sources.accuracy else None
        self._objects = Objects(sources.tokens) if sources.tokens else None
        self._values = parquet.read_table(sources.interpretable_values, model=card.sha256) if sources.interpretable_values else None
        self._sites = shown_sites(projection_table.sites_in(sources.projections[0], card))
        self._geometry = Geometry(card.transform)

    def write(self, folder: Path, threads: int) -> None:
        """Write all files of the model.

        Args:
            folder: folder to write, which does not exist yet.
            threads: number of images to pack in parallel.

        Raises:
            InputError: a table is damaged, or an image is not the one that the manifest describes.
        """
        for name in ("images", "photographs"):
            (folder / name).mkdir(parents=True)
        images = progress(self._images(), len(self._predictions), "images of the explorer")

        def start(pool: ThreadPoolExecutor, item: tuple[int, ImageArrays]) -> Callable[[], tuple[int, ImageSeries]]:
            return pool.submit(self._write_image, folder, *item).result

        found = dict(ordered_map(start, images, threads, IMAGES_AHEAD))
        (folder / "model.js").write_bytes(call("model", self._name, self._summary(found)))
        if self._values:
            (folder / "memories.js").write_bytes(call("memories", self._name, packed(written_classes(self._values, self._card), {})))

    def _images(self) -> Iterator[tuple[int, ImageArrays]]:
        sources = self._sources
        memories = 1 + max(self._values["memory"].to_pylist()) if self._values else 0
        return projected(sources.projections, sources.class_logits, sources.memory_keys, self._card, memories)

    def _write_image(self, folder: Path, image: int, shown: ImageArrays) -> tuple[int, "ImageSeries"]:
        """Write an image's files; return its id, and its image tokens' numbers over blocks."""
        for part in (self._maps, self._perturbed, self._objects):
            if part:
                part.add(image, shown)
        prediction = self._predictions[image]
        shown.arrays["output"] = np.array(prediction["top"], np.int32)
        shown.arrays["output_logit"] = np.array(prediction["top_logit"], np.float32)
        if self._root:
            self._write_photograph(folder / "photographs" / f"{image:05d}.jpg", self._rows[image], shown)
        (folder / "images" / f"{image:05d}.js").write_bytes(call("image", self._name, image, shown.text()))
        ranks = shown.arrays["rank"][self._sites.index("resid_post"), :, self._card.prefix_tokens :]
        return image, ImageSeries.of(ranks, self._card.classes)

    def _write_photograph(self, path: Path, row: dict[str, Any], shown: ImageArrays) -> None:
        """Write the image as the model sees it, and add the mask of its object, one bit per pixel, if the image has a mask."""
        assert self._root and self._mask_root
        self._geometry.image(read_image(row, self._root)).save(path, "JPEG", quality=JPEG_QUALITY, optimize=True)
        if row["mask_path"]:
            binary = self._manifest.schema.metadata[b"masks"] == b"binary"
            is_object = self._geometry.mask(tokens.read_mask(row, self._mask_root, binary)) == row["mask_id"]
            shown.arrays["object"] = np.packbits(is_object, axis=1, bitorder="little")
            shown.facts["object_width"] = str(is_object.shape[1])

    def _summary(self, found: dict[int, "ImageSeries"]) -> dict[str, Any]:
        """Return the facts that the page needs before it shows an image: the model, its classes, and a list of its images."""
        card = self._card
        images = [self._predictions[image] for image in found]
        names = [name.split(",")[0] for _, name in classes_of(self._manifest)]
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
            "photographs": self._root is not None,
            "series": packed(ImageSeries.together(found.values()), {}),
            "images": {
                "id": list(found),
                "path": ["/".join(self._rows[image]["path"].split("/")[-2:]) for image in found],
                "class": [row["class_index"] for row in images],
                "predicted": [row["predicted"] for row in images],
            },
        }


def written_classes(values: pa.Table, card: Card) -> dict[str, np.ndarray]:
    """Return the classes that each memory writes, [block, memory, class], by layer."""
    frame = pl.DataFrame(values).cast({"layer": pl.String}).sort("block", "memory")
    of_layers = {layer: np.array(frame.filter(layer=layer)["class_index"].to_list()) for layer in SUBLAYERS}
    return {layer: indices(classes, card.classes).reshape(card.depth, -1, classes.shape[1]) for layer, classes in of_layers.items()}
