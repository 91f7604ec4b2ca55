"""Time and RAM use of the explorer in Chromium, for a model with the tokens and classes of ViT-B/16."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Page, sync_playwright
from timm.data import ImageNetInfo

REPOSITORY = Path(__file__).resolve().parent.parent
# The tokens, blocks and classes of ViT-B/16. The model is narrow, because only the amount of data matters, not the values.
MODEL = {"arch": "vit_base_patch16_224", "kwargs": {"embed_dim": 48, "num_heads": 3}, "weights": "random"}
LOOKED_AT = 50
# Pages that are opened one after the other. The median leaves out the first, beside which the browser itself still starts.
VIEWS = 9


def run(folder: Path, images: int) -> tuple[Path, float]:
    """Make an explorer of `images` images from class folders under `folder`. Return its folder, and the seconds for the model's files."""
    config = {
        "run": "bench",
        "datasets": {"photos": {"kind": "imagefolder", "root": str(folder), "classes": "imagenet", "images_per_class": images // 100}},
        "models": {"model": MODEL},
        "analyses": ["identifiability", "memories", "attention", "relevance"],
        "explorer": {"images": None},
    }
    home = folder.parent / f"run{images}"
    home.mkdir()
    (home / "bench.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        REPOSITORY / "Snakefile",
        "--directory",
        home,
        "--cores",
        "all",
        "explorer",
    ]
    subprocess.run([str(part) for part in [*command, "--configfile", home / "bench.yaml"]], check=True, capture_output=True)
    timing = (home / "results/bench/benchmarks/explorer/model.tsv").read_text(encoding="utf-8").splitlines()
    return home / "results/bench/explorer", float(timing[1].split("\t")[0])


def class_folders(folder: Path) -> None:
    """Distribute the images of a folder over the folders of 100 ImageNet classes, in turn."""
    names = ImageNetInfo().label_names()[:100]
    for number, path in enumerate(sorted(folder.glob("*.jpg"))):
        target = folder / "validation" / names[number % 100] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


@contextmanager
def opened(home: Path) -> Iterator[Page]:
    """Yield an empty page in a new browser."""
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--enable-precise-memory-info",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        yield page
        browser.close()


# Records when the first view is painted: its status text and its photograph are there.
WATCH = """
new MutationObserver((_, observer) => {
  const status = document.getElementById("status");
  if (!status || !status.textContent) return;
  observer.disconnect();
  const photograph = new Image();
  photograph.onload = () => requestAnimationFrame(() => setTimeout(() => (window.firstView = performance.now())));
  photograph.src = document.querySelector(".photograph").style.backgroundImage.slice(5, -2);
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
# Milliseconds from a change of the address until the page is painted: the page writes its status text last.
CHANGE = """
address => new Promise(done => {
  const start = performance.now();
  new MutationObserver((_, observer) => {
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
  }).observe(document.getElementById("status"), { childList: true });
  location.hash = address;
})
"""


def measured(home: Path) -> dict[str, float]:
    """Return times in milliseconds and sizes in megabytes of a page."""
    files = [home / "index.html", home / "model/model.js"]
    with opened(home) as page:
        views = sorted(first_view(page, home) for _ in range(VIEWS))
        memory = heap(page)
        ids = sorted(int(path.stem) for path in home.glob("model/images/*.js"))
        images = sorted(page.evaluate(CHANGE, f"image={image}") for image in ids[1 : LOOKED_AT + 1])
        blocks = sorted(page.evaluate(CHANGE, f"image={ids[LOOKED_AT]}&block={block}") for block in range(1, 13))
        after = heap(page)
    return {
        "first view, ms": views[len(views) // 2],
        "another image, ms": images[len(images) // 2],
        "another block, ms": blocks[len(blocks) // 2],
        "page and list of images, MB": sum(file.stat().st_size for file in files) / 1e6,
        "an image, MB": sum(file.stat().st_size for file in home.glob("model/*/*")) / len(ids) / 1e6,
        "RAM of the page, MB": memory,
        f"RAM after {LOOKED_AT} images, MB": after,
    }


def first_view(page: Page, home: Path) -> float:
    """Open a page anew, and return the milliseconds until its first view is painted."""
    page.goto("about:blank")
    page.goto((home / "index.html").as_uri())
    page.wait_for_function("window.firstView")
    return float(page.evaluate("window.firstView"))


def heap(page: Page) -> float:
    """Return the megabytes of RAM that the page's scripts use after garbage collection, including typed arrays."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"] + usage.get("backingStorageSize", 0)) / 1e6


def explorer(folder: Path) -> dict[int, dict[str, float]]:
    """Return the results of `measured` for 100 and for 2,000 images from class folders under `folder`."""
    result = {}
    for images in (100, 2000):
        home, seconds = run(folder, images)
        result[images] = {**measured(home), "files written, s": seconds}
    return result
