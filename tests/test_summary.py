"""What a run says at its end, and what its targets are said to be."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import REPOSITORY, Run, small_config
from warm_python import interpreter

from classlens.config.catalogue import FIGURES, TABLES
from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.config.steps import SummaryStep, flags
from classlens.models.card import Card
from classlens.storage.parquet import write_table


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What is left of a run on 197 of 200 images: two of three figures, and times."""
    folder = tmp_path / "results" / "mine"
    for name in ("figures/one.png", "figures/two.png", "explorer/index.html", "report/front_page.html"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    manifest = folder / "data" / "photos" / "validation" / "manifest.parquet"
    write_table(manifest, pa.table({"image_id": range(197)}), {"images_left_out": "3"})
    Card("a", {}, 5, 2, 8, 2, (7, 7), 0, False, "mean", {}, "random", "0" * 64).write(folder / "models" / "pooled" / "model.json")
    write_table(folder / "predictions" / "pooled" / "photos" / "validation.parquet", pa.table({"correct": [True, True, False]}), {})
    for stage, seconds in (("extract", 90), ("model", 4)):
        path = folder / "benchmarks" / f"{stage}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"s\n{seconds}\n", encoding="utf-8")
    rows = "quantity,model,expected,ours,tolerance,status\nrate,pooled,1,2,0.5,fail\nrate,other,1,,0.5,not run\n"
    (folder / "reproduction.csv").write_text(rows, encoding="utf-8")
    return folder


def summary(results: Path, *tables: str | Path, **changes: Any) -> str:
    said = {"seconds": 75.0, "figures": [], "formats": ["png", "pdf"], "tables": [], "models": [], "without_masks": [], **changes}
    arguments = flags(SummaryStep(**said))
    command = [
        interpreter(),
        REPOSITORY / "workflow/scripts/summary.py",
        "--results",
        results,
        *tables,
    ]
    done = subprocess.run([str(part) for part in (*command, *arguments)], capture_output=True, text=True, check=True)
    return done.stdout.replace(f"{results}/", "")


def test_the_end_of_a_run_says_what_was_made_and_what_was_not(results: Path) -> None:
    said = summary(
        results,
        figures=["one", "three", "two"],
        models=["pooled"],
        without_masks=["F4 of photos (no masks)"],
        arguments="--configfile my.yaml",
    )
    assert said.strip().splitlines() == [
        "Accuracy: pooled 66.7 % of 3 images",
        "Done (1.2 min). What there is of the run mine:",
        "Figures (png, pdf; numbers as csv):",
        "  figures/one.png",
        "  figures/two.png",
        "Explorer: explorer/index.html",
        "Longest stages (sums over their jobs): extract 1.5 min, model 4 s",
        "Left out: 3 of the images of photos, validation (logs/manifest/photos/validation.log says why)",
        "Left out: [CLS] and no_cls of pooled (no [CLS])",
        "Left out: F4 of photos (no masks)",
        "Reproduction (reproduction.csv): 0 of 1 numbers within tolerance",
        "  rate of pooled: 2 instead of 1 (tolerance 0.5)",
        "Report: snakemake --report report.zip --configfile my.yaml",
    ]


def test_the_summary_begins_with_what_the_run_found(results: Path) -> None:
    evolution, rates = results / "figures" / "mean_evolution.csv", results / "tables" / "identifiability.csv"
    rates.parent.mkdir()
    names = "model,label,tokens,block,mean,low,high,images,twins_low,twins_high,seeds,chance"
    rows = [f"pooled,Mi\x1b[2Jne,image,{block},0.9,{low},0.95,197,0.5,0.6,5,0.55" for block, low in enumerate((0.55, 0.85))]
    evolution.write_text("\n".join([names, *rows]), encoding="utf-8")
    columns = [f"{name}{end}" for name in ("identifiability_rate", "accuracy") for end in ("", "_low", "_high")]
    rates.write_text(f"model,{','.join(columns)}\npooled,89.25,85.6,91.9,94.5,90.4,96.9\n", encoding="utf-8")
    said = "class identifiability of image tokens leaves the range of its 5 random twins at block 2 of 2 and reaches 0.900"
    rate = "the true class ranks first at 89.2 % (85.6 to 91.9 %) of its image tokens"
    lines = summary(results, "--evolution", evolution, "--rates", rates, models=["pooled"]).strip().splitlines()
    assert lines[0].startswith(rf"Mi\x1b[2Jne: {said}")
    assert rate in lines[0]
    assert lines[1].startswith("The run mine is complete")
    (first, *_) = summary(results, "--evolution", evolution, models=["pooled"]).strip().splitlines()
    assert said in first
    assert rate not in first


def test_a_run_that_made_no_findings_states_none(tmp_path: Path) -> None:
    """Tables of an earlier run may be stale: only those that a run makes, or finds up to date, are its findings."""
    run = Run(tmp_path)
    config = small_config(analyses=["identifiability"])
    configured = ("--configfile", run.configure(config))
    said = "class identifiability of image tokens"
    assert said in run.complete("F2", *configured)
    (run.folder / "results/small/figures/mean_evolution.svg").unlink()
    config["seed"] = 1
    assert said not in run.complete("results/small/models/m/model.json", "--configfile", run.configure(config))
    assert (run.folder / "results/small/figures/mean_evolution.csv").is_file()


def test_a_run_of_which_everything_is_there_is_complete(results: Path) -> None:
    assert "\nThe run mine is complete (1.2 min).\n" in summary(results, figures=["one", "two"])


def test_what_needs_masks_is_left_out_only_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "validation" / "cat").mkdir(parents=True)
    (tmp_path / "validation" / "cat" / "0.png").touch()
    photos = {"kind": "imagefolder", "root": str(tmp_path), "images_per_class": None}
    config = small_config(analyses=["identifiability", "context", "building"])
    small = Plan(resolve(config), "results/small")
    assert small.without_masks() == {}
    mine = Plan(resolve({**config, "datasets": {"photos": photos}}), "results/small")
    assert {name: [item.letter for item in items] for name, items in mine.without_masks().items()} == {"photos": ["F4", "T4"]}


def test_a_failed_run_says_where_to_look(tmp_path: Path) -> None:
    run = Run(tmp_path)
    config = small_config()
    config["models"]["m"]["arch"] = "no_such_model"
    done = run.snakemake("results/small/models/m/model.json", "--configfile", run.configure(config))
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert said.count("The run has stopped. Above, `Error in rule` names each failed job and its log") == 1
    assert "Error in rule model:" in said
    assert "results/small/logs/model/m.log" in said
    (reason,) = [line for line in said.splitlines() if line.startswith("What went wrong: ")]
    assert "no_such_model" in reason


def test_every_target_is_listed_with_what_it_makes(tmp_path: Path) -> None:
    run = Run(tmp_path)
    listed = run.snakemake("--list", "--configfile", run.configure(small_config())).stdout
    told = dict(re.findall(r"^(\w+) \((.+)\)$", listed, re.MULTILINE))
    assert len(told) == listed.count("\n")
    for kind, items in (("figure", FIGURES), ("table", TABLES)):
        for item in items:
            assert told[f"{kind}_{item.name}"] == f"{item.letter}: {item.title}"
            assert item.title in told[item.letter]
