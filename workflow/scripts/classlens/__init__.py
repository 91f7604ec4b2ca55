"""classlens: where and how class information arises inside Vision Transformers.

    import timm, torch, classlens

    model = timm.create_model("vit_base_patch32_224", pretrained=True).eval()
    lens = classlens.Lens.from_model(model)
    with torch.inference_mode(), classlens.Trace(model, ["resid_post.11", "attn_out.5"]) as trace:
        model(images)                                    # images [image, 3, height, width]
        logits = lens(trace["resid_post.11"])            # [image, token, class]
    ranks = classlens.rank(logits, labels)               # [image, token], 0 is first; labels [image]
    print(classlens.class_identifiability(ranks, 1000))  # [image, token], 1 is first

The method is that of Vilas, Schaumlöffel & Roig, "Analyzing Vision Transformers for Image Classification in Class Embedding Space",
NeurIPS 2023. Names are imported on first use, so that programs that only plan or plot do not wait for torch.
"""

from importlib import import_module

_HOME = {
    "__version__": "version",
    "InputError": "errors",
    "Protocol": "protocol",
    "Trace": "trace",
    "Lens": "lens",
    "rank": "lens",
    "class_identifiability": "analyses.identifiability",
    "load_model": "models.loading",
    "read_states": "storage.hidden_states",
}
__all__ = [name for name in _HOME if not name.startswith("_")]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
