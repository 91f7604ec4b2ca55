# Shared by all rules: the plan of the run, wildcard constraints, commands and input functions.
import gc
import os
import re
import shlex
import sys
import time
from pathlib import Path

if not (HERE / "workflow").is_dir():
    sys.exit("error: classlens needs all of its files: clone it or install it, and give the path of its Snakefile on this machine")

from classlens.compute import gpus
from classlens.config import published, run_folder, run_record, settings, steps
from classlens.config.catalogue import CATEGORIES, EVOLUTION, RATES
from classlens.config.expected import of_run
from classlens.config.files import load
from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.config.steps import RunSettings, flag, flags
from classlens.errors import InputError
from classlens.storage.fingerprints import FINGERPRINTS
from classlens.storage.provenance import code_sha256, library_versions, sha256, sha256_of

# Nearly all of Snakemake's objects live until it ends. Garbage collection finds next to nothing, and took a seventh of planning's time.
gc.freeze()
gc.set_threshold(100_000)

STARTED = time.time()
SCRIPTS = HERE / "workflow" / "scripts"
# Snakemake's records of earlier runs in this folder, and the workflow's own notes.
STATE = Path(".snakemake")
NOTES = STATE.absolute() / "classlens"
FINGERPRINT_FILE = NOTES / "fingerprints.json"
IMAGE = HERE / "envs" / "classlens.sif"
LOCK_FILE = HERE / "envs" / "workflow.lock"
# The libraries that results depend on: by the lock file of a checkout, or by their versions in an installation, which has no lock file.
LIBRARIES = sha256(LOCK_FILE) if LOCK_FILE.exists() else sha256_of(*map(str, sorted(library_versions().items())))

try:
    if jobs_have_containers() and not IMAGE.is_file():
        raise InputError(f"there is no image {IMAGE}: make it with apptainer build envs/classlens.sif envs/classlens.def")
    for path in [] if is_module() else config_files():
        load(path)  # Snakemake silently keeps the last of two equal keys
    run_config = resolve(config)
    EXPECTED = of_run(HERE / "config" / "expected.yaml", run_config.run)
    results = with_prefix(f"results/{run_config.run}")
    run_folder.check(results, run_config)
    plan = Plan(run_config, results, memory=FINGERPRINT_FILE)
    if plan.published:
        if is_module():
            raise InputError(f"{results} was published by others: draw it with classlens' own Snakefile, not with a workflow that uses it")
        published.check_drawing(results, NOTES)
    elif is_main_process() and not is_module():
        run_record.restore(results, STATE)
except InputError as error:
    sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))

# Snakemake refuses images whose path has a space, even if no job runs in them.
if jobs_have_containers():

    container: str(IMAGE)


# Jobs get these as environment variables, not as parameters, so that a moved checkout makes nothing stale. Without a conda environment or
# container, they use the same Python interpreter as Snakemake, not the first `python` on the PATH.
os.environ.update(
    {
        "CLASSLENS_PYTHON": "python" if jobs_have_environments() else sys.executable,
        "CLASSLENS_SCRIPTS": str(SCRIPTS),
        FINGERPRINTS: str(FINGERPRINT_FILE),
    }
)


pathvars:
    results=results,
    logs=f"{results}/logs",
    benchmarks=f"{results}/benchmarks",


def one_of(names):
    """Return a wildcard constraint that matches exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


def one_of_analysed(names):
    """Return a wildcard constraint that matches these models in paths of their analysed splits."""
    places = {name: (plan.models[name].dataset, plan.datasets[plan.models[name].dataset].eval_split) for name in names}
    return (
        "|".join(f"{re.escape(name)}(?=/{re.escape(dataset)}/{re.escape(split)}/)" for name, (dataset, split) in places.items()) or "(?!)"
    )


wildcard_constraints:
    dataset=one_of(plan.datasets),
    model=one_of(plan.measured_alone),
    split="[^/]+",
    shard=r"\d{5}",


# Priority of jobs that fail if the network, a checkpoint or its classes are not as expected. A run should stop then before it computes.
SOON = 1


def failures():
    """Return the error messages in the last lines of this run's logs, sorted and without duplicates."""
    began = (Path(results) / run_folder.LOCK).stat().st_mtime  # the file system's clock, which also dates the logs
    logs = [path for path in Path(f"{results}/logs").rglob("*.log") if path.stat().st_mtime >= began]
    last_lines = [path.read_text(encoding="utf-8", errors="replace").rstrip().rsplit("\n", 1)[-1] for path in logs]
    return sorted({line.removeprefix("error: ") for line in last_lines if line.startswith("error: ")})


def claim_results():
    """Lock this run's results folder until Snakemake ends."""
    try:
        run_folder.claim(results, run_config)
        if plan.published:
            published.record_drawing(results, NOTES)
        else:
            run_record.discard(results)
    except InputError as error:
        raise WorkflowError(f"error: {error}")


def gpu_jobs():
    """Return the number of jobs that may share this machine's GPUs, or 0 without a GPU. On a cluster, the profile requests GPUs."""
    found = gpus.slots(run_config.compute.device, run_config.compute.jobs_per_gpu) if runs_here() else 0
    return found and limit_resource("gpu", found)


GPU_JOBS = gpu_jobs()

# Resources of rules that run a model, in addition to RAM and run time.
ON_DEVICE = {**{name: value for name, value in run_config.compute if name != "precision"}, **({"gpu": 1} if GPU_JOBS else {})}


def parallel_jobs(jobs, usual=None):
    """Return how many of the given number of model jobs run at once: GPUs set the limit, or `usual` without a GPU."""
    return min(jobs, GPU_JOBS or usual or jobs)


def threads_for(jobs):
    """Return the threads per job if this number of jobs shares all cores."""
    return max(1, all_cores() // max(1, jobs))


def model_threads(jobs):
    """Return the threads per model job, at most 8. Two jobs at a time keep all cores busy while one of them loads libraries or writes."""
    return min(8, threads_for(parallel_jobs(jobs, 2)))


def ram(gigabytes):
    """Return a resource function for `mem_mb` that requests more RAM at each retry."""
    return lambda wildcards, attempt: 1024 * gigabytes * attempt


def temp_unless_kept(path):
    """Return an output path, marked as temporary unless the config keeps hidden states."""
    return path if run_config.hidden_states.keep else temp(path)


include: "programs.smk"
include: "inputs.smk"
include: "items.smk"
