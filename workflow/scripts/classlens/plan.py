"""What a config asks for, as the rules need it: models and their twins, images, shards, settings, figures and tables.

The workflow builds one `Plan` whenever it is parsed, so this module imports neither torch nor any table library, and a missing data set
or checkpoint is found before anything starts.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from classlens import published
from classlens.catalogue import FIGURES, TABLES, Item
from classlens.errors import InputError, printable
from classlens.planned_dataset import PlannedDataset
from classlens.protocol import Protocol
from classlens.provenance import Fingerprints, different

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
        self.published = published.facts(results)
        if self.published:
            published.check(config, self.published)
        known = self.published["datasets"] if self.published else {}
        self.datasets = {name: PlannedDataset(name, config, results, self.fingerprints, known.get(name)) for name in config["datasets"]}
        checks = [self.style_path, *(() if self.published else self._checks())]
        problems = [printable(str(problem)) for check in checks if (problem := _problem(check))]
        if problems:
            raise InputError("\n".join(dict.fromkeys(problems)))

    def _checks(self) -> Iterator[Callable[[], object]]:
        """What must be there before anything starts; each raises an InputError, and all of them are told at once."""
        for name, model in self.config["models"].items():
            dataset = self.datasets[model["dataset"]]
            yield partial(_check_dataset, dataset)
            yield partial(self._checkpoint, name)
            yield partial(self._class_embedding, name)
            if model["weights"] == "trained":
                yield partial(dataset.image_count, dataset.train_split)
            if "probes" in model["analyses"]:
                yield partial(_check_probe_split, dataset)

    # Data sets

    def made(self) -> tuple[list[str], list[str]]:
        """Names of the data sets that the workflow draws, and of those that it unpacks."""
        drawn = [name for name, dataset in self.datasets.items() if dataset.is_generated]
        return drawn, [name for name, dataset in self.datasets.items() if dataset.archive]

    def used(self) -> list[PlannedDataset]:
        """The data sets that some model is analysed on."""
        names = {model.dataset for model in self.models.values()}
        return [dataset for name, dataset in sorted(self.datasets.items()) if name in names]

    def eval_shards(self, model: str) -> list[str]:
        """Names of the shards of the images that a model is analysed on."""
        dataset = self.datasets[self.models[model].dataset]
        return dataset.shards(dataset.eval_split)

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
        return tuple(name for name in config["analyses"] if name not in NEED_MASKS or self.datasets[config["dataset"]].has_masks)

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
            "num_classes": self.datasets[model.dataset].num_classes,
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

    def projection_settings(self) -> dict[str, Any]:
        """What projections depend on, beside hidden states and model."""
        projection = self.config["projection"]
        return {"top_k": projection["top_k"], "classes": json.dumps(projection["classes"]), "protocol": self.protocol.name}

    # Analyses

    def probe_settings(self, dataset: str) -> dict[str, Any]:
        """What linear probes depend on, beside the hidden states."""
        split, analysed = self.datasets[dataset].probe_split, self.datasets[dataset].eval_split
        training = f"{split} split" if split else f"halves of the {analysed} split, each tested on the other"
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

    def without_masks(self) -> dict[str, list[Item]]:
        """The figures and tables that were asked for and are not made for lack of masks, by data set."""
        lacking: dict[str, list[Item]] = {}
        for dataset in (dataset for dataset in self.used() if not dataset.has_masks):
            asked = {name for model in self.models.values() if model.dataset == dataset.name for name in model.config["analyses"]}
            lacking[dataset.name] = [item for item in FIGURES + TABLES if item.masks and item.analysis in asked]
        return lacking

    def models_of(self, item: Item) -> list[str]:
        """Names of the models that a figure or table shows."""
        models = self.models_with(item.analysis)
        return [model for model in models if self.datasets[self.models[model].dataset].has_masks] if item.masks else models

    def statistics_settings(self, models: list[str]) -> dict[str, Any]:
        """What a figure or table of these models depends on, beside their measures: names and labels (as JSON), seed and protocol."""
        named = [
            {"name": item.name, "label": item.label, "twin_of": item.twin_of, "twin": item.twin if item.twin in models else None}
            for item in map(self.models.__getitem__, models)
        ]
        return {"models": json.dumps(named).replace("<", "\\u003c"), "seed": self.config["seed"], "protocol": self.protocol.name}

    def figure_settings(self, models: list[str]) -> dict[str, Any]:
        """What a figure of these models depends on, beside their measures."""
        style = self.fingerprints.of([self.style_path()])[0]
        return {**self.statistics_settings(models), "style": style, "width": self.config["figures"]["width"], "formats": self.formats}

    @property
    def formats(self) -> list[str]:
        """The formats of figures, those first that a browser shows best."""
        return [form for form in ("svg", "png", "pdf") if form in self.config["figures"]["formats"]]

    def explorer_settings(self) -> dict[str, Any]:
        """What the explorer's page depends on, beside its models' files: the run, and its models as JSON."""
        shown = [
            {"name": item.name, "label": item.label, "dataset": item.dataset, "twin_of": item.twin_of} for item in self.models.values()
        ]
        return {"run": self.config["run"], "models": json.dumps(shown), "protocol": self.protocol.name}

    def style_path(self) -> Path:
        """The matplotlib style file that figures are drawn with."""
        path = Path(self.config["figures"]["style"] or STYLE)
        if not path.is_file():
            raise InputError(f"config key `figures.style`: there is no file {path}")
        return path


def _check_dataset(dataset: PlannedDataset) -> None:
    """Raise an InputError where images, classes or masks are missing."""
    dataset.image_count(dataset.eval_split)
    _ = dataset.num_classes, dataset.has_masks
    dataset.check_masks()


def _check_probe_split(dataset: PlannedDataset) -> None:
    """Raise an InputError where there is a split for linear probes that lacks images."""
    if split := dataset.probe_split:
        dataset.image_count(split)


def _problem(check: Callable[[], object]) -> InputError | None:
    """The error that a check raises."""
    try:
        check()
    except InputError as error:
        return error
    return None
