"""Results of a run that never ran, to be published: every file is there, and each holds a few bytes of its own."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import small_config

from classlens.archive import publication
from classlens.config import reading as configs
from classlens.config.plan import Plan
from classlens.config.settings import Config


def resolved(**changes: Any) -> Config:
    """The small run's config with all defaults."""
    return configs.resolve(small_config(**changes))


def write_results(home: Path, config: Config) -> Plan:
    """A folder with what a run publishes, and files that it does not; the run's plan."""
    plan = Plan(config, str(home / config.run))
    stray = [
        "tables/stray.csv",
        "projections/m/d/validation/00099.parquet",
        "figures/mean_evolution.svg",
        "explorer/index.html",
        "secret.txt",
    ]
    for name in [*publication.files(plan), *stray]:
        path = home / config.run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"contents of {name}\n" * 40, encoding="utf-8")
    return plan


def publish(home: Path, **changes: Any) -> Path:
    """An archive of such results."""
    config = resolved(**changes)
    archive = home / f"{config.run}.tar"
    publication.publish(home / config.run, write_results(home, config), archive)
    return archive


Members = list[tuple[tarfile.TarInfo, bytes]]


def members(archive: Path) -> Members:
    """Headers and contents of an archive."""
    with tarfile.open(archive) as tar:
        return [(member, file.read() if (file := tar.extractfile(member)) else b"") for member in tar]


def rewrite(archive: Path, parts: Members) -> None:
    """Write an archive of these members."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in parts:
            tar.addfile(member, io.BytesIO(content))


def member(name: str, content: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member as `publish` writes it, or with other attributes."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def with_manifest(parts: Members, change: Callable[[Any], Any]) -> Members:
    """Members of which the manifest has been changed: in place, or by what the change returns."""
    manifest = json.loads(parts[0][1])
    result = change(manifest)
    return [member("published.json", json.dumps(manifest if result is None else result).encode()), *parts[1:]]
