"""Speed, size and RAM use of each stage, with ratios to the bare forward pass of the same model, batch and threads.

`make bench` runs this after the demo and writes docs/benchmarks.md. Times are medians of interleaved repetitions, so that a drift of the
machine's speed affects both parts of a ratio.
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import timm
import torch
from PIL import Image

import bench_explorer
import bench_gpu
from classlens.analyses import ablation, deletion, extraction, faithfulness, perturbation, probes, projection, relevance
from classlens.analyses.attention_relevance import attention_maps
from classlens.analyses.attnlrp import attnlrp
from classlens.analyses.attribution import attribution
from classlens.analyses.grad_cam import grad_cam
from classlens.analyses.groups import TokenLabels
from classlens.analyses.integrated_gradients import STEPS, integrated_gradients
from classlens.analyses.legrad import legrad
from classlens.analyses.model_run import ModelRun
from classlens.analyses.tuned_lens import TOKENS_AT_ONCE, Moments
from classlens.compute.device import Compute
from classlens.data import manifest
from classlens.data.batches import Batch, batches
from classlens.data.images import read_bytes
from classlens.data.layouts import Dataset
from classlens.data.transforms import Transform
from classlens.lens import Lens
from classlens.models import checkpoints, loading, token_pruning
from classlens.models.card import Card
from classlens.models.hub import Architecture
from classlens.protocol import CORRECTED, PAPER
from classlens.storage import parquet
from classlens.trace import Trace, unfused
from classlens.vocabulary import TOKEN_LABELS

REPOSITORY = Path(__file__).resolve().parent.parent
ARCH = "vit_base_patch32_224"
GOLDEN_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "cls": ("vit_base_patch32_224", {"embed_dim": 64, "num_heads": 4, "depth": 12}),
    "gap": ("vit_base_patch16_rpn_224", {"embed_dim": 32, "num_heads": 2, "depth": 12, "init_values": 1.0}),
}
REPETITIONS = 5
IMAGES, BATCH, NAIVE_IMAGES = 128, 32, 16
FEW = 8  # images of methods that take many passes
DELETION_STEPS = 8
TUNED = {"images": 9100, "tokens per image": 197, "width": 768}
PROBE = {"training images": 9100, "test images": 4550, "width": 768, "classes": 1000}


def photographs(folder: Path, count: int, size: tuple[int, int] = (500, 375)) -> pa.Table:
    """Generate JPEG files with the size and texture of photographs, about 100 kB each, and return their manifest."""
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
    return pa.Table.from_pylist(rows)


def random_model(arch: str, kwargs: dict[str, Any], folder: Path) -> tuple[Any, Card]:
    """Return a model with random weights and its card, and store both."""
    model = loading.make_model(Architecture(arch), "random", kwargs, 1000, seed=0)
    loading.save(model, folder / "model.safetensors")
    return model, loading.describe(model, arch, kwargs, "random", transform=None, protocol=CORRECTED, weights=folder / "model.safetensors")


def model_run(model: Any, card: Card, images: pa.Table, root: Path, compute: Compute) -> ModelRun:
    """Return a run of a model on images, without provenance."""
    return ModelRun(model, Lens.from_model(model), card, images, root, Transform(card.transform), compute, CORRECTED, {})


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Return the wall-clock time of a call in seconds."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Stage:
    """A timed computation.

    Attributes:
        name: its name.
        run: function that does it once.
        images: number of images in one run.
        at_most: target for the ratio to the bare forward pass.
        repeats: repetitions per image in one run (steps of a curve).
    """

    name: str
    run: Callable[[], Any]
    images: int = IMAGES
    at_most: float | None = None
    repeats: int = 1


def stages(compute: Compute, folder: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the time per 1,000 images and the ratio to the bare forward pass of each stage, and the stored bytes per image."""
    images = photographs(folder / "images", IMAGES)
    model, card = random_model(ARCH, {}, folder)
    model.to(compute.device).requires_grad_(False)
    transform = Transform(card.transform)
    run = model_run(model, card, images, folder / "images", compute)
    decoded = list(batches(images, folder / "images", transform, size=BATCH, workers=compute.workers, device=compute.device))
    states, keys, predictions, projections, class_logits = (
        folder / f"{name}.parquet" for name in ("states", "keys", "predictions", "projections", "class_logits")
    )

    @torch.inference_mode()
    def forward() -> None:
        for batch in decoded:
            model(batch.images)

    def extract(memory_path: Path | None) -> None:
        extraction.extract(run, "float16", extraction.Outputs(states, predictions, memory_path))

    def project() -> None:
        interest = projection.classes_of_interest(images, parquet.read_table(predictions), [])
        project_states = projection.Projector(run.lens, card, 5, compute, CORRECTED)
        project_states.shard(states, interest, projection.Outputs(projections, class_logits), {})

    def naive() -> None:
        naive_extraction(model, images.slice(0, NAIVE_IMAGES), folder, transform, compute.device)

    measured = [
        Stage("bare forward", forward),
        Stage("extraction", lambda: extract(None), at_most=1.18),
        Stage("extraction with memory keys", lambda: extract(keys), at_most=1.25),
        Stage("projection of all sites, ranks and top-5", project, at_most=0.60),
        Stage("extraction and projection, image by image", naive, NAIVE_IMAGES),
        *explanations(model, card, decoded[0]),
    ]
    rows = timed(measured, compute.device)
    stored = {"hidden states": states, "memory keys": keys, "projections": projections, "logits of classes of interest": class_logits}
    sizes = {name: path.stat().st_size / IMAGES for name, path in stored.items()}
    sizes["hidden states as float32, for comparison"] = len(extraction.columns(card.depth)) * card.tokens * card.width * 4
    return rows, sizes


def explanations(model: Any, card: Card, batch: Batch) -> list[Stage]:
    """Return the stages of perturbation, relevance and deletion on one decoded batch, and the same stages image by image."""
    lens, count = Lens.from_model(model), len(batch)
    labels = half_labelled(card, batch.image_ids)
    orders = torch.stack([torch.randperm(card.image_tokens) for _ in range(count)])[None]
    removed = deletion.steps(card.image_tokens, DELETION_STEPS, lens.pooled, CORRECTED)
    one = batch[:1]

    @torch.inference_mode()
    def perturb(condition: str, on: Batch) -> None:
        list(perturbation.Perturbations(model, lens, card, [condition], CORRECTED)(on, labels))

    def delete(on: Batch) -> None:
        deletion.after_removal(model, lens, on, orders[:, : len(on)], removed)

    def totals(on: Batch) -> None:
        list(ablation.total(model, on.images, means))

    few = batch[:FEW]
    explained, of_few = ((model, lens, part.images, [part.classes]) for part in (batch, few))
    baseline = token_pruning.embed(model, batch.images).mean(dim=0)
    places = faithfulness.groups(card.image_tokens)
    means: dict[str, torch.Tensor] = {}
    attribution(model, lens, one.images, lambda name, states: means.__setitem__(name, states.mean(dim=0)))
    return [
        *(
            Stage(f"perturbation {condition}", partial(perturb, condition, batch), count, 1.15)
            for condition in ("self_only", "no_cls", "without_context")
        ),
        Stage("perturbation self_only, image by image", partial(perturb, "self_only", one), 1),
        Stage(
            "relevance, all heads and blocks",
            lambda: relevance.class_relevance(model, lens, batch.images, [batch.classes], CORRECTED),
            count,
            1.3,
        ),
        Stage("attribution to all heads and MLPs", lambda: attribution(model, lens, batch.images), count, 1.3),
        Stage("total effect of a component", lambda: totals(batch[:2]), 2, 0.6, card.depth * (card.heads + 1)),
        Stage("relevance, a backward pass per block, image by image", lambda: naive_relevance(model, lens, one), 1),
        Stage("Chefer, rollout, last attention", lambda: attention_maps(*explained), count, 4.0),
        Stage("Chefer, rollout, last attention, image by image", lambda: attention_maps(model, lens, one.images, [one.classes]), 1),
        Stage("LeGrad", lambda: legrad(*explained), count, 1.6),
        Stage("AttnLRP", lambda: attnlrp(*explained), count, 4.0),
        Stage("Grad-CAM", lambda: grad_cam(*explained), count, 1.6),
        Stage("integrated gradients, a step", lambda: integrated_gradients(*of_few, baseline), FEW, 3.0, STEPS),
        Stage("SaCo, a group of tokens", lambda: faithfulness.drops(model, lens, few, orders[:, :FEW], places), FEW, None, len(places)),
        Stage("a step of a deletion curve", lambda: delete(batch), count, 0.6, len(removed)),
        Stage("a step of a deletion curve, image by image", lambda: delete(one), 1, None, len(removed)),
    ]


def half_labelled(card: Card, image_ids: list[int]) -> TokenLabels:
    """Return labels that mark a random half of each image's tokens as class tokens."""
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.permutation(np.arange(card.image_tokens) % 2) for _ in image_ids]).astype(np.int8)
    label = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(TOKEN_LABELS))
    return TokenLabels(pa.table({"image_id": np.repeat(np.asarray(image_ids, np.int32), card.image_tokens), "label": label}), card)


def timed(measured: list[Stage], device: torch.device) -> list[dict[str, Any]]:
    """Return medians of interleaved repetitions, and ratios to the first stage within each round."""
    for stage in measured:
        stage.run()  # warm-up of RAM, threads and kernels
    times: dict[str, list[float]] = {stage.name: [] for stage in measured}
    for _ in range(REPETITIONS):
        for stage in measured:
            times[stage.name].append(seconds(stage.run, device) / stage.images / stage.repeats)
    bare = times[measured[0].name]
    ratios = {name: [value / base for value, base in zip(values, bare, strict=True)] for name, values in times.items()}
    return [
        {
            "name": stage.name,
            "seconds_per_1000": 1000 * statistics.median(times[stage.name]),
            "ratio": statistics.median(ratios[stage.name]),
            "at_most": stage.at_most,
        }
        for stage in measured
    ]


def naive_relevance(model: Any, lens: Lens, batch: Batch) -> list[torch.Tensor]:
    """Compute relevance like a simple script: one backward pass per block, from its projected attention output to its attention weights."""
    maps = []
    for block in range(len(model.blocks)):
        weights: list[torch.Tensor] = []

        def follow(attention: torch.Tensor, weights: list[torch.Tensor] = weights) -> torch.Tensor:
            weights.append(attention.requires_grad_())
            return attention

        read = {f"attn_out.{block}": lambda written: written}
        with torch.enable_grad(), unfused(model), Trace(model, read, edit={f"attn_weights.{block}": follow}) as trace:
            model(batch.images)
            loss = relevance.class_loss(relevance.block_projection(lens, trace[f"attn_out.{block}"]), batch.classes, CORRECTED)
        maps.append(-torch.autograd.grad(loss, weights)[0][:, :, 0])
    return maps


def probe_seconds() -> float:
    """Return the seconds to fit one linear probe and rank the test images with it."""
    rng = np.random.default_rng(0)
    states = rng.standard_normal((PROBE["training images"], PROBE["width"])).astype(np.float16)
    classes = rng.integers(0, PROBE["classes"], len(states))
    tested = slice(0, PROBE["test images"])

    def probe() -> None:
        probes.ranks(probes.Probe.fit(states, classes, PROBE["classes"]).scores(states[tested]), classes[tested], CORRECTED)

    probe()
    return statistics.median(seconds(probe, torch.device("cpu")) for _ in range(REPETITIONS))


def tuned_lens_seconds() -> float:
    """Return the seconds of the sums and the solution of one block of a tuned lens, from a part of its tokens."""
    states = torch.randn(TOKENS_AT_ONCE, TUNED["width"])
    last = states + torch.randn_like(states)
    moments = Moments(TUNED["width"])

    def add() -> None:
        moments.add(states, last)

    add()
    sums = statistics.median(seconds(add, torch.device("cpu")) for _ in range(REPETITIONS))
    solution = seconds(lambda: moments.ridge(0.001), torch.device("cpu"))
    return sums * TUNED["images"] * TUNED["tokens per image"] / TOKENS_AT_ONCE + solution


@torch.no_grad()
def naive_extraction(model: Any, images: pa.Table, folder: Path, transform: Transform, device: torch.device) -> None:
    """Extract and project like a simple script: image by image, with lists of activations, sorted logits and a float32 file per image."""
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
    """Return the peak RAM in MB of an extraction with a small model, measured in a new process."""
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
        extraction.extract(model_run(model, card, table, folder / "images", compute), "float16", extraction.Outputs(*paths))
    status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss would include the parent's RAM
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def float16_changes(folder: Path) -> dict[str, float]:
    """Return the share of ranks that change with float16 hidden states, for the models of the published outputs and of the demo."""
    demo, golden = REPOSITORY / "results" / "demo", REPOSITORY / "tests" / "golden"
    sources = {f"demo, {name}": (demo / "models" / name, demo / "data/shapes/images") for name in ("cls", "pooled")}
    for name, (arch, kwargs) in GOLDEN_MODELS.items():
        keep = folder / name
        model = loading.make_model(
            Architecture(arch), "checkpoint", kwargs, 1000, 0, checkpoint=checkpoints.read(golden / f"{name}.safetensors")
        )
        loading.save(model, keep / "model.safetensors")
        loading.describe(model, arch, kwargs, name, transform=None, protocol=PAPER, weights=keep / "model.safetensors").write(
            keep / "model.json"
        )
        sources[f"published outputs, {name}"] = (keep, golden / "data")
    compute, shares = Compute(torch.device("cpu"), BATCH, 2), {}
    for label, (model_folder, root) in sources.items():
        model, card = loading.load_model(model_folder)
        dataset = Dataset("shapes", root, subset=10) if label.startswith("demo") else Dataset("imagenet_s", root)
        table, ranks = manifest.build(dataset, "validation", None, 512, 2), {}
        for dtype in ("float32", "float16"):
            states, predictions, out = folder / "s.parquet", folder / "y.parquet", folder / "p.parquet"
            run = model_run(model, card, table, root, compute)
            extraction.extract(run, dtype, extraction.Outputs(states, predictions))
            interest = projection.classes_of_interest(table, parquet.read_table(predictions), [])
            project = projection.Projector(run.lens, card, 5, compute, CORRECTED)
            project.shard(states, interest, projection.Outputs(out, folder / "c.parquet"), {})
            ranks[dtype] = parquet.read_table(out)["rank"].to_numpy()
        shares[label] = float((ranks["float32"] != ranks["float16"]).mean())
    return shares


def other_libraries(python: Path, threads: int) -> dict[str, Any]:
    """Return the numbers of tools/bench_peers.py, which runs in the environment of another Python."""
    command = [python, REPOSITORY / "tools" / "bench_peers.py", "--threads", str(threads)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def machine(compute: Compute) -> str:
    """Return a description of the machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    accelerator = torch.cuda.get_device_name(compute.device) if compute.device.type == "cuda" else "no GPU"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = f"torch {torch.__version__}, timm {timm.__version__}"
    return f"{os.cpu_count()} CPU cores ({name}), {memory:.0f} GiB of RAM, {accelerator}; {versions}"


def report(measured: dict[str, Any]) -> str:
    """Return the page of the documentation."""
    lines = [
        "# Benchmarks",
        "",
        "`make bench` writes this page. Ratios are relative to a bare forward pass with the same model, batch and threads in the same run.",
        "",
        f"Machine: {measured['machine']}.",
        "",
        f"## Stages: {ARCH}, random weights, {IMAGES} JPEG images of 500 x 375, batches of {BATCH}",
        "",
        "Extraction includes reading, decoding, resizing and writing; projection includes reading and writing. The stages below them start",
        f"with decoded images; integrated gradients and SaCo have {FEW}. For comparison, rows with `image by image` show the time of a",
        "simple script.",
        "",
        "| stage | s per 1,000 images | ratio to bare forward | at most |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['name']} | {row['seconds_per_1000']:.1f} | {row['ratio']:.2f} | {row['at_most'] or ''} |" for row in measured["stages"]
    ]
    probe = ", ".join(f"{value} {name}" for name, value in PROBE.items())
    lines += ["", f"One linear probe ({probe}): {measured['probe']:.2f} s (at most 0.25)."]
    tuned = ", ".join(f"{value} {name}" for name, value in TUNED.items())
    lines += ["", f"One block of a tuned lens ({tuned}), without reading: {measured['tuned']:.0f} s."]
    lines += ["", "## Sizes", "", "| what | MB per 1,000 images |", "|---|---|"]
    lines += [f"| {name} | {size / 1000:.0f} |" for name, size in measured["sizes"].items()]
    lines += ["", "## RAM", "", "Peak RAM of an extraction with a small model, in a separate process.", ""]
    lines += ["| images | MB |", "|---|---|", *(f"| {count} | {value:.0f} |" for count, value in measured["memory"].items())]
    lines += [
        "",
        "## Explorer",
        "",
        "The page is opened from disk in headless Chromium, 1280 pixels wide, for a model with the tokens, blocks and classes of ViT-B/16.",
        "The first view includes the photograph and all its patches.",
        "",
        *explorer_table(measured["explorer"]),
        "",
        *measured["gpu"],
        "## Storing hidden states as float16",
        "",
        "Share of ranks that differ from the ranks with float32, over all sites and blocks.",
        "",
    ]
    lines += ["| model | share |", "|---|---|", *(f"| {name} | {share:.5f} |" for name, share in measured["float16"].items())]
    if "libraries" in measured:
        lines += libraries_section(measured["libraries"])
    return "\n".join(lines) + "\n"


def libraries_section(measured: dict[str, Any]) -> list[str]:
    """Return the lines of the section about other libraries, from the numbers of tools/bench_peers.py."""
    sites = list(measured["libraries"][0]["ratios"])
    columns = ["library", "version", *(f"ratio, {name}" for name in sites), "largest difference of a logit", "share of ranks that differ"]
    lines = [
        "",
        "## Other libraries",
        "",
        f"All rows do the same work in RAM, with one batch of {measured['images']} decoded images: record the outputs of all blocks, or",
        "also those of attention and MLPs, for all tokens; project them onto 1,000 classes with final norm and head; rank the true class.",
        f"Architecture, weights, threads ({measured['threads']}) and torch ({measured['torch']}) are the same. Ratios are to a bare",
        f"forward pass of timm's model in the same process, {measured['seconds_per_1000']:.1f} s per 1,000 images. The last two columns",
        "compare logits and ranks with those of classlens.",
        "",
        "The rows differ in this: the other libraries only record. Norm and head are called by hand, and the rank is that of classlens,",
        "which counts the larger logits; one row sorts them instead. timm returns the outputs of blocks only. TransformerLens runs the",
        "model of transformers, and ViT-Prisma its own; neither uses fused attention.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for row in measured["libraries"]:
        ratios = [f"{row['ratios'][name]:.2f}" if name in row["ratios"] else "" for name in sites]
        found = row["differences"]
        lines.append(f"| {row['name']} | {row['version']} | {' | '.join(ratios)} | {found['logit']:.1g} | {found['ranks']:.5f} |")
    return lines


def explorer_table(pages: dict[int, dict[str, float]]) -> list[str]:
    """Return the lines of a table with a column per number of images."""
    lines = [f"| | {' | '.join(f'{count} images' for count in pages)} |", "|---|" + "---|" * len(pages)]
    names = next(iter(pages.values()))
    return lines + [f"| {name} | {' | '.join(f'{page[name]:.3g}' for page in pages.values())} |" for name in names]


def main() -> None:
    """Measure everything, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="page to write")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="number of CPU threads")
    parser.add_argument("--peers", type=Path, help="Python of an environment with other libraries (envs/peers.lock), to compare with them")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    compute = Compute(torch.device("cuda" if torch.cuda.is_available() else "cpu"), BATCH, args.threads)
    measured: dict[str, Any] = {"machine": machine(compute)}
    if args.peers:
        measured["libraries"] = other_libraries(args.peers, args.threads)
    with tempfile.TemporaryDirectory() as folder:
        measured["stages"], measured["sizes"] = stages(compute, Path(folder))
    print(json.dumps(measured, indent=2))
    measured["probe"] = probe_seconds()
    measured["tuned"] = tuned_lens_seconds()
    measured["memory"] = {count: peak_memory(count) for count in (128, 1024)}
    with tempfile.TemporaryDirectory() as folder:
        photographs(Path(folder) / "photos", 2000)
        bench_explorer.class_folders(Path(folder) / "photos")
        measured["explorer"] = bench_explorer.explorer(Path(folder) / "photos")
    with tempfile.TemporaryDirectory() as folder:
        measured["float16"] = float16_changes(Path(folder))
        measured["gpu"] = bench_gpu.section(compute, partial(random_model, ARCH, {}, Path(folder) / "gpu"), explanations)
    page = report(measured)
    print(page)
    if args.report:
        args.report.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
