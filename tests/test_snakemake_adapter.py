"""Test the workflow's uses of Snakemake's undocumented interfaces, each in a workflow of a few lines.

`make test-snakemake` runs this with the oldest and the newest version of Snakemake that are allowed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ADAPTER = Path(__file__).resolve().parent.parent / "rules" / "snakemake_adapter.smk"
WORKFLOW = f"""
import json
import logging
import shlex
from pathlib import Path


include: {str(ADAPTER)!r}


class Handler(logging.StreamHandler):
    def emit(self, record):
        if getattr(record, "event", None) == "job_finished":
            print(f"handled {{record.job_id}}", sorted(rules_without_command()), bool(self.formatter), bool(self.filters))


replace_output(lambda settings: Handler())


facts = {{
    "files": [str(path) for path in config_files()],
    "arguments": config_arguments(),
    "main": is_main_process(),
    "environments": jobs_have_environments(),
    "containers": jobs_have_containers(),
    "shared": shares_results(),
    "cores": all_cores(),
    "here": runs_here(),
}}


for name in ("a", "b"):

    rule:
        name:
            f"made_{{name}}"
        output:
            f"{{name}}.txt",
        benchmark:
            f"{{name}}.tsv"
        cache: shares_results()
        threads: 1
        resources:
            runtime=1,
        shell:
            "echo {{threads}} {{resources.runtime}} > {{output}}"

    follow_profile(f"made_{{name}}", "made")


describe("made_a", "the first")
remove_benchmarks_of_cached_rules()
facts["described"] = description("made_a")
facts["timed"] = [rule.name for rule in workflow.rules if rule.benchmark]
facts["offered"] = limit_resource("gpu", 3)
facts["offered again"] = limit_resource("gpu", 5)
if is_main_process():
    Path("facts.json").write_text(json.dumps(facts))


rule shared:
    output:
        text="{{place}}.copy",
    cache: shares_results()
    params:
        files=lambda wildcards, output: UnhashedArguments("text", ["--text", output.text]),
    shell:
        'echo ran >> ran.txt; set -- {{params.files}}; echo "$1" > "$2"'


rule all:
    default_target: True
    input:
        "a.txt",
        "b.txt",


onsuccess:
    Path("outputs.json").write_text(json.dumps(sorted(outputs_of_run())))
"""

PART = f"""
import json
from pathlib import Path


include: {str(ADAPTER)!r}


results = with_prefix("results")


rule made:
    output:
        f"{{results}}/made.txt",
    shell:
        "touch {{output}}"


rule left_out:
    output:
        "left_out.txt",


describe("made", "the first")
describe("left_out", "nothing")
rules_here = [item and item.name for item in (own_rule("made"), own_rule("left_out"))]
Path("facts.json").write_text(json.dumps([is_module(), results, *rules_here, description("left_out")]))
"""
WHOLE = """
module part:
    snakefile:
        "part.smk"
    prefix:
        "below"


use rule * from part exclude left_out as my_*


rule all:
    default_target: True
    input:
        rules.my_made.output,
"""

LOGGER = """
from snakemake_interface_logger_plugins.base import LogHandlerBase


class LogHandler(LogHandlerBase):
    writes_to_stream = True
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def emit(self, record):
        print("plugin:", getattr(record, "event", None))
"""


def run(folder: Path, *arguments: str, environment: dict[str, str] | None = None, text: str = WORKFLOW) -> str:
    (folder / "Snakefile").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(folder), "--snakefile", str(folder / "Snakefile")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def facts(folder: Path) -> dict[str, object]:
    return json.loads((folder / "facts.json").read_text(encoding="utf-8"))


def test_what_is_known_of_a_run(tmp_path: Path) -> None:
    config = tmp_path / "my config.yaml"
    config.write_text("x: 1\n", encoding="utf-8")
    run(tmp_path, "--configfile", str(config))
    found = facts(tmp_path)
    assert found["files"] == [str(config)]
    assert found["arguments"] == f"--configfile '{config}'"
    assert found["containers"] is False
    assert (found["main"], found["environments"], found["shared"], found["cores"], found["here"]) == (True, False, False, 2, True)
    assert (found["offered"], found["offered again"]) == (3, 3)


def test_a_profile_may_say_how_many_there_are_of_a_resource(tmp_path: Path) -> None:
    run(tmp_path, "--resources", "gpu=2")
    assert facts(tmp_path)["offered"] == 2


def test_rules_made_in_a_loop_follow_the_profile_under_one_name(tmp_path: Path) -> None:
    run(tmp_path, "--set-threads", "made=2", "--set-resources", "made:runtime=7")
    assert [(tmp_path / f"{name}.txt").read_text() for name in "ab"] == ["2 7\n", "2 7\n"]


def test_rules_made_in_a_loop_are_described(tmp_path: Path) -> None:
    assert "the first" in run(tmp_path, "--list")


def test_outputs_of_a_run_are_those_that_its_targets_need(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.json"
    run(tmp_path, "a.txt")
    assert json.loads(outputs.read_text(encoding="utf-8")) == ["a.txt"]
    run(tmp_path, "all")  # a.txt is there already
    assert json.loads(outputs.read_text(encoding="utf-8")) == ["a.txt", "b.txt"]
    run(tmp_path, "c.copy")
    assert json.loads(outputs.read_text(encoding="utf-8")) == ["c.copy"]


def test_a_module_has_its_prefix_and_the_names_that_the_whole_gives_to_its_rules(tmp_path: Path) -> None:
    (tmp_path / "part.smk").write_text(PART, encoding="utf-8")
    printed = run(tmp_path, text=WHOLE)
    assert json.loads((tmp_path / "facts.json").read_text()) == [True, "below/results", "my_made", None, None]
    assert (tmp_path / "below" / "results" / "made.txt").exists()
    assert "below/below" not in printed
    assert "the first" in run(tmp_path, "--list", text=WHOLE)


def test_a_workflow_by_itself_has_no_prefix(tmp_path: Path) -> None:
    run(tmp_path, "--list", text=PART)
    assert json.loads((tmp_path / "facts.json").read_text()) == [False, "results", "made", "left_out", "nothing"]


@pytest.mark.parametrize("cached", [True, False])
def test_rules_from_the_cache_are_not_timed(tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    run(tmp_path, *(["--cache"] if cached else []), environment={**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(cache)})
    found = facts(tmp_path)
    assert found["shared"] is cached
    assert found["timed"] == ([] if cached else ["made_a", "made_b"])


def test_paths_do_not_keep_results_from_being_shared(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for place in ("my place", "theirs"):
        run(tmp_path, f"{place}.copy", "--cache", environment={**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(cache)})
        assert (tmp_path / f"{place}.copy").read_text() == "--text\n"
    assert (tmp_path / "ran.txt").read_text() == "ran\n"


def test_another_handler_prints_instead_of_snakemake(tmp_path: Path) -> None:
    printed = run(tmp_path)
    assert printed.count("handled ") == 3
    assert "['all'] True True" in printed
    assert "Finished jobid" not in printed
    (kept,) = (tmp_path / ".snakemake" / "log").glob("*.log")
    assert "Finished jobid" in kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("option", [["--printshellcmds"], ["--verbose"], ["--debug-dag"], ["--quiet", "host"], ["--dry-run"]])
def test_options_about_output_are_for_snakemakes_own(option: list[str], tmp_path: Path) -> None:
    printed = run(tmp_path, *option)
    assert "handled " not in printed
    assert "Job stats:" in printed


def test_another_logger_prints_instead(tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "snakemake_logger_plugin_silent"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(LOGGER, encoding="utf-8")
    printed = run(tmp_path, "--logger", "silent", environment={**os.environ, "PYTHONPATH": str(plugin.parent)})
    assert "handled " not in printed
    assert "plugin: job_finished" in printed
