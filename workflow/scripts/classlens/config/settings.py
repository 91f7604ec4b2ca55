"""All settings of a run, each with its name, type, default and help text in one place.

`Config` is the schema of a config file. These classes also generate the docs page of the configuration, the error messages of `resolve`,
the flags that rules pass to programs (`classlens.config.steps`) and the `--help` of these programs.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.fields import FieldInfo

from classlens.config.paths import expanded
from classlens.errors import InputError
from classlens.vocabulary import Method


class Section(BaseModel):
    """A group of settings. Unknown keys and wrong types are refused; the docstring under a setting is its help text."""

    # `defer_build`: a program validates one step, and need not wait for the validators of all others.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, defer_build=True)

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """Return the settings by name, the class's own before inherited ones."""
        own = [name for name in cls.__annotations__ if name in cls.model_fields]
        return {name: cls.model_fields[name] for name in [*own, *(name for name in cls.model_fields if name not in own)]}


def _path(value: str) -> str:
    try:
        return expanded(value)
    except InputError as error:
        raise ValueError(str(error)) from None


class PathMark:
    """Marker of a setting that is the path of a file or folder."""


FilePath = Annotated[str, StringConstraints(min_length=1), AfterValidator(_path), PathMark()]
"""A path, with `~` and environment variables expanded."""
# Names start with a letter or digit and contain only letters, digits, `_`, `.` and `-`.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_. -]*[A-Za-z0-9_.-])?$", max_length=100)]
ShortText = Annotated[str, StringConstraints(max_length=200)]
Count = Annotated[int, Field(ge=1)]
Images = Annotated[int, Field(ge=1, le=2**31 - 1)]
Size = Annotated[list[Count], Field(min_length=2, max_length=2)]
"""[height, width], in pixels."""
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
"""One number per colour channel."""
Analysis = Literal[
    "identifiability",
    "context",
    "building",
    "memories",
    "attention",
    "tokens",
    "relevance",
    "deletion",
    "faithfulness",
    "probes",
    "tuned_lens",
    "attribution",
    "ablation",
]
ANALYSES: tuple[Analysis, ...] = Analysis.__args__  # type: ignore[attr-defined]
ON_PROBE_SPLIT = frozenset({"probes", "tuned_lens"})
"""Analyses that fit something to the hidden states of the probe split."""
Classes = list[str | int]
"""Classes by id, name or index. A text that fits more than one of these is read as an id first, then as a name, then as an index."""


SPLITS = {"cifar10": ("test", "train"), "cifar100": ("test", "train")}
"""Analysed split and probe split of the data set kinds with their own split names."""
FOUND = ("imagefolder", "table")
"""Kinds of data sets with the user's own splits and classes."""


# Settings that several steps depend on. Config sections and steps inherit them.


class ProtocolSetting(Section):
    """The protocol."""

    protocol: Literal["paper", "corrected"] = "corrected"
    """`corrected` follows the definitions; `paper` follows the published implementation with its quirks."""


class SeedSetting(Section):
    """The random seed."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Seed of all random numbers (weights, training, generated images, permutations, bootstrap)."""


class PrecisionSetting(Section):
    """The precision of forward passes."""

    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Precision of the forward pass: `float32`; `tf32`, which rounds the factors of matrix products to 10 bits on a GPU; or `bfloat16`,
    automatic mixed precision."""


class DtypeSetting(Section):
    """The data type of stored hidden states."""

    dtype: Literal["float16", "float32"] = "float16"
    """Data type of stored hidden states."""


class ShardSetting(Section):
    """The size of a split's shards."""

    shard_size: Count = 512
    """Number of images per shard."""


class ClassSettings(Section):
    """How the classes of a data set are numbered."""

    subset: Annotated[int, Field(ge=2)] = 919
    """`imagenet_s`: number of classes (50, 300 or 919)."""
    class_order: Literal["torchvision", "timm"] | None = None
    """Order of the class folders in the model's training, if `classes` does not list them: `torchvision` sorts them as text (0, 1, 10, 2),
    `timm` by the numbers in their names (0, 1, 2, 10). null assumes timm's order, which may differ from the model's."""


Column = str | Annotated[int, Field(ge=0)]
"""Name of a column, or its position from 0 in a text file without a header."""


class ColumnSettings(Section):
    """The columns of a table; null finds a column by its usual names."""

    image: Column | None = None
    """Column of paths (the ending may be missing) or of stored images; null finds `image`, `file_name`, `path` and the like."""
    label: Column | None = None
    """Column of labels: texts, or integers; null finds `label`, `class`, `category` and the like."""
    split: Column | None = None
    """Column of the split's name; null finds `split`."""
    mask: Column | None = None
    """Column of masks, as paths or stored; null finds `mask` or `segmentation`."""
    box: Column | Annotated[list[Column], Field(min_length=4, max_length=4)] | None = None
    """Column of boxes, or four columns; null finds `box` or `bbox`."""


class TableSettings(Section):
    """How the tables of a data set are read."""

    columns: ColumnSettings | None = None
    """`table`: names of columns that are not found by their usual names (`{image: photo, label: bird}`), or positions from 0 in text files
    without a header (`{image: 0, label: 1}`)."""


PixelValue = Annotated[int, Field(ge=0, le=2**31 - 1)]


class MaskSettings(Section):
    """What masks are made from."""

    box_format: Literal["xywh", "xyxy"] | None = None
    """`table`: make masks from boxes in pixels, `[x, y, width, height]` or `[x0, y0, x1, y1]`; null makes none."""
    mask_ids: list[PixelValue] | dict[str, PixelValue | list[PixelValue]] | None = None
    """For masks with class numbers as pixel values (palette index or grey): values of the object for all classes, or by class id or name
    (`{cat: 8, dog: [12, 13]}`); with masks in COCO's form, numbers of categories. null: the object is where a mask is not 0."""
    mask_ignored: list[PixelValue] = [255]
    """With `mask_ids`: values of pixels that count neither as object nor as context."""


class BadImageSetting(Section):
    """The treatment of unreadable images."""

    on_bad_image: Literal["error", "skip"] = "error"
    """Treatment of unreadable images and of classes with too few images: `error` stops the run, `skip` leaves them out and lists them."""


class ClassCountSetting(Section):
    """The number of classes of the generated data set."""

    num_classes: Annotated[int, Field(ge=2, le=20)] = 10
    """`shapes`: number of classes."""


class FigureWidthSetting(Section):
    """The width of figures."""

    width: Literal["single", "double"] = "double"
    """Width of figures: `single`, a column of 3.5 inches, or `double`, the text of a page, 5.5 inches."""


# Sections of a config.


class DatasetSettings(ClassSettings, TableSettings, MaskSettings, BadImageSetting, ClassCountSetting):
    """A data set."""

    kind: Literal["shapes", "photos", "imagenet_s", "imagefolder", "table", "cifar10", "cifar100"]
    """`shapes` (generated), `photos` (photographs that come with installed packages, one for each of some ImageNet classes), `imagenet_s`
    (ImageNet-S 50, 300 or 919), `cifar10` or `cifar100` (the official Python archive or image folders), `imagefolder` (images in
    `root/{split}/{class}/` or its subfolders, or without splits in `root/{class}/`), or `table` (images listed in tables)."""
    root: FilePath | None = None
    """Folder of the data set. `imagenet_s`: the folder that contains `ImageNetS{subset}/`; `cifar10` and `cifar100`: the folder of the
    archive (`cifar-10-batches-py`, `cifar-100-python`) or its parent folder; `table`: a .csv, .tsv, .txt, .jsonl, .json (as COCO's) or
    .parquet file with a row per image, or the folder of such files, each named after its split. Not needed for `shapes` and `photos`."""
    images: FilePath | None = None
    """`table`: folder that the paths of images are relative to; null for the table's folder."""
    classes: FilePath | None = None
    """Class indices of an image folder or table: null sorts folder names or labels (`class_order`; integer labels by number), `imagenet`
    reads an ImageNet id at the start of each of them (n01440764), and a text file (UTF-8) lists them, one per line, in the order of the
    model's classes. With null, the classes of the analysed split must also exist in the probe split, and those of both in the train split,
    if the run uses these splits."""
    names: FilePath | None = None
    """File with class names for figures and tables: lines `ID NAME`, one name per line in the order of the classes, or JSON that maps ids
    to names. null shows the words of ImageNet ids, and other ids with spaces instead of underscores."""
    download: bool = False
    """`cifar10`, `cifar100`: download the official archive into `root` if it is missing."""
    eval_split: SplitName | None = None
    """Split to analyse; null finds `validation`, `val`, `valid`, `dev` or `eval`, or else `test`, and takes all images of a data set
    without splits; for CIFAR, null uses `test`."""
    images_per_class: Images | None = 5
    """Number of images to analyse per class (the first ones); null uses all. `photos` has one."""
    train_split: SplitName | None = None
    """Split for training models with `weights: trained`, and for fitting class embeddings (`fit`); null finds `train` or `training`."""
    probe_split: SplitName | None = None
    """Split for fitting linear probes and tuned lenses; null finds `test` or `testing`, or uses `train` for CIFAR."""
    probe_images_per_class: Images | None = 10
    """Number of images per class for fitting linear probes and tuned lenses (the first ones); null uses all."""
    masks: FilePath | None = None
    """Folder of object masks (`{split}/{class}/{name}.png` for image folders, the image's path or name with the ending .png for tables), or
    a JSON file of segments in COCO's form. null means no masks or, for `imagenet_s`, its own folder `{split}-segmentation`. The object is
    where a mask is not transparent; in a mask without transparency, where the palette index or colour is not 0."""
    train_images_per_class: Images = 40
    """`shapes`: number of training images per class."""

    @property
    def makes_masks(self) -> bool:
        """Whether the workflow makes masks from boxes, class numbers or segments."""
        return bool(self.box_format or self.mask_ids or self.coco)

    @property
    def coco(self) -> str | None:
        """The file of segments in COCO's form, or None."""
        return self.masks if self.masks and self.masks.lower().endswith(".json") else None


class TransformSettings(Section):
    """How images are resized, cropped and normalised."""

    resize: Count | Size
    """[height, width], or the length of the shortest side, in pixels."""
    keep_ratio: bool = False
    """With `resize: [height, width]`: scale the image to cover this size and keep its aspect ratio, instead of stretching it; `crop` then
    cuts out the centre."""
    crop: Count | Size | None = None
    """Centre crop after resizing, in pixels: [height, width], the side of a square, or null for no crop."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    """Interpolation for resizing."""
    mean: Channels = [0.5, 0.5, 0.5]
    """Mean of each colour channel, for pixel values from 0 to 1."""
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] = [0.5, 0.5, 0.5]
    """Standard deviation of each colour channel, for pixel values from 0 to 1."""


class ComparisonSettings(Section):
    """How hidden states are compared with the vectors of a class embedding."""

    normalization: Literal["none", "cosine"] | None = None
    """`cosine` scales hidden states and class vectors to unit length; `none` does not. null uses `normalization` in the file's metadata, or
    else `none`."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Divisor of the dot products of hidden states and class vectors. null uses `temperature` in the file's metadata, or else 1."""
    projection: Literal["keep", "drop"] | None = None
    """`keep` the model's head as a projection before the class vectors (CLIP), or `drop` it. null decides by the width of the vectors; if
    the head's input and output both have this width, by whether timm's weights are known to have a projection."""


class FitSetting(Section):
    """How a head is fitted."""

    fit: Literal["linear", "prototypes", "ridge"] | None = None
    """Fit class vectors to the model's features of a split: `linear` (multinomial logistic regression), `prototypes` (mean feature of each
    class, compared by cosine) or `ridge` (regression onto the classes, in closed form). The model's own head is dropped."""


def _prompt(value: str) -> str:
    if value.count("{}") != 1:
        raise ValueError("write {} once, where the name of the class goes")
    return value


class PromptSetting(Section):
    """The prompts of a text embedding."""

    prompts: Annotated[list[Annotated[ShortText, AfterValidator(_prompt)]], Field(min_length=1)] = ["a photo of a {}."]
    """`text`: texts in which `{}` stands for the name of the class; a class vector is the mean over all texts."""


class ClassEmbeddingSettings(ComparisonSettings, FitSetting, PromptSetting):
    """A class embedding from a file, fitted to features, or from a text tower. Set one of `file`, `fit` and `text`."""

    file: FilePath | None = None
    """The .safetensors file with the class vectors."""
    split: SplitName | None = None
    """`fit`: split to fit on, which must not be the analysed one; null uses the data set's `train_split`. All of its images are used, but
    of the probe split only `probe_images_per_class`, unless it is also the train split."""
    text: Literal["openclip"] | None = None
    """Make the class vectors with the text tower that was trained together with timm's CLIP image tower, in the package open_clip_torch.
    They are compared by cosine, with the temperature of the text tower's weights unless `temperature` is set."""
    weights: FilePath | None = None
    """`text`: file with the weights of the text tower in OpenCLIP's format; null gets them from the hub."""


class TwinSettings(Section):
    """The number of a model's random twins, and their analyses."""

    seeds: Count | None = None
    """Number of random twins, each with its own seed; null uses five (protocol `paper`: one)."""
    analyses: list[Analysis] = ["identifiability"]
    """Analyses of the twins. With more than `identifiability`, the twins' hidden states are stored like those of other models."""


class TrainingSettings(Section):
    """How models with `weights: trained` are trained (AdamW, one-cycle learning rate, flips and crops)."""

    epochs: Count | None = None
    """Number of passes over the train split; null chooses as many as fit 2000 training steps, but at least 3 and at most 40."""
    batch_size: Count = 32
    """Number of images per training step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    """Maximum learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Weight decay of AdamW."""


WEIGHTS = ("pretrained", "random", "trained")
"""Values of `weights` that are not a path."""
Arch = Annotated[str, StringConstraints(pattern=r"^(hf-hub:)?[A-Za-z0-9][A-Za-z0-9_./@-]*$", max_length=200)]


class ArchitectureSetting(Section):
    """An architecture."""

    arch: Arch
    """Model name in timm, or `hf-hub:OWNER/NAME` for a repository on the Hugging Face hub."""


class BuildSettings(Section):
    """How an architecture is built, and its image transform."""

    kwargs: dict[str, Any] = {}
    """Arguments of `timm.create_model` that override those of the architecture, and `norm_eps`, the epsilon of all layer norms. Weights
    cannot be set here; use `weights`."""
    transform: TransformSettings | None = None
    """Image transform (`resize`, `crop`, `interpolation`, ...); null uses the model's own (protocol `paper`: the published one)."""


class CheckpointSettings(Section):
    """How parameters of a checkpoint are assigned to the model."""

    key_prefix: ShortText = ""
    """Prefix to remove from the parameter names in the checkpoint (`model.`)."""
    ignore_keys: list[ShortText] = []
    """Patterns of parameters to ignore in the checkpoint or the hub's file, which the model does not have (`transformerheads.*`)."""


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("it lists one format twice; list each once")
    return values


def _spelled_out(value: Any) -> Any:
    """Return `{file: path}` for a path, and any other value unchanged."""
    if not isinstance(value, str | dict | None):
        raise ValueError("give a path, or a mapping with `file`, `fit` or `text`")
    return {"file": value} if isinstance(value, str) else value


ClassEmbeddingOrPath = Annotated[
    ClassEmbeddingSettings | None, BeforeValidator(_spelled_out, json_schema_input_type=str | ClassEmbeddingSettings | None)
]


class ModelSettings(BuildSettings, CheckpointSettings):
    """A model."""

    arch: Arch | None = None
    """Model name in timm, or `hf-hub:OWNER/NAME` for a repository on the Hugging Face hub. Not needed if `weights` is a folder of Hugging
    Face transformers."""
    label: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """Name in figures and tables; null uses the model's name in the config. If models share a label, their names are added in brackets."""
    weights: FilePath = "pretrained"
    """`pretrained` (from the hub), `random`, `trained` (on the data set's train split), the path of a checkpoint, or a folder of Hugging
    Face transformers (`config.json`, `model.safetensors`, `preprocessor_config.json`)."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """Required sha256 of the weights file (checkpoint or hub file), in hexadecimal; null accepts any file."""
    class_embedding: ClassEmbeddingOrPath = None
    """Class vectors that replace the model's head: `{fit: linear}` fits them, `{text: openclip}` makes them with CLIP's text tower, and
    `{file: path}`, or only the path, reads them from a .safetensors file with `weight` [class, width], optionally `bias` [class], and the
    class ids or names of the rows as a JSON list under `classes` in its metadata. For vectors of the model's width, the head is dropped;
    for vectors of the head's output width, it is kept as a projection (CLIP); if both widths are equal, `projection` decides."""
    dataset: str | None = None
    """Data set to analyse the model on; optional if the config has only one."""
    random_twin: bool | str | TwinSettings = True
    """Random twins to compare the model with: `true` for five (protocol `paper`: one), `{seeds: k}` for k, `false` for none, or the name of
    another model to use its twins."""
    analyses: list[Analysis] | None = None
    """Analyses of this model; null uses the global list."""
    training: TrainingSettings = TrainingSettings()
    """How a model with `weights: trained` is trained."""


class HiddenStateSettings(DtypeSetting):
    """How hidden states are stored."""

    shard_size: Count | Literal["auto"] = "auto"
    """Number of images per shard; a job treats one shard. `auto`: 512, or a twentieth of a larger split, but at most 5,000."""

    keep: bool = True
    """Keep hidden states on disk; `false` deletes them as soon as no job needs them."""


class ProjectionSettings(Section):
    """Which logits of a projection are stored."""

    top_k: Count = 5
    """Number of classes with the largest logits to store for each token; all classes if there are fewer."""
    classes: Classes = []
    """Classes whose logits are stored for every token, besides the image's true class and the model's five most likely classes: ids, names
    or indices. A text that fits more than one of these is read as an id first, then as a name, then as an index."""


class RelevanceSettings(Section):
    """The methods and classes of relevance maps."""

    methods: list[Method] = ["ours", "relu", "attention_gradient", "legrad", "chefer", "rollout", "last_attention", "probe", "random"]
    """Methods. `ours` is always included; `probe` needs the analysis `probes`. The default leaves out `attnlrp` and `grad_cam`, which need
    further passes through the model, and `integrated_gradients`, which needs 32 of them for each class of an image."""
    classes: list[Literal["own", "predicted", "rival"]] = ["own", "rival"]
    """Classes for every image: `own` (the true class, always included), `predicted`, `rival` (the class with the largest logit except the
    true class)."""
    images: dict[str, Classes] = {}
    """Further classes for single images, as class ids, names or indices by image path (`n02123045/cat.JPEG: [sofa, 281]`); figures then
    show these images. The end of a path is enough if only one image has it."""


class DeletionSettings(Section):
    """How tokens are removed in the order of relevance maps."""

    steps: Annotated[int, Field(ge=2)] | None = 25
    """Number of points on a deletion curve; null evaluates every number of removed tokens, as protocol `paper` does unless
    the config has another number."""


class TunedLensSettings(Section):
    """How tuned lenses are fitted."""

    ridge: Annotated[float, Field(gt=0)] = 0.001
    """Strength of the ridge that pulls the map of a block toward the identity, relative to the mean variance of the block's states."""
    refine: Literal["kl"] | None = None
    """`kl` continues from the ridge regression with gradient steps that lower the KL divergence from the model's output; null does not."""


class AblationSettings(Section):
    """How components are replaced by their means."""

    images: Images = 50
    """Number of images on which the model runs again without each component, evenly spaced among the analysed images. Direct effects need
    no run and use all images."""


class ExplorerSettings(Section):
    """What the explorer shows."""

    images: Images | None = 500
    """Number of images to show of each data set, for all of its models the same; null shows all. Of more images, the explorer shows the
    most telling ones of each class, equally many: those with the largest and the smallest gain of class identifiability from the first to
    the last block in the first model of the data set, with the same share of wrong outputs as the class."""
    tuned_lens: bool = False
    """Also show the residual stream through the tuned lens, if a model has this analysis."""


class HubSettings(Section):
    """Where `pretrained` weights and `hf-hub:` models come from."""

    cache: FilePath | None = None
    """Cache folder of the hub's client; null uses the client's default (HF_HOME)."""
    offline: bool = False
    """Use only the cache folder, never the network."""


class FigureSettings(FigureWidthSetting):
    """How figures look."""

    style: FilePath | None = None
    """A matplotlib style file, applied on top of the style of classlens; null for none."""
    formats: Annotated[list[Literal["svg", "png", "pdf"]], Field(min_length=1), AfterValidator(_distinct)] = ["svg", "png", "pdf"]
    """File formats of each figure, in addition to the csv with its data."""


class DeviceSettings(Section):
    """How computations run; these settings make no result stale."""

    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$")] = "auto"
    """`auto` (a GPU if available), `cpu`, `cuda`, or a numbered GPU such as `cuda:1`."""
    jobs_per_gpu: Annotated[int, Field(ge=1, le=1024)] = 1
    """Number of jobs that may share a GPU. Further jobs wait, including those of other runs."""
    batch_size: Count | Literal["auto"] = "auto"
    """Number of images per forward pass; `auto` chooses it by the free RAM or VRAM. A number gives identical bytes in every run, `auto` the
    same values up to rounding."""
    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Number of threads that decode images, or `auto`."""


class ComputeSettings(DeviceSettings, PrecisionSetting):
    """How computations run. Only `precision` makes results stale."""


class Config(ProtocolSetting, SeedSetting):
    """The whole config."""

    run: Name = "demo"
    """Name of the run; results are written to `results/{run}/`."""
    datasets: Annotated[dict[Name, DatasetSettings], Field(min_length=1)]
    """Data sets by name."""
    models: Annotated[dict[Name, ModelSettings], Field(min_length=1)]
    """Models by name. A model's random twins are named `{name}_random`, `{name}_random_1`, `{name}_random_2`..."""
    analyses: list[Analysis] = list(ANALYSES)
    """Analyses of models without their own list. Random twins get only `identifiability`, unless `random_twin` lists more."""
    hidden_states: HiddenStateSettings = HiddenStateSettings()
    """How hidden states are stored."""
    projection: ProjectionSettings = ProjectionSettings()
    """Which logits of a projection are stored."""
    relevance: RelevanceSettings = RelevanceSettings()
    """The classes of relevance maps."""
    deletion: DeletionSettings = DeletionSettings()
    """How tokens are removed in the order of relevance maps."""
    tuned_lens: TunedLensSettings = TunedLensSettings()
    """How tuned lenses are fitted."""
    ablation: AblationSettings = AblationSettings()
    """How components are replaced by their means."""
    explorer: ExplorerSettings = ExplorerSettings()
    """What the explorer shows."""
    hub: HubSettings = HubSettings()
    """Where `pretrained` weights and `hf-hub:` models come from."""
    figures: FigureSettings = FigureSettings()
    """How figures look."""
    compute: ComputeSettings = ComputeSettings()
    """How computations run. Only `precision` makes results stale."""
