# What all rules share: the plan that the config stands for, wildcard constraints, and input functions.
import re
import shlex
import sys
import time
from pathlib import Path

import yaml
from classlens.config import resolve
from classlens.errors import InputError
from classlens.plan import Plan
from classlens.provenance import code_sha256, sha256

STARTED = time.time()
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
LOCK = sha256(Path(workflow.basedir) / "envs" / "workflow.lock")

try:
    schema = yaml.safe_load((Path(workflow.basedir) / "config" / "schema.yaml").read_text(encoding="utf-8"))
    settings = resolve(config, schema)
    results = f"results/{settings['run']}"
    plan = Plan(settings, results, memory=Path(".snakemake/classlens/fingerprints.json"))
except InputError as error:
    sys.exit(f"error: {error}")

# Jobs run the interpreter that runs Snakemake, whatever `python` is on the path.
shell.prefix(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; ')


pathvars:
    results=results,
    logs=f"{results}/logs",
    benchmarks=f"{results}/benchmarks",


def one_of(names):
    """A wildcard constraint that matches exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=one_of(settings["datasets"]),
    model=one_of(plan.models),
    split="[^/]+",
    shard=r"\d{5}",


def script(name):
    """Path of a script. A resource rather than a parameter: another checkout makes nothing stale, and other code does (`code`)."""
    return str(SCRIPTS / name)


def code(script):
    """Hash of everything that a script executes, and of the pinned environment."""
    return [code_sha256(SCRIPTS / script), LOCK]


def shared(jobs):
    """Threads of one of so many jobs that share all cores."""
    return max(1, (workflow.cores or 1) // max(1, jobs))


def memory(gigabytes):
    """Memory that grows when a job is tried again."""
    return lambda wildcards, attempt: 1024 * gigabytes * attempt


def root(wildcards):
    """Folder of the data set. A resource rather than a parameter: a data set that has moved makes nothing stale."""
    return plan.root(wildcards.dataset)


def of_model(model, pattern, **wildcards):
    """A path of a model's results on its data set."""
    item = plan.models[model]
    return pattern.format(
        model=model,
        dataset=item.dataset,
        split=plan.eval_split(item.dataset),
        **wildcards,
    )


def shards_of(pattern):
    """Input function: the shards of a model's analysed split."""

    def paths(wildcards):
        shards = plan.shards(wildcards.dataset, plan.eval_split(wildcards.dataset))
        return [of_model(wildcards.model, pattern, shard=shard) for shard in shards]

    return paths


def of_models(name, pattern):
    """The same path for every model that a figure or table shows."""
    return [of_model(model, pattern) for model in plan.models_of(name)]


def memory_keys():
    """Memory keys of all models that are asked for them."""
    pattern = "<results>/memory_keys/{model}/{dataset}/{split}/{shard}.parquet"
    models = [plan.models[name] for name in plan.models_with("memories")]
    shards = {model.name: plan.shards(model.dataset, plan.eval_split(model.dataset)) for model in models}
    return [of_model(name, pattern, shard=shard) for name, names in shards.items() for shard in names]


def kept(path):
    """A file that stays only if the config keeps hidden states."""
    return path if settings["hidden_states"]["keep"] else temp(path)


def style(wildcards):
    """The style file of figures; its contents are among their parameters."""
    return str(plan.style_path())


def generated(wildcards):
    """The folder of a data set that the workflow makes itself."""
    return rules.shapes.output if plan.is_generated(wildcards.dataset) else []


def eval_manifest(wildcards):
    """Manifest of the split that is analysed."""
    return f"<results>/data/{wildcards.dataset}/{plan.eval_split(wildcards.dataset)}/manifest.parquet"


def train_manifest(wildcards):
    """Manifest of the split that a model is trained on."""
    dataset = plan.models[wildcards.model].dataset
    return f"<results>/data/{dataset}/{plan.train_split(dataset)}/manifest.parquet"


def tokens_if_masks(wildcards):
    """Token labels, where the images have masks."""
    return rules.tokens.output if plan.has_masks(wildcards.dataset) else []


def of_one(pattern):
    """Input function: a path of the wildcard's model on its data set."""
    return lambda wildcards: of_model(wildcards.model, pattern)


def formats(name):
    """The files of a figure, by format."""
    return {suffix: f"<results>/figures/{name}.{suffix}" for suffix in ("csv", "svg", "png", "pdf")}


def draw(inputs=""):
    """The command that draws a figure, with inputs beyond the usual."""
    return " ".join(
        [
            "python {resources.script:q} --log {log:q} --threads {threads} --models {params.settings[models]:q}",
            "--seed {params.settings[seed]} --protocol {params.settings[protocol]}",
            "--style {resources.style:q} --width {params.settings[width]} --tables {input.tables:q}",
            inputs,
            "--csv {output.csv:q} --svg {output.svg:q} --png {output.png:q} --pdf {output.pdf:q}",
        ]
    )
