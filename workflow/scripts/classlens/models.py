"""The models of a run: building, loading, checking and keeping them.

A model is any timm Vision Transformer whose blocks add an attention and an MLP contribution to the residual stream and whose output is
one linear map of one token, or of the mean of the image tokens. `accept` checks that with numbers. What a run uses is kept as
model.safetensors and model.json, from which every later step loads it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from classlens import checkpoints, class_embedding, storage, transforms
from classlens.card import Card
from classlens.class_embedding import ClassEmbedding
from classlens.cli import log
from classlens.errors import InputError, first_line
from classlens.hub import Architecture
from classlens.lens import Lens
from classlens.protocol import Protocol
from classlens.provenance import sha256
from classlens.trace import Trace, ViT

# Float32 sums in another order differ by a few units in the seventh place; a wrong site differs in the first.
TOLERANCE = 1e-4


def build(
    arch: str,
    kwargs: dict[str, Any],
    num_classes: int | None,
    pretrained_cfg: dict[str, Any] | None = None,
    weights: dict[str, Tensor] | None = None,
) -> ViT:
    """A timm model in evaluation mode.

    Args:
        arch: name in timm.
        kwargs: arguments of `timm.create_model` beside these.
        num_classes: number of classes; None leaves the architecture's own.
        pretrained_cfg: what its repository says of weights and images; None for what timm knows by name.
        weights: pretrained weights by name, which timm fits to the model; None for random ones.

    Raises:
        InputError: timm has no such architecture or argument, or the weights do not fit.
    """
    options = kwargs if num_classes is None or "num_classes" in kwargs else {**kwargs, "num_classes": num_classes}
    overlay = {"state_dict": weights, "source": "", "custom_load": False} if weights else None
    try:
        model = timm.create_model(arch, pretrained=bool(weights), pretrained_cfg=pretrained_cfg, pretrained_cfg_overlay=overlay, **options)
    except RuntimeError as error:
        advice = "; its pretrained weights do not fit `kwargs`" if weights else _similar(arch)
        raise InputError(f"arch {arch!r}: {first_line(error)}{advice}") from None
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(f"arch {arch!r} with kwargs {json.dumps(kwargs)}: {first_line(error)}") from None
    return model.eval()


def _similar(arch: str) -> str:
    near = timm.list_models(f"*{arch.split('.')[0][:12]}*")[:3]
    return f"; similar names are {', '.join(near)}" if near else "; `timm.list_models()` lists the names"


def refusal(model: ViT) -> str | None:
    """Why a model's hidden states cannot be projected by this method, or None."""
    if not hasattr(model, "blocks") or not hasattr(model, "patch_embed") or not hasattr(model, "num_prefix_tokens"):
        return "it is not a Vision Transformer with `blocks`"
    if not isinstance(getattr(model, "head", None), nn.Linear | ClassEmbedding):
        return "its head is not one linear map (class embedding)"
    if getattr(model, "attn_pool", None) is not None or model.global_pool not in ("token", "avg"):
        return f"its output is not one token or the mean of the image tokens (global_pool={model.global_pool!r})"
    if getattr(model, "pool_include_prefix", False):
        return "it pools over prefix tokens too"
    for place in ("drop_path1", "drop_path2", "attn.proj", "mlp.fc2"):
        try:
            model.blocks[0].get_submodule(place)
        except AttributeError:
            return f"its blocks have no {place}: they do not add an attention and an MLP contribution to the residual stream"
    if type(model.blocks[0].attn).__name__ == "DiffAttention":
        return "its attention is a difference of two (differential attention), which is no weighted sum of values"
    return None


def accept(model: ViT, name: str) -> None:
    """Check that a model is what the method assumes: its sites add up to its residual stream, and the lens gives its output.

    Args:
        model: a timm model in evaluation mode, on the CPU.
        name: what to call it in errors.

    Raises:
        InputError: the model is refused, with the reason; or its weights are not finite.
    """
    reason = refusal(model)
    if reason:
        raise InputError(f"model {name} is refused: {reason}")
    blocks = range(len(model.blocks))
    images = torch.randn(2, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(0))
    names = [f"{site}.{block}" for site in ("resid_pre", "attn_out", "mlp_out", "resid_post") for block in blocks]
    with torch.inference_mode(), Trace(model, names) as trace:
        output = model(images)
        projected = Lens.from_model(model).output(trace[f"resid_post.{blocks[-1]}"])
    if not output.isfinite().all():
        raise InputError(f"model {name} is refused: its output is not finite; its weights are damaged")
    for block in blocks:
        stream = trace[f"resid_pre.{block}"] + trace[f"attn_out.{block}"] + trace[f"mlp_out.{block}"]
        if _differ(stream, trace[f"resid_post.{block}"]):
            raise InputError(f"model {name} is refused: in block {block} attention and MLP do not add up to the residual stream")
    if _differ(projected, output):
        raise InputError(f"model {name} is refused: head(fc_norm(pool(norm(x)))) is not its output")


def _differ(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() > TOLERANCE * theirs.abs().max().clamp(min=1))


def transform_of(model: ViT, arch: str, transform: dict[str, Any] | None, protocol: Protocol) -> dict[str, Any]:
    """The config's transform, or the model's default one, which must end in the size of the model's input.

    Raises:
        InputError: it does not.
    """
    size = list(model.patch_embed.img_size)
    if transform is None:
        data_config = {**timm.data.resolve_model_data_config(model), "input_size": (3, *size)}  # kwargs may have changed the size
        transform = transforms.default_transform(arch, data_config, protocol)
    transform = transforms.completed(transform)
    if transforms.output_size(transform) != size:
        raise InputError(f"the transform of {arch} does not end in the model's {size[0]} x {size[1]} pixels: correct its resize or crop")
    return transform


def describe(
    model: ViT,
    arch: str,
    kwargs: dict[str, Any],
    source: str,
    transform: dict[str, Any] | None,
    protocol: Protocol,
    weights: Path,
) -> Card:
    """The card of an accepted model.

    Args:
        model: the model.
        arch: its name in timm.
        kwargs: the arguments that it was built with.
        source: where its weights come from; with the sha256 of their file, if there is one.
        transform: the config's transform, or None for the default.
        protocol: settles the default transform.
        weights: the file that holds the weights.

    Raises:
        InputError: the transform's output is not the model's input.
    """
    return Card(
        arch=arch,
        kwargs=kwargs,
        classes=model.head.out_features,
        depth=len(model.blocks),
        width=model.embed_dim,
        heads=model.blocks[0].attn.num_heads,
        grid=tuple(model.patch_embed.grid_size),
        prefix_tokens=model.num_prefix_tokens,
        cls_token=getattr(model, "cls_token", None) is not None,
        pooling="mean" if model.global_pool == "avg" else "token",
        transform=transform_of(model, arch, transform, protocol),
        source=source,
        sha256=sha256(weights),
        class_embedding=class_embedding.described(model),
    )


def save(model: ViT, path: Path) -> None:
    """Write a model's parameters as safetensors."""
    with storage.whole(path) as draft:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, draft)


def load_model(folder: Path | str) -> tuple[ViT, Card]:
    """A run's model in evaluation mode, whose parameters take no gradients, and its card.

    Args:
        folder: `results/{run}/models/{model}`.

    Raises:
        InputError: the files are damaged or do not belong together.
    """
    folder = Path(folder)
    card, weights = Card.read(folder / "model.json"), folder / "model.safetensors"
    if sha256(weights) != card.sha256:
        raise InputError(f"{weights} is not the file that model.json describes: delete both and run the workflow again")
    model = build(card.arch, card.kwargs, None if card.class_embedding else card.classes)
    if card.class_embedding:
        class_embedding.restored(model, card.classes, card.class_embedding)
    checkpoints.load(model, load_file(weights), str(weights))
    log.info("model %s, sha256 %s", card.arch, card.sha256)
    return model.requires_grad_(False), card


def make_model(
    architecture: Architecture,
    weights: str,
    kwargs: dict[str, Any],
    num_classes: int,
    seed: int,
    checkpoint: Path | None = None,
    key_prefix: str = "",
    ignore_keys: list[str] | None = None,
    head: Callable[[ViT], None] | None = None,
) -> ViT:
    """A model with the weights that a config asks for.

    Args:
        architecture: from `hub.Hub.architecture`.
        weights: `pretrained`, `random` or `checkpoint`.
        kwargs: arguments of `timm.create_model`.
        num_classes: classes of the data set.
        seed: seed of random weights.
        checkpoint: file of the weights, for `pretrained` and `checkpoint`.
        key_prefix: see `checkpoints.load`.
        ignore_keys: see `checkpoints.load`.
        head: gives the model another head than its own, such as a class embedding.

    Raises:
        InputError: the model, its weights or its number of classes do not fit.
    """
    torch.manual_seed(seed)
    content = checkpoints.read(checkpoint) if checkpoint else None
    pretrained = content if weights == "pretrained" else None
    own_classes = pretrained is not None or head is not None
    kwargs = {**architecture.kwargs, **kwargs}
    model = build(architecture.name, kwargs, None if own_classes else num_classes, architecture.pretrained_cfg, pretrained)
    if content is not None and pretrained is None:
        checkpoints.load(model, content, str(checkpoint), key_prefix, ignore_keys)
    if head:
        head(model)
    accept(model, architecture.name)
    classes = model.head.out_features
    if classes != num_classes:
        raise InputError(
            f"model {architecture.name} tells {classes} classes apart and its data set has {num_classes}: set the data set's `classes`"
        )
    return model
