"""Names of sites, token groups, methods and conditions in tables and programs, and the labels that people read instead.

These names are defined only here. The analyses, the figures and the explorer's page import them.
"""

from typing import Literal, get_args

STORED_SITES = ("resid_post", "attn_out", "mlp_out")
"""Sites whose hidden states are stored, and on which probes are fitted. `resid_mid` is computed as `resid_post - mlp_out`."""
PROJECTED_SITES = ("resid_post", "resid_mid", "attn_out", "mlp_out")
"""Sites that are projected onto the class embedding."""
TUNED_LENS = "tuned_lens"
"""Name in the explorer for the residual stream as the tuned lens reads it."""
SUBLAYERS = ("attn", "mlp")
"""The two sublayers of a block, whose memories and contributions are compared."""
SUBLAYER_SITES = ("attn_out", "mlp_out")
"""Sites of what the sublayers add to the residual stream."""

TOKEN_LABELS = ("class", "context", "ignored")
"""Labels of image tokens: on the object, beside the object, or on a part of the mask that counts as neither."""

Method = Literal[
    "ours",
    "relu",
    "attention_gradient",
    "legrad",
    "attnlrp",
    "grad_cam",
    "integrated_gradients",
    "chefer",
    "rollout",
    "last_attention",
    "probe",
    "random",
]
"""Methods of relevance maps."""
METHODS: tuple[Method, ...] = get_args(Method)
CLASS_AGNOSTIC_METHODS = ("rollout", "last_attention", "random")
"""Methods whose maps are the same for every class."""
ORDERS = ("negative", "positive")
"""Orders in which tokens are removed: `negative` removes the least relevant first, `positive` the most relevant."""

SITE_NAMES = {"resid_post": "residual stream", "attn_out": "attention", "mlp_out": "MLP", TUNED_LENS: "tuned lens"}
TOKEN_NAMES = {
    "cls": "[CLS]",
    "image": "image tokens",
    "class": "class tokens",
    "context": "context tokens",
    "all": "all tokens",
}
SUBLAYER_NAMES = {"attn": "attention", "mlp": "MLP"}
METHOD_NAMES = {
    "ours": "class projection (ours)",
    "relu": "ours, positive parts",
    "attention_gradient": "ours × attention",
    "legrad": "LeGrad",
    "attnlrp": "AttnLRP",
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "integrated gradients",
    "chefer": "Chefer et al.",
    "rollout": "attention rollout",
    "last_attention": "last attention",
    "probe": "linear probes",
    "random": "random",
}
ORDER_NAMES = {"negative": "least relevant first", "positive": "most relevant first"}
CONDITION_NAMES = {
    "none": "undisturbed",
    "self_only": "image tokens attend to themselves only",
    "no_cls": "no attention to [CLS]",
    "without_context": "no context tokens",
    "without_class": "no class tokens",
}
