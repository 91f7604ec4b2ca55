"""The names that tables, programs and figures use for parts of a model and for methods, and what people read instead.

Nothing else defines these names: figures, the explorer's page and the analyses take them from here.
"""

STORED_SITES = ("resid_post", "attn_out", "mlp_out")
"""Sites whose hidden states are stored, and on which probes are fitted; `resid_mid` is the difference of the first and the last."""
PROJECTED_SITES = ("resid_post", "resid_mid", "attn_out", "mlp_out")
"""Sites that are projected onto the class embedding."""
SUBLAYERS = ("attn", "mlp")
"""The two sub-layers of a block, whose memories and contributions are compared."""
SUBLAYER_SITES = ("attn_out", "mlp_out")
"""What the sub-layers add to the residual stream."""

TOKEN_LABELS = ("class", "context", "ignored")
"""What an image token lies on: the object, something else, or a part of the mask that counts as neither."""

METHODS = ("ours", "chefer", "rollout", "last_attention", "probe", "random")
"""Methods of relevance maps."""
CLASS_AGNOSTIC_METHODS = ("rollout", "last_attention", "random")
"""Methods whose maps are the same for every class."""
ORDERS = ("negative", "positive")
"""Orders in which tokens are removed: the least relevant first, and the most relevant first."""

SITE_NAMES = {"resid_post": "residual stream", "attn_out": "attention", "mlp_out": "MLP"}
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
    "without_context": "context removed",
    "without_class": "object removed",
}
