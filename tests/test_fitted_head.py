"""Heads that are fitted to features: the fits, the features, the model that carries the head, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small_config
from PIL import Image
from scipy.optimize import approx_fprime
from torch.nn import functional

from classlens.compute.device import Compute
from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.data import manifest
from classlens.data.batches import batches
from classlens.data.layouts import Dataset
from classlens.data.transforms import Transform
from classlens.errors import InputError
from classlens.models import class_embedding, features, fitted_head, loading, new_model
from classlens.models.card import Card
from classlens.models.fitted_head import Features, Scale
from classlens.models.hub import Hub
from classlens.storage import parquet

CLASSES = [("a", "ant"), ("b", "bee"), ("c", "cow")]
SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "num_heads": 2, "depth": 2}
ARCHS = {"token": "vit_tiny_patch16_224", "avg": "vit_base_patch16_rpn_224"}
CPU = Compute(torch.device("cpu"), batch_size=4)


def some(count: int = 90, width: int = 6, seed: int = 0, noise: float = 2.0) -> Features:
    """Features of three classes whose scales differ by orders of magnitude; one feature is constant."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 3
    values = rng.normal(size=(3, width))[classes] + noise * rng.normal(size=(count, width))
    values = values * 10.0 ** np.arange(-2, width - 2) + 5
    values[:, 0] = 3
    return Features(values.astype(np.float32), classes)


def solution(solve: Callable[..., Any], strength: float) -> tuple[Features, Scale, np.ndarray, np.ndarray]:
    found = some()
    scale = Scale.of(found.values)
    weight, bias = solve(found, scale, 3, (strength,))[0]
    return found, scale, weight, bias


def test_ridge_is_the_least_squares_solution() -> None:
    """Of the system that has a row for each image and, for the penalty, a row for each feature."""
    found, scale, weight, bias = solution(fitted_head.ridge, 0.3)
    inputs, width = scale.standardised(found.values), found.values.shape[1]
    penalty = np.hstack([np.sqrt(0.3 * len(found)) * np.eye(width), np.zeros((width, 1))])
    system = np.vstack([np.hstack([inputs, np.ones((len(found), 1))]), penalty])
    expected = np.linalg.lstsq(system, np.vstack([np.eye(3)[found.classes], np.zeros((width, 3))]))[0]
    np.testing.assert_allclose(weight, expected[:-1].T, atol=1e-12)
    np.testing.assert_allclose(bias, expected[-1], atol=1e-12)


def test_logistic_regression_ends_where_the_loss_of_torch_is_flat() -> None:
    found, scale, weight, bias = solution(fitted_head.linear, 0.01)
    inputs = torch.from_numpy(scale.standardised(found.values))
    parameters = [torch.from_numpy(part.copy()).requires_grad_() for part in (weight, bias)]
    logits = inputs @ parameters[0].T + parameters[1]
    loss = functional.cross_entropy(logits, torch.from_numpy(found.classes)) + 0.01 / 2 * (parameters[0] ** 2).sum()
    loss.backward()
    assert all(part.grad is not None and part.grad.abs().max() < 1e-6 for part in parameters)
    both = np.hstack([weight, bias[:, None]]).ravel()
    assert fitted_head.loss(both, found, scale, 3, 0.01)[0] == pytest.approx(loss.item(), abs=1e-12)
    start = np.random.default_rng(1).normal(size=both.size)
    slope = approx_fprime(start, lambda here: fitted_head.loss(here, found, scale, 3, 0.01)[0])
    np.testing.assert_allclose(fitted_head.loss(start, found, scale, 3, 0.01)[1], slope, atol=1e-6)


@pytest.mark.parametrize("solve", [fitted_head.linear, fitted_head.ridge])
def test_folded_heads_give_the_logits_of_standardised_features(solve: Callable[..., Any]) -> None:
    found, scale, weight, bias = solution(solve, 0.1)
    folded, moved = scale.folded(weight, bias)
    values = found.values.astype(np.float64)
    np.testing.assert_allclose(values @ folded.T + moved, scale.standardised(values) @ weight.T + bias, atol=1e-9)


def test_sums_over_blocks_are_those_over_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    found = some()
    whole = [fitted_head.fit(kind, found, CLASSES, 0)[0] for kind in ("linear", "ridge", "prototypes")]
    monkeypatch.setattr(fitted_head, "ROWS", 7)
    for kind, expected in zip(("linear", "ridge", "prototypes"), whole, strict=True):
        vectors, _ = fitted_head.fit(kind, found, CLASSES, 0)
        torch.testing.assert_close(vectors.vectors, expected.vectors, rtol=1e-4, atol=1e-6)


def test_prototypes_are_class_means_and_are_compared_by_cosine() -> None:
    found = some()
    vectors, facts = fitted_head.fit("prototypes", found, CLASSES, 0)
    means = np.stack([found.values[found.classes == index].mean(axis=0) for index in range(3)])
    np.testing.assert_allclose(vectors.vectors, means, rtol=1e-6)
    assert (vectors.normalization, vectors.bias, facts["strength"]) == ("cosine", None, None)
    cosine = functional.cosine_similarity(torch.from_numpy(found.values)[:, None], torch.from_numpy(means), dim=-1)
    assert fitted_head.accuracy(vectors, found) == (cosine.argmax(dim=1).numpy() == found.classes).mean()


@pytest.mark.parametrize("kind", ["linear", "ridge"])
def test_the_strongest_of_equally_good_penalties_is_chosen(kind: str) -> None:
    """Classes that every penalty separates."""
    vectors, facts = fitted_head.fit(kind, some(noise=0.01), CLASSES, 0)
    assert facts == {"images": 90, "strength": fitted_head.STRENGTHS[0], "held_out_accuracy": 1}
    assert fitted_head.accuracy(vectors, some(noise=0.01)) == 1


def test_a_tenth_of_each_class_is_held_out_by_the_seed() -> None:
    classes = np.array([0] * 30 + [1] * 4 + [2] * 2)
    first, again, other = (fitted_head._held_out(classes, CLASSES, seed) for seed in (0, 0, 1))
    assert [int(first[classes == index].sum()) for index in range(3)] == [3, 1, 1]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("count", "message"), [(1, r"has 1 of the images of class c \(cow\)"), (0, r"has 0 of the images of class c \(cow\)")]
)
def test_classes_with_too_few_images_are_refused(count: int, message: str) -> None:
    found = some()
    kept = np.nonzero(found.classes < 2)[0]
    with pytest.raises(InputError, match=message):
        fitted_head.fit("ridge", found[np.concatenate([kept, [2] * count]).astype(int)], CLASSES, 0)


@pytest.mark.parametrize("kind", ["linear", "ridge", "prototypes"])
def test_the_file_is_that_of_a_class_embedding_with_the_same_bytes_again(tmp_path: Path, kind: str) -> None:
    for name in "ab":
        vectors, facts = fitted_head.fit(kind, some(), CLASSES, 0)
        replace(vectors, facts=facts).write(tmp_path / name, CLASSES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = class_embedding.read(tmp_path / "a", CLASSES)
    assert torch.equal(found.vectors, vectors.vectors)
    assert (found.normalization, found.facts) == (vectors.normalization, facts)
    assert (found.bias is None) == (kind == "prototypes")


@pytest.mark.parametrize(("key", "value"), [("normalization", "cosin"), ("temperature", "0"), ("temperature", "x"), ("facts", "{")])
def test_wrong_metadata_is_refused(tmp_path: Path, key: str, value: str) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(3, 4)}, tmp_path / "a.safetensors", {"classes": '["a", "b", "c"]', key: value})
    with pytest.raises(InputError, match=f"`{key}`"):
        class_embedding.read(tmp_path / "a.safetensors", CLASSES)


# Models and images


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of coloured noise in two splits, with their manifests and list of classes."""
    home, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 6), ("validation", 3)):
        for colour, (class_id, _) in enumerate(CLASSES):
            for number in range(count):
                path = home / split / class_id / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 128, (32, 32, 3))
                pixels[..., colour] += 60
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    dataset = Dataset(kind="imagefolder", root=home, class_splits=("train", "validation"))
    for split in ("train", "validation"):
        parquet.write_table(home / f"{split}.parquet", manifest.build(dataset, split, None, 512, 1), {})
    parquet.write_table(home / "classes.parquet", manifest.class_list(dataset, "validation"), {})
    return home


def described(**changes: Any) -> new_model.ModelDescription:
    settings = {"arch": ARCHS["token"], "weights": "random", "kwargs": SMALL, "num_classes": 3, "protocol": "corrected"}
    return new_model.ModelDescription.of(settings | changes, {})


def extracted(home: Path, folder: Path, wanted: new_model.ModelDescription, split: str) -> tuple[Features, str]:
    made = new_model.backbone(wanted, Hub(), 0)
    model, transform = made.model, made.transform
    images, path = parquet.read_table(home / f"{split}.parquet"), folder / f"{split}.parquet"
    features.extract(model, images, home / "", transform, compute=CPU, path=path, provenance={})
    values, classes, read_out = features.read(path)
    return Features(values, classes), read_out


def made(home: Path, folder: Path, wanted: new_model.ModelDescription, kind: str) -> tuple[Any, Card, Features]:
    """The model that carries the head fitted to it, and its features of the analysed split."""
    fitted, read_out = extracted(home, folder, wanted, "train")
    analysed, _ = extracted(home, folder, wanted, "validation")
    vectors, facts = fitted_head.fit(kind, fitted, CLASSES, 0)
    facts = {"fit": kind, **facts, "read_out": read_out, "accuracy": fitted_head.accuracy(vectors, analysed)}
    replace(vectors, facts=facts).write(folder / "head.safetensors", CLASSES)
    wanted = replace(wanted, class_embedding=folder / "head.safetensors", class_list=home / "classes.parquet", projection="drop")
    new_model.make(wanted, Hub(), 0, folder / "model.safetensors", folder / "model.json")
    return *loading.load_model(folder), analysed


def logits_of(model: Any, card: Card, home: Path) -> torch.Tensor:
    images = parquet.read_table(home / "validation.parquet")
    found = batches(images, home, Transform(card.transform), size=4, workers=1, device=torch.device("cpu"))
    with torch.inference_mode():
        return torch.cat([model(batch.images) for batch in found])


@pytest.mark.parametrize("pool", ARCHS)
@pytest.mark.parametrize("kind", ["linear", "ridge", "prototypes"])
def test_the_model_gives_the_logits_of_the_fit(home: Path, tmp_path: Path, pool: str, kind: str) -> None:
    model, card, analysed = made(home, tmp_path, described(arch=ARCHS[pool]), kind)
    vectors, values = class_embedding.read(tmp_path / "head.safetensors", CLASSES), torch.tensor(analysed.values)
    logits = logits_of(model, card, home)
    if kind == "prototypes":
        expected = functional.normalize(values, dim=-1) @ functional.normalize(vectors.vectors, dim=-1).T
    else:
        assert vectors.bias is not None
        expected = values @ vectors.vectors.T + vectors.bias
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    assert card.head
    assert card.head["accuracy"] == (logits.argmax(dim=1).numpy() == analysed.classes).mean()
    assert card.head["read_out"] == features.READ_OUT[pool]


def test_features_are_the_input_of_the_head(home: Path, tmp_path: Path) -> None:
    found, _ = extracted(home, tmp_path, described(), "validation")
    made = new_model.backbone(described(), Hub(), 0)
    model, transform = made.model, made.transform
    images = parquet.read_table(home / "validation.parquet")
    batch = next(batches(images, home, Transform(transform), size=9, workers=1, device=torch.device("cpu")))
    with torch.inference_mode():
        torch.testing.assert_close(torch.tensor(found.values), model.forward_features(batch.images)[:, 0], rtol=0, atol=1e-5)
    assert found.classes.tolist() == batch.classes.tolist()


def test_a_checkpoints_own_head_of_other_classes_is_left_out(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    torch.manual_seed(1)
    own = loading.build(ARCHS["token"], SMALL, 7)
    torch.save(own.state_dict(), tmp_path / "own.pt")
    wanted = replace(described(weights="checkpoint"), checkpoint=tmp_path / "own.pt")
    model, card, _ = made(home, tmp_path, wanted, "ridge")
    assert torch.equal(model.blocks[0].attn.qkv.weight, own.blocks[0].attn.qkv.weight)
    assert card.classes == 3
    assert "left out, because the model has no head (`num_classes: 0`): head.weight, head.bias" in caplog.text


def test_features_that_are_not_finite_are_refused(home: Path, tmp_path: Path) -> None:
    made = new_model.backbone(described(), Hub(), 0)
    model, transform = made.model, made.transform
    with torch.no_grad():
        model.norm.bias[3] = torch.nan
    images = parquet.read_table(home / "train.parquet")
    with pytest.raises(InputError, match="feature of image 0 is not finite"):
        features.extract(model, images, home, transform, compute=CPU, path=tmp_path / "x.parquet", provenance={})
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize(("random", "same"), [(True, False), (False, True)])
def test_a_twin_has_random_vectors_and_a_model_with_random_weights_has_its_own(
    home: Path, tmp_path: Path, random: bool, same: bool
) -> None:
    made(home, tmp_path, described(), "prototypes")
    files = {"class_embedding": tmp_path / "head.safetensors", "class_list": home / "classes.parquet", "projection": "drop"}
    new_model.make(replace(described(random_vectors=random), **files), Hub(), 0, tmp_path / "model.safetensors", tmp_path / "model.json")
    model, card = loading.load_model(tmp_path)
    assert torch.equal(model.head.vectors, class_embedding.read(files["class_embedding"], CLASSES).vectors) == same
    assert (card.head is not None) == same
    assert card.class_embedding and card.class_embedding["cosine"]


# Plans


def plan_of(root: Path | None = None, weights: str = "random", dataset: dict[str, Any] | None = None, **embedding: Any) -> Plan:
    model = {**small_config()["models"]["m"], "weights": weights, "class_embedding": {"fit": "ridge", **embedding}}
    folder = {"kind": "imagefolder", "root": str(root), "images_per_class": None} if root else {"kind": "shapes"}
    config = small_config(models={"m": model}, datasets={"d": {**folder, **(dataset or {})}}, analyses=["identifiability"])
    return Plan(resolve(config), "results/x")


def test_the_split_of_the_fit_is_planned(home: Path) -> None:
    plan = plan_of(home)
    assert plan.datasets["d"].splits == ["validation", "train"]
    assert plan.datasets["d"].images_per_class()["train"] is None
    assert plan.datasets["d"].class_splits == ["train", "validation"]
    assert (plan.fit_step("m").split, plan.fit_step("m").analysed) == ("train", "validation")
    assert plan.model_step("m").projection == "drop"
    assert not plan.model_step("m").random_vectors
    assert plan_of().datasets["d"].image_count("train") == 400


def test_the_kind_of_fit_changes_no_features(home: Path) -> None:
    ridge, linear = plan_of(home), plan_of(home, fit="linear")
    assert ridge.features_step("m") == linear.features_step("m")
    assert ridge.fit_step("m") != linear.fit_step("m")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "validation"}, r"`models.m.class_embedding.split`: validation is the split to analyse.*such as train"),
        ({"dataset": {"eval_split": "train"}}, r"train is the split to analyse.*such as test"),
        ({"file": "x"}, "has `file` and `fit`: set one of file, fit, text"),
        ({"text": "openclip"}, "has `fit` and `text`: set one of file, fit, text"),
        ({"fit": None}, "has no source: set one of file, fit, text"),
        ({"temperature": 0.1}, "class_embedding.temperature` does not apply to `fit`"),
        ({"prompts": ["a {}"]}, "class_embedding.prompts` does not apply to `fit`"),
        ({"weights": "trained"}, "a trained model has the head that it was trained with"),
        ({"split": "other"}, "data set folder .*other does not exist"),
    ],
)
def test_settings_that_do_not_fit_are_refused(home: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_of(home, **settings)


def test_a_split_without_two_images_of_each_class_is_refused_before_any_job(home: Path, tmp_path: Path) -> None:
    for split, class_id, count in (("train", "a", 2), ("train", "b", 1), ("validation", "a", 1), ("validation", "b", 1)):
        for number in range(count):
            target = tmp_path / split / class_id / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((home / "train" / "a" / f"{number}.png").read_bytes())
    with pytest.raises(InputError, match=r"split train has 1 of the images of class b, but a head is fitted on at least 2"):
        plan_of(tmp_path)
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    (tmp_path / "train" / "b" / "1.png").write_bytes((home / "train" / "a" / "1.png").read_bytes())
    with pytest.raises(InputError, match="has 0 of the images of class c"):
        plan_of(tmp_path, dataset={"classes": str(names)})


def test_the_card_tells_the_fit_in_a_sentence(home: Path, tmp_path: Path) -> None:
    facts = {"fit": "linear", "split": "train", "analysed": "test", "read_out": "[CLS] token", "images": 90, "strength": 0.1}
    _, card, _ = made(home, tmp_path, described(), "ridge")
    told = replace(card, head={**facts, "held_out_accuracy": 0.5, "accuracy": 0.25}).head_text
    assert (
        told == "head fitted (linear, L2 strength 0.1) to the [CLS] token on 90 images of train: 50.0% on the held-out tenth, 25.0% on test"
    )
    assert replace(card, head=None).head_text == ""
