"""Arguments of `timm.create_model` that a config or a hub repository must not give.

Weights come from `weights` alone, which is hashed; a model is built whole, in float32, on the processor. Nothing here needs timm.
"""

from collections.abc import Iterable

REFUSED = {
    **dict.fromkeys(
        ("checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_custom_load", "pretrained_filter_fn",
         "pretrained_model_args", "pretrained_strict"),
        "weights are named by the model's `weights`",
    ),
    "cache_dir": "the cache folder of the hub is `hub.cache`",
    **dict.fromkeys(("device", "dtype"), "device and precision are set under `compute`"),
    **dict.fromkeys(
        ("exportable", "feature_cfg", "feature_cls", "features_only", "kwargs_filter", "model_cfg", "no_jit", "out_indices", "pruned",
         "scriptable", "use_naflex"),
        "it changes how timm builds the model, beyond what is supported",
    ),
}  # fmt: skip
"""Why each of them is refused."""

HUB = "hf-hub:"


def is_a_place(arch: str) -> bool:
    """Return whether timm would look for an architecture elsewhere than by name in its registry or by repository in the hub."""
    return not arch.startswith(HUB) and any(mark in arch for mark in ":/\\")


def refused(names: Iterable[str]) -> str | None:
    """Return what is wrong with the first refused argument among some names, or None."""
    return next((f"`{name}` is not allowed ({REFUSED[name]}): remove it" for name in names if name in REFUSED), None)
