"""The program that prepares a model, as the workflow runs it, and the list of classes that it reads."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
from conftest import REPOSITORY
from warm_python import interpreter

from classlens.storage import parquet

SMALL: dict[str, Any] = {"img_size": 32, "embed_dim": 24, "num_heads": 2, "depth": 2}


def write_classes(path: Path, classes: list[tuple[str, str]], order: dict[str, Any]) -> Path:
    metadata = {"classes": json.dumps(classes), "class_order": json.dumps(order)}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(
        path, pa.table({"image_id": pa.array([0], pa.int32())}).replace_schema_metadata(metadata), {"protocol": "corrected"}
    )
    return path


def prepare(folder: Path, *arguments: str | Path, kwargs: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Prepare a model of four classes in a folder."""
    written = ("--weights-file", folder / "model.safetensors", "--card", folder / "model.json", "--kwargs", json.dumps(kwargs or SMALL))
    program = [interpreter(), REPOSITORY / "workflow" / "scripts" / "model.py", *written, "--num-classes", "4", *arguments]
    return subprocess.run(list(map(str, program)), capture_output=True, text=True, check=False)
