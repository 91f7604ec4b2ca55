"""The explorer's data files: what the page reads from them against what was packed."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from conftest import Run, planned, small_config
from playwright.sync_api import Browser, Page

from classlens.explorer import page, payload
from classlens.explorer.page.modules import one_script
from classlens.explorer.tables import ImageArrays, filled

RNG = np.random.default_rng(0)
READ = """
const plain = ({ arrays, facts }) => {
  const described = (values) => ({ kind: values.constructor.name, shape: values.shape, values: [...values] });
  return { facts, arrays: Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, described(values)])) };
};
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's reader of packed files as a script, which makes `read` from it."""
    folder = tmp_path_factory.mktemp("reader")
    module = (Path(page.__file__).parent / "unpacked.js").read_text(encoding="utf-8")
    (folder / "unpacked.js").write_text(module, encoding="utf-8")
    main = f'import {{ unpacked }} from "./unpacked.js";\n{READ}globalThis.read = async (text) => plain(await unpacked(text));\n'
    (folder / "main.js").write_text(main, encoding="utf-8")
    return f"(() => {{{one_script(folder / 'main.js')}}})()"


@pytest.fixture
def opened(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


ARRAYS = {
    "bytes": RNG.integers(0, 256, (3, 5), np.uint8),
    "ranks": RNG.integers(0, 1 << 16, (2, 3, 4), np.uint16),
    "logits": RNG.integers(-32768, 32768, (3, 4, 2, 5)).astype(np.int16),
    "places": RNG.integers(-(1 << 31), 1 << 31, (4, 6)).astype(np.int32),
    "shares": RNG.standard_normal(7).astype(np.float32),
    "none": np.zeros((0, 3), np.int16),
    "transposed": np.arange(12, dtype=np.int32).reshape(3, 4).T,
}
DIFFERENCES = {"ranks": (1,), "logits": (2, 3), "places": (0,)}


def read(opened: Page, reader: str, text: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and texts as the page reads them."""
    opened.evaluate(reader)
    found = opened.evaluate("text => read(text)", text)
    kinds = {name: array["kind"].removesuffix("Array").lower() for name, array in found["arrays"].items()}
    return {name: np.array(array["values"], kinds[name]).reshape(array["shape"]) for name, array in found["arrays"].items()}, found["facts"]


@pytest.mark.parametrize("differences", [None, DIFFERENCES])
def test_the_page_reads_what_was_packed(opened: Page, reader: str, differences: dict[str, tuple[int, ...]] | None) -> None:
    facts = {"step": "0.01", "</script>": "\u2028é"}
    arrays, said = read(opened, reader, payload.packed(ARRAYS, facts, differences))
    assert said == facts
    assert set(arrays) == set(ARRAYS)
    for name, values in ARRAYS.items():
        assert arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(arrays[name], values)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_text_of_any_length(value: int) -> None:
    """The last bytes, 255 or 0, must not be taken for the mark of the end, or for the rest of the last character."""
    for length in range(33):
        text = payload.characters(bytes([value] * length))
        assert len(text) == -(-8 * (length + 1) // 15)
        assert all(0x3400 <= ord(character) < 0xB400 for character in text)
        assert bytes_of(text) == bytes([value] * length)


def bytes_of(text: str) -> bytes:
    """The bytes in a text, by its definition: 15 bits per character, the first bit first, up to the last byte 255."""
    bits = "".join(f"{ord(character) - 0x3400:015b}" for character in text)
    return bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits) - 7, 8)).rpartition(b"\xff")[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and its address on a server of this machine that wrongly names UTF-8 as the encoding of all files, as many servers do."""
    folder = tmp_path_factory.mktemp("served")

    class Server(SimpleHTTPRequestHandler):
        extensions_map: ClassVar = {".js": "text/javascript; charset=utf-8", ".html": "text/html; charset=utf-8"}

        def log_message(self, *_: Any) -> None:
            """Nothing is written about requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.mark.parametrize("name", ["a name", "名 é </script> \u2028"])
@pytest.mark.parametrize("place", ["disk", "server"])
def test_files_are_read_in_the_encoding_that_they_have(opened: Page, served: tuple[Path, str], place: str, name: str) -> None:
    folder, address = served
    text = payload.packed({"a": RNG.integers(0, 256, 4000, np.uint8)}, {})
    files = {"wide": payload.call("image", name, 3, text), "narrow": payload.call("image", name, 3, "")}
    assert len(files["wide"]) < 1.1 * 2 * len(text)
    assert len(files["narrow"]) < 60
    for kind, content in files.items():
        (folder / f"{kind}.js").write_bytes(content)
    page_text = '<!doctype html><meta charset="utf-8"><script>said = []; classlens = { image: (...all) => said.push(all) }</script>'
    (folder / "index.html").write_text(page_text + '<script src="wide.js"></script><script src="narrow.js"></script>', encoding="utf-8")
    opened.goto((folder / "index.html").as_uri() if place == "disk" else f"{address}/index.html")
    assert opened.evaluate("said") == [[name, 3, text], [name, 3, ""]]


def test_logits_keep_two_decimals() -> None:
    values = np.array([-327.67, -1.234, 0, 0.005, 12.34, 300.0], np.float32)
    kept, step = payload.quantized(values)
    assert (kept.dtype, step) == (np.int16, pytest.approx(0.01))
    np.testing.assert_allclose(kept * step, values, atol=0.00501)
    large, step = payload.quantized(values * 100)
    np.testing.assert_allclose(large * step, values * 100, atol=step / 2 + 1e-3)


def test_maps_keep_four_digits_of_their_largest_value() -> None:
    maps = np.stack([RNG.standard_normal(50), 1e-6 * RNG.standard_normal(50), np.zeros(50)]).astype(np.float32)
    kept, steps = payload.scaled(maps)
    assert (kept.dtype, steps.dtype) == (np.int16, np.float32)
    assert np.all(np.abs(kept * steps[:, None] - maps) <= 2e-5 * np.abs(maps).max(axis=1, keepdims=True))
    assert np.array_equal(kept[2], np.zeros(50))


def test_equal_arrays_give_equal_files() -> None:
    facts = dict.fromkeys("stuvwxyz", "1")
    again = {payload.packed(dict(reversed(ARRAYS.items())), dict(reversed(facts.items())), DIFFERENCES) for _ in range(20)}
    assert again == {payload.packed(ARRAYS, facts, dict(reversed(DIFFERENCES.items())))}
    assert payload.indices(np.array([70000]), 70001).dtype == np.int32
    assert b"</" not in payload.call("model", "</script>\u2028")


def test_frequent_values_become_small_places() -> None:
    values = np.array([[70000, 5], [5, 9], [5, 9]])
    distinct, places = payload.by_frequency(values)
    assert distinct.tolist() == [5, 9, 70000]
    np.testing.assert_array_equal(distinct[places], values)
    assert places.dtype == np.uint16


def test_logits_are_stored_once() -> None:
    """Logits of classes of interest are among the logits of the top classes only by chance."""
    top = np.array([[[[3, 1, 2], [2, 4, 0], [1, 2, 3]]]], np.uint16)
    logits = np.array([[[[9, 8, 7.5], [6, 5, 4], [3, 2, 1]]]], np.float32)
    shown = ImageArrays()
    shown.arrays["interest"] = np.array([1, 2], np.int32)
    shown.add_top(top, logits)
    np.testing.assert_array_equal(shown.arrays["top_class"][shown.arrays["top"]], top)
    assert shown.arrays["top_logit"].tolist() == [[[[900, 900, 900], [0, 500, 400], [0, 0, 100]]]]
    unused = np.isin(top, [1, 2])
    np.testing.assert_array_equal(np.where(unused, 0, filled(logits, unused)), np.where(unused, 0, logits))


SHOWN = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The explorer of two models, which shows six of ten images."""
    run = Run(tmp_path_factory.mktemp("run"))
    run.complete("explorer", "--configfile", run.configure(config_of(SHOWN)))
    return run


def config_of(images: int) -> dict[str, Any]:
    config = small_config(explorer={"images": images}, analyses=["identifiability", "memories", "relevance"])
    model = config["models"]["m"]
    trained = {**model, "weights": "trained", "training": {"epochs": 1}, "random_twin": {"seeds": 1}}
    return {**config, "models": {"m": trained, "n": {**model, "kwargs": {**model["kwargs"], "embed_dim": 32}}}}


def arguments_in(path: Path) -> list[Any]:
    """The arguments of the call in a data file."""
    content = path.read_bytes()
    text = content.decode("utf-8-sig" if content.startswith(b"\xef") else "utf-16")
    found: list[Any] = json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")
    return found


def table(run: Run, path: str) -> pl.DataFrame:
    frame = pl.concat([pl.read_parquet(file) for file in sorted((run.folder / "results/small").glob(path))])
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def test_all_models_of_a_data_set_show_the_same_images(run: Run) -> None:
    folder = run.folder / "results/small/explorer"
    facts = {name: arguments_in(folder / name / "model.js")[1] for name in ("m", "m_random", "n")}
    (images,) = {tuple(found["images"]["id"]) for found in facts.values()}
    classes = facts["m"]["images"]["class"]
    assert sorted(classes.count(index) for index in range(5)) == [1, 1, 1, 1, 2]
    for name, found in facts.items():
        predictions = table(run, f"predictions/{name}/d/validation.parquet")
        assert found["chosen"] == {"shown": SHOWN, "of": 10}
        assert found["accuracy"] == pytest.approx(predictions["correct"].mean())
        for kind, end in (("images", "js"), ("photographs", "jpg")):
            assert sorted(path.name for path in (folder / name / kind).iterdir()) == [f"{image:05d}.{end}" for image in images]


def test_numbers_over_blocks_and_their_means_over_all_images(run: Run, opened: Page, reader: str) -> None:
    (_, facts) = arguments_in(run.folder / "results/small/explorer/m/model.js")
    arrays, _ = read(opened, reader, facts["series"])
    ranks = table(run, "projections/m/d/validation/*.parquet").filter(pl.col("token") > 0, site="resid_post")
    tokens = ranks["token"].n_unique()
    per_image = ranks.group_by("image_id", "block").agg(rate=(1 - pl.col("rank") / 5).mean(), first=(pl.col("rank") == 0).sum())
    rates, first = (per_image.sort("image_id", "block")[name].to_numpy().reshape(10, 2) for name in ("rate", "first"))
    assert first.max() <= tokens
    np.testing.assert_allclose(arrays["mean_identifiability"], rates.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(arrays["mean_first"], first.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(arrays["first"], first[facts["images"]["id"]])
    np.testing.assert_allclose(arrays["identifiability"] / 255, rates[facts["images"]["id"]], atol=0.51 / 255)


def test_stories_show_images_that_the_explorer_has(run: Run) -> None:
    facts = {name: arguments_in(run.folder / f"results/small/explorer/{name}/model.js")[1] for name in ("m", "m_random", "n")}
    assert facts["m_random"]["stories"] == facts["n"]["stories"] == []  # models with random weights have nothing to tell
    states = {story["name"]: story["state"] for story in facts["m"]["stories"]}
    assert states["twin"] == {**facts["m"]["start"], "second": "m_random"}
    assert {state["image"] for state in states.values()} <= set(facts["m"]["images"]["id"])


def test_an_image_has_the_numbers_of_the_tables(run: Run, opened: Page, reader: str) -> None:
    for path in sorted((run.folder / "results/small/explorer/m/images").iterdir()):
        name, image, text = arguments_in(path)
        arrays, facts = read(opened, reader, text)
        assert (name, f"{image:05d}") == ("m", path.stem)
        rows = table(run, "projections/m/d/validation/*.parquet").filter(pl.col("site") != "resid_mid", image_id=image)
        rows = rows.sort(pl.col("site").replace_strict({"resid_post": 0, "attn_out": 1, "mlp_out": 2}), "block", "token")
        np.testing.assert_array_equal(arrays["rank"].ravel(), rows["rank"])
        top = arrays["top_class"][arrays["top"]].reshape(len(rows), -1)
        np.testing.assert_array_equal(top, np.array(rows["top5"].to_list()))
        interest = arrays["interest"].tolist()
        of_interest = arrays["interest_logit"].reshape(len(interest), -1) * float(facts["interest_logit_step"])
        others = arrays["top_logit"].reshape(top.shape) * float(facts["top_logit_step"])
        logits = [
            [of_interest[interest.index(index), row] if index in interest else others[row, place] for place, index in enumerate(line)]
            for row, line in enumerate(top.tolist())
        ]
        np.testing.assert_allclose(logits, np.array(rows["top5_logit"].to_list()), atol=0.00502)
        keys = table(run, "memory_keys/m/d/validation/*.parquet").filter(image_id=image)
        keys = keys.sort(pl.col("layer").replace_strict({"attn": 0, "mlp": 1}), "block", "token")
        np.testing.assert_array_equal(arrays["memory"].reshape(len(keys), -1), np.array(keys["memory"].to_list()))
        strength = arrays["coefficient"].reshape(len(keys), -1) * float(facts["coefficient_step"])
        np.testing.assert_allclose(strength, np.array(keys["coefficient"].to_list()), atol=0.00502)
        maps = table(run, "relevance/m/d.parquet").filter(image_id=image)
        relevance = np.array(maps["relevance"].to_list())
        largest = np.abs(relevance).max(axis=1, keepdims=True)
        assert np.all(np.abs(arrays["relevance"] * arrays["relevance_step"][:, None] - relevance) <= 2e-5 * largest)


@pytest.mark.parametrize(
    ("images", "stale"), [(5, {"explorer_model", "explorer"}), (10, {"explorer_model", "explorer"}), (SHOWN, set())], ids=str
)
def test_another_number_of_images_makes_the_explorer_stale(run: Run, images: int, stale: set[str]) -> None:
    assert planned(run, "explorer", "--configfile", str(run.configure(config_of(images), "changed.yaml"))) == stale
