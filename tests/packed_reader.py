"""The page's reader of packed files in a browser, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page

from classlens.explorer import page
from classlens.explorer.page.modules import one_script

READ = """
const plain = ({ arrays, facts }) => {
  const described = (values) => ({ kind: values.constructor.name, shape: values.shape, values: [...values] });
  return { facts, arrays: Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, described(values)])) };
};
globalThis.read = async (text) => plain(await unpacked(text));
"""


@contextmanager
def opened(browser: Browser, folder: Path) -> Iterator[Page]:
    """An empty page with the explorer's reader of packed files, whose modules are joined in a folder."""
    module = (Path(page.__file__).parent / "unpacked.js").read_text(encoding="utf-8")
    (folder / "unpacked.js").write_text(module, encoding="utf-8")
    (folder / "main.js").write_text('import { unpacked } from "./unpacked.js";\n' + READ, encoding="utf-8")
    context = browser.new_context()
    reader = context.new_page()
    reader.evaluate(f"(() => {{{one_script(folder / 'main.js')}}})()")
    yield reader
    context.close()


def read(reader: Page, text: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and texts as the page reads them."""
    found = reader.evaluate("text => read(text)", text)
    kinds = {name: array["kind"].removesuffix("Array").lower() for name, array in found["arrays"].items()}
    return {name: np.array(array["values"], kinds[name]).reshape(array["shape"]) for name, array in found["arrays"].items()}, found["facts"]
