"""Results folders that hold what others published: tables and projections, and neither images nor models (`publication`, `adoption`).

Such a folder has a `published.json`, which says what planning must know of the data sets, and size and sha256 of every file. The workflow
takes everything in it for given and makes tables and figures from it, as it does from its own results.
"""

import json
import os
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Any

from jsonschema import Draft202012Validator

from classlens.config_file import place, unique
from classlens.config_paths import literal
from classlens.errors import InputError, first_line, printable
from classlens.provenance import sha256

MANIFEST = "published.json"
CONFIG = "config.yaml"

# Settings that may differ from the publisher's: how figures look and how computations run.
FREE = ("compute", "figures", "hub")

DRAWN = ("explorer", "figures", "report")
"""Folders of what a browser shows, and may run scripts of."""

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["run", "config", "datasets", "files", "bytes"],
    "properties": {
        "run": {"type": "string"},
        "config": {"type": "object"},
        "datasets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["images", "masks"],
                "properties": {
                    "images": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}},
                    "masks": {"type": "boolean"},
                },
            },
        },
        "files": {"type": "object", "additionalProperties": {"type": "string"}},
        "bytes": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
    },
}
"""What `published.json` holds: `files` is the sha256 of each file, `bytes` its size."""


def facts(results: str | Path) -> dict[str, Any] | None:
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


def manifest_of(content: bytes) -> dict[str, Any]:
    """Return the contents of a `published.json`.

    Raises:
        InputError: it does not have the form that `publish` gives it; the message goes on from the file's name.
    """
    try:
        manifest = json.loads(content, object_pairs_hook=unique)
    except RecursionError:
        raise InputError("is nested too deeply") from None
    except InputError as error:
        raise InputError(f"cannot be read ({error})") from None
    except ValueError as error:
        raise InputError(f"cannot be read ({first_line(error)})") from None
    for wrong in Draft202012Validator(SCHEMA).iter_errors(manifest):
        where = f", in {place(wrong.absolute_path)[:100]}" if wrong.absolute_path else ""
        raise InputError(printable(f"is not as `make publish` writes it{where}: {wrong.message[:200]}"))
    for name in map(PurePosixPath, manifest["files"]):
        if name.is_absolute() or ".." in name.parts:
            raise InputError(printable(f"is wrong: {name} would lie outside the results"))
    if manifest["files"].keys() != manifest["bytes"].keys():
        raise InputError("does not give the size and the sha256 of each file")
    return manifest


def portable(config: dict[str, Any]) -> dict[str, Any]:
    """Return a resolved config without the folders of the machine that it was used on, as a config file names things."""
    config = deepcopy(config)
    for dataset in config["datasets"].values():
        for key in ("root", "masks", "classes"):
            dataset[key] = _base(dataset[key])
    for model in config["models"].values():
        model["weights"] = _base(model["weights"])
        if model["class_embedding"]:
            model["class_embedding"]["file"] = _base(model["class_embedding"]["file"])
    config["hub"]["cache"] = config["figures"]["style"] = None
    return json.loads(json.dumps(config))  # nothing is shared, so that YAML writes no aliases


def _base(path: str | None) -> str | None:
    """The last part of a path, as a config names it."""
    return path and literal(os.path.basename(os.path.normpath(path)) or ".")


def check(config: dict[str, Any], known: dict[str, Any]) -> None:
    """Raise an InputError for a config that adopted results were not made with."""
    asked = {key: value for key, value in portable(config).items() if key not in FREE}
    folder = f"results/{config['run']}"
    if asked != {key: value for key, value in known["config"].items() if key not in FREE}:
        raise InputError(
            f"{folder} holds published results of another config: use --configfile {folder}/{CONFIG}, or another `run` for yours"
        )
    used = {model["dataset"] for model in config["models"].values()}
    if known["datasets"].keys() != used or not all(_describes(known["datasets"][name], config["datasets"][name]) for name in used):
        raise InputError(f"{folder}/{MANIFEST} does not describe the data sets of its config: adopt the archive again")


def _describes(known: dict[str, Any], dataset: dict[str, Any]) -> bool:
    """Whether `PlannedDataset.facts` may have said this of a data set."""
    splits = {dataset[key] for key in ("eval_split", "probe_split", "train_split")}
    return {dataset["eval_split"]} <= known["images"].keys() <= splits


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
