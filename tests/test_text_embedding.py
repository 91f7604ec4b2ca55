"""Class vectors from text towers of open_clip: which tower belongs to which weights, the vectors, and classification with them."""

import math
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from conftest import small_config
from model_program import write_classes
from published_files import cached
from safetensors.torch import save_file
from torch.nn import functional

from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.errors import InputError
from classlens.models import class_embedding, loading, new_model, text_embedding
from classlens.models.hub import Architecture, Hub
from classlens.models.text_embedding import Tower

ARCH = "vit_base_patch32_clip_quickgelu_224.openai"
CLASSES = [("n1", "tabby, tabby cat"), ("n2", "crane_fly"), ("n3", "dog")]
PROMPTS = ["a photo of a {}.", "a drawing of the {}."]
CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 24, "layers": 2, "head_width": 12},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2},
}
IMAGE_TOWER: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 16}
TOWER = Tower("tiny", "random", "someone/tiny", CONFIG)


@pytest.fixture(scope="module")
def theirs() -> open_clip.CLIP:
    torch.manual_seed(0)
    model = open_clip.CLIP(**CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


@pytest.fixture
def weights(theirs: open_clip.CLIP, tmp_path: Path) -> Path:
    save_file(theirs.state_dict(), tmp_path / "clip.safetensors")
    return tmp_path / "clip.safetensors"


def test_vectors_are_those_of_open_clip(theirs: open_clip.CLIP, weights: Path) -> None:
    vectors = text_embedding.make(TOWER, Hub(), weights, PROMPTS, CLASSES)
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    for row, name in enumerate(["tabby", "crane fly", "dog"]):
        with torch.inference_mode():
            embedded = theirs.encode_text(tokenizer([f"a photo of a {name}.", f"a drawing of the {name}."]))
        expected = functional.normalize(functional.normalize(embedded, dim=-1).mean(dim=0), dim=0)
        torch.testing.assert_close(vectors.vectors[row], expected, rtol=0, atol=1e-6)
    assert (vectors.normalization, vectors.bias) == ("cosine", None)
    assert vectors.temperature == pytest.approx(math.exp(-theirs.logit_scale.item()))
    assert vectors.facts == {"text": "openclip", "tower": "tiny, random", "prompts": PROMPTS}


def test_a_model_of_timm_classifies_as_open_clip_does(theirs: open_clip.CLIP, weights: Path, tmp_path: Path) -> None:
    vectors = text_embedding.make(TOWER, Hub(), weights, PROMPTS, CLASSES)
    vectors.write(tmp_path / "text.safetensors", CLASSES)
    settings = {"arch": ARCH, "weights": "checkpoint", "kwargs": IMAGE_TOWER, "num_classes": 3, "protocol": "corrected"}
    listed = write_classes(tmp_path / "classes.parquet", CLASSES, {"basis": "list", "differs": None})
    files = {"checkpoint": tmp_path / "image.safetensors", "class_embedding": tmp_path / "text.safetensors", "class_list": listed}
    save_file({key: value for key, value in theirs.state_dict().items() if key.startswith("visual.")}, tmp_path / "image.safetensors")
    new_model.make(new_model.ModelDescription.of(settings, files), Hub(), 0, tmp_path / "model.safetensors", tmp_path / "model.json")
    model, card = loading.load_model(tmp_path)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs.logit_scale.exp() * theirs.encode_image(images, normalize=True) @ vectors.vectors.T
        torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-4)
    assert card.head == vectors.facts
    assert card.head_text == "class vectors by the text tower tiny, random, 2 prompts"


def test_other_braces_in_prompts_are_only_text(theirs: open_clip.CLIP, weights: Path) -> None:
    found = text_embedding.make(TOWER, Hub(), weights, ["{} {0.__class__} {x}"], [("n3", "dog")])
    with torch.inference_mode():
        expected = theirs.encode_text(open_clip.SimpleTokenizer(context_length=16)(["dog {0.__class__} {x}"]), normalize=True)
    torch.testing.assert_close(found.vectors, expected, rtol=0, atol=1e-6)


def test_weights_of_the_hub_come_from_its_cache(weights: Path, tmp_path: Path) -> None:
    target = cached(tmp_path / "cache", "someone/tiny") / "open_clip_model.safetensors"
    target.write_bytes(weights.read_bytes())
    found = text_embedding.make(TOWER, Hub(tmp_path / "cache", offline=True), None, PROMPTS, CLASSES)
    assert torch.equal(found.vectors, text_embedding.make(TOWER, Hub(), weights, PROMPTS, CLASSES).vectors)
    with pytest.raises(InputError, match=r"open_clip_model.safetensors of someone/tiny is not in the hub's cache"):
        text_embedding.make(TOWER, Hub(tmp_path, offline=True), None, PROMPTS, CLASSES)


def test_the_same_vectors_have_the_same_bytes(weights: Path, tmp_path: Path) -> None:
    for name in "ab":
        text_embedding.make(TOWER, Hub(), weights, PROMPTS, CLASSES).write(tmp_path / name, CLASSES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert class_embedding.read(tmp_path / "a", CLASSES).facts


@pytest.mark.parametrize("key", ["logit_scale", "token_embedding.weight", "transformer.resblocks.1.ln_1.bias"])
def test_weights_that_do_not_fit_are_refused(theirs: open_clip.CLIP, tmp_path: Path, key: str) -> None:
    state = theirs.state_dict()
    save_file({name: value for name, value in state.items() if name != key}, tmp_path / "a.safetensors")
    save_file({**state, key: torch.zeros(3)}, tmp_path / "b.safetensors")
    for name in "ab":
        with pytest.raises(InputError, match=f"{name}.safetensors does not hold the weights of the text tower: {key} is missing"):
            text_embedding.load(CONFIG, tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("name", ["n02123045", "7", "n02123045, tabby", ""])
def test_names_that_are_no_words_are_refused(weights: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"the class x has the name .*, which says nothing to a text tower"):
        text_embedding.make(TOWER, Hub(), weights, PROMPTS, [("x", name)])


# Which text tower belongs to which weights


def architecture(arch: str) -> Architecture:
    return Hub().architecture(arch)


@pytest.mark.parametrize(
    ("arch", "name", "tag", "repository"),
    [
        (ARCH, "ViT-B-32-quickgelu", "openai", "timm/vit_base_patch32_clip_224.openai"),
        ("vit_base_patch16_clip_224.laion400m_e32", "ViT-B-16", "laion400m_e32", "timm/vit_base_patch16_clip_224.laion400m_e32"),
        ("vit_base_patch32_clip_224.laion2b", "ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("vit_large_patch14_clip_224.datacompxl", "ViT-L-14", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"),
        ("vit_huge_patch14_clip_quickgelu_378.dfn5b", "ViT-H-14-378-quickgelu", "dfn5b", "apple/DFN5B-CLIP-ViT-H-14-378"),
    ],
)
def test_the_tower_of_known_weights(arch: str, name: str, tag: str, repository: str) -> None:
    found = text_embedding.tower_of(architecture(arch))
    assert (found.name, found.tag, found.repository) == (name, tag, repository)


def test_every_known_tower_has_the_width_of_the_image_tower() -> None:
    """And the activation, the patches and the input size, as timm's names tell them."""
    known = {}
    for arch in timm.list_models("vit*clip*", pretrained=True):
        try:
            known[arch] = text_embedding.tower_of(architecture(arch)).config
        except InputError:
            continue
    assert len(known) == 45
    for arch, config in known.items():
        facts = timm.get_pretrained_cfg(arch).to_dict()
        assert config["embed_dim"] == facts["num_classes"], arch
        assert config["vision_cfg"]["image_size"] == facts["input_size"][1], arch
        assert f"patch{config['vision_cfg']['patch_size']}_" in arch
        natively = any("quickgelu" in note.lower() for note in facts.get("notes") or ())
        assert config.get("quick_gelu", False) == natively or "altogether" in arch, arch
    for repository in text_embedding.FORMER:
        assert repository.removeprefix("timm/") in known


@pytest.mark.parametrize(
    "arch",
    [
        "vit_base_patch16_224.augreg_in21k",  # no CLIP
        "vit_base_patch32_clip_224.laion2b_ft_in1k",  # the image tower was trained further
        "vit_medium_patch16_clip_224.tinyclip_yfcc15m",  # open_clip does not know it
        "vit_base_patch16_clip_224.dfn2b",  # timm and open_clip name different activations
        "vit_huge_patch14_clip_224.metaclip2_worldwide",  # a tokenizer elsewhere
        "vit_base_patch16_siglip_224.webli",
    ],
)
def test_other_weights_are_refused(arch: str) -> None:
    with pytest.raises(InputError, match=f"no text tower is known for the weights of {arch}"):
        text_embedding.tower_of(architecture(arch))


def test_without_open_clip_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match="needs the package open_clip_torch: install it"):
        text_embedding.tower_of(architecture(ARCH))


# Plans


def plan_of(source: str = "pretrained", arch: str = ARCH, **embedding: Any) -> Plan:
    model = {"arch": arch, "weights": source, "kwargs": {"img_size": 32}, "class_embedding": {"text": "openclip", **embedding}}
    return Plan(resolve(small_config(models={"m": model})), "results/x")


def test_the_temperature_and_the_prompts_go_where_they_are_used(weights: Path) -> None:
    plan, other = plan_of(temperature=0.5, weights=str(weights)), plan_of(prompts=["{}"])
    assert (plan.model_step("m").temperature, plan.model_step("m").normalization) == (0.5, None)
    assert (plan.text_step("m").prompts, other.text_step("m").prompts) == (["a photo of a {}."], ["{}"])
    assert plan.text_weights("m") == str(weights)
    assert plan.text_hashes("m") and not other.text_hashes("m")
    assert plan.makes_class_embedding("m") and plan.makes_class_embedding("m_random")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": ["a photo"]}, r"prompts.0` is 'a photo': write {} once"),
        ({"prompts": []}, "prompts`"),
        ({"split": "train"}, "class_embedding.split` does not apply to `text`"),
        ({"normalization": "none"}, "class_embedding.normalization` does not apply to `text`"),
        ({"text": "clip"}, "class_embedding.text"),
        ({"weights": "/nowhere.pt"}, r"`models.m.class_embedding.weights`: there is no file /nowhere.pt"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    embedding = {"text": "openclip", **settings}
    model = {"arch": ARCH, "class_embedding": embedding}
    with pytest.raises(InputError, match=message):
        Plan(resolve(small_config(models={"m": model})), "results/x")


def test_image_towers_without_a_known_text_tower_are_refused(weights: Path) -> None:
    with pytest.raises(InputError, match="is for an image tower that was trained with a text tower"):
        plan_of(source="random")
    with pytest.raises(InputError, match="needs the full name of the weights in timm"):
        plan_of(source=str(weights), arch="vit_base_patch32_clip_quickgelu_224")
