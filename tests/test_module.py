"""The workflow as a module of another workflow, with a prefix for its results and a config of its own."""

import shutil
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, Run, planned, small_config

PARENT = """
configfile: "parent.yaml"


module classlens:
    snakefile:
        SNAKEFILE
    config:
        config["classlens"]
    prefix:
        "lens"


use rule * from classlens as lens_*


rule lines:
    default_target: True
    input:
        rules.lens_figure_mean_evolution.output.csv,
    output:
        "lines.txt",
    threads: 1
    shell:
        "cd . && head -n 1 {input} > {output} && echo ${{CLASSLENS_STARTED_BY-none}} >> {output}"
"""
CSV = "results/small/figures/mean_evolution.csv"


def parent(folder: Path, text: str = PARENT) -> Run:
    """A folder with a workflow that uses this one."""
    run = Run(folder, folder)
    (folder / "Snakefile").write_text(text.replace("SNAKEFILE", repr(str(REPOSITORY / "Snakefile"))), encoding="utf-8")
    run.configure({"classlens": small_config(), "models": "of the parent"}, "parent.yaml")
    return run


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of a workflow that uses this one."""
    run = parent(tmp_path_factory.mktemp("parent") / "a folder")
    run.complete()
    return run


def test_results_lie_below_the_prefix_and_nowhere_else(used: Run) -> None:
    head, started_by = (used.folder / "lines.txt").read_text(encoding="utf-8").splitlines()
    assert (used.folder / "lens" / CSV).read_text(encoding="utf-8").startswith(head)
    assert started_by == "none"  # the parent's rules keep their own shell
    assert {path.name for path in used.folder.iterdir()} == {".snakemake", "Snakefile", "parent.yaml", "lines.txt", "lens"}
    assert list((used.folder / "lens" / "results" / "small" / "logs").rglob("*.log"))


def test_results_are_those_of_a_run_by_itself(used: Run, tmp_path: Path) -> None:
    alone = Run(tmp_path / "alone")
    alone.complete("F2", "--configfile", alone.configure(small_config()))
    assert (alone.folder / CSV).read_bytes() == (used.folder / "lens" / CSV).read_bytes()


def test_only_stale_steps_run_again(used: Run) -> None:
    assert planned(used) == set()
    path = used.folder / "parent.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["classlens"]["models"]["m"]["label"] = "renamed"
    assert planned(used, "--configfile", str(used.configure(config, "changed.yaml"))) == {"lens_figure_mean_evolution", "lines"}


def test_rules_can_be_left_out_and_used_twice(tmp_path: Path) -> None:
    text = PARENT.replace("use rule * from classlens as lens_*", "use rule * from classlens exclude table_identifiability, T1 as lens_*")
    second = """
module other:
    snakefile:
        SNAKEFILE
    config:
        {**config["classlens"], "run": "other"}


use rule * from other as other_*
"""
    listed = parent(tmp_path / "twice", text + second).complete("--list-rules")
    assert "lens_figure_mean_evolution" in listed
    assert "other_table_identifiability" in listed
    assert "lens_table_identifiability" not in listed


def test_errors_of_the_config_name_the_key(tmp_path: Path) -> None:
    run = parent(tmp_path / "wrong")
    run.configure({"classlens": small_config(protocoll="paper")}, "parent.yaml")
    done = run.snakemake("--dry-run")
    assert done.returncode == 1
    assert "protocoll" in done.stdout + done.stderr


def test_a_snakefile_without_its_files_says_what_is_missing(tmp_path: Path) -> None:
    """As if it came from a server: with its rules, and without its programs."""
    run = Run(tmp_path / "alone", tmp_path / "alone")
    shutil.copy2(REPOSITORY / "Snakefile", run.folder)
    shutil.copytree(REPOSITORY / "rules", run.folder / "rules")
    done = run.snakemake("--dry-run", "--configfile", run.configure(small_config()))
    assert done.returncode == 1
    assert "error: classlens needs all of its files" in done.stdout + done.stderr
