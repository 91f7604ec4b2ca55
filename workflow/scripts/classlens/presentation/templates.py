"""HTML from templates: every value is escaped unless it is `Markup`, and a missing value is an error."""

from html import escape
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """Return a jinja2 template with its values filled in."""
    return ENVIRONMENT.from_string(template).render(values)


def _escaped(value: object) -> Markup:
    """Return a value escaped as `html.escape` does: jinja2 writes `&#34;` for a double quote, Python `&quot;`."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


ENVIRONMENT = Environment(autoescape=True, finalize=_escaped, keep_trailing_newline=True, undefined=StrictUndefined)
