"""What each step of the workflow depends on beside its files: the settings that rules hand to programs, and programs read again.

A step is made of the same classes as the sections of a config, so that a setting is named, typed and explained in one place. Rules hand it
on by `flags`, as parameters, which make a step stale when they change.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_origin

from pydantic import Field
from pydantic_core import to_jsonable_python

from classlens.config.expected import Group
from classlens.config.reading import alternatives, validated
from classlens.config.settings import (
    Analysis,
    ArchitectureSettings,
    BadImageSetting,
    CheckpointSettings,
    ClassCountSetting,
    ClassSettings,
    ComparisonSettings,
    DeletionSettings,
    DeviceSettings,
    DtypeSetting,
    FigureWidthSetting,
    Images,
    PrecisionSetting,
    ProjectionSettings,
    ProtocolSetting,
    RelevanceSettings,
    Section,
    SeedSetting,
    ShardSetting,
    TrainingSettings,
)

Step = TypeVar("Step", bound=Section)


def flags(settings: Section) -> list[str]:
    """Return settings as the arguments of a program: texts as they are, other values as JSON, and none for what is null.

    `<` is escaped in JSON, because Snakemake's report shows parameters as HTML.
    """
    values = {name: getattr(settings, name) for name in type(settings).settings()}
    return [f"--{name.replace('_', '-')}={_text(value)}" for name, value in values.items() if value is not None]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(to_jsonable_python(value), sort_keys=True).replace("<", "\\u003c")


def from_flags(kind: type[Step], texts: Mapping[str, str | None]) -> Step:
    """Return the settings that `flags` has written; those without a text have their default.

    Raises:
        InputError: a text does not fit its setting.
    """
    return validated({name: _value(kind, name, text) for name, text in texts.items() if text is not None}, kind)


def _value(kind: type[Section], name: str, text: str) -> Any:
    """Return what a text says: itself, where the setting is a text, or else what it is as JSON."""
    if all(get_origin(one) is Literal or one in (str, type(None)) for one in alternatives(kind.model_fields[name].annotation)):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


class SplitImagesSetting(Section):
    """How many images a split has."""

    images_per_class: Images | None = None
    """Images of each class, the first ones; all if left out."""


class ClassNumberSetting(Section):
    """The number of classes that a model tells apart."""

    num_classes: Annotated[int, Field(ge=1)]
    """Number of classes of the data set."""


class ModelsSetting(Section):
    """The models that something is made of."""

    models: list[dict[str, Any]]
    """Name, label and further facts of each model."""


class SplitSetting(Section):
    """Which images are meant."""

    split: str
    """Name of the split."""


class DownloadSetting(Section):
    """Whether the network may be asked."""

    download: bool = False
    """Fetch what is not there."""


class ShapesStep(ClassCountSetting, SeedSetting):
    """The generated data set."""

    splits: dict[str, int]
    """Images of each class, by split."""


class ArchiveStep(SplitSetting, SplitImagesSetting):
    """Images of CIFAR, unpacked from the official archive."""

    kind: Literal["cifar10", "cifar100"]
    """Which data set."""


class ClassListStep(SplitSetting, ClassSettings, ProtocolSetting):
    """The classes of a data set in the order of their indices."""

    kind: Literal["shapes", "imagenet_s", "imagefolder"]
    """Layout of the data set."""
    class_splits: list[str] = Field(default_factory=list)
    """Splits that share one list of classes, the one that has all first."""


class ManifestStep(ClassListStep, SplitImagesSetting, BadImageSetting, ShardSetting):
    """The table of a split's images."""


class ModelStep(ArchitectureSettings, CheckpointSettings, ComparisonSettings, ClassNumberSetting, SeedSetting, ProtocolSetting):
    """A model that is fetched, loaded or initialised."""

    weights: Literal["pretrained", "random", "checkpoint"]
    """Where the weights come from."""
    sha256: str | None = None
    """Expected sha256 of the file of the weights, in hexadecimal."""


class TrainingStep(ArchitectureSettings, ClassNumberSetting, SeedSetting, ProtocolSetting, PrecisionSetting):
    """A model that the workflow trains."""

    training: TrainingSettings
    """How it is trained."""


class ShardNameSetting(Section):
    """Which images are meant."""

    shard: str
    """Name of the shard."""


class ExtractionStep(ShardNameSetting, DtypeSetting, PrecisionSetting, ProtocolSetting):
    """Hidden states, memory keys and predictions."""


class ProjectionStep(ShardNameSetting, ProjectionSettings, ProtocolSetting):
    """Projections of hidden states onto the class embedding."""


class TwinsStep(
    ArchitectureSettings, ComparisonSettings, ClassNumberSetting, ProjectionSettings, DtypeSetting, PrecisionSetting, ProtocolSetting
):
    """The random twins of a model, made and measured in one pass over the images."""

    weights: Literal["random"] = "random"
    """Where the weights come from."""
    seeds: list[int]
    """Seed of each twin."""


class PerturbationStep(PrecisionSetting, ProtocolSetting):
    """Models without some attention, or without some tokens."""

    analyses: list[Analysis]
    """`attention`, `tokens` or both."""


class ProbeStep(SeedSetting, ProtocolSetting):
    """Linear probes."""

    training: str
    """What the probes are fitted on, for people."""


class RelevanceStep(RelevanceSettings, SeedSetting, PrecisionSetting, ProtocolSetting):
    """Relevance maps."""


class DeletionStep(DeletionSettings, SeedSetting, PrecisionSetting, ProtocolSetting):
    """What a model predicts as tokens are removed."""


class StatisticsStep(SeedSetting, ProtocolSetting):
    """Measures with intervals and tests."""


class TableStep(ModelsSetting, StatisticsStep):
    """A table over some models."""


class FigureStep(FigureWidthSetting, TableStep):
    """A figure of some models."""


class ExplorerStep(ModelsSetting, ProtocolSetting):
    """The page of the explorer."""

    run: str
    """Name of the run."""


class ExploredStep(ProtocolSetting):
    """The explorer's files of a model."""

    name: str
    """The model's name in the config."""


class SanityStep(ModelsSetting, ProtocolSetting):
    """Signs that something else was measured than was meant."""

    datasets: list[str]
    """Names of the data sets, in the order of their manifests."""


class ReportStep(ModelsSetting, SeedSetting):
    """Tables as pages, and the facts in captions and on the front page of the report."""

    titles: list[str]
    """Title of each table's page."""
    without_masks: list[str]
    """What was asked for and is not made for lack of masks."""
    hashes: dict[str, str]
    """sha256 of all code and of the lock file."""


class SummaryStep(Section):
    """What a run says when it has ended well."""

    seconds: float
    """How long the run took."""
    figures: list[str]
    """Names of all figures."""
    formats: list[str]
    """What each is written as."""
    tables: list[str]
    """Names of all tables."""
    models: list[str]
    """Names of the models that figures and tables name."""
    without_masks: list[str]
    """What was asked for and is not made for lack of masks."""
    arguments: str = ""
    """What to add to commands that are about this run."""


class ReproductionStep(Section):
    """The run's tables beside the numbers that they should hold."""

    expected: list[Group]
    """Expected numbers, in groups."""


class RunSettings(DeviceSettings):
    """How a job runs. These are resources: nothing here makes a step stale."""

    mem_mb: int | None = None
    """Memory of the job in MiB; batches fit it."""
