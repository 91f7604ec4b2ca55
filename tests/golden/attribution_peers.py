r"""Make `attribution_peers.npz`: terms of heads and MLPs in CLIP, and mean ablation, by the code of other authors, for tests of ours.

The command, in this folder. `clip_text_span` is the GitHub repository yossigandelsman/clip_text_span (first called clip_prs) at commit
49f70f31, the code of Gandelsman, Efros & Steinhardt, Interpreting CLIP's Image Representation via Text-Based Decomposition, ICLR 2024.

    OMP_NUM_THREADS=1 uv run --isolated --no-project --python 3.11 --with torch==2.15.0 --with torchvision==0.29.2 --with timm==1.0.31 \
        --with numpy==2.4.6 --with einops==0.8.2 --with ftfy==6.3.1 --with regex==2026.11.19 --with tqdm==4.70.1 \
        python attribution_peers.py clip_text_span

The model is their image tower with GELU, random, in float64 and in evaluation mode. Weights and images are stored in float32 without loss,
all other numbers in float64. There are 6 images, 4 x 4 image tokens, 17 tokens with [CLS] first, 3 blocks, 2 heads and width 24. The
representation has width 16.

- `images` [6, 3, 32, 32].
- `clip/...`: weights of the tower, under the names of timm's `vit_base_patch16_clip_224` (img_size=32, patch_size=8, embed_dim=24,
  num_heads=2, depth=3, mlp_ratio=2, num_classes=0), and `clip/projection` [16, 24], which timm's model does not have.
- `features` [6, 16]: the representation before it has length 1. It is the projection of timm's output; both differ by less than 1e-12.
- `heads` [6, 3, 2, 16], by image, block and head, and `mlps` [6, 4, 16], by image: what enters the first block at [CLS], after the norm
  before it, and then the MLPs. They are the results of `PRSLogger.finalize`, those of heads summed over the tokens that a head reads from,
  as in `compute_prs.py`. All are divided by the length of `features`; their sum is the representation with length 1.
- `without_mlps` [6, 16]: that sum if all MLPs, and what enters the first block, are replaced by their means over the images.
- `without_heads` [3, 6, 16]: that sum if all heads of the first block are replaced by their means over the images, of the first two
  blocks, and of all three. Both are made by `main` of `compute_ablations.py`, and have no length 1. It multiplies them by a classifier,
  here the unit matrix, and prints only accuracies. This script keeps what it gives to the function `accuracy`, in float64 where it would
  convert to float32.

Their terms. The last state x of [CLS], with mean m and standard deviation s over its width, is the sum of 7 = 2 x 3 + 1 components: the
attention of 3 blocks, and the 4 of `mlps`. With the weight w and bias b of the last norm, and the projection P, the term of a component c
is P (w * (c - m / 7) / s + b / 7) / length. Half of m / 7, b / 7 and the bias of attention's output belongs to each of the 2 heads, and
the bias of its values to each head.
"""

import io
import sys
from contextlib import redirect_stdout
from copy import deepcopy
from importlib import import_module
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from small_models import exact, float32_numbers, randomise, require, same, timm_model, timm_weights
from torch import Tensor, nn
from torch.nn import functional

SEED = 20241006


def authors_model() -> nn.Module:
    """Return a small CLIP by the authors' code, with uninitialised weights."""
    models = import_module("utils.model")
    vision = models.CLIPVisionCfg(layers=3, width=24, head_width=12, mlp_ratio=2.0, patch_size=8, image_size=32)
    unused = models.CLIPTextCfg(context_length=4, vocab_size=8, width=8, heads=2, layers=1)
    model: nn.Module = models.CLIP(16, vision, unused, quick_gelu=False)
    return model.double().eval()


def terms(model: Any, images: Tensor, spatial: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the representation, and the terms of heads (by token if `spatial`) and MLPs, as the authors' `compute_prs.py` does."""
    model = deepcopy(model)
    logger = import_module("prs_hook").hook_prs_logger(model, "cpu", spatial=spatial)
    with torch.no_grad():
        logger.reinit()
        features = model.encode_image(images, attn_method="head" if spatial else "head_no_spatial", normalize=False)
        heads, mlps = logger.finalize(features)
    return features, heads.detach(), mlps.detach()


def ablated(heads: Tensor, mlps: Tensor) -> list[Tensor]:
    """Return the representations whose accuracies the authors' `compute_ablations.py` prints, in its order.

    Args:
        heads: by token, [image, block, token, head, width].
        mlps: [image, 1 + block, width].
    """
    module: Any = import_module("compute_ablations")
    seen: list[Tensor] = []

    def kept(output: Tensor, target: Tensor) -> list[float]:
        seen.append(output)
        return [nan]

    with TemporaryDirectory() as folder:
        arrays = {
            "x_attn_x": heads.sum(dim=2),
            "x_mlp_x": mlps,
            "x_cls_attn_x": heads[:, :, 0].sum(dim=2),
            "x_classifier_x": torch.eye(mlps.shape[-1]).double(),
            "x_labels": torch.zeros(len(mlps), dtype=torch.long),
        }
        for name, array in arrays.items():
            np.save(Path(folder) / f"{name}.npy", array.numpy())
        double = patch.object(Tensor, "float", Tensor.double)
        with patch.object(module, "accuracy", kept), double, redirect_stdout(io.StringIO()):
            module.main(SimpleNamespace(input_dir=folder, dataset="x", model="x"))
    return seen


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    rng = np.random.default_rng(SEED)
    images = float32_numbers(rng, (6, 3, 32, 32), 1.0)
    model: Any = authors_model()
    randomise(model.visual, rng)
    features, by_token, mlps = terms(model, images, spatial=True)
    heads = by_token.sum(dim=2)
    weights = timm_weights(model.visual)
    projection = weights.pop("projection").T
    tower = timm_model("vit_base_patch16_clip_224", weights, classes=0)
    same(tower(images) @ projection.T, features, "features of timm and the authors")
    same(terms(model, images, spatial=False)[1], heads, "terms of heads by token and at once")
    whole = heads.sum(dim=(1, 2)) + mlps.sum(dim=1)
    same(whole, functional.normalize(features, dim=-1), "the sum of all terms and the features of length 1")

    baseline, without_mlps, _, _, *without_heads = ablated(by_token, mlps)
    same(baseline, whole, "the sum of all terms and the baseline of the ablations")
    require(all(kept.dtype == torch.float64 for kept in (without_mlps, *without_heads)), "ablations are in float64")
    require(len(without_heads) == 3, "there is an ablation for each block")

    arrays = {"images": exact(images), **{f"clip/{name}": exact(weight) for name, weight in weights.items()}}
    arrays |= {"clip/projection": exact(projection), "features": features, "heads": heads, "mlps": mlps}
    arrays |= {"without_mlps": without_mlps, "without_heads": torch.stack(without_heads)}
    stored = {name: array.contiguous().numpy() for name, array in arrays.items()}
    np.savez_compressed(Path(__file__).with_name("attribution_peers.npz"), **stored)


if __name__ == "__main__":
    main()
