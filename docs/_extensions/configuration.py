"""The directive `configuration`: every key of a config with type, default and meaning, from `config/schema.yaml`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SCHEMA = Path(__file__).parent.parent.parent / "config" / "schema.yaml"
NAME = "NAME"
"""Stands for a name that the config chooses, in `models.NAME.arch`."""

Schema = dict[str, Any]


def sections(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Schema]]:
    """Every part of a config that holds keys, outermost first, with its path."""
    yield ".".join(path), schema
    for name, inner in schema["properties"].items():
        of_names = inner.get("additionalProperties")
        if "properties" in inner:
            yield from sections(inner, (*path, name))
        elif isinstance(of_names, dict) and "properties" in of_names:
            yield from sections(of_names, (*path, name, NAME))


def kind(schema: Schema) -> str:
    """What a value may be, in words."""
    if "enum" in schema:
        return "one of " + ", ".join(f"`{choice}`" for choice in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(kind, choices))
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_of_type(name, schema) for name in types)


def _of_type(name: str, schema: Schema) -> str:
    if name == "array":
        return f"list of {schema['minItems']} x {kind(schema['items'])}" if "minItems" in schema else f"list ({kind(schema['items'])})"
    if name == "object":
        return "keys of its own" if "properties" in schema else "mapping"
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    limits = [f"{words} {schema[key]}" for key, words in bounds.items() if key in schema]
    limits += [f"`{schema['pattern']}`"] if name == "string" and "pattern" in schema else []
    return name + (f" ({', '.join(limits)})" if limits else "")


def default(name: str, schema: Schema, required: list[str]) -> str:
    """What holds where the config says nothing."""
    if name in required:
        return "required"
    return f"default `{json.dumps(schema['default'])}`"


def markdown(schema: Schema) -> str:
    """A heading for each part of a config, and under it each key."""
    lines: list[str] = []
    for path, part in sections(schema):
        lines += [f"## {path or 'The whole config'}", ""]
        for name, inner in part["properties"].items():
            key = f"{path}.{name}" if path else name
            lines += [f"`{key}`", f": {kind(inner)}; {default(name, inner, part.get('required', []))}\n"]
            lines += [f"  {inner['description'].removesuffix('.')}.", ""]
    return "\n".join(lines)


class Configuration(SphinxDirective):
    """Every key of a config."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(SCHEMA))
        return self.parse_text_to_nodes(markdown(yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("configuration", Configuration)
    return {"parallel_read_safe": True}
