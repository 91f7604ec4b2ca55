"""What a run will take, said before it starts."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY, Run
from warm_python import interpreter

from classlens.analyses.segmentation import trivial_maps
from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.estimate import stages
from classlens.estimate.calibration import Calibration
from classlens.estimate.stages import Loading, Stage
from classlens.models.card import Card

DEMO = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
LOADING = Loading(torch=4.0, tables=1.0, figures=2.0)
CARD = Card("vit", {}, 10, 12, 64, 4, (7, 7), 1, True, "token", {"resize": [112, 112], "crop": None}, "random", "0")
COST = Calibration(
    forward=0.01, extraction=0.02, projection=0.005, memory_keys=1000, projections=3000, class_logits=2000, weights=2_000_000, card=CARD
)


def program(config: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = REPOSITORY / "workflow" / "scripts" / "estimate.py"
    command = [interpreter(), script, "--configfile", config, "--snakefile", REPOSITORY / "Snakefile", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=folder)


def disk(output: str) -> dict[str, float]:
    """Bytes of each stage in a printed estimate."""
    rows = re.findall(r"^(\S.*?) +\d+ +\d+ +([\d.]+) +[\d.]+ +[\d.]+$", output, re.MULTILINE)
    return {name: 1e6 * float(size) for name, size in rows}


def test_disk_of_the_demo_is_that_of_the_demo(demo: Run, tmp_path: Path) -> None:
    done = program(demo.checkout / "config" / "config.yaml", tmp_path)
    assert done.returncode == 0, done.stderr
    results = demo.folder / "results" / "demo"
    files = [path for path in results.rglob("*") if path.is_file() and path.relative_to(results).parts[0] not in ("logs", "benchmarks")]
    actual = sum(path.stat().st_size for path in files)
    assert sum(disk(done.stdout).values()) == pytest.approx(actual, rel=0.1)
    assert "shapes: 200 of validation, 100 of test, 400 of train images; 2 models: cls, pooled; 10 random twins" in done.stdout
    assert "cls is trained for 24 epochs of 400 images, 312 steps\n" in done.stdout
    assert re.search(r"^94 jobs, about \d+\.\d min on \d+ cores", done.stdout, re.MULTILINE)


def test_what_is_done_is_not_counted_again(demo: Run) -> None:
    done = program(demo.checkout / "config" / "config.yaml", demo.folder)
    assert (done.returncode, done.stdout) == (0, "0 jobs: everything is done\n"), done.stderr


def test_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps({**DEMO, "sead": 1}))
    done = program(tmp_path / "config.yaml", tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: config key `sead` is not known: did you mean `seed`?\n")
    done = program(tmp_path / "none.yaml", tmp_path)
    assert (done.returncode, done.stderr) == (1, f"error: config {tmp_path}/none.yaml: No such file or directory\n")


def estimated(**changes: Any) -> list[Stage]:
    plan = Plan(resolve({**DEMO, **changes}), "results/demo")
    counts = {"extract": 2, "extract_with_memory_keys": 2, "project": 2, "deletion": 2, "probes": 2, "figure_mean_evolution": 1}
    counts |= {"twins_cls": 1, "twins_pooled": 1}
    return stages.stages(plan, {"cls": COST, "pooled": COST}, counts, counts)


def stage(found: list[Stage], rule: str) -> Stage:
    return next(item for item in found if item.rule == rule)


def test_times_and_sizes_follow_from_the_calibration() -> None:
    found = estimated()
    states = 50 * (3 * 12 * (64 * 2 + 4) + 6)  # values, and four bytes for the exponent of each row
    assert stage(found, "extract_with_memory_keys").bytes == pytest.approx(2 * 200 * (states + 1000))
    assert stage(found, "extract").bytes == pytest.approx(2 * 100 * states)
    assert stage(found, "extract").seconds == pytest.approx(2 * 100 * 0.02)
    assert stage(found, "project").bytes == pytest.approx(2 * 200 * 5000)
    twins = stage(found, "twins_cls")  # five, with the projections of one site of four, and memories compared, which needs two more
    assert twins.bytes == pytest.approx(5 * 2_000_000 + 200 / 4 * (5 * 3000 + 2000))
    each = 0.01 + 3 / 4 * 0.005
    assert twins.seconds == pytest.approx(200 * (0.02 - 0.01 + 5 * each) + 5 * stages.SECONDS_PER_TWIN)
    assert stage(found, "deletion").seconds == pytest.approx(2 * 200 * 0.01 * 0.5 * (11 * 34 + 2))  # 34 orders at each of 11 steps


def test_the_explorer_takes_disk_for_the_images_that_it_shows() -> None:
    counts = {"explorer_model": 4}

    def of_limit(images: int | None) -> Stage:
        plan = Plan(resolve({**DEMO, "explorer": {"images": images}}), "results/demo")
        return stage(stages.stages(plan, {"cls": COST, "pooled": COST}, counts, counts), "explorer_model")

    every, some = of_limit(None), of_limit(50)
    assert some.bytes == pytest.approx(every.bytes / 4)
    reading = stages.READING_SECONDS / (stages.READING_SECONDS + stages.PACKING_SECONDS)  # of all images
    assert some.seconds == pytest.approx(every.seconds * (reading + (1 - reading) / 4))
    assert of_limit(200) == of_limit(300) == every


def test_terms_by_token_take_time_and_disk_for_the_images_that_the_explorer_shows() -> None:
    counts = {"attribution_tokens": 2, "explorer_model": 4}

    def of_plan(**changes: Any) -> list[Stage]:
        return stages.stages(Plan(resolve({**DEMO, **changes}), "results/demo"), {"cls": COST, "pooled": COST}, counts, counts)

    found = of_plan(explorer={"images": 50})
    terms = 2 * 50 * 2 * 12 * 4 * 50  # models, images, classes, blocks, heads and tokens
    assert stage(found, "attribution_tokens").bytes == 4 * terms
    assert stage(found, "attribution_tokens").seconds == pytest.approx(2 * 50 * 0.01 * stages.FORWARDS["attribution by token"])
    without = of_plan(explorer={"images": 50}, analyses=["identifiability", "memories"])
    assert stage(without, "attribution_tokens").bytes == 0
    assert stage(found, "explorer_model").bytes - stage(without, "explorer_model").bytes == pytest.approx(stages.TERM_BYTES * terms)


def test_stages_without_a_model_take_time_too() -> None:
    plan = Plan(resolve(DEMO), "results/demo")
    counts = {"shapes": 1, "manifest": 3, "segmentation": 2, "train": 2}
    found = stages.stages(plan, {"cls": COST, "pooled": COST}, counts, counts)
    assert stage(found, "shapes").seconds == pytest.approx(700 * stages.DRAWING_SECONDS)
    assert stage(found, "manifest").seconds == pytest.approx(700 * stages.CHECKING_SECONDS)
    maps = 9 + len(trivial_maps((7, 7)))  # a map of each method, and the trivial ones
    assert stage(found, "segmentation").seconds == pytest.approx(2 * 200 * maps * 112 * 112 * stages.SCORING_SECONDS)
    kept = 0.5  # the share of the tokens that the demo's models see in training
    assert stage(found, "train").seconds == pytest.approx(2 * 24 * 400 * kept * 0.01 * stages.FORWARDS["training step"])


def test_hidden_states_that_are_not_kept_need_the_disk_for_a_while() -> None:
    kept, dropped = (stages.totals(estimated(hidden_states={"keep": keep}), LOADING, 2) for keep in (True, False))
    assert kept.peak == kept.bytes
    assert dropped.bytes < 0.5 * kept.bytes
    assert dropped.peak == pytest.approx(kept.peak)


def test_jobs_load_their_libraries_two_at_a_time() -> None:
    found = [Stage("extract", jobs=2, all_jobs=4, seconds=10, bytes=8), Stage("figure_x", jobs=1, all_jobs=1)]
    total = stages.totals(found, LOADING, 2)
    assert total.jobs == 3
    assert total.bytes == 4
    assert total.seconds == pytest.approx(5 + 2 * 4 / 2 + (2 + stages.FIXED["figure"]) / 2 + 3 * stages.PER_JOB)
    assert stages.totals(found, LOADING, 1).seconds > total.seconds


def test_a_disk_that_is_too_small_is_told_with_the_numbers() -> None:
    total = stages.totals(estimated(), LOADING, 2)
    stages.check_disk(total, free=2 * total.peak)
    with pytest.raises(stages.InputError, match=r"needs up to 0\.\d\d GB of disk and 0\.01 GB are free"):
        stages.check_disk(total, free=1e7)
