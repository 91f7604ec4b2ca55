# What all rules share: the plan that the config stands for, wildcard constraints, and input functions.
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path

import yaml
from classlens.config import resolve
from classlens.catalogue import ANALYSES, CATEGORIES
from classlens.config_file import load
from classlens.errors import InputError
from classlens.expected import of_run
from classlens import gpus, published, run_folder, run_record
from classlens.plan import Plan
from classlens.provenance import FINGERPRINTS, code_sha256, sha256

STARTED = time.time()
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
# What Snakemake remembers of earlier runs in this folder, and what the workflow does.
STATE = Path(".snakemake")
NOTES = STATE.absolute() / "classlens"
MEMORY = NOTES / "fingerprints.json"
LOCK = sha256(Path(workflow.basedir) / "envs" / "workflow.lock")

try:
    for path in workflow.configfiles:
        load(Path(path))  # Snakemake takes the last of two equal names without a word
    schema = yaml.safe_load((Path(workflow.basedir) / "config" / "schema.yaml").read_text(encoding="utf-8"))
    settings = resolve(config, schema)
    EXPECTED = of_run(Path(workflow.basedir) / "config" / "expected.yaml", settings["run"])
    results = f"results/{settings['run']}"
    run_folder.check(results, settings)
    plan = Plan(settings, results, memory=MEMORY)
    if plan.published:
        published.check_drawn(results, NOTES)
    elif workflow.is_main_process:
        run_record.restore(results, STATE)
except InputError as error:
    sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))

# Jobs run the interpreter that runs Snakemake, whatever `python` is on the path, unless they have environments of their own.
python = "" if workflow.deployment_settings.deployment_method else f'PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH" '
# Snakemake tells torch, NumPy and pyarrow's processor pool of a job's threads; polars reads its variable once, when it is imported.
pools = 'POLARS_MAX_THREADS="$OMP_NUM_THREADS" ARROW_IO_THREADS="$OMP_NUM_THREADS"'
# They find their program by a variable, not by a parameter: another checkout makes nothing stale, and other code does (`code`).
program = f"SCRIPTS={shlex.quote(str(SCRIPTS))} {FINGERPRINTS}={shlex.quote(str(MEMORY))}"
# They run in place of the shell, as children of Snakemake, so that they can end when it does (cli.STARTED_BY).
shell.prefix(f"export {python}{pools} {program} CLASSLENS_STARTED_BY={os.getpid()}; exec ".replace("{", "{{").replace("}", "}}"))


pathvars:
    results=results,
    logs=f"{results}/logs",
    benchmarks=f"{results}/benchmarks",


def one_of(names):
    """A wildcard constraint that matches exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


def one_of_analysed(names):
    """A wildcard constraint that matches these models where the path goes on to the split that they are analysed on."""
    places = {name: (plan.models[name].dataset, plan.datasets[plan.models[name].dataset].eval_split) for name in names}
    return (
        "|".join(f"{re.escape(name)}(?=/{re.escape(dataset)}/{re.escape(split)}/)" for name, (dataset, split) in places.items()) or "(?!)"
    )


wildcard_constraints:
    dataset=one_of(settings["datasets"]),
    model=one_of(plan.measured_alone),
    split="[^/]+",
    shard=r"\d{5}",


# sha256 of every program that a rule runs, by name.
CODE = {}


def code(script):
    """Hash of everything that a script executes, and of the pinned environment."""
    CODE[script] = code_sha256(SCRIPTS / script)
    return [CODE[script], LOCK]


# Whether results of rules that run a model or fit probes are shared between runs and users: --cache, and a folder in SNAKEMAKE_OUTPUT_CACHE.
CACHING = workflow.workflow_settings.cache is not None


def untime_cached_rules():
    """Take the benchmarks from rules whose results may come from the cache: Snakemake caches no rule that has one, and those took no time."""
    for item in workflow.rules:
        if item.cache and item.cache.output:
            item._benchmark = None


def describe_rules():
    """Say what rules that are made in loops make, for `snakemake --list`: titles of figures and tables, also under their letters."""
    for kind, items in (("figure", FIGURES), ("table", TABLES)):
        for item in items:
            workflow.get_rule(f"{kind}_{item.name}").docstring = f"{item.letter}: {item.title}"
            if plan.models_of(item):
                letter = workflow.get_rule(item.letter)
                letter.docstring = "; ".join(filter(None, [letter.docstring, item.title]))


def settings_of_profile(made, name):
    """Give a rule that is made in a loop the threads and resources that a profile sets for all of them under one name."""
    profile = workflow.resource_settings
    if name in profile._parsed_overwrite_threads:
        made.resources["_cores"] = profile._parsed_overwrite_threads[name]
    made.resources.update(profile._parsed_overwrite_resources.get(name, {}))


def failures():
    """What programs have given up with since the run began, as the last lines of their logs say, each once."""
    began = (Path(results) / run_folder.LOCK).stat().st_mtime  # by the clock of the disk that the logs are on
    logs = [path for path in Path(f"{results}/logs").rglob("*.log") if path.stat().st_mtime >= began]
    said = [path.read_text(encoding="utf-8", errors="replace").rstrip().rsplit("\n", 1)[-1] for path in logs]
    return sorted({line.removeprefix("error: ") for line in said if line.startswith("error: ")})


def claim_results():
    """Keep others from writing this run's results until Snakemake ends."""
    try:
        run_folder.claim(results, settings)
        if plan.published:
            published.note_drawn(results, NOTES)
        else:
            run_record.begin(results)
    except InputError as error:
        raise WorkflowError(f"error: {error}")


def gpu_jobs():
    """How many jobs may use this machine's GPUs at once; 0 where none does. What the nodes of a cluster have is its profile's matter."""
    found = gpus.slots(settings["compute"]["device"], settings["compute"]["jobs_per_gpu"]) if workflow.local_exec else 0
    if found and "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", found)  # without a total, Snakemake takes as many as jobs ask for to be there
    return found and workflow.global_resources["gpu"].value


GPU_JOBS = gpu_jobs()

# Resources of rules that run a model.
ON_DEVICE = {
    "device": settings["compute"]["device"],
    "jobs_per_gpu": settings["compute"]["jobs_per_gpu"],
    **({"gpu": 1} if GPU_JOBS else {}),
}


def at_once(jobs, usual=None):
    """How many of so many jobs that run a model do so side by side: as many as GPUs allow, or else the usual number or all."""
    return min(jobs, GPU_JOBS or usual or jobs)


def shared(jobs):
    """Threads of one of so many jobs that share all cores; a report is made without any."""
    return max(1, (workflow.global_resources["_cores"].value or 1) // max(1, jobs))


def paired(jobs):
    """Threads of one of so many jobs that run a model: two at a time fill the seconds in which each loads libraries and writes."""
    return min(8, shared(at_once(jobs, 2)))


def memory(gigabytes):
    """Memory that grows when a job is tried again."""
    return lambda wildcards, attempt: 1024 * gigabytes * attempt


def of_dataset(wildcards):
    """The wildcard's data set."""
    return plan.datasets[wildcards.dataset]


def root(wildcards):
    """Folder of the data set. A resource rather than a parameter: a data set that has moved makes nothing stale."""
    return of_dataset(wildcards).root


def root_unremembered(wildcards, output):
    """The same as a parameter that Snakemake does not remember, since it depends on the output: jobs that run as one on a cluster must agree
    in all resources that are text."""
    return root(wildcards)


def of_model(model, pattern, **wildcards):
    """A path of a model's results on its data set."""
    item = plan.models[model]
    return pattern.format(
        model=model,
        dataset=item.dataset,
        split=plan.datasets[item.dataset].eval_split,
        **wildcards,
    )


def shards_of(pattern):
    """Input function: the shards of a model's analysed split."""

    def paths(wildcards):
        return [of_model(wildcards.model, pattern, shard=shard) for shard in plan.eval_shards(wildcards.model)]

    return paths


# How many shards there are of all models together whose hidden states are stored.
SHARDS = sum(len(plan.eval_shards(model)) for model in plan.measured_alone)

# All shards of projections of a model's analysed split.
PROJECTIONS = shards_of("<results>/projections/{model}/{dataset}/{split}/{shard}.parquet")


def kept(path):
    """A file that stays only if the config keeps hidden states."""
    return path if settings["hidden_states"]["keep"] else temp(path)


def style(wildcards, output):
    """The style file of figures, where it is not the one that comes with classlens. A parameter that Snakemake does not remember, since it
    depends on the output; its contents are among those that it does."""
    return ["--style", str(plan.style_path())] if settings["figures"]["style"] else []


def made_images(wildcards):
    """The folder of images of a data set that the workflow makes itself."""
    dataset = of_dataset(wildcards)
    return [f"{dataset.root}/{wildcards.split}" if dataset.archive else dataset.root] if dataset.is_made else []


def eval_manifest(wildcards):
    """Manifest of the split that is analysed."""
    return f"<results>/data/{wildcards.dataset}/{of_dataset(wildcards).eval_split}/manifest.parquet"


def class_list(wildcards):
    """Classes of the data set, for a model with weights or a class embedding from a file. Not the manifest: images make no model stale."""
    needed = plan.models[wildcards.model].needs_classes
    return of_model(wildcards.model, "<results>/data/{dataset}/{split}/classes.parquet") if needed else []


def train_manifest(wildcards):
    """Manifest of the split that a model is trained on."""
    dataset = plan.datasets[plan.models[wildcards.model].dataset]
    return f"<results>/data/{dataset.name}/{dataset.train_split}/manifest.parquet"


def fitted_manifests():
    """Manifests of the splits that models and probes are fitted on; those of published results are not there."""
    splits = [(dataset, split) for dataset in plan.used() for split in dataset.splits if split != dataset.eval_split]
    return [f"<results>/data/{dataset.name}/{split}/manifest.parquet" for dataset, split in splits if not plan.published]


def tokens_if_masks(wildcards):
    """Token labels, where the images have masks."""
    return f"<results>/tokens/{wildcards.model}/{wildcards.dataset}.parquet" if of_dataset(wildcards).has_masks else []


def of_one(pattern):
    """Input function: a path of the wildcard's model on its data set."""
    return lambda wildcards: of_model(wildcards.model, pattern)


def probe_manifest(wildcards):
    """Manifest of the split that linear probes are fitted on, where there is one."""
    split = of_dataset(wildcards).probe_split
    return [f"<results>/data/{wildcards.dataset}/{split}/manifest.parquet"] if split else []


def probe_states(wildcards):
    """Hidden states of the split that linear probes are fitted on, where there is one."""
    model, dataset, split = wildcards.model, wildcards.dataset, of_dataset(wildcards).probe_split
    shards = of_dataset(wildcards).shards(split) if split else []
    return [f"<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet" for shard in shards]


def probe_ranks(wildcards):
    """Ranks by linear probes, where the model has them."""
    has = wildcards.model in plan.models_with("probes")
    return f"<results>/probes/{wildcards.model}/{wildcards.dataset}.parquet" if has else []


def if_analysed(analyses, pattern):
    """Input function: a path of the wildcard's model, where it has one of some analyses."""
    return lambda wildcards: of_model(wildcards.model, pattern) if analyses & set(plan.models[wildcards.model].analyses) else []


def explorer_memory_keys(wildcards):
    """Active memories of the wildcard's model, where it has them: they are not published."""
    has = "memories" in plan.models[wildcards.model].analyses and not plan.published
    return shards_of("<results>/memory_keys/{model}/{dataset}/{split}/{shard}.parquet")(wildcards) if has else []


def file_of(item):
    """Name of the files of a figure or table, without suffix; of one per model with the wildcard."""
    return f"{item.name}_{{model}}" if item.per_model else item.name


def inputs_of(item, patterns):
    """The inputs of a figure or table by name: of the wildcard's model, or of all models that it shows.

    An input that is named like an analysis is left out unless all models have that analysis.
    """
    names = plan.models_of(item)
    missing = {name for name in patterns if name in ANALYSES and not set(names) <= set(plan.models_with(name))}
    paths = {
        name: of_one(pattern) if item.per_model else [of_model(model, pattern) for model in names if name not in missing]
        for name, pattern in patterns.items()
    }
    return {argument(name): value for name, value in paths.items()}


def argument(name):
    """A program's argument as the name of an input."""
    return name.replace("-", "_")


def read_inputs(patterns):
    """The part of a command that hands a program its inputs. A parameter, because a shell text in a loop sees the loop's last round."""

    def arguments(wildcards, input):
        return [part for name in patterns for part in (f"--{name}", *of_name(input, argument(name)))]

    def of_name(input, name):
        paths = getattr(input, name)
        return [paths] if isinstance(paths, str) else list(paths)

    return arguments


def settings_of(item, settings_of_models):
    """What a figure or table depends on: of the wildcard's model, or of all models that it shows."""
    if item.per_model:
        return lambda wildcards: settings_of_models([wildcards.model])
    return settings_of_models(plan.models_of(item))


def formats(figure):
    """The files of a figure, by format; the report shows the first."""
    files = {form: f"<results>/figures/{file_of(figure)}.{form}" for form in ("csv", *plan.formats)}
    first = plan.formats[0]
    return {**files, first: in_report(figure, f"figures/{figure.name}", files[first])}


def drawings(wildcards, output):
    """The part of a figure's command that says what to write."""
    return [part for form in ("csv", *plan.formats) for part in (f"--{form}", output[form])]


def drawn(names):
    """All files of figures, so that any of them that is missing is made again."""
    return [f"<results>/figures/{name}.{form}" for name in names for form in ("csv", *plan.formats)]


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


def facts_of_run():
    """What `report_pages` wrote; nothing if it has not yet, or if that is damaged and about to be written again."""
    try:
        found = json.loads(Path(f"{results}/report/facts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
