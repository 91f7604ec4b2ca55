"""The accepted and refused families of timm models, with a small model of each, and the formats of weights; writes docs/families.md.

    python tools/families.py --report docs/families.md

`test_families.py` tests every row: the sites, memories, values and removed tokens of an accepted family, and the reason of a refused one.
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
from formats import FORMATS

SMALL: dict[str, Any] = {"img_size": 48, "patch_size": 16, "embed_dim": 24, "num_heads": 2, "depth": 3, "num_classes": 7}


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: common name.
        arch: timm name of an example.
        differs: differences to the plain ViT that matter for the method.
        kwargs: arguments of the small model in addition to `SMALL`.
    """

    name: str
    arch: str
    differs: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    def build(self) -> ViT:
        """Return a small model of the family with random parameters. Parameters that stay at zero or one could hide a mistake."""
        torch.manual_seed(0)
        model = timm.create_model(self.arch, **{**SMALL, **self.kwargs}).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        return model


ACCEPTED = (
    Family("ViT", "vit_base_patch32_224", "none; the model of the paper"),
    Family("DeiT", "deit_base_patch16_224", "none"),
    Family("DeiT, distilled", "deit_base_distilled_patch16_224", "two heads, whose mean is the output; the class embedding is `head`"),
    Family("DeiT III", "deit3_base_patch16_224", "layer-scale; `attn_out` and `mlp_out` are read after it"),
    Family("ViT, MIIL", "vit_base_patch16_224_miil", "no bias for queries, keys and values"),
    Family("ViT, res-post-norm", "vit_base_patch16_rpn_224", "norms after the sublayers; pooled output", {"init_values": 0.5}),
    Family("ViT with registers", "vit_small_patch14_reg4_dinov2", "registers, which are prefix tokens"),
    Family("ViT with registers, pooled", "vit_base_patch16_reg4_gap_256", "registers, no [CLS]; pooled output"),
    Family("ViT with inner norms", "vit_base_patch16_224", "norms inside attention", {"qk_norm": True, "scale_attn_norm": True}),
    Family("ViT, CLIP-tuned", "vit_base_patch32_clip_224", "a norm before the first block"),
    Family("BEiT", "beit_base_patch16_224", "relative position bias in every block; [CLS], but pooled output"),
    Family("BEiT v2", "beitv2_base_patch16_224", "relative position bias in every block", {"global_pool": "token"}),
    Family("EVA", "eva_giant_patch14_224", "no bias for keys; pooled output"),
    Family("EVA-02", "eva02_base_patch14_448", "rotary positions, gated MLP with a norm inside; pooled output"),
    Family("EVA-02, CLIP", "eva02_base_patch16_clip_224", "rotary positions, norms inside attention and MLP"),
    Family("ViT with rotary positions", "vit_base_patch16_rope_224", "rotary positions"),
    Family("ViT with mixed rotary positions", "vit_base_patch16_rope_mixed_224", "separate rotary positions for each block and head"),
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

This page lists the Vision Transformers of [timm](https://github.com/huggingface/pytorch-image-models) that classlens accepts.
`make families` writes it. For each accepted family, tests build a small model of its timm class with random weights, and check that

- the sites sum to the residual stream,
- the projection gives the model's own logits,
- memories times coefficients plus bias give the sublayer's output,
- attention weights times values give the heads' outputs,
- a model with removed tokens gives the same result as a run on the remaining tokens,
- relevance equals the gradient with respect to the attention weights.

When a run starts, it checks the sites and logits of every model in the same way, and refuses a model that fails, with the reason.

*Output* is the source of the model's prediction. *Removed tokens* says how tokens are removed. `taken out`: they leave the sequence after
the position embedding. `masked`: they stay in the sequence, because attention itself depends on positions, but no token attends to them,
and pooling ignores them. `-`: classlens refuses attention and token perturbation, relevance maps and deletion curves for this family; all
other analyses work.

| family | example | output | removed tokens | difference to ViT |
|---|---|---|---|---|
"""

REASONS = """
With a [class embedding](models_and_images.md#a-model-without-a-head) from a file, fitted to images or from a text tower, classlens also
accepts a backbone without a head.

The method needs one residual stream to which attention and MLP add, and an output that is a linear map of one token or of the mean of
tokens. Why these families do not meet this, and what to use instead:

- **Attention pooling** (SigLIP): a learned query attends to all tokens, and an MLP follows. With attention kept fixed, the part before the
  MLP is a sum over tokens, but the output is not. Use the `gap` variant of timm, which has the same weights without the pooling, or a
  folder of transformers, with a class embedding fitted to the mean of the image tokens.
- **CaiT**: [CLS] enters in two last blocks of another kind; the image tokens before never meet the class embedding.
- **Swin**: each stage has its own width, so only the last stage's states have the class embedding's width.
- **Parallel layers**: two attentions and two MLPs stand side by side, so memories and heads have no single layer.
- **ViT-Adapter** and others with a second branch: the branch writes to the tokens between blocks. classlens reads timm models only, and a
  model with such additions fails its check.

## Formats of weights

`weights` is a file in one of these formats, with `arch`, or a folder of transformers, which needs no `arch`. Tests load a small model of
every row and compare its logits (without a head: its features) with those of the format's own class. Position embeddings and patches of
another size are resampled as timm does. Prefixes of training code (`module.`, `model.`, `backbone.`, ...) are removed. The log and
`model.json` say what was changed. Every other parameter must fit exactly.
"""


def output(model: ViT) -> str:
    """Return the source of a model's prediction."""
    lens = Lens.from_model(model)
    return "mean of image tokens" if lens.pooled else "[CLS]" if lens.second_head is None else "[CLS] and distillation token"


def removal(model: ViT) -> str:
    """Return how tokens of a model are removed."""
    if not families.takes_masks(model):
        return "-"
    return "masked" if families.attends_by_position(model) else "taken out"


def refused(family: Family) -> ViT:
    """Return a model of a refused family, with small sizes if the family accepts them."""
    small = {"SigLIP": {**SMALL}, "XCiT": {"img_size": 48, "embed_dim": 24, "num_heads": 2, "depth": 2}, "ResNet": {}}
    small |= {"CaiT": {"img_size": 48, "embed_dim": 24, "num_heads": 2, "depth": 2}, "Swin": {"img_size": 56, "embed_dim": 24}}
    return timm.create_model(family.arch, **{**small.get(family.name, SMALL), **family.kwargs}).eval()


def reason(family: Family) -> str:
    """Return the reason in the error message for a model of a refused family."""
    try:
        loading.accept(refused(family), family.arch)
    except loading.InputError as error:
        return str(error).split("is refused: ")[1]
    raise AssertionError(f"{family.name} is not refused")


def page() -> str:
    """Return the page of the documentation."""
    text = HEAD
    for family in ACCEPTED:
        model = family.build()
        text += f"| {family.name} | `{family.arch}` | {output(model)} | {removal(model)} | {family.differs} |\n"
    text += "\n## Refused\n\n| family | example | reason |\n|---|---|---|\n"
    for family in REFUSED:
        text += f"| {family.name} | `{family.arch}` | {reason(family)} |\n"
    text += REASONS + "\n| format | what is converted, left out or needed |\n|---|---|\n"
    for one in FORMATS:
        text += f"| {one.name} | {one.note or 'names converted'} |\n"
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, required=True, help="page to write")
    parser.parse_args().report.write_text(page(), encoding="utf-8")
