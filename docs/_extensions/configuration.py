"""The directive `configuration`: all keys of a config with type, default and help text, from `classlens.config.settings`."""

import json
from collections.abc import Iterator
from typing import Any, get_origin

from docutils import nodes
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from classlens.config import settings
from classlens.config.reading import alternatives, sections_of
from classlens.config.settings import Config, Section

NAME = "NAME"
"""Placeholder for a name that the config chooses, as in `models.NAME.arch`."""


def sections(section: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[str, type[Section]]]:
    """Yield each section of a config with its path, outermost first."""
    yield ".".join(path), section
    for name, field in section.settings().items():
        is_mapping = any(get_origin(kind) is dict for kind in alternatives(field.annotation))
        for inner in sections_of(field.annotation):
            yield from sections(inner, (*path, name, NAME) if is_mapping else (*path, name))


def in_words(schema: dict[str, Any]) -> str:
    """Return a description of a JSON schema in words."""
    if "$ref" in schema or "properties" in schema:
        return "a section"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{choice}`" for choice in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(in_words, choices)))
    return _of_type(schema.get("type", "value"), schema)


def _of_type(name: str, schema: dict[str, Any]) -> str:
    if name == "array":
        length = f"{schema['minItems']} x " if schema.get("minItems") == schema.get("maxItems", 0) else ""
        return f"list of {length}{in_words(schema['items'])}" if length else f"list ({in_words(schema['items'])})"
    if name == "object":
        return "mapping"
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    limits = [f"{words} {schema[key]}" for key, words in bounds.items() if key in schema]
    limits += [f"`{schema['pattern']}`"] if name == "string" and "pattern" in schema else []
    return name + (f" ({', '.join(limits)})" if limits else "")


def default(field: FieldInfo) -> str:
    """Return the default of a setting in words."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return f"default `{json.dumps({} if isinstance(value, Section) else to_jsonable_python(value))}`"


def markdown() -> str:
    """Return Markdown with a heading per section and an entry per key."""
    lines: list[str] = []
    for path, section in sections(Config):
        lines += [f"## {path or 'The whole config'}", ""]
        schemas = section.model_json_schema()["properties"]
        for name, field in section.settings().items():
            key = f"{path}.{name}" if path else name
            said = " ".join((field.description or "").split()).removesuffix(".")
            lines += [f"`{key}`", f": {in_words(schemas[name])}; {default(field)}\n", f"  {said}.", ""]
    return "\n".join(lines)


class Configuration(SphinxDirective):
    """The list of all keys of a config."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(settings.__file__)
        return self.parse_text_to_nodes(markdown(), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive. Sphinx calls this function."""
    app.add_directive("configuration", Configuration)
    return {"parallel_read_safe": True}
