"""A small run on a Slurm cluster with accounting: its states by sacct, a group of jobs that takes too long, and a node that drains."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_login import Login
from conftest import REPOSITORY, small_config
from namespaces import until
from slurm_cluster import ACCOUNTING, Cluster, missing

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

PROFILE = REPOSITORY / "profiles" / "slurm"
TARGET = "results/small/projections/m/d/validation/00000.parquet"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm") / "etc", accounting=ACCOUNTING) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def whole(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Login:
    """A run with changes of the profile that some clusters need."""
    listed = yaml.safe_load((PROFILE / "config.yaml").read_text(encoding="utf-8"))["set-resources"]
    changes: dict[str, Any] = {
        "default-resources": {"turn": 1, "slurm_extra": "--nice=150"},
        "set-resources": {rule: {"gres": "gpu:1"} for rule in listed},
    }
    if ACCOUNTING:
        changes["slurm-status-command"] = "sacct"
    profile = tmp_path_factory.mktemp("profile")
    (profile / "config.yaml").write_text(yaml.safe_dump(changes), encoding="utf-8")
    config = small_config(analyses=["identifiability"], hidden_states={})
    login = Login(cluster, tmp_path_factory.mktemp("whole") / "a folder", config, [PROFILE, profile])
    login.ends_well(login.start(TARGET))
    return login


def test_gpus_may_be_requested_as_gres(whole: Login) -> None:
    assert {item.program for item in whole.events("end") if item.gpus is not None} == {"extract.py", "project.py"}


def test_jobs_get_further_options_of_sbatch(whole: Login) -> None:
    jobs = ",".join({item.job for item in whole.events("end")})
    assert set(whole.cluster.run("squeue", "--noheader", "--states=all", f"--jobs={jobs}", "--format=%y").split()) == {"150"}


@pytest.mark.skipif(not ACCOUNTING, reason="accounting needs slurmdbd and mariadbd (Debian: slurmdbd, mariadb-server-core)")
def test_the_accounting_knows_all_jobs(whole: Login) -> None:
    accounts = whole.cluster.run("sacct", "--allocations", "--noheader", "--parsable2", "--format=JobID,State").splitlines()
    assert {line.split("|")[0] for line in accounts} == {item.job for item in whole.events("end")}
    assert {line.split("|")[1] for line in accounts} == {"COMPLETED"}


def test_a_group_that_exceeds_its_time_is_tried_again_on_a_node_that_does_not_drain(
    whole: Login, tmp_path: Path, note_fault: Callable[..., None]
) -> None:
    login = whole.copy_without(tmp_path / "a folder", "hidden_states", "predictions", "projections")
    snakemake, (late,) = login.held(1, TARGET)
    login.cluster.run("scontrol", "update", f"JobId={late.job}", "TimeLimit=1")
    login.cluster.run("scontrol", "update", f"NodeName={late.node}", "State=DRAIN", "Reason=test")
    until(lambda: "DUE TO TIME LIMIT" in login.printed(), "the end of the job's time", seconds=200)
    login.release()
    login.ends_well(snakemake)
    login.cluster.run("scontrol", "update", f"NodeName={late.node}", "State=RESUME")
    started, ended = (Counter(item.program for item in login.events(event)) for event in ("start", "end"))
    assert started == ended + Counter([late.program])
    assert ended == {"extract.py": 1, "project.py": 1}
    assert late.node not in {item.node for item in login.events("end")}
    assert login.results() == whole.results()
    note_fault("Slurm: a group of jobs exceeds its time limit", "*** JOB ... DUE TO TIME LIMIT ***; it is tried again", again="2 jobs")
