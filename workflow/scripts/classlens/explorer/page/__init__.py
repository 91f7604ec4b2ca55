"""The explorer's page: HTML, CSS and JavaScript modules in one file, which loads only the files of the models."""

from pathlib import Path
from typing import Any

from markupsafe import Markup
from rcssmin import cssmin

from classlens import vocabulary
from classlens.explorer.page.modules import one_script
from classlens.explorer.payload import script_json
from classlens.presentation.templates import render

HERE = Path(__file__).parent
VOCABULARY = {
    "sites": vocabulary.SITE_NAMES,
    "conditions": vocabulary.CONDITION_NAMES,
    "methods": vocabulary.METHOD_NAMES,
    "class_agnostic_methods": vocabulary.CLASS_AGNOSTIC_METHODS,
}
"""Texts that the page shows instead of the names in tables."""


def page_html(facts: dict[str, Any]) -> str:
    """Return the page of a run as HTML.

    Args:
        facts: what the page needs before it loads any file: run, protocol, warnings, and name, label, dataset and twin_of of each model.
    """
    return render(
        _asset("index.html"),
        style=Markup(cssmin(_asset("style.css"))),
        facts=Markup(script_json({**facts, "vocabulary": VOCABULARY})),
        script=Markup(one_script(HERE / "main.js")),
    )


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
