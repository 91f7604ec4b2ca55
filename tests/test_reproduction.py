"""Comparing a run with the numbers that it should give."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from conftest import REPOSITORY, Run

from classlens.config import expected
from classlens.errors import InputError
from classlens.report import reproduction

EXPECTED = REPOSITORY / "config" / "expected.yaml"
GROUP: dict[str, Any] = {
    "what": "rate, %",
    "table": "identifiability",
    "column": "rate",
    "tolerance": 0.5,
    "source": "somewhere",
    "rows": [{"model": "a", "order": "x", "value": 10.0}],
}
TABLE = pl.DataFrame({"model": ["a", "a"], "order": ["x", "y"], "rate": [10.4, 3.0]})


def compared(table: pl.DataFrame | None = TABLE, **changes: Any) -> dict[str, Any]:
    tables = {} if table is None else {"identifiability": table}
    (row,) = reproduction.compare([expected.Group.model_validate({**GROUP, **changes})], tables).iter_rows(named=True)
    return row


def test_within_tolerance() -> None:
    row = compared()
    assert (row["quantity"], row["model"], row["ours"], row["status"]) == ("rate, % (x)", "a", 10.4, "pass")
    assert row["difference"] == pytest.approx(0.4)


def test_a_difference_of_just_the_tolerance() -> None:
    table = pl.DataFrame({"model": ["a"], "order": ["x"], "rate": [94.7]})
    assert compared(table, tolerance=0.2, rows=[{"model": "a", "order": "x", "value": 94.5}])["status"] == "pass"


def test_beyond_tolerance() -> None:
    assert compared(tolerance=0.3)["status"] == "fail"
    assert compared(rows=[{"model": "a", "order": "x", "value": 11.0}])["status"] == "fail"


def test_not_run() -> None:
    assert compared(rows=[{"model": "b", "value": 10.0}])["status"] == "not run"
    row = compared(table=None)
    assert (row["ours"], row["difference"], row["status"]) == (None, None, "not run")


def test_a_column_that_no_table_has() -> None:
    with pytest.raises(InputError, match="has no column 'rte'"):
        compared(column="rte")
    with pytest.raises(InputError, match="has no column 'block'"):
        compared(rows=[{"model": "a", "block": "1", "value": 1.0}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerence": 1}, "`run.0.tolerence` is not known: did you mean `tolerance`?"),
        ({"tolerance": -1}, "`run.0.tolerance`"),
        ({"table": "identifyability"}, "'identifyability' is not a table; choose one of"),
        ({"rows": [{"model": "a"}]}, "`run.0.rows.0.value` is missing"),
    ],
)
def test_a_broken_file_is_told_in_a_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "expected.yaml").write_text(yaml.safe_dump({"run": [{**GROUP, **changes}]}))
    with pytest.raises(InputError) as error:
        expected.of_run(tmp_path / "expected.yaml", "run")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_published_number_is_expected() -> None:
    rows = [row.value for group in expected.of_run(EXPECTED, "paper") for row in group.rows]
    assert len(rows) == 3 * 7 + 2 * 2 + 2 + 2 * 2 + 2 * 3 + 1
    models = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text())["models"]
    named = {row.model.removesuffix("_random") for group in expected.of_run(EXPECTED, "paper") for row in group.rows}
    assert named == set(models)


def test_nothing_is_expected_of_other_runs() -> None:
    assert expected.of_run(EXPECTED, "mine") == []


def test_the_demo_gives_what_it_should(demo: Run) -> None:
    frame = pl.read_csv(demo.folder / "results" / "demo" / "reproduction.csv")
    assert len(frame) == sum(len(group.rows) for group in expected.of_run(EXPECTED, "demo"))
    assert frame.filter(pl.col("status") != "pass").to_dicts() == []
    count = f"{len(frame)} of {len(frame)} numbers within tolerance"
    assert count in (demo.folder / "log.txt").read_text(encoding="utf-8")


def test_the_page_shows_every_number() -> None:
    text = (REPOSITORY / "docs" / "reproduction.md").read_text(encoding="utf-8")
    for run in ("paper", "demo"):
        for group in expected.of_run(EXPECTED, run):
            for row in group.rows:
                assert f"`{row.model}` | {row.value:g} |" in text, "run `make reproduction`"


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "results"
    page.write_text("before\n<!-- reproduction: written by `make reproduction` -->\nold\n<!-- end of reproduction -->\nafter\n")
    (results / "demo").mkdir(parents=True)
    measured = reproduction.compare(expected.of_run(EXPECTED, "demo"), {})
    measured.with_columns(ours=1.0, difference=0.5, status=pl.lit("pass")).write_csv(results / "demo" / "reproduction.csv")
    program = REPOSITORY / "workflow" / "scripts" / "reproduction_page.py"
    command = [sys.executable, program, "--expected", EXPECTED, "--results", results, "--page", page]
    subprocess.run(command, check=True, capture_output=True)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert f"### Run `demo`: {len(measured)} pass" in text
    assert "### Run `paper`: 38 not run" in text
