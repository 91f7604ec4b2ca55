"""What a config asks for, as the rules need it: models and their twins, images, shards, settings, figures and tables.

The workflow builds one `Plan` whenever it is parsed, so this module imports neither torch nor any table library, and a missing data set
or checkpoint is found before anything starts.
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from classlens.catalogue import FIGURES, TABLES, Item
from classlens.datasets import Dataset, Image, files_of, shard_names
from classlens.errors import InputError
from classlens.protocol import Protocol
from classlens.provenance import Fingerprints, sha256_of
from classlens.shapes_layout import shapes_images

NEED_MASKS = ("context", "tokens")
STYLE = Path(__file__).parent / "figures" / "classlens.mplstyle"


@dataclass(frozen=True)
class Model:
    """One model of a run. A random twin has the name of the model that it is the twin of in `twin_of`."""

    name: str
    label: str
    dataset: str
    analyses: tuple[str, ...]
    config: dict[str, Any]
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
        InputError: a data set, a mask folder or a checkpoint is missing.
    """

    def __init__(self, config: dict[str, Any], results: str, memory: Path | None = None):
        self.config = config
        self.results = results
        self.protocol = Protocol.named(config["protocol"])
        self.fingerprints = Fingerprints(memory)
        self._images: dict[tuple[str, str], list[Image]] = {}
        for model in self.models.values():
            self.images(model.dataset, self.eval_split(model.dataset))
            self.num_classes(model.dataset)
            self._checkpoint(model)
            if model.weights == "trained":
                self.images(model.dataset, self.train_split(model.dataset))
            if "probes" in model.analyses and (split := self.probe_split(model.dataset)):
                self.images(model.dataset, split)
        self.style_path()

    # Data sets

    def root(self, dataset: str) -> str:
        """Folder of a data set; a generated one lies among the results."""
        return self.config["datasets"][dataset]["root"] or f"{self.results}/data/{dataset}/images"

    def eval_split(self, dataset: str) -> str:
        """Name of the split that is analysed."""
        return self.config["datasets"][dataset]["eval_split"]

    def train_split(self, dataset: str) -> str:
        """Name of the split on which models are trained."""
        return self.config["datasets"][dataset]["train_split"]

    def _splits(self, dataset: str) -> tuple[str, str, str]:
        config = self.config["datasets"][dataset]
        return config["train_split"], config["eval_split"], config["probe_split"]

    def is_generated(self, dataset: str) -> bool:
        """Whether the workflow makes the data set itself."""
        return self.config["datasets"][dataset]["kind"] == "shapes" and not self.config["datasets"][dataset]["root"]

    def has_masks(self, dataset: str) -> bool:
        """Whether the analysed images have object masks."""
        return self.is_generated(dataset) or self.layout(dataset).mask_folder(self.eval_split(dataset)) is not None

    def layout(self, dataset: str) -> Dataset:
        """Where the data set lies."""
        config = self.config["datasets"][dataset]
        return Dataset(
            kind=config["kind"],
            root=Path(self.root(dataset)),
            subset=config["num_classes"] if config["kind"] == "shapes" else config["subset"],
            classes=config["classes"],
            masks=Path(config["masks"]) if config["masks"] else None,
            skip=config["on_bad_image"] == "skip",
            protocol=self.protocol,
        )

    def images_per_class(self, dataset: str, split: str) -> int | None:
        """How many images of each class a split has in this run; None for all."""
        config = self.config["datasets"][dataset]
        counts = {
            config["eval_split"]: config["images_per_class"],
            config["probe_split"]: config["probe_images_per_class"],
            config["train_split"]: config["train_images_per_class"] if self.is_generated(dataset) else None,
        }
        return counts[split]

    def images(self, dataset: str, split: str) -> list[Image]:
        """The images of a split, in order."""
        if (dataset, split) not in self._images:
            per_class = self.images_per_class(dataset, split)
            if self.is_generated(dataset):
                found = shapes_images(self.config["datasets"][dataset]["num_classes"], split, per_class or 0)
            else:
                found = self.layout(dataset).images(split, per_class)
            self._images[dataset, split] = found
        return self._images[dataset, split]

    def shards(self, dataset: str, split: str) -> list[str]:
        """Names of a split's shards."""
        return shard_names(len(self.images(dataset, split)), self.config["hidden_states"]["shard_size"])

    def num_classes(self, dataset: str) -> int:
        """Number of classes that a model of this data set tells apart."""
        config = self.config["datasets"][dataset]
        if config["kind"] == "shapes":
            return config["num_classes"]
        if config["kind"] == "imagenet_s" or config["classes"] == "imagenet":
            return 1000
        return len(self.layout(dataset).folder_classes(config["eval_split"]))

    def manifest_settings(self, dataset: str, split: str) -> dict[str, Any]:
        """What a manifest depends on: how images are chosen, and the names and contents of their files."""
        config = self.config["datasets"][dataset]
        return {
            "kind": config["kind"],
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
        if self.is_generated(dataset):
            return None  # the generated folder is an input of the rule instead
        layout = self.layout(dataset)
        files = [*files_of(self.images(dataset, split), layout.root), *layout.class_files()]
        files = [file for file in files if file.is_file()]
        names = [os.path.relpath(file, layout.root) for file in files]
        return sha256_of(*names, *self.fingerprints.of(files), *layout.class_folders(split))

    def shapes_settings(self, dataset: str) -> dict[str, Any]:
        """What the generated data set depends on."""
        config = self.config["datasets"][dataset]
        return {
            "num_classes": config["num_classes"],
            "splits": json.dumps({split: self.images_per_class(dataset, split) for split in self._splits(dataset)}),
            "seed": self.config["seed"],
        }

    # Models

    @cached_property
    def models(self) -> dict[str, Model]:
        """Models and random twins by name, each twin after its model."""
        models = {}
        for name, config in self.config["models"].items():
            label = config["label"] or name
            models[name] = Model(name, label, config["dataset"], self._analyses(config), config)
            if config["random_twin"] and config["weights"] != "random":
                twin = f"{name}_random"
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

    def _checkpoint(self, model: Model) -> Path | None:
        if model.weights in ("pretrained", "random", "trained"):
            return None
        path = Path(model.weights)
        if not path.is_file():
            raise InputError(
                f"config key `models.{model.name}.weights`: there is no file {path}; give a checkpoint, pretrained, random or trained"
            )
        return path

    def model_settings(self, name: str) -> dict[str, Any]:
        """What a model's weights, self-check and transform depend on."""
        model = self.models[name]
        checkpoint = self._checkpoint(model)
        return {
            "arch": model.config["arch"],
            "weights": "checkpoint" if checkpoint else model.weights,
            "checkpoint": self.fingerprints.of([checkpoint])[0] if checkpoint else None,
            "kwargs": json.dumps(model.config["kwargs"], sort_keys=True),
            "key_prefix": model.config["key_prefix"],
            "ignore_keys": json.dumps(model.config["ignore_keys"]),
            "transform": json.dumps(model.config["transform"], sort_keys=True),
            "num_classes": self.num_classes(model.dataset),
            "seed": self.config["seed"],
            "protocol": self.protocol.name,
        }

    def checkpoint_path(self, name: str) -> str:
        """Path of the checkpoint, or `None` for a model that has none."""
        return str(self._checkpoint(self.models[name]))

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
        exists = self.is_generated(dataset) or (self.layout(dataset).home / split).is_dir()
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

    @property
    def analyses(self) -> set[str]:
        """Analyses that some model has."""
        return {analysis for model in self.models.values() for analysis in model.analyses}

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
        named = [{"name": item.name, "label": item.label, "twin_of": item.twin_of} for item in map(self.models.__getitem__, models)]
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
