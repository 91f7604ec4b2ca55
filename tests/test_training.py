"""The recipe by which models with `weights: trained` are trained."""

import logging

import pytest
import torch

from classlens.compute.device import Compute
from classlens.data.transforms import Transform
from classlens.models import loading, training
from classlens.models.training import Recipe


def recipe(epochs: int | None = None, batch_size: int = 32) -> Recipe:
    return Recipe(epochs=epochs, batch_size=batch_size, learning_rate=0.002, weight_decay=0.05)


@pytest.mark.parametrize(("images", "expected"), [(1, (40, 40)), (400, (40, 520)), (3200, (20, 2000)), (50_000, (3, 4689))])
def test_a_training_ends_after_a_number_of_steps_that_hardly_depends_on_the_data(images: int, expected: tuple[int, int]) -> None:
    assert recipe().length(images) == expected
    assert recipe(epochs=24).length(images)[0] == 24


def test_the_log_says_how_long_a_training_takes(caplog: pytest.LogCaptureFixture) -> None:
    model = loading.build("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 12, "num_heads": 2, "depth": 1}, 2)
    pixels, classes = torch.zeros(6, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 1] * 3)
    prepare = Transform({"resize": [32, 32], "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3})
    compute = Compute.from_settings(device="cpu", jobs_per_gpu=1, batch_size=2, workers=1, precision="float32", threads=1)
    with caplog.at_level(logging.INFO, "classlens"):
        training.train(model, pixels, classes, prepare, recipe(epochs=2, batch_size=2), compute=compute, seed=0)
    assert [line for line in caplog.messages if "about" in line] == ["2 epochs of 6 images, 6 steps in total: about 0.0 minutes"]
