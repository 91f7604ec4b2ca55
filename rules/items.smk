# Functions shared by the rules of figures and tables.
import json


def file_of(item):
    """Return the file name of a figure or table without suffix, with the wildcard {model} for an item per model."""
    return f"{item.name}_{{model}}" if item.per_model else item.name


def inputs_of(item):
    """Return the inputs of a figure or table by name: files of the wildcard's model, or of all shown models.

    An input with the name of an analysis is left out unless all shown models have that analysis.
    """
    names = plan.models_of(item)
    missing = {name for name in item.inputs if name in settings.ANALYSES and not set(names) <= set(plan.models_with(name))}
    patterns = {name: f"<results>/{path}" for name, path in item.inputs.items() if name not in missing}
    return {
        name: of_one(pattern) if item.per_model else [of_model(model, pattern) for model in names] for name, pattern in patterns.items()
    }


def step_of(item, step_of_models):
    """Return the settings on which a figure or table depends: for the wildcard's model, or for all shown models."""
    if item.per_model:
        return lambda wildcards: step_of_models([wildcards.model])
    return step_of_models(plan.models_of(item))


def describe_items(kind, items):
    """Describe the rules of figures or tables and their letter aliases for `snakemake --list`."""
    for item in items:
        describe(f"{kind}_{item.name}", f"{item.letter}: {item.title}")
        if plan.models_of(item):
            describe(item.letter, "; ".join(filter(None, [description(item.letter), item.title])))


def formats(figure):
    """Return the files of a figure by format. The report shows the first format."""
    files = {form: f"<results>/figures/{file_of(figure)}.{form}" for form in ("csv", *plan.formats)}
    first = plan.formats[0]
    return {**files, first: in_report(figure, f"figures/{figure.name}", files[first])}


def in_report(item, caption, path):
    """Return an output path, marked for the report with its caption in `workflow/report/`."""
    return report(path, caption=f"../workflow/report/{caption}.rst", category=CATEGORIES[item.analysis], labels=labels_of(item))


FIGURE_SPACE = "\N{FIGURE SPACE}"


def labels_of(item):
    """Return the label of an item in the report, which sorts by text. A space as wide as a digit puts F2 before F10."""
    name = f"{item.letter[:1]}{item.letter[1:].rjust(2, FIGURE_SPACE)} {item.title}".strip()
    if item.per_model:
        return lambda wildcards: {"result": plain(f"{name}: {plan.models[wildcards.model].label}")}
    return {"result": name}


def plain(label):
    """Return a model's label with invisible spaces, so that the report reads no HTML tag and no wildcard in it."""
    return re.sub("([<{])", "\\1\N{ZERO WIDTH SPACE}", label)


def drawn(names):
    """Return all files of some figures, so that a missing file is made again."""
    return [f"<results>/figures/{name}.{form}" for name in names for form in ("csv", *plan.formats)]


def facts_of_run():
    """Return the facts that `report_pages` wrote, or an empty dictionary if the file is missing or damaged."""
    try:
        found = json.loads(Path(f"{results}/report/facts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
