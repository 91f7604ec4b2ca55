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


def kept(path):
    """A file that stays only if the config keeps hidden states."""
    return path if asked.hidden_states.keep else temp(path)


include: "programs.smk"
include: "inputs.smk"
include: "items.smk"
