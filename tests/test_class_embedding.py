"""Class embeddings that are not a model's own head."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from model_program import prepare, write_classes
from published_files import cached
from safetensors.torch import save_file
from torch.nn import functional

from classlens.analyses import agreement
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import class_embedding, loading
from classlens.models.class_embedding import Comparison, Vectors
from classlens.models.hub import Architecture
from classlens.protocol import CORRECTED
from classlens.trace import ViT

SMALL: dict[str, Any] = {"img_size": 48, "patch_size": 16, "embed_dim": 24, "num_heads": 2, "depth": 2}
CLASSES = [("n1", "dog"), ("n2", "cat"), ("n3", "crane"), ("n4", "crane")]
IMAGES = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def build(**kwargs: Any) -> ViT:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", **{**SMALL, **kwargs}).eval()


def write(path: Path, names: list[str] | None, width: int = 24, **tensors: torch.Tensor) -> torch.Tensor:
    weight = torch.randn(4, width, generator=torch.Generator().manual_seed(1))
    save_file({"weight": weight, **tensors}, path, {"classes": json.dumps(names)} if names is not None else None)
    return weight


@pytest.mark.parametrize("names", [["n3", "n1", "n4", "n2"], ["n3", "dog", "n4", "cat"]])
def test_rows_are_matched_with_the_data_sets_classes(tmp_path: Path, names: list[str]) -> None:
    weight = write(tmp_path / "text.safetensors", names, bias=torch.arange(4.0))
    vectors = class_embedding.read(tmp_path / "text.safetensors", CLASSES)
    assert torch.equal(vectors.vectors, weight[[1, 3, 0, 2]])
    assert vectors.bias is not None
    assert vectors.bias.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, "does not name its rows"),
        (["n1", "n2"], "has 4 rows, but its metadata `classes` does not list 4 names"),
        (["n1", "n2", "n3", "x"], r"has no rows for the class n4 \(crane\)"),
        (["n1", "n2", "crane", "crane"], r"has 2 rows for the class n3 \(crane\)"),
    ],
)
def test_rows_that_cannot_be_matched(tmp_path: Path, names: list[str] | None, message: str) -> None:
    write(tmp_path / "text.safetensors", names)
    with pytest.raises(InputError, match=message):
        class_embedding.read(tmp_path / "text.safetensors", CLASSES)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read"):
        class_embedding.read(tmp_path / "a.safetensors", CLASSES)
    save_file({"matrix": torch.zeros(3, 3)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="has no matrix `weight`"):
        class_embedding.read(tmp_path / "b.safetensors", CLASSES)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("projection", [True, False])
def test_logits_are_those_of_the_definition(cosine: bool, projection: bool) -> None:
    model = build(num_classes=16 if projection else 0)
    own, vectors = model.head, torch.randn(4, 16 if projection else 24)
    class_embedding.attach(model, Vectors(vectors, torch.ones(4)), Comparison(cosine, 0.5), "text")
    states = functional.layer_norm(torch.randn(2, 5, 24), (24,))
    inside = own(states)
    products = functional.cosine_similarity(inside[..., None, :], vectors, dim=-1) if cosine else inside @ vectors.T
    torch.testing.assert_close(model.head(states), products / 0.5 + 1)
    if not cosine and not projection:
        assert torch.equal(model.head.weight, vectors)


def test_values_are_projected_through_the_projection() -> None:
    model = build(num_classes=16)
    own, vectors = model.head.weight, torch.randn(4, 16)
    class_embedding.attach(model, Vectors(vectors, None), Comparison(True, 0.01), "text")
    values = agreement.values(model, "mlp", 0)
    logits = agreement.value_logits(model.head.weight, values)
    torch.testing.assert_close(logits, functional.normalize(vectors, dim=1) @ (own @ values))


@pytest.mark.parametrize(("kwargs", "width"), [({"num_classes": 0}, 24), ({"num_classes": 16}, 16), ({"num_classes": 5}, 24)])
def test_kept_models_have_their_class_embedding(tmp_path: Path, kwargs: dict[str, Any], width: int) -> None:
    settings = {**SMALL, **kwargs}

    def head(model: ViT) -> None:
        class_embedding.attach(model, Vectors(torch.randn(4, width), torch.randn(4)), Comparison(True, 0.1), "text")

    model = loading.make_model(Architecture("vit_tiny_patch16_224"), "random", settings, 4, seed=0, head=head)
    loading.save(model, tmp_path / "model.safetensors")
    card = loading.describe(
        model, "vit_tiny_patch16_224", settings, "random", transform=None, protocol=CORRECTED, weights=tmp_path / "model.safetensors"
    )
    card.write(tmp_path / "model.json")
    again, read = loading.load_model(tmp_path)
    assert read.classes == 4
    torch.testing.assert_close(again(IMAGES), model(IMAGES))
    states = again.forward_features(IMAGES)  # the final norm is in them
    torch.testing.assert_close(Lens.from_model(again).head(states)[:, 0], model(IMAGES))


def test_widths_and_heads_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"vectors of width 20, but the model needs 24 \(or 16 after its head\)"):
        class_embedding.attach(build(num_classes=16), Vectors(torch.zeros(4, 20), None), Comparison(), "text")
    distilled = timm.create_model("deit_tiny_distilled_patch16_224", **SMALL)
    with pytest.raises(InputError, match="two heads"):
        class_embedding.attach(distilled, Vectors(torch.zeros(4, 24), None), Comparison(), "text")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": torch.tensor([[1.0] * 24, [torch.nan] * 24, [1.0] * 24, [1.0] * 24])}, r"row of the class n2 \(cat\) is not finite"),
        ({"weight": torch.tensor([[1.0] * 24, [1.0] * 24, [torch.inf] * 24, [1.0] * 24])}, r"row of the class n3 \(crane\) is not finite"),
        ({"bias": torch.tensor([0, 0, 0, torch.nan])}, r"row of the class n4 \(crane\) is not finite"),
        ({"weight": torch.cat([torch.ones(3, 24), torch.zeros(1, 24)])}, r"row of the class n4 \(crane\) is zero"),
        ({"bias": torch.zeros(3)}, r"has a `bias` of shape \[3\], not \[4\]"),
        ({"weight": torch.ones(4, 24, dtype=torch.int8)}, "`weight` is int8: save it as floats"),
        ({"weight": torch.ones(4, 24).to(torch.float8_e5m2)}, "`weight` is float8_e5m2: save it as floats"),
    ],
)
def test_rows_without_values_are_refused(tmp_path: Path, values: dict[str, torch.Tensor], message: str) -> None:
    save_file({"weight": torch.ones(4, 24), **values}, tmp_path / "a.safetensors", {"classes": json.dumps(["n1", "n2", "n3", "n4"])})
    with pytest.raises(InputError, match=message):
        class_embedding.read(tmp_path / "a.safetensors", CLASSES)


def projects(own: int, width: int, comparison: Comparison) -> bool:
    """Whether the head of so many outputs of a model of width 24 stays before vectors of a width."""
    model = build(num_classes=own)
    class_embedding.attach(model, Vectors(torch.randn(4, width), None), comparison, "text")
    return model.head.projection is not None


def test_a_projection_is_kept_where_it_is_known_to_be_one() -> None:
    assert projects(24, 24, Comparison(head_projects=True))
    assert not projects(24, 24, Comparison(head_projects=False))
    assert not projects(16, 24, Comparison(head_projects=True))  # the vectors do not fit behind it
    assert projects(16, 16, Comparison(head_projects=False))
    assert projects(24, 24, Comparison(projection=True))
    assert not projects(24, 24, Comparison(projection=False, head_projects=True))
    with pytest.raises(InputError, match="set `projection` of the model's `class_embedding` to keep"):
        projects(24, 24, Comparison())
    with pytest.raises(InputError, match="width 24, but the model needs 16 after its head"):
        projects(16, 24, Comparison(projection=True))
    with pytest.raises(InputError, match="width 16, but the model needs 24 before its head"):
        projects(16, 16, Comparison(projection=False))


def test_which_heads_of_timm_are_projections() -> None:
    def known(arch: str) -> bool | None:
        return class_embedding.is_projection(arch, timm.get_pretrained_cfg(arch).to_dict())

    for arch in (
        "vit_medium_patch16_clip_224.tinyclip_yfcc15m",
        "vit_base_patch32_clip_quickgelu_224.openai",
        "eva02_base_patch16_clip_224.merged2b",
    ):
        assert known(arch), arch
    for arch in ("vit_base_patch32_clip_224.laion2b_ft_in12k_in1k", "vit_base_patch16_224.augreg_in21k", "vit_base_patch32_clip_224"):
        assert known(arch) is False, arch
    assert known("vit_small_patch14_dinov2.lvd142m") is None
    assert class_embedding.is_projection("someones_vit", {"num_classes": 24}) is None


@pytest.mark.parametrize("keep", [True, False])
def test_a_kept_model_keeps_its_projection(tmp_path: Path, keep: bool) -> None:
    settings = {**SMALL, "num_classes": 24}

    def head(model: ViT) -> None:
        class_embedding.attach(model, Vectors(torch.randn(4, 24), None), Comparison(projection=keep), "text")

    model = loading.make_model(Architecture("vit_tiny_patch16_224"), "random", settings, 4, seed=0, head=head)
    loading.save(model, tmp_path / "model.safetensors")
    card = loading.describe(
        model, "vit_tiny_patch16_224", settings, "random", transform=None, protocol=CORRECTED, weights=tmp_path / "model.safetensors"
    )
    card.write(tmp_path / "model.json")
    again, _ = loading.load_model(tmp_path)
    assert (again.head.projection is not None) is keep
    torch.testing.assert_close(again(IMAGES), model(IMAGES))


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_vectors_of_clip_stay_behind_its_projection_of_the_same_width(tmp_path: Path, weights: str) -> None:
    """Of the model, and of its random twin: both have a head from 512 to 512, which is no classifier."""
    arch, small = "vit_medium_patch16_clip_224.tinyclip_yfcc15m", {"img_size": 32, "depth": 2, "num_heads": 2}
    known = loading.build(arch, small, None)
    assert known.head.weight.shape == (512, 512)
    save_file(known.state_dict(), cached(tmp_path / "cache", f"timm/{arch}") / "model.safetensors")
    write(tmp_path / "text.safetensors", ["n1", "n2", "n3", "n4"], width=512)
    listed = write_classes(tmp_path / "classes.parquet", CLASSES, {"basis": "list", "differs": None})
    hub = ["--cache", tmp_path / "cache", "--offline", "true", "--class-list", listed]
    asked = ["--arch", arch, "--weights", weights, "--class-embedding", tmp_path / "text.safetensors", "--normalization", "cosine"]
    done = prepare(tmp_path, *asked, *hub, kwargs=small)
    assert done.returncode == 0, done.stderr
    model, _ = loading.load_model(tmp_path)
    assert model.head.projection is not None
    assert weights == "random" or torch.equal(model.head.projection.weight, known.head.weight)
