"""What a config asks for, as the rules need it: models and their twins, images, shards, settings, figures and tables.

The workflow builds one `Plan` whenever it is parsed, so this module imports neither torch nor any table library, and a missing data set
or checkpoint is found before anything starts.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from classlens import published
from classlens.catalogue import ANALYSES, FIGURES, TABLES, Item
from classlens.config import own_twins
from classlens.errors import InputError, printable
from classlens.planned_dataset import PlannedDataset
from classlens.protocol import Protocol
from classlens.provenance import Fingerprints, different

NEED_MASKS = ("context", "tokens")
STYLE = Path(__file__).parent / "figures" / "classlens.mplstyle"


@dataclass(frozen=True)
class Model:
    """One model of a run.

    Attributes:
        name: its name in the config, or that of a random twin.
        label: its name for people.
        dataset: name of the data set that it is analysed on.
        analyses: that are made of it.
        config: its settings; of a random twin those of its model.
        twins: names of the random twins that it is compared with; they may be another model's.
        twin_of: of a random twin, the name of its model.
        seed: of its random weights.
    """

    name: str
    label: str
    dataset: str
    analyses: tuple[str, ...]
    config: dict[str, Any]
    twins: tuple[str, ...] = ()
    twin_of: str | None = None
    seed: int = 0

    @property
    def is_reference(self) -> bool:
        """Whether it is a random twin that other models are compared with, and nothing else."""
        return self.twin_of is not None and self.analyses == ("identifiability",)

    @property
    def weights(self) -> str:
        return "random" if self.twin_of else self.config["weights"]

    @property
    def needs_classes(self) -> bool:
        """Whether its weights or its class embedding come from a file, whose rows must be in the order of the data set's classes."""
        return self.weights not in ("random", "trained") or bool(self.config["class_embedding"])


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
        checks = [self.style_path, *(self._published_checks() if self.published else self._checks())]
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

    def _published_checks(self) -> Iterator[Callable[[], object]]:
        """What is left to check where nothing but published results is used."""
        for name in self.published["datasets"] if self.published else ():
            yield partial(self.datasets[name].shards, self.datasets[name].eval_split)

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
        """Models and random twins by name, each model's twins after it."""
        models, seed, labels = {}, self.config["seed"], self._labels()
        for name, config in self.config["models"].items():
            label, dataset = labels[name], config["dataset"]
            own, compared = self._own_twins(name), self._compared_with(name)
            models[name] = Model(name, label, dataset, self._analyses(config, config["analyses"]), config, compared, seed=seed)
            for number, twin in enumerate(own):
                said, analyses = f"{label} (random{f', seed {number}' if number else ''})", self._twin_analyses(name)
                models[twin] = Model(twin, said, dataset, analyses, config, twin_of=name, seed=twin_seed(seed, number))
        return models

    @cached_property
    def presented(self) -> list[str]:
        """Return the names of the models that some figure or table names; of random twins that are references only, the first one."""
        items = FIGURES + TABLES
        named = [name for name, model in self.models.items() if name in self.explored or not model.is_reference]
        return [name for name in named if any(name in self.models_of(item) for item in items)]

    def _labels(self) -> dict[str, str]:
        """Return the models' names for people; where two have one label, their names in the config tell them apart."""
        labels = {name: config["label"] or name for name, config in self.config["models"].items()}
        shared = {label for label, number in Counter(labels.values()).items() if number > 1}
        return {name: f"{label} ({name})" if label in shared else label for name, label in labels.items()}

    def _own_twins(self, name: str) -> tuple[str, ...]:
        """Return the names of a model's own random twins."""
        return tuple(own_twins(name, self.config["models"][name], self.protocol))

    def _compared_with(self, name: str) -> tuple[str, ...]:
        """Return the names of the random twins that a model is compared with: its own, or those that it borrows."""
        asked = self.config["models"][name]["random_twin"]
        return self._own_twins(asked if isinstance(asked, str) else name)

    def _analyses(self, config: dict[str, Any], asked: list[str]) -> tuple[str, ...]:
        """Return the analyses of those asked for, without those that need masks where there are none."""
        return tuple(name for name in asked if name not in NEED_MASKS or self.datasets[config["dataset"]].has_masks)

    def _twin_analyses(self, name: str) -> tuple[str, ...]:
        """Return the analyses of a model's random twins.

        Where the config lists more than `identifiability`, `memories` come with them if a model that is compared with the twins has them.
        """
        config = self.config["models"][name]
        asked = set(config["random_twin"]["analyses"] if isinstance(config["random_twin"], dict) else ()) | {"identifiability"}
        if asked != {"identifiability"} and self.twins_need_memories(name):
            asked.add("memories")
        return self._analyses(config, [analysis for analysis in ANALYSES if analysis in asked])

    def twins_need_memories(self, name: str) -> bool:
        """Return whether the memories of a model's random twins are compared with those of some model."""
        compared = (other for other in self.config["models"] if set(self._own_twins(name)) & set(self._compared_with(other)))
        return any("memories" in self.config["models"][other]["analyses"] for other in compared)

    @cached_property
    def measured_together(self) -> dict[str, list[str]]:
        """Return the random twins that one job makes and measures, by model; they have no analysis but `identifiability`.

        Published results hold what that job made, so that there is nothing to measure.
        """
        found: dict[str, list[str]] = {}
        for model in self.models.values():
            if model.is_reference and not self.published:
                found.setdefault(str(model.twin_of), []).append(model.name)
        return found

    @cached_property
    def measured_alone(self) -> list[str]:
        """Names of the models that have jobs of their own for every step."""
        together = {twin for twins in self.measured_together.values() for twin in twins}
        return [name for name in self.models if name not in together]

    @cached_property
    def explored(self) -> list[str]:
        """Return the names of the models that the explorer shows; of a model's random twins, the first one."""
        return [name for name, model in self.models.items() if not model.twin_of or name == self._own_twins(model.twin_of)[0]]

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
            "seed": model.seed,
            "protocol": self.protocol.name,
            "pinned": config["sha256"] if model.weights == "pretrained" else None,
            "class_embedding": self.fingerprints.of([embedding])[0] if embedding else None,
            "normalization": config["class_embedding"]["normalization"] if embedding else "none",
            "temperature": config["class_embedding"]["temperature"] if embedding else 1.0,
            "projection": (config["class_embedding"]["projection"] if embedding else None) or "auto",
        }

    def twins_settings(self, name: str) -> dict[str, Any]:
        """What the random twins of a model that are measured together, and their measures, depend on, beside the images."""
        first, *_ = twins = self.measured_together[name]
        model = {key: value for key, value in self.model_settings(first).items() if key != "seed"}
        seeds = [self.models[twin].seed for twin in twins]
        return {**model, **self.extraction_settings(), **self.projection_settings(), "seeds": seeds}

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
        """Return the names of the models that a figure or table shows, and of the random twins that it compares them with."""
        models = [name for name, model in self.models.items() if self._is_shown(item, model)]
        return [model for model in models if self.datasets[self.models[model].dataset].has_masks] if item.masks else models

    def _is_shown(self, item: Item, model: Model) -> bool:
        """Return whether a figure or table shows a model, or compares another with it."""
        if not (item.against_twins and model.twin_of):
            return item.analysis in model.analyses
        return any(model.name in other.twins and item.analysis in other.analyses for other in self.models.values())

    def statistics_settings(self, models: list[str]) -> dict[str, Any]:
        """What a figure or table of these models depends on, beside their measures: names and labels (as JSON), seed and protocol."""
        named = [
            {"name": item.name, "label": item.label, "twin_of": item.twin_of, "twins": [twin for twin in item.twins if twin in models]}
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
            {"name": item.name, "label": item.label, "dataset": item.dataset, "twin_of": item.twin_of}
            for item in map(self.models.__getitem__, self.explored)
        ]
        return {"run": self.config["run"], "models": json.dumps(shown), "protocol": self.protocol.name}

    def style_path(self) -> Path:
        """The matplotlib style file that figures are drawn with."""
        path = Path(self.config["figures"]["style"] or STYLE)
        if not path.is_file():
            raise InputError(f"config key `figures.style`: there is no file {path}")
        return path


def twin_seed(seed: int, number: int) -> int:
    """Return the seed of a model's random twin: the run's own for the first, and numbers far from any other run's for the others."""
    return seed if number == 0 else int(hashlib.sha256(f"random twin {number} of seed {seed}".encode()).hexdigest()[:8], 16)


def _check_dataset(dataset: PlannedDataset) -> None:
    """Raise an InputError where images, classes or masks are missing."""
    dataset.shards(dataset.eval_split)
    _ = dataset.num_classes, dataset.has_masks
    dataset.check_masks()


def _check_probe_split(dataset: PlannedDataset) -> None:
    """Raise an InputError where linear probes have too few images to be fitted on."""
    if split := dataset.probe_split:
        dataset.shards(split)
    elif dataset.config["images_per_class"] == 1:
        raise InputError(
            f"config key `datasets.{dataset.name}.images_per_class` is 1 and there is no split {dataset.config['probe_split']}: linear "
            "probes are then fitted on one half of each class and tested on the other; set it to at least 2, or leave `probes` out of "
            "`analyses`"
        )


def _problem(check: Callable[[], object]) -> InputError | None:
    """The error that a check raises."""
    try:
        check()
    except InputError as error:
        return error
    return None
