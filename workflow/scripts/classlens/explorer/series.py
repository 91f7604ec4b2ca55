"""Numbers of images over blocks, from their image tokens in the residual stream."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from classlens.analyses import projection_table
from classlens.analyses.identifiability import class_identifiability
from classlens.models.card import Card
from classlens.storage import parquet


@dataclass(frozen=True)
class Series:
    """The numbers of some images over blocks.

    Attributes:
        images: image ids.
        identifiability: mean class identifiability of the image tokens, [image, block].
        first: number of image tokens at which the true class has the largest logit, [image, block].
        cls: class identifiability of [CLS], [image, block]; None without [CLS].
    """

    images: list[int]
    identifiability: np.ndarray
    first: np.ndarray
    cls: np.ndarray | None = None

    @classmethod
    def read(cls, projections: list[Path], card: Card) -> "Series":
        """Return the numbers of all images in shards of projections.

        Raises:
            InputError: a shard is damaged or belongs to another model.
        """
        images: list[int] = []
        identifiability, first, of_cls = [], [], []
        for path in projections:
            for group in parquet.StoredTable(path, card.sha256).groups(["image_id", "site", "rank"]):
                sites = projection_table.sites_of(group, card)
                ranks = group["rank"].to_numpy().reshape(-1, card.tokens, len(sites), card.depth)
                of_tokens = ranks[:, :, sites.index("resid_post")]  # [image, token, block]
                of_images = of_tokens[:, card.prefix_tokens :]
                of_cls.append(class_identifiability(of_tokens[:, 0], card.classes))
                images += group["image_id"].to_numpy()[:: ranks[0].size].tolist()
                identifiability.append(class_identifiability(of_images, card.classes).mean(axis=1))
                first.append((of_images == 0).sum(axis=1))
        return cls(images, np.concatenate(identifiability), np.concatenate(first), np.concatenate(of_cls) if card.cls_token else None)

    def of(self, images: list[int]) -> "Series":
        """Return the numbers of some of the images, in the given order."""
        places = {image: place for place, image in enumerate(self.images)}
        rows = [places[image] for image in images]
        return Series(images, self.identifiability[rows], self.first[rows], None if self.cls is None else self.cls[rows])

    @property
    def gain(self) -> np.ndarray:
        """By how much class identifiability grows from the first to the last block, [image]."""
        gain: np.ndarray = self.identifiability[:, -1] - self.identifiability[:, 0]
        return gain

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers for the page, [image, block]; class identifiability as 255ths."""
        return {
            "identifiability": np.rint(255 * self.identifiability).astype(np.uint8),
            "first": self.first.astype(np.uint16),
        }

    @property
    def means(self) -> dict[str, np.ndarray]:
        """The means over the images for the page, [block]."""
        of_cls = {} if self.cls is None else {"mean_cls": self.cls.mean(axis=0).astype(np.float32)}
        return {
            **of_cls,
            "mean_identifiability": self.identifiability.mean(axis=0).astype(np.float32),
            "mean_first": self.first.mean(axis=0).astype(np.float32),
        }
