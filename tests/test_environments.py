"""Images and conda environment: all install the packages of the lock. `tests/test_container.py` tries an image."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

ENVS = REPOSITORY / "envs"
DOCKERFILE = (ENVS / "Dockerfile").read_text(encoding="utf-8")
DEFINITION = (ENVS / "classlens.def").read_text(encoding="utf-8")
PYTHON = "3.11"


def requirements(lock: Path) -> list[str]:
    """The requirements of a lock, each with its options in one line."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def copied() -> Iterator[str]:
    """What the Dockerfile copies from the checkout."""
    for names in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        yield from names.split()[:-1]


def test_all_environments_have_one_version_of_python() -> None:
    base = f"python:{PYTHON}-slim-bookworm"
    assert re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE) == [base]
    assert re.findall(r"^From: (.+)$", DEFINITION, re.MULTILINE) == [base]
    assert f"python={PYTHON}" in yaml.safe_load((ENVS / "classlens.yaml").read_text(encoding="utf-8"))["dependencies"]
    assert f"--python-version {PYTHON} " in (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"] == f">={PYTHON}"


def test_both_images_install_the_same_way() -> None:
    listed = re.findall(r"^ {4}(envs/\S+) (.+)$", DEFINITION, re.MULTILINE)
    assert listed == [(name, f"/opt/classlens/{name}") for name, _ in listed]
    assert re.findall(r"^COPY (envs/.+) envs/$", DOCKERFILE, re.MULTILINE)[0].split() == [name for name, _ in listed]
    assert "RUN sh envs/image.sh" in DOCKERFILE
    assert "sh /opt/classlens/envs/image.sh" in DEFINITION
    assert "ENV PATH=/opt/classlens/.venv/bin:$PATH" in DOCKERFILE
    assert "export PATH=/opt/classlens/.venv/bin:$PATH" in DEFINITION


def test_the_images_install_locks_and_check_their_hashes() -> None:
    script = (ENVS / "image.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip (?:install|sync) .*", script)
    assert [re.findall(r"(\w+)\.lock", line) for line in installs] == [["installer"], ["workflow"]]
    assert all("--require-hashes" in line for line in installs)


@pytest.mark.parametrize("lock", ["workflow", "installer", "dev", "peers"])
def test_every_package_of_a_lock_has_a_version_and_a_hash(lock: str) -> None:
    found = requirements(ENVS / f"{lock}.lock")
    assert found
    assert [line for line in found if not re.match(r"[\w.\[\]-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


def test_other_libraries_run_with_the_pinned_packages() -> None:
    pinned = {line.split()[0] for lock in ("workflow", "dev") for line in requirements(ENVS / f"{lock}.lock")}
    names = {line.partition("==")[0] for line in pinned}
    shared = {line.split()[0] for line in requirements(ENVS / "peers.lock") if line.partition("==")[0] in names}
    assert {line.partition("==")[0] for line in shared} >= {"torch", "timm", "transformers"}
    assert shared <= pinned


def test_the_benchmark_runs_in_the_environment_of_the_other_libraries() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^bench: .*\$\(PEERS\)/\.installed.*\n.*--peers \$\(PEERS\)/bin/python", makefile, re.MULTILINE)
    assert re.search(
        r"^\$\(PEERS\)/\.installed: envs/peers\.lock(.*\n)+?.*--require-hashes \$\(LOCKS\) envs/peers\.lock$", makefile, re.MULTILINE
    )


def test_conda_gets_the_packages_of_the_lock() -> None:
    with open(ENVS / "workflow.lock", encoding="utf-8") as lock:
        made = subprocess.run(["sh", ENVS / "conda.sh"], stdin=lock, capture_output=True, text=True, check=True).stdout
    assert made == (ENVS / "classlens.yaml").read_text(encoding="utf-8")
    assert len(yaml.safe_load(made)["dependencies"][-1]["pip"]) == len(requirements(ENVS / "workflow.lock"))


def test_the_builder_sees_what_the_dockerfile_copies_and_nothing_else() -> None:
    lines = (ENVS / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line[:1] not in "#!"] == ["*", "**/__pycache__"]
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(copied())
