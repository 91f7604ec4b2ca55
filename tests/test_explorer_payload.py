"""Packed files of the explorer: what the page reads from them against what was packed."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from packed_reader import opened, read
from playwright.sync_api import Browser, Page

from classlens.explorer import payload
from classlens.explorer.tables import ImageArrays, filled

RNG = np.random.default_rng(0)


@pytest.fixture
def reader(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    with opened(browser, tmp_path) as page:
        yield page


ARRAYS = {
    "bytes": RNG.integers(0, 256, (3, 5), np.uint8),
    "signed": RNG.integers(-128, 128, (4, 9)).astype(np.int8),
    "ranks": RNG.integers(0, 1 << 16, (2, 3, 4), np.uint16),
    "logits": RNG.integers(-32768, 32768, (3, 4, 2, 5)).astype(np.int16),
    "places": RNG.integers(-(1 << 31), 1 << 31, (4, 6)).astype(np.int32),
    "shares": RNG.standard_normal(7).astype(np.float32),
    "none": np.zeros((0, 3), np.int16),
    "transposed": np.arange(12, dtype=np.int32).reshape(3, 4).T,
}
DIFFERENCES = {"signed": (1,), "ranks": (1,), "logits": (2, 3), "places": (0,)}


@pytest.mark.parametrize("differences", [None, DIFFERENCES])
def test_the_page_reads_what_was_packed(reader: Page, differences: dict[str, tuple[int, ...]] | None) -> None:
    facts = {"step": "0.01", "</script>": "\u2028é"}
    arrays, said = read(reader, payload.packed(ARRAYS, facts, differences))
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
def test_files_are_read_in_the_encoding_that_they_have(reader: Page, served: tuple[Path, str], place: str, name: str) -> None:
    folder, address = served
    text = payload.packed({"a": RNG.integers(0, 256, 4000, np.uint8)}, {})
    files = {"wide": payload.call("image", name, 3, text), "narrow": payload.call("image", name, 3, "")}
    assert len(files["wide"]) < 1.1 * 2 * len(text)
    assert len(files["narrow"]) < 60
    for kind, content in files.items():
        (folder / f"{kind}.js").write_bytes(content)
    page_text = '<!doctype html><meta charset="utf-8"><script>said = []; classlens = { image: (...all) => said.push(all) }</script>'
    (folder / "index.html").write_text(page_text + '<script src="wide.js"></script><script src="narrow.js"></script>', encoding="utf-8")
    reader.goto((folder / "index.html").as_uri() if place == "disk" else f"{address}/index.html")
    assert reader.evaluate("said") == [[name, 3, text], [name, 3, ""]]


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
