"""Metadata of published results for a deposit on Zenodo, in the form of its deposit interface."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

import classlens
from classlens.archive.publication import files
from classlens.config.plan import Plan
from classlens.config.published import portable

_DESCRIPTION = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    """\
<p>Tables and projections of the run {{ config.run }} of classlens {{ version }}, which projects the hidden states of Vision Transformers
onto their class embedding. Protocol: {{ config.protocol }}. Seed: {{ config.seed }}. Analyses: {{ analyses | join(", ") }}.</p>
<p>Models ({{ models | length }}, and {{ twins }} random twins):</p>
<ul>
{% for label, model in models %}
<li>{{ label }}: {{ model.arch or "architecture of its folder" }}, weights {{ model.weights }}</li>
{% endfor %}
</ul>
<p>Data sets ({{ datasets | length }}):</p>
<ul>
{% for dataset in datasets %}
<li>{{ dataset.name }} ({{ dataset.settings.kind }}): {% for split, count in dataset.facts().images.items() %}
{{ count }} images of the split {{ split }}{{ "" if loop.last else ", " }}{% endfor %}</li>
{% endfor %}
</ul>
<p>The file {{ archive.name }} ({{ archive.stat().st_size }} bytes, sha256 {{ digest }}) contains {{ names | length }} files with their
checksums, and no weights or hidden states. classlens draws all figures from it, without data sets, models and a GPU:
<code>make adopt FILE={{ archive.name }}</code>.</p>
{% if shown %}
<p>Its tables of relevance maps store the few images of {{ shown | join(" and ") }} that figure F11 shows. The licence of these images is
that of their owners, not the licence of this deposit.</p>
{% endif %}
"""
)


def metadata(plan: Plan, archive: Path, digest: str, citation: Path) -> dict[str, Any]:
    """Return the metadata of an archive. The same archive gives the same metadata.

    Args:
        plan: plan of the published run.
        archive: archive from `publication.publish`.
        digest: sha256 of the archive.
        citation: the software's CITATION.cff, which has the creators, the license, and the identifiers of paper and software.
    """
    cited = yaml.safe_load(citation.read_text(encoding="utf-8"))
    fields = {
        "upload_type": "dataset",
        "title": f"Where class information arises inside Vision Transformers: results of the classlens run {plan.config.run}",
        "description": _description(plan, archive, digest),
        "creators": [_creator(author) for author in cited["authors"]],
        "access_right": "open",
        "license": cited["license"],
        "version": classlens.__version__,
        "keywords": cited["keywords"],
        "related_identifiers": _related(cited),
    }
    return {"metadata": fields}


def _creator(author: dict[str, str]) -> dict[str, str]:
    """Return a person or group of CITATION.cff as a creator."""
    name = author.get("name") or f"{author['family-names']}, {author['given-names']}"
    further = {"affiliation": author.get("affiliation"), "orcid": author.get("orcid", "").rpartition("/")[2]}
    return {"name": name, **{key: value for key, value in further.items() if value}}


def _related(cited: dict[str, Any]) -> list[dict[str, str]]:
    """Return the identifiers of the paper, and of the software if CITATION.cff has one."""
    paper = {"identifier": cited["preferred-citation"]["doi"], "relation": "references", "resource_type": "publication-conferencepaper"}
    software = cited.get("doi") or cited.get("repository-code")
    return [paper, *([{"identifier": software, "relation": "isCompiledBy", "resource_type": "software"}] if software else [])]


def _description(plan: Plan, archive: Path, digest: str) -> str:
    """Return as HTML what the archive contains and how to use it."""
    names, config, datasets = files(plan), portable(plan.config), plan.used()
    return _DESCRIPTION.render(
        config=config,
        version=classlens.__version__,
        analyses=sorted({name for model in plan.models.values() for name in model.analyses}),
        models=[(plan.models[name].label, settings) for name, settings in config["models"].items()],
        twins=sum(model.twin_of is not None for model in plan.models.values()),
        datasets=datasets,
        archive=archive,
        digest=digest,
        names=names,
        shown=[item.name for item in datasets if not item.is_generated and any(_stores_images(name, item.name) for name in names)],
    )


def _stores_images(name: str, dataset: str) -> bool:
    """Return whether a published table stores images of a data set."""
    return name.endswith(f"/{dataset}_shown.parquet")
