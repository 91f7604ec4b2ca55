"""The plan of a data set before its files are read: folders, splits, shards, and everything that its tables depend on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from classlens.config.published import DatasetFacts
from classlens.config.reading import dataset_of
from classlens.config.settings import FOUND, ON_PROBE_SPLIT, SPLITS, ClassEmbeddingSettings, ColumnSettings, Config, MaskSettings
from classlens.config.steps import ArchiveStep, ClassListStep, ManifestStep, MaskStep, ShapesStep, Step, UnpackStep
from classlens.data import dataset_classes, mask_files, photos, splits
from classlens.data.cifar_layout import ARCHIVES, Archive
from classlens.data.layouts import Dataset, Image, files_of, shard_names, usual_shard_size
from classlens.data.table_layout import TableDataset
from classlens.data.tables import Columns, Tables
from classlens.errors import InputError
from classlens.protocol import Protocol
from classlens.storage.fingerprints import Fingerprints
from classlens.storage.folders import Searches
from classlens.storage.provenance import code_sha256, sha256_of

Found = TypeVar("Found")

FEWEST_TO_FIT = 2
"""Images per class for fitting a head: one is held out to choose the strength of its regularisation."""


@dataclass(frozen=True)
class Known:
    """What earlier plans have found out about files outside the workflow.

    Attributes:
        fingerprints: hashes of files.
        searches: results of searches in folders.
    """

    fingerprints: Fingerprints
    searches: Searches


class PlannedDataset:
    """A data set of a run.

    Args:
        name: its name in the config.
        config: from `reading.resolve`.
        results: folder of the run's results.
        known: what is remembered of files and folders outside the workflow.
        facts: facts from published results (`published`); None for a data set whose files are on this machine.
    """

    def __init__(self, name: str, config: Config, results: str, known: Known, facts: DatasetFacts | None):
        self.name, self.settings = name, config.datasets[name]
        self._run, self._results, self._facts = config, results, facts
        self._fingerprints, self._searches = known.fingerprints, known.searches
        self._models = [model for model in config.models.values() if dataset_of(model, config) == name]
        self._counts: dict[str, dict[str, int]] = {}

    @cached_property
    def eval_split(self) -> str:
        """The name of the analysed split.

        Raises:
            InputError: several splits have usual names for it.
        """
        if self.settings.eval_split:
            return self.settings.eval_split
        if self._facts:
            return next(iter(self._facts.images))
        usual = SPLITS.get(self.settings.kind, ("validation", ""))[0]
        names = self._split_names
        if self.settings.kind == "table" and not names:
            return splits.WHOLE
        return splits.analysed(names, self._given_root) or (splits.WHOLE if splits.WHOLE in names else usual)

    @cached_property
    def train_split(self) -> str:
        """The name of the split that models are trained on, which may be missing."""
        return self.settings.train_split or splits.named(self._split_names, splits.TRAIN, "train_split", self._given_root) or "train"

    def fit_split(self, embedding: ClassEmbeddingSettings) -> str:
        """Return the name of the split that a class embedding is fitted on."""
        return embedding.split or self.train_split

    @cached_property
    def fit_splits(self) -> list[str]:
        """The names of the splits that class embeddings are fitted on."""
        embeddings = (model.class_embedding for model in self._models)
        return list(dict.fromkeys(self.fit_split(embedding) for embedding in embeddings if embedding and embedding.fit))

    @cached_property
    def probe_split(self) -> str | None:
        """The name of the split for linear probes and tuned lenses; None if it is missing or is the analysed split."""
        if self.settings.kind not in FOUND:
            split = self.settings.probe_split or SPLITS.get(self.settings.kind, ("validation", "test"))[1]
            exists = not self.is_photos and (self.is_made or (self.layout.home / split).is_dir())
        else:
            split = self.settings.probe_split or splits.named(self._split_names, splits.TEST, "probe_split", self._given_root) or ""
            exists = split in self._split_names
        return split if exists and split != self.eval_split else None

    @cached_property
    def _split_names(self) -> list[str]:
        """The names of the splits of a data set with its own splits; empty for other kinds, and for a table without splits."""
        if self._facts:
            return list(self._facts.images)
        return self._tables.split_names if self.settings.kind == "table" else list(self._folders)

    @cached_property
    def _folders(self) -> dict[str, str]:
        """The folder of each split of an image folder, relative to its root."""
        if self.settings.kind != "imagefolder" or self._facts:
            return {}
        given = (self.settings.eval_split, self.settings.probe_split, self.settings.train_split)
        return splits.folders(self._given_root, filter(None, given), self._mask_folder)

    @cached_property
    def _tables(self) -> Tables:
        """The tables that list the images."""
        columns = Columns(**dict(self.settings.columns or ColumnSettings()))
        return Tables(self._given_root, columns, with_boxes=self.settings.box_format is not None)

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
    def is_stored(self) -> bool:
        """Return whether tables store the images, which the workflow then unpacks."""
        return self.settings.kind == "table" and not self._facts and self._tables.stores_images

    @property
    def is_photos(self) -> bool:
        """Return whether the images are the photographs that come with installed packages."""
        return self.settings.kind == "photos"

    @property
    def made_by(self) -> str | None:
        """The name of the rule that creates the image folder, by drawing, unpacking or copying; None for the user's own folder."""
        if self.is_generated:
            return "shapes"
        if self.is_photos:
            return "photos"
        return "unpack" if self.is_stored else "cifar" if self.archive else None

    @property
    def is_made(self) -> bool:
        """Whether the workflow creates the image folder."""
        return self.made_by is not None

    @property
    def is_found(self) -> bool:
        """Whether the user's own folders or tables define splits and classes."""
        return self.settings.kind in FOUND or (self.settings.kind in ARCHIVES and not self.archive)

    @property
    def classes(self) -> str | None:
        """The source of class indices of an image folder: `imagenet`, a file, or None for the order of the folder names."""
        return "imagenet" if self.is_photos else self.settings.classes

    @property
    def root(self) -> str:
        """The image folder; it lies in the results folder if the workflow creates it."""
        if self.is_made:
            return f"{self._results}/data/{self.name}/images"
        if self.settings.kind == "table":
            return self.settings.images or str(self._tables.folder)
        return str(self.settings.root)

    @property
    def mask_root(self) -> str:
        """The folder that the paths of masks are relative to."""
        return f"{self._results}/data/{self.name}/masks" if self.settings.makes_masks else self.root

    @cached_property
    def layout(self) -> Dataset:
        """The layout of the data set's files and the order of its classes."""
        kind = self.settings.kind
        if kind == "table":
            return TableDataset(
                kind=kind,
                tables=self._tables,
                root=Path(self.root),
                classes=self.settings.classes,
                class_order=self.settings.class_order,
                masks=self._mask_folder,
                skip=self.settings.on_bad_image == "skip",
                protocol=Protocol.named(self._run.protocol),
            )
        return Dataset(
            kind="imagefolder" if self.is_photos or kind in ARCHIVES else kind,
            root=Path(self.root),
            subset=self.settings.num_classes if kind == "shapes" else self.settings.subset,
            classes=self.classes,
            class_order=self.settings.class_order,
            folders=self._folders,
            masks=self._mask_folder,
            skip=self.settings.on_bad_image == "skip",
            protocol=Protocol.named(self._run.protocol),
        )

    @property
    def _mask_folder(self) -> Path | None:
        """The folder of masks in the config."""
        return Path(self.settings.masks) if self.settings.masks and not self.settings.coco else None

    @property
    def has_masks(self) -> bool:
        """Whether the analysed images have object masks.

        Raises:
            InputError: the config's masks are missing, or there are none for the analysed split.
        """
        if self._facts:
            return self._facts.masks
        key = f"config key `datasets.{self.name}"
        if (file := self.settings.coco) and not Path(file).is_file():
            raise InputError(f"{key}.masks`: there is no file {file}; correct it, or set it to null")
        if self.is_generated or file or self.settings.box_format or self.layout.mask_folder(self.eval_split):
            return True
        if self.settings.kind == "table" and (self.settings.masks or self.settings.mask_ids):
            where = self.settings.masks or "a column of the table"
            raise InputError(f"{key}.masks`: no image has a mask in {where} (NAME.png for NAME.jpg): correct it, or set it to null")
        if masks := self.settings.masks:
            folder = f"{masks}/{self.eval_split}" + ("-segmentation" if self.settings.kind == "imagenet_s" else "")
            raise InputError(
                f"{key}.masks`: there is no folder {folder}, and the masks of the images must be "
                f"{folder}/CLASS/NAME.png: move them there, or set `masks` to null"
            )
        return False

    def check_masks(self) -> None:
        """Raise an InputError if a split has a mask folder and some of its images have no mask."""
        for split in () if self.is_made or self.settings.kind == "table" else self.splits:
            per_class = self.images_per_class()[split]
            self._searched(split, "masks", partial(mask_files.check, self.layout, split, per_class))

    @property
    def splits(self) -> list[str]:
        """The names of the splits that the run uses."""
        if self._facts:
            return list(self._facts.images)
        asked = {name for model in self._models for name in (self._run.analyses if model.analyses is None else model.analyses)}
        wanted = [
            self.eval_split,
            self.probe_split if asked & ON_PROBE_SPLIT else None,
            self.train_split if self._is_trained_on else None,
            *self.fit_splits,
        ]
        return list(dict.fromkeys(split for split in wanted if split))

    @property
    def _is_trained_on(self) -> bool:
        """Whether models or heads are fitted on the train split."""
        return self.train_split in self.fit_splits or any(model.weights == "trained" for model in self._models)

    def images_per_class(self) -> dict[str, int | None]:
        """Return the number of images per class that this run uses, by split; None means all."""
        for_training = self.settings.train_images_per_class if self.is_generated else None
        counts = dict.fromkeys(self.fit_splits, for_training)
        counts |= {self.probe_split: self.settings.probe_images_per_class} if self.probe_split else {}
        if self.is_generated or self._is_trained_on:
            counts[self.train_split] = for_training
        return {**counts, self.eval_split: 1 if self.is_photos else self.settings.images_per_class}

    def image_count(self, split: str) -> int:
        """Return the number of images of a split that this run uses.

        Raises:
            InputError: the data set or the split is missing, or has too few images.
        """
        if self._facts:
            return self._facts.images[split]
        if self.is_photos:
            return len(self._photographs(split))
        per_class = self.images_per_class()[split]
        if self.is_generated:
            return self.settings.num_classes * (per_class or 0)
        if archive := self.archive:
            self._check_archive(archive)
            return archive.count(split, per_class)
        return sum(self._counted(split).values())

    def check_fit(self, model: str, split: str) -> None:
        """Check that the class embedding of a model can be fitted on a split.

        Raises:
            InputError: the split is the analysed one or missing, or a class has fewer than two images in it.
        """
        if split == self.eval_split:
            other = next(name for name in ("train", "test") if name != split)
            raise InputError(
                f"config key `models.{model}.class_embedding.split`: {split} is the split to analyse, and a head is too good on the images "
                f"that it was fitted on: set `split` to another split, such as {other}"
            )
        self.image_count(split)
        if self.is_made:
            return
        counts = self._counted(split)
        named = self.is_found and self.classes != "imagenet"  # others are known by number only
        few = next((name for name in (self._class_ids if named else counts) if counts.get(name, 0) < FEWEST_TO_FIT), None)
        if few or len(counts) < self.num_classes:
            lacks = f"has {len(counts)} of the {self.num_classes} classes"
            found = f"has {counts.get(few, 0)} of the images of class {few}" if few else lacks
            raise InputError(
                f"data set {self.name}: split {split} {found}, but a head is fitted on at least {FEWEST_TO_FIT} images of each class: add "
                "some, or set another `split` of the model's `class_embedding`"
            )

    def _photographs(self, split: str) -> list[Image]:
        """Return the photographs of the analysed split."""
        if split != self.eval_split:
            raise InputError(f"config key `datasets.{self.name}.kind` is photos, which has no images to train on: choose another data set")
        return photos.images(split)

    def _counted(self, split: str) -> dict[str, int]:
        """Return the number of images of each class of a split, for a data set on this machine."""
        if split not in self._counts:
            per_class = self.images_per_class()[split]
            self._counts[split] = self._searched(split, "images", partial(self.layout.counts, split, per_class))
        return self._counts[split]

    def _searched(self, split: str, what: str, search: Callable[[], Found]) -> Found:
        """Return the result of a search in a split's folders, which is repeated only if they, the layout or the code have changed."""
        if self.layout.kind != "imagefolder":  # other kinds also depend on tables and lists
            return search()
        layout = repr((self.layout, self.layout.mask_folder(split), self.images_per_class()[split]))
        return self._searches.result(self._search_name(split, what), sha256_of(layout, code_sha256(mask_files.__file__)), search)

    def _search_name(self, split: str, what: str) -> str:
        return f"{self.root}: {what} of {split}"

    def _files(self, split: str) -> Iterator[str]:
        """Yield the paths of a split's images and masks.

        Raises:
            InputError: the number of images differs from the planned one, because folders have just changed, or the file system does not
                date them.
        """
        count = 0
        for images in self.layout.parts(split, self.images_per_class()[split]):
            count += len(images)
            yield from files_of(images)
        if count != self.image_count(split):
            self._searches.forget(self._search_name(split, "images"))
            raise InputError(
                f"{self.layout.folder(split)} has {count} images, and had {self.image_count(split)} before: run the workflow again"
            )

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
            return shard_names(images, self._shard_size(split))
        except InputError as error:
            raise InputError(f"data set {self.name}, split {split}: {error}") from None

    def _shard_size(self, split: str) -> int:
        size = self._run.hidden_states.shard_size
        return usual_shard_size(self.image_count(split)) if size == "auto" else size

    @property
    def num_classes(self) -> int:
        """The number of classes that a model of this data set distinguishes."""
        if self.settings.kind == "shapes":
            return self.settings.num_classes
        if self.settings.kind == "imagenet_s" or self.classes == "imagenet":
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
        if not self.is_found or self.classes == "imagenet":
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
                "columns": self.settings.columns,
                "folders": {name: folder for name, folder in self._folders.items() if folder != name and name in self.splits} or None,
                "protocol": self._run.protocol,
            }
        )

    def class_content(self) -> list[str | None]:
        """Return what the list of classes depends on besides settings: its source, and hashes of the ordered ids and of the names."""
        named = self.classes if self.classes in (None, "imagenet") else "as listed"
        listed = self.is_found and named != "imagenet"
        return [named, sha256_of(*self._class_ids) if listed else None, *self._fingerprints.of(filter(None, [self.settings.names]))]

    def facts(self) -> DatasetFacts:
        """Return the facts that planning needs without the data set: the number of images of each split, and whether they have masks."""
        return DatasetFacts(images={split: self.image_count(split) for split in self.splits}, masks=self.has_masks)

    def manifest_step(self, split: str) -> ManifestStep:
        """Return the settings of a split's manifest."""
        return self._images_step(ManifestStep, split, shard_size=self._shard_size(split))

    def manifest_content(self, split: str) -> list[str | None]:
        """Return what a manifest depends on besides settings: the source of its classes, and a hash of its images and masks.

        The hash covers paths relative to the root, and contents.
        """
        source, _, *names = self.class_content()
        return [source, self._content(split), *names]

    def mask_content(self, split: str) -> list[str | None]:
        """Return what masks that the workflow makes depend on besides settings: images, classes, boxes and source files."""
        return [*self.manifest_content(split), *self._fingerprints.of(filter(None, [self.settings.coco]))]

    def stored_content(self, split: str) -> str:
        """Return a hash of the tables that store the images of a split."""
        return sha256_of(*map(str, self._fingerprints.of(self._tables.files_of(split))))

    def _content(self, split: str) -> str | None:
        if self.made_by not in (None, "unpack"):
            return None  # a folder that the workflow creates is an input of the rule instead
        layout, per_class = self.layout, self.images_per_class()[split]
        listed = layout.images(split, per_class) if layout.kind == "table" else []
        rows = [part for image in listed for part in (image.path, image.class_id, str(image.boxes))]
        files = () if self.is_made else self._files(split)
        found = self._fingerprints.of_many(layout.root, f"{split}, {per_class or 'all'} images per class", files)
        lists = map(str, self._fingerprints.of(layout.class_files()))
        return sha256_of(found, *rows, *lists, *layout.class_folders(split), *(self._class_ids if self.class_splits else ()))

    def unpack_step(self, split: str) -> UnpackStep:
        """Return the settings for unpacking the images that tables store."""
        return self._images_step(UnpackStep, split)

    def mask_step(self, split: str) -> MaskStep:
        """Return the settings of the masks that the workflow makes."""
        made_from = {name: getattr(self.settings, name) for name in MaskSettings.settings()}
        return self._images_step(MaskStep, split, **made_from)

    def _images_step(self, kind: type[Step], split: str, **further: Any) -> Step:
        images = {"images_per_class": self.images_per_class()[split], "on_bad_image": self.settings.on_bad_image}
        return kind(**dict(self.class_step(split)), **images, **further)

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
