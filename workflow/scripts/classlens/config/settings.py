"""Every setting of a run: its name, type, default and meaning, each in one place.

`Config` is what a config file may say. The docs page of the configuration, the errors of `resolve`, the flags that rules hand to programs
(`classlens.config.steps`) and the help of these programs are made from the classes here.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.fields import FieldInfo

from classlens.config.paths import expanded
from classlens.errors import InputError


class Section(BaseModel):
    """Settings that belong together. Unknown keys and values of another type are refused; the text under a setting is its help."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """The settings by name, those that the class itself names first."""
        own = [name for name in cls.__annotations__ if name in cls.model_fields]
        return {name: cls.model_fields[name] for name in [*own, *(name for name in cls.model_fields if name not in own)]}


def _path(value: str) -> str:
    try:
        return expanded(value)
    except InputError as error:
        raise ValueError(str(error)) from None


class PathMark:
    """Marks a setting as the path of a file or folder."""


FilePath = Annotated[str, StringConstraints(min_length=1), AfterValidator(_path), PathMark()]
"""A path, in which `~` and environment variables are replaced."""
# A name begins with a letter or digit, and goes on with these, `_`, `.` and `-`.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_. -]*[A-Za-z0-9_.-])?$", max_length=100)]
ShortText = Annotated[str, StringConstraints(max_length=200)]
Count = Annotated[int, Field(ge=1)]
Images = Annotated[int, Field(ge=1, le=2**31 - 1)]
Size = Annotated[list[Count], Field(min_length=2, max_length=2)]
"""[height, width], in pixels."""
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
"""One number per colour channel."""
Analysis = Literal["identifiability", "context", "building", "memories", "attention", "tokens", "relevance", "deletion", "probes"]
ANALYSES: tuple[Analysis, ...] = Analysis.__args__  # type: ignore[attr-defined]
Classes = list[str | int]
"""Classes by id, name or index, in that order where a class is named like an index."""


SPLITS = {"cifar10": ("test", "train"), "cifar100": ("test", "train")}
"""Analysed split, and split on which probes are fitted, of data sets whose splits have names of their own."""


# Settings that results of several steps depend on, each a part of the config section that it belongs to.


class ProtocolSetting(Section):
    """Which definitions to follow."""

    protocol: Literal["paper", "corrected"] = "corrected"
    """`corrected`, or `paper` for the published implementation with its quirks."""


class SeedSetting(Section):
    """The seed of everything that is random."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Seed of everything that is random (weights, training, generated images, permutations, bootstrap)."""


class PrecisionSetting(Section):
    """The precision of forward passes."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward pass."""


class DtypeSetting(Section):
    """The type of stored hidden states."""

    dtype: Literal["float16", "float32"] = "float16"
    """Type in which hidden states are stored."""


class ShardSetting(Section):
    """The size of shards."""

    shard_size: Count = 512
    """Images per shard."""


class ClassSettings(Section):
    """How the classes of a data set are numbered."""

    subset: Annotated[int, Field(ge=2)] = 919
    """Number of classes of ImageNet-S."""
    class_order: Literal["torchvision", "timm"] | None = None
    """Order in which the model's training numbered the class folders, where there is no list (`classes`): `torchvision` sorts them as text
    (0, 1, 10, 2), `timm` by the numbers in their names (0, 1, 2, 10). null is timm's order, and nothing vouches for it."""


class BadImageSetting(Section):
    """What becomes of images that cannot be read."""

    on_bad_image: Literal["error", "skip"] = "error"
    """`error`, or `skip` to leave out and list what cannot be read, and classes with too few images."""


class ClassCountSetting(Section):
    """The number of classes of the generated data set."""

    num_classes: Annotated[int, Field(ge=2, le=20)] = 10
    """`shapes`: number of classes."""


class FigureWidthSetting(Section):
    """The width of figures."""

    width: Literal["single", "double"] = "double"
    """Width of figures: `single` or `double` column."""


# Sections of a config.


class DatasetSettings(ClassSettings, BadImageSetting, ClassCountSetting):
    """A data set."""

    kind: Literal["shapes", "imagenet_s", "imagefolder", "cifar10", "cifar100"]
    """`shapes` (generated), `imagenet_s` (ImageNet-S 50, 300 or 919), `cifar10` or `cifar100` (the official Python archive, or image
    folders), or `imagefolder` (`root/{split}/{class}/`, with images in it or in folders below it)."""
    root: FilePath | None = None
    """Folder of the data set; of `imagenet_s` the one that holds `ImageNetS{subset}/`, of `cifar10` and `cifar100` the archive's
    (`cifar-10-batches-py`, `cifar-100-python`) or the one that holds it. Not needed for `shapes`."""
    classes: FilePath | None = None
    """Class indices of an image folder: null for the order of the folders' names (`class_order`), `imagenet` for folder names that begin
    with an ImageNet id (n01440764), or a text file (UTF-8) with one folder name per line in the order of the model's classes. Without a
    file, a class folder of the analysed split must be in the probe split too, and both splits' in the train split, as far as the run uses
    them."""
    download: bool = False
    """`cifar10`, `cifar100`: fetch the official archive into `root` if it is not there."""
    eval_split: SplitName | None = None
    """Split that is analysed; null for `validation`, or CIFAR's `test`."""
    images_per_class: Images | None = 5
    """Images of each class that are analysed (the first ones); null for all."""
    train_split: SplitName = "train"
    """Split on which `weights: trained` models are trained."""
    probe_split: SplitName | None = None
    """Split on which linear probes are fitted; null for `test`, or CIFAR's `train`."""
    probe_images_per_class: Images | None = 10
    """Images of each class on which linear probes are fitted."""
    masks: FilePath | None = None
    """Folder of the object masks: of an image folder `masks/{split}/{class}/{name}.png`; null for none. The object is where the mask is not
    transparent, if it is transparent anywhere; or else where its palette index, or its colour, is not 0. ImageNet-S has its own masks in
    `{split}-segmentation`."""
    train_images_per_class: Images = 40
    """`shapes`: number of training images of each class."""

    @property
    def eval_split_name(self) -> str:
        """The split that is analysed."""
        return self.eval_split or SPLITS.get(self.kind, ("validation", "test"))[0]

    @property
    def probe_split_name(self) -> str:
        """The split on which linear probes are fitted, if it is there."""
        return self.probe_split or SPLITS.get(self.kind, ("validation", "test"))[1]


class TransformSettings(Section):
    """How images are resized, cropped and normalised."""

    resize: Count | Size
    """[height, width], or the shortest side's length in pixels."""
    keep_ratio: bool = False
    """With `resize: [height, width]`: cover it with an image of unchanged shape, of which `crop` takes the middle, instead of
    stretching."""
    crop: Count | Size | None = None
    """Centre crop after resizing: [height, width], a side's length, or null for none."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    """Interpolation of the resize."""
    mean: Channels = [0.5, 0.5, 0.5]
    """Mean of each colour channel (of values from 0 to 1)."""
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] = [0.5, 0.5, 0.5]
    """Standard deviation of each colour channel."""


class ComparisonSettings(Section):
    """How hidden states are compared with the vectors of classes."""

    normalization: Literal["none", "cosine"] = "none"
    """`cosine` brings hidden states and vectors to unit length, `none` does not."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """What the products are divided by."""
    projection: Literal["keep", "drop"] | None = None
    """The model's head before the vectors: `keep` (a projection, as CLIP's) or `drop`; null: decided by the vectors' width, or, where the
    model has that width before and behind its head, by whether timm's weights are known to have a projection."""


class ClassEmbeddingSettings(ComparisonSettings):
    """A class embedding from a file."""

    file: FilePath
    """The file."""


class TwinSettings(Section):
    """How many random twins a model has, and what is made of them."""

    seeds: Count | None = None
    """Number of seeds; null for that of `true`."""
    analyses: list[Analysis] = ["identifiability"]
    """Analyses of the twins. With more than `identifiability`, their hidden states are stored as those of any model."""


class TrainingSettings(Section):
    """How `weights: trained` are trained (AdamW, one-cycle learning rate, flips and crops)."""

    epochs: Count = 40
    """Passes over the train split."""
    batch_size: Count = 32
    """Images per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    """Highest learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Weight decay of AdamW."""


class ArchitectureSettings(Section):
    """An architecture, and how images are prepared for it."""

    arch: Annotated[str, StringConstraints(pattern=r"^(hf-hub:)?[A-Za-z0-9][A-Za-z0-9_./@-]*$", max_length=200)]
    """Name of the model in timm, or `hf-hub:` and a repository."""
    kwargs: dict[str, Any] = {}
    """Arguments of `timm.create_model` that differ from the architecture's; none that name weights, which `weights` does."""
    transform: TransformSettings | None = None
    """Image transform; null for the model's own (protocol `paper`: the published one). `resize` is [height, width] (straight) or the length
    of the shortest side; `crop` a centre crop."""


class CheckpointSettings(Section):
    """Which parameters of a checkpoint are the model's."""

    key_prefix: ShortText = ""
    """Prefix of the parameters' names in the checkpoint, which is taken off (`model.`)."""
    ignore_keys: list[ShortText] = []
    """Patterns of parameters that the checkpoint, or the hub's file, has beyond the model's (`transformerheads.*`)."""


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("it lists one format twice; list each once")
    return values


def _spelled_out(value: Any) -> Any:
    """Settings in place of the path that may stand for them."""
    return {"file": value} if isinstance(value, str) else value


class ModelSettings(ArchitectureSettings, CheckpointSettings):
    """A model."""

    label: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """Name in figures and tables; the model's name if null. Where two models have one label, their names follow it in brackets."""
    weights: FilePath = "pretrained"
    """`pretrained` (hub), `random`, `trained` (on the data set's train split), or the path of a checkpoint."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """What the file of the weights must have (checkpoint, or the hub's), in hexadecimal; null for anything."""
    class_embedding: Annotated[ClassEmbeddingSettings | None, BeforeValidator(_spelled_out, json_schema_input_type=str)] = None
    """Vectors of the classes to use instead of the model's head (text embeddings, prototypes, a separate head): a .safetensors file with
    `weight` [class, width], optionally `bias` [class], and the rows' class ids or names as a JSON list in its metadata, under `classes`.
    The width is the model's, whose head is then dropped, or that of its head's output, which is then kept as a projection (CLIP); where
    both are the same, `projection` decides. A path alone stands for `{file: path}`."""
    dataset: str | None = None
    """Data set that the model is analysed on; may be left out where there is only one."""
    random_twin: bool | str | TwinSettings = True
    """Also analyse the same architecture with random weights, for comparison: `true` for five seeds (protocol `paper`: one), `{seeds: k}`
    for k, `false` for none; or the name of another model, whose twins this one is then compared with."""
    analyses: list[Analysis] | None = None
    """Analyses of this model; the global list if null."""
    training: TrainingSettings = TrainingSettings()
    """How `weights: trained` are trained."""


class HiddenStateSettings(DtypeSetting, ShardSetting):
    """How hidden states are stored."""

    keep: bool = True
    """Keep hidden states after they were projected."""


class ProjectionSettings(Section):
    """What is kept of a projection."""

    top_k: Count = 5
    """Classes with the largest logits that are kept; all where there are fewer."""
    classes: Classes = []
    """Classes whose logits are kept at every token of every image, beside its own and the five that the model finds most likely: ids, names
    or indices, in that order where a class is named like an index."""


class RelevanceSettings(Section):
    """Which classes relevance maps are made for."""

    classes: list[Literal["own", "predicted", "rival"]] = ["own", "rival"]
    """Of every image: `own` (always), `predicted`, `rival` (the class with the largest logit besides its own)."""
    images: dict[str, Classes] = {}
    """Further classes of single images, which are then the ones that figures show: lists of class ids, names or indices by image path
    (`n02123045/cat.JPEG: [sofa, 281]`), of which the end that only one image has is enough."""


class DeletionSettings(Section):
    """How tokens are removed in the order of relevance maps."""

    steps: Annotated[int, Field(ge=2)] | None = None
    """How many numbers of removed tokens, evenly spread; null for all."""


class HubSettings(Section):
    """Where `pretrained` weights and `hf-hub:` models come from."""

    cache: FilePath | None = None
    """Cache folder of the hub's client; null for its own (HF_HOME)."""
    offline: bool = False
    """Never ask the network, only the cache folder."""


class FigureSettings(FigureWidthSetting):
    """How figures look."""

    style: FilePath | None = None
    """A matplotlib style file; null for the one that comes with classlens."""
    formats: Annotated[list[Literal["svg", "png", "pdf"]], Field(min_length=1), AfterValidator(_distinct)] = ["svg", "png", "pdf"]
    """What each figure is written as, beside the csv that it is drawn from."""


class DeviceSettings(Section):
    """How computations run; nothing here changes results."""

    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$")] = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`..."""
    jobs_per_gpu: Annotated[int, Field(ge=1, le=1024)] = 1
    """Jobs that may use a GPU at once; others wait, those of other runs too."""
    batch_size: Count | Literal["auto"] = "auto"
    """Images per forward pass, or `auto`: what fits the free memory. A number gives the same bytes again, `auto` the same values up to
    rounding."""
    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Threads that decode images, or `auto`."""


class ComputeSettings(DeviceSettings, PrecisionSetting):
    """How computations run; changing this makes no result stale, but `precision`."""


class Config(ProtocolSetting, SeedSetting):
    """The whole config."""

    run: Name = "demo"
    """Name of the run; results are written to `results/{run}/`."""
    datasets: Annotated[dict[Name, DatasetSettings], Field(min_length=1)]
    """Data sets by name."""
    models: Annotated[dict[Name, ModelSettings], Field(min_length=1)]
    """Models by name. A model's random twins are called `{name}_random`, `{name}_random_1`, `{name}_random_2`..."""
    analyses: list[Analysis] = list(ANALYSES)
    """Analyses of every model that names none; random twins have identifiability only, unless `random_twin` says more."""
    hidden_states: HiddenStateSettings = HiddenStateSettings()
    """How hidden states are stored."""
    projection: ProjectionSettings = ProjectionSettings()
    """What is kept of a projection."""
    relevance: RelevanceSettings = RelevanceSettings()
    """Which classes relevance maps are made for."""
    deletion: DeletionSettings = DeletionSettings()
    """How tokens are removed in the order of relevance maps."""
    hub: HubSettings = HubSettings()
    """Where `pretrained` weights and `hf-hub:` models come from."""
    figures: FigureSettings = FigureSettings()
    """How figures look."""
    compute: ComputeSettings = ComputeSettings()
    """How computations run; changing this makes no result stale, but `precision`."""
