"""What a config asks for, as the rules need it: models and their twins, images, shards, settings, figures and tables.

The workflow builds one `Plan` whenever it is parsed, so this module imports neither torch nor any table library, and a missing data set
or checkpoint is found before anything starts.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from classlens.config import published, steps
from classlens.config.catalogue import FIGURES, TABLES, Item
from classlens.config.planned_dataset import PlannedDataset
from classlens.config.reading import dataset_of, own_twins
from classlens.config.settings import ANALYSES, Analysis, ComparisonSettings, Config, ModelSettings, Section, TwinSettings
from classlens.config.steps import Step
from classlens.errors import InputError, printable
from classlens.protocol import Protocol
from classlens.storage.fingerprints import Fingerprints
from classlens.storage.provenance import different, sha256_of

NEED_MASKS = ("context", "tokens")
WEIGHTS = ("pretrained", "random", "trained")
"""Weights that are no file's."""


@dataclass(frozen=True)
class Model:
    """One model of a run.

    Attributes:
        name: its name in the config, or that of a random twin.
        label: its name for people.
        dataset: name of the data set that it is analysed on.
        analyses: that are made of it.
        settings: of a random twin those of its model.
        twins: names of the random twins that it is compared with; they may be another model's.
        twin_of: of a random twin, the name of its model.
        seed: of its random weights.
    """

    name: str
    label: str
    dataset: str
    analyses: tuple[Analysis, ...]
    settings: ModelSettings
    twins: tuple[str, ...] = ()
    twin_of: str | None = None
    seed: int = 0

    @property
    def is_reference(self) -> bool:
        """Whether it is a random twin that other models are compared with, and nothing else."""
        return self.twin_of is not None and self.analyses == ("identifiability",)

    @property
    def weights(self) -> str:
        return "random" if self.twin_of else self.settings.weights

    @property
    def needs_classes(self) -> bool:
        """Whether its weights or its class embedding come from a file, whose rows must be in the order of the data set's classes."""
        return self.weights not in ("random", "trained") or self.settings.class_embedding is not None


class Plan:
    """The work that a resolved config stands for.

    Args:
        config: from `reading.resolve`.
        results: folder of the run's results.
        memory: file that remembers the hashes of files outside the workflow (`fingerprints.Fingerprints`).

    Raises:
        InputError: data sets, mask folders or checkpoints are missing, each in a line of its own.
    """

    def __init__(self, config: Config, results: str, memory: Path | None = None):
        self.config = config
        self.results = results
        self.protocol = Protocol.named(config.protocol)
        self.fingerprints = Fingerprints(memory)
        self.published = published.facts(results)
        if self.published:
            published.check(config, self.published)
        known = self.published.datasets if self.published else {}
        self.datasets = {name: PlannedDataset(name, config, results, self.fingerprints, known.get(name)) for name in config.datasets}
        checks = [self._style, *(self._published_checks() if self.published else self._checks())]
        problems = [printable(str(problem)) for check in checks if (problem := _problem(check))]
        if problems:
            raise InputError("\n".join(dict.fromkeys(problems)))

    def _checks(self) -> Iterator[Callable[[], object]]:
        """What must be there before anything starts; each raises an InputError, and all of them are told at once."""
        for name, model in self.config.models.items():
            dataset = self.datasets[dataset_of(model, self.config)]
            yield partial(_check_dataset, dataset)
            yield partial(self._checkpoint, name)
            yield partial(self._class_embedding, name)
            if model.weights == "trained":
                yield partial(dataset.image_count, dataset.train_split)
            if "probes" in self._asked(model):
                yield partial(_check_probe_split, dataset)

    def _published_checks(self) -> Iterator[Callable[[], object]]:
        """What is left to check where nothing but published results is used."""
        for name in self.published.datasets if self.published else ():
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
        models, seed, labels = {}, self.config.seed, self._labels()
        for name, settings in self.config.models.items():
            label, dataset = labels[name], dataset_of(settings, self.config)
            own, compared = self._own_twins(name), self._compared_with(name)
            models[name] = Model(name, label, dataset, self._analyses(settings, self._asked(settings)), settings, compared, seed=seed)
            for number, twin in enumerate(own):
                said, analyses = f"{label} (random{f', seed {number}' if number else ''})", self._twin_analyses(name)
                models[twin] = Model(twin, said, dataset, analyses, settings, twin_of=name, seed=twin_seed(seed, number))
        return models

    @cached_property
    def presented(self) -> list[str]:
        """Return the names of the models that some figure or table names; of random twins that are references only, the first one."""
        items = FIGURES + TABLES
        named = [name for name, model in self.models.items() if name in self.explored or not model.is_reference]
        return [name for name in named if any(name in self.models_of(item) for item in items)]

    def _labels(self) -> dict[str, str]:
        """Return the models' names for people; where two have one label, their names in the config tell them apart."""
        labels = {name: model.label or name for name, model in self.config.models.items()}
        shared = {label for label, number in Counter(labels.values()).items() if number > 1}
        return {name: f"{label} ({name})" if label in shared else label for name, label in labels.items()}

    def _own_twins(self, name: str) -> tuple[str, ...]:
        """Return the names of a model's own random twins."""
        return tuple(own_twins(name, self.config.models[name], self.protocol))

    def _compared_with(self, name: str) -> tuple[str, ...]:
        """Return the names of the random twins that a model is compared with: its own, or those that it borrows."""
        asked = self.config.models[name].random_twin
        return self._own_twins(asked if isinstance(asked, str) else name)

    def _asked(self, model: ModelSettings) -> list[Analysis]:
        """Return the analyses that the config asks for: the model's own list, or the global one."""
        return self.config.analyses if model.analyses is None else model.analyses

    def _analyses(self, model: ModelSettings, asked: list[Analysis]) -> tuple[Analysis, ...]:
        """Return the analyses of those asked for, without those that need masks where there are none."""
        has_masks = self.datasets[dataset_of(model, self.config)].has_masks
        return tuple(name for name in asked if has_masks or name not in NEED_MASKS)

    def _twin_analyses(self, name: str) -> tuple[Analysis, ...]:
        """Return the analyses of a model's random twins.

        Where the config lists more than `identifiability`, `memories` come with them if a model that is compared with the twins has them.
        """
        model = self.config.models[name]
        asked: set[Analysis] = {"identifiability"}
        asked |= set(model.random_twin.analyses) if isinstance(model.random_twin, TwinSettings) else set()
        if asked != {"identifiability"} and self.twins_need_memories(name):
            asked.add("memories")
        return self._analyses(model, [analysis for analysis in ANALYSES if analysis in asked])

    def twins_need_memories(self, name: str) -> bool:
        """Return whether the memories of a model's random twins are compared with those of some model."""
        compared = (other for other in self.config.models if set(self._own_twins(name)) & set(self._compared_with(other)))
        return any("memories" in self._asked(self.config.models[other]) for other in compared)

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
        model = self.config.models[name]
        if model.weights in WEIGHTS:
            return None
        path = Path(model.weights)
        if not path.is_file():
            raise InputError(
                f"config key `models.{name}.weights`: there is no file {path}; give a checkpoint, pretrained, random or trained"
            )
        if model.sha256 and (found := self.fingerprints.of([path])[0]) != model.sha256.lower():
            raise different(path, str(found), model.sha256)
        return path

    def _class_embedding(self, name: str) -> Path | None:
        """The class embedding that a config's model has instead of its head; None for none."""
        embedding = self.config.models[name].class_embedding
        if embedding and not Path(embedding.file).is_file():
            raise InputError(f"config key `models.{name}.class_embedding`: there is no file {embedding.file}")
        return Path(embedding.file) if embedding else None

    def files_of_model(self, name: str) -> dict[str, str]:
        """Paths of a model's checkpoint and class embedding; empty where it has none."""
        model = self.models[name]
        found = {
            "checkpoint": None if model.twin_of else self._checkpoint(name),
            "class_embedding": self._class_embedding(model.twin_of or name),
        }
        return {what: str(path or "") for what, path in found.items()}

    def hashes_of_model(self, name: str) -> list[str | None]:
        """Hashes of a model's checkpoint and class embedding."""
        return self.fingerprints.of(path for path in self.files_of_model(name).values() if path)

    # Settings of the steps, each without what the step does not depend on

    def step(self, kind: type[Step], *sections: Section, **values: Any) -> Step:
        """Return the settings of a step, from some sections of the config, from those that the whole run shares, and further values."""
        found = {name: value for section in (self.config, self.config.compute, *sections) for name, value in section}
        return kind(**{name: value for name, value in (found | values).items() if name in kind.model_fields})

    def model_step(self, name: str) -> steps.ModelStep:
        """What a model's weights, self-check and transform depend on, beside the contents of its files."""
        model = self.models[name]
        weights = model.weights if model.weights in WEIGHTS else "checkpoint"
        return self.step(
            steps.ModelStep, model.settings, self._comparison(model), weights=weights, seed=model.seed,
            num_classes=self.datasets[model.dataset].num_classes,
            sha256=model.settings.sha256 if weights == "pretrained" else None,
        )  # fmt: skip

    def _comparison(self, model: Model) -> ComparisonSettings:
        return model.settings.class_embedding or ComparisonSettings()

    def twins_step(self, name: str) -> steps.TwinsStep:
        """What the random twins of a model that are measured together, and their measures, depend on, beside the images."""
        model = self.models[name]
        sections = (model.settings, self.config.hidden_states, self.config.projection, self._comparison(model))
        seeds = [self.models[twin].seed for twin in self.measured_together[name]]
        num_classes = self.datasets[model.dataset].num_classes
        return self.step(steps.TwinsStep, *sections, seeds=seeds, weights="random", num_classes=num_classes)

    def training_step(self, name: str) -> steps.TrainingStep:
        """What a model that the workflow trains depends on, beside its images."""
        model = self.models[name]
        return self.step(steps.TrainingStep, model.settings, num_classes=self.datasets[model.dataset].num_classes)

    def probe_step(self, dataset: str) -> steps.ProbeStep:
        """What linear probes depend on, beside the hidden states."""
        split, analysed = self.datasets[dataset].probe_split, self.datasets[dataset].eval_split
        training = f"{split} split" if split else f"halves of the {analysed} split, each tested on the other"
        return self.step(steps.ProbeStep, training=training)

    def perturbation_step(self, model: str) -> steps.PerturbationStep:
        """What perturbations depend on, beside model and images."""
        return self.step(steps.PerturbationStep, analyses=[name for name in ("attention", "tokens") if name in self.models[model].analyses])

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
            asked = {name for model in self.models.values() if model.dataset == dataset.name for name in self._asked(model.settings)}
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

    def table_step(self, models: list[str]) -> steps.TableStep:
        """What a table of these models depends on, beside their measures."""
        return self.step(steps.TableStep, models=self._named(models))

    def figure_step(self, models: list[str]) -> steps.FigureStep:
        """What a figure of these models depends on, beside their measures and the style file."""
        return self.step(steps.FigureStep, self.config.figures, models=self._named(models))

    def _named(self, models: list[str]) -> list[dict[str, Any]]:
        """Names and labels of models, and their random twins among them."""
        return [
            {"name": item.name, "label": item.label, "twin_of": item.twin_of, "twins": [twin for twin in item.twins if twin in models]}
            for item in map(self.models.__getitem__, models)
        ]

    @property
    def formats(self) -> list[str]:
        """The formats of figures, those first that a browser shows best."""
        return [form for form in ("svg", "png", "pdf") if form in self.config.figures.formats]

    def explorer_step(self) -> steps.ExplorerStep:
        """What the explorer's page depends on, beside its models' files."""
        shown = [
            {"name": item.name, "label": item.label, "dataset": item.dataset, "twin_of": item.twin_of}
            for item in map(self.models.__getitem__, self.explored)
        ]
        return self.step(steps.ExplorerStep, models=shown)

    def sanity_step(self, models: list[Model]) -> steps.SanityStep:
        """What is looked at for signs that something else was measured than was meant."""
        named = [{"name": model.name, "label": model.label, "dataset": model.dataset} for model in models]
        return self.step(steps.SanityStep, models=named, datasets=[dataset.name for dataset in self.used()])

    def report_step(self, items: list[Item], without_masks: list[str], code: dict[Any, str], lock: str) -> steps.ReportStep:
        """What the report says of these tables, and of the run.

        Args:
            items: the tables.
            without_masks: what was asked for and is not made for lack of masks.
            code: hashes of all programs.
            lock: hash of the environment's lock file.
        """
        return self.step(
            steps.ReportStep,
            models=self._named(self.presented),
            titles=[f"{item.letter} {item.title}".strip() for item in items],
            without_masks=without_masks,
            hashes={"code": sha256_of(*code.values()), "lock": lock},
        )

    def _style(self) -> Path | None:
        """The matplotlib style file that figures are drawn with, beside that of classlens."""
        style = self.config.figures.style
        if style and not Path(style).is_file():
            raise InputError(f"config key `figures.style`: there is no file {style}")
        return Path(style) if style else None

    def style_hash(self) -> str | None:
        """Hash of the style file, where there is one."""
        style = self._style()
        return self.fingerprints.of([style])[0] if style else None


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
    elif dataset.settings.images_per_class == 1:
        raise InputError(
            f"config key `datasets.{dataset.name}.images_per_class` is 1 and there is no split {dataset.settings.probe_split_name}: linear "
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
