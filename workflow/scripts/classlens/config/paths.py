"""Paths in a config: `~` and environment variables in them, in every key that the schema marks with `format: path`."""

import os
import re
from typing import Any

from classlens.config.files import place
from classlens.errors import InputError

VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<name>[A-Za-z_][A-Za-z0-9_]*))")
"""An environment variable in a path, `$NAME` or `${NAME}`; `$$` is a dollar sign."""


def with_paths(value: Any, schema: dict[str, Any], path: tuple[Any, ...] = ()) -> Any:
    """Return a config, or a part of it, with every path in it as `expanded` makes it.

    Args:
        value: the config or part.
        schema: its schema.
        path: keys that lead to it.

    Raises:
        InputError: a path names a user or variable that does not exist.
    """
    if isinstance(value, str) and schema.get("format") == "path":
        return _expanded_key(value, path)
    if isinstance(value, list):
        return [with_paths(item, schema.get("items", {}), (*path, index)) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    known, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
    return {key: with_paths(item, known.get(key, others), (*path, key)) for key, item in value.items()}


def _expanded_key(value: str, path: tuple[Any, ...]) -> str:
    try:
        return expanded(value)
    except InputError as error:
        raise InputError(f"config key `{place(path)}` is {value!r}: {error}") from None


def expanded(path: str) -> str:
    """Return a path as the system takes it: `~`, `~USER`, `$NAME` and `${NAME}` replaced, `$$` as a dollar sign.

    What comes back does not begin with a hyphen and is not `None`, so that no program takes it for an option or for no path.

    Raises:
        InputError: there is no such user or environment variable.
    """
    home, rest = _home(path)
    filled = home + VARIABLE.sub(_variable, rest)
    return os.path.abspath(filled) if filled.startswith("-") or filled == "None" else filled


def literal(path: str) -> str:
    """Return a path in the form in which a config names it, so that `expanded` gives it back."""
    return f"{'./' if path.startswith('~') else ''}{path.replace('$', '$$')}"


def _home(path: str) -> tuple[str, str]:
    """The home folder that a path begins with, or an empty text, and the rest of the path."""
    if not path.startswith("~"):
        return "", path
    user, slash, rest = path.partition("/")
    home = os.path.expanduser(user)
    if home == user:
        raise InputError(f"there is no user {user[1:]}; write ./{user} for a name that begins like this")
    return home, slash + rest


def _variable(match: re.Match[str]) -> str:
    name = match["braced"] or match["name"]
    if match["dollar"]:
        return "$"
    if name not in os.environ:
        raise InputError(f"the environment variable {name} is not set; set it, or write $$ for a dollar sign")
    return os.environ[name]
