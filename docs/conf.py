"""Sphinx configuration. Build with `make docs`, or with `sphinx-build docs TARGET -D results=FOLDER` for another run's results."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "workflow" / "scripts")]

project = "classlens"
author = "The classlens authors"
copyright = "The classlens authors"
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

results = str(DOCS.parent / "results" / "demo")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "_extensions.library",
    "_extensions.mathml",
    "_extensions.configuration",
    "_extensions.workflow",
    "_extensions.run_results",
]

# Pages work offline: formulas are MathML, and notebooks load no scripts.
html_math_renderer = "mathml"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
default_role = "code"
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "deflist", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "classlens"
html_static_path = ["_static"]
html_css_files = ["classlens.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # the search would load pages, which browsers refuse for local files

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 100

nitpicky = True
# Sphinx cannot link these: types of other libraries, type variables, and texts that it mistakes for types.
OTHERS = "torch|np|numpy|pa|pyarrow|pl|polars|matplotlib|PIL|argparse|pathlib|collections|concurrent|contextlib|tarfile|typing"
OTHERS += "|pydantic|annotated_types|markupsafe"
VARIABLES = r"[\w.]+\.(Ranks|Result|Item|Found|Part|Module|Step|Settings|_\w+)"
LIMITS = "NoneType|FieldInfo|Ge|Gt|Le|MinLen|MaxLen|PathMark|BeforeValidator|AfterValidator|StringConstraints"
NO_TYPES = r"(dict|tuple)\[str|list\[~typing\..*|object_both|rest_both|types\.Annotated.*"
nitpick_ignore_regex = [("py:.*", rf"({OTHERS})\..*|classlens\.({VARIABLES})|{LIMITS}|{NO_TYPES}")]
suppress_warnings = ["ref.python"]  # the type `bytes` and attributes of that name
