"""Packing the tables and projections of a run for others (`adoption` takes them over): no weights, no hidden states, few images.

An archive holds `published.json`, the config and the files that follow from the config, in this order and each once.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from classlens.config.plan import Model, Plan
from classlens.config.published import CONFIG, MANIFEST, portable
from classlens.errors import InputError
from classlens.storage.atomic_write import atomic_write
from classlens.storage.provenance import sha256

OF_MODEL = ("models/{model}/model.json", "predictions/{model}/{dataset}/{split}.parquet")
PROJECTIONS = "projections/{model}/{dataset}/{split}/{shard}.parquet"
CLASS_LOGITS = "class_logits/{model}/{dataset}/{split}/{shard}.parquet"
"""Shards; random twins that the explorer does not show have no class logits."""
OF_TWINS = tuple(
    f"memories/{{model}}/{{dataset}}/{name}.parquet" for name in ("class_value_agreement", "key_value_agreement", "composition", "chance")
)
"""What is known of the memories of random twins, where some model is compared with it."""
OF_ANALYSES = {
    ("identifiability",): ("identifiability/{model}/{dataset}.parquet", "identifiability/{model}/{dataset}_ranks.parquet"),
    ("context",): ("context/{model}/{dataset}.parquet",),
    ("building",): ("building/{model}/{dataset}.parquet", "building/{model}/{dataset}_composition.parquet"),
    ("memories",): (
        "memories/{model}/{dataset}/class_value_agreement.parquet",
        "memories/{model}/{dataset}/key_value_agreement.parquet",
        "memories/{model}/{dataset}/key_value_agreement_by_class.parquet",
        "memories/{model}/{dataset}/composition.parquet",
        "memories/{model}/{dataset}/chance.parquet",
        "memories/{model}/{dataset}/interpretable_values.parquet",
    ),
    ("attention", "tokens"): ("perturbations/{model}/{dataset}.parquet", "perturbations/{model}/{dataset}_accuracy.parquet"),
    ("relevance", "deletion"): (
        "relevance/{model}/{dataset}.parquet",
        "relevance/{model}/{dataset}_heads.parquet",
        "relevance/{model}/{dataset}_shown.parquet",
    ),
    ("deletion",): (
        "deletion/{model}/{dataset}.parquet",
        "deletion/{model}/{dataset}_area.parquet",
        "deletion/{model}/{dataset}_images.parquet",
    ),
    ("probes",): ("probes/{model}/{dataset}.parquet", "probes/{model}/{dataset}_accuracy.parquet"),
}
"""What rules make of a model for any of some analyses, relative to the results folder."""
OF_MASKS = {
    ("context", "building", "attention", "tokens"): ("tokens/{model}/{dataset}.parquet",),
    ("relevance",): ("segmentation/{model}/{dataset}.parquet",),
}
"""The same, where images have masks."""


def files(plan: Plan) -> list[str]:
    """Return what is published of a complete run, as sorted paths relative to its results folder.

    Of the images, those that F11 shows are in the table of its maps.
    """
    found = {path for model in plan.models.values() for path in _of_model(plan, model)}
    found |= {f"data/{dataset.name}/{split}/manifest.parquet" for dataset in plan.used() for split in dataset.splits}
    found |= {f"tables/{name}.csv" for names in plan.tables().values() for name in names}
    return sorted(found)


def _of_model(plan: Plan, model: Model) -> Iterator[str]:
    dataset = plan.datasets[model.dataset]
    named = {"model": model.name, "dataset": dataset.name, "split": dataset.eval_split}
    patterns = [*OF_MODEL]
    for analyses, made in (*OF_ANALYSES.items(), *(OF_MASKS.items() if dataset.has_masks else ())):
        patterns += made if set(analyses) & set(model.analyses) else ()
    if model.is_reference and plan.twins_need_memories(str(model.twin_of)):
        patterns += OF_TWINS
    shards = (PROJECTIONS, CLASS_LOGITS) if model.name in plan.explored else (PROJECTIONS,)
    yield from (pattern.format(**named) for pattern in patterns)
    yield from (pattern.format(**named, shard=shard) for shard in plan.eval_shards(model.name) for pattern in shards)


def publish(results: Path, plan: Plan, archive: Path) -> str:
    """Pack a run's tables and projections; the same results give the same bytes.

    Args:
        results: the run's folder.
        plan: what its config asks for.
        archive: tar file to write.

    Returns:
        sha256 of the archive.

    Raises:
        InputError: a file that the plan names is missing, or a link.
    """
    names = files(plan)
    missing = [name for name in names if not (results / name).is_file() or (results / name).is_symlink()]
    if missing:
        others = f" and {len(missing) - 1} more of {len(names)} files" if missing[1:] else ""
        raise InputError(f"{results} lacks {missing[0]}{others} (a link does not count): run the workflow first")
    settings = portable(plan.config)
    text = config_text(settings)
    manifest = {
        "run": settings["run"],
        "config": settings,
        "datasets": {dataset.name: dataset.facts().model_dump() for dataset in plan.used()},
        "files": {**{name: sha256(results / name) for name in names}, CONFIG: hashlib.sha256(text).hexdigest()},
        "bytes": {**{name: (results / name).stat().st_size for name in names}, CONFIG: len(text)},
    }
    with atomic_write(archive) as draft, tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in ((MANIFEST, json.dumps(manifest, indent=1).encode()), (CONFIG, text)):
            tar.addfile(member(name, len(content)), io.BytesIO(content))
        for name in names:
            with open(results / name, "rb") as file:
                tar.addfile(member(name, manifest["bytes"][name]), file)
    return sha256(archive)


def config_text(settings: dict[str, Any]) -> bytes:
    """Return the file of a portable config."""
    return yaml.safe_dump(settings, sort_keys=False).encode()


def member(name: str, size: int) -> tarfile.TarInfo:
    """Return what an archive says of a file: nothing but its name and size."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info
