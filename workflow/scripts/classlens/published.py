"""Results that travel without images and models: packing those of a run, and adopting someone else's.

An archive holds the tables and projections of a run, its config, and `published.json`: what planning must know of the data sets, and the
sha256 of every file. Where a results folder has a `published.json`, the workflow takes everything in it for given and makes tables and
figures from it, as it does from its own results.
"""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from classlens.errors import InputError, first_line
from classlens.provenance import sha256

MANIFEST = "published.json"
CONFIG = "config.yaml"
FOLDERS = (
    "building",
    "class_logits",
    "context",
    "deletion",
    "identifiability",
    "memories",
    "perturbations",
    "predictions",
    "probes",
    "projections",
    "relevance",
    "segmentation",
    "tokens",
)
PATTERNS = (*(f"{folder}/**/*.parquet" for folder in FOLDERS), "data/*/*/manifest.parquet", "models/*/model.json", "tables/*.csv")
"""What is published of a run: neither images nor weights nor hidden states."""

# Settings that may differ from the publisher's: how figures look and how computations run.
FREE = ("compute", "figures", "hub")


def facts(results: str | Path) -> dict[str, Any] | None:
    """What `published.json` says, of results that were adopted; None for a run's own results."""
    path = Path(results) / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def portable(config: dict[str, Any]) -> dict[str, Any]:
    """A resolved config without the folders of the machine that it was used on."""
    config = deepcopy(config)
    for dataset in config["datasets"].values():
        dataset["root"] = dataset["root"] and os.path.basename(os.path.normpath(dataset["root"]))
        dataset["masks"] = dataset["masks"] and os.path.basename(os.path.normpath(dataset["masks"]))
    for model in config["models"].values():
        model["weights"] = os.path.basename(model["weights"])
        if model["class_embedding"]:
            model["class_embedding"]["file"] = os.path.basename(model["class_embedding"]["file"])
    config["hub"]["cache"] = config["figures"]["style"] = None
    return config


def check(config: dict[str, Any], known: dict[str, Any]) -> None:
    """Raise an InputError for a config that adopted results were not made with."""
    asked = {key: value for key, value in portable(config).items() if key not in FREE}
    if asked != {key: value for key, value in known["config"].items() if key not in FREE}:
        folder = f"results/{config['run']}"
        raise InputError(
            f"{folder} holds published results of another config: use --configfile {folder}/{CONFIG}, or another `run` for yours"
        )


def publish(results: Path, config: dict[str, Any], datasets: dict[str, Any], archive: Path) -> str:
    """Pack a run's tables and projections; the same results give the same bytes.

    Args:
        results: the run's folder.
        config: its resolved config.
        datasets: what planning must know of each data set (`PlannedDataset.facts`).
        archive: tar file to write.

    Returns:
        sha256 of the archive.

    Raises:
        InputError: there is nothing to publish.
    """
    files = sorted({path for pattern in PATTERNS for path in results.glob(pattern)})
    if not files:
        raise InputError(f"{results} holds no results: run the workflow first")
    settings = portable(config)
    text = yaml.safe_dump(settings, sort_keys=False).encode()
    digests = {path.relative_to(results).as_posix(): sha256(path) for path in files}
    digests[CONFIG] = hashlib.sha256(text).hexdigest()
    manifest = {"run": config["run"], "config": settings, "datasets": datasets, "files": digests}
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in ((MANIFEST, json.dumps(manifest, indent=1).encode()), (CONFIG, text)):
                tar.addfile(_member(name, len(content)), io.BytesIO(content))
            for path in files:
                with open(path, "rb") as file:
                    tar.addfile(_member(path.relative_to(results).as_posix(), path.stat().st_size), file)
        draft.replace(archive)
    finally:
        draft.unlink(missing_ok=True)
    return sha256(archive)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def adopt(archive: Path, home: Path) -> Path:
    """Check every file of an archive, and put them into a results folder of their own.

    Args:
        archive: from `publish`.
        home: folder of all runs' results.

    Returns:
        the folder of the run.

    Raises:
        InputError: the archive is damaged, a file in it is not the one that was published, or the run has results already.
    """
    home.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".adopting-", dir=home))
    try:
        run = _unpack(archive, draft)
        target = home / run
        if target.exists():
            raise InputError(f"{target} exists already: rename or remove it, and adopt again")
        _same_time(draft)
        draft.chmod(0o755)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _unpack(archive: Path, folder: Path) -> str:
    """Write an archive's files, each of which must be as published; the name of the run."""
    try:
        with tarfile.open(archive, "r:") as tar:
            members = iter(tar)
            manifest = _manifest(archive, tar, next(members, None))
            (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            found = set(_unpacked(archive, tar, members, manifest["files"], folder))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"archive {archive} cannot be read ({first_line(error)}): get it again") from None
    if missing := sorted(set(manifest["files"]) - found):
        raise InputError(f"archive {archive} lacks {missing[0]}, which its manifest lists: get it again")
    return manifest["run"]


def _manifest(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> dict[str, Any]:
    content = tar.extractfile(member) if member and member.name == MANIFEST else None
    try:
        manifest: dict[str, Any] = json.load(content) if content else {}
        run, names = manifest["run"], [PurePosixPath(name) for name in manifest["files"]]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"archive {archive} does not begin with {MANIFEST}: it was not made by `make publish`") from None
    for name in names:
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"archive {archive} is refused: {name} would lie outside the results")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", run):
        raise InputError(f"archive {archive} is refused: {run!r} is no name of a run")
    return manifest


def _unpacked(
    archive: Path, tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo], digests: dict[str, str], folder: Path
) -> Iterator[str]:
    """Names of the files, as they are written."""
    for member in members:
        content = tar.extractfile(member) if member.isreg() else None
        if content is None or member.name not in digests:
            raise InputError(f"archive {archive} is refused: {member.name} is not in its manifest")
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            shutil.copyfileobj(content, file)
        if sha256(path) != digests[member.name]:
            raise InputError(f"archive {archive} is refused: {member.name} is not as it was published; get the archive again")
        yield member.name


def _same_time(folder: Path) -> None:
    """Give all files one modification time, so that none looks newer than what was made from it."""
    now = (folder / MANIFEST).stat().st_mtime_ns
    for path in folder.rglob("*"):
        os.utime(path, ns=(now, now))
