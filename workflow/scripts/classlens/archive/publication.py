"""Publication of a run's tables and projections as an archive (for `adoption`), without weights and hidden states, and with few images.

An archive contains `published.json`, the config, and the files that the plan of this config names, in this order and each once.
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
"""Shards of class logits. Random twins that the explorer does not show have none."""
OF_TWINS = tuple(
    f"memories/{{model}}/{{dataset}}/{name}.parquet" for name in ("class_value_agreement", "key_value_agreement", "composition", "chance")
)
"""Tables of the memories of random twins, if some model is compared with them."""
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
    ("relevance", "deletion", "faithfulness"): (
        "relevance/{model}/{dataset}.parquet",
        "relevance/{model}/{dataset}_heads.parquet",
        "relevance/{model}/{dataset}_shown.parquet",
    ),
    ("deletion",): (
        "deletion/{model}/{dataset}.parquet",
        "deletion/{model}/{dataset}_area.parquet",
        "deletion/{model}/{dataset}_differences.parquet",
        "deletion/{model}/{dataset}_images.parquet",
    ),
    ("faithfulness",): (
        "faithfulness/{model}/{dataset}.parquet",
        "faithfulness/{model}/{dataset}_differences.parquet",
        "faithfulness/{model}/{dataset}_images.parquet",
    ),
    ("ablation",): ("ablation/{model}/{dataset}.parquet",),
    ("attribution", "ablation"): ("attribution/{model}/{dataset}.parquet",),
    ("tuned_lens",): ("tuned_lens/{model}/{dataset}.parquet",),
    ("probes",): ("probes/{model}/{dataset}.parquet", "probes/{model}/{dataset}_accuracy.parquet"),
}
"""Files of a model, relative to the results folder. The model has them if it has any of the analyses in the key."""
OF_MASKS = {
    ("context", "building", "attention", "tokens", "tuned_lens"): ("tokens/{model}/{dataset}.parquet",),
    ("relevance",): ("segmentation/{model}/{dataset}.parquet",),
}
"""Further files like those of `OF_ANALYSES`, for images with masks."""


def files(plan: Plan) -> list[str]:
    """Return the files of a complete run to publish, as sorted paths relative to its results folder.

    The only images among them are those in F11, which are stored in its table of relevance maps.
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
    """Pack a run's tables and projections into an archive. The same results give the same bytes.

    Args:
        results: results folder of the run.
        plan: plan of the run.
        archive: tar file to write.

    Returns:
        sha256 of the archive.

    Raises:
        InputError: a file that the plan names is missing or a link.
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
    """Return the bytes of the config file for a config from `portable`."""
    return yaml.safe_dump(settings, sort_keys=False).encode()


def member(name: str, size: int) -> tarfile.TarInfo:
    """Return the tar entry of a file, with no metadata except name and size."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info
