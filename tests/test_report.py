"""Snakemake's report of a run: what it holds, what it says, and how it looks in a browser without any network."""

import json
import re
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Run, small_config
from markupsafe import Markup
from PIL import Image
from playwright.sync_api import Browser, FloatRect, Locator, Page

from classlens.config.catalogue import CATEGORIES, FIGURES, TABLES
from classlens.models.card import Card
from classlens.presentation import texts
from classlens.report import captions, front_page, pages, run_facts
from classlens.report.captions import Caption


class Report:
    """A report that has been made and unpacked.

    Args:
        run: the run that it is of, finished.
        folder: where to put it.
    """

    def __init__(self, run: Run, folder: Path, *arguments: str | Path):
        archive = folder / "report.zip"
        self.log = run.complete("--report", archive, *arguments)
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        self.page = folder / "report" / "report.html"
        self.text = self.page.read_text(encoding="utf-8")
        self.front, self.results, self.categories = (self._value(name) for name in ("workflow_desc", "results", "categories"))

    def _value(self, name: str) -> Any:
        found = re.search(rf"^    var {name} = (.*);$", self.text, re.MULTILINE)
        assert found
        return json.loads(found[1])

    def html(self, name: str) -> str:
        """The page of a result, such as `figures/mean_evolution`."""
        (data,) = [self.results[path]["data_uri"] for path in self.results if path.endswith(f"/report/{name}.html")]
        return (self.page.parent / data).read_text(encoding="utf-8")

    def said(self, name: str) -> str:
        """What a reader sees of a result's page beside the figure, in one line."""
        return text_of(self.html(name))

    @property
    def pages(self) -> list[str]:
        """Names of all results."""
        return [path.partition("/report/")[2].removesuffix(".html") for path in self.results]

    def names(self, category: str) -> list[str]:
        """What is listed in a category, in the order of a list: F2 before F10."""
        names = [self.results[path]["labels"]["result"] for paths in self.categories[category].values() for path in paths]
        return sorted(names, key=lambda name: name.replace("\N{FIGURE SPACE}", " "))


def text_of(html: str) -> str:
    """The text of a page, in one line."""
    return " ".join(unescape(re.sub("<style.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)).split())


@pytest.fixture(scope="module")
def demos(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return Report(demo, tmp_path_factory.mktemp("report"))


EVIL = "</script><script>document.title = 'no'</script> {x} <b>`x`_"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a run without masks, with two analyses and in protocol `paper`, whose names would like to be more than names."""
    home = tmp_path_factory.mktemp("small")
    for name in ("<b>cat", "dog & 'co'"):
        folder = home / "images" / "validation" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (32, 32), (9, len(name), 99)).save(folder / "0.png")
    data = {"kind": "imagefolder", "root": str(home / "images"), "images_per_class": None}
    config = small_config(analyses=["building", "memories"], datasets={"d": data}, figures={"formats": ["png"]})
    config["models"]["m"] |= {"label": EVIL, "random_twin": False}
    config["protocol"] = "paper"
    run = Run(home / "work")
    arguments = ("report_pages", "--configfile", run.configure(config))
    run.complete(*arguments)
    return Report(run, home, *arguments)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may write nothing to the console but the report's own remark on its style sheets, and ask for files only."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    context.close()
    assert [text for text in said if "cdn.tailwindcss.com should not be used in production" not in text] == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_figures_and_tables_are_in_the_order_of_the_paper(demos: Report) -> None:
    assert sorted(demos.categories) == list(dict.fromkeys(CATEGORIES.values()))
    letters = [name[:3].replace("\N{FIGURE SPACE}", "") for category in sorted(demos.categories) for name in demos.names(category)]
    assert set(letters) == {item.letter for item in FIGURES + TABLES} | {"Exp"}
    assert list(dict.fromkeys(letter for letter in letters if letter[0] == "F")) == list(dict.fromkeys(item.letter for item in FIGURES))
    assert len(demos.results) == sum(len(item.files(["cls", "pooled"])) for item in FIGURES + TABLES) + 1


def test_every_caption_says_what_to_see_and_how_it_was_made(demos: Report, demo: Run) -> None:
    for name in demos.pages:
        text = demos.said(name)
        assert len(text) > 200, name
        assert "{{" not in text and "{%" not in text, name
        assert "system-message" not in demos.html(name), name
        assert name == "reproduction" or re.search(r"n : [1-9][0-9]* (to [1-9][0-9]* )?(image|classes)", text), name
        assert name == "reproduction" or "Protocol : corrected, seed 0" in text
        assert "nan" not in text.lower().split()
    compared = pl.read_csv(demo.folder / "results/demo/figures/class_vs_context_cls.csv")["images"].unique().to_list()
    assert len(compared) == 1  # those that have both kinds of tokens
    assert f"n : {compared[0]} images with 49 image tokens and [CLS] each (ViT, [CLS])." in demos.said("figures/class_vs_context_cls")
    assert "n : 10 classes (ViT, [CLS]; ViT, pooled)." in demos.said("figures/class_value_agreement")
    assert "n : 1 image with 49 image tokens (ViT, pooled)." in demos.said("figures/relevance_heads_pooled")


def test_numbers_have_three_significant_digits_and_a_minus_sign(demos: Report) -> None:
    for name in (name for name in demos.pages if name.startswith("tables/")):
        cells = re.findall(r"<td class=number>([^<]*)", demos.html(name))
        assert cells, name
        measured = [number for cell in cells for number in re.findall(r"[-\N{MINUS SIGN}]?\d+\.\d+", cell)]
        for number in measured:
            assert number[0] != "-"
            digits = number.strip("\N{MINUS SIGN}").lstrip("0.").replace(".", "")
            assert len(digits) == 3, (name, number)


def test_captions_say_how_tests_are_corrected_in_each_protocol(demos: Report, small: Report) -> None:
    figures = {f"figures/{name}" for name in ("identifiability_evolution", "class_value_agreement", "agreement_difference")}
    assert {name for name in demos.pages if "Holm's method" in demos.said(name)} == figures | {
        f"tables/{name}" for name in ("context_difference", "deletion_difference", "tuned_lens")
    }
    published = {name for name in small.pages if "not corrected for the number of blocks" in small.said(name)}
    assert published == {"figures/class_value_agreement", "figures/agreement_difference"}
    assert not any("Holm" in small.said(name) for name in small.pages)


def test_captions_of_tables_name_expected_numbers_beside_ours(demos: Report, demo: Run) -> None:
    text = demos.said("tables/identifiability")
    rows = pl.read_csv(demo.folder / "results/demo/reproduction.csv").filter(table="identifiability")
    assert len(rows) == 6
    for row in rows.iter_rows(named=True):
        assert f": {row['expected']:g}, here {texts.number(row['ours'])}" in text
    assert "Expected (the demo, as delivered):" in text
    assert not any("published number" in demos.said(name) for name in demos.pages), "the demo has no published numbers"


def test_the_front_page_opens_with_what_the_run_found(demos: Report, demo: Run) -> None:
    results = demo.folder / "results/demo"
    text = text_of(demos.front)
    rows = pl.read_csv(results / "figures/mean_evolution.csv").filter(model="pooled", tokens="image").sort("block")
    last = {name: texts.number(rows[name][-1]) for name in ("mean", "low", "high", "chance")}
    reached = f"reaches {last['mean']} (95 % interval {last['low']} to {last['high']}; chance {last['chance']}) in block 12"
    findings = text.partition("Where class information arises")[2].partition("Models")[0].replace("\N{NO-BREAK SPACE}", " ")
    assert "ViT, pooled : class identifiability of image tokens" in findings
    assert reached in findings
    (rates,) = pl.read_csv(results / "tables/identifiability.csv").filter(model="pooled").iter_rows(named=True)
    assert f"the output is right for {texts.per_cent(rates, 'accuracy')} of the images (n = 200 images)." in findings
    assert "F2 mean_evolution." in findings and "Shading is the 95 % interval" in findings
    headings = re.findall("<h2>(.*?)</h2>", demos.front)
    assert headings[:3] == ["Where class information arises", "Models", "Images"]
    assert headings[-2:] == ["Settings, versions and hashes", "Rules"]


def test_the_front_page_sums_up_the_run(demos: Report, demo: Run) -> None:
    for name in ("cls", "cls_random", "pooled", "pooled_random"):  # of the random twins, the first
        card = demo.folder / "results/demo/models" / name / "model.json"
        model = json.loads(card.read_text(encoding="utf-8"))
        assert model["sha256"] in demos.front
        assert model["arch"] in demos.front
    assert "<td>shapes</td><td>validation</td><td>200</td><td>0</td>" in demos.front
    for fact in (
        "ViT, [CLS] (random)",
        "Protocol corrected, seed 0",
        "the demo, as delivered: 12 within tolerance",
        "<td>ViT, [CLS]; ViT, [CLS] (random); ViT, pooled; ViT, pooled (random)</td>"
        "<td>shortest side to 124, centre crop 112×112, bicubic; mean 0.5, 0.5, 0.5; std 0.5, 0.5, 0.5</td>",
        "<li>[CLS] and no_cls of ViT, pooled; ViT, pooled (random) (no [CLS])</li>",
        "<td>extract</td><td>4</td>",
        "torch 2",
        "snakemake 9",
        "code",
    ):
        assert fact in demos.front


def test_no_path_of_this_machine_is_in_it(demos: Report, demo: Run) -> None:
    assert str(demo.folder.parent) not in demos.text


def test_nothing_is_wrong_for_snakemake(demos: Report, small: Report) -> None:
    for log in (demos.log, small.log):
        assert "Report created." in log
        assert not re.search("WARNING|ERROR|Missing metadata", log)


def test_every_result_is_seen_in_a_browser(demos: Report, page: Page) -> None:
    page.goto(demos.page.as_uri())
    assert page.get_by_role("heading", name="classlens").bounding_box()["y"] > 0  # type: ignore[index]
    for category in sorted(demos.categories):
        page.evaluate("app.setView({navbarMode: 'menu'})")
        page.get_by_text(category, exact=True).click()
        names = demos.names(category)
        assert [row.strip() for row in page.locator("table:has(th:text-is('result')) tbody tr").all_inner_texts()] == names
        for name in names:
            row = page.get_by_role("row", name=name, exact=True)
            row.get_by_role("link").first.click()
            shown = page.locator(".justify-center iframe")
            shown.wait_for()
            content = shown.content_frame
            content.get_by_role("heading", name=name.replace("\N{FIGURE SPACE}", ""), exact=True).wait_for()
            if name[0] == "F":
                image = content.get_by_role("img")
                image.wait_for()
                assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
                assert _box(image)["width"] <= _box(shown)["width"]
                assert content.locator(".caption").inner_text().count("\n") > 2
            else:
                assert content.locator("tbody tr").count() > 2


def test_a_run_of_two_analyses_without_masks(small: Report) -> None:
    assert sorted(small.categories) == [" 3 Building of classes", " 4 Key-value memories"]
    shown = [item for item in FIGURES + TABLES if item.analysis in ("building", "memories") and not item.masks]
    assert len(small.results) == len(shown)
    assert "Protocol paper, seed 0" in small.front
    assert "Where class information arises" not in small.front, "F2 is not a figure of this run"
    assert "<td>d</td><td>validation</td><td>2</td><td>0</td>" in small.front
    assert "<li>T4 context_difference of d (no masks)</li>" in small.front


def test_figures_are_written_as_the_config_says(small: Report) -> None:
    figures = small.page.parent.parent / "work" / "results" / "small" / "figures"
    names = {"class_building_m", *(item.name for item in FIGURES if item.analysis == "memories")}
    assert {path.name for path in figures.iterdir()} == {f"{name}.{form}" for name in names for form in ("csv", "png")}


def test_names_from_data_stay_names(small: Report, page: Page) -> None:
    page.goto(small.page.as_uri())
    assert page.title() == "Snakemake Report"
    assert EVIL in page.locator("body").inner_text()
    page.get_by_text("3 Building of classes").click()
    assert EVIL in page.get_by_role("row").filter(has_text="What attention").inner_text().replace("\N{ZERO WIDTH SPACE}", "")
    page.goto((small.page.parent / small.results["results/small/report/tables/interpretable_values.html"]["data_uri"]).as_uri())
    assert page.title() == "T5 Memories in words"
    text = page.locator("tbody tr").first.inner_text()
    assert EVIL in text
    assert "<b>cat" in text
    assert "dog & 'co'" in text


def test_the_button_of_the_menu_lies_over_nothing(small: Report, page: Page) -> None:
    page.goto(small.page.as_uri())
    button = page.locator("div.fixed.z-50")
    heading = page.get_by_role("heading", name="classlens")
    assert _box(button)["x"] + _box(button)["width"] <= 0  # with the menu open it waits outside the window
    page.evaluate("app.setView({hideNavbar: true})")
    page.wait_for_function("document.querySelector('nav').offsetWidth == 0")
    shown = _box(button)
    assert (shown["x"], shown["y"]) == (0, 0)
    assert shown["height"] <= _box(heading)["y"]


def test_on_a_phone_the_menu_stands_above_the_content(small: Report, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(small.page.as_uri())
    heading, menu = page.get_by_role("heading", name="classlens"), page.locator("nav.h-screen")
    page.wait_for_function("document.querySelector('nav').offsetWidth > 350")
    assert _box(heading)["y"] >= _box(menu)["y"] + _box(menu)["height"]
    page.get_by_text("3 Building of classes").click()
    page.get_by_role("row").filter(has_text="What attention").get_by_role("link").first.click()
    shown = page.locator(".justify-center iframe")
    shown.wait_for()  # the front page is gone, and its style has stayed
    assert _box(shown)["width"] > 350
    assert _box(shown)["y"] >= _box(menu)["height"]
    page.evaluate("app.setView({hideNavbar: true})")
    page.wait_for_function("document.querySelector('nav').offsetHeight == 0")
    assert _box(shown)["y"] == 0


def _box(element: Locator) -> FloatRect:
    found = element.bounding_box()
    assert found
    return found


def test_intervals_of_a_table_wrap_where_there_is_little_room(page: Page) -> None:
    columns = {f"x{index}{end}": [12.34] for index in range(5) for end in ("", "_low", "_high")}
    page.set_content(pages.of_table("A table", "table", pl.DataFrame(columns), Caption(Markup("A caption."))))
    wide = _box(page.locator("table"))
    page.set_viewport_size({"width": 640, "height": 480})
    assert wide["width"] > 640 >= _box(page.locator("table"))["width"]
    assert page.locator("td").first.inner_text() == "12.3 [12.3,\N{NO-BREAK SPACE}12.3]"


FACTS: dict[str, Any] = {"arch": "a", "kwargs": {}, "width": 8, "heads": 2, "transform": {}, "source": "s", "sha256": "0"}
CARD = Card(classes=5, depth=2, grid=(2, 2), prefix_tokens=0, cls_token=False, pooling="mean", **FACTS)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([None, 1], "1 image with 4 image tokens (m)"),
        ([None, 3], "3 images with 4 image tokens each (m)"),
        ([2, 3], "2 to 3 images with 4 image tokens each (m)"),
        ([None, None], "5 classes (m)"),
    ],
)
def test_rows_of_classes_have_no_number_of_images(images: list[int | None], said: str) -> None:
    rows = {"model": "m", "label": "m", "images": images, "classes": 5, "seed": 0, "protocol": "corrected"}
    frame = pl.DataFrame(rows, schema_overrides={"images": pl.Int64, "classes": pl.Int64})
    assert captions.counts(frame, {"m": CARD}, {}) == said


def test_a_table_that_counts_no_images_names_those_analysed() -> None:
    frame = pl.DataFrame({"model": ["m"], "label": ["m"], "classes": ["cat; dog"]})
    counted = [frame, frame.with_columns(images=pl.lit(7)), frame.with_columns(image_id=pl.lit(3))]
    assert captions.counts(frame, {"m": CARD}, captions.analysed(counted)) == "7 images with 4 image tokens each (m)"


def test_a_cell_with_several_numbers_has_them_in_three_digits() -> None:
    html = pages.table(pl.DataFrame({"logits": ["0.155; -0.000175; 1.2e-05"], "words": ["1.5 x; 2.5 y"], "p": [0.0001], "n": [-3]}))
    cells = re.findall("<td[^>]*>([^<]*)", html)
    assert cells == ["0.155; \N{MINUS SIGN}0.000175; 1.20×10⁻⁵", "1.5 x; 2.5 y", "0.000100", "\N{MINUS SIGN}3"]


def test_the_digits_of_expected_numbers_are_those_of_their_source() -> None:
    html = pages.table(pl.DataFrame({"quantity": ["rate"], "expected": [60.73], "ours": [60.7312], "tolerance": [0.5]}))
    assert re.findall("<td[^>]*>([^<]*)", html) == ["rate", "60.73", "60.7", "0.5"]


@pytest.mark.parametrize(("ours", "shown"), [("60.7312", "60.7"), ("NaN", "undefined"), ("", "not run")])
def test_expected_numbers_stand_beside_ours_if_they_exist(ours: str, shown: str) -> None:
    frame = pl.DataFrame({"model": ["m"], "label": ["ViT"], "protocol": ["paper"], "seed": [0], "images": [3]})
    row = {"quantity": "rate", "model": "m", "expected": "60.73", "ours": ours, "source": "the paper"}
    cards = {"m": Card("a", {}, 5, 2, 8, 2, (7, 7), 0, False, "mean", {}, "random", "0" * 64)}
    (found,) = captions.of(Markup(""), frame, cards, {}, [row]).expected["the paper"]
    assert (found.label, found.expected, found.ours) == ("ViT", "60.73", shown)


def test_a_caption_s_conditions_do_not_break_its_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "caption.rst"
    path.write_text('One\n{% if protocol == "paper" %}\ntwo\n{% else %}\nthree\n{% endif %}\nfour.\n\n*Five*.\n', encoding="utf-8")
    assert captions.text_of(path, "paper") == "<p>One\ntwo\nfour.</p>\n<p><em>Five</em>.</p>\n"


@pytest.mark.parametrize(("form", "tag"), [("svg", "<img src"), ("png", "<img src"), ("pdf", "<embed type")])
def test_a_page_shows_each_format_of_figures(tmp_path: Path, form: str, tag: str) -> None:
    picture = tmp_path / f"x.{form}"
    picture.write_bytes(b"content")
    html = pages.of_figure("A figure", "x", picture, Caption(Markup("A caption.")))
    assert tag in html and "base64,Y29udGVudA==" in html and "A caption." in html


def test_expected_numbers_are_counted_by_source() -> None:
    rows = [{"source": source, "status": status} for source, status in (("a", "pass"), ("a", "fail"), ("b", "not run"), ("a", "pass"))]
    assert front_page.compared(rows) == {"a": {"within tolerance": 2, "outside tolerance": 1}, "b": {"not run": 1}}


def test_an_interval_goes_behind_what_it_is_of() -> None:
    frame = pl.DataFrame(
        {"x": [1.23456, 2.0], "x_low": [1.0, None], "x_high": [2.0, None], "y": [0.5, 0.25], "low": [0.0, 0.1], "n": [3, 4]}
    )
    assert pages.merge_intervals(frame).to_dict(as_series=False) == {
        "x": ["1.23 [1.00,\N{NO-BREAK SPACE}2.00]", "2.00"],
        "y": [0.5, 0.25],
        "low": [0.0, 0.1],
        "n": [3, 4],
    }


@pytest.mark.parametrize(
    ("resize", "crop", "said"),
    [
        ([224, 192], None, "resize to 224×192, bilinear"),
        (256, [224, 192], "shortest side to 256, centre crop 224×192, bilinear"),
    ],
)
def test_a_transform_in_words(resize: int | list[int], crop: list[int] | None, said: str) -> None:
    settings = {"resize": resize, "crop": crop, "interpolation": "bilinear", "mean": [0.485, 0.456, 0], "std": [0.229, 1.0, 0.225]}
    assert run_facts.transform(settings) == f"{said}; mean 0.485, 0.456, 0; std 0.229, 1, 0.225"
    covering = run_facts.transform({**settings, "resize": [71, 35], "keep_ratio": True, "crop": [64, 32]})
    assert covering.startswith("resize to cover 71×35, centre crop 64×32, bilinear")


def test_stages_sum_their_jobs_and_the_longest_comes_first(tmp_path: Path) -> None:
    for name, seconds in (("a/x.tsv", 2), ("a/deep/y.tsv", 3.5), ("b.tsv", 7)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n", encoding="utf-8")
    assert run_facts.stages(tmp_path) == [run_facts.Stage("b", 1, 7), run_facts.Stage("a", 2, 5.5)]
    assert run_facts.stages(tmp_path / "none") == []
    assert [run_facts.duration(seconds) for seconds in (41.2, 312, 12240, 259200)] == ["41 s", "5.2 min", "3.4 h", "3.0 days"]
