"""The package as people install it: built, put into an empty environment, and used there. `make test-install` runs these tests.

They need a package index, like `make env`.
"""

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REPOSITORY, Run, small_config

pytestmark = pytest.mark.install

LARGEST = 2_000_000  # bytes of the wheel
PARENT = """
import classlens_workflow

configfile: "parent.yaml"


module classlens:
    snakefile:
        classlens_workflow.SNAKEFILE
    config:
        config["classlens"]


use rule * from classlens as lens_*
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, REPOSITORY)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


class Environment:
    """An environment with a package and what it needs, in the versions of the lock file, and a folder to work in."""

    def __init__(self, folder: Path, *packages: str | Path):
        self.bin, self.folder = folder / "env" / "bin", folder / "work"
        self.folder.mkdir(parents=True)
        uv("venv", "--quiet", "--python", sys.executable, folder / "env")
        versions = folder / "versions.txt"
        pins = re.findall(r"^[a-z0-9][^ ]*==.*?(?= \\$)", (REPOSITORY / "envs" / "workflow.lock").read_text(encoding="utf-8"), re.MULTILINE)
        versions.write_text("\n".join(pins), encoding="utf-8")
        uv("pip", "install", "--quiet", "--compile-bytecode", "--python", self.bin / "python", "--constraints", versions, *packages)

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run a program of the environment, which must succeed, and return what it prints."""
        done = self.tried(program, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def tried(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(part) for part in (self.bin / program, *arguments)]
        path = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}  # neither this environment nor the checkout
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, env=path)


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel alone, in which the command has run a small config."""
    environment = Environment(tmp_path_factory.mktemp("an environment"), wheel)
    (environment.folder / "small.yaml").write_text(yaml.safe_dump(small_config()), encoding="utf-8")
    environment.run("classlens", "run", "small.yaml", "F2", "--cores", "2")
    return environment


def uv(*arguments: str | Path) -> None:
    subprocess.run([Path(sys.executable).with_name("uv"), *arguments], check=True)


def test_the_wheel_has_the_library_and_the_workflow_once(wheel: Path) -> None:
    assert wheel.stat().st_size <= LARGEST
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    parts = ("rules/", "config/", "profiles/", "workflow/report/", "workflow/scripts/")
    expected = {f"classlens_workflow/{name}" for name in tracked if name.startswith(parts)} | {
        "classlens_workflow/__init__.py", "classlens_workflow/Snakefile", "classlens_workflow/envs/classlens.yaml"
    }  # fmt: skip
    programs = "classlens_workflow/workflow/scripts/"
    expected = {name.removeprefix(programs) if name.startswith(f"{programs}classlens/") else name for name in expected}
    assert sorted(names) == sorted(expected)


def test_the_source_distribution_has_every_tracked_file(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    assert names - {"PKG-INFO"} == {name for name in tracked if (REPOSITORY / name).exists()}


def test_a_run_has_the_results_and_the_code_hashes_of_a_checkout(installed: Environment, tmp_path: Path) -> None:
    checkout = Run(tmp_path / "checkout")
    checkout.complete("F2", "--configfile", checkout.configure(small_config()))
    csv = "results/small/figures/mean_evolution.csv"
    assert (installed.folder / csv).read_bytes() == (checkout.folder / csv).read_bytes()
    for path in sorted((checkout.folder / "results").rglob("*.parquet")):
        name = path.relative_to(checkout.folder)
        here, there = (pq.read_schema(run.folder / name).metadata[b"code_sha256"] for run in (checkout, installed))
        assert here == there, name


def test_the_command_says_its_version(installed: Environment, wheel: Path) -> None:
    assert wheel.name.startswith(f"classlens-{installed.run('classlens', '--version').split()[1]}-")


def test_a_second_run_has_nothing_to_do(installed: Environment) -> None:
    assert "Nothing to be done" in installed.run("classlens", "run", "small.yaml", "F2", "--dry-run")


def test_the_command_says_what_it_calls(installed: Environment) -> None:
    called = r"^snakemake F2 --dry-run{} --snakefile .+/classlens_workflow/Snakefile.? --configfile small.yaml$"
    for given, cores in ((["--dry-run"], " --cores all"), (["--dry-run", "--cores=1"], " --cores=1")):
        assert re.search(called.format(cores), installed.run("classlens", "run", "small.yaml", "F2", *given), re.MULTILINE)


def test_configs_and_profiles_are_copied_once(installed: Environment) -> None:
    assert "classlens run mine/config/config.yaml" in installed.run("classlens", "init", "mine")
    for name in ("config/config.yaml", "config/paper.yaml", "profiles/slurm/config.yaml"):
        assert (installed.folder / "mine" / name).read_bytes() == (REPOSITORY / name).read_bytes()
    assert re.search(r"^total +\d+$", installed.run("classlens", "run", "mine/config/config.yaml", "--dry-run"), re.MULTILINE)
    refused = installed.tried("classlens", "init", "mine")
    assert (refused.returncode, refused.stderr) == (1, "error: mine/config exists: choose another folder\n")


def test_a_config_is_checked(installed: Environment) -> None:
    assert "vit_tiny_patch16_224" in installed.run("classlens", "check", "small.yaml")
    refused = installed.tried("classlens", "run", "none.yaml")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: none.yaml does not exist")


def test_the_explorer_is_made_and_opened(installed: Environment) -> None:
    missing = installed.tried("classlens", "explore", "results/small")
    assert (missing.returncode, missing.stderr.count("classlens run CONFIG explorer")) == (1, 1)
    installed.run("classlens", "run", "small.yaml", "explorer", "--cores", "2")
    assert "results/small/explorer/index.html" in installed.run("classlens", "explore", "results/small")


def test_the_library_is_there(installed: Environment) -> None:
    assert "Lens Trace" in installed.run("python", "-c", "import classlens; print(classlens.Lens.__name__, classlens.Trace.__name__)")


def test_another_workflow_uses_the_installed_one(installed: Environment) -> None:
    folder = installed.folder / "parent"
    folder.mkdir()
    (folder / "Snakefile").write_text(PARENT, encoding="utf-8")
    (folder / "parent.yaml").write_text(json.dumps({"classlens": small_config()}), encoding="utf-8")
    printed = installed.run("snakemake", "--directory", folder, "--snakefile", folder / "Snakefile", "--dry-run", "--cores", "1", "lens_F2")
    assert "lens_figure_mean_evolution" in printed


def test_snakedeploy_deploys_a_clone(tmp_path: Path, installed: Environment) -> None:
    """It writes the name of the Snakefile without the path of the clone, which a person completes."""
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, tmp_path / "clone"], check=True)
    tool = Environment(tmp_path / "tool", "snakedeploy")
    tool.run("snakedeploy", "deploy-workflow", tmp_path / "clone", tmp_path / "mine", "--commit", "HEAD", "--name", "classlens")
    snakefile = tmp_path / "mine" / "workflow" / "Snakefile"
    text = snakefile.read_text(encoding="utf-8")
    assert '"Snakefile"' in text
    snakefile.write_text(text.replace('"Snakefile"', repr(str(tmp_path / "clone" / "Snakefile"))), encoding="utf-8")
    arguments = ("--directory", tmp_path / "mine", "--snakefile", snakefile, "--dry-run", "--cores", "1", "F2")
    assert "figure_mean_evolution" in installed.run("snakemake", *arguments)
