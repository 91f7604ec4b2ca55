"""A config for a checkpoint and an image folder, with a comment that says why each key is there.

What the files do not settle is left open, as a comment that lists the choices; the check of the config then asks for it. A choice is made
only if it cannot change a result: between names of the same network.
"""

import json
import os
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import yaml

from classlens.check import folders, models
from classlens.check.accuracy import Accuracy
from classlens.check.folders import Folders
from classlens.check.text import shown
from classlens.compute.device import Compute
from classlens.config.paths import escaped
from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.config.settings import DatasetSettings
from classlens.data import splits, transforms
from classlens.data.class_order import ORDERS, first_difference, is_plain, normal
from classlens.data.layouts import imagenet_id
from classlens.errors import InputError
from classlens.models import checkpoints, labels, recognition, transformers_config, transformers_weights
from classlens.models.checkpoints import Checkpoint
from classlens.models.hub import Architecture, json_of
from classlens.models.labels import Labels, settings_in
from classlens.models.recognition import Network, Shape
from classlens.report import run_facts
from classlens.storage.atomic_write import atomic_write

TRANSFORM_KEYS = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
"""Keys under which timm's programs and repositories describe the transform."""
TORCHVISION = {"interpolation": "bilinear", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""The transform of torchvision's weights, except its sizes."""
IMAGENET_CLASSES = 1000
COLUMN = 44
"""Column of comments."""


@dataclass(frozen=True)
class Given:
    """A user's checkpoint or folder of transformers, and images.

    Attributes:
        weights: the file or folder.
        checkpoint: its parameters.
        facts: settings beside the parameters, from the checkpoint and a `config.json` in its folder.
        folders: the image folder.
    """

    weights: Path
    checkpoint: Checkpoint
    facts: dict[str, Any]
    folders: Folders

    @property
    def is_transformers(self) -> bool:
        """Return whether the weights are a folder of transformers, which describes its model completely."""
        return self.weights.is_dir()

    @property
    def labels(self) -> list[Labels]:
        """The labels of the head's rows."""
        return labels.of_model(Architecture(""), self.checkpoint, pretrained=False)

    @property
    def classes(self) -> list[tuple[str, str]]:
        """(id, name) of each class folder."""
        return [(name, name.replace("_", " ")) for name in self.folders.classes]


def read(weights: Path, images: Path) -> Given:
    """Return what is known of a checkpoint and of images.

    Raises:
        InputError: the checkpoint cannot be read, or there are no images in class folders.
    """
    weights = Path(os.path.abspath(weights))
    if not weights.exists():
        raise InputError(f"checkpoint {weights} does not exist: give a checkpoint, or a folder of Hugging Face transformers")
    file = transformers_config.weights_file(weights) if weights.is_dir() else weights
    beside = json_of(file.with_name("config.json"))
    checkpoint = checkpoints.read(file)
    facts = {**checkpoint.facts, **({"config": beside} if isinstance(beside, dict) else {})}
    return Given(file.parent if transformers_config.is_described(file) else file, checkpoint, facts, folders.find(images))


def write(config: Path, weights: Path, images: Path, compute: Compute) -> None:
    """Write a config for a checkpoint and an image folder, and a list of classes if the config needs one.

    Args:
        config: the file to write; it must not exist.
        weights: checkpoint, or folder of transformers.
        images: folder of splits or of class folders.
        compute: device of the forward passes that compare orders of the classes.

    Raises:
        InputError: the config exists, or the checkpoint or the images cannot be used.
    """
    if config.exists():
        raise InputError(f"{config} exists: remove it, or give another name for the new config")
    given = read(weights, images)
    listed = _listed_classes(given)
    file = config.absolute().with_name(f"{config.stem}_classes.txt") if listed else None
    if listed and file:
        if file.exists():
            raise InputError(f"{file} exists: remove it, or give another name for the new config")
        with atomic_write(file) as draft:
            draft.write_text("\n".join(listed) + "\n", encoding="utf-8")
    text = _text(given, config, file)
    if _order_is_open(given):
        text = text.replace(OPEN_ORDER, "\n".join(_orders(given, text, compute)))
    with atomic_write(config) as draft:
        draft.write_text(text, encoding="utf-8")


OPEN_ORDER = "    # class_order: to be chosen"
"""The line that stands for the order of the classes until both orders have been tried."""


def _text(given: Given, config: Path, class_file: Path | None) -> str:
    dataset, model = _name(given.folders.root.name, "images"), _name(given.weights.stem, "model")
    lines = [
        f"# Written by `classlens check --fix` for {given.weights.name} and {given.folders.root.name}.",
        "# Correct what is wrong, choose what is left open, and check it again: classlens check CONFIG",
        _key(0, "run", _name(config.stem, "mine"), "name of the results folder"),
        "datasets:",
        f"  {dataset}:",
        *_dataset(given, class_file),
        "models:",
        f"  {model}:",
        *_model(given),
    ]
    return "\n".join(lines) + "\n"


def _name(text: str, otherwise: str) -> str:
    """Return a text as a name in a config."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).lstrip("_.-")[:100] or otherwise


def _key(depth: int, key: str, value: Any, why: str) -> str:
    """Return a line of a config with its comment. JSON is YAML."""
    text = value if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and not isinstance(yaml.safe_load(text), str):  # yes, null
        text = json.dumps(value)
    line = f"{'    ' * depth}{key}: {text}"
    return f"{line:{COLUMN}} # {why}" if why else line


# The data set


def _dataset(given: Given, class_file: Path | None) -> Iterator[str]:
    found = given.folders
    default = DatasetSettings(kind="imagefolder", root=".")
    yield _key(1, "kind", "imagefolder", "images in root/SPLIT/CLASS/" if found.is_split else "images in root/CLASS/")
    yield _key(1, "root", escaped(str(found.root)), "")
    if found.is_split:
        others = f"; there are {shown(sorted(found.places))}" if len(found.places) > 1 else ""
        yield _key(1, "eval_split", found.analysed, f"the split to analyse{others}")
    if found.fitted:
        yield _key(1, "probe_split", found.fitted, "fits linear probes")
    fewest, usual = found.fewest(found.analysed), default.images_per_class or 0
    why = "the smallest class has no more" if fewest < usual else "the first of each class; null: all images"
    yield _key(1, "images_per_class", max(1, min(fewest, usual)), why)
    if found.fitted and (few := found.fewest(found.fitted)) < (default.probe_images_per_class or 0):
        yield _key(1, "probe_images_per_class", max(1, few), f"the smallest class of {found.fitted} has no more")
    if found.masks:
        yield _key(1, "masks", escaped(str(found.masks)), "")
    yield from _classes(given, class_file)


def _classes(given: Given, class_file: Path | None) -> Iterator[str]:
    """Yield the key that determines the class indices, or a comment if none is needed or a choice is open."""
    rows = 0 if given.is_transformers else recognition.shape_of(given.checkpoint).classes
    ids = given.folders.classes
    if class_file:
        yield _key(1, "classes", escaped(str(class_file)), f"all classes of the model, by {given.labels[0].where}")
    elif _known(given):
        yield f"    # The classes of the folders are the rows of the head by {_known(given)}."
    elif rows == IMAGENET_CLASSES and all(map(imagenet_id, ids)):
        yield _key(1, "classes", "imagenet", "the folders have ImageNet ids, and the head has 1000 rows")
    elif rows and rows != len(ids):
        yield f"    # classes: FILE  # choose: the head has {rows} rows and there are {len(ids)} class folders; FILE lists"
        yield "    #                # all classes of the model in its order, one folder name per line"
    elif _order_is_open(given):
        yield OPEN_ORDER
    elif rows:
        yield "    # Nothing names the rows of the head: the class folders are taken in the order of their names."


def _known(given: Given) -> str | None:
    """Return the source of the labels that name all class folders and nothing else, or None."""
    found = (one for one in given.labels if len(one.rows) == len(given.classes) and None not in labels.matches(one.rows, given.classes))
    return next((one.where for one in found), None)


def _order_is_open(given: Given) -> bool:
    """Return whether nothing names the rows of the head, and the class folders can be sorted in two ways."""
    rows = 0 if given.is_transformers else recognition.shape_of(given.checkpoint).classes
    return rows == len(given.classes) and not _known(given) and first_difference(given.folders.classes) is not None


def _listed_classes(given: Given) -> list[str] | None:
    """Return the model's classes, spelled as their folders are, if labels name every class folder and others too; else None."""
    for found in given.labels:
        rows = labels.matches(found.rows, given.classes)
        if len(found.rows) <= len(rows) or None in rows:
            continue
        folder = {row: class_id for row, (class_id, _) in zip(rows, given.classes, strict=True)}
        names = [folder.get(row, texts[0]) for row, texts in enumerate(found.rows)]
        if all(map(is_plain, names)) and len({normal(name) for name in names}) == len(names):
            return names
    return None


def _orders(given: Given, text: str, compute: Compute) -> Iterator[str]:
    """Yield both orders of the class folders as comments, with the accuracy on a few images in each."""
    index, natural, plain = first_difference(given.folders.classes) or (0, "", "")
    yield f"    # Choose the order of the folders in the model's training: class {index} is {plain} (torchvision) or {natural} (timm)."
    measured = _accuracy(text, compute)
    for order in ORDERS:
        why = f"{measured.right(measured.in_order(order)).sum():.0f} of {len(measured.logits)} images are right" if measured else ""
        yield _key(1, "# class_order", order, why)


def _accuracy(text: str, compute: Compute) -> Accuracy | None:
    """Return the accuracy of the only model of a config, in torchvision's order; None if it cannot be measured."""
    content = yaml.safe_load(text)
    for dataset in content["datasets"].values():
        dataset["class_order"] = "torchvision"
    try:
        with TemporaryDirectory() as folder, models.warnings():
            plan = Plan(resolve(content), folder)
            return models.quick_accuracy(plan, models.build(plan, next(iter(plan.models))), compute)
    except InputError:
        return None


# The model


def _model(given: Given) -> Iterator[str]:
    if given.is_transformers:
        yield _key(1, "weights", escaped(str(given.weights)), "the folder describes architecture and transform")
        if not transformers_config.read(given.weights).has_classifier:
            yield _class_embedding(given)
        return
    shape = recognition.shape_of(given.checkpoint)
    network = yield from _architecture(given, shape)
    yield _key(1, "weights", escaped(str(given.weights)), f"`{given.checkpoint.nest}` in it" if given.checkpoint.nest else "")
    if shape.key_prefix:
        yield _key(1, "key_prefix", shape.key_prefix, "begins the names of the parameters")
    if network and network.kwargs:
        yield _key(1, "kwargs", network.kwargs, "by the parameters and the settings beside them")
    if not shape.classes:
        yield _class_embedding(given)
    yield from _transform(given, shape, network)


def _class_embedding(given: Given) -> str:
    """Return the class embedding of a model without a classifier: one that is fitted to a train split, or a comment if there is none."""
    train = [name for name in given.folders.places if name.lower() in splits.TRAIN and name != given.folders.analysed]
    if train:
        return _key(1, "class_embedding", {"fit": "linear", "split": train[0]}, "the model has no classifier, so one is fitted")
    return (
        "    # class_embedding: {fit: linear, split: NAME}  # choose: the model has no classifier, so one is fitted to a train split\n"
        "    # class_embedding: FILE.safetensors  # or: class vectors replace it"
    )


def _architecture(given: Given, shape: Shape) -> Generator[str, None, Network | None]:
    """Yield the architecture, or the choice of architectures; return the network if it is known."""
    name, kwargs = recognition.named(given.facts), recognition.arguments_in(given.facts)
    if name and (found := recognition.fitting(given.checkpoint, name, kwargs)):
        (network,) = found
        where = given.checkpoint.path.name if recognition.named(given.checkpoint.facts) else "config.json beside the checkpoint"
        if "embed_dim" in network.kwargs and "num_heads" not in network.kwargs:
            yield f"    # {where} names {name}, but the width differs. Choose the number of attention heads, which no parameter shows:"
            yield _key(1, "# arch", name, "")
            yield f'    # kwargs: {json.dumps(network.kwargs)[:-1]}, "num_heads": NUMBER}}'
            return None
        yield _key(1, "arch", name, f"named in {where}")
        return network
    found = recognition.fitting(given.checkpoint)
    if len(found) == 1:
        others = f"; {shown(found[0].names[1:])}: the same network with other transforms" if found[0].names[1:] else ""
        yield _key(1, "arch", found[0].names[0], f"the only network of timm with these parameters{others}")
        return found[0]
    said = f"width {shape.width}, {shape.depth} blocks, patches of {shape.patch} pixels"
    if not found:
        yield f"    # arch: NAME  # choose: no architecture of timm has these parameters ({said}); give the one that"
        yield "    #             # they come from, and its `kwargs`, such as {embed_dim: 192, depth: 12, num_heads: 3}"
        return None
    yield f"    # Choose the architecture: all of these have parameters of these shapes ({said})."
    for network in found:
        yield f"    # arch: {network.names[0]}" + (f"  # kwargs: {json.dumps(network.kwargs)}" if network.kwargs else "")
    return None


def _transform(given: Given, shape: Shape, network: Network | None) -> Iterator[str]:
    """Yield the transform that the checkpoint's settings describe, or a warning that they describe none."""
    name = given.checkpoint.path.name
    if transformers_weights.format_of(given.checkpoint.weights) == "torchvision" and shape.size:
        resize = {"resize": shape.size * 256 // 224, "crop": shape.size}
        yield _key(1, "transform", {**resize, **TORCHVISION}, "that of torchvision's own weights; correct it if trained otherwise")
        return
    if network is None:
        return
    own = _own_transform(network, shape, {})
    settings = list(settings_in(given.facts))
    found = {key: one[key] for one in reversed(settings) for key in TRANSFORM_KEYS if one.get(key)}
    if found:
        try:
            yield _key(1, "transform", _own_transform(network, shape, found), f"from the settings in {name}, or in config.json beside it")
        except InputError as error:
            yield f"    # transform: {{...}}  # choose: {error}"
    elif any("crop_pct" in one for one in settings):
        yield f"    # The transform is timm's for this architecture, with which its programs trained: {run_facts.transform(own)}."
    else:
        yield f"    # Warning: nothing in {name} says how its images were prepared. The run uses timm's transform for `arch`:"
        yield f"    # {run_facts.transform(own)}."
        yield "    # If the model was trained with another one, set `transform`."


def _own_transform(network: Network, shape: Shape, found: dict[str, Any]) -> dict[str, Any]:
    """Return timm's evaluation transform of a network, with some of its settings replaced."""
    known = timm.get_pretrained_cfg(network.names[0], allow_unregistered=True)
    config = timm.data.resolve_data_config(found, pretrained_cfg=known.to_dict() if known else {})
    size = shape.size or config["input_size"][-1]
    return transforms.own_transform({**config, "input_size": (3, size, size)})
