"""The families of timm that are accepted, with a small model of each, and those that are refused; writes docs/families.md.

    python tools/families.py --report docs/families.md

Every row is tested in `test_families.py`: an accepted family by what its sites, memories, values and removed tokens must equal, a
refused one by its reason.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch

from classlens.lens import Lens
from classlens.models import families, loading
from classlens.trace import ViT

SMALL: dict[str, Any] = {"img_size": 48, "patch_size": 16, "embed_dim": 24, "num_heads": 2, "depth": 3, "num_classes": 7}


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: what people call it.
        arch: a model of it in timm.
        differs: how it differs from the plain ViT where the method looks.
        kwargs: arguments of the small model beside `SMALL`.
    """

    name: str
    arch: str
    differs: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    def build(self) -> ViT:
        """A small model of the family, all of whose parameters are random: none is left at a zero or one that would hide a mistake."""
        torch.manual_seed(0)
        model = timm.create_model(self.arch, **{**SMALL, **self.kwargs}).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        return model


ACCEPTED = (
    Family("ViT", "vit_base_patch32_224", "nothing: the model of the paper"),
    Family("DeiT", "deit_base_patch16_224", "nothing"),
    Family("DeiT, distilled", "deit_base_distilled_patch16_224", "two heads, whose mean is the output; the class embedding is `head`"),
    Family("DeiT III", "deit3_base_patch16_224", "layer-scale: `attn_out` and `mlp_out` are what is left after it"),
    Family("ViT, MIIL", "vit_base_patch16_224_miil", "no bias of queries, keys and values"),
    Family("ViT, res-post-norm", "vit_base_patch16_rpn_224", "norms after the layers, pooled output", {"init_values": 0.5}),
    Family("ViT with registers", "vit_small_patch14_reg4_dinov2", "registers are prefix tokens: neither [CLS] nor image tokens"),
    Family("ViT with registers, pooled", "vit_base_patch16_reg4_gap_256", "registers and no [CLS]; pooled output"),
    Family("ViT with inner norms", "vit_base_patch16_224", "norms inside attention", {"qk_norm": True, "scale_attn_norm": True}),
    Family("ViT, CLIP-tuned", "vit_base_patch32_clip_224", "a norm before the first block"),
    Family("BEiT", "beit_base_patch16_224", "relative position bias in every block; [CLS], and pooled output"),
    Family("BEiT v2", "beitv2_base_patch16_224", "relative position bias in every block", {"global_pool": "token"}),
    Family("EVA", "eva_giant_patch14_224", "no bias of keys; pooled output"),
    Family("EVA-02", "eva02_base_patch14_448", "rotary positions, gated MLP with an inner norm; pooled output"),
    Family("EVA-02, CLIP", "eva02_base_patch16_clip_224", "rotary positions, inner norms of attention and MLP"),
    Family("ViT with rotary positions", "vit_base_patch16_rope_224", "rotary positions"),
    Family("ViT with mixed rotary positions", "vit_base_patch16_rope_mixed_224", "rotary positions of each block and head"),
    Family("DINOv3", "vit_base_patch16_dinov3", "rotary positions, registers, layer-scale"),
    Family("ViT with relative positions", "vit_relpos_base_patch16_224", "relative position bias"),
)  # fmt: skip

REFUSED = (
    Family("SigLIP", "vit_base_patch16_siglip_224", "attention pooling"),
    Family("ViT, pooled by maximum", "vit_base_patch16_224", "no mean", {"global_pool": "max", "class_token": False}),
    Family(
        "ViT, pooled with prefix tokens", "vit_base_patch16_224", "[CLS] in the mean", {"global_pool": "avg", "pool_include_prefix": True}
    ),
    Family("ViT without a head", "vit_base_patch16_224", "", {"num_classes": 0}),
    Family("ViT, parallel layers", "vit_small_patch16_18x2_224", "two attention layers side by side"),
    Family("ViT, differential attention", "vit_dwee_patch16_reg1_gap_256", "a difference of two attentions"),
    Family("XCiT", "xcit_small_12_p16_224", "attention over channels, a third layer in each block"),
    Family("CaiT", "cait_xxs24_224", "[CLS] enters in the last blocks"),
    Family("Swin", "swin_tiny_patch4_window7_224", "stages instead of one residual stream"),
    Family("ResNet", "resnet18", "no tokens"),
)

HEAD = """# Families of models

Which Vision Transformers of [timm](https://github.com/huggingface/pytorch-image-models) classlens accepts. Written by `make families`
from the registry of the tests: each accepted family has a small random-weight model of its real class, on which is tested that the sites
sum to the residual stream, that the projection gives the model's own logits, that memories times coefficients plus bias give the layer's
output, that attention weights times values give the heads' outputs, that removing tokens is what it says, and that relevance equals the
gradient through the attention weights. Every other model is tried in the same way (sites and logits) when a run begins, and refused with
the reason where it does not fit.

*Output*: where the model's own prediction comes from. *Removed tokens*: `taken out` of the sequence after the position embedding;
`masked` where attention itself knows positions: they keep their places, nothing attends to them, and pooling leaves them out; `-`:
attention and token perturbation, relevance maps and deletion curves are refused for this family, everything else works.

| family | example | output | removed tokens | what differs |
|---|---|---|---|---|
"""


def output(model: ViT) -> str:
    """Where a model's prediction comes from."""
    lens = Lens.from_model(model)
    return "mean of image tokens" if lens.pooled else "[CLS]" if lens.second_head is None else "[CLS] and distillation token"


def removal(model: ViT) -> str:
    """How tokens of a model are removed."""
    if not families.takes_masks(model):
        return "-"
    return "masked" if families.attends_by_position(model) else "taken out"


def refused(family: Family) -> ViT:
    """A small model of a refused family, as far as it can be made smaller."""
    small = {"SigLIP": {**SMALL}, "XCiT": {"img_size": 48, "embed_dim": 24, "num_heads": 2, "depth": 2}, "ResNet": {}}
    small |= {"CaiT": {"img_size": 48, "embed_dim": 24, "num_heads": 2, "depth": 2}, "Swin": {"img_size": 56, "embed_dim": 24}}
    return timm.create_model(family.arch, **{**small.get(family.name, SMALL), **family.kwargs}).eval()


def reason(family: Family) -> str:
    """What people read when they ask for a model of a refused family."""
    try:
        loading.accept(refused(family), family.arch)
    except loading.InputError as error:
        return str(error).split("is refused: ")[1]
    raise AssertionError(f"{family.name} is not refused")


def page() -> str:
    """The page of the documentation."""
    text = HEAD
    for family in ACCEPTED:
        model = family.build()
        text += f"| {family.name} | `{family.arch}` | {output(model)} | {removal(model)} | {family.differs} |\n"
    text += "\n## Refused\n\n| family | example | reason |\n|---|---|---|\n"
    for family in REFUSED:
        text += f"| {family.name} | `{family.arch}` | {reason(family)} |\n"
    text += "\nA backbone without a head is accepted once `class_embedding` gives it one.\n"
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, required=True, help="page to write")
    parser.parse_args().report.write_text(page(), encoding="utf-8")
