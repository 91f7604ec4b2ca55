"""Published results of other people: folders with tables and projections, but without images and models (`publication`, `adoption`).

The `published.json` of such a folder holds the facts that planning needs about the data sets, and the size and sha256 of every file. The
workflow does not compute these files again, and makes tables and figures from them as from its own results.
"""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from classlens.config.files import unique
from classlens.config.paths import escaped
from classlens.config.reading import dataset_of, validated
from classlens.config.settings import Config, DatasetSettings, Section
from classlens.errors import InputError, first_line, printable
from classlens.storage.provenance import sha256

MANIFEST = "published.json"
CONFIG = "config.yaml"

# Sections that may differ from the publisher's config, because they change only how figures look and how computations run.
MAY_DIFFER = ("compute", "figures", "hub")

BROWSER_FOLDERS = ("explorer", "figures", "report")
"""Folders with files that a browser opens, and that may contain scripts."""


class DatasetFacts(Section):
    """The facts that planning needs about a data set without its images."""

    images: dict[str, Annotated[int, Field(ge=1, le=2**31 - 1)]]
    """Number of images of each split."""
    masks: bool
    """Whether the analysed images have masks."""


class Published(Section):
    """The content of `published.json`."""

    run: str
    """Name of the run."""
    config: dict[str, Any]
    """Config of the run, without folders."""
    datasets: dict[str, DatasetFacts]
    """Facts about each data set."""
    files: dict[str, str]
    """sha256 of each file."""
    bytes: dict[str, Annotated[int, Field(ge=0)]]
    """Size of each file."""


def facts(results: str | Path) -> Published | None:
    """Return the content of `published.json` in adopted results, or None for a run's own results.

    Raises:
        InputError: `published.json` is damaged, or the folder contains links, which `adopt` never makes.
    """
    path = Path(results) / MANIFEST
    if not path.is_file():
        return None
    try:
        known = manifest_of(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path} {error}; remove {results}, and adopt the archive again") from None
    for folder, *names in os.walk(results):
        for name in (name for part in names for name in part if os.path.islink(os.path.join(folder, name))):
            raise InputError(printable(f"{os.path.join(folder, name)} is a link, and adopted results have none: remove it"))
    return known


def manifest_of(content: bytes) -> Published:
    """Return the parsed content of a `published.json`.

    Raises:
        InputError: the content differs from the format that `publish` writes. The message continues a sentence that starts with the file's
            name.
    """
    try:
        said = json.loads(content, object_pairs_hook=unique)
    except RecursionError:
        raise InputError("is nested too deeply") from None
    except InputError as error:
        raise InputError(f"cannot be read ({error})") from None
    except ValueError as error:
        raise InputError(f"cannot be read ({first_line(error)})") from None
    try:
        manifest = validated(said, Published, what="its entry")
    except InputError as error:
        raise InputError(printable(f"is not as `make publish` writes it: {str(error)[:300]}")) from None
    for name in map(PurePosixPath, manifest.files):
        if name.is_absolute() or ".." in name.parts:
            raise InputError(printable(f"is wrong: {name} would lie outside the results"))
    if manifest.files.keys() != manifest.bytes.keys():
        raise InputError("does not give the size and the sha256 of each file")
    return manifest


def portable(config: Config) -> dict[str, Any]:
    """Return a config in the form of a config file, without the folders of the machine that it was used on."""
    plain = config.model_dump(mode="json")
    for dataset in plain["datasets"].values():
        for key in ("root", "masks", "classes"):
            dataset[key] = _base(dataset[key])
    for model in plain["models"].values():
        model["weights"] = _base(model["weights"])
        if model["class_embedding"]:
            model["class_embedding"]["file"] = _base(model["class_embedding"]["file"])
    plain["hub"]["cache"] = plain["figures"]["style"] = None
    return json.loads(json.dumps(plain))  # a copy without shared objects, so that YAML writes no aliases


def _base(path: str | None) -> str | None:
    """Return the last part of a path, as a config must write it."""
    return path and escaped(os.path.basename(os.path.normpath(path)) or ".")


def check(config: Config, known: Published) -> None:
    """Raise an InputError if adopted results were made with another config.

    Args:
        config: the config of the run.
        known: content of `published.json` in the results.
    """
    asked = {key: value for key, value in portable(config).items() if key not in MAY_DIFFER}
    folder = f"results/{config.run}"
    if asked != {key: value for key, value in known.config.items() if key not in MAY_DIFFER}:
        raise InputError(
            f"{folder} holds published results of another config: use --configfile {folder}/{CONFIG}, or another `run` for yours"
        )
    used = {dataset_of(model, config) for model in config.models.values()}
    if known.datasets.keys() != used or not all(_describes(known.datasets[name], config.datasets[name]) for name in used):
        raise InputError(f"{folder}/{MANIFEST} does not describe the data sets of its config: adopt the archive again")


def _describes(known: DatasetFacts, dataset: DatasetSettings) -> bool:
    """Return whether `PlannedDataset.facts` can have returned these facts for a data set."""
    analysed = dataset.eval_split_name
    return {analysed} <= known.images.keys() <= {analysed, dataset.probe_split_name, dataset.train_split}


def check_drawing(results: str, notes: Path) -> None:
    """Raise an InputError if adopted results contain pages or figures that were not drawn here, because a browser runs scripts in them.

    Args:
        results: folder of adopted results.
        notes: folder of the notes that `record_drawing` writes.
    """
    there = [name for name in BROWSER_FOLDERS if (Path(results) / name).exists()]
    note = _note(results, notes)
    if there and not (note.is_file() and note.read_text(encoding="utf-8") == _identity(results)):
        folders = " and ".join(f"{results}/{name}" for name in there)
        raise InputError(
            f"{results} was published by others, and its pages and figures were not drawn here: remove {folders}, and run again"
        )


def record_drawing(results: str, notes: Path) -> None:
    """Record that the pages and figures of adopted results are drawn here from now on.

    Args:
        results: folder of adopted results.
        notes: folder for the note, which is created.
    """
    notes.mkdir(parents=True, exist_ok=True)
    _note(results, notes).write_text(_identity(results), encoding="utf-8")


def _note(results: str, notes: Path) -> Path:
    return notes / f"drawn-{Path(results).name}"


def _identity(results: str) -> str:
    """Return a text that changes if another folder takes the place of a results folder."""
    return f"{os.stat(results).st_ino} {sha256(Path(results) / MANIFEST)}"
