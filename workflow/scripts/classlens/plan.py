"""What a config asks for, as the rules need it: models and their twins, images, shards, settings, figures and tables.

The workflow builds one `Plan` whenever it is parsed, so this module imports neither torch nor any table library, and a missing data set
or checkpoint is found before anything starts.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from classlens import published
from classlens.catalogue import FIGURES, TABLES, Item
from classlens.cifar_layout import ARCHIVES, Archive
from classlens.datasets import Dataset, Image, files_of, shard_names
from classlens.errors import InputError
from classlens.protocol import Protocol
from classlens.provenance import Fingerprints, different, sha256_of

NEED_MASKS = ("context", "tokens")
STYLE = Path(__file__).parent / "figures" / "classlens.mplstyle"


@dataclass(frozen=True)
class Model:
    """One model of a run; `twin` names the random twin that it is compared with, and in a twin `twin_of` its model."""

    name: str
    label: str
    dataset: str
    analyses: tuple[str, ...]
    config: dict[str, Any]
    twin: str | None = None
    twin_of: str | None = None

    @property
    def weights(self) -> str:
        return "random" if self.twin_of else self.config["weights"]


class Plan:
    """The work that a resolved config stands for.

    Args:
        config: from `config.resolve`.
        results: folder of the run's results.
        memory: file that remembers the hashes of files outside the workflow (`provenance.Fingerprints`).

    Raises:
        InputError: data sets, mask folders or checkpoints are missing, each in a line of its own.
    """

    def __init__(self, config: dict[str, Any], results: str, memory: Path | None = None):
        self.config = config
        self.results = results
        self.protocol = Protocol.named(config["protocol"])
        self.fingerprints = Fingerprints(memory)
        self._images: dict[tuple[str, str], list[Image]] = {}
        self.published = published.facts(results)
        if self.published:
            published.check(config, self.published)
        checks = [self.style_path, *(() if self.published else self._checks())]
        problems = [str(problem) for check in checks if (problem := _problem(check))]
        if problems:
            raise InputError("\n".join(dict.fromkeys(problems)))

    def _checks(self) -> Iterator[Callable[[], object]]:
        """What must be there before anything starts; each raises an InputError, and all of them are told at once."""
        for name, model in self.config["models"].items():
            yield partial(self._check_dataset, model["dataset"])
            yield partial(self._checkpoint, name)
            yield partial(self._class_embedding, name)
            if model["weights"] == "trained":
                yield partial(self.image_count, model["dataset"], self.train_split(model["dataset"]))
            if "probes" in model["analyses"]:
                yield partial(self._check_probe_split, model["dataset"])

    def _check_dataset(self, dataset: str) -> None:
        self.image_count(dataset, self.eval_split(dataset))
        self.num_classes(dataset)
        self.has_masks(dataset)

    def _check_probe_split(self, dataset: str) -> None:
        if split := self.probe_split(dataset):
            self.image_count(dataset, split)

    # Data sets

    def root(self, dataset: str) -> str:
        """Folder of a data set's images; one that the workflow makes lies among the results."""
        return f"{self.results}/data/{dataset}/images" if self.is_made(dataset) else self.config["datasets"][dataset]["root"]

    def eval_split(self, dataset: str) -> str:
        """Name of the split that is analysed."""
        return self.config["datasets"][dataset]["eval_split"]

    def train_split(self, dataset: str) -> str:
        """Name of the split on which models are trained."""
        return self.config["datasets"][dataset]["train_split"]

    def is_generated(self, dataset: str) -> bool:
        """Whether the workflow draws the data set itself."""
        return self.config["datasets"][dataset]["kind"] == "shapes" and not self.config["datasets"][dataset]["root"]

    def archive(self, dataset: str) -> Archive | None:
        """The official archive that the data set is unpacked from; None for other kinds, and for folders of images."""
        config = self.config["datasets"][dataset]
        if config["kind"] not in ARCHIVES or (Path(config["root"]) / config["eval_split"]).is_dir():
            return None
        return ARCHIVES[config["kind"]]

    def is_made(self, dataset: str) -> bool:
        """Whether the workflow makes the folder of images itself."""
        return self.is_generated(dataset) or self.archive(dataset) is not None

    def made(self) -> tuple[list[str], list[str]]:
        """Names of the data sets that the workflow draws, and of those that it unpacks."""
        names = list(self.config["datasets"])
        return [name for name in names if self.is_generated(name)], [name for name in names if self.archive(name)]

    def has_masks(self, dataset: str) -> bool:
        """Whether the analysed images have object masks."""
        if self.published:
            return self.published["datasets"][dataset]["masks"]
        return self.is_generated(dataset) or self.layout(dataset).mask_folder(self.eval_split(dataset)) is not None

    def layout(self, dataset: str) -> Dataset:
        """Where the data set lies."""
        config = self.config["datasets"][dataset]
        return Dataset(
            kind="imagefolder" if config["kind"] in ARCHIVES else config["kind"],
            root=Path(self.root(dataset)),
            subset=config["num_classes"] if config["kind"] == "shapes" else config["subset"],
            classes=config["classes"],
            masks=Path(config["masks"]) if config["masks"] else None,
            skip=config["on_bad_image"] == "skip",
            protocol=self.protocol,
        )

    def splits(self, dataset: str) -> list[str]:
        """Names of the splits that the run uses."""
        models = [model for model in self.models.values() if model.dataset == dataset]
        trained = any(model.weights == "trained" for model in models)
        probed = any("probes" in model.analyses for model in models)
        wanted = [self.eval_split(dataset), self.probe_split(dataset) if probed else None, self.train_split(dataset) if trained else None]
        return list(dict.fromkeys(split for split in wanted if split))

    def images_per_class(self, dataset: str, split: str) -> int | None:
        """How many images of each class a split has in this run; None for all."""
        return self._splits(dataset)[split]

    def _splits(self, dataset: str) -> dict[str, int | None]:
        """Images of each class in each split."""
        config = self.config["datasets"][dataset]
        splits = {config["eval_split"]: config["images_per_class"], config["probe_split"]: config["probe_images_per_class"]}
        if self.is_generated(dataset):
            return {**splits, config["train_split"]: config["train_images_per_class"]}
        trained = any(model["weights"] == "trained" and model["dataset"] == dataset for model in self.config["models"].values())
        return {**splits, config["train_split"]: None} if trained else splits

    def images(self, dataset: str, split: str) -> list[Image]:
        """The images of a split of a data set that is there, in order."""
        if (dataset, split) not in self._images:
            self._images[dataset, split] = self.layout(dataset).images(split, self.images_per_class(dataset, split))
        return self._images[dataset, split]

    def image_count(self, dataset: str, split: str) -> int:
        """How many images a split has in this run.

        Raises:
            InputError: the data set, the split or enough images are missing.
        """
        if self.published:
            return self.published["datasets"][dataset]["images"][split]
        per_class = self.images_per_class(dataset, split)
        if self.is_generated(dataset):
            return self.config["datasets"][dataset]["num_classes"] * (per_class or 0)
        if archive := self.archive(dataset):
            self._check_archive(dataset, archive)
            return archive.count(split, per_class)
        return len(self.images(dataset, split))

    def _check_archive(self, dataset: str, archive: Archive) -> None:
        config = self.config["datasets"][dataset]
        if not config["download"] and archive.home(Path(config["root"])) is None:
            raise InputError(
                f"config key `datasets.{dataset}.root`: {config['root']} holds neither {archive.folder} nor folders of images "
                f"({config['eval_split']}/CLASS/IMAGE.png): correct it, or set `download: true`"
            )

    def shards(self, dataset: str, split: str) -> list[str]:
        """Names of a split's shards."""
        return shard_names(self.image_count(dataset, split), self.config["hidden_states"]["shard_size"])

    def facts(self) -> dict[str, Any]:
        """What must be known of the data sets to plan without them: images of the analysed split, and whether they have masks."""
        names = sorted({model.dataset for model in self.models.values()})
        splits = {name: self.eval_split(name) for name in names}
        return {name: {"images": {split: self.image_count(name, split)}, "masks": self.has_masks(name)} for name, split in splits.items()}

    def num_classes(self, dataset: str) -> int:
        """Number of classes that a model of this data set tells apart."""
        config = self.config["datasets"][dataset]
        if config["kind"] == "shapes":
            return config["num_classes"]
        if config["kind"] == "imagenet_s" or config["classes"] == "imagenet":
            return 1000
        if archive := self.archive(dataset):
            return archive.classes
        return len(self.layout(dataset).folder_classes(config["eval_split"]))

    def manifest_settings(self, dataset: str, split: str) -> dict[str, Any]:
        """What a manifest depends on: how images are chosen, and the names and contents of their files."""
        config = self.config["datasets"][dataset]
        return {
            "kind": self.layout(dataset).kind,
            "subset": self.layout(dataset).subset,
            "classes": config["classes"],
            "split": split,
            "images_per_class": self.images_per_class(dataset, split),
            "masks": config["masks"],
            "on_bad_image": config["on_bad_image"],
            "shard_size": self.config["hidden_states"]["shard_size"],
            "protocol": self.protocol.name,
            "content": self._content(dataset, split),
        }

    def _content(self, dataset: str, split: str) -> str | None:
        if self.is_made(dataset):
            return None  # the folder that the workflow makes is an input of the rule instead
        layout = self.layout(dataset)
        names = [*files_of(self.images(dataset, split)), *(os.path.relpath(file, layout.root) for file in layout.class_files())]
        digests = self.fingerprints.of(os.path.join(layout.root, name) for name in names)
        found = [part for name, digest in zip(names, digests, strict=True) if digest for part in (name, digest)]
        return sha256_of(*found, *layout.class_folders(split))

    def shapes_settings(self, dataset: str) -> dict[str, Any]:
        """What the generated data set depends on."""
        config = self.config["datasets"][dataset]
        return {
            "num_classes": config["num_classes"],
            "splits": json.dumps(self._splits(dataset)),
            "seed": self.config["seed"],
        }

    def archive_settings(self, dataset: str, split: str) -> dict[str, Any]:
        """What the folder of images that a split of an archive is unpacked to depends on."""
        config, archive = self.config["datasets"][dataset], ARCHIVES[self.config["datasets"][dataset]["kind"]]
        files = [] if config["download"] else archive.files(Path(config["root"]))  # a fetched archive is checked against its published hash
        return {
            "kind": config["kind"],
            "images_per_class": self.images_per_class(dataset, split),
            "content": sha256_of(*map(str, self.fingerprints.of(files))),
        }

    # Models

    @cached_property
    def models(self) -> dict[str, Model]:
        """Models and random twins by name, each twin after its model."""
        models = {}
        for name, config in self.config["models"].items():
            label = config["label"] or name
            borrowed = config["random_twin"] if isinstance(config["random_twin"], str) else None
            own = config["random_twin"] is True and config["weights"] != "random"
            twin = f"{borrowed or name}_random" if borrowed or own else None
            models[name] = Model(name, label, config["dataset"], self._analyses(config), config, twin)
            if twin and own:
                models[twin] = Model(twin, f"{label} (random)", config["dataset"], ("identifiability",), config, twin_of=name)
        return models

    def _analyses(self, config: dict[str, Any]) -> tuple[str, ...]:
        """The analyses that a config asks of a model, without those that need masks where there are none."""
        return tuple(name for name in config["analyses"] if name not in NEED_MASKS or self.has_masks(config["dataset"]))

    def models_with(self, analysis: str) -> list[str]:
        """Names of the models that an analysis is made for."""
        return [model.name for model in self.models.values() if analysis in model.analyses]

    def trained(self) -> list[str]:
        """Names of the models that the workflow trains."""
        return [model.name for model in self.models.values() if model.weights == "trained"]

    def _checkpoint(self, name: str) -> Path | None:
        """The checkpoint of a config's model, which must have the hash that is pinned; None for other weights."""
        config = self.config["models"][name]
        if config["weights"] in ("pretrained", "random", "trained"):
            return None
        path = Path(config["weights"])
        if not path.is_file():
            raise InputError(
                f"config key `models.{name}.weights`: there is no file {path}; give a checkpoint, pretrained, random or trained"
            )
        if config["sha256"] and (found := self.fingerprints.of([path])[0]) != config["sha256"].lower():
            raise different(path, str(found), config["sha256"])
        return path

    def _class_embedding(self, name: str) -> Path | None:
        """The class embedding that a config's model has instead of its head; None for none."""
        settings = self.config["models"][name]["class_embedding"]
        if settings and not Path(settings["file"]).is_file():
            raise InputError(f"config key `models.{name}.class_embedding`: there is no file {settings['file']}")
        return Path(settings["file"]) if settings else None

    def files_of_model(self, name: str) -> dict[str, str]:
        """Paths of a model's checkpoint and class embedding, or `None`."""
        model = self.models[name]
        checkpoint = None if model.twin_of else self._checkpoint(name)
        return {"checkpoint": str(checkpoint), "class_embedding": str(self._class_embedding(model.twin_of or name))}

    def model_settings(self, name: str) -> dict[str, Any]:
        """What a model's weights, self-check and transform depend on."""
        model = self.models[name]
        config = model.config
        checkpoint = None if model.twin_of else self._checkpoint(name)
        embedding = self._class_embedding(model.twin_of or name)
        return {
            "arch": config["arch"],
            "weights": "checkpoint" if checkpoint else model.weights,
            "checkpoint": self.fingerprints.of([checkpoint])[0] if checkpoint else None,
            "kwargs": json.dumps(config["kwargs"], sort_keys=True),
            "key_prefix": config["key_prefix"],
            "ignore_keys": json.dumps(config["ignore_keys"]),
            "transform": json.dumps(config["transform"], sort_keys=True),
            "num_classes": self.num_classes(model.dataset),
            "seed": self.config["seed"],
            "protocol": self.protocol.name,
            "pinned": config["sha256"] if model.weights == "pretrained" else None,
            "class_embedding": self.fingerprints.of([embedding])[0] if embedding else None,
            "normalization": config["class_embedding"]["normalization"] if embedding else "none",
            "temperature": config["class_embedding"]["temperature"] if embedding else 1.0,
        }

    def training_settings(self, name: str) -> dict[str, Any]:
        """What a model that the workflow trains depends on, beside its images."""
        model = self.models[name]
        shared = {key: self.model_settings(name)[key] for key in ("arch", "kwargs", "transform", "num_classes", "seed", "protocol")}
        recipe = json.dumps(model.config["training"], sort_keys=True)
        return {**shared, "recipe": recipe, "precision": self.config["compute"]["precision"]}

    def extraction_settings(self) -> dict[str, Any]:
        """What stored hidden states depend on, beside model and images."""
        states, compute = self.config["hidden_states"], self.config["compute"]
        return {"dtype": states["dtype"], "precision": compute["precision"], "protocol": self.protocol.name}

    # Analyses

    def probe_split(self, dataset: str) -> str | None:
        """Name of the split that linear probes are fitted on; None where the data set has none beside the analysed one."""
        split = self.config["datasets"][dataset]["probe_split"]
        exists = self.is_made(dataset) or (self.layout(dataset).home / split).is_dir()
        return split if exists and split != self.eval_split(dataset) else None

    def probe_settings(self, dataset: str) -> dict[str, Any]:
        """What linear probes depend on, beside the hidden states."""
        split = self.probe_split(dataset)
        training = f"{split} split" if split else f"halves of the {self.eval_split(dataset)} split, each tested on the other"
        return {"training": training, "seed": self.config["seed"], "protocol": self.protocol.name}

    def perturbation_settings(self, model: str) -> dict[str, Any]:
        """What perturbations depend on, beside model and images."""
        analyses = [name for name in ("attention", "tokens") if name in self.models[model].analyses]
        return {"analyses": analyses, "precision": self.config["compute"]["precision"], "protocol": self.protocol.name}

    def relevance_settings(self) -> dict[str, Any]:
        """What relevance maps depend on, beside model and images."""
        relevance = self.config["relevance"]
        return {
            "classes": relevance["classes"],
            "images": json.dumps(relevance["images"], sort_keys=True),
            "seed": self.config["seed"],
            "precision": self.config["compute"]["precision"],
            "protocol": self.protocol.name,
        }

    def deletion_settings(self) -> dict[str, Any]:
        """What deletion depends on, beside model, images and maps."""
        return {
            "steps": str(self.config["deletion"]["steps"]),
            "seed": self.config["seed"],
            "precision": self.config["compute"]["precision"],
            "protocol": self.protocol.name,
        }

    # Figures and tables

    def files_of(self, items: tuple[Item, ...]) -> dict[str, list[str]]:
        """Names of the figures or tables of this run, by letter."""
        result: dict[str, list[str]] = {}
        for item in items:
            if models := self.models_of(item):
                result.setdefault(item.letter, []).extend(item.files(models))
        return result

    def figures(self) -> dict[str, list[str]]:
        """Names of the figures of this run, by letter."""
        return self.files_of(FIGURES)

    def tables(self) -> dict[str, list[str]]:
        """Names of the tables of this run, by letter."""
        return self.files_of(TABLES)

    def models_of(self, item: Item) -> list[str]:
        """Names of the models that a figure or table shows."""
        models = self.models_with(item.analysis)
        return [model for model in models if self.has_masks(self.models[model].dataset)] if item.masks else models

    def statistics_settings(self, models: list[str]) -> dict[str, Any]:
        """What a figure or table of these models depends on, beside their measures: names and labels (as JSON), seed and protocol."""
        named = [
            {"name": item.name, "label": item.label, "twin_of": item.twin_of, "twin": item.twin}
            for item in map(self.models.__getitem__, models)
        ]
        return {"models": json.dumps(named), "seed": self.config["seed"], "protocol": self.protocol.name}

    def figure_settings(self, models: list[str]) -> dict[str, Any]:
        """What a figure of these models depends on, beside their measures."""
        style = self.fingerprints.of([self.style_path()])[0]
        return {**self.statistics_settings(models), "style": style, "width": self.config["figures"]["width"]}

    def style_path(self) -> Path:
        """The matplotlib style file that figures are drawn with."""
        path = Path(self.config["figures"]["style"] or STYLE)
        if not path.is_file():
            raise InputError(f"config key `figures.style`: there is no file {path}")
        return path


def _problem(check: Callable[[], object]) -> InputError | None:
    """The error that a check raises."""
    try:
        check()
    except InputError as error:
        return error
    return None
