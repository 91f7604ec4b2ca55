"""A model's own image transform is timm's, pixel by pixel, and masks go through the same geometry."""

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classlens.data import transforms
from classlens.data.geometry import Geometry
from classlens.data.transforms import Transform, own_transform
from classlens.errors import InputError
from classlens.models import loading
from classlens.protocol import CORRECTED

MODULES = ("vision_transformer", "deit", "beit", "eva", "vision_transformer_relpos", "vision_transformer_hybrid")
SIZES = st.sampled_from([(24, 24), (24, 16), (16, 40), (33, 32)])
IMAGES = st.tuples(st.integers(1, 90), st.integers(1, 90))


def published() -> list[tuple[str, float, str]]:
    """Every crop mode, share and interpolation of timm's published Vision Transformers."""
    found = set()
    for module in MODULES:
        for name in timm.list_models(module=module, pretrained=True):
            cfg = timm.get_pretrained_cfg(name)
            found.add((cfg.crop_mode, cfg.crop_pct, cfg.interpolation))
    return sorted(found)


PUBLISHED = published()


def data_config(mode: str, share: float, interpolation: str, size: tuple[int, int]) -> dict:
    colours = {"mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)}
    return {"input_size": (3, *size), "crop_mode": mode, "crop_pct": share, "interpolation": interpolation, **colours}


def picture(width: int, height: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def test_there_are_several_published_transforms() -> None:
    assert {"center", "squash"} == {mode for mode, _, _ in PUBLISHED}
    assert len(PUBLISHED) > 4


@given(st.sampled_from([*PUBLISHED, ("center", 1.3, "lanczos"), ("squash", 0.7, "nearest")]), SIZES, IMAGES, st.integers(0, 99))
@settings(max_examples=300, derandomize=True, database=None)
def test_images_are_timms(published: tuple[str, float, str], size: tuple[int, int], shape: tuple[int, int], seed: int) -> None:
    config, image = data_config(*published, size), picture(*shape, seed)
    ours, theirs = Transform(own_transform(config))(image), timm.data.create_transform(**config)(image)
    assert ours.shape == theirs.shape
    assert torch.equal(ours, theirs)


@given(st.sampled_from(PUBLISHED), SIZES, IMAGES, st.integers(0, 99))
@settings(max_examples=100, derandomize=True, database=None)
def test_masks_follow(published: tuple[str, float, str], size: tuple[int, int], shape: tuple[int, int], seed: int) -> None:
    """A mask is resized to its nearest pixels: it is what the image would be, were it resized in the same way."""
    mode, share, _ = published
    settings_of = own_transform(data_config(mode, share, "nearest", size))
    grey = np.random.default_rng(seed).integers(0, 256, shape[::-1], np.uint8)
    image = Geometry(settings_of).image(Image.fromarray(np.repeat(grey[..., None], 3, axis=2)))
    assert np.array_equal(Geometry(settings_of).mask(grey), np.asarray(image)[..., 0])


@pytest.mark.parametrize("size", [[64, 32], [32, 64], 48])
def test_a_models_own_transform_is_timms_for_its_size(size: int | list[int]) -> None:
    kwargs = {"img_size": size, "embed_dim": 24, "num_heads": 2, "depth": 1}
    model = loading.build("vit_tiny_patch16_224", kwargs, 3)
    config = {**timm.data.resolve_data_config(model=model), "input_size": (3, *model.patch_embed.img_size)}
    ours, theirs = Transform(loading.transform_of(model, "vit_tiny_patch16_224", None, CORRECTED)), timm.data.create_transform(**config)
    for shape in ((90, 60), (60, 90), (50, 50), (200, 20)):
        assert torch.equal(ours(picture(*shape, 0)), theirs(picture(*shape, 0)))


def test_a_tall_model_sees_the_middle_of_a_wide_image_unstretched() -> None:
    """A square in the middle stays a square: 64 x 32 at a crop share of 0.9 covers 71 x 35, and 60 rows become 71."""
    settings_of = own_transform(data_config("center", 0.9, "bilinear", (64, 32)))
    assert settings_of["resize"] == [71, 35]
    assert settings_of["keep_ratio"]
    ids = np.zeros((60, 90), np.int32)
    ids[20:40, 35:55] = 1
    mask = Geometry(settings_of).mask(ids)
    assert mask.shape == (64, 32)
    assert abs(int(mask.any(axis=1).sum()) - int(mask.any(axis=0).sum())) <= 1
    assert int(mask.any(axis=1).sum()) == pytest.approx(20 * 71 / 60, abs=1)


@pytest.mark.parametrize(("key", "value"), [("crop_mode", "border"), ("interpolation", "random")])
def test_what_cannot_be_followed_is_refused(key: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{value}' is not supported: give the model a `transform`"):
        own_transform({**data_config("center", 0.9, "bilinear", (24, 24)), key: value})


def test_a_size_that_depends_on_the_image_is_not_the_models() -> None:
    assert transforms.output_size({"resize": [71, 35], "keep_ratio": True, "crop": None}) is None
    assert transforms.output_size({"resize": [71, 35], "crop": None}) == [71, 35]
