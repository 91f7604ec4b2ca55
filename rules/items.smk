# Functions shared by the rules of figures and tables.


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
    """Return the files of a figure by format."""
    return {form: f"<results>/figures/{file_of(figure)}.{form}" for form in ("csv", *plan.formats)}


def in_report(page):
    """Return the path of a page, marked for the report. The page has its own caption, because the report hides captions behind an icon."""
    return report(f"<results>/report/{page.name}.html", category=page.section, labels={"result": plain(label_of(page))})


FIGURE_SPACE = "\N{FIGURE SPACE}"


def label_of(page):
    """Return the label of a page in the report, which sorts by text. A space as wide as a digit puts F2 before F10."""
    return f"{page.letter[:1]}{page.letter[1:].rjust(2, FIGURE_SPACE)} {page.title}".strip()


def plain(label):
    """Return a model's label with invisible spaces, so that the report reads no HTML tag and no wildcard in it."""
    return re.sub("([<{])", "\\1\N{ZERO WIDTH SPACE}", label)


def drawn(names):
    """Return all files of some figures, so that a missing file is made again."""
    return [f"<results>/figures/{name}.{form}" for name in names for form in ("csv", *plan.formats)]


def front_page():
    """Return the report's front page that `report_pages` wrote, or an empty text if the file is missing or damaged.

    Each line is indented, because Snakemake puts the page in a block of raw HTML, which ends at the first line that is not.
    """
    try:
        return "\n   ".join(Path(f"{results}/report/front_page.html").read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return ""
