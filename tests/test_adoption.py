"""Archives: `publish` packs what the plan names, and `adopt` takes nothing else."""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import archives
import pytest
import yaml
from archives import Members, member, members, rewrite, with_manifest
from conftest import REPOSITORY, Run
from planned_jobs import planned_jobs

from classlens.archive import publication
from classlens.archive.adoption import adopt
from classlens.config import published, settings
from classlens.config.paths import escaped
from classlens.config.plan import Plan
from classlens.config.reading import resolve, sections_of
from classlens.errors import InputError

TABLE = "tables/identifiability.csv"
ANALYSES = list(settings.ANALYSES)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archives.publish(tmp_path_factory.mktemp("published"))


def adopted(archive: Path, home: Path) -> Path:
    return adopt(archive, home)


def refusal(archive: Path, home: Path) -> str:
    """The one line with which an archive is refused; nothing is left of it."""
    with pytest.raises(InputError) as caught:
        adopted(archive, home)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 700
    assert list(home.iterdir()) == []
    return message


def test_what_is_published_is_what_the_plan_names(archive: Path, tmp_path: Path) -> None:
    plan = Plan(archives.resolved(), str(archive.parent / "small"))
    names = publication.files(plan)
    assert [item.name for item, _ in members(archive)] == ["published.json", "config.yaml", *names]
    assert {"tables/stray.csv", "secret.txt", "projections/m/d/validation/00099.parquet", "explorer/index.html"}.isdisjoint(names)
    folder = adopted(archive, tmp_path / "results")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == sorted(
        ["published.json", "config.yaml", *names]
    )
    for name in names:
        assert (folder / name).read_bytes() == (archive.parent / "small" / name).read_bytes()
    assert not any(path.is_symlink() or path.stat().st_mode & 0o111 for path in folder.rglob("*") if not path.is_dir())


def test_adopted_results_are_published_as_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    folder = adopted(archive, tmp_path)
    config = resolve(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    publication.publish(folder, Plan(config, str(folder)), tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_an_incomplete_run_is_not_published(tmp_path: Path) -> None:
    plan = archives.write_results(tmp_path, archives.resolved())
    (tmp_path / "small" / TABLE).unlink()
    with pytest.raises(InputError, match=rf"small lacks {TABLE} \(a link does not count\): run the workflow first$"):
        publication.publish(tmp_path / "small", plan, tmp_path / "small.tar")
    (tmp_path / "secret").write_text("of somebody else")
    (tmp_path / "small" / TABLE).symlink_to(tmp_path / "secret")
    (tmp_path / "small" / "models/m/model.json").unlink()
    with pytest.raises(InputError, match=r"small lacks models/m/model.json and 1 more of \d+ files"):
        publication.publish(tmp_path / "small", plan, tmp_path / "small.tar")
    assert not (tmp_path / "small.tar").exists()


def imagefolder(home: Path, masks: bool) -> dict[str, Any]:
    for kind in ("images", "masks") if masks else ("images",):
        for split in ("validation", "test"):
            (home / kind / split / "a").mkdir(parents=True)
            (home / kind / split / "a" / "1.png").touch()
    return {"kind": "imagefolder", "root": str(home / "images"), "masks": str(home / "masks") if masks else None, "images_per_class": None,
            "probe_images_per_class": None}  # fmt: skip


NOT_PUBLISHED = ("hidden_states/", "memory_keys/", "figures/", "explorer", "report/", "logs/", "reproduction.csv", "warnings.json")


def test_the_list_of_files_is_what_the_rules_make(tmp_path: Path) -> None:
    """For all analyses, and for each alone, with masks and without."""
    model = archives.small_config()["models"]["m"]
    runs = []
    for number, analyses in enumerate([ANALYSES, *([name] for name in ANALYSES)]):
        for masks in (True, False):
            run = Run(tmp_path / f"{number} {masks}")
            data = {"d": imagefolder(run.folder, masks), "e": {"kind": "shapes", "num_classes": 5}}
            models = {"m": {**model, "dataset": "d"}, "n": {**model, "dataset": "d", "analyses": ["identifiability"]}}
            config = archives.small_config(datasets=data, models=models, analyses=analyses)
            runs.append((config, run.configure(config)))
    for (config, path), jobs in zip(runs, planned_jobs(REPOSITORY / "Snakefile", [path for _, path in runs]), strict=True):
        os.chdir(path.parent)
        made = {output.removeprefix("results/small/") for job in jobs for output in job["outputs"]}
        wanted = {
            name
            for name in made
            if not name.startswith(NOT_PUBLISHED) and not name.endswith((".safetensors", "/images", "_vectors.parquet", "_tokens.parquet"))
        }
        wanted = {name for name in wanted if not (name.startswith("predictions/") and name.count("/") == 4)}  # shards of predictions
        assert set(publication.files(Plan(resolve(config), "results/small"))) == wanted, config["analyses"]


def evil(name: str = "evil.sh", **attributes: Any) -> Callable[[Members], Members]:
    """A member more, which the manifest lists."""

    def change(parts: Members) -> Members:
        def listed(manifest: dict[str, Any]) -> None:
            manifest["files"][name] = hashlib.sha256(b"").hexdigest()
            manifest["bytes"][name] = 0

        return [*with_manifest(parts, listed), member(name, b"", **attributes)]

    return change


def instead(name: str, **attributes: Any) -> Callable[[Members], Members]:
    """A member of another kind in the place of one."""
    return lambda parts: [member(name, b"", **attributes) if item.name == name else (item, content) for item, content in parts]


def said(place: str, value: Any) -> Callable[[Members], Members]:
    """A manifest with another value in a place, `>` between keys; the config file is made to agree with it."""

    def change(parts: Members) -> Members:
        def changed(manifest: dict[str, Any]) -> None:
            *way, key = place.split(">")
            target = manifest
            for part in way:
                target = target[part]
            target[key] = value

        parts = with_manifest(parts, changed)
        text = yaml.safe_dump(json.loads(parts[0][1])["config"], sort_keys=False).encode()

        def agreed(manifest: dict[str, Any]) -> None:
            manifest["files"]["config.yaml"], manifest["bytes"]["config.yaml"] = hashlib.sha256(text).hexdigest(), len(text)

        parts = with_manifest(parts, agreed)
        return [parts[0], member("config.yaml", text), *parts[2:]]

    return change


def manifest_bytes(content: bytes) -> Callable[[Members], Members]:
    return lambda parts: [member("published.json", content), *parts[1:]]


def twice(name: str) -> Callable[[Members], Members]:
    return lambda parts: [part for item in parts for part in ([item, item] if item[0].name == name else [item])]


def swapped(parts: Members) -> Members:
    return [*parts[:3], parts[4], parts[3], *parts[5:]]


def everything_twice(parts: Members) -> Members:
    return [*parts, *parts]


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
HARDLINK = {"type": tarfile.LNKTYPE, "linkname": "config.yaml"}
REFUSED: dict[str, tuple[Callable[[Members], Members], str]] = {
    "a page of the explorer": (evil("explorer/index.html"), "lists explorer/index.html, which no run of this config publishes"),
    "a figure": (evil("figures/mean_evolution.svg"), "lists figures/mean_evolution.svg, which no run"),
    "a page of the report": (evil("report/front_page.html"), "lists report/front_page.html, which no run"),
    "a program": (evil("tables/evil.sh"), "lists tables/evil.sh, which no run"),
    "a table of another name": (evil("tables/evil.csv"), "lists tables/evil.csv, which no run"),
    "a shard more": (evil("projections/m/d/validation/00002.parquet"), "00002.parquet, which no run"),
    "a path outside": (evil("../evil.sh"), "../evil.sh would lie outside the results"),
    "an absolute path": (evil("/tmp/evil.sh"), "/tmp/evil.sh would lie outside the results"),
    "a link": (instead(TABLE, **LINK), f"{TABLE} is not a plain file"),
    "a hard link": (instead(TABLE, **HARDLINK), f"{TABLE} is not a plain file"),
    "a device": (instead(TABLE, type=tarfile.CHRTYPE), f"{TABLE} is not a plain file"),
    "a queue": (instead(TABLE, type=tarfile.FIFOTYPE), f"{TABLE} is not a plain file"),
    "a sparse file": (instead(TABLE, type=tarfile.GNUTYPE_SPARSE), f"{TABLE} is not a plain file"),
    "a folder": (instead(TABLE, type=tarfile.DIRTYPE), f"{TABLE} is not a plain file"),
    "an executable file": (instead(TABLE, mode=0o755), f"{TABLE} is not as it was published (its header differs)"),
    "a file twice": (twice(TABLE), f"it holds {TABLE} twice"),
    "all files twice": (everything_twice, "published.json is not listed in its published.json"),
    "the manifest twice": (twice("published.json"), "published.json is not listed in its published.json"),
    "another order": (swapped, "which its published.json lists: get it again"),
    "a link first": (instead("published.json", **LINK), "does not begin with published.json"),
    "an empty manifest": (manifest_bytes(b""), "its published.json cannot be read"),
    "a manifest that is cut short": (manifest_bytes(b'{"run": "sm'), "its published.json cannot be read"),
    "a manifest that is a list": (manifest_bytes(b"[]"), "[] is not of type 'object'"),
    "a manifest that is deep": (manifest_bytes(b"[" * 10**6), "its published.json is nested too deeply"),
    "a deep config": (manifest_bytes(b'{"config": ' + b'{"a":' * 900 + b"1" + b"}" * 901), "is not as `make publish` writes it"),
    "a name twice in the manifest": (manifest_bytes(b'{"run": "a", "run": "b"}'), "the name 'run' appears twice"),
    "a manifest in UTF-16": (manifest_bytes("{}".encode("utf-16")), "published.json is not as `make publish` writes it"),
    "a number of 10,000 digits": (manifest_bytes(b'{"run": ' + b"1" * 10_000 + b"}"), "its published.json cannot be read"),
    "a list for a run": (said("run", []), "`run`: [] is not of type 'string'"),
    "a key more": (said("more", 1), "`more` is not known"),
    "another run than the config's": (said("run", "other"), "says run 'other', and its config says run 'small'"),
    "a run of another name": (said("config>run", "../x"), "config key `run`"),
    "10^12 images": (said("datasets>d>images>validation", 10**12), "1000000000000 is greater than the maximum"),
    "2 * 10^9 images": (said("datasets>d>images>validation", 2 * 10**9), "set hidden_states.shard_size to"),
    "images as a text": (said("datasets>d>images>validation", "10"), "'10' is not of type 'integer'"),
    "no images of the split": (said("datasets>d>images", {"test": 1}), "which no run of this config publishes"),
    "a split that the config has not": (said("datasets>d>images>other", 1), "does not describe the data sets of its config"),
    "a data set more": (said("datasets>e", {"images": {"validation": 1}, "masks": True}), "does not describe the data sets"),
    "no data set": (said("datasets", {}), "does not describe the data sets"),
    "more images than files": (said("datasets>d>images>validation", 11), "does not list class_logits/m/d/validation/00002.parquet"),
    "no masks": (said("datasets>d>masks", False), "which no run of this config publishes"),
    "a config with folders": (said("config>datasets>d>root", "/home/me/images"), "holds a config that names folders"),
    "a config with a variable": (said("config>datasets>d>root", "$HOME"), "holds a config that names folders"),
    "a config without a key": (said("config>datasets>d", {"kind": "shapes"}), "holds a config that names folders, or lacks keys"),
    "a config with an unknown key": (said("config>__use_yte__", True), "`__use_yte__` is not known"),
    "a config with a figure style": (said("config>figures>style", "x"), "holds a config that names folders"),
    "a size that is none": (said(f"bytes>{TABLE}", -1), "-1 is less than the minimum of 0"),
    "a size of 20 GB": (said(f"bytes>{TABLE}", 20 * 10**9), "bytes and lists files with 20,0"),
    "a size that is wrong": (said(f"bytes>{TABLE}", 7), f"{TABLE} is not as it was published (its header differs)"),
    "a file without size": (said("bytes", {}), "does not give the size and the sha256 of each file"),
    "a hash that is none": (said(f"files>{TABLE}", "x"), f"{TABLE} is not as it was published; get"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_publish_does_not_write_is_refused(archive: Path, tmp_path: Path, what: str, note_fault: Callable[..., None]) -> None:
    change, message = REFUSED[what]
    path = tmp_path / "changed.tar"
    rewrite(path, change(members(archive)))
    seen = refusal(path, tmp_path / "results")
    assert message in seen
    note_fault("an archive for `make adopt` that `make publish` did not write", "what is wrong with it, in one line")


def test_another_config_file_is_refused(archive: Path, tmp_path: Path) -> None:
    parts = members(archive)
    evil = b"__use_yte__: true\n"

    def listed(manifest: dict[str, Any]) -> None:
        manifest["files"]["config.yaml"], manifest["bytes"]["config.yaml"] = hashlib.sha256(evil).hexdigest(), len(evil)

    rewrite(tmp_path / "changed.tar", [with_manifest(parts, listed)[0], member("config.yaml", evil), *parts[2:]])
    assert "lists a config.yaml that differs from its config" in refusal(tmp_path / "changed.tar", tmp_path / "results")


def test_a_sparse_member_of_20_gb_is_refused_at_once(archive: Path, tmp_path: Path) -> None:
    """As GNU tar writes it: a few kilobytes that would unpack to 20 GB."""
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": TABLE, "GNU.sparse.realsize": str(20 * 10**9)}
    content = b"1\n19999999999\n1\n".ljust(512, b"\0") + b"x"
    sparse = member(f"GNUSparseFile.0/{TABLE}", content, pax_headers=headers)
    rewrite(tmp_path / "sparse.tar", [sparse if item.name == TABLE else (item, data) for item, data in members(archive)])
    assert (tmp_path / "sparse.tar").stat().st_size < 10**6
    assert "is refused" in refusal(tmp_path / "sparse.tar", tmp_path / "results")


def test_files_that_do_not_fit_the_disk_are_refused(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert "GB are free: make room for it" in refusal(archive, tmp_path / "results")


@pytest.mark.parametrize("extra", [b"x", b"\0" * 10240, b"x" * 512])
def test_nothing_follows_an_archive(archive: Path, tmp_path: Path, extra: bytes) -> None:
    (tmp_path / "longer.tar").write_bytes(archive.read_bytes() + extra)
    assert "before its end: get it again" in refusal(tmp_path / "longer.tar", tmp_path / "results")


def test_a_results_folder_that_is_a_link_is_not_replaced(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "small").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="results/small exists already"):
        adopted(archive, tmp_path / "results")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["small"]


@pytest.mark.parametrize("name", ["$(touch OWNED) `x`", "$HOME", "~", "~root", "-x", "None", "a b's"])
def test_folders_with_any_name_travel_by_that_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    for split in ("validation", "test"):
        (root / split / "a").mkdir(parents=True)
        (root / split / "a" / "1.png").touch()
    data = {"kind": "imagefolder", "root": escaped(str(root)), "images_per_class": None, "probe_images_per_class": None}
    archive = archives.publish(tmp_path / "published", datasets={"d": data})
    folder = adopted(archive, tmp_path / "results")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert Path(resolve(config).datasets["d"].root or "").name == name
    assert str(tmp_path) not in (folder / "config.yaml").read_text(encoding="utf-8")


def paths_of(section: type[settings.Section]) -> int:
    """Return the number of settings that are paths, in a section and the sections in it."""
    fields = section.model_fields.values()
    inner = [kind for field in fields for kind in sections_of(field.annotation)]
    return sum("PathMark" in f"{field.annotation} {field.metadata}" for field in fields) + sum(map(paths_of, inner))


def test_every_path_of_a_config_is_made_portable() -> None:
    """No setting that is marked as a path keeps its folder."""
    model = {"arch": "x", "weights": "/secret/x", "class_embedding": "/secret/x"}
    data = {"kind": "table", **dict.fromkeys(("root", "images", "masks", "classes", "names"), "/secret/x")}
    text = {"arch": "x", "class_embedding": {"text": "openclip", "weights": "/secret/x"}}
    config = resolve(
        {"datasets": {"d": data}, "models": {"m": model, "n": text}, "hub": {"cache": "/secret/x"}, "figures": {"style": "/secret/x"}}
    )
    assert config.model_dump_json().count("/secret") == paths_of(settings.Config)
    assert "/secret" not in json.dumps(published.portable(config))


DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut short": (lambda path: os.truncate(path, 30), r"published.json cannot be read \(.*\); remove .*, and adopt the archive again"),
    "a list": (lambda path: path.write_text("[]"), "published.json is not as `make publish` writes it"),
    "deep": (lambda path: path.write_text("[" * 10**5), "published.json is nested too deeply"),
    "not UTF-8": (lambda path: path.write_bytes(b"\xff" * 9), "published.json cannot be read"),
    "a link beside it": (
        lambda path: (path.parent / "tables" / "x.csv").symlink_to("/etc/passwd"),
        "x.csv is a link, and adopted results have none",
    ),
    "a folder that is a link": (
        lambda path: (path.parent / "explorer").symlink_to("/tmp"),
        "explorer is a link, and adopted results have none",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_folder_of_adopted_results(archive: Path, tmp_path: Path, what: str) -> None:
    spoil, message = DAMAGED[what]
    folder = adopted(archive, tmp_path)
    spoil(folder / "published.json")
    with pytest.raises(InputError, match=message) as caught:
        published.facts(folder)
    assert str(caught.value).isprintable()


def test_pages_in_adopted_results_are_drawn_here(archive: Path, tmp_path: Path) -> None:
    folder, notes = adopted(archive, tmp_path / "results"), tmp_path / "notes"
    published.check_drawing(str(folder), notes)  # there are none yet
    (folder / "explorer").mkdir()
    with pytest.raises(InputError, match=r"its pages and figures were not drawn here: remove .*/small/explorer, and run again"):
        published.check_drawing(str(folder), notes)
    published.record_drawing(str(folder), notes)
    published.check_drawing(str(folder), notes)
    folder.rename(tmp_path / "mine")
    prepared = adopted(archive, tmp_path / "results")
    (prepared / "report").mkdir()
    with pytest.raises(InputError, match=r"remove .*/small/report"):  # another folder in the place of the first
        published.check_drawing(str(prepared), notes)
