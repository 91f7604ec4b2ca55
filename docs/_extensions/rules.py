"""Print the workflow's rules and their dependencies in a run of the demo, as JSON.

This is a separate program, because Snakemake changes the working folder and the logging of its process.
"""

import json
import re
import sys
import tempfile
from collections import defaultdict
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.io import strip_wildcard_constraints
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def general(paths: list[str], config: dict[str, Any]) -> list[str]:
    """Return paths without duplicates, with wildcards instead of the config's names of run, models and data sets."""
    models = [rf"{re.escape(name)}(?:_random(?:_\d+)?)?" for name in config["models"]]
    found = []
    for path in paths:
        path = re.sub(rf"^results/{re.escape(config['run'])}/", "results/{run}/", path)
        for names, wildcard in ((models, "model"), (map(re.escape, config["datasets"]), "dataset")):
            path = re.sub(rf"/({'|'.join(names)})(?=[/_.]|$)", f"/{{{wildcard}}}", path)
        found.append(re.sub(r"/\d{5}(?=\.)", "/{shard}", path))
    return list(dict.fromkeys(found))


def program(rule: Any) -> str | None:
    """Return the script of a rule, or None for a rule without a program."""
    if rule.shellcmd is None:
        return None
    named = rule.params["program"]
    return named if isinstance(named, str) else named[0]


def described(workflow: Any, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return name, file, description, program, inputs, outputs and predecessors of every rule."""
    inputs, after = defaultdict(list), defaultdict(set)
    for job in sorted(workflow.dag.jobs, key=lambda job: (job.rule.name, sorted(map(str, job.output)))):
        inputs[job.rule.name] += map(str, job.input)
        after[job.rule.name] |= {other.rule.name for other in workflow.dag.dependencies[job]}
    return [
        {
            "name": rule.name,
            "file": str(Path(rule.snakefile).relative_to(REPOSITORY)),
            "makes": rule.docstring,
            "program": program(rule),
            "inputs": general(inputs[rule.name], config),
            "outputs": general([strip_wildcard_constraints(str(path)) for path in rule.output], config),
            "after": sorted(after[rule.name]),
        }
        for rule in workflow.rules
    ]


def main() -> None:
    """Print the rules of the demo's workflow."""
    with tempfile.TemporaryDirectory() as folder, SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(ResourceSettings(cores=1), snakefile=REPOSITORY / "Snakefile", workdir=Path(folder))
        with redirect_stdout(sys.stderr):
            workflow.dag(DAGSettings(forceall=True)).printrulegraph()
        found = workflow._workflow
        print(json.dumps(described(found, found.globals["config"])))


if __name__ == "__main__":
    main()
