"""Building, checking, writing and loading of a run's models.

A model is any timm Vision Transformer whose blocks add an attention and an MLP contribution to the residual stream and whose output is
one linear map of one token, or of the mean of the image tokens. `accept` checks these assumptions numerically. A run writes its models as
model.safetensors and model.json, and every later step loads them from there.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers import QuickGELU
from torch import Tensor, nn

from classlens import lens
from classlens.data import transforms
from classlens.errors import InputError, first_line, printable
from classlens.lens import Lens
from classlens.models import arguments, checkpoints, class_embedding, pretrained
from classlens.models.card import Card
from classlens.models.checkpoints import Checkpoint
from classlens.models.hub import Architecture
from classlens.progress import log
from classlens.protocol import Protocol
from classlens.storage.atomic_write import atomic_write
from classlens.storage.provenance import sha256
from classlens.trace import Trace, ViT

# Float32 sums in another order differ in the seventh digit; a wrong site differs in the first.
TOLERANCE = 1e-4


def build(
    arch: str,
    kwargs: dict[str, Any],
    num_classes: int | None,
    pretrained_cfg: dict[str, Any] | None = None,
    weights: AbstractContextManager[None] | None = None,
) -> ViT:
    """Return a timm model in evaluation mode.

    Args:
        arch: name in timm.
        kwargs: further arguments of `timm.create_model`, and `norm_eps`, the epsilon of all layer norms, which timm fixes per architecture.
        num_classes: number of classes; None keeps the architecture's own number.
        pretrained_cfg: description of weights and images from its repository; None for timm's own description.
        weights: context manager in which timm loads pretrained weights (`pretrained.loading`); None for random weights.

    Raises:
        InputError: timm has no such architecture or argument, an argument is not allowed, or the weights do not fit.
    """
    if problem := arguments.refusal(kwargs):
        raise InputError(f"arch {arch!r} with kwargs {json.dumps(kwargs, default=str)}: {problem}")
    options = kwargs if num_classes is None or "num_classes" in kwargs else {**kwargs, "num_classes": num_classes}
    norm_eps = options.get("norm_eps")
    options = {name: value for name, value in options.items() if name != "norm_eps"}
    try:
        with weights or nullcontext():
            model = timm.create_model(arch, pretrained=weights is not None, pretrained_cfg=pretrained_cfg, **options)
        if norm_eps is not None:
            _set_norm_eps(model, norm_eps)
    except InputError:
        raise
    except Exception as error:  # timm checks few arguments, so a wrong one may fail anywhere
        problem = f"{type(error).__name__}: {printable(first_line(error))}"
        advice = "" if timm.is_model(arch) else _similar(arch)
        raise InputError(f"arch {arch!r} with kwargs {json.dumps(kwargs, default=str)} cannot be built ({problem}){advice}") from None
    return model.eval()


def _set_norm_eps(model: ViT, eps: float) -> None:
    """Set the epsilon of all layer norms, which timm fixes for each architecture."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = float(eps)


def _similar(arch: str) -> str:
    near = timm.list_models(f"*{arch.split('.')[0][:12]}*")[:3]
    return f"; similar names are {', '.join(near)}" if near else "; `timm.list_models()` lists the names"


def _input_refusal(model: ViT) -> str | None:
    """Return why a model cannot take RGB images, or why its patches do not tile them; None if it is fine."""
    channels = getattr(model, "in_chans", 3)
    if channels != 3:
        return f"it takes images with {channels} channels, but classlens reads images with three (RGB): remove `in_chans`"
    patches = model.patch_embed
    if not hasattr(patches, "feat_ratio"):
        return None
    reach = [count * side for count, side in zip(patches.grid_size, patches.feat_ratio(as_scalar=False), strict=False)]
    if reach != list(patches.img_size):
        return (
            f"its {patches.grid_size[0]} x {patches.grid_size[1]} patches cover only {reach[0]} x {reach[1]} pixels of an image of "
            f"{patches.img_size[0]} x {patches.img_size[1]}: set `img_size` to a multiple of the patch size"
        )
    return None


def accept(model: ViT, name: str) -> None:
    """Check the method's assumptions about a model: its sites add up to its residual stream, and the lens gives its output.

    Args:
        model: a timm model in evaluation mode, on the CPU.
        name: name of the model in errors.

    Raises:
        InputError: the model does not meet an assumption, or its output is not finite.
    """
    lens.check(model, name)
    if reason := _input_refusal(model):
        raise InputError(f"model {name} is refused: {reason}")
    blocks = range(len(model.blocks))
    names = [f"{site}.{block}" for site in ("resid_pre", "attn_out", "mlp_out", "resid_post") for block in blocks]
    try:
        images = torch.randn(2, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode(), Trace(model, names) as trace:
            output = model(images)
            projected = Lens.from_model(model).output(trace[f"resid_post.{blocks[-1]}"])
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError) as error:
        problem = f"{type(error).__name__}: {printable(first_line(error))}"
        raise InputError(f"model {name} is refused: it fails on an image ({problem}): correct its `kwargs`") from None
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
    """Return the config's transform, or the model's default one, after a check of its output size.

    Raises:
        InputError: the output of the transform does not have the size of the model's input.
    """
    size = list(model.patch_embed.img_size)
    if transform is None:
        data_config = {**timm.data.resolve_model_data_config(model), "input_size": (3, *size)}  # kwargs may have changed the size
        transform = transforms.default_transform(arch, data_config, protocol)
    transform = transforms.completed(transform)
    if transforms.output_size(transform) != size:
        raise InputError(f"the transform of {arch} does not give the model's {size[0]} x {size[1]} pixels: correct its resize or crop")
    return transform


def describe(
    model: ViT,
    arch: str,
    kwargs: dict[str, Any],
    source: str,
    *,
    transform: dict[str, Any] | None,
    protocol: Protocol,
    weights: Path | None,
    labels: str | None = None,
    head: dict[str, Any] | None = None,
) -> Card:
    """Return the card of an accepted model.

    Args:
        model: the model.
        arch: its name in timm.
        kwargs: arguments of `timm.create_model` that built it.
        source: source of its weights, with the sha256 of their file if there is one.
        transform: the config's transform, or None for the default.
        protocol: determines the default transform.
        weights: file with the weights; None for a model that is not written.
        labels: how the class of each row of the head is known (`labels.RowOrder`).
        head: how the workflow made the class vectors (`Card.head`).

    Raises:
        InputError: the model has only one block, or the transform's output does not have the size of the model's input.
    """
    if len(model.blocks) < 2:
        raise InputError(f"{arch} has only one block: use a model with at least two, because analyses compare a block with the one before")
    _warn_of_ties(model, arch)
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
        sha256=sha256(weights) if weights else "",
        class_embedding=class_embedding.settings_of(model),
        labels=labels,
        head=head,
    )


def _warn_of_ties(model: ViT, arch: str) -> None:
    if not model.head.weight.any():
        log.warning("all weights of the head of %s are zero (`weight_init`?): all classes have the same logit, so ranks mean nothing", arch)


def save(model: ViT, path: Path) -> None:
    """Write a model's parameters as safetensors."""
    with atomic_write(path) as draft:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, draft)


def load_model(folder: Path | str) -> tuple[ViT, Card]:
    """Return a run's model, in evaluation mode and with parameters that take no gradients, and its card.

    Args:
        folder: `results/{run}/models/{model}`.

    Raises:
        InputError: the files are damaged or do not belong together.
    """
    folder = Path(folder)
    card, weights = Card.read(folder / "model.json"), folder / "model.safetensors"
    if not weights.is_file() or sha256(weights) != card.sha256:
        raise InputError(f"{weights} is not the file that model.json describes: delete both and run the workflow again")
    model = build(card.arch, card.kwargs, None if card.class_embedding else card.classes)
    if card.class_embedding:
        class_embedding.attach_empty(model, card.classes, card.class_embedding)
    lens.check(model, card.arch)
    checkpoints.load(model, load_file(weights), str(weights))
    log.info("model %s, sha256 %s", card.arch, card.sha256)
    return model.requires_grad_(False), card


def make_model(
    architecture: Architecture,
    weights: str,
    kwargs: dict[str, Any],
    num_classes: int,
    seed: int,
    *,
    checkpoint: Checkpoint | None = None,
    key_prefix: str = "",
    ignore_keys: list[str] | None = None,
    head: Callable[[ViT], None] | None = None,
    drops_head: bool = False,
) -> ViT:
    """Return a model with the weights that a config names.

    Args:
        architecture: from `hub.Hub.architecture`.
        weights: `pretrained`, `random` or `checkpoint`.
        kwargs: arguments of `timm.create_model`.
        num_classes: number of classes of the data set.
        seed: seed of random weights.
        checkpoint: the weights, for `pretrained` and `checkpoint`.
        key_prefix: see `checkpoints.without_prefix`.
        ignore_keys: see `checkpoints.load`.
        head: function that replaces the model's head, e.g. by a class embedding; None keeps the head.
        drops_head: whether to build the model without its own head, which `head` does not use; it may have any number of classes.

    Raises:
        InputError: the model, its weights or its number of classes do not fit.
    """
    torch.manual_seed(seed)
    kwargs = {**architecture.kwargs, **kwargs}
    loader = pretrained.loading(checkpoint, ignore_keys or [], architecture.kwargs, key_prefix) if checkpoint else None
    own_classes = weights == "pretrained" or head is not None
    if drops_head or (checkpoint and head and not pretrained.has_head(checkpoint)):
        kwargs["num_classes"] = 0
    model = build(architecture.name, kwargs, None if own_classes else num_classes, architecture.pretrained_cfg, loader)
    if head:
        head(model)
    accept(model, architecture.name)
    if weights != "random":
        _check_activation(model, architecture, weights)
    classes = model.head.out_features
    if classes != num_classes:
        hint = ", or the model's `class_embedding` if its head is a projection" if "clip" in architecture.name else ""
        raise InputError(
            f"model {architecture.name} has {classes} classes, but its data set has {num_classes}: set the data set's `classes`{hint}"
        )
    return model


def _check_activation(model: ViT, architecture: Architecture, weights: str) -> None:
    """Raise an InputError if timm notes that the weights were trained with another activation than the model's; warn for a checkpoint."""
    notes = architecture.facts.get("notes") or ()
    if not any("quickgelu" in str(note).lower() for note in notes) or isinstance(model.blocks[0].mlp.act, QuickGELU):
        return
    variant = architecture.name.replace("_clip_", "_clip_quickgelu_")
    problem = f"the weights of {architecture.name} were trained with QuickGELU, but the model has GELU"
    if weights == "pretrained":
        raise InputError(
            f"{problem}: set `arch: {variant}`" + (", or" if timm.is_model(variant) else "") + " `kwargs: {act_layer: quick_gelu}`"
        )
    log.warning("%s: a checkpoint that was trained from these weights needs `arch: %s`", problem, variant)
