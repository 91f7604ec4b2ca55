"""Reading of configs. Every key is checked against the typed settings, and every error is one line that names the key."""

import difflib
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from classlens.config.files import check_plain, load, place
from classlens.config.settings import SPLITS, Config, DatasetSettings, ModelSettings, Section, TwinSettings
from classlens.errors import InputError, printable
from classlens.models import arguments
from classlens.protocol import Protocol

LONGEST_MESSAGE = 400
"""Maximum number of characters of an error message; the middle of longer messages is cut out."""
KINDS = {
    "int_type": "integer",
    "float_type": "number",
    "bool_type": "boolean",
    "string_type": "string",
    "list_type": "array",
    "dict_type": "object",
    "model_type": "object",
}
"""The expected type for each pydantic error about a wrong type, as JSON schema names it."""

Settings = TypeVar("Settings", bound=Section)


def read(path: Path) -> Config:
    """Return the config in a file.

    Raises:
        InputError: the file is missing or not YAML, or the config is refused by `resolve`.
    """
    return resolve(load(path))


def resolve(config: Any) -> Config:
    """Return a config with all defaults filled in, and with `~` and environment variables in its paths expanded.

    Raises:
        InputError: a key is unknown, missing, has a wrong value, or refers to something that is not in the config. The message names the
            first such key, and the nearest match of an unknown key.
    """
    try:
        check_plain(config)
        resolved = validated(config, Config)
        for name, dataset in resolved.datasets.items():
            _check_dataset(name, dataset)
        for name, model in resolved.models.items():
            _check_model(name, model, resolved)
        return resolved
    except InputError as error:
        raise InputError(_shortened(printable(str(error)))) from None


def validated(content: Any, model: type[Settings], what: str = "config key", within: tuple[str | int, ...] = ()) -> Settings:
    """Return a mapping as typed settings.

    Args:
        content: the mapping.
        model: the class of the settings.
        what: word for a setting in error messages.
        within: keys that lead to the mapping.

    Raises:
        InputError: a key is unknown, missing or has a wrong value. The message names the first such key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{what} {_first_problem(error.errors(), content, model, within)}") from None


def _shortened(text: str, length: int = LONGEST_MESSAGE) -> str:
    """Return a text, with its middle cut out if it is longer than `length` characters."""
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 2 :]}"


def _first_problem(errors: list[ErrorDetails], content: Any, model: type[Section], within: tuple[str | int, ...]) -> str:
    """Return the message about the first unknown key, or else about the first wrong value.

    pydantic reports an error for each type that a value may have. The error with the longest path is the most specific.
    """
    paths = [_path(error, content) for error in errors]
    unknown = [error for error in errors if error["type"] == "extra_forbidden"]
    within_first = [error for error, path in zip(errors, paths, strict=True) if path[: len(paths[0])] == paths[0]]
    first = unknown[0] if unknown else max(within_first, key=lambda error: len(_path(error, content)))
    path = _path(first, content)
    same = [error for error, other in zip(errors, paths, strict=True) if other == path]
    kind = first["type"]
    if kind == "extra_forbidden":
        return _unknown_key(place((*within, *path)), str(path[-1]), _sections(path[:-1], model))
    if kind == "missing":
        return f"`{place((*within, *path))}` is missing: {_help(path, model)}"
    return _wrong_value(path, same, model, within)


def _path(error: ErrorDetails, content: Any) -> tuple[str | int, ...]:
    """Return the config keys in an error's location, without the type names that pydantic inserts."""
    path: list[str | int] = []
    missing = len(error["loc"]) - 1 if error["type"] == "missing" else None
    for number, part in enumerate(error["loc"]):
        if isinstance(content, list) and isinstance(part, int):
            path.append(part)
            content = content[part]
        elif isinstance(content, dict) and part != "[key]" and (part in content or number == missing):
            path.append(part)
            content = content.get(part)
    return tuple(path)


def _unknown_key(key: str, name: str, sections: list[type[Section]]) -> str:
    known = [name for section in sections for name in section.settings()]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    advice = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(known)}"
    return f"`{key}` is not known: {advice}"


def _wrong_value(path: tuple[str | int, ...], errors: list[ErrorDetails], model: type[Section], within: tuple[str | int, ...]) -> str:
    """Return the message about a value that fits none of its allowed types."""
    key, advice = place((*within, *path)), _help(path, model)
    error = next((error for error in errors if error["type"] not in (*KINDS, "literal_error")), errors[0])
    value, limits = error["input"], error.get("ctx", {})
    if "[key]" in error["loc"]:
        key, value, advice = (
            place((*within, *path[:-1])),
            path[-1],
            "a name starts with a letter or digit and contains only letters, digits, `_`, `.` and `-`",
        )
    match error["type"]:
        case "literal_error" if not any(other["type"] in KINDS for other in errors):
            return _not_among(key, value, _choices(path, model))
        case "string_pattern_mismatch":
            return f"`{key}`: {_shortened(repr(value), 60)} must match {limits['pattern']}; {advice}"
        case "string_too_long":
            return f"`{key}`: {_shortened(repr(value), 60)} must have at most {limits['max_length']} characters; {advice}"
        case "value_error":
            return f"`{key}` is {value!r}: {limits['error']}"
        case _:
            return f"`{key}`: {_shortened(repr(value), 60)} {_unfit(error, errors)}; {advice}"


def _not_among(key: str, value: Any, choices: list[str]) -> str:
    near = difflib.get_close_matches(_shortened(str(value), 60), choices, n=1, cutoff=0.5)
    advice = f"did you mean `{near[0]}`?" if near else "choose another"
    return f"`{key}` is {value!r}, and must be one of {', '.join(choices)}: {advice}"


def _unfit(error: ErrorDetails, errors: list[ErrorDetails]) -> str:
    """Return the part of a message that says what is wrong with a value."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal":
            return f"is less than the minimum of {limits['ge']}"
        case "greater_than":
            return f"is less than or equal to the minimum of {limits['gt']:g}"
        case "less_than_equal":
            return f"is greater than the maximum of {limits['le']}"
        case "string_too_short" | "too_short":
            return "is too short"
        case "too_long":
            return "is too long"
    wanted = [repr(KINDS[other["type"]]) for other in errors if other["type"] in KINDS]
    wanted += [other["ctx"]["expected"] for other in errors if other["type"] == "literal_error"]
    return f"is not of type {' or '.join(dict.fromkeys(wanted))}" if wanted else f"does not fit ({error['msg']})"


# Facts about the setting at the place of an error


def _help(path: tuple[str | int, ...], model: type[Section]) -> str:
    """Return the help text of the setting at a path, or of the innermost setting around it that has one."""
    found = [field.description for field in _fields(path, model) if field.description]
    return " ".join(found[-1].split()).removesuffix(".") if found else "correct it"


def _choices(path: tuple[str | int, ...], model: type[Section]) -> list[str]:
    """Return the allowed values of a setting with a fixed list of values."""
    *_, field = _fields(path, model)
    types = [*alternatives(field.annotation)]
    inner = [choice for kind in types for argument in get_args(kind) for choice in alternatives(argument)]
    literals = [kind for kind in (*types, *inner) if get_origin(kind) is Literal]
    return [str(choice) for kind in literals for choice in get_args(kind)] + ["None"] * (type(None) in types)


def _fields(path: Iterable[str | int], model: type[Section]) -> Iterator[FieldInfo]:
    """Yield the settings along a path, outermost first."""
    sections: list[type[Section]] = [model]
    for part in path:
        field = next((section.model_fields[str(part)] for section in sections if part in section.model_fields), None)
        if field:
            yield field
            sections = list(sections_of(field.annotation))


def _sections(path: Iterable[str | int], model: type[Section]) -> list[type[Section]]:
    """Return the section classes that are allowed at a path."""
    fields = list(_fields(path, model))
    return list(sections_of(fields[-1].annotation)) if fields else [model]


def alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types in a union, without annotations."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from alternatives(argument)
    else:
        yield annotation


def sections_of(annotation: Any) -> Iterator[type[Section]]:
    """Yield the section classes in a type, including the types of a mapping's values and of a list's items."""
    for kind in alternatives(annotation):
        if isinstance(kind, type) and issubclass(kind, Section):
            yield kind
        elif get_origin(kind) in (dict, list):
            yield from sections_of(get_args(kind)[-1])


# Checks of settings that depend on each other


def _check_dataset(name: str, dataset: DatasetSettings) -> None:
    key = f"config key `datasets.{name}"
    if dataset.kind != "shapes" and not dataset.root:
        raise InputError(f"{key}.root` is missing: set it to the folder of the data set")
    if dataset.classes and dataset.kind != "imagefolder":
        raise InputError(f"{key}.classes` is for kind imagefolder only: remove it")
    if dataset.class_order and (dataset.classes or dataset.kind in ("shapes", "imagenet_s")):
        why = "and `classes` exclude each other" if dataset.classes else "is for folders that name the classes"
        raise InputError(f"{key}.class_order` {why}: remove it")
    if dataset.download and dataset.kind not in SPLITS:
        raise InputError(f"{key}.download` is for kinds {' and '.join(SPLITS)} only: remove it")


def _check_model(name: str, model: ModelSettings, config: Config) -> None:
    key = f"config key `models.{name}"
    if problem := arguments.refusal(model.kwargs):
        raise InputError(f"{key}.kwargs`: {problem}")
    if arguments.is_path_or_url(model.arch):
        raise InputError(
            f"{key}.arch` is {model.arch!r}: give a name in timm, or `hf-hub:OWNER/NAME`; set `weights` for weights in a local folder"
        )
    if dataset_of(model, config) not in config.datasets:
        raise InputError(f"{key}.dataset` is {model.dataset!r}, and must be one of {', '.join(config.datasets)}")
    other, protocol = model.random_twin, Protocol.named(config.protocol)
    if isinstance(other, str) and not _lends_twins(other, model, config):
        raise InputError(f"{key}.random_twin` is {other!r}: give a model of the same data set that has a twin of its own")
    if isinstance(other, TwinSettings) and model.weights == "random":
        raise InputError(f"{key}.random_twin` is for models whose weights are not random: remove it")
    for twin in own_twins(name, model, protocol):
        if twin in config.models:
            raise InputError(f"config key `models.{twin}` is the name of a random twin of {name}: rename it, or set random_twin: false")


def dataset_of(model: ModelSettings, config: Config) -> str:
    """Return the name of the data set that a model is analysed on; the default is the config's only data set."""
    if model.dataset is None and len(config.datasets) == 1:
        return next(iter(config.datasets))
    return model.dataset or ""


def own_twins(name: str, model: ModelSettings, protocol: Protocol) -> list[str]:
    """Return the names of a model's own random twins, one per seed. A model that uses another model's twins has none of its own.

    Args:
        name: name of the model.
        model: settings of the model.
        protocol: sets the number of twins for `random_twin: true`.
    """
    asked = model.random_twin
    if asked is False or isinstance(asked, str) or model.weights == "random":
        return []
    seeds = asked.seeds if isinstance(asked, TwinSettings) else None
    return [f"{name}_random", *(f"{name}_random_{number}" for number in range(1, seeds or protocol.random_twins))]


def _lends_twins(name: str, model: ModelSettings, config: Config) -> bool:
    """Return whether a model can use the random twins of another: the other has its own twins, on the same data set.

    Args:
        name: name of the other model.
        model: settings of the model.
        config: the config.
    """
    other = config.models.get(name)
    if other is None or not own_twins("", other, Protocol.named(config.protocol)):
        return False
    return other.dataset is None or other.dataset == dataset_of(model, config)
