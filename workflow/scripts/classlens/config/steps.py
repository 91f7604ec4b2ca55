"""The settings that each step of the workflow depends on in addition to its files. Rules pass them to programs, which parse them.

Steps consist of the same classes as the sections of a config, so that each setting is named, typed and explained in one place. Rules pass
`flags` as parameters, so that a changed setting makes the step stale.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_origin

from pydantic import Field

from classlens.config.expected import Group
from classlens.config.reading import alternatives, validated
from classlens.config.settings import (
    AblationSettings,
    Analysis,
    ArchitectureSetting,
    BadImageSetting,
    BuildSettings,
    CheckpointSettings,
    ClassCountSetting,
    ClassSettings,
    ComparisonSettings,
    DeviceSettings,
    DtypeSetting,
    FigureWidthSetting,
    FitSetting,
    Images,
    MaskSettings,
    PrecisionSetting,
    ProjectionSettings,
    PromptSetting,
    ProtocolSetting,
    RelevanceSettings,
    Section,
    SeedSetting,
    ShardSetting,
    TableSettings,
    TrainingSettings,
    TunedLensSettings,
)

Step = TypeVar("Step", bound=Section)


def flag(name: str) -> str:
    """Return the command-line flag of a setting or file."""
    return f"--{name.replace('_', '-')}"


def flags(settings: Section) -> list[str]:
    """Return settings as command-line arguments: texts unchanged, other values as JSON, without settings that are null.

    `<` is escaped in JSON, because Snakemake's report shows parameters as HTML.
    """
    values = settings.model_dump(mode="json")
    return [f"{flag(name)}={_text(values[name])}" for name in type(settings).settings() if values[name] is not None]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True).replace("<", "\\u003c")


def from_flags(kind: type[Step], texts: Mapping[str, str | None]) -> Step:
    """Return settings parsed from the values of command-line arguments, the inverse of `flags`.

    Args:
        kind: the step.
        texts: value of each argument by the setting's name; None for the default.

    Raises:
        InputError: a text does not fit its setting.
    """
    return validated({name: _value(kind, name, text) for name, text in texts.items() if text is not None}, kind, what="option")


def _value(kind: type[Section], name: str, text: str) -> Any:
    """Return a text unchanged if its setting is a text, or else its value as JSON."""
    if all(get_origin(one) is Literal or one in (str, type(None)) for one in alternatives(kind.model_fields[name].annotation)):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


class SplitImagesSetting(Section):
    """The number of images of a split."""

    images_per_class: Images | None = None
    """Number of images per class (the first ones); all by default."""


class ClassNumberSetting(Section):
    """The number of classes that a model distinguishes."""

    num_classes: Annotated[int, Field(ge=1)]
    """Number of classes of the data set."""


class ShownModel(Section):
    """A model in a table, figure or page."""

    name: str
    """Name in the config."""
    label: str
    """Name in figures and tables."""
    twin_of: str | None = None
    """Name of the model that this is a random twin of."""
    twins: list[str] = Field(default_factory=list)
    """Names of the random twins to compare the model with."""


class ShownModelsSetting(Section):
    """The models in a table, figure or page."""

    models: list[ShownModel]
    """Models in the order of their files, as JSON: `[{"name": "a", "label": "A"}]`, and for random twins `twin_of`, for others `twins`."""


class ModelsSetting(Section):
    """Models and facts about them."""

    models: list[dict[str, Any]]
    """Name, label and further facts of each model."""


class SplitSetting(Section):
    """A split."""

    split: str
    """Name of the split."""


class DownloadSetting(Section):
    """Whether missing files are downloaded."""

    download: bool = False
    """Download missing files."""


class ShapesStep(ClassCountSetting, SeedSetting):
    """The generated data set."""

    splits: dict[str, int]
    """Number of images per class, by split."""


class PhotosStep(Section):
    """The photographs that come with installed packages."""


class ArchiveStep(SplitSetting, SplitImagesSetting):
    """Images of CIFAR, unpacked from the official archive."""

    kind: Literal["cifar10", "cifar100"]
    """Kind of the data set."""


class ClassListStep(SplitSetting, ClassSettings, TableSettings, ProtocolSetting):
    """The classes of a data set in the order of their indices."""

    kind: Literal["shapes", "imagenet_s", "imagefolder", "table"]
    """Layout of the data set."""
    folders: dict[str, str] | None = None
    """Folder of each split that has another place or name than its split, relative to the data set's folder."""
    class_splits: list[str] = Field(default_factory=list)
    """Splits that share one list of classes, starting with the split that has all classes."""


class ManifestStep(ClassListStep, SplitImagesSetting, BadImageSetting, ShardSetting):
    """The table of a split's images."""


class UnpackStep(ClassListStep, SplitImagesSetting, BadImageSetting):
    """Images that tables store."""


class MaskStep(ClassListStep, SplitImagesSetting, BadImageSetting, MaskSettings):
    """Masks that the workflow makes."""


class WeightsSettings(ArchitectureSetting, BuildSettings, CheckpointSettings, SeedSetting, ProtocolSetting):
    """An architecture, and the source of its weights."""

    weights: Literal["pretrained", "random", "checkpoint"]
    """Where the weights come from."""
    sha256: str | None = None
    """Expected sha256 of the weights file, in hexadecimal."""


class RandomVectorsSetting(Section):
    """Whether class vectors are random."""

    random_vectors: bool = False
    """Use random class vectors of the shape of those in the class embedding's file."""


class ModelStep(WeightsSettings, ComparisonSettings, RandomVectorsSetting, ClassNumberSetting):
    """A model that is downloaded, loaded or initialised."""


class FeaturesStep(WeightsSettings, PrecisionSetting):
    """The features of a split's images, from which a head is fitted."""


class FitStep(FitSetting, SplitSetting, SeedSetting, ProtocolSetting):
    """A head that is fitted to features."""

    analysed: str
    """Name of the analysed split."""


class TextStep(ArchitectureSetting, PromptSetting):
    """A class embedding from a text tower."""


class TrainingStep(ArchitectureSetting, BuildSettings, ClassNumberSetting, SeedSetting, ProtocolSetting, PrecisionSetting):
    """A model that the workflow trains."""

    training: TrainingSettings
    """How the model is trained."""


class ShardNameSetting(Section):
    """A shard."""

    shard: str
    """Name of the shard."""


class ExtractionStep(ShardNameSetting, DtypeSetting, PrecisionSetting, ProtocolSetting):
    """Hidden states, memory keys and predictions."""


class ProjectionStep(ShardNameSetting, ProjectionSettings, ProtocolSetting):
    """Projections of hidden states onto the class embedding."""


class TwinsStep(
    ArchitectureSetting,
    BuildSettings,
    ComparisonSettings,
    RandomVectorsSetting,
    ClassNumberSetting,
    ProjectionSettings,
    DtypeSetting,
    PrecisionSetting,
    ProtocolSetting,
):
    """The random twins of a model, made and measured in one pass over the images."""

    weights: Literal["random"] = "random"
    """Where the weights come from."""
    seeds: list[int]
    """Seed of each twin."""


class PerturbationStep(PrecisionSetting, ProtocolSetting):
    """Predictions of a model without some of its attention, or without some tokens."""

    analyses: list[Analysis]
    """`attention`, `tokens` or both."""


class ProbeStep(SeedSetting, ProtocolSetting):
    """Linear probes."""

    training: str
    """Description of the images that the probes are fitted on."""


class TunedLensFitStep(TunedLensSettings, SeedSetting, ProtocolSetting):
    """The maps of a tuned lens."""

    halves: bool
    """Fit the maps of each half of the images on the other half, because there are no other images."""


class AttributionStep(PrecisionSetting, ProtocolSetting):
    """The attribution of logits to heads and MLPs."""


class AttributionTokensStep(PrecisionSetting, ProtocolSetting):
    """The attribution of logits to heads by token, for the images that the explorer shows."""

    images: Images | None = None
    """Number of images to choose; all by default."""


class AblationStep(AblationSettings, PrecisionSetting, ProtocolSetting):
    """The output without single components."""


class RelevanceStep(RelevanceSettings, SeedSetting, PrecisionSetting, ProtocolSetting):
    """Relevance maps."""


class DeletionStep(SeedSetting, PrecisionSetting, ProtocolSetting):
    """Predictions of a model while tokens are removed."""

    steps: Annotated[int, Field(ge=2)] | None = None
    """Number of points on a deletion curve; every number of removed tokens by default."""


class FaithfulnessStep(SeedSetting, PrecisionSetting, ProtocolSetting):
    """Predictions of a model without groups of tokens."""


class StatisticsStep(SeedSetting, ProtocolSetting):
    """Measures with intervals and tests."""


class TableStep(ShownModelsSetting, StatisticsStep):
    """A table over some models."""


class FigureStep(FigureWidthSetting, TableStep):
    """A figure of some models."""


class ExplorerStep(ModelsSetting, ProtocolSetting):
    """The page of the explorer."""

    run: str
    """Name of the run."""


class ExplorerModelStep(ProtocolSetting):
    """The explorer's files of a model."""

    name: str
    """The model's name in the config."""
    images: Images | None = None
    """Number of images to choose; all by default."""
    twin: str | None = None
    """Name of the random twin that the explorer shows beside the model."""


class SanityStep(ModelsSetting, ProtocolSetting):
    """Sanity checks, which find signs of unintended measurements."""

    datasets: list[str]
    """Names of the data sets, in the order of their manifests."""


class ReportPage(Section):
    """A page of the report: a figure, a table, or the comparison with expected numbers."""

    name: str
    """Path of the page below `report/`, and of its csv below the results, without suffix: `figures/class_building_cls`."""
    caption: str
    """Path of its caption in `workflow/report/`, without suffix: `figures/class_building`."""
    letter: str = ""
    """Letter of the figure or table."""
    title: str
    """Its title, with the model's label for a figure per model."""
    section: str
    """Section of the report."""


class ReportStep(ShownModelsSetting, SeedSetting, ProtocolSetting):
    """The report's pages, and its front page."""

    run: str
    """Name of the run."""
    contents: list[ReportPage]
    """What the pages show, in the order of their files."""
    without_masks: list[str]
    """Requested figures and tables that are left out because masks are missing."""
    hashes: dict[str, str]
    """sha256 of all code and of the lock file."""


class SummaryStep(Section):
    """The summary that a successful run prints."""

    seconds: float
    """Duration of the run in seconds."""
    figures: list[str]
    """Names of all figures."""
    formats: list[str]
    """File formats of each figure."""
    tables: list[str]
    """Names of all tables."""
    models: list[str]
    """Names of the models in figures and tables."""
    without_masks: list[str]
    """Requested figures and tables that are left out because masks are missing."""
    arguments: str = ""
    """Arguments to add to commands for this run."""


class ReproductionStep(Section):
    """The comparison of a run's tables with expected numbers."""

    expected: list[Group]
    """Expected numbers, in groups."""


class RunSettings(DeviceSettings):
    """How a job runs. These settings are resources and make no step stale."""

    mem_mb: int | None = None
    """RAM of the job in MiB, which limits the size of batches."""
