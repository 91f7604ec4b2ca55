"""The page itself: structure, style and scripts, put together into one file that needs no other but the models'."""

import re
from pathlib import Path
from typing import Any

from classlens.explorer.payload import script_json

HERE = Path(__file__).parent
SCRIPTS = ("dom.js", "data.js", "state.js", "colours.js", "gallery.js", "patches.js", "token.js", "relevance.js", "view.js", "main.js")


def complete(facts: dict[str, Any]) -> str:
    """The page of a run.

    Args:
        facts: what the page must know before it loads anything: run, protocol, and name, label, dataset and twin_of of each model.
    """
    parts = {
        "/* style */": _asset("style.css"),
        "/* facts */": f"const RUN = {script_json(facts)};",
        "/* scripts */": "\n".join(map(_asset, SCRIPTS)),
    }
    places = "|".join(map(re.escape, parts))
    return re.sub(places, lambda place: parts[place[0]], _asset("index.html"))  # at once: what is put in may look like a place


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
