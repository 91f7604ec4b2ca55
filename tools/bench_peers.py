"""Speed of classlens and of other libraries at the same work: record hidden states, project them, and rank the true class.

`make bench` runs this in an environment of its own, which has the packages of the pinned environment and those of envs/peers.lock, and
writes the printed numbers into docs/benchmarks.md. The other libraries only record: norm and head are called here, by hand, and the rank
is that of classlens.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nnsight
import torch
import transformers as hf
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor
from transformer_lens.model_bridge import TransformerBridge
from vit_prisma.configs.HookedViTConfig import HookedViTConfig
from vit_prisma.models.base_vit import HookedViT
from vit_prisma.prisma_tools.loading_from_pretrained import convert_timm_weights

import classlens
from bench import ARCH, BATCH, Stage, photographs, timed
from classlens.data.batches import Batch, batches
from classlens.data.transforms import Transform
from classlens.lens import Lens, rank
from classlens.models import checkpoints, loading
from classlens.models.card import Card
from classlens.models.hub import Architecture
from classlens.protocol import CORRECTED
from classlens.trace import Trace, ViT

DEPTH = 12
SITES = {
    "blocks": ("resid_post",),
    "blocks, attention and MLPs": ("attn_out", "mlp_out", "resid_post"),  # in the order of the forward pass, which nnsight needs
}
"""Sites to record in each block, by choice."""
MODULES = {"resid_post": "blocks.{}", "attn_out": "blocks.{}.drop_path1", "mlp_out": "blocks.{}.drop_path2"}
"""The module of timm's ViT whose output is a site."""
TOLERANCE = 1e-3

Record = Callable[[Tensor], list[Tensor]]
"""Function from images to hidden states, each [image, token, width]."""
Recorder = Callable[[list[str]], Record]
"""Function from names of activations, as in `classlens.Trace`, to a function that records them."""
Project = Callable[[Tensor], Tensor]
"""Function from hidden states [image, token, width] to logits [image, token, class]."""
Ranks = Callable[[Tensor, Tensor], Tensor]
"""Function from logits and the images' classes to the ranks of the classes, [image, token]."""


@dataclass(frozen=True)
class Library:
    """A library on the benchmark's model.

    Attributes:
        name: its name, with what is used of it.
        version: its version.
        recorder: how it records.
        project: how hidden states are projected.
        ranks: how the classes are ranked.
        sites: the choices of sites that it can record, the largest last.
    """

    name: str
    version: str
    recorder: Recorder
    project: Project
    ranks: Ranks
    sites: Sequence[str] = tuple(SITES)

    def ranker(self, names: list[str], batch: Batch) -> Callable[[], None]:
        """Return a function that does the work once."""
        record = self.recorder(names)

        @torch.inference_mode()
        def run() -> None:
            for states in record(batch.images):
                self.ranks(self.project(states), batch.classes)

        return run


def ranks_by_sorting(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the place of the class among the sorted logits for each image and token."""
    return (logits.argsort(dim=-1, descending=True) == classes[:, None, None]).int().argmax(dim=-1)


# How each library records


def with_classlens(model: ViT, names: list[str]) -> Record:
    """Record with `classlens.Trace`."""

    def record(images: Tensor) -> list[Tensor]:
        with Trace(model, names) as trace:
            model(images)
        return [trace[name] for name in names]

    return record


def with_timm(model: ViT, names: list[str]) -> Record:
    """Record with timm's `forward_intermediates`, which returns the outputs of blocks, image tokens and prefix tokens apart."""
    blocks = [int(name.partition(".")[2]) for name in names]

    def record(images: Tensor) -> list[Tensor]:
        found = model.forward_intermediates(
            images, indices=blocks, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True, norm=False
        )
        return [torch.cat([prefix, tokens], dim=1) for tokens, prefix in found]

    return record


def module_of(name: str) -> str:
    """Return the path of the timm module whose output is an activation."""
    site, _, block = name.partition(".")
    return MODULES[site].format(block)


def with_torchvision(model: ViT, names: list[str]) -> Record:
    """Record with torchvision's `create_feature_extractor` on timm's model. Its graph ends at the last activation."""
    extractor = create_feature_extractor(model, {module_of(name): name for name in names})

    def record(images: Tensor) -> list[Tensor]:
        found = extractor(images)
        return [found[name] for name in names]

    return record


def with_nnsight(model: ViT, names: list[str]) -> Record:
    """Record with a trace of nnsight on timm's model."""
    wrapped = nnsight.NNsight(model)
    modules = [wrapped.get(module_of(name)) for name in names]

    def record(images: Tensor) -> list[Tensor]:
        with wrapped.trace(images):
            found = nnsight.save([module.output for module in modules])
        return found  # noqa: RET504 (nnsight runs the block above elsewhere, so it cannot return)

    return record


def with_hook_points(model: Any, names: list[str]) -> Record:
    """Record with `run_with_cache` of ViT-Prisma or TransformerLens, which call the sites alike."""
    sites = [name.partition(".")[::2] for name in names]
    points = [f"blocks.{block}.hook_{site}" for site, block in sites]

    def record(images: Tensor) -> list[Tensor]:
        _, cache = model.run_with_cache(images, names_filter=points)
        return [cache[point] for point in points]

    return record


# The model in each library


def random_weights(folder: Path) -> nn.Module:
    """Return the model of transformers with random weights, and store it in a folder."""
    config = hf.ViTConfig(patch_size=32, layer_norm_eps=1e-6, hidden_dropout_prob=0.0, num_labels=1000)
    model = hf.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    return model


def of_prisma(model: ViT) -> nn.Module:
    """Return a timm model as ViT-Prisma's own class."""
    config = HookedViTConfig(
        n_layers=DEPTH, d_model=768, d_head=64, n_heads=12, d_mlp=3072, patch_size=32, n_classes=1000, return_type="class_logits"
    )
    made = HookedViT(config).eval()
    made.load_state_dict(convert_timm_weights(model.state_dict(), config))
    return made


def prisma_projection(model: Any, states: Tensor) -> Tensor:
    """Return logits of ViT-Prisma, whose head takes rows [state, width] only."""
    return model.head(model.ln_final(states).flatten(0, 1)).unflatten(0, states.shape[:2])


def libraries(model: ViT, transformer: nn.Module, folder: Path) -> list[Library]:
    """Return classlens and the other libraries, all with the same weights.

    Args:
        model: timm's model.
        transformer: the model of transformers.
        folder: folder in which it is stored.
    """
    prisma, bridge = of_prisma(model), TransformerBridge.boot_transformers(str(folder), hf_model=transformer, device="cpu")

    def by_hand(states: Tensor) -> Tensor:
        return model.head(model.norm(states))

    def of_bridge(states: Tensor) -> Tensor:
        return bridge.unembed(bridge.ln_final(states))

    def of_timm(name: str, ranks: Ranks) -> Library:
        return Library(name, version("timm"), partial(with_timm, model), by_hand, ranks, tuple(SITES)[:1])

    def other(name: str, package: str, recorder: Recorder, project: Project = by_hand) -> Library:
        return Library(name, version(package), recorder, project, rank)

    return [
        Library("classlens", classlens.__version__, partial(with_classlens, model), Lens.from_model(model), rank),
        of_timm("timm `forward_intermediates`", rank),
        of_timm("timm `forward_intermediates`, `argsort`", ranks_by_sorting),
        other("torchvision `create_feature_extractor`", "torchvision", partial(with_torchvision, model)),
        other("nnsight `trace`", "nnsight", partial(with_nnsight, model)),
        other("TransformerLens `run_with_cache`", "transformer-lens", partial(with_hook_points, bridge), of_bridge),
        other("ViT-Prisma `run_with_cache`", "vit-prisma", partial(with_hook_points, prisma), partial(prisma_projection, prisma)),
    ]


# The comparison


def names_of(sites: str) -> list[str]:
    """Return the names of the activations of a choice of sites, in the order of the forward pass."""
    return [f"{site}.{block}" for block in range(DEPTH) for site in SITES[sites]]


@torch.inference_mode()
def differences(ours: Library, other: Library, batch: Batch) -> dict[str, float]:
    """Return the largest difference from our logits, and the share of ranks that differ, for all sites that the other library records.

    Raises:
        SystemExit: a difference is larger than rounding errors, so that the other library does other work.
    """
    names = names_of(other.sites[-1])
    largest, differ = 0.0, []
    for name, own, found in zip(names, ours.recorder(names)(batch.images), other.recorder(names)(batch.images), strict=True):
        expected, logits = ours.project(own), other.project(found)
        gap = (expected - logits).abs().max().item()
        if not gap <= TOLERANCE:  # nor with NaN
            raise SystemExit(f"error: logits of {other.name} at {name} differ from ours by {gap}")
        largest = max(largest, gap)
        differ.append(ours.ranks(expected, batch.classes) != other.ranks(logits, batch.classes))
    return {"logit": largest, "ranks": torch.stack(differ).float().mean().item()}


def decoded(card: Card, folder: Path) -> Batch:
    """Return one decoded batch of generated photographs."""
    images = photographs(folder, BATCH)
    return next(batches(images, folder, Transform(card.transform), size=BATCH, workers=1, device=torch.device("cpu")))


def compare(folder: Path) -> dict[str, Any]:
    """Return the time of the bare forward pass, and each library's ratios to it and differences from ours."""
    torch.manual_seed(0)
    transformer = random_weights(folder / "transformer")
    stored = folder / "transformer" / "model.safetensors"
    model = loading.make_model(Architecture(ARCH), "checkpoint", {}, 1000, 0, checkpoint=checkpoints.read(stored))
    model.requires_grad_(False)
    card = loading.describe(model, ARCH, {}, "random", transform=None, protocol=CORRECTED, weights=stored)
    batch = decoded(card, folder / "images")
    compared = libraries(model, transformer, folder / "transformer")
    same = {library.name: differences(compared[0], library, batch) for library in compared}
    work = [
        Stage(f"{library.name}: {sites}", library.ranker(names_of(sites), batch), BATCH) for library in compared for sites in library.sites
    ]
    bare, *rows = timed([Stage("bare forward", torch.inference_mode()(lambda: model(batch.images)), BATCH), *work], torch.device("cpu"))
    ratios = {row["name"]: row["ratio"] for row in rows}
    return {
        "torch": torch.__version__,
        "images": BATCH,
        "threads": torch.get_num_threads(),
        "seconds_per_1000": bare["seconds_per_1000"],
        "libraries": [
            {
                "name": library.name,
                "version": library.version,
                "ratios": {sites: ratios[f"{library.name}: {sites}"] for sites in library.sites},
                "differences": same[library.name],
            }
            for library in compared
        ],
    }


def main() -> None:
    """Compare the libraries, and print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="number of CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(compare(Path(folder)), indent=2))


if __name__ == "__main__":
    main()
