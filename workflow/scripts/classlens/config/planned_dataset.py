"""The plan of a data set before its files are read: folders, splits, shards, and everything that its tables depend on."""

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from classlens.config.published import DatasetFacts
from classlens.config.reading import dataset_of
from classlens.config.settings import Config
from classlens.config.steps import ArchiveStep, ClassListStep, ManifestStep, ShapesStep
from classlens.data import dataset_classes, mask_files
from classlens.data.cifar_layout import ARCHIVES, Archive
from classlens.data.layouts import Dataset, Image, files_of, shard_names
from classlens.errors import InputError
from classlens.protocol import Protocol
from classlens.storage.fingerprints import Fingerprints
from classlens.storage.provenance import sha256_of


class PlannedDataset:
    """A data set of a run.

    Args:
        name: its name in the config.
        config: from `reading.resolve`.
        results: folder of the run's results.
        fingerprints: hashes of files outside the workflow.
        facts: facts from published results (`published`); None for a data set whose files are on this machine.
    """

    def __init__(self, name: str, config: Config, results: str, fingerprints: Fingerprints, facts: DatasetFacts | None):
        self.name, self.settings = name, config.datasets[name]
        self.eval_split, self.train_split = self.settings.eval_split_name, self.settings.train_split
        self._run, self._results, self._fingerprints, self._facts = config, results, fingerprints, facts
        self._models = [model for model in config.models.values() if dataset_of(model, config) == name]
        self._images: dict[str, list[Image]] = {}

    @property
    def is_generated(self) -> bool:
        """Whether the workflow generates the images."""
        return self.settings.kind == "shapes" and not self.settings.root

    @property
    def archive(self) -> Archive | None:
        """The official archive that the data set is unpacked from; None for other kinds and for image folders."""
        if self.settings.kind not in ARCHIVES or (self._given_root / self.eval_split).is_dir():
            return None
        return ARCHIVES[self.settings.kind]

    @property
    def _given_root(self) -> Path:
        """The folder in the config."""
        return Path(self.settings.root or "")

    @property
    def is_made(self) -> bool:
        """Whether the workflow creates the image folder, by generating or unpacking."""
        return self.is_generated or self.archive is not None

    @property
    def root(self) -> str:
        """The image folder; it lies in the results folder if the workflow creates it."""
        return f"{self._results}/data/{self.name}/images" if self.is_made else str(self.settings.root)

    @property
    def layout(self) -> Dataset:
        """The layout of the data set's files and the order of its classes."""
        kind = self.settings.kind
        return Dataset(
            kind="imagefolder" if kind in ARCHIVES else kind,
            root=Path(self.root),
            subset=self.settings.num_classes if kind == "shapes" else self.settings.subset,
            classes=self.settings.classes,
            class_order=self.settings.class_order,
            masks=Path(self.settings.masks) if self.settings.masks else None,
            skip=self.settings.on_bad_image == "skip",
            protocol=Protocol.named(self._run.protocol),
        )

    @property
    def has_masks(self) -> bool:
        """Whether the analysed images have object masks.

        Raises:
            InputError: the config's mask folder is missing, or contains no masks for the analysed split.
        """
        if self._facts:
            return self._facts.masks
        if self.is_generated or self.layout.mask_folder(self.eval_split):
            return True
        if masks := self.settings.masks:
            folder = f"{masks}/{self.eval_split}" + ("-segmentation" if self.settings.kind == "imagenet_s" else "")
            raise InputError(
                f"config key `datasets.{self.name}.masks`: there is no folder {folder}, and the masks of the images must be "
                f"{folder}/CLASS/NAME.png: move them there, or set `masks` to null"
            )
        return False

    def check_masks(self) -> None:
        """Raise an InputError if a split has a mask folder and some of its images have no mask."""
        for split in () if self.is_made else self.splits:
            mask_files.check(self.layout, split, self._listed(split))

    @property
    def probe_split(self) -> str | None:
        """The name of the split for linear probes; None if it is missing or is the analysed split."""
        split = self.settings.probe_split_name
        exists = self.is_made or (self.layout.home / split).is_dir()
        return split if exists and split != self.eval_split else None

    @property
    def splits(self) -> list[str]:
        """The names of the splits that the run uses."""
        if self._facts:
            return list(self._facts.images)
        probed = any("probes" in (self._run.analyses if model.analyses is None else model.analyses) for model in self._models)
        wanted = [self.eval_split, self.probe_split if probed else None, self.train_split if self._is_trained_on else None]
        return list(dict.fromkeys(split for split in wanted if split))

    @property
    def _is_trained_on(self) -> bool:
        return any(model.weights == "trained" for model in self._models)

    def images_per_class(self) -> dict[str, int | None]:
        """Return the number of images per class that this run uses, by split; None means all."""
        counts = {self.settings.probe_split_name: self.settings.probe_images_per_class}
        if self.is_generated or self._is_trained_on:
            counts[self.train_split] = self.settings.train_images_per_class if self.is_generated else None
        return {**counts, self.eval_split: self.settings.images_per_class}

    def image_count(self, split: str) -> int:
        """Return the number of images of a split that this run uses.

        Raises:
            InputError: the data set or the split is missing, or has too few images.
        """
        if self._facts:
            return self._facts.images[split]
        per_class = self.images_per_class()[split]
        if self.is_generated:
            return self.settings.num_classes * (per_class or 0)
        if archive := self.archive:
            self._check_archive(archive)
            return archive.count(split, per_class)
        return len(self._listed(split))

    def _listed(self, split: str) -> list[Image]:
        """Return the images of a split in order, for a data set on this machine."""
        if split not in self._images:
            self._images[split] = self.layout.images(split, self.images_per_class()[split])
        return self._images[split]

    def _check_archive(self, archive: Archive) -> None:
        root = self.settings.root
        if not self.settings.download and archive.home(self._given_root) is None:
            raise InputError(
                f"config key `datasets.{self.name}.root`: {root} holds neither {archive.folder} nor folders of images "
                f"({self.eval_split}/CLASS/IMAGE.png): correct it, or set `download: true`"
            )

    def shards(self, split: str) -> list[str]:
        """Return the names of a split's shards.

        Raises:
            InputError: there are too many shards, or `image_count` fails.
        """
        images = self.image_count(split)
        try:
            return shard_names(images, self._run.hidden_states.shard_size)
        except InputError as error:
            raise InputError(f"data set {self.name}, split {split}: {error}") from None

    @property
    def num_classes(self) -> int:
        """The number of classes that a model of this data set distinguishes."""
        if self.settings.kind == "shapes":
            return self.settings.num_classes
        if self.settings.kind == "imagenet_s" or self.settings.classes == "imagenet":
            return 1000
        if archive := self.archive:
            return archive.classes
        return len(self._class_ids)

    @cached_property
    def _class_ids(self) -> list[str]:
        """The class ids of the data set in index order, for all splits."""
        return dataset_classes.class_ids(replace(self.layout, class_splits=tuple(self.class_splits)), self.eval_split)

    @property
    def class_splits(self) -> list[str]:
        """The splits that share one list of classes. Each split must have all classes of the next one (`layouts.Dataset`)."""
        if self.is_made or self.layout.kind != "imagefolder" or self.settings.classes == "imagenet":
            return []
        used = [split for split in (self.train_split, self.probe_split, self.eval_split) if split in self.splits]
        return list(dict.fromkeys(used))

    def class_step(self, split: str) -> ClassListStep:
        """Return the settings of the list of classes."""
        return ClassListStep.model_validate(
            {
                "kind": self.layout.kind,
                "split": split,
                "subset": self.layout.subset,
                "class_order": self.settings.class_order,
                "class_splits": self.class_splits,
                "protocol": self._run.protocol,
            }
        )

    def class_content(self) -> list[str | None]:
        """Return what the list of classes depends on besides settings: its source, and a hash of the ordered names of class folders."""
        named = self.settings.classes if self.settings.classes in (None, "imagenet") else "as listed"
        listed = self.layout.kind == "imagefolder" and named != "imagenet" and not self.is_made
        return [named, sha256_of(*self._class_ids) if listed else None]

    def facts(self) -> DatasetFacts:
        """Return the facts that planning needs without the data set: the number of images of each split, and whether they have masks."""
        return DatasetFacts(images={split: self.image_count(split) for split in self.splits}, masks=self.has_masks)

    def manifest_step(self, split: str) -> ManifestStep:
        """Return the settings of a split's manifest."""
        return ManifestStep(
            **dict(self.class_step(split)),
            images_per_class=self.images_per_class()[split],
            on_bad_image=self.settings.on_bad_image,
            shard_size=self._run.hidden_states.shard_size,
        )

    def manifest_content(self, split: str) -> list[str | None]:
        """Return what a manifest depends on besides settings: the source of its classes, and a hash of its images and masks.

        The hash covers paths relative to the root, and contents.
        """
        return [self.class_content()[0], self._content(split)]

    def _content(self, split: str) -> str | None:
        if self.is_made:
            return None  # a folder that the workflow creates is an input of the rule instead
        layout = self.layout
        names = [*files_of(self._listed(split)), *(os.path.relpath(file, layout.root) for file in layout.class_files())]
        digests = self._fingerprints.of(os.path.join(layout.root, name) for name in names)
        found = [part for name, digest in zip(names, digests, strict=True) if digest for part in (name, digest)]
        return sha256_of(*found, *layout.class_folders(split), *(self._class_ids if self.class_splits else ()))

    def shapes_step(self) -> ShapesStep:
        """Return the settings of the generated data set."""
        splits = {split: count or 0 for split, count in self.images_per_class().items()}
        return ShapesStep(num_classes=self.settings.num_classes, splits=splits, seed=self._run.seed)

    def archive_step(self, split: str) -> ArchiveStep:
        """Return the settings for unpacking a split of an archive."""
        return ArchiveStep.model_validate({"kind": self.settings.kind, "split": split, "images_per_class": self.images_per_class()[split]})

    def archive_content(self) -> str:
        """Return a hash of the archive's files. It is constant for a downloaded archive, whose published hash is checked instead."""
        files = [] if self.settings.download else ARCHIVES[self.settings.kind].files(self._given_root)
        return sha256_of(*map(str, self._fingerprints.of(files)))
