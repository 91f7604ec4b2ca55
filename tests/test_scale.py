"""The programs that measure and estimate runs of many jobs and images."""

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

import scale
import scale_paper
from classlens.estimate.stages import Loading, Stage


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name, colour in (("cats", "orange"), ("dogs", "brown")):
        home = tmp_path / "photographs" / "validation" / name
        home.mkdir(parents=True)
        Image.linear_gradient("L").convert("RGB").save(home / "gradient.png")
        Image.new("RGB", (60, 40), colour).save(home / "plain.png")
    return tmp_path / "photographs"


def test_variants_are_square_and_the_same_each_time(photographs: Path) -> None:
    paths = sorted((photographs / "validation" / "cats").iterdir())
    first, again = ([image.tobytes() for image in scale.variants(paths, 7, 16)] for _ in range(2))
    assert first == again
    assert len(set(first[::2])) == 4  # crops of the gradient differ
    assert [image.size for image in scale.variants(paths, 7, 16)] == [(16, 16)] * 7


def test_a_run_of_a_few_photographs(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scale.run_of_many_images(tmp_path / "run", photographs, 12, ["identifiability"])
    printed = capsys.readouterr().out
    assert "of the largest process" in printed
    assert "extract" in printed
    assert "hidden_states" in printed
    manifest = pl.read_parquet(tmp_path / "run/results/scale/data/d/validation/manifest.parquet")
    assert manifest["class_name"].value_counts(sort=True)["count"].to_list() == [6, 6]


def test_stages_add_up_the_jobs_of_a_rule(tmp_path: Path) -> None:
    for name, row in {"extract/m/0.tsv": "2.5\t100\t3", "extract/m/1.tsv": "1.5\t300\t-", "model/m.tsv": "1\t50\t1"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"s\tmax_rss\tcpu_time\n{row}\n")
    assert scale.stages(tmp_path).rows() == [("extract", 2, 4.0, 3.0, 300.0), ("model", 1, 1.0, 1.0, 50.0)]


def test_planning_stops_with_what_snakemake_printed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: none at all\n")
    with pytest.raises(SystemExit, match="`seed`"):
        scale.snakemake(tmp_path, "--dry-run")


def test_throughputs_have_no_tags(tmp_path: Path) -> None:
    table = tmp_path / "throughputs.csv"
    table.write_text("model,infer_samples_per_sec\nvit_base_patch16_224.augreg_in1k,1571.5\nvit_tiny,9\n")
    assert scale_paper.throughputs(table) == {"vit_base_patch16_224": 1571.5, "vit_tiny": 9.0}


def test_hours_count_disk_and_loading_and_32_jobs_at_most() -> None:
    found = [Stage("project", 64, 64, seconds=3600, bytes=1e9), Stage("manifest", 1, 1, seconds=10)]
    project, manifest = scale_paper.hours(found, 5e9, Loading(torch=1, tables=2, figures=3))
    assert project.one == pytest.approx((3600 + 6 + 64) / 3600)  # projection also reads the hidden states
    assert project.many == pytest.approx(project.one / scale_paper.SLURM_JOBS)
    assert manifest.one == manifest.many == pytest.approx(12 / 3600)
    whole = scale_paper.total("sum", [project, manifest])
    assert (whole.jobs, whole.gigabytes, whole.one) == (65, 1, pytest.approx(project.one + manifest.one))
