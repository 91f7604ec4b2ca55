"""The page of benchmarks: its section about other libraries."""

from typing import Any

from bench import libraries_section


def library(name: str, ratios: dict[str, float], logit: float, ranks: float) -> dict[str, Any]:
    return {"name": name, "version": "1.2", "ratios": ratios, "differences": {"logit": logit, "ranks": ranks}}


def test_a_library_has_a_row_with_empty_cells_for_what_it_cannot_record() -> None:
    libraries = [
        library("classlens", {"blocks": 1.1, "all": 1.314}, 0.0, 0.0),
        library("other", {"blocks": 1.2}, 2.34e-6, 0.0002),
    ]
    measured = {"torch": "2.15.0", "images": 32, "threads": 2, "seconds_per_1000": 53.46, "libraries": libraries}
    lines = libraries_section(measured)
    assert lines[:3] == ["", "## Other libraries", ""]
    assert "53.5 s per 1,000 images" in "\n".join(lines)
    assert lines[-4:] == [
        "| library | version | ratio, blocks | ratio, all | largest difference of a logit | share of ranks that differ |",
        "|---|---|---|---|---|---|",
        "| classlens | 1.2 | 1.10 | 1.31 | 0 | 0.00000 |",
        "| other | 1.2 | 1.20 |  | 2e-06 | 0.00020 |",
    ]
