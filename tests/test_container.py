"""The image of envs/Dockerfile, made in a new Debian system: programs find all libraries, and a small run works for any user.

The packages are downloaded, so `make test` leaves these tests out (`make test-container`).
"""

import shlex

import pytest
import yaml
from conftest import REPOSITORY, small_config
from fresh_system import FreshSystem, missing

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

STRANGER = 12345
"""Number of a user who has no name in the image."""
IMPORT_ALL = """
import importlib, pkgutil, sys
from pathlib import Path

sys.path.insert(0, "/opt/classlens/workflow/scripts")
import classlens

names = [path.stem for path in Path(sys.path[0]).glob("*.py")]
names += [module.name for module in pkgutil.walk_packages(classlens.__path__, "classlens.")]
for name in names:
    importlib.import_module(name)
print(*names)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> FreshSystem:
    """What `docker build` makes, with a user who has no name there."""
    system = FreshSystem(tmp_path_factory.mktemp("image") / "root")
    system.build(REPOSITORY / "envs" / "Dockerfile", REPOSITORY)
    system.user = f"{STRANGER}:{STRANGER}"
    return system


def output(image: FreshSystem, *command: str) -> str:
    done = image.run(shlex.join(command))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_all_programs_and_modules_find_what_they_import(image: FreshSystem) -> None:
    names = output(image, "python", "-c", IMPORT_ALL).split()
    assert {path.stem for path in (REPOSITORY / "workflow" / "scripts").glob("*.py")} <= set(names)
    assert "classlens.figures.mean_evolution" in names


def test_the_code_is_compiled(image: FreshSystem) -> None:
    for folder in ("workflow/scripts", ".venv/lib/python3.11/site-packages/torch"):
        place = image.root / "opt" / "classlens" / folder
        assert {path.stem.partition(".")[0] for path in (place / "__pycache__").glob("*.pyc")} == {path.stem for path in place.glob("*.py")}


def test_the_image_holds_no_cache_of_packages(image: FreshSystem) -> None:
    assert not (image.root / "tmp" / "installer").exists()
    assert not (image.root / "root" / ".cache").exists()


def test_commands_of_the_documentation(image: FreshSystem) -> None:
    assert "F13" in output(image, *image.entry_point, "--list")
    assert "--fix" in output(image, "classlens", "check", "--help")


def test_a_stranger_runs_the_workflow_and_writes_to_the_working_folder_only(image: FreshSystem) -> None:
    image.folder, work, marker = "/work", image.root / "work", image.root / "marker"
    (work / "small.yaml").write_text(yaml.safe_dump(small_config()), encoding="utf-8")
    marker.touch()
    output(image, *image.entry_point, "--cores", "2", "F2", "--configfile", "small.yaml")
    assert (work / "results" / "small" / "figures" / "mean_evolution.svg").stat().st_uid == STRANGER
    began = marker.stat().st_mtime
    changed = [path for path in image.root.rglob("*") if path.lstat().st_mtime > began and not path.is_dir()]
    assert [path for path in changed if not path.is_relative_to(work)] == []
