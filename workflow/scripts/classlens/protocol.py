"""The two protocols: the published implementation with its quirks, and the corrected one.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, and its code. Every difference between the two protocols is one field here, so that
`Protocol` is the whole list of deviations and no computation asks for a protocol's name.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """One flag per quirk of the published implementation; each default is the corrected behaviour."""

    name: str = "corrected"

    published_transform: bool = False
    """Without a transform in the config: the published one instead of the model's own (`transforms.default_transform`)."""

    directory_order: bool = False
    """Images in the order in which the directory lists them instead of by name."""

    skip_small_classes: bool = False
    """Classes with fewer images than asked for are left out instead of being an error."""

    whole_image_labels: bool = False
    """Token labels from a mask sampled at one pixel per patch over the whole image; everything but the class is context (`tokens`)."""

    mlp_against_previous_block: bool = False
    """The MLP's logit is compared with the previous block's output instead of with its own input (`building.change_rates`)."""

    composition_ignores_mlp: bool = False
    """A residual composition may have the MLP's top class (`building.composition`)."""

    context_difference_of_logits: bool = False
    """Class and context tokens are compared by their mean logit change instead of by their change rate (`building`)."""

    drop_first_patch_of_pooled: bool = False
    """The first image token of a model without [CLS] is left out of identifiability and change rates, as if it were [CLS]."""

    pair_blocks_of_deep_models: bool = False
    """A 24-block model is drawn with pairs of blocks averaged instead of over relative depth."""

    tokens_as_units: bool = False
    """F1 exchanges tokens, not images, in its test; no p is corrected, and in F1 and F9 it is the share of strictly larger differences."""

    paired_classes: bool = False
    """F6 compares classes in pairs with those of one random twin, one-sided, instead of unpaired with those of all twins, two-sided."""

    memory_before_activation: bool = False
    """The MLP's memory coefficients are the output of `fc1` instead of the input of `fc2` (`memories`)."""

    memories_of_the_class: bool = False
    """Key-value agreement asks for an active memory among the class's five best instead of the class among a memory's five best."""

    zero_attention_to_cls: bool = False
    """`no_cls` sets attention to [CLS] to zero after the softmax instead of masking it before (`perturbation`)."""

    cls_in_perturbed_rate: bool = False
    """Rates under a perturbation count [CLS] too; those of the unperturbed tokens beside them do not (`perturbation_rates`)."""

    run_emptied_images: bool = False
    """An image all of whose image tokens are removed is run with [CLS] alone instead of not at all."""

    softmax_twice: bool = False
    """The loss of the relevance maps takes the softmax of a softmax (`relevance`)."""

    uncentred_relevance: bool = False
    """Relevance maps keep what a head writes whatever it attends to, which shifts all tokens of a map alike (`relevance`)."""

    ties_by_position: bool = False
    """Tokens of equal relevance are removed in the order of their position instead of in several random orders (`deletion`)."""

    deletion_without_ends: bool = False
    """Deletion curves keep 1 to N - 1 tokens, and their area is divided by the curve's own maximum, instead of both ends (`deletion`)."""

    tokens_weigh_alike: bool = False
    """Means over class and over context tokens weigh each image by its number of such tokens; their test is one-sided (`statistics`)."""

    ties_rank_first: bool = False
    """Classes with the logit of the true class never count as ranked before it (`lens.rank`)."""

    permutations: int = 9999
    """Permutations of a significance test."""

    random_twins: int = 5
    """Seeds of the random twins of a model whose config says `random_twin: true` (`plan`)."""

    @classmethod
    def named(cls, name: str) -> "Protocol":
        """The protocol that a config or a command line calls `name`: `paper` or `corrected`.

        Raises:
            ValueError: for any other name.
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
