"""Config files: one name twice, aliases that grow, encodings, environment variables in paths, and what no config holds."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, small_config

from classlens.config.files import check_plain, load
from classlens.config.paths import escaped, expanded
from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.data.layouts import shard_names, usual_shard_size
from classlens.errors import InputError

SMALLEST = "datasets: {d: {kind: shapes}}\nmodels:\n  m: {arch: vit_tiny_patch16_224, weights: random}\n"


def bomb(levels: int, before: str = "analyses: ", merge: bool = False) -> str:
    """Lists (or merged mappings) of nine aliases of lists of nine aliases..."""
    aliases = [", ".join([f"*a{level}"] * 9) for level in range(levels)]
    inner = [f"&a{level + 1} " + (f"{{<<: [{names}]}}" if merge else f"[{names}]") for level, names in enumerate(aliases)]
    return f"{SMALLEST}{before}[&a0 {'{x: 1}' if merge else '[1]'}, {', '.join(inner)}]\n"


def read(folder: Path, text: str | bytes) -> Any:
    """What the workflow makes of a config file."""
    path = folder / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return resolve(load(path))


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, text)
    assert str(caught.value).isprintable()
    return str(caught.value)


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "one model twice": (SMALLEST + "  m: {arch: other}\n", "config.yaml: line 4: the name 'm' appears twice in one mapping"),
    "one key twice": (SMALLEST + "seed: 1\nseed: 2\n", "line 5: the name 'seed' appears twice"),
    "one key twice in braces": (
        SMALLEST.replace("{kind: shapes}", "{kind: shapes, kind: shapes}"),
        "line 1: the name 'kind' appears twice",
    ),
    "one key twice in JSON": ('{"models": {}, "models": {}}', "the name 'models' appears twice in one mapping"),
    "a quoted key twice": (SMALLEST + "seed: 1\n'seed': 2\n", "the name 'seed' appears twice"),
    "two merges": (SMALLEST + "compute: {<<: {}, <<: {}}\n", "the name '<<' appears twice"),
    "a list that holds itself": (SMALLEST + "analyses: &a [*a]\n", "`analyses.0.0` refers to itself, or the config holds more than"),
    "a mapping that holds itself": (SMALLEST + "compute: &a {device: *a}\n", "`compute.device.device` refers to itself"),
    "nine levels of nine aliases": (bomb(9), "holds more than 200,000 values"),
    "a hundred levels of nine aliases": (bomb(99), "refers to itself, or the config holds more than"),
    "aliases in a model's kwargs": (
        SMALLEST + bomb(9, "a: ").partition("a: ")[2].replace("[", "  n: {arch: x, kwargs: {a: [", 1).rstrip()[:-1] + "]}}\n",
        "`models.n.kwargs` refers to itself, or the config holds more than",
    ),
    "nine levels of nine merges": (bomb(9, merge=True), "config key `analyses"),
    "3000 levels of YAML": ("[" * 3000, "is nested too deeply"),
    "3000 levels of JSON": ("[" * 3000 + "]" * 3000, "is nested too deeply"),
    "100 levels": (SMALLEST + "run: " + "[" * 100 + "]" * 100, "or 64 levels"),
    "UTF-16": (SMALLEST.encode("utf-16"), "is not UTF-8: save it in that encoding"),
    "latin-1": ("run: é".encode("latin-1"), "is not UTF-8"),
    "a program to Snakemake": (
        "__use_yte__: true\n" + SMALLEST,
        "has the key `__use_yte__`, which makes Snakemake execute code in the file",
    ),
    "a Python object": ('run: !!python/object/apply:os.system ["touch OWNED"]\n', "is not YAML"),
    "a number for a name": (SMALLEST + "  5: {arch: x}\n", "`models.5` is not a text but 5: write it in quotes"),
    "a date": (SMALLEST + "run: 2026-01-01\n", "`run` has the YAML type date: write it in quotes"),
    "bytes": (SMALLEST + "run: !!binary aGVsbG8=\n", "`run` has the YAML type bytes"),
    "no number": (SMALLEST + "seed: .nan\n", "`seed` is nan: give a finite number"),
    "an endless number": (SMALLEST + "  n: {arch: x, kwargs: {a: -.inf}}\n", "`models.n.kwargs.a` is -inf: give a finite number"),
    "a tag that does not fit": (SMALLEST + "seed: !!int ''\n", "is not YAML"),
    "another tag that does not fit": (SMALLEST + "seed: !!bool maybe\n", "is not YAML"),
    "a number of 10,000 digits": (SMALLEST + f"seed: {'1' * 10_000}\n", "is not YAML"),
    "a line break at the end": (SMALLEST + 'run: "x\\n"\n', "`run` holds a line break or another control character"),
    "a line break in a path": (SMALLEST + 'hub: {cache: "x\\ny"}\n', "`hub.cache` holds a line break"),
    "a zero byte": (SMALLEST + 'hub: {cache: "x\\0y"}\n', "`hub.cache` holds a line break or another control character"),
    "half a character": (
        json.dumps(small_config()).replace('"small"', '"\\ud800"'),
        "`run` holds a line break or another control character",
    ),
    "an empty file": ("", "None is not of type 'object'"),
    "a name of 300 characters": (SMALLEST + f"run: {'x' * 300}\n", "config key `run`: 'xxxxx"),
    "a model of 300 characters": (SMALLEST + f"  {'x' * 300}: {{arch: x}}\n", "must have at most 100 characters"),
    "a label of 300 characters": (SMALLEST + f"  n: {{arch: x, label: {'x' * 300}}}\n", "`models.n.label`: 'xxxxx"),
    "a device of no machine": (SMALLEST + "compute: {device: 'cuda:1; x'}\n", "`compute.device`: 'cuda:1; x' must match"),
    "no weights": (SMALLEST + "  n: {arch: x, weights: ''}\n", "`models.n.weights`: '' "),
    "no root": (SMALLEST.replace("shapes", "imagefolder, root: ''"), "`datasets.d.root`: '' "),
    "a variable that is not set": (
        SMALLEST + "hub: {cache: $NO_SUCH_VARIABLE/x}\n",
        "the environment variable NO_SUCH_VARIABLE is not set",
    ),
    "a user that does not exist": (SMALLEST + "hub: {cache: ~no_such_user/x}\n", "there is no user no_such_user; write ./~no_such_user"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_one_line(tmp_path: Path, what: str) -> None:
    text, message = REFUSED[what]
    seen = refusal(tmp_path, text)
    assert message in seen
    assert len(seen) <= 500
    assert not Path("OWNED").exists()


def test_what_is_good_yaml_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, SMALLEST.encode("utf-8-sig")).models["m"].weights == "random"  # with a byte order mark
    assert read(tmp_path, json.dumps(small_config(), indent="\t")).run == "small"  # which YAML would not take
    merged = "base: &b {arch: x, label: a}\nmodels: {m: {<<: *b, label: c}, n: *b}\n"
    (tmp_path / "merged.yaml").write_text(merged, encoding="utf-8")
    assert load(tmp_path / "merged.yaml")["models"] == {"m": {"arch": "x", "label": "c"}, "n": {"arch": "x", "label": "a"}}
    (tmp_path / "list.yaml").write_text(bomb(9, merge=True), encoding="utf-8")
    assert load(tmp_path / "list.yaml")["analyses"] == [{"x": 1}] * 10


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml: No such file or directory"):
        load(tmp_path / "no.yaml")
    with pytest.raises(InputError, match="Is a directory"):
        load(tmp_path)


def test_paths_begin_at_home_and_hold_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA", "/data")
    monkeypatch.chdir(tmp_path)
    for path, wanted in {
        "~/images": "/home/me/images",
        "~": "/home/me",
        "$HOME/x": "/home/me/x",
        "${DATA}/x$DATA": "/data/x/data",
        "a$$b": "a$b",
        "a$ b$(x)$1": "a$ b$(x)$1",
        "./~x": "./~x",
        "a~": "a~",
        "-x": str(tmp_path / "-x"),
        "None": "None",
    }.items():
        assert expanded(path) == wanted
    for path in ("~/x", "$HOME", "a$$b", "$$", "plain", "é b"):
        assert expanded(escaped(path)).removeprefix("./") == path
    model = {"arch": "x", "weights": "~/w.pt", "class_embedding": "$DATA/e.safetensors"}
    config = small_config(
        datasets={"d": {"kind": "imagefolder", "root": "~/images", "masks": "$DATA/masks", "classes": "${DATA}/c.txt"}},
        models={"m": model, "n": {**model, "weights": "random", "label": "$HOME ~", "kwargs": {"a": "$HOME"}}},
        hub={"cache": "~/hub"},
        figures={"style": "~/x.mplstyle"},
    )
    made = resolve(config)
    assert [getattr(made.datasets["d"], key) for key in ("root", "masks", "classes")] == ["/home/me/images", "/data/masks", "/data/c.txt"]
    assert (made.models["m"].weights, made.models["m"].class_embedding.file) == ("/home/me/w.pt", "/data/e.safetensors")
    assert (made.hub.cache, made.figures.style) == ("/home/me/hub", "/home/me/x.mplstyle")
    assert (made.models["n"].label, made.models["n"].kwargs) == ("$HOME ~", {"a": "$HOME"})  # no paths


def test_large_splits_have_larger_shards_by_default(tmp_path: Path) -> None:
    sizes = {images: usual_shard_size(images) for images in (1, 512, 10_240, 10_260, 50_000, 100_000, 10**6)}
    assert sizes == {1: 512, 512: 512, 10_240: 512, 10_260: 513, 50_000: 2500, 100_000: 5000, 10**6: 5000}
    data = {"kind": "shapes", "num_classes": 10, "images_per_class": 2000, "probe_images_per_class": 1}
    for setting, size, shards in (("auto", 1000, 20), (512, 512, 40)):
        planned = Plan(resolve(small_config(datasets={"d": data}, hidden_states={"shard_size": setting})), "results/small").datasets["d"]
        assert len(planned.shards("validation")) == shards
        assert planned.manifest_step("validation").shard_size == size


def test_shards_have_five_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shard_names(99_999, 1)[-1] == "99998"
    with pytest.raises(
        InputError, match=r"100,000 images make 100,000 shards of 1, but at most 99,999 are possible: set .*shard_size to 2 or more"
    ):
        shard_names(100_000, 1)
    with pytest.raises(InputError, match="shard_size to 10000100002 or more"):
        shard_names(10**15, 1)  # at once
    data = {"kind": "shapes", "num_classes": 20, "images_per_class": 10**6, "probe_images_per_class": 1}
    config = resolve(small_config(datasets={"d": data}))
    with pytest.raises(InputError, match=r"^data set d, split validation: 20,000,000 images make 4,000,000 shards of 5"):
        Plan(config, "results/small")
    data |= {"images_per_class": 1, "probe_images_per_class": 10**6}
    with pytest.raises(InputError, match=r"^data set d, split test: 20,000,000 images"):
        Plan(resolve(small_config(datasets={"d": data})), "results/small")


def test_a_large_config_is_not_refused() -> None:
    check_plain({"images": {str(number): ["a", "b"] for number in range(60_000)}})


BY_SNAKEMAKE = {
    name: REFUSED[name] for name in ("one model twice", "a list that holds itself", "aliases in a model's kwargs", "a number for a name")
}


@pytest.mark.parametrize("what", BY_SNAKEMAKE)
def test_refused_by_the_workflow_as_well(tmp_path: Path, what: str) -> None:
    text, message = REFUSED[what]
    assert isinstance(text, str)
    run = Run(tmp_path / "run")
    (run.folder / "my.yaml").write_text(text, encoding="utf-8")
    done = run.snakemake("--dry-run", "--configfile", run.folder / "my.yaml")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message.replace("config.yaml", "my.yaml") in lines[0]
    assert "Traceback" not in done.stderr
    assert not (run.folder / "results").exists()
