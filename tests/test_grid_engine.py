"""A small run on a Grid Engine cluster as users start it."""

from collections import Counter
from collections.abc import Iterator

import pytest
from cluster_login import Login
from conftest import REPOSITORY, small_config
from grid_engine import GridEngine, missing

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

CONFIG = small_config(analyses=["identifiability"], hidden_states={})
PROFILES = [REPOSITORY / "profiles" / "slurm", REPOSITORY / "profiles" / "sge"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridEngine]:
    with GridEngine(tmp_path_factory.mktemp("grid")) as cluster:
        yield cluster


def test_a_deleted_job_is_tried_again_with_more_memory(cluster: GridEngine, tmp_path_factory: pytest.TempPathFactory) -> None:
    login = Login(cluster, tmp_path_factory.mktemp("run") / "a folder", CONFIG, PROFILES)
    snakemake, starts = login.held(2, "results/small/projections/m/d/validation/00000.parquet")
    (deleted,) = (item for item in starts if item.program == "shapes.py")
    cluster.run("qdel", deleted.job)
    login.release()
    login.ends_well(snakemake)

    started, ended = (Counter(item.program for item in login.events(event)) for event in ("start", "end"))
    assert started == ended + Counter(["shapes.py"])
    assert set(ended.values()) == {1}
    jobs = {item.program: item.job for item in login.events("end")}
    assert jobs["extract.py"] == jobs["project.py"]  # a group
    assert len(set(jobs.values())) == len(jobs) - 1

    requests = [cluster.requested(job) for job in (deleted.job, jobs["shapes.py"], jobs["extract.py"])]
    assert requests == [
        "-l gpu=0,h_rt=1800,mem_free=256M -pe smp 4",
        "-l gpu=0,h_rt=1800,mem_free=512M -pe smp 4",
        "-l gpu=1,h_rt=28800,mem_free=1024M -pe smp 8",
    ]
