r"""Make `relevance_peers.npz`: relevance maps and SaCo by the packages of other authors, for tests of ours.

The command, in this folder. `compute_SaCo.py` is the file of the GitHub repository adreamwu/SaCo at commit b2935279.

    OMP_NUM_THREADS=1 uv run --isolated --no-project --python 3.11 --with torch==2.15.0 --with torchvision==0.29.2 --with timm==1.0.31 \
        --with numpy==2.4.6 --with lxt==2.1 --with transformers==4.52.4 --with zennit==0.5.1 --with captum==0.9.0 \
        --with legrad_torch==1.1 --with open_clip_torch==2.23.0 python relevance_peers.py compute_SaCo.py

Models are random, in float64 and in evaluation mode. Weights and images are stored in float32 without loss. There are 3 images, 4 x 4 image
tokens, 17 tokens with [CLS] first, 3 blocks, 2 heads and width 24. All other numbers are float64, and classes int64.

- `images` [3, 3, 32, 32]: for both models.

**A Vision Transformer**, `torchvision.models.VisionTransformer`. "Tokens" are the states that enter its first block, with the position
embedding. A map is for the wanted class of each image, and sums over the width of the tokens.

- `plain/...`: its weights, under the names of timm's `vit_tiny_patch16_224` (img_size=32, patch_size=8, embed_dim=24, num_heads=2,
  depth=3, mlp_ratio=2, num_classes=7). The logits of both differ by less than 1e-12.
- `classes` [3]: the wanted class of each image. `logits` [3, 7].
- `gradient_x_input` [3, 17]: tokens times the gradient of the wanted logit, by PyTorch.
- `attnlrp` [3, 17]: AttnLRP by lxt 2.1. `lxt.efficient.monkey_patch` changes gradients in `nn.LayerNorm` (the standard deviation is a
  constant), in `nn.GELU` (the gradient is output / (input + 1e-10)) and in attention (`lxt.efficient.patches.wrap_attention_forward`
  divides the gradient of queries and keys by 4, and of values by 2). The map is tokens times the changed gradient. zennit is not used. The
  1e-10 changes the map by 2e-9; without it, the rules agree with `lxt.explicit.functional` (epsilon 0) to rounding.
- `cp_lrp` [3, 17]: the same with the patches that lxt has for torchvision. They differ in attention: no gradient reaches queries and keys,
  and that of values is whole. lxt calls this CP-LRP inside attention and AttnLRP outside.
- `grad_cam` [3, 16]: `captum.attr.LayerGradCam`, captum 0.9.0, with `relu_attributions`, at the image tokens after the second of three
  blocks. The weight of a channel is its mean gradient over the image tokens.
- `integrated_gradients` [3, 17]: `captum.attr.IntegratedGradients` with `n_steps=32` and `method="riemann_middle"`, with respect to the
  tokens. The baseline is the mean of the tokens over the 3 images, at each position.

**LeGrad** by legrad_torch 1.1, for an image tower of open_clip 2.23.0 with GELU.

- `clip/...`: weights of the tower, under the names of timm's `vit_base_patch16_clip_224` (img_size=32, patch_size=8, embed_dim=24,
  num_heads=2, depth=3, mlp_ratio=2, num_classes=0), and `clip/projection` [16, 24], which timm's model does not have.
- `clip_features` [3, 16]: the tower's output before it has length 1. It is the projection of timm's output; both differ by less than 1e-12.
- `text` [3, 16]: a vector of length 1 for each image.
- `legrad` [3, 16]: `legrad.LeWrapper(model, layer_index=0).compute_legrad(text)`, without its last two steps. All three blocks enter, also
  the first. The score of a block is the cosine of the text and of projection(ln_post(mean of the block's output over all 17 tokens)),
  without a temperature. Its gradient with respect to the attention weights of the same block (after softmax) is clipped at 0, and averaged
  over heads and over all 17 queries, [CLS] too; the key [CLS] is left out. The map is the sum over blocks, not the mean. Their code then
  enlarges each block's map bilinearly by the patch size, and rescales the sum over blocks so that each image has values from 0 to 1. Both
  steps are left out here, by a patch size of 1 and by a `min_max` that does nothing. The cosine's length 1 belongs to the score and stays.

**SaCo** by the authors' `compute_SaCo`. Their file leaves salience and drops open; this script fills them in and changes nothing else.

- `saco/salience` [5, 10]: salience of 10 groups, in falling order. `saco/drop` [5, 10]: what the probability loses without each group.
- `saco/score` [5]: the coefficient. The cases are: random; random with negative salience; ties in both; drops in rising order; equal drops.
  Their code raises ValueError for constant salience, so there is no such case.
"""

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam
from legrad import LeWrapper, wrapper
from lxt.efficient import monkey_patch, patches
from lxt.efficient.models import get_default_map
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from small_models import exact, float32_numbers, randomise, require, same, timm_model, timm_weights
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VisionTransformer, vision_transformer

SEED = 20240611


class AfterEmbedding(nn.Module):
    """Run torchvision's Vision Transformer from the tokens after the position embedding on."""

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model.heads(self.model.encoder.ln(self.model.encoder.layers(tokens))[:, 0])


class ImageTokens(nn.Module):
    """States pass unchanged, and those of the image tokens go through `tokens` as [image, channel, token]."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Identity()

    def forward(self, states: Tensor) -> Tensor:
        tokens = self.tokens(states[:, 1:].transpose(1, 2))
        return torch.cat([states[:, :1], tokens.transpose(1, 2)], dim=1)


def different(first: Tensor, second: Tensor, what: str) -> None:
    difference = float((first - second).abs().max() / second.abs().max())
    print(f"{what}: largest difference {difference:.3f} of the largest value")
    require(difference > 0.01, what)


def attention(self: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, **_: object) -> tuple[Tensor, None]:
    """Attention of tokens to each other, [image, token, width], with lxt's rule at queries, keys and values."""
    parts = functional.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
    heads = [part.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for part in parts]
    mixed = patches.wrap_attention_forward(dot_product)(self, *heads)
    return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


def dot_product(module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(query, key, value)


CP_LRP: dict[type[nn.Module], Callable[[type[nn.Module]], bool]] = get_default_map(vision_transformer)
ATTNLRP = CP_LRP | {nn.MultiheadAttention: partial(patches.patch_method, attention)}


@contextmanager
def patched(patch_map: dict[type[nn.Module], Callable[[type[nn.Module]], bool]]) -> Iterator[None]:
    """Have lxt's patches in force inside the `with` block."""
    forwards = {layer: layer.forward for layer in CP_LRP}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # lxt warns if a patch fails
        monkey_patch(vision_transformer, patch_map)
    try:
        changed = {layer for layer, forward in forwards.items() if layer.forward is not forward}
        require(changed == set(patch_map), "all layers of the map are patched, and no other")
        yield
    finally:
        for layer, forward in forwards.items():
            layer.forward = forward


def times_gradient(model: nn.Module, tokens: Tensor, classes: Tensor, logits: Tensor) -> Tensor:
    """Return tokens times the gradient of the wanted logit, summed over the width, [image, token]."""
    tokens = tokens.detach().requires_grad_()
    output = model(tokens)
    same(output, logits, "logits with the gradients at hand")
    (gradient,) = torch.autograd.grad(output.gather(1, classes[:, None]).sum(), tokens)
    return (tokens * gradient).sum(dim=-1).detach()


def lxt_maps(model: nn.Module, tokens: Tensor, classes: Tensor, logits: Tensor) -> dict[str, Tensor]:
    plain = times_gradient(model, tokens, classes, logits)
    maps = {"gradient_x_input": plain}
    for name, patch_map in (("attnlrp", ATTNLRP), ("cp_lrp", CP_LRP)):
        with patched(patch_map):
            maps[name] = times_gradient(model, tokens, classes, logits)
        different(maps[name], plain, f"{name} and gradient times input")
        for layer in patch_map:
            with patched({other: how for other, how in patch_map.items() if other is not layer}):
                without = times_gradient(model, tokens, classes, logits)
            different(maps[name], without, f"{name} with and without the patch of {layer.__name__}")
    different(maps["attnlrp"], maps["cp_lrp"], "attnlrp and cp_lrp")
    same(times_gradient(model, tokens, classes, logits), plain, "gradient times input before and after the patches")
    return maps


def grad_cam(model: VisionTransformer, images: Tensor, classes: Tensor) -> Tensor:
    model = deepcopy(model)
    image_tokens = ImageTokens()
    layers = model.encoder.layers
    layers.encoder_layer_1 = nn.Sequential(layers.encoder_layer_1, image_tokens)
    return LayerGradCam(model, image_tokens.tokens).attribute(images, target=classes, relu_attributions=True)[:, 0].detach()


def integrated_gradients(model: nn.Module, tokens: Tensor, classes: Tensor) -> Tensor:
    method = IntegratedGradients(model)
    baseline = tokens.mean(dim=0, keepdim=True)
    return method.attribute(tokens, baseline, target=classes, n_steps=32, method="riemann_middle").sum(dim=-1).detach()


def classifier_arrays(rng: np.random.Generator, images: Tensor) -> dict[str, np.ndarray]:
    model = VisionTransformer(image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=24, mlp_dim=48, num_classes=7)
    model = model.double().eval()
    randomise(model, rng)
    weights = timm_weights(model)
    logits = model(images).detach()
    same(timm_model("vit_tiny_patch16_224", weights, 7)(images), logits, "logits of timm and torchvision")

    entered: list[Tensor] = []
    with model.encoder.layers.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0].detach())):
        model(images)
    (tokens,) = entered
    classes = torch.tensor([5, 0, 1])
    after = AfterEmbedding(model)
    same(after(tokens), logits, "logits from the tokens")
    arrays = {"classes": classes, "logits": logits, **lxt_maps(after, tokens, classes, logits)}
    arrays["grad_cam"] = grad_cam(model, images, classes)
    require(bool((arrays["grad_cam"] > 0).any(dim=1).all()), "each map of Grad-CAM has values above 0")
    arrays["integrated_gradients"] = integrated_gradients(after, tokens, classes)
    arrays |= {f"plain/{name}": exact(weight) for name, weight in weights.items()}
    return {name: array.numpy() for name, array in arrays.items()}


def legrad_maps(model: CLIP, images: Tensor, text: Tensor) -> Tensor:
    """Return legrad's maps, [image, image token], before their last two steps."""
    with torch.no_grad():
        features = model.encode_image(images)
    wrapped = LeWrapper(model, layer_index=0)
    same(wrapped.encode_image(images), features, "features with and without legrad")
    finished = wrapped.compute_legrad(text).detach()
    wrapped.patch_size = 1
    with patch.object(wrapper, "min_max", lambda maps: maps):
        maps = wrapped.compute_legrad(text).detach()
        single = [wrapped.compute_legrad(text[index, None], images[index, None]).detach() for index in range(len(images))]
    same(torch.cat(single, dim=1), maps, "maps of legrad image by image, and at once")
    large = functional.interpolate(maps, scale_factor=8, mode="bilinear").flatten(2)
    least, most = large.amin(dim=-1, keepdim=True), large.amax(dim=-1, keepdim=True)
    same(((large - least) / (most - least)).view_as(finished), finished, "the last two steps of legrad, and its result")
    return maps[0].flatten(1)


def clip_arrays(rng: np.random.Generator, images: Tensor) -> dict[str, np.ndarray]:
    vision = CLIPVisionCfg(layers=3, width=24, head_width=12, mlp_ratio=2.0, patch_size=8, image_size=32)
    unused = CLIPTextCfg(context_length=4, vocab_size=8, width=8, heads=2, layers=1)
    model = CLIP(16, vision, unused, quick_gelu=False).double().eval()
    randomise(model.visual, rng)
    text = functional.normalize(torch.from_numpy(rng.standard_normal((3, 16))), dim=-1)
    weights = timm_weights(model.visual)
    projection = weights.pop("projection").T
    features = model.encode_image(images).detach()
    same(timm_model("vit_base_patch16_clip_224", weights, 0)(images) @ projection.T, features, "features of timm and open_clip")
    arrays = {f"clip/{name}": exact(weight) for name, weight in weights.items()}
    arrays |= {"clip/projection": exact(projection), "clip_features": features, "text": text, "legrad": legrad_maps(model, images, text)}
    return {name: array.contiguous().numpy() for name, array in arrays.items()}


def authors_saco(source: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the authors' function of salience and drops."""
    for name, place in (("s_G", 0), ("pred_x_G", 1)):
        source, found = re.subn(rf"(?m)^(    {name} = )\.\.\.", rf"\1salience_map[{place}]", source)
        require(found == 1, f"the authors' file leaves {name} open")
    space: dict[str, Callable[..., float]] = {}
    exec(compile(source, "compute_SaCo.py", "exec"), space)
    return lambda salience, drop: space["compute_SaCo"](None, lambda *_: (salience, drop), None, len(salience))


def saco_arrays(rng: np.random.Generator, saco: Callable[[np.ndarray, np.ndarray], float]) -> dict[str, np.ndarray]:
    salience = np.sort(rng.random((5, 10)))[:, ::-1].copy()
    salience[1] = np.sort(rng.standard_normal(10))[::-1]
    salience[2] = np.round(salience[2], 1)
    drop = 0.1 + 0.3 * rng.standard_normal((5, 10))
    drop[2] = np.round(drop[2], 1)
    drop[3].sort()
    drop[4] = 0.25
    scores = np.array([saco(*case) for case in zip(salience, drop, strict=True)])
    print(f"SaCo: {scores}")
    try:
        saco(np.ones(10), drop[0])
    except ValueError as error:
        print(f"SaCo of constant salience: {error}")
    return {"saco/salience": salience, "saco/drop": drop, "saco/score": scores}


def main() -> None:
    rng = np.random.default_rng(SEED)
    images = float32_numbers(rng, (3, 3, 32, 32), 1.0)
    arrays = {"images": exact(images).numpy(), **classifier_arrays(rng, images), **clip_arrays(rng, images)}
    arrays |= saco_arrays(rng, authors_saco(Path(sys.argv[1]).read_text()))
    np.savez_compressed(Path(__file__).with_name("relevance_peers.npz"), **arrays)


if __name__ == "__main__":
    main()
