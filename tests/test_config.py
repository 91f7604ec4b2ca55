"""Configs: defaults, and one-line errors that name the key."""

from copy import deepcopy
from typing import Any, get_args

import pytest

from classlens.config import steps
from classlens.config.plan import Plan
from classlens.config.reading import dataset_of, resolve, sections_of
from classlens.config.settings import Config, Section
from classlens.errors import InputError

SMALLEST: dict[str, Any] = {"datasets": {"d": {"kind": "shapes"}}, "models": {"m": {"arch": "vit_tiny_patch16_224"}}}


def changed(path: str, value: Any) -> dict[str, Any]:
    config = deepcopy(SMALLEST)
    place = config
    *way, key = path.split(".")
    for part in way:
        place = place.setdefault(part, {})
    place[key] = value
    return config


def test_everything_but_data_sets_and_models_has_a_default() -> None:
    config = resolve(SMALLEST)
    assert config.hidden_states.model_dump() == {"dtype": "float16", "shard_size": "auto", "keep": True}
    assert config.protocol == "corrected"
    assert dataset_of(config.models["m"], config) == "d"
    assert list(Plan(config, "results/demo").models["m"].analyses) == config.analyses
    assert config.datasets["d"].images_per_class == 5


def test_defaults_are_not_shared() -> None:
    first, second = resolve(SMALLEST), resolve(SMALLEST)
    first.models["m"].kwargs["depth"] = 3
    assert second.models["m"].kwargs == {}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("protocl", "paper", "`protocl` is not known: did you mean `protocol`?"),
        ("hidden_states.dtpye", "float16", "`hidden_states.dtpye` is not known: did you mean `dtype`?"),
        ("models.m.weight", "random", "`models.m.weight` is not known: did you mean `weights`?"),
        ("datasets.d.qqqq", 1, "`datasets.d.qqqq` is not known: known keys are kind, root"),
        ("protocol", "papr", "`protocol` is 'papr', and must be one of paper, corrected: did you mean `paper`?"),
        ("seed", -1, "`seed`: -1 is less than the minimum of 0"),
        ("seed", "one", "`seed`: 'one' is not of type 'integer'"),
        ("datasets.d", {}, "`datasets.d.kind` is missing"),
        ("datasets.d", {"kind": "imagefolder"}, "`datasets.d.root` is missing"),
        ("datasets.d.classes", "imagenet", "`datasets.d.classes` is for kinds imagefolder and table only"),
        ("models.m.dataset", "e", "`models.m.dataset` is 'e', and must be one of d"),
        ("models.m.analyses", ["identifiablity"], "did you mean `identifiability`?"),
        ("models.m.transform", {"crop": 3}, "`models.m.transform.resize` is missing"),
        (
            "models.m.random_twin",
            "other",
            "`models.m.random_twin` is 'other': give a model of the same data set that has a twin of its own",
        ),
        ("models.m.sha256", "12ab", "`models.m.sha256`"),
        ("models.m.class_embedding", {"file": "x", "temperature": 0}, "`models.m.class_embedding.temperature`"),
        ("models.m.class_embedding", {"file": "x", "projection": "kept"}, "must be one of keep, drop, None: did you mean `keep`?"),
        ("models.m.kwargs", {"checkpoint_path": "w.pt"}, "`models.m.kwargs`: `checkpoint_path` is not allowed (set the weights with"),
        ("models.m.kwargs", {"depth": 2, "pretrained": True}, "`models.m.kwargs`: `pretrained` is not allowed"),
        ("models.m.kwargs", {"pretrained_cfg_overlay": {"file": "w.pt"}}, "`models.m.kwargs`: `pretrained_cfg_overlay` is not allowed"),
        (
            "models.m.kwargs",
            {"cache_dir": "/tmp"},
            "`models.m.kwargs`: `cache_dir` is not allowed (set the cache folder of the hub with `hub.cache`)",
        ),
        ("models.m.kwargs", {"scriptable": True}, "`models.m.kwargs`: `scriptable` is not allowed"),
        ("models.m.arch", "local-dir:/models/mine", "`models.m.arch`: 'local-dir:/models/mine' must match"),
        ("models.m.arch", "hf_hub:someone/vit", "`models.m.arch`: 'hf_hub:someone/vit' must match"),
        (
            "models.m.arch",
            "timm/vit_tiny_patch16_224",
            "`models.m.arch` is 'timm/vit_tiny_patch16_224': give a name in timm, or `hf-hub:OWNER/NAME`",
        ),
        ("datasets.d.download", True, "`datasets.d.download` is for kinds cifar10 and cifar100 only"),
        ("models.m_random", {"arch": "x"}, "`models.m_random` is the name of a random twin of m"),
        ("models.a b", {"arch": "x"}, "models"),
        ("models", {5: {"arch": "x"}}, "config key `models.5` is not a text but 5: write it in quotes"),
        ("run", "../elsewhere", "`run`"),
        ("compute.batch_size", 0, "`compute.batch_size`"),
        ("compute.jobs_per_gpu", 0, "`compute.jobs_per_gpu`"),
        ("figures.formats", ["svgz"], "`figures.formats.0` is 'svgz', and must be one of svg, png, pdf: did you mean `svg`?"),
        ("figures.formats", [], "`figures.formats`"),
    ],
)
def test_errors_are_one_line_that_names_the_key(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(changed(path, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_models_at_all() -> None:
    with pytest.raises(InputError, match="`models` is missing"):
        resolve({"datasets": SMALLEST["datasets"]})


def test_every_setting_is_described() -> None:
    def check(section: type[Section]) -> None:
        for name, field in section.settings().items():
            assert field.description, f"{section.__name__}.{name} has no description"
            for inner in sections_of(field.annotation):
                check(inner)

    check(Config)


STEPS = [
    kind for kind in vars(steps).values() if isinstance(kind, type) and issubclass(kind, Section) and kind.__module__ == steps.__name__
]


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: kind.__name__)
def test_null_reaches_the_program(kind: type[Section]) -> None:
    """Rules leave a setting that is null out of a program's arguments, so null must be the program's default."""
    for name, field in kind.settings().items():
        if type(None) in get_args(field.annotation):
            assert field.is_required() or field.get_default(call_default_factory=True) is None, name
