"""The one error that people are meant to read."""


class InputError(Exception):
    """A config key, file or model that cannot be used as it is.

    The message is one line: what is wrong, by name, and what to do about it. Programs print it without a traceback and exit with status 1.
    """
