"""Reading a config: every key checked against `config/schema.yaml`, every default filled in, every error one line."""

import difflib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from classlens.errors import InputError, printable

SPLITS = {"cifar10": ("test", "train"), "cifar100": ("test", "train")}
"""Analysed split, and split on which probes are fitted, of data sets whose splits have names of their own."""


def read(path: Path, schema: Path) -> dict[str, Any]:
    """The config in a file, with all defaults filled in.

    Raises:
        InputError: the file is missing or no YAML, or as for `resolve`.
    """
    try:
        return resolve(yaml.safe_load(path.read_text(encoding="utf-8")), yaml.safe_load(schema.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"config {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(printable(f"config {path} is not YAML: {' '.join(str(error).split())}")) from None


def resolve(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The config with all defaults filled in.

    Raises:
        InputError: naming the first key that is unknown (with its nearest match), missing or of the wrong kind, or that refers to
            something that is not in the config.
    """
    try:
        return _resolved(config, schema)
    except InputError as error:
        raise InputError(printable(str(error))) from None


def _resolved(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    check(config, schema)
    resolved = _with_defaults(_spelled_out(deepcopy(config)), schema)
    for name, dataset in resolved["datasets"].items():
        _check_dataset(name, dataset)
    for name, model in resolved["models"].items():
        _check_model(name, model, resolved)
    return resolved


def check(config: Any, schema: dict[str, Any]) -> None:
    """Raise an InputError for the first key that is unknown, missing or of the wrong kind."""
    _check_texts(config, ())
    errors = list(Draft202012Validator(schema).iter_errors(config))
    if errors:
        unknown = [error for error in errors if error.validator == "additionalProperties"]
        raise InputError(_unknown_key(unknown[0]) if unknown else _wrong_value(best_match(errors)))


def _check_texts(value: Any, path: tuple[Any, ...]) -> None:
    """Raise an InputError for a key that YAML takes for something else than text: names are compared as texts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InputError(f"config key `{_place((*path, key))}` is no text but {key!r}: write it in quotes")
            _check_texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_texts(inner, (*path, index))


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


def _place(path: Iterator[Any] | Any) -> str:
    return ".".join(str(part) for part in path) or "the config"


def _unknown_key(error: ValidationError) -> str:
    known = list(_schema(error)["properties"])
    key = next(key for key in cast(dict[str, Any], error.instance) if key not in known)
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    advice = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(known)}"
    return f"config key `{_place([*error.absolute_path, key])}` is not known: {advice}"


def _wrong_value(error: ValidationError) -> str:
    place = _place(error.absolute_path)
    if error.validator == "required":
        missing = next(key for key in cast(list[str], error.validator_value) if key not in cast(dict[str, Any], error.instance))
        return f"config key `{_place([*error.absolute_path, missing])}` is missing: {_schema(error)['properties'][missing]['description']}"
    if error.validator == "enum":
        choices = [str(choice) for choice in cast(list[Any], error.validator_value)]
        near = difflib.get_close_matches(str(error.instance), choices, n=1, cutoff=0.5)
        advice = f"did you mean `{near[0]}`?" if near else "choose another"
        return f"config key `{place}` is {error.instance!r}, and must be one of {', '.join(choices)}: {advice}"
    return f"config key `{place}`: {error.message}; {_schema(error).get('description', 'correct it')}"


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
    datasets = list(config["datasets"])
    if model["dataset"] is None and len(datasets) == 1:
        model["dataset"] = datasets[0]
    if model["dataset"] not in datasets:
        raise InputError(f"config key `models.{name}.dataset` is {model['dataset']!r}, and must be one of {', '.join(datasets)}")
    if model["analyses"] is None:
        model["analyses"] = list(config["analyses"])
    other = model["random_twin"]
    if isinstance(other, str) and not _has_twin(config["models"].get(other), model):
        raise InputError(
            f"config key `models.{name}.random_twin` is {other!r}: give a model of the same data set that has a twin of its own"
        )
    if other is True and f"{name}_random" in config["models"]:
        raise InputError(
            f"config key `models.{name}_random` is the name of the random twin of {name}: rename it, or set random_twin: false"
        )


def _has_twin(other: dict[str, Any] | None, model: dict[str, Any]) -> bool:
    """Whether another model has a random twin of its own, on the data set of this one."""
    if other is None or other["random_twin"] is not True or other["weights"] == "random":
        return False
    return other["dataset"] in (None, model["dataset"])
