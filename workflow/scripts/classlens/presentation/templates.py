"""HTML from templates: whatever is put into one is escaped unless it is `Markup`, and a name that nobody gave is an error."""

from html import escape
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


def filled(template: str, **values: Any) -> str:
    """Return a template of jinja2 with its values put in."""
    return ENVIRONMENT.from_string(template).render(values)


def _escaped(value: object) -> Markup:
    """Escape quotes by name, as Python does, not by number, as jinja2 does."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


ENVIRONMENT = Environment(autoescape=True, finalize=_escaped, keep_trailing_newline=True, undefined=StrictUndefined)
