"""Inputs and outputs of the small models of all families."""

import torch
from torch import Tensor

from classlens.trace import ViT
from families import Family


def named(family: Family) -> str:
    return family.name


def images(model: ViT, count: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(1), dtype=dtype)


def centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=-1, keepdim=True)
