"""The documentation: it builds, it is complete, it asks nobody else for anything, and what it tells people to type works."""

import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REPOSITORY, Run, copy_of_checkout
from markdown_it import MarkdownIt
from playwright.sync_api import Browser
from sphinx.errors import ConfigError

import classlens
from classlens.config.catalogue import FIGURES, TABLES
from classlens.config.reading import resolve, sections_of
from classlens.config.settings import Config, Section

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]


# The site


@pytest.fixture(scope="module")
def site(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built with the demo's figures; whatever Sphinx warns of is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--builder", "html", "--fail-on-warning", "--keep-going", "--quiet", "--jobs", "2"]
    done = subprocess.run(
        [*command, "-D", f"results={demo.folder / 'results' / 'demo'}", "-d", folder / "doctrees", DOCS, folder / "html"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def text_of(site: Path, *pages: str) -> str:
    """What a reader sees of some pages, without tags."""
    sources = [(site / f"{page}.html").read_text(encoding="utf-8") for page in pages]
    return unescape(re.sub(r"<[^>]+>", "", "\n".join(sources)))


LINKS = ("index", "search", "next", "prev")
"""Relations of a page to others, which browsers do not fetch."""


class Resources(HTMLParser):
    """What a browser fetches for a page: everything but links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag != "a" and given.get("rel") not in LINKS:
            self.found += [given[name] for name in ("src", "href", "srcset") if name in given]


def fetched(site: Path) -> Iterator[str]:
    """Addresses that pages and their styles fetch."""
    for page in site.rglob("*.html"):
        parser = Resources()
        parser.feed(page.read_text(encoding="utf-8"))
        yield from parser.found
    for style in site.rglob("*.css"):
        yield from re.findall(r"(?:url\(|@import )\s*[\"']?([^\"')]+)", style.read_text(encoding="utf-8"))


def test_pages_ask_no_other_host_for_anything(site: Path) -> None:
    addresses = set(fetched(site))
    assert "_static/classlens.css" in {address.partition("?")[0].removeprefix("../") for address in addresses}
    assert not [address for address in addresses if re.match(r"(\w+:)?//", address)]


def test_a_browser_asks_no_other_host_for_anything(site: Path, browser: Browser) -> None:
    page, asked = browser.new_page(), set()
    page.on("request", lambda request: asked.add(request.url))
    for path in site.rglob("*.html"):
        page.goto(path.as_uri())
    page.close()
    assert (site / "_static" / "classlens.css").as_uri() in {address.partition("?")[0] for address in asked}
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []


def test_formulas_need_no_script(site: Path) -> None:
    assert "<math" in (site / "concepts.html").read_text(encoding="utf-8")
    assert not [address for address in fetched(site) if "math" in address.lower()]


def test_figures_are_those_of_the_run(site: Path, demo: Run) -> None:
    figure = demo.folder / "results" / "demo" / "figures" / "mean_evolution.svg"
    assert (site / "_images" / "mean_evolution.svg").read_bytes() == figure.read_bytes()


def test_a_figure_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    from _extensions import run_results

    with pytest.raises(ConfigError, match=f"{tmp_path}/figures/mean_evolution.svg is missing: run `make demo` first"):
        run_results.file_of(SimpleNamespace(config=SimpleNamespace(results=str(tmp_path))), "figures/mean_evolution.svg")


def keys(section: type[Section], path: str = "") -> Iterator[str]:
    """Every key that a config may have, with its place."""
    for name, field in section.settings().items():
        yield f"{path}{name}"
        for inner in sections_of(field.annotation):
            yield from keys(inner, f"{path}{name}.NAME." if name in ("datasets", "models") else f"{path}{name}.")


def test_every_key_of_a_config_is_explained(site: Path) -> None:
    explained = re.findall(r'<dt><code[^>]*><span class="pre">([\w.]+)</span>', (site / "configuration.html").read_text(encoding="utf-8"))
    assert sorted(explained) == sorted(keys(Config))
    assert "Divisor of the dot products" in text_of(site, "configuration")


def rules() -> set[str]:
    """Names of all rules that are written in the workflow, or made by its loops."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in [REPOSITORY / "Snakefile", *REPOSITORY.glob("rules/*.smk")])
    written = re.findall(r"^(?:rule (\w+):|use rule \w+ as (\w+))", sources, re.MULTILINE)
    made = {f"{kind}_{item.name}" for kind, items in (("figure", FIGURES), ("table", TABLES)) for item in items}
    return {one or other for one, other in written} | made | {item.letter for item in (*FIGURES, *TABLES)}


def test_every_rule_is_described(site: Path) -> None:
    text = text_of(site, "workflow")
    assert [name for name in rules() if not re.search(rf"\b{name}\b", text)] == []
    page = (site / "workflow.html").read_text(encoding="utf-8")
    links = set(re.findall(r'<a href="#(rule-[\w-]+)"><rect', page))
    assert links
    assert links <= set(re.findall(r'id="([\w-]+)"', page))


def test_every_module_and_public_name_is_documented(site: Path) -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in site.glob("library/*.html"))
    modules = {module.name for module in pkgutil.walk_packages(classlens.__path__, "classlens.")}
    assert modules == set(re.findall(r'id="module-([\w.]+)"', pages))
    assert [name for name in classlens.__all__ if f"classlens.{name}" not in text_of(site, "library")] == []


# The README


def cell(page: str, row: str, column: int) -> str:
    """A cell of the table row that begins with a text, in a page of the documentation."""
    (line,) = (line for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line.startswith(f"| {row} |"))
    return line.split("|")[column + 1].strip()


def rows(page: str, pattern: str) -> list[str]:
    """Return what a pattern finds in the lines of a page."""
    return re.findall(pattern, (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)


README = " ".join((REPOSITORY / "README.md").read_text(encoding="utf-8").split())
MOST_WORDS = 900


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= MOST_WORDS


def test_the_readmes_set_up_is_two_commands() -> None:
    block = next(token for token in MarkdownIt().parse((REPOSITORY / "README.md").read_text(encoding="utf-8")) if token.type == "fence")
    assert [line.partition("#")[0].strip() for line in block.content.splitlines()] == ["make demo", "make test"]


def test_the_readmes_numbers_are_those_of_the_pages() -> None:
    by_block = float(cell("benchmarks.md", "relevance, a backward pass per block, image by image", 2))
    stars = [float(share) for share in rows("statistics.md", r"^\| F[16] \|.* (\S+) % \|$")]
    kills = sum(int(times) for times in rows("reliability.md", r"^\| kill -9 of .*at a random moment \| (\d+) \|"))
    damaged = sum(int(times) for times in rows("reliability.md", r"^\| .+ \| (10000) \| a result, or what is wrong in one line"))
    accepted = (DOCS / "families.md").read_text(encoding="utf-8").partition("## Refused")[0]
    failures = rows("reliability.md", r"^\| kill -9 .* \| (\d+) \| [^|]+ \|$")
    counts = dict(rows("reproduction.md", r"^### Run `(\w+)`: (.+)$"))
    assert set(failures) == {"0"}
    for claim in (
        f"{cell('benchmarks.md', 'extraction', 2)} times as long as the model's bare forward pass",
        f"to project them {cell('benchmarks.md', 'projection of all sites, ranks and top-5', 2)} times",
        f"take {cell('benchmarks.md', 'relevance, all heads and blocks', 2)} times as long",
        f"with a backward pass per block and image, {by_block:.1f} times",
        f"128 images needs {cell('benchmarks.md', '128', 1)} MB, of 1024 images {cell('benchmarks.md', '1024', 1)} MB",
        f"[{kills} killed runs]",
        f"{damaged:,} damaged or odd checkpoints",
        f"in {min(stars)} to {max(stars)} % of draws",
        f"{len(re.findall(r'^[|] .+ [|] `', accepted, re.MULTILINE))} [families]",
        f"{len(rows('quirks.md', r'^[|] `'))} [quirks]",
        f"all {counts['demo'].removesuffix(' pass')} expected numbers of the demo agree",
        f"the paper's {counts['paper'].removesuffix(' not run')} numbers are not run yet",
    ):
        assert claim in README


# The contract of results


def promised() -> list[tuple[str, list[str]]]:
    """Files and columns that the page about results promises."""
    rows = re.findall(r"^\| `([^`]+\.parquet)` \| [^|]+ \| (.+) \|$", (DOCS / "results.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [(path, re.findall(r"`([^`]+)`", columns)) for path, columns in rows]


def test_results_have_the_columns_that_are_promised(demo: Run) -> None:
    results = demo.folder / "results" / "demo"
    names = {"model": "cls", "dataset": "shapes", "split": "validation", "shard": "00000"}
    seen = set()
    for pattern, columns in promised():
        path = results / pattern.format(**names)
        found = [re.sub(r"^(resid_post|attn_out|mlp_out)\.\d+", "{site}.{block}", name) for name in pq.read_schema(path).names]
        assert list(dict.fromkeys(found)) == columns, pattern
        seen.add(path.relative_to(results).parts[0])
    assert seen == {path.relative_to(results).parts[0] for path in results.rglob("*.parquet")}


# What people are told to type


def blocks(*languages: str) -> list[Any]:
    """Texts of the fenced blocks in these languages, named for their pages."""
    tokens = [(page, token) for page in PAGES for token in MarkdownIt().parse(page.read_text(encoding="utf-8"))]
    fences = [(page, token.content) for page, token in tokens if token.type == "fence" and token.info.strip() in languages]
    return [pytest.param(text, id=str(page.relative_to(REPOSITORY))) for page, text in fences]


def commands() -> list[str]:
    """Every command line, without comments and in one line."""
    texts = [block.values[0] for block in blocks("sh", "bash", "console", "shell")]
    lines = [line for text in texts for line in text.replace("\\\n", " ").splitlines()]
    stripped = [" ".join(re.sub(r"(^|\s)#.*", "", line).split()) for line in lines]
    return list(dict.fromkeys(line for line in stripped if line))


@pytest.fixture(scope="module")
def checkout(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as a reader has it after the demo: its environment, its results, and a config `my.yaml` of the same run."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("reader") / "classlens")
    (folder / "Makefile").symlink_to(REPOSITORY / "Makefile")
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("results", ".snakemake"):
        (folder / name).symlink_to(demo.folder / name)
    (folder / "my.yaml").write_bytes((folder / "config" / "config.yaml").read_bytes())
    return folder


def typed(command: str, checkout: Path) -> subprocess.CompletedProcess[str]:
    """A command as a reader types it in an activated environment; one of `make` does not know that these tests may be run by another."""
    path = f"{checkout / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")} | {"PATH": path}
    return subprocess.run(["bash", "-c", command], cwd=checkout, env=environment, capture_output=True, text=True, check=False)


NOTHING = "Nothing to be done"
DONE = {
    "source .venv/bin/activate": "",
    "snakemake --cores all": NOTHING,
    "snakemake --cores all explorer": NOTHING,
    "snakemake --cores 2 results/demo/figures/mean_evolution.svg": NOTHING,
    "snakemake --cores 2 F1 T1": NOTHING,
    "snakemake --cores all --configfile my.yaml": NOTHING,
    "snakemake --cores all explorer --configfile my.yaml": NOTHING,
    "snakemake --dry-run": NOTHING,
    "snakemake --list": "F13",
    "snakemake --report report.zip": "Report created",
    "snakemake --report report.zip --configfile my.yaml": "Report created",
    "snakemake --profile profiles/slurm --configfile my.yaml --dry-run": NOTHING,
}
"""Commands that end well where the demo is complete, and what they then say."""

MISSING = "error: data set folder data/ImageNetS/ImageNetS919"

REFUSED = {
    "snakemake --dry-run --configfile config/paper.yaml": MISSING,
    "snakemake --cores all --configfile config/paper.yaml": MISSING,
    "make estimate CONFIG=config/paper.yaml": MISSING,
    "make publish CONFIG=config/paper.yaml": MISSING,
    "make adopt FILE=paper.tar": "error: there is no archive paper.tar",
}
"""Commands that need data from elsewhere, and what they say is missing. Where it is not, tests/test_paper.py, test_estimate.py and
test_publish.py run the same programs."""

TARGETS = {"make env", "make demo", "make photos", "make test"}
"""Targets that continuous integration and the tests' own run of the demo stand for; here only what they would do is printed."""

ELSEWHERE = {
    "classlens check my.yaml": ("test_check.py", '"check", "my.yaml"'),
    "classlens check my.yaml --fix MODEL IMAGES": ("test_check.py", '"--fix", "my_vit.pth", "photos"'),
    "classlens check my.yaml --fix my_vit.pth photos": ("test_check.py", '"--fix", "my_vit.pth", "photos"'),
    "snakemake --cores 2 results/paper/figures/mean_evolution.svg --configfile results/paper/config.yaml": ("test_publish.py", "adopted"),
    "nohup snakemake --profile profiles/slurm --configfile my.yaml > run.txt 2>&1 &": ("test_cluster.py", "profiles"),
    'sinfo --format="%P %l %c %m %G"': ("slurm_cluster.py", "sinfo"),
    "sacctmgr show associations user=$USER format=account,partition": ("slurm_cluster.py", "sacctmgr"),
    "snakemake --profile profiles/slurm --profile profiles/sge --configfile my.yaml --dry-run": ("test_grid_engine.py", "profiles"),
    "nohup snakemake --profile profiles/slurm --profile profiles/sge --configfile my.yaml > run.txt 2>&1 &": (
        "test_grid_engine.py",
        "profiles",
    ),
    "qconf -spl": ("grid_engine.py", "qconf"),
    "qconf -sc": ("grid_engine.py", "qconf"),
    "qstat -r": ("grid_engine.py", "qstat"),
    'squeue --me --format="%.8i %.9T %.10M %.4C %.6m %k"': ("slurm_cluster.py", "squeue"),
    "squeue --me --name=classlens_27c98b67-eac7-4013-bf22-20df04e027a2": ("slurm_cluster.py", "squeue"),
    "scancel --me --name=classlens_27c98b67-eac7-4013-bf22-20df04e027a2": ("test_cluster.py", "scancel"),
    "tail -f run.txt": ("cluster_login.py", "printed"),
    'grep "SLURM run ID" run.txt': ("cluster_login.py", "printed"),
    "export SNAKEMAKE_STORAGE_S3_ACCESS_KEY=... SNAKEMAKE_STORAGE_S3_SECRET_KEY=...": ("test_s3.py", "SNAKEMAKE_STORAGE_S3"),
    "snakemake --cores all --configfile my.yaml --default-storage-provider s3 --default-storage-prefix s3://lab"
    " --storage-s3-endpoint-url https://s3.example.org": ("test_s3.py", "--storage-s3-endpoint-url"),
    "apptainer build envs/classlens.sif envs/classlens.def": ("test_environments.py", "classlens.def"),
    "snakemake --cores all --configfile my.yaml --software-deployment-method apptainer": ("test_deployment.py", "apptainer"),
    'snakemake --cores all --configfile my.yaml --software-deployment-method apptainer --apptainer-args="--nv --bind /data"': (
        "test_deployment.py",
        "--apptainer-args",
    ),
    "snakemake --cores all --configfile my.yaml --software-deployment-method conda": ("test_deployment.py", "conda"),
    "docker build --tag classlens --file envs/Dockerfile .": ("test_container.py", '"Dockerfile"'),
    'docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" classlens --cores all --configfile my.yaml': (
        "test_container.py",
        "entry_point",
    ),
    'docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" --entrypoint classlens classlens check my.yaml': (
        "test_container.py",
        '"classlens", "check"',
    ),
    "pip install .": ("test_install.py", '"install"'),
    "classlens init": ("test_install.py", '"classlens", "init"'),
    "classlens run config/config.yaml": ("test_install.py", '"classlens", "run", "mine/config/config.yaml"'),
    "classlens explore results/demo": ("test_install.py", '"classlens", "explore"'),
    "export SNAKEMAKE_OUTPUT_CACHE=/shared/classlens-cache": ("test_caching.py", "SNAKEMAKE_OUTPUT_CACHE"),
    "snakemake --cores all --configfile my.yaml --cache": ("test_caching.py", "--cache"),
}
"""Commands that want a cluster, a bucket, or what others have made: the test that has one, and a word of it."""


def test_every_command_is_tried_somewhere() -> None:
    known = [*DONE, *REFUSED, *TARGETS, *ELSEWHERE]
    assert sorted(commands()) == sorted(known)


@pytest.mark.parametrize("command", sorted(DONE))
def test_a_command_ends_well(command: str, checkout: Path) -> None:
    done = typed(command, checkout)
    assert done.returncode == 0, done.stderr
    assert DONE[command] in done.stdout + done.stderr


@pytest.mark.parametrize("command", sorted(REFUSED))
def test_a_command_that_needs_more_says_what(command: str, checkout: Path) -> None:
    recipe = (
        typed(f"{command} --dry-run --old-file .venv/.installed --old-file .venv/bin/classlens", checkout).stdout
        if command.startswith("make ")
        else command
    )
    done = typed(f"set -e\n{recipe}", checkout)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(REFUSED[command])]
    assert done.returncode != 0
    assert len(said) == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", sorted(TARGETS))
def test_a_target_is_there(command: str, checkout: Path) -> None:
    done = typed(f"{command} --dry-run", checkout)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("command", "where"), sorted(ELSEWHERE.items()))
def test_another_test_has_what_a_command_wants(command: str, where: tuple[str, str]) -> None:
    assert where[1] in (REPOSITORY / "tests" / where[0]).read_text(encoding="utf-8")


def test_every_target_that_is_mentioned_is_there() -> None:
    mentioned = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))}
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert mentioned
    assert mentioned <= targets


def configs() -> list[Any]:
    """Every block of a config, and every data set that a page shows by itself, on one line in braces or as a block."""
    found = []
    for block in blocks("yaml"):
        text = block.values[0]
        texts = text.splitlines() if text.startswith("{") else [text]
        found += [pytest.param(yaml.safe_load(one), id=f"{block.id}-{number}") for number, one in enumerate(texts)]
    return found


@pytest.mark.parametrize("content", configs())
def test_a_config_is_one(content: dict[str, Any]) -> None:
    if "kind" in content:
        content = {"run": "shown", "datasets": {"shown": content}, "models": {"vit": {"arch": "vit_tiny_patch16_224"}}}
    assert resolve(content).run


@pytest.mark.parametrize("text", blocks("python"))
def test_a_piece_of_python_runs(text: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(checkout)
    given = {"images": torch.zeros(1, 3, 224, 224), "labels": torch.tensor([0])}
    exec(text.replace("pretrained=True", "pretrained=False"), given)
