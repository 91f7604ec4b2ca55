"""Results in object storage, by Snakemake's S3 plugin, on a server of this machine."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import Run
from moto.server import ThreadedMotoServer
from PIL import Image

STATES, FIGURE = "results/small/hidden_states/m/d/validation/00000.parquet", "results/small/figures/mean_evolution.svg"


@pytest.fixture
def server() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    for name in "abcde":
        for number in range(2):
            path = tmp_path / "images" / "validation" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (50 * number, 40, ord(name))).save(path)
    kwargs = {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}
    return {
        "run": "small",
        "datasets": {"d": {"kind": "imagefolder", "root": str(tmp_path / "images"), "images_per_class": None}},
        "models": {"m": {"arch": "vit_tiny_patch16_224", "kwargs": kwargs, "weights": "random", "analyses": ["identifiability"]}},
    }


def test_results_in_a_bucket(server: str, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_SECRET_KEY", "secret")
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    bucket = boto3.resource("s3", endpoint_url=server, **keys).create_bucket(Bucket="lab")
    storage = ["--default-storage-provider", "s3", "--default-storage-prefix", "s3://lab", "--storage-s3-endpoint-url", server]
    storage += ["--storage-s3-max-requests-per-second", "1000"]
    mine, theirs = Run(tmp_path / "mine"), Run(tmp_path / "theirs")

    def complete(run: Run) -> str:
        return run.complete(FIGURE, "--configfile", run.configure(config), *storage)

    complete(mine)
    assert {STATES, FIGURE, "results/small/models/m/model.safetensors"} <= {item.key for item in bucket.objects.all()}
    assert [path.name for path in (mine.folder / "results").rglob("*.parquet")] == []
    assert "Nothing to be done" in complete(mine)

    figure = bucket.Object(FIGURE)
    content = figure.get()["Body"].read()
    figure.delete()
    assert "[1 of 1, " in complete(theirs)  # somebody else, somewhere else, draws it from what is in the bucket
    assert figure.get()["Body"].read() == content
