"""Arguments of `timm.create_model` that a config or a hub repository must not give.

Weights come only from the setting `weights`, and their sha256 is recorded; a model is built whole, in float32, on the CPU. This module does
not need timm.
"""

from collections.abc import Iterable

REFUSED = {
    **dict.fromkeys(
        ("checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_custom_load", "pretrained_filter_fn",
         "pretrained_model_args", "pretrained_strict"),
        "set the weights with the model's `weights`",
    ),
    "cache_dir": "set the cache folder of the hub with `hub.cache`",
    **dict.fromkeys(("device", "dtype"), "set device and precision under `compute`"),
    **dict.fromkeys(
        ("exportable", "feature_cfg", "feature_cls", "features_only", "kwargs_filter", "model_cfg", "no_jit", "out_indices", "pruned",
         "scriptable", "use_naflex"),
        "it changes how timm builds the model in a way that is not supported",
    ),
}  # fmt: skip
"""The refused arguments, each with the reason."""

HUB = "hf-hub:"


def is_path_or_url(arch: str) -> bool:
    """Return whether timm would load an architecture from a place other than its registry or the hub, such as a path."""
    return not arch.startswith(HUB) and any(mark in arch for mark in ":/\\")


def refusal(names: Iterable[str]) -> str | None:
    """Return an error text for the first refused argument among names, or None."""
    return next((f"`{name}` is not allowed ({REFUSED[name]}): remove it" for name in names if name in REFUSED), None)
