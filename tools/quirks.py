"""The effect of each quirk of the published implementation: one number of the demo per flag of `Protocol`, with and without the quirk.

`make quirks` runs this after the demo and writes docs/quirks.md. Each row changes one flag of the corrected protocol.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import timm
import torch

from classlens.analyses import (
    agreement,
    building,
    deletion,
    deletion_curves,
    memories,
    perturbation,
    projection_table,
    relevance,
    relevance_table,
    tokens,
)
from classlens.analyses.groups import TokenLabels
from classlens.analyses.identifiability import per_image
from classlens.config.reading import own_twins
from classlens.config.settings import ModelSettings
from classlens.data import transforms
from classlens.data.batches import Batch, batches
from classlens.data.transforms import Transform
from classlens.figures import class_value_agreement, class_vs_context, identifiability_evolution, mean_evolution
from classlens.lens import Lens, rank
from classlens.models import loading, token_pruning
from classlens.presentation.series import Series
from classlens.protocol import CORRECTED, Protocol
from classlens.storage import parquet
from classlens.tables import context_difference
from classlens.tables.perturbation_rates import per_image as perturbed
from classlens.trace import Trace

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "results" / "demo"
ROOT = RESULTS / "data/shapes/images"


class Model:
    """A model of the demo, with its images and results.

    Args:
        name: its name in the demo's config.
    """

    def __init__(self, name: str):
        self.name = name
        self.model, self.card = loading.load_model(RESULTS / "models" / name)
        self.lens = Lens.from_model(self.model)
        self.manifest = parquet.read_table(RESULTS / "data/shapes/validation/manifest.parquet")

    def batch(self, transform: dict | None = None) -> Batch:
        """Return all images of the validation split."""
        chosen = Transform(transform or self.card.transform)
        return next(batches(self.manifest, ROOT, chosen, size=len(self.manifest), workers=2, device=torch.device("cpu")))

    @cached_property
    def images(self) -> Batch:
        return self.batch()

    def projections(self) -> list[projection_table.Projections]:
        shards = sorted((RESULTS / f"projections/{self.name}/shapes/validation").glob("*.parquet"))
        return list(projection_table.read(shards, self.card))

    def labels(self, protocol: Protocol) -> TokenLabels:
        return TokenLabels(tokens.table(self.manifest, ROOT, self.card, protocol), self.card)

    def series(self, frame: pl.DataFrame) -> Series:
        return Series(self.name, self.name, None, frame, self.card.metadata)

    def stored(self, path: str) -> Series:
        """Return a table of the demo as a series."""
        table = parquet.read_table(RESULTS / path)
        metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        return Series(self.name, self.name, None, pl.DataFrame(table), metadata)

    @torch.inference_mode()
    def perturbed(self, condition: str, protocol: Protocol) -> Series:
        """Return the ranks with and without a perturbation."""
        run = perturbation.Perturbations(self.model, self.lens, self.card, ["none", condition], protocol)
        parts = [outcome.ranks(self.images.image_ids) for outcome in run(self.images, self.labels(CORRECTED))]
        return self.series(pl.concat([pl.DataFrame(part) for part in parts]))


@dataclass(frozen=True)
class Quirk:
    """A flag of `Protocol` and a number that it changes.

    Attributes:
        flag: field of `Protocol`.
        quantity: the measured quantity, with its unit.
        measure: function from a protocol to the number.
    """

    flag: str
    quantity: str
    measure: Callable[[Protocol], float]


def accuracy(model: Model, protocol: Protocol) -> float:
    size = model.model.patch_embed.img_size
    data_config = {**timm.data.resolve_model_data_config(model.model), "input_size": (3, *size)}
    transform = transforms.completed(transforms.default_transform(model.card.arch, data_config, protocol))
    batch = model.batch(transform)
    with torch.inference_mode():
        return 100 * (model.model(batch.images).argmax(dim=1) == batch.classes).float().mean().item()


def first_image_kept(model: Model, protocol: Protocol) -> float:
    folder = ROOT / "ImageNetS10" / "validation"
    names = [os.listdir(folder / name) for name in sorted(os.listdir(folder))]
    kept = [listed if protocol.directory_order else sorted(listed) for listed in names]
    return 100 * float(np.mean([one[0] == sorted(one)[0] for one in kept]))


def class_tokens(model: Model, protocol: Protocol) -> float:
    labels = tokens.table(model.manifest, ROOT, model.card, protocol)["label"].combine_chunks().indices.to_numpy()
    return 100 * float((labels == 0).mean())


def change_rate(model: Model, protocol: Protocol) -> float:
    changes, _ = building.per_image(model.projections(), None, model.card, protocol)
    return 100 * float(changes.filter(tokens="image")["mlp_change"].mean())  # type: ignore[arg-type]


def composition(model: Model, protocol: Protocol) -> float:
    _, shares = building.per_image(model.projections(), None, model.card, protocol)
    return 100 * float(shares["composition"].mean())  # type: ignore[arg-type]


def context_gap(model: Model, protocol: Protocol) -> float:
    series = model.stored(f"building/{model.name}/shapes.parquet")
    rows = context_difference.data([series], {}, replace(protocol, permutations=1), 0)
    return float(rows.filter(layer="mlp")["difference"].mean())  # type: ignore[arg-type]


def identifiability_rate(model: Model, protocol: Protocol) -> float:
    frame, _ = per_image(model.projections(), model.card, protocol)
    last = frame.filter(tokens="image", block=model.card.depth - 1)
    return 100 * float(last["first"].mean())  # type: ignore[arg-type]


def points_of_a_curve(model: Model, protocol: Protocol) -> float:
    series = model.stored(f"identifiability/{model.name}/shapes.parquet")
    return float(len(mean_evolution.data([series], {}, protocol, 0).filter(tokens="image")))


def names_with_twins(model: Model, protocol: Protocol) -> list[str]:
    """Return the names of a model and of its random twins."""
    return [model.name, *own_twins(model.name, ModelSettings(arch="vit_tiny_patch16_224", weights="trained"), protocol)]


def compared(tables: list[Series], names: list[str]) -> list[Series]:
    """Return the measures of a model and of its random twins, linked to each other."""
    first, *others = tables
    return [
        replace(first, name=names[0], twins=tuple(names[1:])),
        *(replace(table, name=name, twin_of=names[0]) for table, name in zip(others, names[1:], strict=True)),
    ]


def p_of_classes(model: Model, protocol: Protocol) -> float:
    names = names_with_twins(model, CORRECTED)
    series = compared([model.stored(f"memories/{name}/shapes/class_value_agreement.parquet") for name in names], names)
    rows = class_value_agreement.data(series, {}, protocol, 0).filter(layer="mlp", block=0)
    return float(rows["p"][0])


def largest_p(model: Model, protocol: Protocol) -> float:
    names = names_with_twins(model, CORRECTED)
    series = compared([model.stored(f"identifiability/{name}/shapes.parquet") for name in names], names)
    ranks = [parquet.read_table(RESULTS / f"identifiability/{name}/shapes_ranks.parquet") for name in names]
    rows = identifiability_evolution.data(series, {"ranks": ranks}, protocol, 0).filter(tokens="image", block=0)
    return float(rows["p"][0])


def memory_agreement(model: Model, protocol: Protocol) -> float:
    classes, reads = model.images.classes.numpy(), memories.reads(model.model, protocol)
    with torch.inference_mode(), Trace(model.model, reads) as trace:
        model.model(model.images.images)
    site, layers = memories.sites(model.model, protocol)["mlp"], agreement.layer_memories(model.model)
    blocks = range(model.card.depth)
    used = [trace[f"{site}.{block}"][0].numpy() for block in blocks]
    return 100 * float(np.mean([layers["mlp", block].key_value_agreement(used[block], classes, protocol).mean() for block in blocks]))


def perturbed_rate(model: Model, condition: str, run: Protocol, read: Protocol) -> float:
    return 100 * float(perturbed(model.perturbed(condition, run), condition, read)["rate"].mean())  # type: ignore[arg-type]


def images_run(model: Model, protocol: Protocol) -> float:
    """Return how many images run `without_class` if every image token has the label class, so that no image token remains."""
    everywhere = np.zeros(len(model.manifest) * model.card.image_tokens, np.int8)
    table = tokens.table(model.manifest, ROOT, model.card, CORRECTED)
    label = table["label"].combine_chunks()
    whole = type(label).from_arrays(everywhere, label.dictionary)
    labels = TokenLabels(table.set_column(table.schema.get_field_index("label"), "label", whole), model.card)
    run = perturbation.Perturbations(model.model, model.lens, model.card, ["without_class"], protocol)
    with torch.inference_mode():
        (outcome,) = run(model.images, labels)
    return float(len(outcome.rows))


def relevance_area(model: Model, maps: Protocol, area: Protocol, order: str) -> float:
    found = relevance.class_relevance(model.model, model.lens, model.images.images, [model.images.classes], maps).ours[0].numpy()
    removed = deletion.steps(model.card.image_tokens, None, model.lens.pooled, area)
    orders = torch.from_numpy(deletion.removal_order(found, order))[None]
    correct = deletion.after_removal(model.model, model.lens, model.images, orders, removed).correct
    return float(deletion_curves.area(correct[0].double().mean(dim=0).numpy(), removed, model.card.image_tokens, area))


def energy_of_the_mean(model: Model, protocol: Protocol) -> float:
    maps = relevance.class_relevance(model.model, model.lens, model.images.images, [model.images.classes], protocol).relevance[0]
    return 100 * float(maps.mean(dim=-1).square().sum() / maps.square().mean(dim=-1).sum())


def probe_orders(model: Model, protocol: Protocol) -> float:
    classes = dict(zip(*(model.manifest[name].to_pylist() for name in ("image_id", "class_index")), strict=True))
    ids, values = relevance_table.true_class_maps(RESULTS / f"relevance/{model.name}/shapes.parquet", classes, model.card.sha256)["probe"]
    found = deletion.curves({"probe": values}, ids, {"probe"}, 0, protocol)
    return float(sum(curve.method == "probe" and curve.order == "negative" for curve in found))


def class_identifiability(model: Model, protocol: Protocol) -> float:
    item = model.stored(f"context/{model.name}/shapes.parquet")
    return float(class_vs_context.data([item], {}, protocol, 0).filter(quantity="class").sort("block")["mean"][-1])


def equal_logits(protocol: Protocol) -> float:
    ranks = rank(torch.zeros(10, 1, 10), torch.arange(10), protocol.ties_rank_first)
    return float(1 - ranks.double().mean() / 10)


def quirks() -> list[Quirk]:
    """Return a measurement for every flag of `Protocol`."""
    cls, pooled = Model("cls"), Model("pooled")
    token_pruning.check(cls.model, "cls")
    return [
        Quirk("published_transform", "accuracy of [CLS] (%)", lambda p: accuracy(cls, p)),
        Quirk("directory_order", "classes whose first image is also the first by name (%)", lambda p: first_image_kept(cls, p)),
        Quirk("skip_small_classes", "classes left out (the demo has no small classes)", lambda p: 0.0),
        Quirk("whole_image_labels", "image tokens with the label class (%)", lambda p: class_tokens(cls, p)),
        Quirk("mlp_against_previous_block", "change rate of MLPs, image tokens (%)", lambda p: change_rate(cls, p)),
        Quirk("composition_ignores_mlp", "residual composition (% of tokens)", lambda p: composition(cls, p)),
        Quirk("context_difference_of_logits", "class - context, MLPs (% / logit)", lambda p: context_gap(cls, p)),
        Quirk("drop_first_patch_of_pooled", "identifiability rate, pooled model (%)", lambda p: identifiability_rate(pooled, p)),
        Quirk("pair_blocks_of_deep_models", "points of a curve (the demo's models have 12 blocks)", lambda p: points_of_a_curve(cls, p)),
        Quirk("tokens_as_units", "p of image tokens in the first block, against random weights", lambda p: largest_p(cls, p)),
        Quirk("paired_classes", "p of class-value agreement, MLP of the first block", lambda p: p_of_classes(cls, p)),
        Quirk("memory_before_activation", "key-value agreement of MLPs (%)", lambda p: memory_agreement(cls, p)),
        Quirk("memories_of_the_class", "key-value agreement of MLPs (%)", lambda p: memory_agreement(cls, p)),
        Quirk(
            "zero_attention_to_cls",
            "identifiability rate without attention to [CLS] (%)",
            lambda p: perturbed_rate(cls, "no_cls", p, CORRECTED),
        ),
        Quirk(
            "cls_in_perturbed_rate",
            "identifiability rate under `self_only` (%)",
            lambda p: perturbed_rate(cls, "self_only", CORRECTED, p),
        ),
        Quirk("run_emptied_images", "images run `without_class` although all their tokens are class tokens", lambda p: images_run(cls, p)),
        Quirk("uncentred_relevance", "share of the mean in the energy of our maps (%)", lambda p: energy_of_the_mean(cls, p)),
        Quirk("ties_by_position", "orders of token removal for maps of linear probes", lambda p: probe_orders(cls, p)),
        Quirk("tokens_weigh_alike", "class identifiability of class tokens, last block", lambda p: class_identifiability(cls, p)),
        Quirk("ties_rank_first", "class identifiability if all logits are equal", equal_logits),
        Quirk(
            "softmax_twice",
            "area under deletion curves of our maps, most relevant first",
            lambda p: relevance_area(cls, p, CORRECTED, "positive"),
        ),
        Quirk(
            "deletion_without_ends",
            "area under deletion curves of our maps, least relevant first",
            lambda p: relevance_area(cls, CORRECTED, p, "negative"),
        ),
        Quirk("permutations", "smallest possible p of a test", lambda p: 1 / (p.permutations + 1)),
        Quirk("random_twins", "number of random twins of a model", lambda p: len(names_with_twins(cls, p)) - 1),
    ]


PUBLISHED_NUMBERS = {"permutations": 300, "random_twins": 1}


def measured(quirk: Quirk) -> tuple[float, float]:
    """Return the number in the corrected protocol, and the number with the quirk."""
    flipped: Protocol = replace(CORRECTED, **{quirk.flag: PUBLISHED_NUMBERS.get(quirk.flag, True)})  # type: ignore[arg-type]
    return quirk.measure(CORRECTED), quirk.measure(flipped)


def page() -> str:
    """Return the page with the table."""
    lines = [
        "# Quirks of the published implementation and their effects",
        "",
        "`make quirks` measures this table on the demo. Each row adds one quirk to protocol `corrected` and changes nothing else. Protocol",
        "`paper` has all quirks. {py:class}`classlens.protocol.Protocol` describes each of them.",
        "",
        "| quirk | quantity | corrected | with the quirk |",
        "|---|---|---|---|",
    ]
    found = quirks()
    missing = {field.name for field in fields(Protocol)} - {"name"} - {quirk.flag for quirk in found}
    assert not missing, f"no measurement for {missing}"
    for quirk in found:
        corrected, published = measured(quirk)
        lines.append(f"| `{quirk.flag}` | {quirk.quantity} | {corrected:.4g} | {published:.4g} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all quirks, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="page to write")
    args = parser.parse_args()
    text = page()
    print(text)
    if args.report:
        args.report.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
