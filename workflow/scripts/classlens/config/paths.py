"""Expansion of `~` and environment variables in the paths of a config."""

import os
import re

from classlens.errors import InputError

VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<name>[A-Za-z_][A-Za-z0-9_]*))")
"""An environment variable in a path, `$NAME` or `${NAME}`; `$$` is a dollar sign."""


def expanded(path: str) -> str:
    """Return a path with `~`, `~USER`, `$NAME` and `${NAME}` replaced, and `$$` as a dollar sign.

    The result never starts with a hyphen, so that no program mistakes it for an option.

    Raises:
        InputError: the user or the environment variable does not exist.
    """
    home, rest = _home(path)
    filled = home + VARIABLE.sub(_variable, rest)
    return os.path.abspath(filled) if filled.startswith("-") else filled


def escaped(path: str) -> str:
    """Return a path as a config must write it, the inverse of `expanded`."""
    return f"{'./' if path.startswith('~') else ''}{path.replace('$', '$$')}"


def _home(path: str) -> tuple[str, str]:
    """Return the home folder at the start of a path (an empty text if there is none), and the rest of the path."""
    if not path.startswith("~"):
        return "", path
    user, slash, rest = path.partition("/")
    home = os.path.expanduser(user)
    if home == user:
        raise InputError(f"there is no user {user[1:]}; write ./{user} for a name that starts with ~")
    return home, slash + rest


def _variable(match: re.Match[str]) -> str:
    name = match["braced"] or match["name"]
    if match["dollar"]:
        return "$"
    if name not in os.environ:
        raise InputError(f"the environment variable {name} is not set; set it, or write $$ for a dollar sign")
    return os.environ[name]
