"""Runs on a Slurm cluster as users start them: the demo, shrunk, and what becomes of jobs, nodes and Snakemake that are killed."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_login import Event, Login
from conftest import REPOSITORY
from namespaces import kill, until
from slurm_cluster import Cluster, missing

from classlens.config.catalogue import FIGURES, TABLES

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

PROFILE = REPOSITORY / "profiles" / "slurm"
ON_GPU = {
    "train.py",
    "twins.py",
    "extract.py",
    "project.py",
    "perturb.py",
    "relevance.py",
    "deletion.py",
    "attribution.py",
    "attribution_tokens.py",
}
ALONE = {
    "shapes.py",
    "manifest.py",
    "model.py",
    "probe.py",
    "tokens.py",
    "sanity.py",
    "explorer_model.py",
    "explorer.py",
    "report_pages.py",
}
MANY = ["identifiability", "context", "attention", "tokens", "relevance", "deletion", "probes", "attribution"]
"""Analyses of the first model: one for each way in which the profile runs the jobs of an analysis."""
FEW = ["identifiability", "attention", "tokens"]
"""Analyses of the second model."""
PERTURBATIONS = [f"results/demo/perturbations/{model}/shapes.parquet" for model in ("cls", "pooled")]


def small_demo() -> dict[str, Any]:
    """The demo with fewer analyses, on so little that a job takes not much more than its start."""
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    config["compute"] = {"device": "cpu"}  # the GPUs are pretended
    images = ("images_per_class", "train_images_per_class", "probe_images_per_class")
    config["datasets"]["shapes"] |= {"num_classes": 5, **dict.fromkeys(images, 2)}
    for model in config["models"].values():
        model["kwargs"] |= {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}
        model["training"] = {"epochs": 1}
    config["models"]["cls"]["analyses"], config["models"]["pooled"]["analyses"] = MANY, FEW
    return {**config, "deletion": {"steps": 3}, "figures": {"formats": ["svg"]}}


def perturbing(login: Login, *targets: str) -> tuple[Any, dict[str, Event]]:
    """Snakemake that makes them again, and the programs of both models, by name, which have begun and wait for `release`."""
    snakemake, starts = login.held(2, *PERTURBATIONS, *targets)
    running = {item.model: item for item in starts if item.program == "perturb.py"}
    assert set(running) == {"cls", "pooled"}
    return snakemake, running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm") / "etc") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def whole(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Login:
    """The whole run, which nobody disturbed."""
    login = Login(cluster, tmp_path_factory.mktemp("whole") / "a folder", small_demo(), [PROFILE])
    login.ends_well(login.start())
    return login


def test_everything_is_made_and_every_job_ran_once(whole: Login) -> None:
    results = whole.results()
    for figure in (figure for figure in FIGURES if figure.analysis in MANY):
        names = figure.files(["cls", *(["pooled"] if figure.analysis in FEW else [])])
        assert {f"figures/{name}.{suffix}" for name in names for suffix in ("csv", "svg")} <= set(results)
    assert {f"tables/{table.name}.csv" for table in TABLES if table.analysis in MANY} | {"reproduction.csv"} <= set(results)
    started, ended = ([item.log for item in whole.events(event)] for event in ("start", "end"))
    assert len(started) == len(set(started))
    assert sorted(started) == sorted(ended)
    planned = whole.run.complete("--dry-run", "--forceall", "--configfile", whole.config)
    assert f"total {len(started) + 1} " in " ".join(planned.split()) + " "  # and the rule `all`, which has no program
    assert "Nothing to be done" in whole.run.complete("--configfile", whole.config)


def test_jobs_that_run_a_model_have_a_gpu_and_others_none(whole: Login) -> None:
    starts = whole.events("start")
    assert {item.program for item in starts if item.gpus is not None} == ON_GPU
    assert all(len(item.gpus.split(",")) == 1 for item in starts if item.gpus is not None)
    assert not {item.program for item in starts if item.gpus is None} & ON_GPU


def test_light_jobs_go_through_the_queue_together(whole: Login) -> None:
    records = {record["id"]: record for record in whole.cluster.jobs()}
    programs = Counter(item.job for item in whole.events("start") if item.program not in ON_GPU | ALONE)
    assert programs.total() > 20
    assert len(programs) <= 5
    assert min(programs.values()) > 1
    for job in programs:
        assert records[job]["cores"] == "1"
        assert records[job]["memory"] in ("2G", "4G", "6G")  # of the largest: its programs take turns


def test_a_cancelled_job_is_tried_again_with_more_memory(whole: Login, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    login = whole.copy_without(tmp_path / "a folder", "perturbations")
    snakemake, running = perturbing(login)
    login.cluster.run("scancel", running["cls"].job)
    login.release()
    login.ends_well(snakemake)
    assert login.counts("start", "perturb.py") == {"cls": 2, "pooled": 1}
    assert login.counts("end", "perturb.py") == {"cls": 1, "pooled": 1}
    memory = {record["id"]: record["memory"] for record in login.cluster.jobs()}
    assert [memory[item.job] for item in login.events("start", "perturb.py") if item.model == "cls"] == ["8G", "16G"]
    assert login.results() == whole.results()
    note_fault("Slurm: a job is cancelled (scancel)", "it is tried again, with more memory", again="1 job")


def test_a_killed_snakemake_goes_on_where_it_was(whole: Login, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    login = whole.copy_without(tmp_path / "a folder", "perturbations")
    snakemake, running = perturbing(login)
    kill(snakemake)
    login.cluster.run("scancel", running["cls"].job)
    login.release()
    until(lambda: not login.cluster.jobs("--states=RUNNING,PENDING,COMPLETING"), "the end of what was submitted", seconds=300)
    assert login.counts("end", "perturb.py") == {"pooled": 1}
    login.ends_well(login.start(*PERTURBATIONS))
    assert login.counts("start", "perturb.py") == {"cls": 2, "pooled": 1}
    assert login.counts("end", "perturb.py") == {"cls": 1, "pooled": 1}
    assert login.results() == whole.results()
    note_fault("Slurm: kill -9 of Snakemake", "jobs live on or are cancelled; the same command goes on", again="1 job that was cancelled")


def test_jobs_of_a_dead_node_go_on_elsewhere(whole: Login, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    login = whole.copy_without(tmp_path / "a folder", "perturbations")
    snakemake, running = perturbing(login)
    dead, alive = running["cls"].node, running["pooled"].node
    assert dead != alive
    login.cluster.cut_power(dead)
    login.release()
    login.ends_well(snakemake)
    login.cluster.boot(dead)
    assert login.counts("start", "perturb.py") == {"cls": 2, "pooled": 1}
    assert login.counts("end", "perturb.py") == {"cls": 1, "pooled": 1}
    assert {item.node for item in login.events("end")} == {alive}
    assert login.results() == whole.results()
    note_fault("Slurm: a node dies", "its job goes on on another node", again="1 job")
