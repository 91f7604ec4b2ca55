"""Results that travel without images and models: which they are, and packing those of a run (`adoption` takes them over).

An archive holds the tables and projections of a run, its config, and `published.json`: what planning must know of the data sets, and the
size and sha256 of every file. Which files these are follows from the config, so that an archive cannot hold anything else. Where a results
folder has a `published.json`, the workflow takes everything in it for given and makes tables and figures from it, as it does from its own
results.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator

from classlens.config_file import place, unique
from classlens.config_paths import literal
from classlens.errors import InputError, first_line, printable
from classlens.provenance import sha256

if TYPE_CHECKING:
    from classlens.plan import Model, Plan

MANIFEST = "published.json"
CONFIG = "config.yaml"

OF_MODEL = ("models/{model}/model.json", "predictions/{model}/{dataset}/{split}.parquet")
OF_SHARD = ("projections/{model}/{dataset}/{split}/{shard}.parquet", "class_logits/{model}/{dataset}/{split}/{shard}.parquet")
OF_ANALYSES = {
    ("identifiability",): ("identifiability/{model}/{dataset}.parquet", "identifiability/{model}/{dataset}_ranks.parquet"),
    ("context",): ("context/{model}/{dataset}.parquet",),
    ("building",): ("building/{model}/{dataset}.parquet", "building/{model}/{dataset}_composition.parquet"),
    ("memories",): (
        "memories/{model}/{dataset}/class_value_agreement.parquet",
        "memories/{model}/{dataset}/key_value_agreement.parquet",
        "memories/{model}/{dataset}/key_value_agreement_by_class.parquet",
        "memories/{model}/{dataset}/composition.parquet",
        "memories/{model}/{dataset}/interpretable_values.parquet",
    ),
    ("attention", "tokens"): ("perturbations/{model}/{dataset}.parquet", "perturbations/{model}/{dataset}_accuracy.parquet"),
    ("relevance", "deletion"): (
        "relevance/{model}/{dataset}.parquet",
        "relevance/{model}/{dataset}_heads.parquet",
        "relevance/{model}/{dataset}_shown.parquet",
    ),
    ("deletion",): (
        "deletion/{model}/{dataset}.parquet",
        "deletion/{model}/{dataset}_area.parquet",
        "deletion/{model}/{dataset}_images.parquet",
    ),
    ("probes",): ("probes/{model}/{dataset}.parquet", "probes/{model}/{dataset}_accuracy.parquet"),
}
"""What rules make of a model for any of some analyses, relative to the results folder."""
OF_MASKS = {
    ("context", "building", "attention", "tokens"): ("tokens/{model}/{dataset}.parquet",),
    ("relevance",): ("segmentation/{model}/{dataset}.parquet",),
}
"""The same, where images have masks."""

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


def files(plan: "Plan") -> list[str]:
    """Return what is published of a complete run, as sorted paths relative to its results folder: no images, weights or hidden states."""
    found = {path for model in plan.models.values() for path in _of_model(plan, model)}
    found |= {f"data/{dataset.name}/{split}/manifest.parquet" for dataset in plan.used() for split in dataset.splits}
    found |= {f"tables/{name}.csv" for names in plan.tables().values() for name in names}
    return sorted(found)


def _of_model(plan: "Plan", model: "Model") -> Iterator[str]:
    dataset = plan.datasets[model.dataset]
    named = {"model": model.name, "dataset": dataset.name, "split": dataset.eval_split}
    patterns = [*OF_MODEL]
    for analyses, made in (*OF_ANALYSES.items(), *(OF_MASKS.items() if dataset.has_masks else ())):
        patterns += made if set(analyses) & set(model.analyses) else ()
    yield from (pattern.format(**named) for pattern in patterns)
    yield from (pattern.format(**named, shard=shard) for shard in plan.eval_shards(model.name) for pattern in OF_SHARD)


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


def publish(results: Path, plan: "Plan", archive: Path) -> str:
    """Pack a run's tables and projections; the same results give the same bytes.

    Args:
        results: the run's folder.
        plan: what its config asks for.
        archive: tar file to write.

    Returns:
        sha256 of the archive.

    Raises:
        InputError: a file that the plan names is missing, or a link.
    """
    names = files(plan)
    missing = [name for name in names if not (results / name).is_file() or (results / name).is_symlink()]
    if missing:
        others = f" and {len(missing) - 1} more of {len(names)} files" if missing[1:] else ""
        raise InputError(f"{results} lacks {missing[0]}{others} (a link does not count): run the workflow first")
    settings = portable(plan.config)
    text = config_text(settings)
    manifest = {
        "run": settings["run"],
        "config": settings,
        "datasets": {dataset.name: dataset.facts() for dataset in plan.used()},
        "files": {**{name: sha256(results / name) for name in names}, CONFIG: hashlib.sha256(text).hexdigest()},
        "bytes": {**{name: (results / name).stat().st_size for name in names}, CONFIG: len(text)},
    }
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in ((MANIFEST, json.dumps(manifest, indent=1).encode()), (CONFIG, text)):
                tar.addfile(member(name, len(content)), io.BytesIO(content))
            for name in names:
                with open(results / name, "rb") as file:
                    tar.addfile(member(name, manifest["bytes"][name]), file)
        draft.replace(archive)
    finally:
        draft.unlink(missing_ok=True)
    return sha256(archive)


def config_text(settings: dict[str, Any]) -> bytes:
    """Return the file of a portable config."""
    return yaml.safe_dump(settings, sort_keys=False).encode()


def member(name: str, size: int) -> tarfile.TarInfo:
    """Return what an archive says of a file: nothing but its name and size."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info
