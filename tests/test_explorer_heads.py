"""The explorer's tab of heads and MLPs in a real browser: what it says against the tables, by mouse, keyboard and touch."""

import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import Run
from explorer_page import ExplorerPage, cells_of, number
from playwright.sync_api import Browser, Locator, expect

IMAGE, DEPTH, HEADS = 20, 12, 4
OPEN = f"image={IMAGE}&tab=attribution"
PREFIX = {"cls": 1, "pooled": 0}
STEP = 0.00051  # three decimals


@pytest.fixture(scope="module")
def results(demo: Run) -> Path:
    return demo.folder / "results" / "demo"


def terms(results: Path, model: str, place: int) -> pl.DataFrame:
    """Rows of the true class (0) or of its rival (1)."""
    rows = pl.read_parquet(results / f"attribution/{model}/shapes_tokens.parquet").cast({"component": pl.String}).filter(image_id=IMAGE)
    return rows.filter(class_index=rows["class_index"].unique(maintain_order=True)[place])


def tokens_of(results: Path, model: str, place: int, name: str) -> tuple[np.ndarray, float]:
    """Return what a head with a name in the address writes from each token, and the largest error of a number on the page."""
    block, head = (int(part) - 1 for part in name.split("."))
    (values,) = terms(results, model, place).filter(component="head", block=block, head=head)["tokens"].to_list()
    return np.array(values), float(np.abs(values).max()) / 62 + STEP


def component(page: ExplorerPage, name: str, view: int = 0) -> Locator:
    return page.view(view).locator(f"[data-component='{name}']")


def said(cell: Locator) -> float:
    """The term in the label of a cell."""
    label = str(cell.get_attribute("aria-label"))
    return number(re.findall(r"writes ([+−]?[\d.]+)", label)[0])


def shown_tokens(page: ExplorerPage, view: int = 0) -> list[float]:
    """Return the numbers in the tokens of a view: what the chosen head writes from them."""
    labels = [str(cell.get_attribute("aria-label")) for cell in page.view(view).locator("[data-token]").all()]
    return [number(re.findall(r"writes ([+−]?[\d.]+) from here$", label)[0]) for label in labels]


@pytest.mark.parametrize("model", PREFIX)
def test_heads_and_mlps_say_what_the_table_says(browser: Browser, results: Path, model: str) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"{OPEN}&model={model}")
        both = [terms(results, model, place) for place in (0, 1)]
        inside = pl.concat(both).filter(pl.col("block") >= 0)["logit"].abs().max()
        expect(page.page.locator(".panel .scale")).to_have_text(re.compile(rf"for \+{float(f'{inside:.3g}'):g}$"))
        for place, rows in enumerate(both):
            page.control("combobox", "Logit of").select_option(index=place)
            expect(page.page.locator("tr.own .number")).to_have_count(2)
            for component_kind, block, head, logit in (
                rows.filter(pl.col("block") >= 0).select("component", "block", "head", "logit").rows()
            ):
                name = f"{block + 1}.{'mlp' if component_kind == 'mlp' else head + 1}"
                assert said(component(page, name)) == pytest.approx(logit, abs=STEP)
            sums = rows.group_by("component", maintain_order=True).agg(pl.col("logit").sum())["logit"].to_list()
            table = cells_of(page.page.locator("[role=tabpanel] tbody tr"))
            assert [number(line[1 + place]) for line in table] == pytest.approx([*sums, sum(sums)], abs=2 * STEP)


@pytest.mark.parametrize("model", PREFIX)
def test_a_head_by_mouse(browser: Browser, results: Path, model: str) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"{OPEN}&model={model}&block=3")
        before = page.cells()
        component(page, "9.4").hover()
        expect(page.page.locator(".said")).to_contain_text("Head 4 of block 9 writes ")
        page.page.locator("h1").hover()
        expect(page.page.locator(".said")).to_contain_text("Point at a head")
        component(page, "9.4").click()
        expect(page.page.locator(".patches .legend")).to_contain_text("what head 4 of block 9 writes from each token into the logit of ")
        expect(page.page).to_have_url(re.compile("component=9.4"))
        values, error = tokens_of(results, model, 0, "9.4")
        assert shown_tokens(page) == pytest.approx(values, abs=error)
        patches = page.page.locator(".photograph [data-token]")
        colours = patches.evaluate_all("cells => cells.map(cell => cell.style.backgroundColor.match(/[\\d.]+/g).map(Number))")
        strongest = int(np.abs(values[PREFIX[model] :]).argmax())
        is_for = values[PREFIX[model] :][strongest] > 0
        assert colours[strongest] == pytest.approx([*((176, 0, 94) if is_for else (0, 153, 198)), 0.85], abs=0.01)
        term = terms(results, model, 0).filter(component="head", block=8, head=3)["logit"][0]
        written = page.page.locator(".said").inner_text()
        parts = [number(value) for value in re.findall(r"([+−]?\d\.\d{3}) from", written)]
        assert sum(parts) == pytest.approx(term, abs=2 * STEP)
        assert len(parts) == 1 + PREFIX[model]
        component(page, "9.4").click()
        expect(page.page.locator(".patches .legend")).to_contain_text("identifiability")
        assert page.cells() == before
        page.page.go_back()
        expect(component(page, "9.4")).to_have_attribute("aria-selected", "true")
        assert shown_tokens(page) == pytest.approx(values, abs=error)


def test_a_head_by_keyboard(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"{OPEN}&block=3")
        page.control("combobox", "Logit of").focus()
        page.page.keyboard.press("Tab")
        for key, name in {
            "ArrowDown": "2.1",
            "ArrowRight": "2.2",
            "End": "2.mlp",
            "ArrowLeft": "2.4",
            "Home": "2.1",
            "ArrowUp": "1.1",
        }.items():
            page.page.keyboard.press(key)
            expect(component(page, name)).to_be_focused()
        page.page.keyboard.press("ArrowRight")
        for key, is_chosen in (("Enter", True), ("Escape", False), (" ", True), (" ", False), ("Enter", True)):
            page.page.keyboard.press(key)
            expect(component(page, "1.2")).to_have_attribute("aria-selected", str(is_chosen).lower())
            expect(component(page, "1.2")).to_be_focused()
        page.expect_heading("block 3 of 12")  # arrow keys move in the map alone
        page.page.locator("[data-token='9']").focus()
        page.page.keyboard.press("ArrowRight")
        expect(page.page.locator("[data-token='10']")).to_be_focused()
        values, error = tokens_of(results, "cls", 0, "1.2")
        assert shown_tokens(page) == pytest.approx(values, abs=error)
        page.page.keyboard.press("Escape")
        expect(page.page.locator(".patches .legend")).to_contain_text("identifiability")


def test_a_head_by_touch(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer", width=390, has_touch=True) as page:
        page.open(f"image={IMAGE}")
        page.control("tab", "Heads and MLPs").tap()
        component(page, "9.4").tap()
        expect(page.page.locator(".said")).to_contain_text("from the patches")
        values, error = tokens_of(results, "cls", 0, "9.4")
        assert shown_tokens(page) == pytest.approx(values, abs=error)
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        expect(page.page.locator(".head-picture canvas")).to_be_visible()  # the patches themselves are above the screen
        component(page, "9.4").tap()
        expect(page.page.locator(".head-picture canvas")).to_have_count(0)
        expect(page.page.locator(".patches .legend")).to_contain_text("identifiability")


def test_an_mlp_has_a_term_and_no_tokens(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(OPEN)
        before = page.cells()
        component(page, "12.mlp").click()
        rows = terms(results, "cls", 0)
        term = rows.filter(component="mlp", block=11)["logit"][0]
        share = 100 * term / rows["logit"].sum()
        expect(page.page.locator(".said")).to_contain_text(f", {share:.1f} % of it. An MLP reads no other token.".replace("-", "−"))
        assert page.cells() == before


def test_two_classes_and_two_models(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"{OPEN}&component=9.4")
        page.control("combobox", "Beside it").select_option("cls")
        expect(page.page.locator(".said")).to_have_count(2)
        for view in (0, 1):
            values, error = tokens_of(results, "cls", view, "9.4")
            assert shown_tokens(page, view) == pytest.approx(values, abs=error)
        component(page, "2.1", view=1).click()
        expect(component(page, "9.4")).to_have_attribute("aria-selected", "true")
        expect(component(page, "2.1", view=1)).to_have_attribute("aria-selected", "true")
        page.control("combobox", "Beside it").select_option("cls_random")
        expect(page.view(1).get_by_role("tab")).to_have_text(["Top classes", "Numbers"])
        expect(page.view(1).locator(".absent")).to_contain_text("terms of heads and MLPs")


def test_a_condition_ends_with_the_choice_of_a_head(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"{OPEN}&component=9.4&condition=no_cls")
        expect(page.page.locator(".patches .legend")).to_contain_text("identifiability")
        component(page, "9.3").click()
        expect(page.control("combobox", "Condition")).to_have_value("none")
        expect(page.page.locator(".patches .legend")).to_contain_text("head 3 of block 9")


def test_a_head_that_does_not_exist(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        for name in ("13.1", "1.9", "mlp", "0.0"):
            page.open(f"{OPEN}&component={name}")
            expect(page.page.locator(".said")).to_contain_text("Point at a head")


def test_terms_are_loaded_with_their_tab(browser: Browser, results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "explorer", tmp_path / "explorer")
    (tmp_path / "explorer/cls/attribution/00003.js").unlink()
    with ExplorerPage(browser, tmp_path / "explorer") as page:
        page.open(f"image={IMAGE}&component=9.4")
        assert not [url for url in page.asked if "/attribution/" in url]
        for tab in ("Heads and MLPs", "Top classes", "Heads and MLPs"):
            page.control("tab", tab).click()
            expect(page.control("tab", tab)).to_have_attribute("aria-selected", "true")
        assert [url.rsplit("/", 2)[1:] for url in page.asked if "/attribution/" in url] == [["attribution", f"{IMAGE:05d}.js"]]
    page = ExplorerPage(browser, tmp_path / "explorer")
    page.open("image=3&tab=attribution")
    expect(page.page.locator("#status")).to_contain_text("cls/attribution/00003.js is missing or damaged")


def test_a_view_with_a_head_is_saved(browser: Browser, results: Path, tmp_path: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"{OPEN}&component=9.4")
        page.page.get_by_text("View", exact=True).click()
        with page.page.expect_download() as download:
            page.page.get_by_role("button", name="Save as SVG").click()
        download.value.save_as(tmp_path / "view.svg")
        drawing = (tmp_path / "view.svg").read_text(encoding="utf-8")
        assert "Colour: what head 4 of block 9 writes from each token into the logit of " in drawing
        assert 'style="filter: grayscale(1)"' in drawing
