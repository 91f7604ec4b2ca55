"""Results folders that hold what others published: tables and projections, and neither images nor models (`publication`, `adoption`).

Such a folder has a `published.json`, which says what planning must know of the data sets, and size and sha256 of every file. The workflow
takes everything in it for given and makes tables and figures from it, as it does from its own results.
"""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from classlens.config.files import unique
from classlens.config.paths import literal
from classlens.config.reading import dataset_of, validated
from classlens.config.settings import Config, DatasetSettings, Section
from classlens.errors import InputError, first_line, printable
from classlens.storage.provenance import sha256

MANIFEST = "published.json"
CONFIG = "config.yaml"

# Settings that may differ from the publisher's: how figures look and how computations run.
FREE = ("compute", "figures", "hub")

DRAWN = ("explorer", "figures", "report")
"""Folders of what a browser shows, and may run scripts of."""


class DatasetFacts(Section):
    """What planning must know of a data set whose images are not there."""

    images: dict[str, Annotated[int, Field(ge=1, le=2**31 - 1)]]
    """Number of images of each split."""
    masks: bool
    """Whether the analysed images have masks."""


class Published(Section):
    """What `published.json` holds."""

    run: str
    """Name of the run."""
    config: dict[str, Any]
    """Its config, without folders."""
    datasets: dict[str, DatasetFacts]
    """Facts about each data set."""
    files: dict[str, str]
    """sha256 of each file."""
    bytes: dict[str, Annotated[int, Field(ge=0)]]
    """Size of each file."""


def facts(results: str | Path) -> Published | None:
    """Return what `published.json` says, of results that were adopted; None for a run's own results.

    Raises:
        InputError: it is damaged, or the folder holds links, which `adopt` never makes.
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
    """Return the contents of a `published.json`.

    Raises:
        InputError: it does not have the form that `publish` gives it; the message goes on from the file's name.
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
    """Return a config without the folders of the machine that it was used on, as a config file names things."""
    plain = config.model_dump(mode="json")
    for dataset in plain["datasets"].values():
        for key in ("root", "masks", "classes"):
            dataset[key] = _base(dataset[key])
    for model in plain["models"].values():
        model["weights"] = _base(model["weights"])
        if model["class_embedding"]:
            model["class_embedding"]["file"] = _base(model["class_embedding"]["file"])
    plain["hub"]["cache"] = plain["figures"]["style"] = None
    return json.loads(json.dumps(plain))  # nothing is shared, so that YAML writes no aliases


def _base(path: str | None) -> str | None:
    """The last part of a path, as a config names it."""
    return path and literal(os.path.basename(os.path.normpath(path)) or ".")


def check(config: Config, known: Published) -> None:
    """Raise an InputError for a config that adopted results were not made with."""
    asked = {key: value for key, value in portable(config).items() if key not in FREE}
    folder = f"results/{config.run}"
    if asked != {key: value for key, value in known.config.items() if key not in FREE}:
        raise InputError(
            f"{folder} holds published results of another config: use --configfile {folder}/{CONFIG}, or another `run` for yours"
        )
    used = {dataset_of(model, config) for model in config.models.values()}
    if known.datasets.keys() != used or not all(_describes(known.datasets[name], config.datasets[name]) for name in used):
        raise InputError(f"{folder}/{MANIFEST} does not describe the data sets of its config: adopt the archive again")


def _describes(known: DatasetFacts, dataset: DatasetSettings) -> bool:
    """Whether `PlannedDataset.facts` may have said this of a data set."""
    analysed = dataset.eval_split_name
    return {analysed} <= known.images.keys() <= {analysed, dataset.probe_split_name, dataset.train_split}


def check_drawn(results: str, notes: Path) -> None:
    """Raise an InputError where adopted results hold pages or figures that were not drawn here: a browser runs the scripts in them.

    Args:
        results: folder of adopted results.
        notes: folder in which `note_drawn` notes.
    """
    there = [name for name in DRAWN if (Path(results) / name).exists()]
    note = _note(results, notes)
    if there and not (note.is_file() and note.read_text(encoding="utf-8") == _identity(results)):
        folders = " and ".join(f"{results}/{name}" for name in there)
        raise InputError(
            f"{results} was published by others, and its pages and figures were not drawn here: remove {folders}, and run again"
        )


def note_drawn(results: str, notes: Path) -> None:
    """Note that pages and figures of adopted results are drawn here from now on."""
    notes.mkdir(parents=True, exist_ok=True)
    _note(results, notes).write_text(_identity(results), encoding="utf-8")


def _note(results: str, notes: Path) -> Path:
    return notes / f"drawn-{Path(results).name}"


def _identity(results: str) -> str:
    """What tells a results folder from another one that is put in its place."""
    return f"{os.stat(results).st_ino} {sha256(Path(results) / MANIFEST)}"
