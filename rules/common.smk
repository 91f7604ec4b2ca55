# What all rules share: the plan that the config stands for, wildcard constraints, commands, and input functions.
import os
import re
import shlex
import sys
import time
from pathlib import Path

from classlens.compute import gpus
from classlens.config import published, run_folder, run_record, settings, steps
from classlens.config.catalogue import CATEGORIES
from classlens.config.expected import of_run
from classlens.config.files import load
from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.config.steps import RunSettings, flags
from classlens.errors import InputError
from classlens.storage.fingerprints import FINGERPRINTS
from classlens.storage.provenance import code_sha256, sha256

STARTED = time.time()
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
# What Snakemake remembers of earlier runs in this folder, and what the workflow does.
STATE = Path(".snakemake")
NOTES = STATE.absolute() / "classlens"
MEMORY = NOTES / "fingerprints.json"
LOCK = sha256(Path(workflow.basedir) / "envs" / "workflow.lock")

try:
    for path in config_files():
        load(path)  # Snakemake takes the last of two equal names without a word
    asked = resolve(config)
    EXPECTED = of_run(Path(workflow.basedir) / "config" / "expected.yaml", asked.run)
    results = f"results/{asked.run}"
    run_folder.check(results, asked)
    plan = Plan(asked, results, memory=MEMORY)
    if plan.published:
        published.check_drawn(results, NOTES)
    elif is_main_process():
        run_record.restore(results, STATE)
except InputError as error:
    sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))

# Jobs run the interpreter that runs Snakemake, whatever `python` is on the path, unless they have environments of their own.
python = "" if jobs_have_environments() else f'PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH" '
# Snakemake tells torch, NumPy and pyarrow's processor pool of a job's threads; polars reads its variable once, when it is imported.
pools = 'POLARS_MAX_THREADS="$OMP_NUM_THREADS" ARROW_IO_THREADS="$OMP_NUM_THREADS"'
# They find their program by a variable, not by a parameter: another checkout makes nothing stale, and other code does (`code`).
place = f"SCRIPTS={shlex.quote(str(SCRIPTS))} {FINGERPRINTS}={shlex.quote(str(MEMORY))}"
# They run in place of the shell, as children of Snakemake, so that they can end when it does (cli.STARTED_BY).
shell.prefix(f"export {python}{pools} {place} CLASSLENS_STARTED_BY={os.getpid()}; exec ".replace("{", "{{").replace("}", "}}"))


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
    dataset=one_of(plan.datasets),
    model=one_of(plan.measured_alone),
    split="[^/]+",
    shard=r"\d{5}",


# sha256 of every program that a rule runs, by its name and that of the figure or table that it makes.
CODE = {}


def program(script, settings, name="", modules=(), places=None, **further):
    """Parameters of a rule that runs a program: the program, its settings, its files, and hashes of its code and of the environment.

    `settings` is a step, or a function of the wildcards that returns one. `places` is a function of the wildcards that returns arguments which
    make nothing stale, such as folders outside the results. Further parameters are what else the result depends on.
    """
    CODE[script, name] = code_sha256(SCRIPTS / script, *modules)

    def files(wildcards, input, output):  # Snakemake does not remember parameters that depend on the output
        return [*files_of_job(input, output), *flags_of(places(wildcards) if places else {})]

    return {
        "program": [script, name] if name else script,
        "settings": lambda wildcards: flags(settings(wildcards) if callable(settings) else settings),
        "files": files,
        "code": [CODE[script, name], LOCK],
        **further,
    }


def files_of_job(*groups):
    """A job's named inputs and outputs as arguments of its program."""
    named = [(name, [paths] if isinstance(paths, str) else list(paths)) for group in groups for name, paths in group.items()]
    return [part for name, paths in named if paths for part in (f"--{name.replace('_', '-')}", *paths)]


def flags_of(places):
    """Texts as arguments of a program; none for what is not there."""
    return [f"--{name.replace('_', '-')}={text}" for name, text in places.items() if text]


# How a rule's program is called, and how one that runs a model on a device.
COMMAND = 'python "$SCRIPTS"/{params.program:q} --log {log:q} --threads {threads} {params.settings:q} {params.files:q}'
ON_DEVICE_COMMAND = COMMAND + "".join(f" --{name.replace('_', '-')}={{resources.{name}:q}}" for name in RunSettings.settings())


def failures():
    """What programs have given up with since the run began, as the last lines of their logs say, each once."""
    began = (Path(results) / run_folder.LOCK).stat().st_mtime  # by the clock of the disk that the logs are on
    logs = [path for path in Path(f"{results}/logs").rglob("*.log") if path.stat().st_mtime >= began]
    said = [path.read_text(encoding="utf-8", errors="replace").rstrip().rsplit("\n", 1)[-1] for path in logs]
    return sorted({line.removeprefix("error: ") for line in said if line.startswith("error: ")})


def claim_results():
    """Keep others from writing this run's results until Snakemake ends."""
    try:
        run_folder.claim(results, asked)
        if plan.published:
            published.note_drawn(results, NOTES)
        else:
            run_record.begin(results)
    except InputError as error:
        raise WorkflowError(f"error: {error}")


def gpu_jobs():
    """How many jobs may use this machine's GPUs at once; 0 where none does. What the nodes of a cluster have is its profile's matter."""
    found = gpus.slots(asked.compute.device, asked.compute.jobs_per_gpu) if runs_here() else 0
    return found and offer("gpu", found)


GPU_JOBS = gpu_jobs()

# Resources of rules that run a model, beside memory.
ON_DEVICE = {**{name: value for name, value in asked.compute if name != "precision"}, **({"gpu": 1} if GPU_JOBS else {})}


def at_once(jobs, usual=None):
    """How many of so many jobs that run a model do so side by side: as many as GPUs allow, or else the usual number or all."""
    return min(jobs, GPU_JOBS or usual or jobs)


def shared(jobs):
    """Threads of one of so many jobs that share all cores."""
    return max(1, all_cores() // max(1, jobs))


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
    """Folder of the data set. A data set that has moved makes nothing stale."""
    return {"root": of_dataset(wildcards).root}


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
    return path if asked.hidden_states.keep else temp(path)


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
