# What figures and tables have in common.
import json


def file_of(item):
    """Name of the files of a figure or table, without suffix; of one per model with the wildcard."""
    return f"{item.name}_{{model}}" if item.per_model else item.name


def inputs_of(item):
    """The inputs of a figure or table by name: of the wildcard's model, or of all models that it shows.

    An input that is named like an analysis is left out unless all models have that analysis.
    """
    names = plan.models_of(item)
    missing = {name for name in item.inputs if name in settings.ANALYSES and not set(names) <= set(plan.models_with(name))}
    patterns = {name: f"<results>/{path}" for name, path in item.inputs.items() if name not in missing}
    return {
        name: of_one(pattern) if item.per_model else [of_model(model, pattern) for model in names] for name, pattern in patterns.items()
    }


def step_of(item, step_of_models):
    """What a figure or table depends on: of the wildcard's model, or of all models that it shows."""
    if item.per_model:
        return lambda wildcards: step_of_models([wildcards.model])
    return step_of_models(plan.models_of(item))


def describe_items(kind, items):
    """Say what rules of figures or tables make, also under their letters."""
    for item in items:
        describe(f"{kind}_{item.name}", f"{item.letter}: {item.title}")
        if plan.models_of(item):
            describe(item.letter, "; ".join(filter(None, [description(item.letter), item.title])))


def formats(figure):
    """The files of a figure, by format; the report shows the first."""
    files = {form: f"<results>/figures/{file_of(figure)}.{form}" for form in ("csv", *plan.formats)}
    first = plan.formats[0]
    return {**files, first: in_report(figure, f"figures/{figure.name}", files[first])}


def in_report(item, caption, path):
    """A figure or table that the report shows, with a caption of `workflow/report/`."""
    return report(path, caption=f"../workflow/report/{caption}.rst", category=CATEGORIES[item.analysis], labels=labels_of(item))


FIGURE_SPACE = "\N{FIGURE SPACE}"


def labels_of(item):
    """What the report lists an item under. It sorts by text: the space, as wide as a digit, puts F2 before F10."""
    name = f"{item.letter[:1]}{item.letter[1:].rjust(2, FIGURE_SPACE)} {item.title}".strip()
    if item.per_model:
        return lambda wildcards: {"result": plain(f"{name}: {plan.models[wildcards.model].label}")}
    return {"result": name}


def plain(label):
    """A model's label where the report makes neither HTML nor a wildcard of it: an invisible space follows what either begins with."""
    return re.sub("([<{])", "\\1\N{ZERO WIDTH SPACE}", label)


def drawn(names):
    """All files of figures, so that any of them that is missing is made again."""
    return [f"<results>/figures/{name}.{form}" for name in names for form in ("csv", *plan.formats)]


def facts_of_run():
    """What `report_pages` wrote; nothing if it has not yet, or if that is damaged and about to be written again."""
    try:
        found = json.loads(Path(f"{results}/report/facts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
