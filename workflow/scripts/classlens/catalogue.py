"""The paper's figures and tables: letter, name, and which models they show. Neither torch nor any table library is imported here.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, and its notebooks; methods, section 13.
"""

from dataclasses import dataclass

ANALYSES = ("identifiability", "context", "building", "memories", "attention", "tokens", "relevance", "deletion", "probes")


@dataclass(frozen=True)
class Item:
    """A figure or a table.

    Attributes:
        letter: its alias, as in `snakemake F3`.
        name: what it shows; the name of its files.
        analysis: the analysis whose models it shows.
        per_model: whether there is one of each model, called `{name}_{model}`.
        masks: whether it shows only models whose images have masks.
    """

    letter: str
    name: str
    analysis: str
    per_model: bool = False
    masks: bool = False

    def files(self, models: list[str]) -> list[str]:
        """Names of its files, without suffix, for these models."""
        return [f"{self.name}_{model}" for model in models] if self.per_model else [self.name]


FIGURES = (
    Item("F1", "identifiability_evolution", "identifiability"),
    Item("F2", "mean_evolution", "identifiability"),
    Item("F3", "change_rate", "identifiability"),
    Item("F4", "class_vs_context", "context", per_model=True, masks=True),
    Item("F5", "class_building", "building", per_model=True),
    Item("F6", "class_value_agreement", "memories"),
    Item("F7", "key_value_agreement", "memories"),
    Item("F8", "memory_comparison", "memories"),
    Item("F9", "agreement_difference", "memories"),
    Item("F10", "compositionality", "memories"),
    Item("F11", "relevance_maps", "relevance", per_model=True),
    Item("F11", "relevance_heads", "relevance", per_model=True),
    Item("F12", "deletion_curves", "deletion"),
    Item("F12", "segmentation_scores", "relevance", masks=True),
    Item("F13", "probes_vs_projection", "probes"),
)
TABLES = (
    Item("T1", "identifiability", "identifiability"),
    Item("T2", "attention_perturbation", "attention"),
    Item("T3", "token_perturbation", "tokens", masks=True),
    Item("T4", "context_difference", "building", masks=True),
    Item("T5", "interpretable_values", "memories"),
    Item("T6", "deletion_area", "deletion"),
    Item("T7", "segmentation_scores", "relevance", masks=True),
)
