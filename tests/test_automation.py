"""The workflows of GitHub Actions: pinned actions, no more rights than needed, and commands that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def content(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs() -> list[Any]:
    """Every job of every workflow."""
    return [pytest.param(job, id=f"{path.stem}-{name}") for path in WORKFLOWS for name, job in content(path)["jobs"].items()]


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "docs", "release", "versions"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_name_their_version(path: Path) -> None:
    uses = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
    assert [line for line in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_one_action_has_one_version() -> None:
    texts = [path.read_text(encoding="utf-8") for path in WORKFLOWS]
    uses = {tuple(line.split("@")) for text in texts for line in re.findall(r"uses: (.+)", text)}
    assert len({name for name, _ in uses}) == len(uses)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_at_most_read(path: Path) -> None:
    assert content(path)["permissions"] in ({}, {"contents": "read"})
    assert content(path)["concurrency"]["group"]


@pytest.mark.parametrize("job", jobs())
def test_only_jobs_that_publish_may_write_and_they_run_no_code_of_the_checkout(job: dict[str, Any]) -> None:
    if "write" in job.get("permissions", {}).values():
        assert not [step for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert job["timeout-minutes"]


@pytest.mark.parametrize("job", jobs())
def test_targets_exist(job: dict[str, Any]) -> None:
    matrix = job.get("strategy", {}).get("matrix", {})
    named = {name for names in matrix.values() for name in names}
    named |= {name for step in job["steps"] for name in re.findall(r"make ([a-z-]+)", step.get("run", ""))}
    assert named <= TARGETS


def test_all_steps_of_continuous_integration_run() -> None:
    commands = re.findall(r"^make (.+)$", (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    steps = {word for command in commands for word in command.split()} & TARGETS - {"env"}
    assert set(content(REPOSITORY / ".github/workflows/ci.yml")["jobs"]["step"]["strategy"]["matrix"]["step"]) == steps
