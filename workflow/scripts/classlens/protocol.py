"""The two protocols: the published implementation with its quirks, and the corrected one.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, and its code. Each difference between the two protocols is one field of `Protocol`, which
is therefore the complete list of deviations. No computation depends on a protocol's name.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """One field per quirk of the published implementation. Each default is the corrected behaviour."""

    name: str = "corrected"

    published_transform: bool = False
    """Models without a transform in the config use the published one instead of their own (`transforms.default_transform`)."""

    directory_order: bool = False
    """Images have the order of the directory listing instead of the order of their names."""

    skip_small_classes: bool = False
    """Classes with fewer images than `images_per_class` are left out instead of raising an error."""

    whole_image_labels: bool = False
    """Token labels come from one pixel per patch of the whole mask, and every token that is not class is context (`tokens`)."""

    mlp_against_previous_block: bool = False
    """The logit of the MLP's output is compared with that of the previous block instead of the MLP's input (`building.change_rates`)."""

    composition_ignores_mlp: bool = False
    """Residual composition includes tokens whose top class is that of the MLP's output (`building.composition`)."""

    context_difference_of_logits: bool = False
    """Class and context tokens are compared by mean logit change instead of change rate (`building`)."""

    drop_first_patch_of_pooled: bool = False
    """Identifiability rates and change rates of a pooled model leave out its first image token, as if that were [CLS]."""

    pair_blocks_of_deep_models: bool = False
    """Figures average pairs of blocks of a 24-block model instead of drawing all blocks over relative depth."""

    tokens_as_units: bool = False
    """The test of F1 exchanges tokens. In F1 and F9, p is the share of strictly larger differences. No p value is corrected."""

    paired_classes: bool = False
    """The test of F6 is one-sided and pairs classes with those of one random twin, instead of two-sided and unpaired against all twins."""

    memory_before_activation: bool = False
    """The MLP's memory coefficients are the output of `fc1` instead of the input of `fc2` (`memories`)."""

    memories_of_the_class: bool = False
    """Key-value agreement looks for an active memory among the class's best, not for the class among an active memory's best."""

    zero_attention_to_cls: bool = False
    """`no_cls` sets attention to [CLS] to zero after the softmax instead of masking it before the softmax (`perturbation`)."""

    cls_in_perturbed_rate: bool = False
    """Rates under a perturbation include [CLS], but their baselines without perturbation do not (`perturbation_rates`)."""

    run_emptied_images: bool = False
    """An image whose image tokens are all removed runs with [CLS] alone instead of being skipped."""

    softmax_twice: bool = False
    """The loss of the relevance maps applies the softmax twice (`relevance`)."""

    uncentred_relevance: bool = False
    """Relevance maps keep the average of each head, a constant that shifts all tokens of a map equally (`relevance`)."""

    ties_by_position: bool = False
    """Tokens of equal relevance are removed in the order of their positions instead of in several random orders (`deletion`)."""

    deletion_without_ends: bool = False
    """Deletion curves leave out their ends, 0 and N removed tokens, and their area is divided by the curve's maximum (`deletion`)."""

    tokens_weigh_alike: bool = False
    """Means over class and over context tokens weight images by their number of such tokens; the test is one-sided (`statistics`)."""

    ties_rank_first: bool = False
    """Classes with the same logit as the true class never rank before it (`lens.rank`)."""

    permutations: int = 9999
    """Number of permutations of a significance test."""

    random_twins: int = 5
    """Number of random twins of a model whose config says `random_twin: true` (`plan`)."""

    @classmethod
    def named(cls, name: str) -> "Protocol":
        """Return the protocol with a name, `paper` or `corrected`.

        Raises:
            ValueError: no protocol has this name.
        """
        if name not in PROTOCOLS:
            raise ValueError(f"protocol {name!r}: must be one of {', '.join(PROTOCOLS)}")
        return PROTOCOLS[name]


CORRECTED = Protocol()
PAPER = Protocol(
    name="paper",
    published_transform=True,
    directory_order=True,
    skip_small_classes=True,
    whole_image_labels=True,
    mlp_against_previous_block=True,
    composition_ignores_mlp=True,
    context_difference_of_logits=True,
    drop_first_patch_of_pooled=True,
    pair_blocks_of_deep_models=True,
    tokens_as_units=True,
    paired_classes=True,
    memory_before_activation=True,
    memories_of_the_class=True,
    zero_attention_to_cls=True,
    cls_in_perturbed_rate=True,
    run_emptied_images=True,
    softmax_twice=True,
    uncentred_relevance=True,
    ties_by_position=True,
    deletion_without_ends=True,
    tokens_weigh_alike=True,
    ties_rank_first=True,
    permutations=300,
    random_twins=1,
)
PROTOCOLS = {protocol.name: protocol for protocol in (CORRECTED, PAPER)}
