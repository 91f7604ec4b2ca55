"""Bad days: what a person sees, that nothing is lost, and what is done again.

`make chaos` runs these tests with more kills and inputs, and writes what they saw as a page (`--faults`).
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from chaos import Chaos, digests
from conftest import REPOSITORY, Run
from PIL import Image

from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.storage import parquet

LIBRARY = REPOSITORY / "workflow" / "scripts"

ODD = "it's; touch OWNED"
"""A name that does harm wherever it is not quoted."""

CLASSES = ("$(touch OWNED) `touch OWNED`", '<script>alert("é")<!--', "{x} && touch OWNED $a$", "zebra", "| tee OWNED")
TARGETS = ("T1", "T5", "F2", "F11")
STATES = "results/mine/hidden_states/m/d/validation/00000.parquet"


def write_images(root: Path) -> None:
    """Five classes of two images, and masks, in folders with harmful names."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for number in range(2):
            path, mask = root / "validation" / name / f"{ODD} {number}.png", root / "masks" / "validation" / name / f"{ODD} {number}.png"
            for file in (path, mask):
                file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
            Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 10)).save(mask)


def config_of(run: Run) -> dict[str, Any]:
    root = run.folder.parent / f"{ODD} images"
    kwargs = {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}
    model = {"label": f"<b>{ODD}</b> $x$ {{y}}", "arch": "vit_tiny_patch16_224", "kwargs": kwargs, "weights": "random"}
    return {
        "run": "mine",
        "datasets": {"d": {"kind": "imagefolder", "root": str(root), "masks": str(root / "masks"), "images_per_class": None}},
        "models": {"m": {**model, "analyses": ["identifiability", "memories", "relevance"]}},
        "hidden_states": {"shard_size": 5},
        "figures": {"formats": ["svg", "png"]},
        "relevance": {"images": {f"validation/{CLASSES[0]}/{ODD} 0.png": [CLASSES[1], 2]}},
    }


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing disturbs, in folders with harmful names."""
    home = tmp_path_factory.mktemp("calm")
    run = Run(home / ODD)
    write_images(run.folder.parent / f"{ODD} images")
    run.complete(*TARGETS, "--configfile", run.configure(config_of(run)))
    return run


class Victim:
    """A copy of the calm run, to which something happens.

    Attributes:
        run: the copy.
        images: its images.
        config: its config.
        targets: what is asked for.
    """

    def __init__(self, calm: Run, folder: Path):
        shutil.copytree(calm.folder.parent, folder, dirs_exist_ok=True)
        self.run = Run(folder / calm.folder.name)
        self.images = folder / f"{ODD} images"
        self.config = config_of(self.run)
        self.targets = TARGETS
        self._expected = digests(self.run, "mine")

    def file(self, name: str) -> Path:
        """A file of the run or, where it begins with a split, of the images."""
        return (self.images if name.startswith(("validation", "masks")) else self.run.folder) / name

    def overlook_images(self) -> None:
        """Have the workflow take the images for those that it knows, as it does where a file system keeps no change time."""
        memory = self.run.folder / ".snakemake" / "classlens" / "fingerprints.json"
        known = json.loads(memory.read_text(encoding="utf-8"))
        plan = Plan(resolve(self.config), "results/mine")
        plan.datasets["d"].manifest_content("validation")
        for place, groups in plan.fingerprints.groups.items():
            known["groups"][place] = dict(zip(groups, known["groups"][place].values(), strict=True))
        memory.write_text(json.dumps(known), encoding="utf-8")

    def go(self, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the workflow, its command after another one."""
        arguments = (*self.targets, "--configfile", self.run.configure(self.config))
        if not before:
            return self.run.snakemake(*arguments)
        return subprocess.run([*before, *self.run.command(*arguments)], capture_output=True, text=True, check=False)

    def refusal(self, before: tuple[str, ...] = ()) -> str:
        """The one line with which a run ends that cannot go on."""
        done = self.go(before)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, done.stderr
        return lines[0]

    def recovery(self, before: tuple[str, ...] = ()) -> dict[str, Any]:
        """Give the same command again: how many results are lost or other than before, and how many jobs it ran (`fault_page.Fault`)."""
        done = self.go(before)
        assert done.returncode == 0, done.stdout + done.stderr
        found = digests(self.run, "mine")
        lost = sum(found.get(name) != digest for name, digest in self._expected.items())
        jobs = re.findall(r"^\[\d+ of \d+, ", done.stderr, re.MULTILINE)
        return {"lost": lost, "again": f"{len(jobs)} jobs"}


@pytest.fixture
def victim(calm: Run, tmp_path: Path) -> Victim:
    return Victim(calm, tmp_path / "home")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """Flip a bit of a file (of a table in its first column), as a disk does: without a trace in its dates."""
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[40] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def shrink(path: Path) -> None:
    Image.new("L", (3, 3)).save(path)


IMAGE = f"validation/{CLASSES[1]}/{ODD} 1.png"
MASK = f"masks/{IMAGE}"
MODEL = "results/mine/models/m"
MANIFEST = "results/mine/data/d/validation/manifest.parquet"
PROJECTIONS = "results/mine/projections/m/d/validation/00000.parquet"
KEYS = "results/mine/memory_keys/m/d/validation/00000.parquet"
MEASURES = "results/mine/identifiability/m/d.parquet"
CHAIN = [STATES, PROJECTIONS, MEASURES, "results/mine/tables/identifiability.csv"]
"""Results of which each is made from the one before."""

MEMORIES = "results/mine/memories/m/d/interpretable_values.parquet"

UNSEEN = "an image changes while the workflow runs"
DAMAGES: dict[str, tuple[str, Callable[[Path], Any], str, str]] = {
    # what happens: to which file, how, what is wanted anew, and what the message must say
    "a shard of hidden states is cut short after it was written": (STATES, cut, PROJECTIONS, r"00000\.parquet cannot be read.*: delete it"),
    "a bit of a shard of hidden states flips": (STATES, flip, PROJECTIONS, r"/00000\.parquet cannot be read .*checksum.*: delete it"),
    "a bit of a shard of projections flips": (PROJECTIONS, flip, MEASURES, r"/00000\.parquet cannot be read .*checksum"),
    "a bit of a shard of memory keys flips": (KEYS, flip, MEMORIES, r"/00000\.parquet cannot be read .*checksum"),
    "a bit of the weights flips": (f"{MODEL}/model.safetensors", flip, STATES, r"not the file that model\.json describes: delete both"),
    "a bit of model.json flips": (f"{MODEL}/model.json", flip, STATES, r"model\.json cannot be read .*: delete"),
    "a bit of a manifest flips": (MANIFEST, flip, STATES, r"manifest\.parquet cannot be read"),
    "an image is cut short": (IMAGE, cut, STATES, r"1\.png cannot be decoded .*: replace it, or set on_bad_image: skip"),
    UNSEEN: (IMAGE, flip, STATES, r"1\.png has changed since the manifest was made"),
    "a mask has another size than its image": (MASK, shrink, STATES, r"mask .*1\.png is 3 x 3 pixels and its image 40 x 40"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_found_by_name_and_mended(victim: Victim, note_fault: Callable[..., None], what: str) -> None:
    name, spoil, wanted, message = DAMAGES[what]
    path = victim.file(name)
    if what == UNSEEN:
        assert victim.go().returncode == 0  # so that the images are known where they are now
    content, stat = path.read_bytes(), path.stat()
    victim.file(wanted).unlink()
    spoil(path)
    if what == UNSEEN:
        victim.overlook_images()
    victim.targets = (wanted,)
    seen = victim.refusal()
    assert re.search(message, seen), seen
    assert not victim.file(wanted).exists()
    if victim.images in path.parents:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:  # as the message says
        for file in path.parent.iterdir() if "delete both" in seen else [path]:
            file.unlink()
    note_fault(what, seen, **victim.recovery())


def test_harmful_names_are_names(calm: Run) -> None:
    assert not [path for path in calm.folder.parent.rglob("*") if path.name == "OWNED"]
    manifest = parquet.read_table(calm.folder / MANIFEST).to_pylist()
    assert {row["class_id"] for row in manifest} == set(CLASSES)
    for path in calm.folder.glob("results/mine/figures/*.svg"):
        assert not xml.etree.ElementTree.parse(path).getroot().findall(".//{*}script")
    label = config_of(calm)["models"]["m"]["label"]
    assert label in (calm.folder / "results/mine/figures/mean_evolution.csv").read_text(encoding="utf-8")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a key of the config is misspelt": ({"protcol": "paper"}, r"`protcol` is not known: did you mean `protocol`\?"),
    "results of another protocol are there": (
        {"protocol": "paper"},
        r"results/mine holds results of the protocol 'corrected'.*another `run`",
    ),
    "a class has fewer images than asked for": ({"datasets.d.images_per_class": 3}, r"has 2 images, but the config needs 3"),
    "the data set is not there": ({"datasets.d.root": "/nowhere"}, r"/nowhere/validation does not exist"),
    "the masks are not there": ({"datasets.d.masks": "/nowhere"}, r"masks folder /nowhere does not exist"),
    "a checkpoint is not there": ({"models.m.weights": "no.pt"}, r"`models\.m\.weights`: there is no file no\.pt"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_before_anything_starts(victim: Victim, note_fault: Callable[..., None], what: str) -> None:
    changes, message = REFUSED[what]
    before = digests(victim.run, "mine")
    for path, value in changes.items():
        place = victim.config
        *way, key = path.split(".")
        for part in way:
            place = place[part]
        place[key] = value
    seen = victim.refusal()
    assert re.search(message, seen), seen
    lost = sum(digests(victim.run, "mine").get(name) != digest for name, digest in before.items())
    note_fault(what, seen, lost=lost)


def test_a_results_folder_of_another_run(victim: Victim, note_fault: Callable[..., None]) -> None:
    victim.file("results/mine").rename(victim.file("results/other"))
    victim.config["run"] = "other"
    seen = victim.refusal()
    assert re.search(r"results/other holds results of the run 'mine', and the config's is 'other'", seen)
    victim.file("results/other").rename(victim.file("results/mine"))
    victim.config["run"] = "mine"
    note_fault("the results folder is another run's", seen, **victim.recovery())


def test_two_start_the_same_run(victim: Victim, note_fault: Callable[..., None]) -> None:
    victim.file(CHAIN[-1]).unlink()
    program = f"import sys, time, types; sys.path.insert(0, {str(LIBRARY)!r}); from classlens.config import run_folder\n"
    program += "config = types.SimpleNamespace(run='mine', protocol='corrected')\n"
    program += "run_folder.claim('results/mine', config); print('mine', flush=True); time.sleep(600)"
    first = subprocess.Popen([sys.executable, "-c", program], cwd=victim.run.folder, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"mine\n"
    seen = victim.refusal()
    assert f"results/mine is in use by process {first.pid} of " in seen
    first.kill()  # the lock ends with its process, however that ends
    first.wait()
    note_fault("two start the same run", seen, **victim.recovery())


@pytest.mark.parametrize("newer", [STATES, MANIFEST, f"{MODEL}/model.safetensors"])
def test_clocks_that_disagree(victim: Victim, note_fault: Callable[..., None], newer: str) -> None:
    """Small files are compared by content. Of a larger one, a date that is ahead makes the steps after it be done again."""
    stat = victim.file(newer).stat()
    ahead = stat.st_mtime_ns + 3600 * 10**9
    os.utime(victim.file(newer), ns=(ahead, ahead))
    note_fault("the date of a file of less than 1 MB is an hour ahead", "nothing: such files are compared by content", **victim.recovery())


def mounted(options: str, folder: Path, then: str = "true") -> tuple[str, ...]:
    """What to put before a command that shall see an empty file system in the place of a folder, once another command was run there."""
    script = f'mount -t tmpfs -o {options} tmpfs {shlex.quote(str(folder))} && (cd {shlex.quote(str(folder))} && {then}) && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


mounting = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0, reason="needs the right to mount"
)


@mounting
def test_a_full_disk(victim: Victim, note_fault: Callable[..., None]) -> None:
    for result in CHAIN:
        victim.file(result).unlink()
    victim.targets = ("T1",)
    seen = victim.refusal(mounted("size=4k", victim.file(STATES).parent, "touch another"))  # Snakemake removes empty folders
    assert "No space left on device" in seen
    assert "00000.parquet" in seen
    assert not list(victim.file(STATES).parent.glob(".*"))
    note_fault("the disk is full", seen, **victim.recovery())


@mounting
def test_results_that_cannot_be_written(victim: Victim, note_fault: Callable[..., None]) -> None:
    victim.file(CHAIN[-1]).unlink()
    seen = victim.refusal(mounted("ro", victim.file("results")))
    assert re.search(r"results.*: Read-only file system; results cannot be written there", seen), seen
    note_fault("the results folder cannot be written", seen, **victim.recovery())


@mounting
def test_a_disk_that_is_full_from_the_start(victim: Victim, note_fault: Callable[..., None]) -> None:
    victim.file(CHAIN[-1]).unlink()
    seen = victim.refusal(mounted("size=4k", victim.file("results/mine"), "head --bytes=4096 /dev/zero > another"))
    assert re.search(r"results/mine.*: No space left on device; results cannot be written there", seen), seen
    note_fault("the disk is full from the start", seen, **victim.recovery())


@mounting
def test_data_that_can_only_be_read(victim: Victim, note_fault: Callable[..., None]) -> None:
    for result in CHAIN:
        victim.file(result).unlink()
    victim.targets = ("T1",)
    images = shlex.quote(str(victim.images))
    script = f'mount --bind {images} {images} && mount -o remount,bind,ro {images} && ! touch {images}/x && exec "$@"'
    note_fault("the data can only be read", "nothing", **victim.recovery(("unshare", "--mount", "sh", "-c", script, "sh")))


NO_NETWORK = """
import sys
def refuse(event, args):
    named = event in ("socket.getaddrinfo", "socket.gethostbyname")
    if named or event in ("socket.connect", "socket.sendto") and isinstance(args[-1], tuple):  # others are sockets of this machine
        open({log!r}, "a").write(f"{{sys.argv}} {{event}} {{args[1:]}}\\n")
sys.addaudithook(refuse)
"""


def test_the_network_is_not_asked(calm: Run, victim: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python process of a run notes what it asks of the network."""
    log = tmp_path / "network.log"
    (tmp_path / "usercustomize").mkdir()
    (tmp_path / "usercustomize" / "sitecustomize.py").write_text(NO_NETWORK.format(log=str(log)), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "usercustomize"))
    probe = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9)); socket.getaddrinfo('localhost', 9)"
    subprocess.run([sys.executable, "-c", probe], check=True)
    assert {"socket.connect", "socket.getaddrinfo"} <= set(log.read_text(encoding="utf-8").split())
    log.unlink()
    for result in CHAIN:
        victim.file(result).unlink()
    victim.targets = ("T1",)
    assert victim.recovery(("env",))["lost"] == 0  # a new process, which reads the PYTHONPATH
    assert not log.exists(), log.read_text(encoding="utf-8")


def test_nothing_in_a_config_is_executed(victim: Victim) -> None:
    path = victim.run.folder / "evil.yaml"
    path.write_text('run: !!python/object/apply:os.system ["touch OWNED"]\n', encoding="utf-8")
    done = victim.run.snakemake("--configfile", path, "--dry-run")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (victim.run.folder / "OWNED").exists()


SLEEPER = """
import sys, time
import cli
def main(args, settings):
    print("begun", flush=True)
    time.sleep(600)
cli.run(main, cli.Parser(""), [])
"""


@pytest.mark.parametrize("started_by_snakemake", [True, False])
def test_a_program_ends_with_the_snakemake_that_started_it(started_by_snakemake: bool, tmp_path: Path) -> None:
    """And one that is run by hand goes on when its terminal's process has ended."""
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER, encoding="utf-8")
    mark = 'os.environ["CLASSLENS_STARTED_BY"] = str(os.getpid());' if started_by_snakemake else ""
    start = f"p = subprocess.Popen([sys.executable, {str(script)!r}]); print(p.pid, flush=True); p.wait()"
    parent = f"import os, subprocess, sys; {mark} {start}"
    started = subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(LIBRARY)}
    )
    assert started.stdout is not None
    program = psutil.Process(int(started.stdout.readline()))
    assert started.stdout.readline() == "begun\n"
    started.kill()
    started.wait()
    _, alive = psutil.wait_procs([program], timeout=30 if started_by_snakemake else 3)
    assert bool(alive) != started_by_snakemake
    for process in alive:
        process.kill()


def test_kills_at_any_moment(pytestconfig: pytest.Config, note_fault: Callable[..., None], tmp_path: Path) -> None:
    tally = Chaos(tmp_path, seed=0).go(pytestconfig.getoption("kills"))
    for victim, times in tally.kills.items():
        again = f"{tally.cut[victim]} jobs that were cut short"
        note_fault(f"kill -9 of {victim} at a random moment", "the same command goes on where it was", times=times, again=again)
