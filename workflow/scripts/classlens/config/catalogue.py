"""The catalogue of figures and tables, the paper's and those beyond it: one entry each, used by rules, programs, docs and the report.

The module of the same name in `classlens.figures` draws a figure, and the one in `classlens.tables` makes a table. This module imports
neither torch nor a table library.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, and its notebooks.
"""

import difflib
from dataclasses import dataclass, field

from classlens.errors import InputError, printable

_SECTIONS = {
    "identifiability": "Class identifiability",
    "context": "Class and context tokens",
    "building": "Building of classes",
    "memories": "Key-value memories",
    "attention": "Perturbations",
    "tokens": "Perturbations",
    "relevance": "Relevance maps",
    "deletion": "Deletion curves and faithfulness",
    "faithfulness": "Deletion curves and faithfulness",
    "probes": "Linear probes",
    "tuned_lens": "Tuned lens",
    "attribution": "What heads and MLPs write",
    "ablation": "Without single components",
    "reproduction": "Reproduction",
}
_ORDER = list(dict.fromkeys(_SECTIONS.values()))
CATEGORIES = {name: f"{_ORDER.index(title) + 1:>2} {title}" for name, title in _SECTIONS.items()}
"""Section of the report that shows an analysis. The report sorts by text: the space before a digit puts 2 before 10."""

IDENTIFIABILITY = "identifiability/{model}/{dataset}.parquet"
PERTURBATIONS = {
    "tables": "perturbations/{model}/{dataset}.parquet",
    "accuracy": "perturbations/{model}/{dataset}_accuracy.parquet",
}
KEY_VALUE_AGREEMENT = "memories/{model}/{dataset}/key_value_agreement.parquet"
CLASS_VALUE_AGREEMENT = "memories/{model}/{dataset}/class_value_agreement.parquet"
ABLATION = "ablation/{model}/{dataset}.parquet"
ATTRIBUTION = "attribution/{model}/{dataset}.parquet"
TUNED_LENS = "tuned_lens/{model}/{dataset}.parquet"
CHANCE = "memories/{model}/{dataset}/chance.parquet"
MANIFEST = "data/{dataset}/{split}/manifest.parquet"
OF_PHOTOGRAPHS = {
    "shown": "relevance/{model}/{dataset}_shown.parquet",
    "manifest": MANIFEST,
}


@dataclass(frozen=True)
class Item:
    """A figure or a table.

    Attributes:
        letter: its alias, as in `snakemake F3`.
        name: name of its files, of its module, and of its caption in `workflow/report`.
        title: its title in the report.
        analysis: the analysis whose models it shows.
        inputs: its input files by name: a file of each model, relative to the results folder, with `{model}`, `{dataset}` and `{split}`;
            no shards, because a figure must not read what grows with the images. `tables` are the measures themselves. An input named like
            an analysis is left out unless all models have that analysis.
        per_model: whether each model has its own, called `{name}_{model}`.
        masks: whether it shows only models whose images have masks.
        against_twins: whether it compares models with their random twins.
    """

    letter: str
    name: str
    title: str
    analysis: str
    inputs: dict[str, str] = field(default_factory=dict)
    per_model: bool = False
    masks: bool = False
    against_twins: bool = False

    def files(self, models: list[str]) -> list[str]:
        """Return the names of its files, without suffix, for these models."""
        return [f"{self.name}_{model}" for model in models] if self.per_model else [self.name]


# In the order of their letters, which is that of the paper. A further figure takes the letter of the figure that it completes, or the next.
FIGURES = (
    Item(
        "F1",
        "identifiability_evolution",
        "Class identifiability in each block, compared with random weights",
        "identifiability",
        {"tables": IDENTIFIABILITY, "ranks": "identifiability/{model}/{dataset}_ranks.parquet"},
        against_twins=True,
    ),
    Item(
        "F2",
        "mean_evolution",
        "Mean class identifiability of all models",
        "identifiability",
        {"tables": IDENTIFIABILITY},
        against_twins=True,
    ),
    Item(
        "F3",
        "change_rate",
        "Image tokens whose class logit grows in a block",
        "identifiability",
        {"tables": IDENTIFIABILITY},
        against_twins=True,
    ),
    Item(
        "F4",
        "class_vs_context",
        "Class identifiability of class and context tokens",
        "context",
        {"tables": "context/{model}/{dataset}.parquet"},
        per_model=True,
        masks=True,
    ),
    Item(
        "F5",
        "class_building",
        "What attention and MLP layers contribute",
        "building",
        {"tables": "building/{model}/{dataset}.parquet", "composition": "building/{model}/{dataset}_composition.parquet"},
        per_model=True,
    ),
    Item(
        "F6",
        "class_value_agreement",
        "Agreement of memory values with classes",
        "memories",
        {"tables": CLASS_VALUE_AGREEMENT},
        against_twins=True,
    ),
    Item(
        "F7",
        "key_value_agreement",
        "Tokens that use memories of their class",
        "memories",
        {"tables": KEY_VALUE_AGREEMENT, "chance": CHANCE},
        against_twins=True,
    ),
    Item(
        "F8",
        "memory_comparison",
        "Agreement and use of memories in all models",
        "memories",
        {"tables": KEY_VALUE_AGREEMENT, "class_value": CLASS_VALUE_AGREEMENT, "chance": CHANCE},
        against_twins=True,
    ),
    Item(
        "F9",
        "agreement_difference",
        "Use of memories in correctly and wrongly classified images",
        "memories",
        {"tables": KEY_VALUE_AGREEMENT},
    ),
    Item(
        "F10",
        "compositionality",
        "Layer outputs with the top class of one memory",
        "memories",
        {"tables": "memories/{model}/{dataset}/composition.parquet", "chance": CHANCE},
        against_twins=True,
    ),
    Item(
        "F11",
        "relevance_maps",
        "Relevance maps over photographs",
        "relevance",
        {"tables": "relevance/{model}/{dataset}.parquet", "context": "tokens/{model}/{dataset}.parquet", **OF_PHOTOGRAPHS},
        per_model=True,
    ),
    Item(
        "F11",
        "relevance_heads",
        "Relevance maps of every block and head",
        "relevance",
        {"tables": "relevance/{model}/{dataset}_heads.parquet", **OF_PHOTOGRAPHS},
        per_model=True,
    ),
    Item(
        "F12",
        "deletion_curves",
        "Accuracy as tokens are removed in order of relevance",
        "deletion",
        {"tables": "deletion/{model}/{dataset}.parquet"},
    ),
    Item(
        "F12",
        "faithfulness",
        "Whether relevant groups of tokens matter more to the output",
        "faithfulness",
        {"tables": "faithfulness/{model}/{dataset}.parquet"},
    ),
    Item(
        "F12",
        "segmentation_scores",
        "How well relevance maps find the object",
        "relevance",
        {"tables": "segmentation/{model}/{dataset}.parquet"},
        masks=True,
    ),
    Item(
        "F13",
        "probes_vs_projection",
        "Linear probes compared with the projection",
        "probes",
        {
            "tables": "probes/{model}/{dataset}.parquet",
            "identifiability": IDENTIFIABILITY,
            "deletion": "deletion/{model}/{dataset}.parquet",
            "tuned_lens": TUNED_LENS,
        },
    ),
    Item("F14", "tuned_lens", "What the tuned lens reads in each block", "tuned_lens", {"tables": TUNED_LENS}),
    Item("F15", "attribution", "What each head and MLP writes into the logit", "attribution", {"tables": ATTRIBUTION}, per_model=True),
    Item(
        "F15",
        "attribution_over_depth",
        "How much heads and MLPs have written up to each block",
        "attribution",
        {"tables": ATTRIBUTION},
    ),
    Item("F16", "ablation", "What the output loses without heads and MLPs", "ablation", {"tables": ABLATION}),
)
TABLES = (
    Item(
        "T1",
        "identifiability",
        "Class identifiability and accuracy of every model",
        "identifiability",
        {"tables": IDENTIFIABILITY, "predictions": "predictions/{model}/{dataset}/{split}.parquet"},
        against_twins=True,
    ),
    Item("T2", "attention_perturbation", "Class identifiability where attention is cut", "attention", PERTURBATIONS),
    Item("T3", "token_perturbation", "Class identifiability without context, or without the object", "tokens", PERTURBATIONS, masks=True),
    Item(
        "T4",
        "context_difference",
        "Whether layers raise the class more on the object",
        "building",
        {"tables": "building/{model}/{dataset}.parquet"},
        masks=True,
    ),
    Item(
        "T5", "interpretable_values", "Memories in words", "memories", {"tables": "memories/{model}/{dataset}/interpretable_values.parquet"}
    ),
    Item(
        "T6",
        "deletion_area",
        "Areas under the deletion curves",
        "deletion",
        {"tables": "deletion/{model}/{dataset}_area.parquet", "faithfulness": "faithfulness/{model}/{dataset}.parquet"},
    ),
    Item(
        "T6",
        "deletion_difference",
        "Deletion areas of pairs of methods",
        "deletion",
        {
            "tables": "deletion/{model}/{dataset}_differences.parquet",
            "faithfulness": "faithfulness/{model}/{dataset}_differences.parquet",
        },
    ),
    Item(
        "T7",
        "segmentation_scores",
        "Scores of relevance maps against masks",
        "relevance",
        {"tables": "segmentation/{model}/{dataset}.parquet"},
        masks=True,
    ),
    Item("T8", "tuned_lens", "Tuned lens against logit lens", "tuned_lens", {"tables": TUNED_LENS}),
    Item("T9", "attribution", "Components that write most", "attribution", {"tables": ATTRIBUTION, "manifest": MANIFEST}),
    Item("T10", "ablation", "Components whose loss costs most", "ablation", {"tables": ABLATION}),
)


EVOLUTION, RATES = "mean_evolution", "identifiability"
"""Names of the figure and the table with the numbers of a run's findings (`report.findings`)."""


def named(items: tuple[Item, ...], name: str) -> Item:
    """Return the figure or table of a name.

    Raises:
        InputError: no figure or table has this name.
    """
    for item in items:
        if item.name == name:
            return item
    near = difflib.get_close_matches(name, [item.name for item in items], n=1)
    advice = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(item.name for item in items)}"
    raise InputError(f"there is no {printable(name)}: {advice}")
