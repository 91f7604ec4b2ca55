"""Estimate the paper's seven models on ImageNet's 50,000 validation images, on machines with a GPU; writes a table of docs/scale.md.

    PYTHONPATH=workflow/scripts python tools/scale_paper.py THROUGHPUT.csv

Bytes, and times relative to a forward pass, are measured here. The time of a forward pass on the GPU comes from a table of published
throughputs, such as timm's `results/benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv`.
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
from classlens.estimate.stages import Stage
from scale import REPOSITORY, files

GPU_CORES = 8
"""CPU cores of a job with a GPU, as in profiles/slurm."""
DISK = 1e9
"""Bytes that a job writes or reads in a second."""
SLURM_JOBS = 32


@dataclass(frozen=True)
class Hours:
    """Hours of a stage on one GPU, and on Slurm with several."""

    rule: str
    jobs: int
    gigabytes: float
    one: float
    many: float


def config_of(root: Path) -> dict:
    """Return the paper's config with all models on one folder of images. Checkpoints become random weights of the same size."""
    paper = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text(encoding="utf-8"))
    paper["datasets"] = {"imagenet": {"kind": "imagefolder", "root": str(root), "images_per_class": None}}
    for model in paper["models"].values():
        model |= {"dataset": "imagenet", "weights": "random"}
    return paper


def throughputs(path: Path) -> dict[str, float]:
    """Return images per second of each architecture without its tag."""
    with open(path, newline="", encoding="utf-8") as file:
        return {row["model"].partition(".")[0]: float(row["infer_samples_per_sec"]) for row in csv.DictReader(file)}


def on_gpu(cost: Calibration, images_per_second: float, cores: int) -> Calibration:
    """Return the cost of an image with a GPU: decoding and writing take the CPU, all else is a multiple of a forward pass."""
    forward = 1 / images_per_second
    return replace(
        cost,
        forward=forward,
        extraction=forward + (cost.extraction - cost.forward) * cores / GPU_CORES,
        projection=forward * cost.projection / cost.forward,
    )


def hours(found: list[Stage], states: float) -> Iterator[Hours]:
    """Yield the hours of each stage.

    Args:
        found: the stages.
        states: bytes of all hidden states, which extraction writes and projection reads.
    """
    for stage in found:
        moved = stage.bytes + stage.temporary + (states if stage.rule == "project" else 0)
        seconds = stage.seconds + moved / DISK
        at_once = min(SLURM_JOBS, max(1, stage.all_jobs))
        yield Hours(stage.rule, stage.all_jobs, (stage.bytes + stage.temporary) / 1e9, seconds / 3600, seconds / at_once / 3600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("throughputs", type=Path)
    args = parser.parse_args()
    rates, cores = throughputs(args.throughputs), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        files(home / "images", 1000, 50_000)
        (home / "config.yaml").write_text(yaml.safe_dump(config_of(home / "images")), encoding="utf-8")
        plan = Plan(resolve(config_of(home / "images")), "results/paper")
        jobs = estimate.jobs(home / "config.yaml", REPOSITORY / "Snakefile", "--directory", folder)
        measured = estimate.calibrations(plan, Compute.from_settings(**dict(plan.config.compute), threads=cores), cores)
        costs = {
            name: on_gpu(cost, rates[str(plan.models[name].settings.arch).partition(".")[0]], cores) for name, cost in measured.items()
        }
        found = stages.stages(plan, costs, jobs, jobs)
        states = sum(stages.states_per_image(costs[name], plan.config.hidden_states.dtype) for name in plan.config.models) * 50_000
        print(f"hidden states: {states / 1e9:.0f} GB")
        for name, cost in measured.items():
            size = stages.states_per_image(cost, plan.config.hidden_states.dtype)
            print(f"{name}: {size / 1e6:.1f} MB of states; extraction {cost.extraction / cost.forward:.2f} x, projection ", end="")
            print(f"{cost.projection / cost.forward:.2f} x forward; host {1000 * (cost.extraction - cost.forward) * cores:.1f} ms")
        for row in sorted(hours(found, states), key=lambda row: -row.one):
            print(f"| {row.rule} | {row.jobs} | {row.gigabytes:.1f} | {row.one:.2f} | {row.many:.2f} |")


if __name__ == "__main__":
    main()
