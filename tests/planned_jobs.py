"""Print the jobs that the workflow plans for each of some configs, as a JSON list: rule, output files, and the shell command.

    python planned_jobs.py SNAKEFILE CONFIG...

Each config's workflow runs in the folder of its file. A program of its own, because Snakemake changes the folder and the log of the process
that it runs in; one for many configs, because importing Snakemake takes longer than a plan.
"""

import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

Jobs = list[dict[str, Any]]


def planned_jobs(snakefile: Path, configs: list[Path]) -> list[Jobs]:
    """What this program prints."""
    program = [sys.executable, __file__, str(snakefile), *map(str, configs)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def jobs_of(snakefile: Path, config: Path) -> Jobs:
    """The jobs of a config."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        settings = ConfigSettings(configfiles=[config])
        workflow = api.workflow(ResourceSettings(cores=1), config_settings=settings, snakefile=snakefile, workdir=config.parent)
        with redirect_stdout(sys.stderr):
            workflow.dag(DAGSettings(forceall=True)).printrulegraph()
        return [
            {"rule": job.rule.name, "outputs": list(map(str, job.output)), "command": job.shellcmd}
            for job in workflow._workflow.dag.jobs
            if job.shellcmd
        ]


if __name__ == "__main__":
    snakefile, *configs = map(Path, sys.argv[1:])
    print(json.dumps([jobs_of(snakefile.resolve(), config.resolve()) for config in configs]))
