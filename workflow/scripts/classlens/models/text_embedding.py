"""Class vectors from the text tower that was trained together with a CLIP image tower, in the package open_clip_torch.

A text tower belongs to timm's weights of an image tower if timm and open_clip name the same repository for them. No other pair is used.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from classlens.errors import InputError
from classlens.models import checkpoints
from classlens.models.class_embedding import Vectors
from classlens.models.hub import Architecture, Hub
from classlens.progress import log, progress

FORMER = {
    "timm/vit_base_patch32_clip_224.laion2b": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "timm/vit_base_patch16_clip_224.laion2b": "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    "timm/vit_large_patch14_clip_224.laion2b": "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    "timm/vit_huge_patch14_clip_224.laion2b": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    "timm/vit_giant_patch14_clip_224.laion2b": "laion/CLIP-ViT-g-14-laion2B-s12B-b42K",
    "timm/vit_gigantic_patch14_clip_224.laion2b": "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    "timm/vit_base_patch32_clip_224.datacompxl": "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
    "timm/vit_base_patch32_clip_256.datacompxl": "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
    "timm/vit_base_patch16_clip_224.datacompxl": "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
    "timm/vit_large_patch14_clip_224.datacompxl": "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
    "timm/vit_large_patch14_clip_224.dfn2b": "apple/DFN2B-CLIP-ViT-L-14",
    "timm/vit_huge_patch14_clip_224.dfn5b": "apple/DFN5B-CLIP-ViT-H-14",
    "timm/vit_huge_patch14_clip_378.dfn5b": "apple/DFN5B-CLIP-ViT-H-14-378",
}
"""Repositories that timm named for its weights until it copied their image towers (timm 0.9 and 1.0.9)."""
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Files with the weights of both towers in a repository."""
NO_IMAGE_TOWER = {"layers": 1, "width": 8, "head_width": 8, "patch_size": 8, "image_size": 8}
"""An image tower as small as possible, because open_clip builds none without one."""
NAMELESS = re.compile(r"n[0-9]{8}|[\W\d_]*")
"""Names of classes that say nothing to a text tower: ids of ImageNet, and numbers."""


@dataclass(frozen=True)
class Tower:
    """A text tower of open_clip.

    Attributes:
        name: name of the pair of towers in open_clip.
        tag: open_clip's tag of the weights.
        repository: repository of the weights on the hub.
        config: open_clip's description of both towers.
    """

    name: str
    tag: str
    repository: str
    config: dict[str, Any]


def _open_clip() -> Any:
    """Return the package open_clip, or raise an InputError if it is not installed."""
    try:
        import open_clip
    except ImportError:
        raise InputError("`text: openclip` needs the package open_clip_torch: install it (`pip install open_clip_torch`)") from None
    return open_clip


def tower_of(architecture: Architecture) -> Tower:
    """Return the text tower that was trained together with an architecture's own weights.

    Raises:
        InputError: no text tower is known for these weights, or open_clip is not installed.
    """
    open_clip, repository = _open_clip(), (architecture.repository or "").partition("@")[0]
    wanted, found = FORMER.get(repository, repository), []
    for name, tag in open_clip.list_pretrained() if wanted else ():
        known, config = open_clip.get_pretrained_cfg(name, tag), open_clip.get_model_config(name)
        # open_clip lists weights under names with either activation; only one of them is that of the training.
        if known.get("hf_hub", "").strip("/") == wanted and known.get("quick_gelu", False) == config.get("quick_gelu", False):
            found.append(Tower(name, tag, wanted, config))
    if len(found) != 1 or any(key.startswith("hf_") for key in found[0].config["text_cfg"]):  # of transformers, with a tokenizer elsewhere
        raise InputError(
            f"no text tower is known for the weights of {architecture.name} (repository {repository or 'none'}): make the class vectors "
            "yourself and set `class_embedding: {file: FILE}`, or use weights such as vit_base_patch32_clip_quickgelu_224.openai"
        )
    return found[0]


def make(tower: Tower, hub: Hub, weights: Path | None, prompts: list[str], classes: list[tuple[str, str]]) -> Vectors:
    """Return the class vectors of a text tower.

    Args:
        tower: the text tower.
        hub: source of its weights.
        weights: file with the weights; None for the tower's repository.
        prompts: texts in which `{}` stands for the name of the class.
        classes: (id, name) of each class.

    Raises:
        InputError: the weights are missing or do not fit, or a class has no name in words.
    """
    names = [_words(class_id, name) for class_id, name in classes]
    log.info("prompts such as %r", prompts[0].replace("{}", names[0]))
    model = load(tower.config, weights or hub.file(tower.repository, *WEIGHTS))
    tokenizer = _open_clip().SimpleTokenizer(context_length=model.context_length)
    vectors = embed(model, tokenizer, prompts, names)
    facts = {"text": "openclip", "tower": f"{tower.name}, {tower.tag}", "prompts": prompts}
    return Vectors(vectors, None, "cosine", math.exp(-float(model.logit_scale)), facts)


def _words(class_id: str, name: str) -> str:
    """Return the first name of a class, with spaces instead of underscores.

    Raises:
        InputError: the name is a number or an id of ImageNet.
    """
    words = name.partition(",")[0].replace("_", " ").strip()
    if NAMELESS.fullmatch(words):
        raise InputError(
            f"the class {class_id} has the name {name!r}, which says nothing to a text tower: name the class folders in words, or set "
            "`classes: imagenet` for ids of ImageNet"
        )
    return words


def load(config: dict[str, Any], path: Path) -> Any:
    """Return a model of open_clip with the weights of its text tower; its image tower is a stand-in.

    Args:
        config: open_clip's description of the model.
        path: weights in open_clip's format, with or without those of the image tower (`visual.`).

    Raises:
        InputError: the file is damaged, or its weights do not fit.
    """
    names = ("embed_dim", "text_cfg", "quick_gelu")
    model = _open_clip().CLIP(vision_cfg=NO_IMAGE_TOWER, **{name: config[name] for name in names if name in config})
    found = {key: value for key, value in checkpoints.read(path).weights.items() if not key.startswith("visual.")}
    needed = {key: value for key, value in model.state_dict().items() if not key.startswith("visual.")}
    wrong = [
        key
        for key in sorted(needed.keys() | found.keys())
        if key not in needed or key not in found or needed[key].shape != found[key].shape
    ]
    if wrong:
        raise InputError(f"{path} does not hold the weights of the text tower: {wrong[0]} is missing, too much, or of another shape")
    model.load_state_dict(found, strict=False)
    return model.float().eval()


def embed(model: Any, tokenizer: Any, prompts: list[str], names: list[str]) -> torch.Tensor:
    """Return one vector of length 1 per class, [class, width]: the mean of the normalised embeddings of all prompts, normalised.

    Args:
        model: model of open_clip.
        tokenizer: its tokenizer.
        prompts: texts in which `{}` stands for the name of the class.
        names: names of the classes.
    """
    vectors = []
    for name in progress(names, len(names), "text embeddings", unit="classes"):
        with torch.inference_mode():
            vectors.append(model.encode_text(tokenizer([prompt.replace("{}", name) for prompt in prompts]), normalize=True).mean(dim=0))
    return functional.normalize(torch.stack(vectors), dim=-1)
