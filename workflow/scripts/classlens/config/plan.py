"""The plan of a run, which rules read: models and their random twins, images, shards, settings, figures and tables.

The workflow builds one `Plan` whenever it is parsed. This module therefore imports neither torch nor a table library, and missing data
sets and checkpoints are found before any job starts.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from classlens.config import published, steps
from classlens.config.catalogue import CATEGORIES, FIGURES, TABLES, Item
from classlens.config.planned_dataset import Known, PlannedDataset
from classlens.config.reading import dataset_of, own_twins
from classlens.config.settings import (
    ANALYSES,
    WEIGHTS,
    Analysis,
    ComparisonSettings,
    Config,
    ModelSettings,
    Section,
    TransformSettings,
    TwinSettings,
)
from classlens.config.steps import Step
from classlens.errors import InputError, printable
from classlens.models import transformers_config
from classlens.protocol import Protocol
from classlens.storage.fingerprints import Fingerprints
from classlens.storage.folders import Searches
from classlens.storage.provenance import sha256_of, wrong_sha256
from classlens.vocabulary import METHODS, Method

NEED_MASKS = ("context", "tokens")


@dataclass(frozen=True)
class Model:
    """One model of a run, which may be a random twin.

    Attributes:
        name: name in the config, or the generated name of a random twin.
        label: name in figures and tables.
        dataset: name of the data set that the model is analysed on.
        analyses: analyses of the model.
        settings: settings in the config; a random twin has those of its model.
        twins: names of the random twins that the model is compared with, which may be another model's.
        twin_of: name of the model that this is a random twin of, or None.
        seed: seed of random weights.
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
        """Whether the model is a random twin that serves only for comparison with other models."""
        return self.twin_of is not None and self.analyses == ("identifiability",)

    @property
    def weights(self) -> str:
        return "random" if self.twin_of else self.settings.weights

    @property
    def needs_classes(self) -> bool:
        """Whether the weights or the class embedding come from a file, whose rows must follow the data set's class order."""
        return self.weights not in ("random", "trained") or self.settings.class_embedding is not None


class Plan:
    """The plan of a run, made from its resolved config.

    Args:
        config: from `reading.resolve`.
        results: folder of the run's results.
        memory: file with the fingerprints of files outside the workflow (`fingerprints.Fingerprints`). The results of searches in folders
            (`folders.Searches`) lie beside it.

    Raises:
        InputError: data sets, mask folders or checkpoints are missing. The message has one line for each problem.
    """

    def __init__(self, config: Config, results: str, memory: Path | None = None):
        self.config = config
        self.results = results
        self.protocol = Protocol.named(config.protocol)
        self.fingerprints = Fingerprints(memory)
        self.published = published.facts(results)
        if self.published:
            published.check(config, self.published)
        known = Known(self.fingerprints, Searches(memory and memory.with_name("folders.json")))
        facts = self.published.datasets if self.published else {}
        self.datasets = {name: PlannedDataset(name, config, results, known, facts.get(name)) for name in config.datasets}
        checks = [self._style, *(self._published_checks() if self.published else self._checks())]
        problems = [printable(str(problem)) for check in checks if (problem := _problem(check))]
        if problems:
            raise InputError("\n".join(dict.fromkeys(problems)))

    def _checks(self) -> Iterator[Callable[[], object]]:
        """Yield the checks of all files that must exist before any job starts. Each check raises an InputError if a file is missing."""
        for name, model in self.config.models.items():
            dataset = self.datasets[dataset_of(model, self.config)]
            yield partial(_check_dataset, dataset)
            yield partial(self._built, name)
            yield partial(self._checkpoint, name)
            yield partial(self._class_embedding, name)
            if model.class_embedding and model.class_embedding.fit:
                yield partial(dataset.check_fit, name, dataset.fit_split(model.class_embedding))
            if model.weights == "trained":
                yield partial(dataset.image_count, dataset.train_split)
            if "probes" in self._asked(model):
                yield partial(_check_probe_split, dataset)

    def _published_checks(self) -> Iterator[Callable[[], object]]:
        """Yield the checks that published results need."""
        for name in self.published.datasets if self.published else ():
            yield partial(self.datasets[name].shards, self.datasets[name].eval_split)

    # Data sets

    def made_by(self, rule: str) -> list[str]:
        """Return the names of the used data sets whose image folders a rule creates."""
        return [dataset.name for dataset in self.used() if dataset.made_by == rule]

    def with_made_masks(self) -> list[str]:
        """Return the names of the used data sets whose masks the workflow makes."""
        return [dataset.name for dataset in self.used() if dataset.settings.makes_masks]

    def used(self) -> list[PlannedDataset]:
        """Return the data sets that models are analysed on, sorted by name."""
        names = {model.dataset for model in self.models.values()}
        return [dataset for name, dataset in sorted(self.datasets.items()) if name in names]

    def eval_shards(self, model: str) -> list[str]:
        """Return the names of the shards that a model is analysed on."""
        dataset = self.datasets[self.models[model].dataset]
        return dataset.shards(dataset.eval_split)

    # Models

    @cached_property
    def models(self) -> dict[str, Model]:
        """The models and random twins by name. Each model is followed by its twins."""
        models, seed, labels = {}, self.config.seed, self._labels()
        for name, settings in self.config.models.items():
            label, dataset = labels[name], dataset_of(settings, self.config)
            own, compared = self._own_twins(name), self._compared_with(name)
            settings = settings if self.published else self._built(name)
            models[name] = Model(name, label, dataset, self._analyses(settings, self._asked(settings)), settings, compared, seed=seed)
            for number, twin in enumerate(own):
                said, analyses = f"{label} (random{f', seed {number}' if number else ''})", self._twin_analyses(name)
                models[twin] = Model(twin, said, dataset, analyses, settings, twin_of=name, seed=twin_seed(seed, number))
        return models

    @cached_property
    def presented(self) -> list[str]:
        """The names of the models in figures and tables. Of twins that serve only for comparison, only each model's first is included."""
        items = FIGURES + TABLES
        named = [name for name, model in self.models.items() if name in self.explored or not model.is_reference]
        return [name for name in named if any(name in self.models_of(item) for item in items)]

    def _labels(self) -> dict[str, str]:
        """Return the label of each model by name. Models that share a label get their name in the config added in brackets."""
        labels = {name: model.label or name for name, model in self.config.models.items()}
        shared = {label for label, number in Counter(labels.values()).items() if number > 1}
        return {name: f"{label} ({name})" if label in shared else label for name, label in labels.items()}

    def _own_twins(self, name: str) -> tuple[str, ...]:
        """Return the names of a model's own random twins."""
        return tuple(own_twins(name, self.config.models[name], self.protocol))

    def _compared_with(self, name: str) -> tuple[str, ...]:
        """Return the names of the random twins that a model is compared with: its own, or another model's."""
        asked = self.config.models[name].random_twin
        return self._own_twins(asked if isinstance(asked, str) else name)

    def _asked(self, model: ModelSettings) -> list[Analysis]:
        """Return the analyses that the config requests for a model: the model's own list, or the global one."""
        return self.config.analyses if model.analyses is None else model.analyses

    def _analyses(self, model: ModelSettings, asked: list[Analysis]) -> tuple[Analysis, ...]:
        """Return the requested analyses of a model, except those that need masks if its data set has no masks."""
        has_masks = self.datasets[dataset_of(model, self.config)].has_masks
        return tuple(name for name in asked if has_masks or name not in NEED_MASKS)

    def _twin_analyses(self, name: str) -> tuple[Analysis, ...]:
        """Return the analyses of a model's random twins.

        If the config lists more than `identifiability`, the twins also get `memories` if a model that is compared with them has this
        analysis.
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
        """The names of the random twins that one job creates and measures together, by model. Their only analysis is `identifiability`.

        The dictionary is empty for published results, which already contain the measures.
        """
        found: dict[str, list[str]] = {}
        for model in self.models.values():
            if model.is_reference and not self.published:
                found.setdefault(str(model.twin_of), []).append(model.name)
        return found

    @cached_property
    def measured_alone(self) -> list[str]:
        """The names of the models that have their own job for every step."""
        together = {twin for twins in self.measured_together.values() for twin in twins}
        return [name for name in self.models if name not in together]

    @cached_property
    def explored(self) -> list[str]:
        """The names of the models that the explorer shows, with the first random twin of each model."""
        return [name for name, model in self.models.items() if not model.twin_of or name == self._own_twins(model.twin_of)[0]]

    def models_with(self, analysis: str) -> list[str]:
        """Return the names of the models that have an analysis."""
        return [model.name for model in self.models.values() if analysis in model.analyses]

    def trained(self) -> list[str]:
        """Return the names of the models that the workflow trains."""
        return [model.name for model in self.models.values() if model.weights == "trained"]

    def _built(self, name: str) -> ModelSettings:
        """Return a model's settings with the architecture and transform that a folder of transformers describes.

        Raises:
            InputError: the folder is damaged, or architecture and folder contradict each other.
        """
        model = self.config.models[name]
        key, folder = f"config key `models.{name}.arch`", Path(model.weights)
        if model.weights in WEIGHTS or not folder.is_dir():
            if model.arch is None and transformers_config.is_described(folder):
                raise InputError(f"{key} is missing: {folder.parent} describes the model: set `weights` to this folder")
            if model.arch is None and folder.exists():
                raise InputError(f"{key} is missing: give the model's name in timm; only a folder of Hugging Face transformers needs none")
            return model
        if model.arch:
            raise InputError(f"{key}: the folder {folder} describes the architecture: remove `arch`")
        found = transformers_config.read(folder)
        if not (found.has_classifier or model.class_embedding):
            raise InputError(
                f"config key `models.{name}.class_embedding` is missing: the model in {folder} has no classifier; set it, for example to "
                "{fit: linear}"
            )
        transform = model.transform or (TransformSettings(**found.transform) if found.transform else None)
        if transform is None:
            raise InputError(f"{folder} has no {transformers_config.PREPROCESSOR}: give the model a `transform` in the config")
        return model.model_copy(update={"arch": found.arch, "kwargs": {**found.kwargs, **model.kwargs}, "transform": transform})

    def _checkpoint(self, name: str) -> Path | None:
        """Return the path of a model's checkpoint, or None for other weights.

        Raises:
            InputError: the checkpoint is missing, or its sha256 differs from the config's.
        """
        model = self.config.models[name]
        if model.weights in WEIGHTS:
            return None
        path = Path(model.weights)
        if not path.exists():
            raise InputError(
                f"config key `models.{name}.weights`: there is no file {path}; give a checkpoint, pretrained, random or trained"
            )
        path = transformers_config.weights_file(path) if path.is_dir() else path
        if model.sha256 and (found := self.fingerprints.of([path])[0]) != model.sha256.lower():
            raise wrong_sha256(path, str(found), model.sha256)
        return path

    def _class_embedding(self, name: str) -> Path | None:
        """Return the path of the class embedding in the config that replaces a model's head, or None.

        Raises:
            InputError: the file, or the file of a text tower's weights, is missing.
        """
        embedding = self.config.models[name].class_embedding
        files = {key: Path(path) for key in ("file", "weights") if embedding and (path := getattr(embedding, key))}
        for key, path in files.items():
            if not path.is_file():
                place = "class_embedding" if key == "file" else "class_embedding.weights"
                raise InputError(f"config key `models.{name}.{place}`: there is no file {path}")
        return files.get("file")

    def files_of_model(self, name: str) -> dict[str, str]:
        """Return the paths of a model's `checkpoint` and `class_embedding`, an empty text for a file that the model does not have."""
        model = self.models[name]
        found = {
            "checkpoint": None if model.twin_of else self._checkpoint(name),
            "class_embedding": self._class_embedding(model.twin_of or name),
        }
        return {what: str(path or "") for what, path in found.items()}

    def hashes_of_model(self, name: str) -> list[str | None]:
        """Return the sha256 of a model's checkpoint and class embedding, without files that the model does not have."""
        return self.fingerprints.of(path for path in self.files_of_model(name).values() if path)

    def with_class_embedding(self, source: str) -> list[str]:
        """Return the names of the models whose class embedding the workflow makes from a source, `fit` or `text`, without random twins."""
        found = {name: self.config.models[name].class_embedding for name in self.config.models}
        return [name for name, embedding in found.items() if embedding and getattr(embedding, source)]

    def makes_class_embedding(self, name: str) -> bool:
        """Return whether the workflow makes the class embedding of a model, or of the model that it is a random twin of."""
        return (self.models[name].twin_of or name) in (*self.with_class_embedding("fit"), *self.with_class_embedding("text"))

    def fit_split(self, name: str) -> str:
        """Return the name of the split that a model's class embedding is fitted on."""
        embedding = self.models[name].settings.class_embedding
        assert embedding
        return self.datasets[self.models[name].dataset].fit_split(embedding)

    def text_weights(self, name: str) -> str:
        """Return the path of the file in the config with the weights of a model's text tower, an empty text for weights of the hub."""
        embedding = self.models[name].settings.class_embedding
        assert embedding
        return embedding.weights or ""

    def text_hashes(self, name: str) -> list[str | None]:
        """Return the sha256 of the file with the weights of a model's text tower, or nothing for weights of the hub."""
        return self.fingerprints.of(path for path in [self.text_weights(name)] if path)

    # Settings of the steps. Each step gets only the settings that it depends on.

    def step(self, kind: type[Step], *sections: Section, **values: Any) -> Step:
        """Return the settings of a step.

        Args:
            kind: class of the step.
            sections: sections of the config to take settings from, besides the top level and `compute`.
            values: further settings, which override those of the sections.
        """
        found = {name: value for section in (self.config, self.config.compute, *sections) for name, value in section}
        return kind(**{name: value for name, value in (found | values).items() if name in kind.model_fields})

    def model_step(self, name: str) -> steps.ModelStep:
        """Return the settings that a model's weights, self-check and transform depend on, besides the contents of its files."""
        model = self.models[name]
        fitted = name in self.with_class_embedding("fit")  # fitted to features of random weights, if these are random
        return self.step(
            steps.ModelStep, model.settings, self._comparison(model), num_classes=self.datasets[model.dataset].num_classes,
            random_vectors=model.weights == "random" and not fitted, **self._source(model),
        )  # fmt: skip

    def _source(self, model: Model) -> dict[str, Any]:
        """Return the settings of the source of a model's weights."""
        weights = model.weights if model.weights in WEIGHTS else "checkpoint"
        return {"weights": weights, "seed": model.seed, "sha256": model.settings.sha256 if weights == "pretrained" else None}

    def _comparison(self, model: Model) -> ComparisonSettings:
        embedding = model.settings.class_embedding
        if embedding and embedding.fit:
            return ComparisonSettings(projection="drop")
        return embedding or ComparisonSettings()

    def features_step(self, name: str) -> steps.FeaturesStep:
        """Return the settings that a model's features depend on, besides the contents of its files and the images."""
        model = self.models[name]
        return self.step(steps.FeaturesStep, model.settings, **self._source(model))

    def fit_step(self, name: str) -> steps.FitStep:
        """Return the settings that a model's fitted class embedding depends on, besides its features."""
        embedding, dataset = self.models[name].settings.class_embedding, self.datasets[self.models[name].dataset]
        assert embedding
        return self.step(steps.FitStep, embedding, split=self.fit_split(name), analysed=dataset.eval_split)

    def text_step(self, name: str) -> steps.TextStep:
        """Return the settings that a model's class embedding from a text tower depends on, besides the contents of its files."""
        model = self.models[name]
        assert model.settings.class_embedding
        return self.step(steps.TextStep, model.settings, prompts=model.settings.class_embedding.prompts)

    def twins_step(self, name: str) -> steps.TwinsStep:
        """Return the settings that a model's jointly measured random twins and their measures depend on, besides the images."""
        model = self.models[name]
        sections = (model.settings, self.config.hidden_states, self.config.projection, self._comparison(model))
        seeds = [self.models[twin].seed for twin in self.measured_together[name]]
        num_classes = self.datasets[model.dataset].num_classes
        return self.step(steps.TwinsStep, *sections, seeds=seeds, weights="random", random_vectors=True, num_classes=num_classes)

    def training_step(self, name: str) -> steps.TrainingStep:
        """Return the settings that the training of a model depends on, besides the images."""
        model = self.models[name]
        return self.step(steps.TrainingStep, model.settings, num_classes=self.datasets[model.dataset].num_classes)

    def probe_step(self, dataset: str) -> steps.ProbeStep:
        """Return the settings that linear probes on a data set depend on, besides the hidden states."""
        split, analysed = self.datasets[dataset].probe_split, self.datasets[dataset].eval_split
        training = f"{split} split" if split else f"halves of the {analysed} split, each tested on the other"
        return self.step(steps.ProbeStep, training=training)

    def relevance_methods(self, model: str) -> list[Method]:
        """Return the methods of a model's relevance maps."""
        asked = {*self.config.relevance.methods, "ours"} - ({"probe"} if "probes" not in self.models[model].analyses else set())
        return [method for method in METHODS if method in asked]

    @property
    def deletion_steps(self) -> int | None:
        """The number of points on a deletion curve; None for every number of removed tokens."""
        settings = self.config.deletion
        return None if self.protocol.deletion_without_ends and "steps" not in settings.model_fields_set else settings.steps

    def tuned_lens_step(self, dataset: str) -> steps.TunedLensFitStep:
        """Return the settings that tuned lenses on a data set depend on, besides the hidden states."""
        return self.step(steps.TunedLensFitStep, self.config.tuned_lens, halves=self.datasets[dataset].probe_split is None)

    def perturbation_step(self, model: str) -> steps.PerturbationStep:
        """Return the settings that a model's perturbations depend on, besides model and images."""
        return self.step(steps.PerturbationStep, analyses=[name for name in ("attention", "tokens") if name in self.models[model].analyses])

    # Figures and tables

    def files_of(self, items: tuple[Item, ...]) -> dict[str, list[str]]:
        """Return the names of the figures or tables of this run, by letter."""
        result: dict[str, list[str]] = {}
        for item in items:
            if models := self.models_of(item):
                result.setdefault(item.letter, []).extend(item.files(models))
        return result

    def figures(self) -> dict[str, list[str]]:
        """Return the names of the figures of this run, by letter."""
        return self.files_of(FIGURES)

    def tables(self) -> dict[str, list[str]]:
        """Return the names of the tables of this run, by letter."""
        return self.files_of(TABLES)

    def without_masks(self) -> dict[str, list[Item]]:
        """Return the requested figures and tables that are left out because a data set has no masks, by data set."""
        lacking: dict[str, list[Item]] = {}
        for dataset in (dataset for dataset in self.used() if not dataset.has_masks):
            asked = {name for model in self.models.values() if model.dataset == dataset.name for name in self._asked(model.settings)}
            lacking[dataset.name] = [item for item in FIGURES + TABLES if item.masks and item.analysis in asked]
        return lacking

    def models_of(self, item: Item) -> list[str]:
        """Return the names of the models in a figure or table, including the random twins that it compares them with."""
        models = [name for name, model in self.models.items() if self._is_shown(item, model)]
        return [model for model in models if self.datasets[self.models[model].dataset].has_masks] if item.masks else models

    def _is_shown(self, item: Item, model: Model) -> bool:
        """Return whether a figure or table shows a model, or compares another model with it."""
        if not (item.against_twins and model.twin_of):
            return item.analysis in model.analyses
        return any(model.name in other.twins and item.analysis in other.analyses for other in self.models.values())

    def table_step(self, models: list[str]) -> steps.TableStep:
        """Return the settings that a table of these models depends on, besides their measures."""
        return self.step(steps.TableStep, models=self._named(models))

    def figure_step(self, models: list[str]) -> steps.FigureStep:
        """Return the settings that a figure of these models depends on, besides their measures and the style file."""
        return self.step(steps.FigureStep, self.config.figures, models=self._named(models))

    def _named(self, models: list[str]) -> list[dict[str, Any]]:
        """Return the name and label of each model, and the model's twins if they are in the list too."""
        return [
            {"name": item.name, "label": item.label, "twin_of": item.twin_of, "twins": [twin for twin in item.twins if twin in models]}
            for item in map(self.models.__getitem__, models)
        ]

    @property
    def formats(self) -> list[str]:
        """The formats of figures, starting with the best format for a browser."""
        return [form for form in ("svg", "png", "pdf") if form in self.config.figures.formats]

    def explorer_step(self) -> steps.ExplorerStep:
        """Return the settings that the explorer's page depends on, besides the files of its models."""
        shown = [
            {"name": item.name, "label": item.label, "dataset": item.dataset, "twin_of": item.twin_of}
            for item in map(self.models.__getitem__, self.explored)
        ]
        return self.step(steps.ExplorerStep, models=shown)

    def explorer_images(self, name: str) -> tuple[int, int]:
        """Return the number of images of a model that the explorer shows, and the number of all images of its data set."""
        dataset, limit = self.datasets[self.models[name].dataset], self.config.explorer.images
        count = dataset.image_count(dataset.eval_split)
        return count if limit is None else min(limit, count), count

    def explorer_guide(self, name: str) -> str | None:
        """Return the name of the model that chooses the images that the explorer shows of a model; None if it shows all.

        It is the first model of the data set, so that all models of a data set show the same images.
        """
        shown, count = self.explorer_images(name)
        alike = (other for other, model in self.models.items() if model.dataset == self.models[name].dataset)
        return next(alike) if shown < count else None

    def shows_tuned_lens(self, name: str) -> bool:
        """Return whether the explorer also shows a model's residual stream through the tuned lens. Published results lack it."""
        return self.config.explorer.tuned_lens and "tuned_lens" in self.models[name].analyses and not self.published

    def shows_attribution(self, name: str) -> bool:
        """Return whether the explorer also shows what a model's heads and MLPs write. Published results lack it."""
        return "attribution" in self.models[name].analyses and not self.published

    def attribution_tokens_step(self, name: str) -> steps.AttributionTokensStep:
        """Return the settings that the terms of heads by token depend on. The number of images counts only if there are more."""
        return self.step(steps.AttributionTokensStep, images=self._explorer_limit(name))

    def _explorer_limit(self, name: str) -> int | None:
        """Return the number of images that a guide chooses for the explorer; None to show all."""
        return self.config.explorer.images if self.explorer_guide(name) else None

    def explorer_model_step(self, name: str) -> steps.ExplorerModelStep:
        """Return the settings that the explorer's files of a model depend on. The number of images counts only if there are more."""
        model = self.models[name]
        twin = next((twin for twin in model.twins if twin in self.explored and self.models[twin].dataset == model.dataset), None)
        return self.step(steps.ExplorerModelStep, name=name, images=self._explorer_limit(name), twin=twin)

    def sanity_step(self, models: list[Model]) -> steps.SanityStep:
        """Return the settings of the sanity checks."""
        named = [{"name": model.name, "label": model.label, "dataset": model.dataset} for model in models]
        return self.step(steps.SanityStep, models=named, datasets=[dataset.name for dataset in self.used()])

    def report_pages(self) -> list[steps.ReportPage]:
        """Return the report's pages of figures and tables, in the order of the catalogue."""
        kinds = [*(("figures", figure) for figure in FIGURES), *(("tables", table) for table in TABLES)]
        found = []
        for kind, item, models in ((kind, item, models) for kind, item in kinds if (models := self.models_of(item))):
            shown = {"caption": f"{kind}/{item.name}", "letter": item.letter, "section": CATEGORIES[item.analysis]}
            titles = [f"{item.title}: {self.models[name].label}" for name in models] if item.per_model else [item.title]
            names = [f"{kind}/{name}" for name in item.files(models)]
            found += [steps.ReportPage(name=name, title=title, **shown) for name, title in zip(names, titles, strict=True)]
        return found

    def report_step(self, pages: list[steps.ReportPage], without_masks: list[str], code: dict[Any, str], lock: str) -> steps.ReportStep:
        """Return the settings of the report.

        Args:
            pages: pages of the report.
            without_masks: requested figures and tables that are left out because masks are missing.
            code: sha256 of each program.
            lock: sha256 of the environment's lock file, or of the library versions of an installation.
        """
        return self.step(
            steps.ReportStep,
            models=self._named(self.presented),
            run=self.config.run,
            contents=pages,
            without_masks=without_masks,
            hashes={"code": sha256_of(*code.values()), "lock": lock},
        )

    def _style(self) -> Path | None:
        """Return the path of the config's matplotlib style file, or None.

        Raises:
            InputError: the file is missing.
        """
        style = self.config.figures.style
        if style and not Path(style).is_file():
            raise InputError(f"config key `figures.style`: there is no file {style}")
        return Path(style) if style else None

    def style_hash(self) -> str | None:
        """Return the sha256 of the config's matplotlib style file, or None."""
        style = self._style()
        return self.fingerprints.of([style])[0] if style else None


def twin_seed(seed: int, number: int) -> int:
    """Return the seed of a model's random twin.

    The first twin has the seed of the run. The others have hashed seeds, which are unlikely to be the seed of another run.

    Args:
        seed: seed of the run.
        number: number of the twin, from 0.
    """
    return seed if number == 0 else int(hashlib.sha256(f"random twin {number} of seed {seed}".encode()).hexdigest()[:8], 16)


def _check_dataset(dataset: PlannedDataset) -> None:
    """Raise an InputError if images, classes or masks are missing."""
    dataset.shards(dataset.eval_split)
    _ = dataset.num_classes, dataset.has_masks
    dataset.check_masks()


def _check_probe_split(dataset: PlannedDataset) -> None:
    """Raise an InputError if a data set has too few images to fit linear probes."""
    if split := dataset.probe_split:
        dataset.shards(split)
    elif dataset.images_per_class()[dataset.eval_split] == 1:
        more = "" if dataset.is_photos else "set `images_per_class` to at least 2, or "
        raise InputError(
            f"config key `datasets.{dataset.name}`: there is one image per class and no split {dataset.settings.probe_split or 'test'}: "
            f"linear probes are then fitted on one half of each class and tested on the other; {more}leave `probes` out of `analyses`"
        )


def _problem(check: Callable[[], object]) -> InputError | None:
    """Return the error that a check raises, or None."""
    try:
        check()
    except InputError as error:
        return error
    return None
