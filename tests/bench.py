"""Speed, size and memory of each stage, as ratios to the bare forward pass of the same model, batch and threads, measured in one run.

`make bench` runs this after the demo and writes docs/benchmarks.md. Times are medians of interleaved repetitions, so that a machine whose
speed drifts affects numerator and denominator alike.
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import timm
import torch
from PIL import Image

from classlens import extraction, manifest, models, projection, storage
from classlens.batches import batches
from classlens.card import Card
from classlens.compute import Compute
from classlens.datasets import Dataset
from classlens.images import read_bytes
from classlens.lens import Lens
from classlens.manifest import SCHEMA
from classlens.protocol import CORRECTED, PAPER
from classlens.transforms import Transform

REPOSITORY = Path(__file__).resolve().parent.parent
ARCH = "vit_base_patch32_224"
GOLDEN_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "cls": ("vit_base_patch32_224", {"embed_dim": 64, "num_heads": 4, "depth": 12}),
    "gap": ("vit_base_patch16_rpn_224", {"embed_dim": 32, "num_heads": 2, "depth": 12, "init_values": 1.0}),
}
REPETITIONS = 5
IMAGES, BATCH, NAIVE_IMAGES = 128, 32, 16


def photographs(folder: Path, count: int, size: tuple[int, int] = (500, 375)) -> pa.Table:
    """A manifest of generated JPEG files of the size and texture of photographs, about 100 kB each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pixels = np.asarray(coarse).astype(np.int16) + rng.integers(-20, 20, (size[1], size[0], 3))
        path = folder / f"{i:05d}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        facts = {"path": path.name, "sha256": read_bytes(path)[1], "width": size[0], "height": size[1]}
        rows.append({"image_id": i, "class_index": i % 1000, "class_id": "n", "class_name": "n", "shard": "00000", **facts})
    return pa.Table.from_pylist(rows, SCHEMA)


def random_model(arch: str, kwargs: dict[str, Any], folder: Path) -> tuple[Any, Card]:
    """A model with random weights and its card."""
    model = models.make_model(arch, "random", kwargs, 1000, seed=0)
    models.save(model, folder / "model.safetensors")
    return model, models.describe(model, arch, kwargs, "random", None, CORRECTED, folder / "model.safetensors")


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def stages(compute: Compute, folder: Path) -> dict[str, dict[str, float]]:
    """Milliseconds per image and ratio to the bare forward pass of each stage."""
    images = photographs(folder / "images", IMAGES)
    model, card = random_model(ARCH, {}, folder)
    model.to(compute.device)
    transform = Transform(card.transform)
    decoded = [batch.images for batch in batches(images, folder / "images", transform, BATCH, compute.workers, compute.device)]
    states, keys, predictions = (folder / f"{name}.parquet" for name in ("states", "keys", "predictions"))

    def forward() -> None:
        with torch.inference_mode():
            for batch in decoded:
                model(batch)

    def extract(memory_path: Path | None) -> None:
        root = folder / "images"
        extraction.extract(model, card, images, root, compute, "float16", states, predictions, memory_path, CORRECTED, {})

    def project() -> None:
        projection.project(Lens.from_model(model), card, states, images, 5, compute, folder / "projections.parquet", {})

    def naive() -> None:
        naive_extraction(model, images.slice(0, NAIVE_IMAGES), folder, transform, compute.device)

    runs: dict[str, Callable[[], None]] = {
        "bare forward": forward,
        "extraction": lambda: extract(None),
        "extraction with memory keys": lambda: extract(keys),
        "projection of all sites, ranks and top-5": project,
        "extraction and projection, image by image": naive,
    }
    for run in runs.values():
        run()  # warm up: memory, threads, kernels
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPETITIONS):
        for name, run in runs.items():
            scale = IMAGES / NAIVE_IMAGES if run is naive else 1
            times[name].append(scale * seconds(run, compute.device))
    result = {}
    for name, values in times.items():
        ratios = [value / bare for value, bare in zip(values, times["bare forward"], strict=True)]
        result[name] = {"ms_per_image": 1000 * statistics.median(values) / IMAGES, "ratio": statistics.median(ratios)}
    result["sizes"] = {
        "hidden_states": states.stat().st_size / IMAGES,
        "memory_keys": keys.stat().st_size / IMAGES,
        "projections": (folder / "projections.parquet").stat().st_size / IMAGES,
        "float32": len(extraction.columns(card.depth)) * card.tokens * card.width * 4,
    }
    return result


@torch.no_grad()
def naive_extraction(model: Any, images: pa.Table, folder: Path, transform: Transform, device: torch.device) -> None:
    """What a straightforward script does: one image at a time, lists of activations, ranks by sorting, one float32 file per image."""
    lens = Lens.from_model(model)
    for row in images.to_pylist():
        kept: dict[str, Any] = {}
        handles = []
        for index, block in enumerate(model.blocks):
            places = (("resid_post", block), ("attn_out", block.drop_path1), ("mlp_out", block.drop_path2))
            for site, module in places:
                handles.append(module.register_forward_hook(partial(_keep, kept, f"{site}.{index}")))
        image = Image.open(folder / "images" / row["path"]).convert("RGB")
        model(transform(image)[None].to(device))
        for handle in handles:
            handle.remove()
        stacked = torch.cat(list(kept.values()))
        order = lens(stacked).argsort(dim=-1, descending=True)
        ranks = (order == row["class_index"]).int().argmax(dim=-1)
        np.savez(folder / "naive.npz", states=stacked.cpu().numpy(), ranks=ranks.cpu().numpy(), top5=order[..., :5].cpu().numpy())


def _keep(kept: dict[str, Any], name: str, _: Any, inputs: Any, output: torch.Tensor) -> None:
    kept[name] = output.clone()


def peak_memory(images: int) -> float:
    """Highest resident memory of an extraction of so many images with a small model, MB, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_extraction_memory, (images,))


def _extraction_memory(images: int) -> float:
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = photographs(folder / "images", images, (128, 128))
        model, card = random_model("vit_tiny_patch16_224", {"img_size": 112, "embed_dim": 192, "num_heads": 3}, folder)
        compute = Compute(torch.device("cpu"), BATCH, 2)
        paths = [folder / f"{part}.parquet" for part in ("states", "predictions", "keys")]
        extraction.extract(model, card, table, folder / "images", compute, "float16", *paths, CORRECTED, {})
    status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss would begin with the parent's memory
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def float16_changes(folder: Path) -> dict[str, float]:
    """Share of ranks that storing hidden states as float16 changes, on the published models and on the demo's."""
    demo, golden = REPOSITORY / "results" / "demo", REPOSITORY / "tests" / "golden"
    sources = {f"demo, {name}": (demo / "models" / name, demo / "data/shapes/images") for name in ("cls", "pooled")}
    for name, (arch, kwargs) in GOLDEN_MODELS.items():
        keep = folder / name
        model = models.make_model(arch, "checkpoint", kwargs, 1000, 0, golden / f"{name}.safetensors")
        models.save(model, keep / "model.safetensors")
        models.save_card(models.describe(model, arch, kwargs, name, None, PAPER, keep / "model.safetensors"), keep / "model.json")
        sources[f"published outputs, {name}"] = (keep, golden / "data")
    compute, shares = Compute(torch.device("cpu"), BATCH, 2), {}
    for label, (model_folder, root) in sources.items():
        model, card = models.load_model(model_folder)
        dataset = Dataset("shapes", root, subset=10) if label.startswith("demo") else Dataset("imagenet_s", root)
        table, ranks = manifest.build(dataset, "validation", None, 512, 2), {}
        for dtype in ("float32", "float16"):
            states, out = folder / "s.parquet", folder / "p.parquet"
            extraction.extract(model, card, table, root, compute, dtype, states, folder / "y.parquet", None, CORRECTED, {})
            projection.project(Lens.from_model(model), card, states, table, 5, compute, out, {})
            ranks[dtype] = storage.read_table(out)["rank"].to_numpy()
        shares[label] = float((ranks["float32"] != ranks["float16"]).mean())
    return shares


def machine(compute: Compute) -> str:
    """The machine, in words."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    accelerator = torch.cuda.get_device_name(compute.device) if compute.device.type == "cuda" else "no accelerator"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = f"torch {torch.__version__}, timm {timm.__version__}"
    return f"{os.cpu_count()} processor cores ({name}), {memory:.0f} GiB of memory, {accelerator}; {versions}"


def report(measured: dict[str, Any]) -> str:
    """The measurements as a page."""
    targets = {
        "extraction": "1.18",
        "extraction with memory keys": "1.25",
        "projection of all sites, ranks and top-5": "0.80",
    }
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; ratios are to the bare forward pass of the same model, batch and threads in the same run.",
        "",
        f"Machine: {measured['machine']}.",
        "",
        f"## Stages: {ARCH}, random weights, {IMAGES} JPEG images of 500 x 375, batches of {BATCH}",
        "",
        "Extraction includes reading, decoding, resizing and writing.",
        "",
        "| stage | ms per image | ratio to bare forward | at most |",
        "|---|---|---|---|",
    ]
    sizes = measured["stages"].pop("sizes")
    lines += [
        f"| {name} | {row['ms_per_image']:.1f} | {row['ratio']:.2f} | {targets.get(name, '')} |" for name, row in measured["stages"].items()
    ]
    lines += ["", "## Sizes", "", "| what | kB per image |", "|---|---|"]
    names = {"float32": "hidden states as float32, for comparison"}
    lines += [f"| {names.get(name, name.replace('_', ' '))} | {size / 1000:.0f} |" for name, size in sizes.items()]
    lines += ["", "## Memory", "", "Highest resident memory of the extraction of a small model, in a process of its own.", ""]
    lines += ["| images | MB |", "|---|---|", *(f"| {count} | {value:.0f} |" for count, value in measured["memory"].items())]
    lines += [
        "",
        "## Storing hidden states as float16",
        "",
        "Share of the ranks that differ from those of float32, all sites and blocks.",
        "",
    ]
    lines += ["| model | share |", "|---|---|", *(f"| {name} | {share:.5f} |" for name, share in measured["float16"].items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="page to write")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="processor threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    compute = Compute(torch.device("cuda" if torch.cuda.is_available() else "cpu"), BATCH, args.threads)
    measured: dict[str, Any] = {"machine": machine(compute)}
    with tempfile.TemporaryDirectory() as folder:
        measured["stages"] = stages(compute, Path(folder))
    print(json.dumps(measured, indent=2))
    measured["memory"] = {count: peak_memory(count) for count in (128, 1024)}
    with tempfile.TemporaryDirectory() as folder:
        measured["float16"] = float16_changes(Path(folder))
    page = report(measured)
    print(page)
    if args.report:
        args.report.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
