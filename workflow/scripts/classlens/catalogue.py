"""The paper's figures and tables: letter, name, title, and which models they show. Neither torch nor any table library is imported here.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, and its notebooks; methods, section 13.
"""

from dataclasses import dataclass

ANALYSES = ("identifiability", "context", "building", "memories", "attention", "tokens", "relevance", "deletion", "probes")

CATEGORIES = {
    "identifiability": "1 Class identifiability",
    "context": "2 Class and context tokens",
    "building": "3 Building of classes",
    "memories": "4 Key-value memories",
    "attention": "5 Perturbations",
    "tokens": "5 Perturbations",
    "relevance": "6 Relevance maps",
    "deletion": "7 Deletion curves",
    "probes": "8 Linear probes",
    "reproduction": "9 Reproduction",
}
"""Where the report shows an analysis; numbered, because the report sorts by name."""


@dataclass(frozen=True)
class Item:
    """A figure or a table.

    Attributes:
        letter: its alias, as in `snakemake F3`.
        name: what it shows; the name of its files.
        title: what it shows, for people.
        analysis: the analysis whose models it shows.
        per_model: whether there is one of each model, called `{name}_{model}`.
        masks: whether it shows only models whose images have masks.
        against_twins: whether it compares models with their random twins.
    """

    letter: str
    name: str
    title: str
    analysis: str
    per_model: bool = False
    masks: bool = False
    against_twins: bool = False

    def files(self, models: list[str]) -> list[str]:
        """Names of its files, without suffix, for these models."""
        return [f"{self.name}_{model}" for model in models] if self.per_model else [self.name]


FIGURES = (
    Item(
        "F1",
        "identifiability_evolution",
        "Class identifiability in each block, against random weights",
        "identifiability",
        against_twins=True,
    ),
    Item("F2", "mean_evolution", "Mean class identifiability of all models", "identifiability", against_twins=True),
    Item("F3", "change_rate", "Tokens that gain class information in a block", "identifiability", against_twins=True),
    Item("F4", "class_vs_context", "Class against context tokens", "context", per_model=True, masks=True),
    Item("F5", "class_building", "What attention and MLP layers contribute", "building", per_model=True),
    Item("F6", "class_value_agreement", "Whether memories stand for classes", "memories", against_twins=True),
    Item("F7", "key_value_agreement", "Tokens that use memories of their class", "memories", against_twins=True),
    Item("F8", "memory_comparison", "Memories of all models", "memories", against_twins=True),
    Item("F9", "agreement_difference", "Use of memories in right against wrong images", "memories"),
    Item("F10", "compositionality", "Layers whose class is that of one memory", "memories", against_twins=True),
    Item("F11", "relevance_maps", "Relevance maps over photographs", "relevance", per_model=True),
    Item("F11", "relevance_heads", "Relevance maps of every block and head", "relevance", per_model=True),
    Item("F12", "deletion_curves", "Accuracy as tokens are removed by relevance", "deletion"),
    Item("F12", "segmentation_scores", "How well relevance maps find the object", "relevance", masks=True),
    Item("F13", "probes_vs_projection", "Linear probes against the projection", "probes"),
)
TABLES = (
    Item("T1", "identifiability", "Class identifiability and accuracy of every model", "identifiability", against_twins=True),
    Item("T2", "attention_perturbation", "Class identifiability where attention is cut", "attention"),
    Item("T3", "token_perturbation", "Class identifiability without context, or without the object", "tokens", masks=True),
    Item("T4", "context_difference", "Whether layers raise the class more on the object", "building", masks=True),
    Item("T5", "interpretable_values", "Memories in words", "memories"),
    Item("T6", "deletion_area", "Areas under the deletion curves", "deletion"),
    Item("T7", "segmentation_scores", "Scores of relevance maps against masks", "relevance", masks=True),
)
