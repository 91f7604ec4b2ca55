"""The error for wrong input, and helpers for its one-line message."""


class InputError(Exception):
    """An error in the user's input: a config key, file or model that classlens cannot use.

    The message is one line. It names the input, says what is wrong and what to do. Programs print it without a traceback and exit with
    status 1.
    """


def first_line(error: Exception) -> str:
    """Return the first line of another library's error message, or the error's type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printable(text: str) -> str:
    """Return a text as one line, with escapes for line breaks and control characters, which names in configs and data may contain."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
