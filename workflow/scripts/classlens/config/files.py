"""Strict reading of YAML and JSON files that people write: plain values, unique keys, no recursive or expanding aliases.

Snakemake reads a `--configfile` before the workflow starts. The workflow reads the file again with this module, because Snakemake silently
keeps the last of two equal keys.
"""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from classlens.errors import InputError, first_line, printable

PROGRAM = "__use_yte__"
"""Key that makes Snakemake execute the expressions in a config file."""

LARGEST, DEEPEST, LONGEST = 200_000, 64, 4096
"""Limits of a config: number of values, levels of nesting, and characters of a text."""

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Line breaks, other control characters and surrogates, which no text in a config may contain."""


def load(path: Path) -> Any:
    """Return the content of a YAML or JSON file.

    Raises:
        InputError: the file cannot be read, is neither YAML nor JSON in UTF-8, repeats a key in a mapping, or makes Snakemake execute code.
    """
    try:
        content = _parsed(path.read_text(encoding="utf-8-sig"))
    except InputError as error:
        raise InputError(f"config {path}: {error}") from None
    except OSError as error:
        raise InputError(f"config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"config {path} is not UTF-8: save it in that encoding") from None
    except RecursionError:
        raise InputError(f"config {path} is nested too deeply: write it with at most {DEEPEST} levels") from None
    # PyYAML's constructors of values with explicit tags (`!!bool x`) let any error of their own code through.
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
        raise InputError(printable(f"config {path} is not YAML: {' '.join(str(error).split()) or first_line(error)}")) from None
    if isinstance(content, dict) and PROGRAM in content:
        raise InputError(f"config {path} has the key `{PROGRAM}`, which makes Snakemake execute code in the file: remove the key")
    return content


def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's pairs as a dictionary, for `json.loads(..., object_pairs_hook=unique)`.

    Raises:
        InputError: two pairs have the same name.
    """
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise _twice(name)
        result[name] = value
    return result


def check_plain(config: Any) -> None:
    """Raise an InputError if a config contains a value that is not allowed.

    Keys must be texts; values must be texts, finite numbers, booleans, null, lists or mappings. Texts must be printable. The limits
    `LARGEST`, `DEEPEST` and `LONGEST` apply after YAML aliases have been expanded.
    """
    count = 0
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), config)]
    while waiting:
        path, value = waiting.pop()
        count += 1
        if count > LARGEST or len(path) > DEEPEST:
            raise InputError(
                f"config key `{place(path[:3])}` refers to itself, or the config holds more than {LARGEST:,} values or {DEEPEST} levels: "
                "write values instead of YAML aliases, or shorten it"
            )
        if isinstance(value, dict):
            waiting += [((*path, _key(key, path)), inner) for key, inner in value.items()][::-1]
        elif isinstance(value, list):
            waiting += [((*path, index), inner) for index, inner in enumerate(value[: LARGEST + 1])][::-1]
        else:
            _check_value(value, path)


def place(path: Iterable[Any]) -> str:
    """Return a path of keys in a config as text, such as `models.m.arch`."""
    return ".".join(str(part) for part in path) or "the config"


def _key(key: Any, path: tuple[Any, ...]) -> str:
    if not isinstance(key, str):
        raise InputError(f"config key `{place((*path, key))}` is not a text but {key!r}: write it in quotes")
    _check_text(key, (*path, key))
    return key


def _check_value(value: Any, path: tuple[Any, ...]) -> None:
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"config key `{place(path)}` is {value}: give a finite number")
    elif value is not None and not isinstance(value, bool | int | float):
        raise InputError(f"config key `{place(path)}` has the YAML type {type(value).__name__}: write it in quotes")


def _check_text(text: str, path: tuple[Any, ...]) -> None:
    if UNPRINTABLE.search(text):
        raise InputError(f"config key `{place(path)}` holds a line break or another control character: {text!r}; remove it")
    if len(text) > LONGEST:
        raise InputError(f"config key `{place(path)}` holds a text of {len(text):,} characters: shorten it to at most {LONGEST:,}")


def _twice(name: str) -> InputError:
    return InputError(f"the name {name!r} appears twice in one mapping: rename or remove one of them")


def _parsed(text: str) -> Any:
    """Return the content of a text, parsed as JSON or else as YAML, like Snakemake does."""
    try:
        return json.loads(text, object_pairs_hook=unique)
    except ValueError:
        return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that it refuses duplicate keys instead of keeping the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                raise InputError(f"line {key.start_mark.line + 1}: {_twice(str(key.value))}")
            seen.add(name)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge mappings (`<<`) and keep each key once: otherwise, nested merges grow exponentially."""
        super().flatten_mapping(node)
        node.value = list({(key.tag, str(key.value)): (key, value) for key, value in node.value}.values())
