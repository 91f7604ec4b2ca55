"""The transform from an image file to a model's input, with the same geometry for masks.

A transform is a plain dictionary, as in the config and in model.json: resize ([height, width], or the length of the shortest side),
keep_ratio, crop ([height, width] or None), interpolation, mean and std. `geometry` applies the first four.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from classlens.compute.transfer import to_device
from classlens.data.geometry import Geometry
from classlens.errors import InputError
from classlens.protocol import Protocol

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
"""Interpolations that both timm and Pillow support."""


class Transform:
    """A resize, a centre crop and a normalisation.

    Args:
        settings: resize, keep_ratio, crop, interpolation, mean, std.
    """

    def __init__(self, settings: dict[str, Any]):
        self.mean = torch.tensor(settings["mean"]).view(3, 1, 1)
        self.std = torch.tensor(settings["std"]).view(3, 1, 1)
        self._geometry = Geometry(settings)
        self._on_device = cache(lambda device: (to_device(self.mean, device), to_device(self.std, device)))

    def pixels(self, image: Image.Image) -> torch.Tensor:
        """Return an RGB image after resize and crop, uint8 [3, height, width]. `normalize` does the rest for whole batches."""
        return torch.from_numpy(np.array(self._geometry.image(image))).permute(2, 0, 1)

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels, uint8 [..., 3, height, width], as a model's input, float32, on the device of the pixels."""
        mean, std = self._on_device(pixels.device)
        return pixels.float().div_(255).sub_(mean).div_(std)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return an RGB image as a model's input, float32 [3, height, width]."""
        return self.normalize(self.pixels(image))


def default_transform(arch: str, data_config: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
    """Return the transform of a model whose config has no `transform`.

    Args:
        arch: timm name of the model.
        data_config: from `timm.data.resolve_model_data_config`.
        protocol: `published_transform` chooses the published one instead of the model's own.
    """
    size = list(data_config["input_size"][1:])
    if not protocol.published_transform or "miil" in arch:
        return own_transform(data_config)
    if arch.startswith("deit_base"):
        imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
        return {"resize": [math.floor(side / 0.875) for side in size], "crop": size, "interpolation": "bicubic", **imagenet}
    return {"resize": size, "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}


def own_transform(data_config: dict[str, Any]) -> dict[str, Any]:
    """Return the evaluation transform that timm gives for a model's data config (`timm.data.transforms_imagenet_eval`).

    Raises:
        InputError: timm pads the model's images, which masks cannot follow, or chooses a random interpolation.
    """
    size = list(data_config["input_size"][1:])
    mode, interpolation = data_config["crop_mode"], data_config["interpolation"]
    if mode not in ("center", "squash"):
        raise InputError(f"the model's crop mode {mode!r} is not supported: give the model a `transform` in the config")
    if interpolation not in INTERPOLATIONS:
        raise InputError(f"the model's interpolation {interpolation!r} is not supported: give the model a `transform` in the config")
    scaled = [math.floor(side / data_config["crop_pct"]) for side in size]
    square = scaled[0] == scaled[1]
    return {
        "resize": scaled[0] if mode == "center" and square else scaled,
        **({"keep_ratio": True} if mode == "center" and not square else {}),
        "crop": size,
        "interpolation": interpolation,
        "mean": list(data_config["mean"]),
        "std": list(data_config["std"]),
    }


def completed(transform: dict[str, Any]) -> dict[str, Any]:
    """Return a config's transform with its crop as [height, width]."""
    crop = transform["crop"]
    return {**transform, "crop": [crop, crop] if isinstance(crop, int) else crop}


def output_size(transform: dict[str, Any]) -> list[int] | None:
    """Return [height, width] of the transform's output, or None if it depends on the image."""
    fixed = isinstance(transform["resize"], list) and not transform.get("keep_ratio", False)
    return transform["crop"] or (transform["resize"] if fixed else None)
