"""The one error that people are meant to read."""


class InputError(Exception):
    """A config key, file or model that cannot be used as it is.

    The message is one line: what is wrong, by name, and what to do about it. Programs print it without a traceback and exit with status 1.
    """


def first_line(error: Exception) -> str:
    """The first line of what another library says, or the kind of its error where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printable(text: str) -> str:
    """A text as one line, with escapes for what would end a line or move the cursor: names in configs and data may hold anything."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
