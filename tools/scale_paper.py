"""Estimate the paper's seven models on ImageNet's 50,000 validation images, on machines with a GPU; prints a table of docs/scale.md.

    PYTHONPATH=workflow/scripts python tools/scale_paper.py THROUGHPUT.csv

The time of a forward pass on the GPU comes from a table of published throughputs, such as timm's
`results/benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv`. Bytes are measured here; other times are ratios of docs/benchmarks.md.
"""

import argparse
import csv
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

import estimate
from classlens.compute.device import Compute
from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.estimate import stages
from classlens.estimate.calibration import Calibration
from classlens.estimate.stages import Loading, Stage
from scale import REPOSITORY, files

GPU_CORES = 8
"""CPU cores of a job with a GPU, as in profiles/slurm."""
DISK = 1e9
"""Bytes that a job writes or reads in a second."""
SLURM_JOBS = 32
IMAGES, CLASSES = 50_000, 1000
SMALL = 0.05
"""Hours below which a stage has no row of its own."""
# Measured with ViT-B/32 (docs/benchmarks.md): a projection in forward passes, and the seconds of one core for decoding an
# image and writing its hidden states, for each byte of these states. For models with more states per image, the latter is too much.
PROJECTION = 0.50
HOST_SECONDS = 2 * (64.7e-3 - 57.4e-3) / 2.773e6


@dataclass(frozen=True)
class Hours:
    """Hours of a stage on one GPU, and on Slurm with several."""

    rule: str
    jobs: int
    gigabytes: float
    one: float
    many: float


def config_of(root: Path) -> dict:
    """Return the paper's config with all models on one folder of images, and the hub's weights instead of checkpoints."""
    paper = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text(encoding="utf-8"))
    paper["datasets"] = {"imagenet": {"kind": "imagefolder", "root": str(root), "images_per_class": None}}
    for model in paper["models"].values():
        model["dataset"] = "imagenet"
        for checkpoint in ("weights", "key_prefix", "ignore_keys"):
            model.pop(checkpoint, None)
    return paper


def throughputs(path: Path) -> dict[str, float]:
    """Return images per second of each architecture without its tag."""
    with open(path, newline="", encoding="utf-8") as file:
        return {row["model"].partition(".")[0]: float(row["infer_samples_per_sec"]) for row in csv.DictReader(file)}


def on_gpu(cost: Calibration, images_per_second: float, states: float) -> Calibration:
    """Return the cost of an image with a GPU: decoding and writing take the CPU, all else is a multiple of a forward pass.

    Args:
        cost: the cost on this machine.
        images_per_second: throughput of the forward pass.
        states: bytes of the image's hidden states.
    """
    forward = 1 / images_per_second
    return replace(cost, forward=forward, extraction=forward + HOST_SECONDS * states / GPU_CORES, projection=forward * PROJECTION)


def hours(found: list[Stage], states: float, loading: Loading) -> Iterator[Hours]:
    """Yield the hours of each stage.

    Args:
        found: the stages.
        states: bytes of all hidden states, which extraction writes and projection reads.
        loading: seconds for loading libraries.
    """
    for stage in found:
        moved = stage.bytes + stage.temporary + (states if stage.rule == "project" else 0)
        seconds = stage.seconds + moved / DISK + stage.all_jobs * loading.of(stage.rule)
        at_once = min(SLURM_JOBS, max(1, stage.all_jobs))
        yield Hours(stage.rule, stage.all_jobs, (stage.bytes + stage.temporary) / 1e9, seconds / 3600, seconds / at_once / 3600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("throughputs", type=Path)
    args = parser.parse_args()
    rates, cores = throughputs(args.throughputs), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        files(home / "images", CLASSES, IMAGES)
        (home / "config.yaml").write_text(yaml.safe_dump(config_of(home / "images")), encoding="utf-8")
        plan = Plan(resolve(config_of(home / "images")), "results/paper")
        jobs = estimate.jobs(home / "config.yaml", REPOSITORY / "Snakefile", "--directory", folder)
        compute = Compute.from_settings(**dict(plan.config.compute), threads=cores)
        measured = estimate.calibrations(plan, compute, cores, total=1)
        costs, states = {}, {}
        for name, cost in measured.items():
            states[name] = stages.states_per_image(cost, plan.config.hidden_states.dtype)
            costs[name] = on_gpu(cost, rates[str(plan.models[name].settings.arch).partition(".")[0]], states[name])
        found = stages.stages(plan, costs, jobs, jobs)
        rows = list(hours(found, IMAGES * sum(states.values()), estimate.loading_times()))
    print(f"{sum(jobs.values())} jobs; MB of hidden states per image:", {name: round(size / 1e6, 1) for name, size in states.items()})
    print("| stage | jobs | GB | hours on one GPU | hours on Slurm |\n|---|---|---|---|---|")
    rows.sort(key=lambda row: -row.one)
    small = [row for row in rows if row.one < SMALL]
    for row in [*(row for row in rows if row.one >= SMALL), total("other stages", small), total("sum", rows)]:
        print(f"| {row.rule} | {row.jobs} | {row.gigabytes:.0f} | {row.one:.2f} | {row.many:.2f} |")


def total(name: str, rows: list[Hours]) -> Hours:
    """Return the sum of some stages."""
    sums = (sum(getattr(row, field) for row in rows) for field in ("gigabytes", "one", "many"))
    return Hours(name, sum(row.jobs for row in rows), *sums)


if __name__ == "__main__":
    main()
