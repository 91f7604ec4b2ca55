"""Reading a config: every key checked against `config/schema.yaml`, every default filled in, every error one line."""

import difflib
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from classlens import model_arguments
from classlens.config_file import check_plain, load, place
from classlens.config_paths import with_paths
from classlens.errors import InputError, printable
from classlens.protocol import Protocol

LONGEST_MESSAGE = 400
"""Characters of a message about a value; what is longer loses its middle."""
SPLITS = {"cifar10": ("test", "train"), "cifar100": ("test", "train")}
"""Analysed split, and split on which probes are fitted, of data sets whose splits have names of their own."""


def read(path: Path, schema: Path) -> dict[str, Any]:
    """Return the config in a file, with all defaults filled in.

    Raises:
        InputError: the file is missing or no YAML, or as for `resolve`.
    """
    return resolve(load(path), yaml.safe_load(schema.read_text(encoding="utf-8")))


def resolve(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the config with all defaults filled in, and `~` and environment variables in its paths replaced.

    Raises:
        InputError: naming the first key that is unknown (with its nearest match), missing or of the wrong kind, or that refers to
            something that is not in the config.
    """
    try:
        return _resolved(config, schema)
    except InputError as error:
        raise InputError(_shortened(printable(str(error)))) from None


def _shortened(text: str, length: int = LONGEST_MESSAGE) -> str:
    """A text without its middle, where it is longer than so many characters."""
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 2 :]}"


def _resolved(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    check(config, schema)
    resolved = with_paths(_with_defaults(_spelled_out(deepcopy(config)), schema), schema)
    for name, dataset in resolved["datasets"].items():
        _check_dataset(name, dataset)
    for name, model in resolved["models"].items():
        _check_model(name, model, resolved)
    return resolved


def check(config: Any, schema: dict[str, Any]) -> None:
    """Raise an InputError for the first key that is unknown, missing or of the wrong kind."""
    check_plain(config)
    errors = list(_Validator(schema).iter_errors(config))
    if errors:
        unknown = [error for error in errors if error.validator == "additionalProperties"]
        raise InputError(_unknown_key(unknown[0]) if unknown else _wrong_value(best_match(errors)))


def _full_match(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    """Patterns describe the whole of a text: `$` alone would let a line break follow."""
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern}")


_Validator = extend(Draft202012Validator, {"pattern": _full_match})


def _spelled_out(config: dict[str, Any]) -> dict[str, Any]:
    """The config with settings in place of the path that may stand for them."""
    for model in config["models"].values():
        if isinstance(model.get("class_embedding"), str):
            model["class_embedding"] = {"file": model["class_embedding"]}
    return config


def _with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    if not isinstance(value, dict) or not ({"properties", "additionalProperties"} & set(schema)):
        return value
    known = schema.get("properties", {})
    value = {**{key: deepcopy(sub["default"]) for key, sub in known.items() if "default" in sub}, **value}
    others = schema.get("additionalProperties") or {}
    return {key: _with_defaults(item, known.get(key, others)) for key, item in value.items()}


def _schema(error: ValidationError) -> dict[str, Any]:
    return cast(dict[str, Any], error.schema)


def _unknown_key(error: ValidationError) -> str:
    known = list(_schema(error)["properties"])
    key = next(key for key in cast(dict[str, Any], error.instance) if key not in known)
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    advice = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(known)}"
    return f"config key `{place([*error.absolute_path, key])}` is not known: {advice}"


def _wrong_value(error: ValidationError) -> str:
    key = place(error.absolute_path)
    if error.validator == "required":
        missing = next(key for key in cast(list[str], error.validator_value) if key not in cast(dict[str, Any], error.instance))
        return f"config key `{place([*error.absolute_path, missing])}` is missing: {_schema(error)['properties'][missing]['description']}"
    if error.validator == "enum":
        choices = [str(choice) for choice in cast(list[Any], error.validator_value)]
        near = difflib.get_close_matches(_shortened(str(error.instance), 60), choices, n=1, cutoff=0.5)
        advice = f"did you mean `{near[0]}`?" if near else "choose another"
        return f"config key `{key}` is {error.instance!r}, and must be one of {', '.join(choices)}: {advice}"
    advice = _schema(error).get("description", "correct it")
    if error.validator in ("pattern", "maxLength"):
        wanted = f"match {error.validator_value}" if error.validator == "pattern" else f"have at most {error.validator_value} characters"
        return f"config key `{key}`: {_shortened(repr(error.instance), 60)} must {wanted}; {advice}"
    return f"config key `{key}`: {error.message}; {advice}"


def _check_dataset(name: str, dataset: dict[str, Any]) -> None:
    if dataset["kind"] != "shapes" and not dataset["root"]:
        raise InputError(f"config key `datasets.{name}.root` is missing: set it to the folder of the data set")
    if dataset["classes"] and dataset["kind"] != "imagefolder":
        raise InputError(f"config key `datasets.{name}.classes` is for kind imagefolder only: remove it")
    if dataset["class_order"] and (dataset["classes"] or dataset["kind"] in ("shapes", "imagenet_s")):
        why = "and `classes` exclude each other" if dataset["classes"] else "is for folders that name the classes"
        raise InputError(f"config key `datasets.{name}.class_order` {why}: remove it")
    if dataset["download"] and dataset["kind"] not in SPLITS:
        raise InputError(f"config key `datasets.{name}.download` is for kinds {' and '.join(SPLITS)} only: remove it")
    eval_split, probe_split = SPLITS.get(dataset["kind"], ("validation", "test"))
    dataset["eval_split"] = dataset["eval_split"] or eval_split
    dataset["probe_split"] = dataset["probe_split"] or probe_split


def _check_model(name: str, model: dict[str, Any], config: dict[str, Any]) -> None:
    if problem := model_arguments.refused(model["kwargs"]):
        raise InputError(f"config key `models.{name}.kwargs`: {problem}")
    if model_arguments.is_a_place(model["arch"]):
        raise InputError(
            f"config key `models.{name}.arch` is {model['arch']!r}: give a name in timm, or `hf-hub:OWNER/NAME`; weights of a folder are "
            "named by `weights`"
        )
    datasets = list(config["datasets"])
    if model["dataset"] is None and len(datasets) == 1:
        model["dataset"] = datasets[0]
    if model["dataset"] not in datasets:
        raise InputError(f"config key `models.{name}.dataset` is {model['dataset']!r}, and must be one of {', '.join(datasets)}")
    if model["analyses"] is None:
        model["analyses"] = list(config["analyses"])
    other = model["random_twin"]
    protocol = Protocol.named(config["protocol"])
    if isinstance(other, str) and not _lends_twins(config["models"].get(other), model, protocol):
        raise InputError(
            f"config key `models.{name}.random_twin` is {other!r}: give a model of the same data set that has a twin of its own"
        )
    if isinstance(other, dict) and model["weights"] == "random":
        raise InputError(f"config key `models.{name}.random_twin` is for models whose weights are not random: remove it")
    for twin in own_twins(name, model, protocol):
        if twin in config["models"]:
            raise InputError(f"config key `models.{twin}` is the name of a random twin of {name}: rename it, or set random_twin: false")


def own_twins(name: str, model: dict[str, Any], protocol: Protocol) -> list[str]:
    """Return the names of the random twins that a model has of its own, one per seed; none where it borrows those of another model.

    Args:
        name: the model's name.
        model: its settings, with all defaults filled in.
        protocol: settles how many they are where the config says `true`.
    """
    asked = model["random_twin"]
    if asked is False or isinstance(asked, str) or model["weights"] == "random":
        return []
    seeds = asked["seeds"] if isinstance(asked, dict) else None
    return [f"{name}_random", *(f"{name}_random_{number}" for number in range(1, seeds or protocol.random_twins))]


def _lends_twins(other: dict[str, Any] | None, model: dict[str, Any], protocol: Protocol) -> bool:
    """Return whether another model has random twins of its own, on the data set of this one."""
    return other is not None and bool(own_twins("", other, protocol)) and other["dataset"] in (None, model["dataset"])
