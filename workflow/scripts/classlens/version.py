"""The version of classlens. No other module imports this one at its start, so that a new version by itself makes no result stale."""

__version__ = "0.1.0"
