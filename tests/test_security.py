"""Names and values that do harm wherever something is not quoted, checked or escaped: nothing in them runs, and each arrives as it is."""

import ast
import io
import json
import os
import re
import shlex
import string
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import numpy as np
import polars as pl
import pytest
import torch
from conftest import REPOSITORY, Run, copy_of_checkout, small_config
from docutils.core import publish_parts
from markupsafe import Markup
from PIL import Image
from planned_jobs import planned_jobs
from safetensors.torch import save_file
from snakemake.parser import parse
from snakemake.sourcecache import LocalSourceFile

import cli
from classlens.config import reading as configs
from classlens.config.paths import escaped
from classlens.config.steps import RunSettings, flag
from classlens.errors import InputError
from classlens.explorer import page
from classlens.models.loading import build
from classlens.presentation import templates
from classlens.report import captions, front_page, pages
from classlens.report.captions import Caption
from classlens.report.findings import Finding
from classlens.storage import parquet

RULES = [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "rules").glob("*.smk"))]
HARMLESS = {"threads", "seconds", "params.files"}
"""Fields that a shell text may hold without quotes: numbers, and `UnhashedArguments` of the Snakemake adapter, which quotes itself."""

HARMFUL = [
    "$(touch OWNED)",
    "`touch OWNED`",
    "; touch OWNED;",
    "| tee OWNED",
    "&& touch OWNED",
    "' ; touch OWNED ; '",
    '" ; touch OWNED ; "',
    "x\ntouch OWNED",
    "> OWNED",
    "{params}{wildcards}{0}{{",
    "--flag",
    "-",
    "* ? [a-z] ~",
    "é \U0001f600 \u202e",
    "x" * 300,
    "x" * 5000,
    "None",
    "../../OWNED",
    "\0",
    "$HOME ${PATH} $$",
]


def commands() -> dict[str, str]:
    """The commands that rules share, and their parts, by name."""
    code = (REPOSITORY / "rules" / "programs.smk").read_text(encoding="utf-8")
    lines = [line for line in code.splitlines() if re.match(r"(START|POOLS|[A-Z_]*COMMAND) = ", line)]
    known: dict[str, Any] = {"RunSettings": RunSettings, "flag": flag}
    exec("\n".join(lines), known)
    return {name: value for name, value in known.items() if isinstance(value, str)}


COMMANDS = commands()


def shell_texts(file: Path) -> Iterator[str]:
    """Every text that a file of rules gives to a shell: of rules and of `shell(...)` calls."""
    workflow = SimpleNamespace(sourcecache=SimpleNamespace(open=lambda _: io.StringIO(file.read_text(encoding="utf-8"))))
    code, _ = parse(LocalSourceFile(str(file)), workflow, {})
    for call in (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name in ("shell", "shellcmd"):
            yield from (node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str))
            yield from (COMMANDS[node.id] for node in ast.walk(call) if isinstance(node, ast.Name) and node.id in COMMANDS)


def unquoted(text: str) -> list[str]:
    """What a shell text puts into a command, or takes from one, without quotes."""
    found = [name or "" for _, name, spec, conversion in string.Formatter().parse(text) if name is not None and (spec != "q" or conversion)]
    return [name for name in found if name not in HARMLESS] + re.findall(r'(?<!")\$\([^)]*\)|`[^`]*`|\$\([^)]*\)(?!")', text)


def test_rules_quote_everything_that_they_hand_to_a_shell() -> None:
    texts = {file.name: list(shell_texts(file)) for file in RULES}
    assert sum(map(len, texts.values())) > 20
    assert {name: wrong for name in texts if (wrong := [part for text in texts[name] for part in unquoted(text)])} == {}
    assert unquoted('a {x} {threads} {y:q} $(b {z:q}) "$(c {z:q})"') == ["x", "$(b {z:q})"]  # that the test can fail


def full_config(folder: str = "data", **changes: Any) -> dict[str, Any]:
    """A config with every key, its paths in a folder."""
    model = {
        "label": "label",
        "arch": "vit_tiny_patch16_224",
        "weights": f"{folder}/weights.safetensors",
        "kwargs": {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2, "key": "value"},
        "key_prefix": "prefix",
        "ignore_keys": ["key"],
        "sha256": None,
        "class_embedding": {"file": f"{folder}/embedding.safetensors", "normalization": "cosine", "temperature": 2.0},
        "dataset": "d",
        "random_twin": True,
        "analyses": ["identifiability", "context", "building", "memories", "attention", "tokens", "relevance", "deletion", "probes"],
        "transform": {"resize": [32, 32], "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3},
        "training": {"epochs": 1},
    }
    images = {
        "kind": "imagefolder",
        "root": f"{folder}/images",
        "classes": f"{folder}/classes.txt",
        "masks": f"{folder}/masks",
        "names": f"{folder}/names.json",
        "eval_split": "validation",
        "probe_split": "test",
        "train_split": "train",
        "images_per_class": 2,
        "probe_images_per_class": 2,
    }
    rest = {"projection": {"classes": ["class"]}, "relevance": {"images": {"validation/class/name.png": ["class"]}}}
    look = {"figures": {"style": f"{folder}/style.mplstyle"}, "hub": {"cache": f"{folder}/cache"}, "compute": {"device": "cpu"}}
    return small_config(datasets={"d": images}, models={"m": model}, **rest, **look, **changes)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every leaf of a config."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))
    else:
        yield path


def at(config: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        config = config[key]
    return config


def replaced(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The full config with another value in a place."""
    config = configs.resolve(full_config()).model_dump(mode="json")
    at(config, path[:-1])[path[-1]] = value
    return config


def renamed(path: tuple[Any, ...], name: str) -> dict[str, Any]:
    """The full config with another key in a place."""
    config = full_config()
    config["models"]["m"]["dataset"] = None  # the only one
    mapping = at(config, path[:-1])
    mapping[name] = mapping.pop(path[-1])
    return config


def outcome(config: dict[str, Any]) -> str | None:
    """What is wrong with a config, which is one short line; None for nothing."""
    try:
        configs.resolve(config)
    except InputError as error:
        assert len(str(error)) <= 420
        assert str(error).isprintable()
        return str(error)
    return None


FREE = {
    *("models.m.label", "models.m.kwargs.key", "models.m.key_prefix", "models.m.ignore_keys.0", "projection.classes.0"),
    *("relevance.images.validation/class/name.png.0", "models.m.kwargs.img_size", "models.m.kwargs.embed_dim"),
    *("models.m.kwargs.num_heads", "models.m.kwargs.depth"),
}
"""Leaves that may hold any text, because it is only shown or compared."""
PATHS = {
    *("datasets.d.root", "datasets.d.classes", "datasets.d.masks", "datasets.d.names", "models.m.weights", "models.m.class_embedding.file"),
    *("figures.style", "hub.cache"),
}
FREE_KEYS = {"models.m.kwargs.key", "relevance.images.validation/class/name.png"}


def test_every_leaf_of_a_config_takes_harmful_values_or_refuses_them_in_one_line() -> None:
    leaves = [path for path in places(configs.resolve(full_config()).model_dump(mode="json")) if path[-1] != "key"]
    taken: dict[str, set[str]] = {value: set() for value in HARMFUL}
    for path in [*leaves, ("models", "m", "kwargs", "key")]:
        for value in HARMFUL:
            if outcome(replaced(path, value)) is None:
                taken[value].add(".".join(map(str, path)))
    assert len(leaves) > 60
    assert taken["$(touch OWNED)"] == FREE | PATHS
    assert taken["x\ntouch OWNED"] == taken["\0"] == taken["x" * 5000] == set()
    assert all(
        places <= FREE | PATHS | {"datasets.d.probe_split", "datasets.d.train_split", "datasets.d.eval_split", "run", "models.m.arch"}
        for places in taken.values()
    )


@pytest.mark.parametrize("path", [("models", "m"), ("datasets", "d")])
def test_names_are_of_known_letters_and_lengths(path: tuple[str, ...]) -> None:
    assert [value for value in HARMFUL if outcome(renamed(path, value)) is None] == ["None"]
    for name in ("m\n", "m" * 101, "m" * 300, "", ".", "..", "é"):
        assert outcome(renamed(path, name))
        assert outcome(replaced(("run",), name))
    assert outcome(replaced(("run",), "m" * 100)) is None


def user_files(home: Path, name: str) -> None:
    """Files of a full config in a folder of a harmful name, class folders and images of that name too."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    folder = home / name
    for split in ("validation", "test"):
        for class_name in (name, "class"):
            for number in range(2):
                for kind in ("images", "masks"):
                    path = folder / kind / split / class_name / f"{name} {number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    (image if kind == "images" else image.convert("L").point(lambda value: 255 * (value > 99))).save(path)
    (folder / "classes.txt").write_text(f"class\n{name}\n", encoding="utf-8")
    (folder / "names.json").write_text(json.dumps({"class": "a class", name: "another class"}), encoding="utf-8")
    (folder / "style.mplstyle").write_text("lines.linewidth: 1\n", encoding="utf-8")
    torch.manual_seed(0)
    weights = build("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}, 1000).state_dict()
    save_file({f"{name}{key}": value for key, value in weights.items()}, folder / "weights.safetensors")
    save_file({"weight": torch.randn(2, 16)}, folder / "embedding.safetensors", {"classes": json.dumps(["class", name])})


def harmful_config(name: str) -> dict[str, Any]:
    """A full config in which every leaf that may hold a name does."""
    config = full_config(escaped(name))
    model = config["models"]["m"]
    model |= {"label": name, "key_prefix": name, "ignore_keys": [name], "kwargs": {**model["kwargs"], "key": name, name: [name]}}
    config["projection"] = {"classes": [name]}
    config["relevance"] = {"images": {f"validation/{name}/{name} 0.png": [name]}}
    return config


def as_json(value: Any) -> str:
    """A value as programs get it."""
    return json.dumps(value).replace("<", "\\u003c")


def test_commands_hand_programs_each_value_as_it_is(tmp_path: Path, note_fault: Callable[..., None]) -> None:
    """The commands of every job, given to bash with a program in place of Python that notes its arguments."""
    names = [name for name in HARMFUL if len(name) < 50 and "/" not in name and outcome(harmful_config(name)) is None]
    assert len(names) >= 14
    checkout = copy_of_checkout(tmp_path / "$(touch OWNED) 'checkout'")
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" > {shlex.quote(str(tmp_path))}/arguments\n')
    stub.chmod(0o755)
    files = []
    for number, name in enumerate(names):
        home = tmp_path / f"run {number}"
        user_files(home, name)
        files.append(Run(home).configure(harmful_config(name)))
    run = 0
    environment = {"OMP_NUM_THREADS": "1", "CLASSLENS_PYTHON": str(stub), "CLASSLENS_SCRIPTS": f"{checkout}/workflow/scripts"}
    for name, file, jobs in zip(names, files, planned_jobs(checkout / "Snakefile", files), strict=True):
        arrived = set()
        for job in jobs:
            subprocess.run(["bash", "-c", job["command"]], cwd=file.parent, check=True, env={**os.environ, **environment})
            arguments = (tmp_path / "arguments").read_text(encoding="utf-8").split("\0")
            assert arguments[0] == f"{checkout}/workflow/scripts/{Path(arguments[0]).name}"
            arrived |= {*arguments, *(value for argument in arguments if (value := argument.partition("=")[2]))}
            run += 1
        folder = file.parent / name if name.startswith("-") else name
        expected = {
            f"{folder}/{part}" for part in ("images", "masks", "classes.txt", "weights.safetensors", "embedding.safetensors", "cache")
        }
        expected |= {f"--key-prefix={name}", as_json([name]), as_json({f"validation/{name}/{name} 0.png": [name]})}
        assert expected <= arrived
        assert any(as_json(name) in argument for argument in arrived if '"label"' in argument)
    assert run > 30 * len(names)
    assert list(tmp_path.rglob("OWNED")) == []
    note_fault(
        "harmful values in every key of a config that takes them",
        f"{run} commands of programs, each with the values as they are",
        times=run,
    )


@pytest.mark.parametrize("name", [name for name in HARMFUL if "\n" not in name and "\0" not in name])
@pytest.mark.parametrize(
    ("target", "variable"), [("adopt", "FILE"), ("adopt-dates", "RESULTS"), ("publish", "CONFIG"), ("estimate", "CONFIG")]
)
def test_make_hands_on_names_of_files_as_they_are(target: str, variable: str, name: str) -> None:
    done = subprocess.run(["make", "--dry-run", target, f"{variable}={name}"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert name in shlex.split(done.stdout.splitlines()[-1])


REAL = "$(touch OWNED); `touch OWNED` 'x\" {params} <script>"


def test_a_run_with_harmful_names_everywhere(tmp_path: Path) -> None:
    """Checkpoint, class embedding, class file, masks, folders, images, label and prefix: the programs themselves."""
    run = Run(tmp_path / f"work {REAL}")
    user_files(run.folder, REAL)
    config = harmful_config(REAL)
    model = config["models"]["m"]
    model["kwargs"] = {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}
    model |= {"random_twin": False, "analyses": ["identifiability"]}
    run.complete("T1", "--configfile", run.configure(config))
    table = (run.folder / "results/small/tables/identifiability.csv").read_text(encoding="utf-8")
    assert REAL.replace('"', '""') in table
    manifest = parquet.read_table(run.folder / "results/small/data/d/validation/manifest.parquet").to_pylist()
    assert {row["class_id"] for row in manifest} == {"class", REAL}
    model["kwargs"][REAL] = REAL
    done = run.snakemake("T1", "--configfile", run.configure(config))
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert list(tmp_path.rglob("OWNED")) == []


@pytest.mark.parametrize("label", ["/* scripts */", "/* facts */ /* style */", "</script><script>alert(1)</script>", r"\g<0> \1 \\"])
def test_a_label_cannot_change_the_page_of_the_explorer(label: str) -> None:
    model = {"name": "m", "label": label, "dataset": "d", "twin_of": None}
    text = page.page_html({"run": "r", "protocol": "corrected", "models": [model]})
    harmless = page.page_html({"run": "r", "protocol": "corrected", "models": [{**model, "label": "label"}]})
    written = json.dumps(label).replace("<", "\\u003c")
    assert text == harmless.replace('"label":"label"', f'"label":{written}')
    assert text.count("</script>") == 2


EVIL = "<script>alert(1)</script>"
RAW = f"0\n\n.. raw:: html\n\n   {EVIL}\n"
"""What leaves a list or a line of reStructuredText, and makes HTML."""


def test_tables_of_others_cannot_write_into_a_caption() -> None:
    """Numbers of an adopted table that are texts instead, of any column that a caption names."""
    frame = pl.DataFrame({name: [RAW] for name in ("model", "label", "permutations", "resamples", "protocol", "seed")})
    card = SimpleNamespace(image_tokens=4, cls_token=False)
    expected = [{"quantity": RAW, "model": RAW, "expected": "1", "ours": "2", "source": RAW, "table": RAW}]
    caption = captions.of(Markup("<p>x</p>"), frame, {RAW: card}, {RAW: 3}, expected)  # type: ignore[dict-item]
    html = pages.of_table("x", "x", frame, caption)
    assert html.count("alert") > 8
    assert "<script" not in html


def test_facts_of_others_cannot_write_into_the_front_page() -> None:
    """Neither as HTML nor, with line breaks, as reStructuredText around the page's block."""
    names = (
        "label",
        "arch",
        "size",
        "weights",
        "head",
        "accuracy",
        "dataset",
        "name",
        "images",
        "left_out",
        "jobs",
        "time",
        "about",
        "message",
    )
    texts = dict.fromkeys(names, RAW)
    lists = {"models": [texts], "transforms": {RAW: [RAW]}, "splits": [texts], "warnings": [texts], "left_out": [RAW], "stages": [texts]}
    counts = {"expected": {RAW: {RAW: 1}}, "versions": {RAW: RAW}, "hashes": {RAW: RAW}}
    page = front_page.page({"run": RAW, "protocol": RAW, "seed": RAW, **lists, **counts}, None)
    block = "\n   ".join(page.splitlines())  # as `front_page` of the rules does
    template = jinja2.Template((REPOSITORY / "workflow" / "report" / "summary.rst").read_text(encoding="utf-8"))
    html = publish_parts(template.render(snakemake={"config": {"report": block}}), writer="html5")["body"]
    assert html.count("alert(1)") > 20
    assert "<script" not in html


def test_findings_of_others_cannot_write_into_the_front_page(tmp_path: Path) -> None:
    picture = tmp_path / "x.svg"
    picture.write_text("<svg/>", encoding="utf-8")
    lists: dict[str, Any] = {name: [] for name in ("models", "splits", "warnings", "left_out", "stages")}
    facts = {**lists, **{name: {} for name in ("transforms", "expected", "versions", "hashes")}, "run": "r", "protocol": "p", "seed": 0}
    found = front_page.Found([Finding(RAW, RAW)], picture, RAW, Caption(Markup("<p>x</p>"), RAW, RAW))
    html = front_page.page(facts, found)
    assert html.count("alert(1)") == 5
    assert "<script" not in html


@pytest.mark.parametrize("title", ["x", EVIL])
def test_tables_of_others_are_escaped_in_their_pages(title: str) -> None:
    frame = pl.DataFrame({"model": ["m"], "label": [EVIL], EVIL: [EVIL], "x": [RAW]})
    html = pages.of_table(title, title, frame, Caption(Markup("<p>x</p>")))
    assert html.count("alert(1)") > 2
    assert "<script" not in html


def test_templates_escape_what_they_are_given_and_know_every_name() -> None:
    assert (
        templates.render("{{ text }} {{ made }}\n", text='<b a="b">\'&', made=Markup("<b>")) == "&lt;b a=&quot;b&quot;&gt;&#x27;&amp; <b>\n"
    )
    with pytest.raises(jinja2.UndefinedError):
        templates.render("{{ text }}")


def test_errors_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of files may hold what a terminal obeys."""

    def main(_: Any, __: Any) -> None:
        raise InputError("image a\x1b[2J\x07\nb cannot be decoded")

    with pytest.raises(SystemExit):
        cli.run(main, cli.Parser(""), [])
    assert capsys.readouterr().err == "error: image a\\x1b[2J\\x07 b cannot be decoded\n"
