"""Parameters in the checkpoints of authors' own code, such as that of DINO, DINOv2, MAE, BEiT, MoCo, RETFound and solo-learn.

timm's own conversion knows the names of most image models. This module adds what it does not know: blocks in groups, heads under other
names, and the parts that only pretraining uses (decoders, projection heads, mask tokens, a second network).
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from classlens.progress import log

GROUPED_BLOCK = re.compile(r"^blocks\.\d+\.(\d+)\.")
"""A block's name in a training checkpoint of DINOv2: the number of its group and its own number."""
DINOV2 = re.compile(r"^register_tokens$|^blocks\.\d+\.mlp\.w12\.")
"""Names that only DINOv2 has, and that timm converts only beside a `mask_token`."""
PRETRAINING = re.compile(
    r"^(decoder|mask_token|lm_head|predictor|projector|momentum_\w+|dino_head|ibot_head|local_cls_norm)(?![a-z])"
    r"|^head\.(mlp|last_layer|\d+)\."
)
"""Names of parameters that only pretraining uses."""
HEADS = ("classifier", "classification_head", "cls_head", "fc", "linear", "head.fc", "head.linear", "head.0", "classifier.0", "mlp_head.1")
"""Usual names of a linear classifier on top of a backbone in people's own code."""
ATTENTION_POOLING = re.compile(r"^attn_pool\.")
"""Names of SigLIP's pooling, which a backbone for a new head does without."""


def renamed(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters under the names from which timm recognises the method, the blocks and the head.

    Args:
        weights: parameters by name.
        own: the model's parameters.
    """
    found = {GROUPED_BLOCK.sub(r"blocks.\1.", key): value for key, value in weights.items()}
    if any(DINOV2.search(key) for key in found):
        found.setdefault("mask_token", torch.zeros(1))
    return _with_head(found, own)


def _with_head(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters with the head under timm's name if a checkpoint has one linear layer under a usual other name."""
    if "head.weight" not in own or "head.weight" in weights:
        return weights
    width = own["head.weight"].shape[1]
    heads = [name for name in HEADS if f"{name}.weight" in weights and weights[f"{name}.weight"].shape[1:] == (width,)]
    if len(heads) != 1:
        return weights
    log.warning("took %s.weight as the model's head: see that the model's accuracy is right", heads[0])
    return {re.sub(rf"^{re.escape(heads[0])}\.(weight|bias)$", r"head.\1", key): value for key, value in weights.items()}


def without_pretraining(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters without those that only pretraining uses and that the model does not have; a backbone needs no pooling either.

    Args:
        weights: parameters by name.
        own: the model's parameters.
    """
    patterns = [PRETRAINING] if "head.weight" in own else [PRETRAINING, ATTENTION_POOLING]
    left = sorted(key for key in weights.keys() - own.keys() if any(pattern.search(key) for pattern in patterns))
    if left:
        log.info("left out %d parameters of pretraining, which the model does not have: %s", len(left), ", ".join(left))
    return {key: value for key, value in weights.items() if key not in left}
