"""The explorer in a real browser: what it says against the tables, by mouse, by keyboard, and for everybody."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from graphlib import CycleError
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import REPOSITORY, Run, small_config
from explorer_page import CONTRAST, RULES, ExplorerPage, last_number, number
from PIL import Image
from playwright.sync_api import Browser, expect
from polars import selectors

from classlens.explorer.page.modules import one_script

SITES = {"resid_post": "residual stream", "attn_out": "attention", "mlp_out": "MLP"}
IMAGE, TOKENS, DEPTH, CLASSES = 20, 50, 12, 10
PREDICTIONS = "predictions/cls/shapes/validation.parquet"
METHODS = [
    *("class projection (ours)", "ours, positive parts", "ours × attention", "LeGrad"),
    *("Chefer et al.", "attention rollout", "last attention", "linear probes", "random"),
]
STEP = 0.006  # two decimals, and half a step of what is stored


@pytest.fixture(scope="module")
def results(demo: Run) -> Path:
    return demo.folder / "results" / "demo"


@pytest.fixture(scope="module")
def names(results: Path) -> list[str]:
    """Class names in the order of their indices."""
    metadata = pl.read_parquet_metadata(results / "data/shapes/validation/manifest.parquet")
    return [name for _, name in json.loads(metadata["classes"])]


@pytest.fixture(scope="module")
def server(results: Path) -> Iterator[str]:
    """The explorer's address on a server of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing is written about requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=results / "explorer")) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def rows_of(results: Path, table: str, **keys: Any) -> pl.DataFrame:
    """Rows of a table where some columns have some values."""
    return pl.read_parquet(results / table).with_columns(selectors.categorical().cast(pl.String)).filter(**keys)


def row_of(results: Path, table: str, **keys: Any) -> dict[str, Any]:
    """The one such row."""
    (row,) = rows_of(results, table, **keys).iter_rows(named=True)
    return row


def projected(results: Path, model: str, image: int, site: str, block: int) -> pl.DataFrame:
    """Rows of the projections, a token each; blocks from 0."""
    return rows_of(results, f"projections/{model}/shapes/validation/00000.parquet", image_id=image, site=site, block=block).sort("token")


def assert_shows(page: ExplorerPage, rows: pl.DataFrame, names: list[str], true_class: str, view: int = 0) -> None:
    """Every token's name, mark and number are those of the table."""
    cells = page.cells(view)
    assert [cell["label"].split(": ", 1)[1].split(" has the largest")[0] for cell in cells] == [names[top[0]] for top in rows["top5"]]
    assert [cell["first"] for cell in cells] == (rows["rank"] == 0).to_list()
    for cell, rank, logits in zip(cells, rows["rank"], rows["top5_logit"], strict=True):
        said, value = cell["label"].split("; ")
        assert number(said.rsplit(", ", 1)[1]) == pytest.approx(logits[0], abs=STEP)
        assert value == f"identifiability of {true_class} {1 - rank / CLASSES:.2f}"


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("place", ["disk", "server"])
def test_tokens_say_what_the_tables_say(browser: Browser, results: Path, server: str, names: list[str], place: str, site: str) -> None:
    true_class = names[row_of(results, PREDICTIONS, image_id=IMAGE)["class_index"]]
    with ExplorerPage(browser, results / "explorer" if place == "disk" else server) as page:
        for block in (1, 6, 12):
            page.open(f"image={IMAGE}&site={site}&block={block}")
            assert_shows(page, projected(results, "cls", IMAGE, site, block - 1), names, true_class)


def test_by_mouse(browser: Browser, results: Path, names: list[str]) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}")
        page.control("combobox", "Site").select_option("attn_out")
        page.page.locator("[data-block='6']").click()
        page.expect_heading("block 7 of 12")
        true_class = names[row_of(results, PREDICTIONS, image_id=IMAGE)["class_index"]]
        assert_shows(page, projected(results, "cls", IMAGE, "attn_out", 6), names, true_class)
        page.control("combobox", "Model").select_option("pooled")
        page.expect_heading("ViT, pooled")
        assert_shows(page, projected(results, "pooled", IMAGE, "attn_out", 6), names, true_class)
        path = row_of(results, "data/shapes/validation/manifest.parquet", image_id=21)["path"]
        page.page.locator("nav button[data-image='21']").click()
        expect(page.page.locator(".output")).to_contain_text(path.split("/")[-1])
        other = names[row_of(results, PREDICTIONS, image_id=21)["class_index"]]
        assert_shows(page, projected(results, "pooled", 21, "attn_out", 6), names, other)


def test_by_keyboard(browser: Browser, results: Path, names: list[str]) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE - 1}&block=12")
        page.control("slider", "Block").focus()
        for _ in range(2):
            page.page.keyboard.press("ArrowLeft")
        page.expect_heading("block 10 of 12")
        page.page.locator("#views").focus()
        page.page.keyboard.press("ArrowLeft")
        page.expect_heading("block 9 of 12")
        page.page.keyboard.press("Shift+ArrowRight")  # the next image
        page.page.keyboard.press("Shift+ArrowDown")
        page.page.keyboard.press("Shift+ArrowDown")  # the next site
        expect(page.page.locator("#status")).to_contain_text("MLP of block 9")
        true_class = names[row_of(results, PREDICTIONS, image_id=IMAGE)["class_index"]]
        assert_shows(page, projected(results, "cls", IMAGE, "mlp_out", 8), names, true_class)


def test_the_chosen_token_follows_keys_clicks_and_the_pointer(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}")
        page.page.locator("[data-token='0']").focus()
        expected = {"ArrowDown": 1, "ArrowRight": 2, "End": 7, "ArrowLeft": 6, "Home": 1, "ArrowUp": 0}
        for key, token in expected.items():
            page.page.keyboard.press(key)
            expect(page.page.locator("[role=gridcell][aria-selected='true']")).to_have_attribute("data-token", str(token))
            expect(page.page.locator(":focus")).to_have_attribute("data-token", str(token))
        page.page.locator("[data-token='25']").click()
        expect(page.page.locator("[role=tabpanel] h3")).to_have_text("Patch in row 4, column 4")
        page.page.locator("[data-token='8']").hover()
        expect(page.page.locator("[role=tabpanel] h3")).to_have_text("Patch in row 2, column 1")
        page.page.locator("h1").hover()
        expect(page.page.locator("[role=tabpanel] h3")).to_have_text("Patch in row 4, column 4")


def test_a_tap(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer", width=390, has_touch=True) as page:
        page.open(f"image={IMAGE}")
        page.page.locator("[data-token='25']").tap()
        expect(page.page.locator("[role=tabpanel] h3")).to_have_text("Patch in row 4, column 4")


@pytest.mark.parametrize("token", [0, 30])
def test_what_is_known_of_a_token(browser: Browser, results: Path, names: list[str], token: int) -> None:
    block = 7
    rows = projected(results, "cls", IMAGE, "attn_out", block)
    row = rows.row(token, named=True)
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&site=attn_out&block={block + 1}&token={token}")
        shown = page.table("Largest logits")
        assert [cells[0] for cells in shown] == [names[index] for index in row["top5"]]
        assert [number(cells[1]) for cells in shown] == pytest.approx(row["top5_logit"], abs=STEP)
        expect(page.page.locator("[role=tabpanel]")).to_contain_text(f"rank {row['rank']} (0 is first), ")
        page.control("tab", "Numbers").click()
        path = page.table("Path over blocks")
        for place, site in enumerate(SITES):
            ranks = [projected(results, "cls", IMAGE, site, other)["rank"][token] for other in range(DEPTH)]
            assert [line[place + 1] for line in path] == [f"{1 - rank / CLASSES:.2f}" for rank in ranks]


@pytest.mark.parametrize(("layer", "name"), [("attn", "attention"), ("mlp", "MLP")])
def test_active_memories_and_what_they_write(browser: Browser, results: Path, layer: str, name: str) -> None:
    token, block = 30, 7
    keys = {"image_id": IMAGE, "token": token, "layer": layer, "block": block}
    used = row_of(results, "memory_keys/cls/shapes/validation/00000.parquet", **keys)
    written = rows_of(results, "memories/cls/shapes/interpretable_values.parquet", layer=layer, block=block)
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block={block + 1}&token={token}&tab=memories")
        lines = page.table(f"Active memories, {name}")
        assert [int(line[0]) for line in lines] == used["memory"]
        assert [number(line[1]) for line in lines] == pytest.approx(used["coefficient"], abs=STEP)
        assert [line[2].split(", ") for line in lines] == [
            written.filter(memory=memory)["class_name"][0].to_list() for memory in used["memory"]
        ]


def test_logits_of_other_classes(browser: Browser, results: Path, names: list[str]) -> None:
    likely = row_of(results, PREDICTIONS, image_id=IMAGE)
    rival = next(index for index in likely["top"] if index != likely["class_index"])
    roles = {likely["class_index"]: " (true class, output)", rival: " (rival)"}
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block=5&site=mlp_out")
        choice = page.control("combobox", "Colour by")
        offered = dict.fromkeys([likely["class_index"], *likely["top"]])
        assert choice.locator("option").all_inner_texts()[1:] == [names[index] + roles.get(index, "") for index in offered]
        for value, index in (("true", likely["class_index"]), ("rival", rival), (str(likely["top"][4]), likely["top"][4])):
            choice.select_option(value)
            expect(page.page.locator(".legend")).to_contain_text(f"logit of {names[index]}")
            keys = {"image_id": IMAGE, "class_index": index, "site": "mlp_out", "block": 4}
            logits = row_of(results, "class_logits/cls/shapes/validation/00000.parquet", **keys)["logit"]
            assert [last_number(cell["label"]) for cell in page.cells()] == pytest.approx(logits, abs=STEP)


def test_a_class_that_was_kept_at_some_tokens_only(browser: Browser, results: Path, names: list[str]) -> None:
    likely = row_of(results, PREDICTIONS, image_id=IMAGE)
    rows = projected(results, "cls", IMAGE, "attn_out", 3)
    wanted = next(index for top in rows["top5"] for index in top if index not in [likely["class_index"], *likely["top"]])
    token = next(place for place, top in enumerate(rows["top5"]) if wanted in top)
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block=4&site=attn_out&token={token}")
        page.page.get_by_label(f"Colour by {names[wanted]}").click()
        expect(page.page.locator(".legend")).to_contain_text(f"logit of {names[wanted]}")
        assert [cell["known"] for cell in page.cells()] == [wanted in top for top in rows["top5"]]
        kept = rows_of(results, "projections/cls/shapes/validation/00000.parquet", image_id=IMAGE, site="attn_out")
        logits = kept.select("top5", "top5_logit").explode("top5", "top5_logit").filter(top5=wanted)["top5_logit"]
        assert page.scale() == pytest.approx([logits.min(), logits.max()], abs=0.06)


def test_relevance_maps(browser: Browser, results: Path) -> None:
    own = row_of(results, PREDICTIONS, image_id=IMAGE)["class_index"]
    ours = np.array(row_of(results, "relevance/cls/shapes.parquet", image_id=IMAGE, method="ours", class_index=own)["relevance"])
    share = rows_of(results, "tokens/cls/shapes.parquet", image_id=IMAGE).sort("token")["class_fraction"].to_numpy()
    positive, kept, best = ours.clip(min=0), ours >= 0.3 * ours.max(), divmod(int(ours.argmax()), 7)
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}")
        methods, caption, first = (page.page.locator(place) for place in (".cards button", ".large figcaption", ".large .map"))
        assert methods.all_inner_texts() == METHODS
        assert f"{100 * (positive * share).sum() / positive.sum():.0f} % of positive relevance on the object" in caption.inner_text()
        assert f"for +{np.abs(ours).max():.3g}" in page.page.locator(".large .scale").inner_text()
        assert f"row {best[0] + 1}, column {best[1] + 1}" in str(first.get_attribute("aria-label"))
        page.control("slider", "Only patches above").focus()
        for _ in range(3):
            page.page.keyboard.press("PageUp")  # a tenth each
        expect(caption).to_contain_text(f"{100 * share[kept].mean():.0f} % of these patches on the object")
        pixels = first.locator("canvas").evaluate("map => Array.from(map.getContext('2d').getImageData(0, 0, map.width, map.height).data)")
        np.testing.assert_allclose(np.array(pixels[3::4]) / 255, 0.85 * kept * np.abs(ours) / np.abs(ours).max(), atol=0.003)
        page.control("combobox", "For class").select_option(index=1)
        expect(methods).to_have_count(8)  # probes know the true class only
        page.page.get_by_role("button", name="attention rollout").click()
        expect(caption).to_contain_text("the same for every class")


@pytest.mark.parametrize("condition", ["self_only", "no_cls", "without_context", "without_class"])
def test_conditions(browser: Browser, results: Path, condition: str) -> None:
    ranks = rows_of(results, "perturbations/cls/shapes.parquet", image_id=IMAGE, condition=condition)
    known = dict(ranks.select("token", "rank").iter_rows())
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block=3&site=mlp_out")
        page.control("combobox", "Condition").select_option(condition)
        page.expect_heading("block 12 of 12")
        expect(page.control("slider", "Block")).to_have_attribute("aria-disabled", "true")
        expected = [f"{1 - known[token] / CLASSES:.2f}" if token in known else "removed" for token in range(TOKENS)]
        assert [cell["text"] for cell in page.cells()] == expected
        assert [cell["first"] for cell in page.cells()] == [known.get(token) == 0 for token in range(TOKENS)]
        page.control("combobox", "Condition").select_option("none")
        page.expect_heading("block 3 of 12")


def test_a_condition_that_only_one_of_two_models_has(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        for second, others in (("pooled", ["none", "self_only", "without_context", "without_class"]), ("cls_random", [])):
            page.open(f"image={IMAGE}&block=3&condition=no_cls&second={second}")
            page.expect_heading("block 3 of 12", view=1)
            assert len(page.cells(0)) == TOKENS
            shown = page.page.locator("#condition-label").locator("visible=true")
            assert shown.locator("option").evaluate_all("options => options.map(option => option.value)") == others


def test_sites_that_only_one_of_two_models_has(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block=3&site=mlp_out&second=cls_random")  # random twins have the residual stream alone
        page.expect_heading("block 3 of 12", view=1)
        expect(page.control("combobox", "Site")).to_have_value("resid_post")
        expect(page.control("combobox", "Site")).to_be_disabled()
        page.control("combobox", "Beside it").select_option("")
        expect(page.control("combobox", "Site")).to_be_enabled()
        expect(page.page.locator("#site option")).to_have_count(3)


def test_two_models_and_two_classes(browser: Browser, results: Path, names: list[str]) -> None:
    likely = row_of(results, PREDICTIONS, image_id=IMAGE)
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block=8&token=9")
        page.control("combobox", "Beside it").select_option("pooled_random")
        page.expect_heading("ViT, pooled (random), block 8 of 12", view=1)
        for view, model in enumerate(("cls", "pooled_random")):
            assert_shows(page, projected(results, model, IMAGE, "resid_post", 7), names, names[likely["class_index"]], view)
        chosen = [[cell["token"] for cell in page.cells(view) if cell["chosen"]] for view in (0, 1)]
        assert chosen == [[9], [8]]  # the same patch: one model has [CLS], the other has not
        page.control("combobox", "Beside it").select_option("cls")
        page.expect_heading("ViT, [CLS], block 8 of 12", view=1)
        rival = next(index for index in likely["top"] if index != likely["class_index"])
        for legend, index in zip(page.page.locator(".legend").all(), (likely["class_index"], rival), strict=True):
            expect(legend).to_contain_text(f"logit of {names[index]}")
        logits = rows_of(results, "class_logits/cls/shapes/validation/00000.parquet", image_id=IMAGE, site="resid_post")
        shown = logits.filter(pl.col("class_index").is_in([likely["class_index"], rival]))["logit"].explode()
        assert page.scale(0) == page.scale(1)  # colours can be compared
        assert page.scale() == pytest.approx([shown.min(), shown.max()], abs=0.06)


def test_an_address_brings_back_the_view(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}")
        page.control("combobox", "Beside it").select_option("pooled")
        page.control("combobox", "Site").select_option("mlp_out")
        page.page.locator("[data-block='3']").first.click()
        page.control("combobox", "Colour by").first.select_option("rival")
        page.page.locator("[data-token='12']").first.click()
        page.expect_heading("block 4 of 12", view=1)
        before = [page.cells(view) for view in (0, 1)]
        page.open(page.page.url.split("#")[1])
        assert [page.cells(view) for view in (0, 1)] == before


@pytest.mark.parametrize(
    "address", ["model=none&block=99&site=x&condition=y&token=5000&image=77777&second=z", "block=-1&token=a&image=1.5&colour=9999"]
)
def test_an_address_that_means_nothing(browser: Browser, results: Path, address: str) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(address)
        page.expect_heading("ViT, [CLS], block ")
        assert len(page.cells()) == TOKENS


def test_choosing_an_image(browser: Browser, results: Path, names: list[str]) -> None:
    predictions = pl.read_parquet(results / "predictions/cls/shapes/validation.parquet")
    wrong = predictions.filter(~pl.col("correct"))
    with ExplorerPage(browser, results / "explorer") as page:
        page.open("image=0")
        shown = page.page.locator("nav button[data-image]")
        expect(shown).to_have_count(24)
        page.page.get_by_text("Find and sort").click()
        page.control("combobox", "Output").select_option("wrong")
        expect(page.page.locator(".found")).to_have_text(f"{len(wrong)} of 200 images, page 1 of 1")
        assert [int(str(button.get_attribute("data-image"))) for button in shown.all()] == wrong["image_id"].to_list()
        page.control("combobox", "Output").select_option("all")
        page.control("combobox", "Class").select_option(label=names[3])
        expect(page.page.locator(".found")).to_have_text("20 of 200 images, page 1 of 1")
        page.control("combobox", "Class").select_option("")
        page.control("combobox", "Order").select_option("least")
        rates = pl.read_parquet(results / "projections/cls/shapes/validation/*.parquet").cast({"site": pl.String})
        rates = rates.filter(pl.col("site") == "resid_post", pl.col("block") == DEPTH - 1, pl.col("token") > 0)
        worst = rates.group_by("image_id").agg(pl.col("rank").mean()).sort(["rank", "image_id"], descending=[True, False])["image_id"][0]
        page.control("combobox", "Order").select_option("least")
        while page.page.get_by_role("button", name="Previous").is_enabled():  # the list shows the page of the chosen image
            page.page.get_by_role("button", name="Previous").click()
        assert int(str(shown.first.get_attribute("data-image"))) == worst
        page.page.get_by_role("button", name="Next").click()
        expect(page.page.locator(".found")).to_contain_text("200 of 200 images, page ")
        page.control("searchbox", "Find").fill("_0007")
        expect(page.page.locator(".found")).to_have_text("10 of 200 images, page 1 of 1")
        expect(page.page).to_have_url(re.compile("find=_0007&order=least"))  # the address has the filters
        page.page.get_by_role("button", name="Reset").click()
        expect(page.page.locator(".found")).to_have_text("200 of 200 images, page 1 of 9")


def first_counts(results: Path, model: str, image: int) -> list[int]:
    """Number of patches at which the true class ranks first in the residual stream, block by block."""
    counts = []
    for block in range(DEPTH):
        rows = projected(results, model, image, "resid_post", block)
        counts.append(int((rows.filter(pl.col("token") >= len(rows) - 49)["rank"] == 0).sum()))
    return counts


def test_the_filmstrip_and_the_sentence_say_where_the_class_arises(browser: Browser, results: Path, names: list[str]) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        for model, image in (("cls", IMAGE), ("pooled", IMAGE), ("cls_random", 3), ("cls", 1)):
            counts = first_counts(results, model, image)
            page.open(f"model={model}&image={image}")
            shown = page.page.locator(".frame span").all_inner_texts()
            assert [int(text.split()[-1]) for text in shown] == counts
            rises = [later - earlier for earlier, later in zip([counts[0], *counts], counts, strict=False)]
            block = rises.index(max(rises)) if max(rises) > 0 else DEPTH - 1
            page.expect_heading(f"block {block + 1} of 12")  # without a block in the address, the one with the largest rise
            name = names[row_of(results, PREDICTIONS, image_id=image)["class_index"]]
            sentence = page.page.locator(".sentence").inner_text()
            assert sentence.startswith(f"{name}: ")
            if max(rises) > 0 and counts[block] > max(counts[:block]):
                before = max(counts[:block])
                patches = f"at most {before} {'patch' if before == 1 else 'patches'}" if before else "no patch"
                assert f"{patches} until block {block}, " in sentence
                assert f" of 49 from block {block + 1}" in sentence


def test_the_frame_and_the_names(browser: Browser, results: Path, names: list[str]) -> None:
    rows = projected(results, "cls", IMAGE, "resid_post", 6)
    tops = [top[0] for top in rows["top5"]][1:]
    common = max(dict.fromkeys(tops), key=tops.count)
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block=7")
        assert [cell["text"] for cell in page.cells()][1:] == ["" if top == common else names[top] for top in tops]
        expect(page.page.locator(".key-common")).to_have_text(f"no name: {names[common]} is on top")
        framed = page.page.locator(".region .line").evaluate(
            """path => Array.from({length: 49}, (_, patch) =>
                path.isPointInFill(new DOMPoint(patch % 7 + 0.5, Math.floor(patch / 7) + 0.5)))"""
        )
        assert framed == (rows["rank"] == 0).to_list()[1:]
        page.page.get_by_text("View", exact=True).click()
        page.control("combobox", "Class names").select_option("all")
        assert [cell["text"] for cell in page.cells()] == [names[top[0]] for top in rows["top5"]]


def test_this_image_against_the_mean(browser: Browser, results: Path) -> None:
    rates = pl.read_parquet(results / "projections/cls/shapes/validation/*.parquet").cast({"site": pl.String})
    rates = rates.filter(pl.col("site") == "resid_post", pl.col("token") > 0).with_columns(rate=1 - pl.col("rank") / CLASSES)
    ends = [rates.filter(block=block) for block in (0, DEPTH - 1)]
    own, mean = ([frame.filter(**keys)["rate"].mean() for frame in ends] for keys in ({"image_id": IMAGE}, {}))
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}")
        label = str(page.page.locator(".mean svg").get_attribute("aria-label"))
        said = [float(value) for value in re.findall(r"from ([\d.]+) to ([\d.]+)", label) for value in value]
        assert said == pytest.approx([*own, *mean], abs=0.01)
        assert "mean of 200 images" in label
        right = pl.read_parquet(results / PREDICTIONS)["correct"].mean()
        expect(page.page.locator(".output")).to_contain_text(f"The model is right at {float(f'{100 * right:.3g}'):g} % of 200 images.")


def test_back_returns_to_the_view_before(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block=7")
        page.page.locator("[data-block='2']").click()
        page.control("tab", "Conditions").click()
        page.page.keyboard.press("ArrowLeft")
        expect(page.control("tab", "Memories")).to_be_focused()
        page.page.get_by_role("button", name="Show all").click()
        expect(page.page.locator("#views")).to_be_hidden()
        page.page.locator("nav button[data-image='7']").click()
        page.expect_heading("block 3 of 12")
        page.page.go_back()
        expect(page.page.locator("#views")).to_be_hidden()
        page.page.go_back()
        expect(page.control("tab", "Memories")).to_have_attribute("aria-selected", "true")
        page.page.go_back()
        page.page.go_back()
        page.expect_heading("block 3 of 12")
        page.page.go_back()
        page.expect_heading("block 7 of 12")


def test_all_images_with_their_lines(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open("page=images&order=gain")
        shown = page.page.locator("nav button[data-image]")
        expect(shown).to_have_count(60)
        rates = pl.read_parquet(results / "projections/cls/shapes/validation/*.parquet").cast({"site": pl.String})
        rates = rates.filter(pl.col("site") == "resid_post", pl.col("token") > 0).group_by("image_id", "block").agg(pl.col("rank").mean())
        gains = (
            rates.filter(block=0)
            .join(rates.filter(block=DEPTH - 1), on="image_id")
            .with_columns(gain=pl.col("rank") - pl.col("rank_right"))
        )
        gain = dict(gains.select("image_id", "gain").iter_rows())
        while page.page.get_by_role("button", name="Previous").is_enabled():
            page.page.get_by_role("button", name="Previous").click()
        listed = [gain[int(str(button.get_attribute("data-image")))] for button in shown.all()]
        assert listed[0] == pytest.approx(max(gain.values()), abs=0.1)
        assert listed == pytest.approx(sorted(listed, reverse=True), abs=0.1)  # the page has identifiability as 255ths
        assert shown.first.locator("polyline").get_attribute("points").count(",") == DEPTH


def test_the_first_screen(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open()
        box = page.page.locator(".photograph").bounding_box()
        assert box and box["y"] <= 170 and box["y"] + box["height"] <= 900
        for presses in range(1, 13):
            page.page.keyboard.press("Tab")
            if presses == 1:
                expect(page.page.get_by_text("Skip to the patches")).to_be_focused()
            if page.page.locator("[role=gridcell]:focus").count():
                break
        else:
            pytest.fail("the patches are more than 12 tabs away")
        page.open()
        page.page.keyboard.press("Tab")
        page.page.keyboard.press("Enter")
        expect(page.page.locator("[role=gridcell]:focus")).to_have_count(1)


def test_a_view_is_saved_with_its_photograph(browser: Browser, results: Path, tmp_path: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open(f"image={IMAGE}&block=7&second=pooled")
        page.page.get_by_text("View", exact=True).click()
        for kind in ("SVG", "PNG"):
            with page.page.expect_download() as download:
                page.page.get_by_role("button", name=f"Save as {kind}").click()
            assert download.value.suggested_filename == f"demo_cls_image{IMAGE}_block7.{kind.lower()}"
            download.value.save_as(tmp_path / f"view.{kind.lower()}")
        drawing = (tmp_path / "view.svg").read_text(encoding="utf-8")
        assert page.page.locator(".sentence").first.inner_text() in drawing
        assert drawing.count('href="data:image/jpeg;base64,') == 2
        with Image.open(tmp_path / "view.png") as saved:
            pixels = np.asarray(saved.convert("RGB"), float)
        height, width = pixels.shape[:2]
        assert width / height == pytest.approx(1352 / 860, abs=0.01)
        corner = pixels[-2 * 70 - 20, 2 * 24 + 20]  # in the last row of patches: a colour over the photograph
        assert np.ptp(corner) > 20


def test_on_a_phone(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer", width=390, has_touch=True) as page:
        page.open(f"image={IMAGE}&block=7")
        row = page.page.locator(".thumbnails")
        assert row.evaluate("list => list.scrollWidth > list.clientWidth && getComputedStyle(list).overflowX === 'auto'")
        page.page.locator("[data-token='25']").tap()
        page.page.locator(".relevance h3").scroll_into_view_if_needed()
        page.page.mouse.wheel(0, 300)
        strip = page.page.locator(".filmstrip")
        expect(strip).to_be_in_viewport()
        strip.locator("[data-block='2']").tap()
        page.expect_heading("block 3 of 12")
        expect(page.page.locator("[role=tabpanel] h3")).to_have_text("Patch in row 4, column 4")


def test_the_colours_of_the_page_are_in_the_address(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer", color_scheme="dark") as page:
        page.open()
        assert page.page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.page.get_by_text("View", exact=True).click()
        page.control("combobox", "Colours of the page").select_option("light")
        page.open(page.page.url.split("#")[1])
        assert page.page.evaluate("document.documentElement.dataset.theme") == "light"


VIEWS = [
    "",
    f"image={IMAGE}&second=pooled&block=6&site=attn_out",
    f"image={IMAGE}&condition=without_class",
    f"image={IMAGE}&second=cls&threshold=30&tab=memories",
    f"image={IMAGE}&second=cls&map2=rival&tab=attribution&component=9.4&component2=9.mlp",
    "page=images",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessible_and_no_wider_than_the_window(browser: Browser, results: Path, width: int, scheme: str) -> None:
    rules = RULES if scheme == "light" else CONTRAST  # a scheme changes colours only
    with ExplorerPage(browser, results / "explorer", width=width, color_scheme=scheme) as page:
        for address in VIEWS:
            page.open(address)
            page.page.locator("details:not(.menu)").evaluate_all("all => all.forEach(one => (one.open = true))")  # a menu covers others
            expect(page.page.get_by_text("Loading memories")).to_have_count(0)
            assert page.violations(rules) == []
            assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.open(f"image={IMAGE}")
        page.page.get_by_text("View", exact=True).click()
        assert page.violations(rules) == []
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_only_what_is_looked_at_is_loaded(browser: Browser, results: Path) -> None:
    with ExplorerPage(browser, results / "explorer") as page:
        page.open("image=0")
        numbers = [url for url in page.asked if "/images/" in url]
        assert [url.rsplit("/", 2)[-1] for url in numbers] == ["00000.js"]
        files = [
            results / "explorer" / url.split("/explorer/", 1)[1].split("#")[0]
            for url in set(page.asked) - set(numbers)
            if url.startswith("file")
        ]
        assert sum(file.stat().st_size for file in files) < 3e6


def test_a_lost_file_is_named(browser: Browser, results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "explorer", tmp_path / "explorer")
    (tmp_path / "explorer/cls/images/00003.js").unlink()
    (tmp_path / "explorer/cls/images/00004.js").write_text("")
    page = ExplorerPage(browser, tmp_path / "explorer")
    for image in (3, 4):
        page.open(f"image={image}")
        expect(page.page.locator("#status")).to_have_text(
            f"cls/images/0000{image}.js is missing or damaged: delete its folder and run the workflow again."
        )
    page.page.get_by_text("Find and sort").click()


HOSTILE = ['<img src=x onerror="hacked=1">', "</b> & 'quoted' \u2028 line"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The explorer of a user's model without [CLS], masks or most analyses, whose names hold markup."""
    home = tmp_path_factory.mktemp("hostile")
    for index, name in enumerate(HOSTILE):
        folder = home / "photos/validation" / name.replace("/", "-")
        folder.mkdir(parents=True)
        Image.new("RGB", (50, 40), (99 * index, 9, 120)).save(folder / "<b>0.png")
    run = Run(home / "work")
    model = {**small_config()["models"]["m"], "label": "</script><script>hacked=1</script>", "arch": "vit_base_patch16_rpn_224"}
    model["kwargs"] = {**model["kwargs"], "img_size": 48}
    config = {"datasets": {"d": {"kind": "imagefolder", "root": "../photos", "images_per_class": None}}, "models": {"m": model}}
    config |= {"run": "hostile", "analyses": ["identifiability"]}
    run.complete("explorer", "--configfile", run.configure(config))
    return run.folder / "results/hostile/explorer"


@pytest.mark.parametrize("width", [1280, 390])
def test_names_are_text_and_what_is_missing_is_left_out(browser: Browser, hostile: Path, width: int) -> None:
    with ExplorerPage(browser, hostile, width=width) as page:
        page.open("labels=all")
        assert page.page.evaluate("typeof hacked") == "undefined"
        page.expect_heading("</script><script>hacked=1</script>, block 2 of 2")
        assert {cell["text"] for cell in page.cells()} <= {name.replace("/", "-") for name in HOSTILE}
        assert [cell["token"] for cell in page.cells()] == list(range(9))
        for absent in ("Condition", "outline of the object", "For class"):
            expect(page.page.get_by_label(absent)).to_be_hidden()
        expect(page.page.locator("caption", has_text="Active memories")).to_have_count(0)
        absent = "ranks when attention is cut or tokens are removed, active memories, relevance maps, terms of heads and MLPs"
        expect(page.page.locator(".absent")).to_have_text(f"Not in these results for this model: {absent}.")
        assert page.violations() == []


def modules(folder: Path, **sources: str) -> Path:
    """Write JavaScript modules, each under its name, and return the path of `main`."""
    for name, source in sources.items():
        (folder / f"{name}.js").write_text(source, encoding="utf-8")
    return folder / "main.js"


def test_modules_become_one_script_in_the_order_of_their_imports(tmp_path: Path) -> None:
    start = modules(
        tmp_path,
        main='import { b } from "./b.js";\nimport { a, other } from "./a.js";\nconsole.log(a, b, other);\n',
        b='// The second.\nimport { a } from "./a.js";\n/**\n * Two.\n */\nexport const b = /** @type {number} */ (a) + 1;\n'
        "/** @type {any} */ (b).c = 2;\n",
        a="export const a = 1;\nexport async function other() {\n  return `${a} b`;\n}\n",
        unused="export const unused = 1;\n",
    )
    expected = "const a=1;async function other(){return`${a} b`;}\nconst b=(a)+1;(b).c=2;console.log(a,b,other);"
    assert one_script(start) == expected


def test_modules_must_not_import_each_other(tmp_path: Path) -> None:
    a, b = 'import { b } from "./b.js";\nexport const a = 1;\n', 'import { a } from "./a.js";\nexport const b = 1;\n'
    with pytest.raises(CycleError):
        one_script(modules(tmp_path, main='import { a } from "./a.js";\n', a=a, b=b))


@pytest.mark.parametrize("kind", ["const name = 1;", "let name = 1;", "function name() {}", "async function name() {}", "class name {}"])
@pytest.mark.parametrize("export", ["", "export "])
def test_modules_must_not_declare_the_same_name(tmp_path: Path, export: str, kind: str) -> None:
    start = modules(tmp_path, main='import { a } from "./a.js";\nconst name = a;\n', a=f"export const a = 1;\n{export}{kind}\n")
    with pytest.raises(ValueError, match=r"a\.js and main\.js both declare name: "):
        one_script(start)


@pytest.mark.parametrize(
    "line", ['import { a as b } from "./a.js";', 'import * as a from "./a.js";', 'import "./a.js";', "export default 1;", "export { a };"]
)
def test_modules_import_and_export_in_one_form(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match="the page cannot hold"):
        one_script(modules(tmp_path, main=f"const a = 1;\n{line}\n", a="export const a = 1;\n"))


def test_checks_of_scripts_say_what_they_need(tmp_path: Path) -> None:
    """The path leads to neither Node.js nor npm."""
    make = [str(shutil.which("make")), "--assume-old=env", "lint"]
    done = subprocess.run(make, cwd=REPOSITORY, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    needed = "error: checks of the explorer's scripts need Node.js 18 or newer and npm: install them (Debian: nodejs and npm)\n"
    assert done.stdout == needed


def test_checks_of_scripts_are_pinned_without_a_registry() -> None:
    folder = REPOSITORY / "envs" / "page"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    packages = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    pinned = {path.removeprefix("node_modules/"): package for path, package in packages.items() if path}
    assert {name: pinned[name]["version"] for name in wanted} == wanted
    assert all("integrity" in package and "resolved" not in package for package in pinned.values())
