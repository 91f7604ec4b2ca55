"""Measure what planning and running cost with many models and images. `docs/scale.md` quotes what this program prints.

python tools/scale.py jobs                   plan 40 models, three data sets and 50,100 images
python tools/scale.py images                 plan 1,000,000 images in 1,000 classes
python tools/scale.py run PHOTOS             run 20,000 photographs, which are made from those in the folder PHOTOS
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
TINY = {"arch": "vit_tiny_patch16_224", "weights": "random"}
REPETITIONS = 3


def files(folder: Path, classes: int, count: int, content: bytes = b"") -> None:
    """Write small files as the images of a data set; planning opens none."""
    for number in range(count):
        path = folder / "validation" / f"class_{number % classes:04}" / f"{number:07}.png"
        if number < classes:
            path.parent.mkdir(parents=True)
        path.write_bytes(content)


def snakemake(folder: Path, *arguments: str) -> tuple[str, str]:
    """Run Snakemake in a folder; return its CPU time with its peak RAM, and its output."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--cores", "2", "--configfile", "config.yaml"]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([str(part) for part in (*command, *arguments)], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        output.seek(0)
        printed = output.read()
    if status:
        sys.exit(printed)
    return f"{used.ru_utime + used.ru_stime:6.2f} CPU seconds, {used.ru_maxrss / 1024:5.0f} MB", printed


def configure(folder: Path, datasets: dict[str, Any], models: dict[str, Any], **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    config = {"run": "scale", "datasets": datasets, "models": models, **more}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def image_folder(root: Path) -> dict[str, Any]:
    return {"kind": "imagefolder", "root": str(root), "images_per_class": None}


def planning_of_many_jobs(folder: Path) -> None:
    """Plan 40 models, half of them on 50,000 images, with small shards and with shards of the default size."""
    counts = {"large": (1000, 50_000), "small": (10, 50), "other": (10, 50)}
    for name, (classes, count) in counts.items():
        files(folder / name, classes, count)
    names = ["large"] * 20 + ["small"] * 10 + ["other"] * 10
    models = {f"model_{number:02}": {**TINY, "dataset": name} for number, name in enumerate(names)}
    for size in (512, "auto"):
        configure(folder, {name: image_folder(folder / name) for name in counts}, models, hidden_states={"shard_size": size})
        for _ in range(REPETITIONS):
            used, printed = snakemake(folder, "--dry-run")
            jobs = re.search(r"^total +(\d+)", printed, re.MULTILINE)
            print(f"{jobs[1] if jobs else '?':>6} jobs: {used}")


def planning_of_many_images(folder: Path) -> None:
    """Plan a model on growing data sets: the first time, again, and with the hash of all images that the manifest depends on."""
    manifest = "results/scale/data/d/validation/manifest.parquet"
    for count in (10_000, 100_000, 1_000_000):
        home = folder / str(count)
        files(home / "images", 1000, count)
        configure(home, {"d": image_folder(home / "images")}, {"m": TINY}, analyses=["identifiability"], hidden_states={"shard_size": 5000})
        time.sleep(12)  # the folders have just changed
        commands: dict[str, tuple[str, ...]] = {"jobs": (), "jobs, again": (), "images": ("--printshellcmds", manifest)}
        commands["images, again"] = commands["images"]
        for name, arguments in commands.items():
            print(f"{count:>9} images, {name:14} {snakemake(home, '--dry-run', *arguments)[0]}", flush=True)


def variants(photographs: list[Path], count: int, size: int) -> Iterator[Image.Image]:
    """Yield crops, mirror images and scaled copies of photographs."""
    chance = random.Random(0)
    pictures = [Image.open(path).convert("RGB") for path in photographs]
    for number in range(count):
        picture = pictures[number % len(pictures)]
        side = int(min(picture.size) * chance.uniform(0.4, 1))
        left, top = (chance.randint(0, whole - side) for whole in picture.size)
        part = picture.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        yield part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if chance.random() < 0.5 else part


def run_of_many_images(folder: Path, photographs: Path, count: int, analyses: list[str]) -> None:
    """Run a small model on photographs; print the time and RAM of each stage, and the size of each kind of result."""
    classes = sorted(path for path in (photographs / "validation").iterdir() if path.is_dir())
    for home in classes:
        found = sorted(path for path in home.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        (folder / "images" / "validation" / home.name).mkdir(parents=True)
        for number, picture in enumerate(variants(found, count // len(classes), 96)):
            picture.save(folder / "images" / "validation" / home.name / f"{number:05}.jpg", quality=90)
    model = {"arch": "vit_tiny_patch16_224", "weights": "random", "kwargs": {"img_size": 64, "embed_dim": 48, "num_heads": 3, "depth": 4}}
    configure(folder, {"d": image_folder(folder / "images")}, {"m": model}, analyses=analyses, explorer={"images": 200})
    began = time.monotonic()
    used, _ = snakemake(folder)
    print(f"{time.monotonic() - began:.0f} s, {used} of the largest process")
    results = folder / "results" / "scale"
    print(stages(results / "benchmarks"))
    sizes = {home.name: size_of(home) for home in sorted(results.iterdir()) if home.is_dir()}
    print("\n".join(f"{name:20} {size / 1e6:8.1f} MB" for name, size in sizes.items()))


def stages(benchmarks: Path) -> pl.DataFrame:
    """Return the jobs, wall and CPU seconds, and peak RAM (MB) of each stage."""
    tables = [
        pl.read_csv(path, separator="\t", null_values="-", infer_schema_length=None).select(
            pl.lit(path.relative_to(benchmarks).parts[0]).alias("stage"),
            *(pl.col(name).cast(float) for name in ("s", "cpu_time", "max_rss")),
        )
        for path in sorted(benchmarks.rglob("*.tsv"))
    ]
    return pl.concat(tables).group_by("stage", maintain_order=True).agg(pl.len(), pl.sum("s", "cpu_time"), pl.max("max_rss"))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("jobs")
    commands.add_parser("images")
    run = commands.add_parser("run")
    run.add_argument("photographs", type=Path)
    run.add_argument("--count", type=int, default=20_000)
    run.add_argument("--analyses", nargs="+", default=["identifiability", "building", "memories", "attention", "relevance", "probes"])
    args = parser.parse_args()
    work: dict[str, Callable[[Path], None]] = {
        "jobs": planning_of_many_jobs,
        "images": planning_of_many_images,
        "run": lambda folder: run_of_many_images(folder, args.photographs, args.count, args.analyses),
    }
    with tempfile.TemporaryDirectory() as folder, pl.Config(tbl_rows=-1, tbl_cols=-1):
        work[args.command](Path(folder))


if __name__ == "__main__":
    main()
