"""What re-runs when something changes: exactly the rules that depend on it, in a finished run."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Run, planned

from classlens.config import catalogue

FIGURES = {f"figure_{item.name}" for item in catalogue.FIGURES}
TABLES = {f"table_{item.name}" for item in catalogue.TABLES}
SHOWN = FIGURES | TABLES
PER_MODEL = {f"figure_{item.name}" for item in catalogue.FIGURES if item.per_model}


def shown(*analyses: str) -> set[str]:
    """Rules of the figures and tables of some analyses."""
    figures = {f"figure_{item.name}" for item in catalogue.FIGURES if item.analysis in analyses}
    return figures | {f"table_{item.name}" for item in catalogue.TABLES if item.analysis in analyses}


PROBES_FIGURE = {"figure_probes_vs_projection"}
EXPLORED = {"explorer_model", "explorer"}
PROJECTED = EXPLORED | {"project", "identifiability", "context", "building", "memories"}
PROJECTED |= shown("identifiability", "context", "building", "memories") | PROBES_FIGURE
DELETED = {"deletion", "deletion_curves"} | shown("deletion") | PROBES_FIGURE
SCORED = {"faithfulness", "table_deletion_area", "table_deletion_difference"} | shown("faithfulness")
EXPLAINED = {"relevance", "segmentation"} | shown("relevance") | DELETED | SCORED | EXPLORED
TUNED = {"tuned_lens"} | shown("tuned_lens") | PROBES_FIGURE
FITTED_TUNED = {"tuned_lens_fit"} | TUNED
ABLATED = {"ablation"} | shown("ablation")
BY_TOKEN = {"attribution_tokens"} | EXPLORED
ATTRIBUTED = {"attribution"} | shown("attribution") | ABLATED | BY_TOKEN
EXTRACTED = {"extract", "extract_with_memory_keys", "predictions", "sanity", "probes"} | BY_TOKEN | FITTED_TUNED | PROJECTED | EXPLAINED
PERTURBED = {"perturbations"} | shown("attention", "tokens") | EXPLORED
OF_MODEL = {"tokens"} | ATTRIBUTED | EXTRACTED | PERTURBED
TWINS = {"twins_cls", "twins_pooled"}
EVERYTHING = {"shapes", "manifest", "train"} | TWINS | OF_MODEL
OF_TRAINING = EVERYTHING - {"shapes", "manifest"} - TWINS
AGAINST_TWINS = {f"figure_{item.name}" for item in catalogue.FIGURES if item.against_twins} | {"table_identifiability"}
WITHOUT_STATISTICS = {"figure_relevance_maps", "figure_relevance_heads", "table_interpretable_values"}

COMPARED = {"table_identifiability", "table_attention_perturbation", "table_deletion_area"}

LIBRARY = "workflow/scripts/classlens"


def with_comparison(stale: set[str]) -> set[str]:
    """Stale rules of the demo and those after them: the comparison with expected numbers, where it reads one of them, and the report."""
    compared = stale | {"reproduction"} if stale & COMPARED else stale
    return compared | {"report_pages"} if compared else compared


@pytest.fixture
def changing(demo: Run) -> Callable[[str, str], None]:
    """Append text to a file of the demo's checkout or working folder; it is put back after the test, modification time included."""
    undo: list[Callable[[], object]] = []

    def change(name: str, text: str) -> None:
        path = next(base / name for base in (demo.checkout, demo.folder) if (base / name).exists())
        content, stat = path.read_bytes(), path.stat()
        undo.append(lambda: (path.write_bytes(content), os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))))
        path.write_bytes(content + text.encode())

    yield change
    for step in reversed(undo):
        step()


CHANGED_FILES = {
    "comment in a script": ("workflow/scripts/project.py", PROJECTED),
    "module used by one stage": (f"{LIBRARY}/data/shapes.py", EVERYTHING),
    "module used by projection only": (f"{LIBRARY}/analyses/projection.py", PROJECTED | TWINS),
    "module of one figure": (f"{LIBRARY}/figures/change_rate.py", {"figure_change_rate"}),
    "module of all figures": (f"{LIBRARY}/figures/canvas.py", FIGURES),
    "module of one table": (f"{LIBRARY}/tables/identifiability.py", {"table_identifiability"}),
    "statistics": (f"{LIBRARY}/statistics.py", {"deletion_curves", "faithfulness"} | SHOWN - WITHOUT_STATISTICS),
    "memories": (f"{LIBRARY}/analyses/agreement.py", {"memories"} | TWINS | shown("memories", "identifiability") | EXPLORED),
    "perturbation": (f"{LIBRARY}/analyses/perturbation.py", PERTURBED),
    "relevance": (f"{LIBRARY}/analyses/relevance.py", EXPLAINED),
    "a method of relevance maps": (f"{LIBRARY}/analyses/legrad.py", EXPLAINED),
    "deletion": (f"{LIBRARY}/analyses/deletion.py", DELETED | SCORED),
    "faithfulness": (f"{LIBRARY}/analyses/faithfulness.py", SCORED),
    "masks of maps": (f"{LIBRARY}/analyses/segmentation.py", {"segmentation", "figure_segmentation_scores", "table_segmentation_scores"}),
    "probes": (f"{LIBRARY}/analyses/probes.py", {"probes"} | EXPLAINED),
    "tuned lens": (f"{LIBRARY}/analyses/tuned_lens.py", FITTED_TUNED),
    "refinement of the tuned lens": (f"{LIBRARY}/analyses/tuned_lens_refinement.py", FITTED_TUNED),
    "attribution": (f"{LIBRARY}/analyses/attribution.py", ATTRIBUTED),
    "terms by token": (f"{LIBRARY}/analyses/attribution_tokens.py", BY_TOKEN),
    "choice of the explorer's images": (f"{LIBRARY}/explorer/choice.py", BY_TOKEN),
    "ablation": (f"{LIBRARY}/analyses/ablation.py", ABLATED),
    "signs of something else": (f"{LIBRARY}/report/sanity.py", {"sanity", "explorer"}),
    "training": (f"{LIBRARY}/models/training.py", OF_TRAINING),
    "style of the figures": (f"{LIBRARY}/figures/classlens.mplstyle", FIGURES),
    "files of the explorer": (f"{LIBRARY}/explorer/tables.py", EXPLORED),
    "style of the explorer": (f"{LIBRARY}/explorer/page/style.css", {"explorer"}),
    "comparison with expected numbers": (f"{LIBRARY}/report/reproduction.py", {"reproduction"}),
    "scripts of the explorer": (f"{LIBRARY}/explorer/page/main.js", {"explorer"}),
    "pages of the report": (f"{LIBRARY}/report/pages/__init__.py", {"report_pages"}),
    "templates of the report": (f"{LIBRARY}/report/pages/front_page.html", {"report_pages"}),
    "sentences of the report": (f"{LIBRARY}/report/findings.py", {"report_pages"}),
    "templates of pages": (f"{LIBRARY}/presentation/templates.py", {"explorer", "report_pages"}),
    "caption in the report": ("workflow/report/figures/change_rate.rst", {"report_pages"}),
    "comment beside the expected numbers": ("config/expected.yaml", set()),
    "module of the plan": (f"{LIBRARY}/config/plan.py", set()),
    "summary": ("workflow/scripts/summary.py", set()),
    "help of a setting": (f"{LIBRARY}/config/settings.py", set()),
    "lock": ("envs/workflow.lock", EVERYTHING),
    "lock of the tests' tools": ("envs/dev.lock", set()),
}


@pytest.mark.parametrize("what", CHANGED_FILES)
def test_changed_files(demo: Run, changing: Callable[[str, str], None], what: str) -> None:
    name, stale = CHANGED_FILES[what]
    changing(name, "\n# changed\n")
    assert planned(demo) == with_comparison(stale)


def test_another_expected_number(demo: Run, changing: Callable[[str, str], None]) -> None:
    group = "  - {what: x, table: token_perturbation, column: rate, tolerance: 1, source: x, rows: [{model: cls, value: 1}]}\n"
    changing("config/expected.yaml", group)
    assert planned(demo) == {"reproduction", "report_pages"}


def test_a_module_that_nothing_uses(demo: Run) -> None:
    module = demo.checkout / LIBRARY / "unused.py"
    module.write_text("x = 1\n")
    assert planned(demo) == set()
    module.unlink()


@pytest.mark.parametrize(
    "name",
    [
        "workflow/scripts/extract.py",
        f"{LIBRARY}/lens.py",
        "Snakefile",
        "config/config.yaml",
        "envs/workflow.lock",
        "results/demo/data/shapes/validation/manifest.parquet",
        "results/demo/models/cls/model.json",
    ],
)
def test_a_touched_file_makes_nothing_stale(demo: Run, changing: Callable[[str, str], None], name: str) -> None:
    changing(name, "")
    next(base / name for base in (demo.checkout, demo.folder) if (base / name).exists()).touch()
    assert planned(demo) == set()


def test_another_checkout_makes_nothing_stale(demo: Run) -> None:
    other = demo.checkout.rename(demo.checkout.with_name("moved checkout"))
    try:
        assert planned(Run(demo.folder, other)) == set()
    finally:
        other.rename(demo.checkout)


ANOTHER = {
    "label": "another",
    "arch": "vit_tiny_patch16_224",
    "weights": "random",
    "kwargs": {"img_size": 112, "embed_dim": 64, "num_heads": 4},
}
CHANGED_SETTINGS = {
    "seed": ("seed", 1, EVERYTHING),
    "images": ("datasets.shapes.images_per_class", 12, EVERYTHING),
    "number of classes": ("datasets.shapes.num_classes", 9, EVERYTHING),
    "what to do with bad images": ("datasets.shapes.on_bad_image", "skip", EVERYTHING - {"shapes"}),
    "images of probes": ("datasets.shapes.probe_images_per_class", 11, EVERYTHING),
    "label": ("models.cls.label", "my model", SHOWN | {"sanity", "explorer"}),
    "arguments of a model": ("models.cls.kwargs.embed_dim", 32, EVERYTHING - {"shapes", "manifest", "twins_pooled"}),
    "transform": ("models.cls.transform", {"resize": [112, 112]}, EVERYTHING - {"shapes", "manifest", "twins_pooled"}),
    "epochs of one model": ("models.cls.training.epochs", 25, OF_TRAINING),
    "type of hidden states": ("hidden_states.dtype", "float32", EXTRACTED | TWINS),
    "precision": ("compute.precision", "bfloat16", OF_TRAINING | TWINS),
    "classes kept": ("projection.top_k", 3, PROJECTED | TWINS),
    "classes of interest": ("projection.classes", [1], PROJECTED | TWINS),
    "classes of maps": ("relevance.classes", ["own", "predicted"], EXPLAINED),
    "methods of maps": ("relevance.methods", ["ours", "chefer", "random"], EXPLAINED),
    "steps of deletion": ("deletion.steps", 7, DELETED),
    "ridge of the tuned lens": ("tuned_lens.ridge", 0.01, FITTED_TUNED),
    "refinement": ("tuned_lens.refine", "kl", FITTED_TUNED),
    "tuned lens in the explorer": ("explorer.tuned_lens", True, EXPLORED | {"project_tuned"}),
    "images of total effects": ("ablation.images", 20, ABLATED),
    "images of the explorer": ("explorer.images", 150, BY_TOKEN),
    "more images of the explorer than there are": ("explorer.images", 250, set()),
    "all images in the explorer": ("explorer.images", None, set()),
    "width of figures": ("figures.width", "single", FIGURES),
    "formats of figures": ("figures.formats", ["pdf"], FIGURES),
    "batch size": ("compute.batch_size", 7, set()),
    "workers": ("compute.workers", 2, set()),
    "device": ("compute.device", "cpu", set()),
    "jobs of a GPU": ("compute.jobs_per_gpu", 2, set()),
    "a model more": ("models.another", ANOTHER, {"model"} | OF_MODEL - {"sanity"}),
    "no twin": ("models.cls.random_twin", False, AGAINST_TWINS | EXPLORED),
    "fewer twins": ("models.cls.random_twin", {"seeds": 3}, {"twins_cls"} | AGAINST_TWINS | EXPLORED),
    "fewer analyses": ("models.cls.analyses", ["identifiability"], SHOWN - PER_MODEL - shown("identifiability") | EXPLORED),
}


@pytest.mark.parametrize("what", CHANGED_SETTINGS)
def test_changed_settings(demo: Run, what: str) -> None:
    path, value, stale = CHANGED_SETTINGS[what]
    config = yaml.safe_load((demo.checkout / "config" / "config.yaml").read_text(encoding="utf-8"))
    place = config
    *way, key = path.split(".")
    for part in way:
        place = place.setdefault(part, {})
    place[key] = value
    of_explorer = stale and stale <= BY_TOKEN | {"project_tuned"}  # the report shows nothing of the explorer
    expected = stale if of_explorer else with_comparison(stale)
    assert planned(demo, "--configfile", str(demo.configure(config))) == expected


def test_one_figure_needs_only_what_is_under_it(demo: Run, changing: Callable[[str, str], None]) -> None:
    changing(f"{LIBRARY}/statistics.py", "\n# changed\n")
    assert planned(demo, "results/demo/figures/mean_evolution.svg") == {"figure_mean_evolution"}
    assert planned(demo, "F4") == {"figure_class_vs_context", "F4"}
    assert planned(demo, "tables") == TABLES - WITHOUT_STATISTICS | {"deletion_curves", "faithfulness", "tables"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on an image folder: a BEiT from a checkpoint without a head, and a class embedding from a file."""
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    from classlens.models.loading import build

    home = tmp_path_factory.mktemp("a user's files")
    for name in ("cat; rm -rf x", "dog 'n' \"roll\""):
        for i in range(2):
            path = home / "images" / "validation" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (20 * i, 99, 3)).save(path)
    kwargs = {"img_size": 32, "embed_dim": 24, "num_heads": 2, "depth": 2, "num_classes": 0}
    torch.manual_seed(0)
    torch.save(build("beit_base_patch16_224", kwargs, None).state_dict(), home / "weights.pt")
    names = json.dumps(["dog 'n' \"roll\"", "cat; rm -rf x"])
    save_file({"weight": torch.randn(2, 24)}, home / "text.safetensors", {"classes": names})
    run = Run(home / "work")
    config = {
        "run": "mine",
        "datasets": {"mine": {"kind": "imagefolder", "root": "../images", "images_per_class": None}},
        "models": {
            "m": {
                "arch": "beit_base_patch16_224",
                "weights": "../weights.pt",
                "kwargs": kwargs,
                "class_embedding": {"file": "../text.safetensors", "normalization": "cosine", "temperature": 0.1},
            }
        },
        "hidden_states": {"shard_size": 3},
        "projection": {"top_k": 2},
    }
    run.complete("--configfile", run.configure(config))
    return run


def of_user(run: Run) -> set[str]:
    return planned(run, "--configfile", str(run.folder / "my config.yaml"))


def coloured(root: Path, split: str, count: int) -> None:
    """Images of two classes."""
    from PIL import Image

    for class_id, colour in (("ant", 200), ("bee", 20)):
        for number in range(count):
            path = root / split / class_id / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (colour, 9 * number, 99)).save(path)


FITTED = "results/fitted/models/m/model.json"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model with a fitted head, and nothing after it."""
    run = Run(tmp_path_factory.mktemp("fitted"))
    coloured(run.folder / "images", "train", 4)
    coloured(run.folder / "images", "validation", 2)
    run.complete(FITTED, "--configfile", run.configure(config_of_fit()))
    return run


def config_of_fit(**embedding: object) -> dict[str, object]:
    model = {"arch": "vit_tiny_patch16_224", "weights": "random", "kwargs": {"img_size": 32, "embed_dim": 24, "num_heads": 2, "depth": 2}}
    dataset = {"kind": "imagefolder", "root": "images", "images_per_class": None}
    models = {"m": {**model, "class_embedding": {"fit": "ridge", **embedding}}}
    return {"run": "fitted", "datasets": {"d": dataset}, "models": models, "analyses": ["identifiability"]}


def of_fit(run: Run, *targets: str, **embedding: object) -> set[str]:
    config = run.configure(config_of_fit(**embedding), "changed.yaml")
    return planned(run, *(targets or (FITTED,)), "--configfile", str(config))


def test_a_fitted_head(fitted: Run) -> None:
    assert of_fit(fitted) == set()
    assert of_fit(fitted, fit="linear") == {"fit_head", "model"}


def test_an_image_that_the_head_is_fitted_on(fitted: Run) -> None:
    path = fitted.folder / "images/train/ant/0.png"
    content = path.read_bytes()
    path.write_bytes((path.parent / "1.png").read_bytes())
    stale = of_fit(fitted)
    path.write_bytes(content)
    assert stale == {"manifest", "features", "fit_head", "model"}
    assert of_fit(fitted) == set()


def test_the_twins_of_a_fitted_head_have_vectors_of_its_shape(fitted: Run) -> None:
    model = {"arch": "vit_tiny_patch16_224", "kwargs": {"img_size": 32, "depth": 2}, "class_embedding": {"fit": "ridge"}}
    config = fitted.configure({**config_of_fit(), "run": "twins", "models": {"m": model}}, "twins.yaml")
    assert {"twins_m", "features", "fit_head"} <= planned(
        fitted, "results/twins/identifiability/m_random/d.parquet", "--configfile", str(config)
    )


def test_prompts(fitted: Run, tmp_path: Path) -> None:
    """Settings that the text tower depends on; none of its programs runs here."""
    from classlens.config.plan import Plan
    from classlens.config.reading import resolve
    from classlens.config.steps import flags

    def steps(**embedding: object) -> tuple[list[str], list[str]]:
        model = {"arch": "vit_base_patch32_clip_quickgelu_224.openai", "class_embedding": {"text": "openclip", **embedding}}
        plan = Plan(resolve({"datasets": {"d": {"kind": "shapes"}}, "models": {"m": model}}), str(tmp_path))
        return flags(plan.text_step("m")), flags(plan.model_step("m"))

    (text, model), (other_text, same_model) = steps(), steps(prompts=["{}"])
    assert text != other_text and model == same_model
    (same_text, other_model) = steps(temperature=0.5)
    assert same_text == text and other_model != model


WITH_MASKS = {"context", "tokens", "segmentation"} | shown("context", "tokens")
WITH_MASKS |= {"figure_segmentation_scores", "table_segmentation_scores", "table_context_difference"}
CHANGED_IMAGES = EVERYTHING - {"shapes", "train", "extract"} - TWINS - WITH_MASKS
CHANGED_IMAGES |= {"twins_m", "report_pages"}  # models depend on the classes, not on images


def test_an_untouched_user_run_is_complete(folder: Run) -> None:
    assert of_user(folder) == set()


def test_an_image_more(folder: Run) -> None:
    image = folder.folder / "../images/validation/cat; rm -rf x/9.png"
    image.write_bytes((image.parent / "0.png").read_bytes())
    assert of_user(folder) == CHANGED_IMAGES
    image.unlink()
    assert of_user(folder) == set()


def test_a_class_more(folder: Run) -> None:
    """The rows of the head, or of the class embedding, are in the order of the classes."""
    image = folder.folder / "../images/validation/another class/0.png"
    image.parent.mkdir()
    image.write_bytes((image.parent.parent / "cat; rm -rf x/0.png").read_bytes())
    stale = of_user(folder)
    image.unlink()
    image.parent.rmdir()
    assert stale == CHANGED_IMAGES | {"classes", "model"}
    assert of_user(folder) == set()


def test_a_touched_and_a_changed_image(folder: Run) -> None:
    image = folder.folder / "../images/validation/cat; rm -rf x/0.png"
    content = image.read_bytes()
    image.touch()
    assert of_user(folder) == set()
    image.write_bytes((image.parent / "1.png").read_bytes())
    assert of_user(folder) == CHANGED_IMAGES
    image.write_bytes(content)


def test_a_checkpoints_bytes(folder: Run) -> None:
    path = folder.folder / "../weights.pt"
    content = path.read_bytes()
    path.touch()
    assert of_user(folder) == set()
    path.write_bytes(content + b"\0")
    stale = of_user(folder)
    path.write_bytes(content)
    assert stale == CHANGED_IMAGES - {"manifest", "twins_m"} | {"model"}


def test_a_class_embeddings_bytes(folder: Run) -> None:
    path = folder.folder / "../text.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    stale = of_user(folder)
    path.write_bytes(content)
    assert stale == CHANGED_IMAGES - {"manifest"} | {"model"}  # of the random twin too, whose class embedding has its shape


def test_a_data_set_that_has_moved(folder: Run) -> None:
    images = (folder.folder / "../images").resolve()
    moved = images.rename(images.with_name("moved images"))
    config = yaml.safe_load((folder.folder / "my config.yaml").read_text(encoding="utf-8"))
    config["datasets"]["mine"]["root"] = str(moved)
    assert planned(folder, "--configfile", str(folder.configure(config, "moved.yaml"))) == set()
    moved.rename(images)


def test_files_have_names_not_commands(folder: Run) -> None:
    assert (folder.folder / "results/mine/figures/mean_evolution.svg").exists()
    assert Path(folder.folder / "../images").exists()


PICTURE = "results/mine/figures/mean_evolution"


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        (f"{PICTURE}.svg", {"figure_mean_evolution", "report_pages"}),
        (f"{PICTURE}.png", {"figure_mean_evolution", "report_pages"}),
        (f"{PICTURE}.pdf", {"figure_mean_evolution", "report_pages"}),
        (f"{PICTURE}.csv", {"figure_mean_evolution", "report_pages"}),
        ("results/mine/tables/identifiability.csv", {"table_identifiability", "report_pages"}),
        ("results/mine/report/tables/identifiability.html", {"report_pages"}),
        ("results/mine/report/front_page.html", {"report_pages"}),
        ("results/mine/explorer/m", EXPLORED),
        ("results/mine/explorer/index.html", {"explorer"}),
    ],
)
def test_what_is_missing_is_made_again(folder: Run, name: str, rules: set[str]) -> None:
    path = folder.folder / name
    kept = path.rename(folder.folder / "kept")
    stale = of_user(folder)
    kept.rename(path)
    assert stale == rules


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("images/validation/cat; rm -rf x/0.png", CHANGED_IMAGES),
        ("weights.pt", CHANGED_IMAGES - {"manifest", "twins_m"} | {"model"}),
        ("text.safetensors", CHANGED_IMAGES - {"manifest"} | {"model"}),
    ],
)
def test_other_bytes_of_the_same_size_and_date(folder: Run, name: str, rules: set[str]) -> None:
    path = folder.folder / ".." / name
    content, stat = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    stale = of_user(folder)
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert stale == rules
    assert of_user(folder) == set()


@pytest.fixture
def copied(folder: Run) -> Iterator[Run]:
    """The results of a finished run with new dates and without Snakemake's records, beside the same images."""
    run = Run(folder.folder.with_name("copied"), folder.checkout)
    shutil.copytree(folder.folder / "results", run.folder / "results", copy_function=shutil.copyfile)
    shutil.copy(folder.folder / "my config.yaml", run.folder)
    yield run
    shutil.rmtree(run.folder)


def give_new_dates(run: Run) -> None:
    """Make what was written first look newest, by more than what the disk's clock resolves."""
    now = time.time()
    for number, path in enumerate(sorted((run.folder / "results/mine").rglob("*"), reverse=True)):
        os.utime(path, (now + number / 100,) * 2)


def test_a_copied_run_is_complete(copied: Run) -> None:
    assert of_user(copied) == set()
    shutil.rmtree(copied.folder / ".snakemake" / "metadata")  # new dates again, and nothing but the run's own record
    give_new_dates(copied)
    assert of_user(copied) == set()


@pytest.mark.parametrize(
    ("key", "value", "rules"),
    [
        ("seed", 7, CHANGED_IMAGES - {"manifest"} | {"model"}),
        ("projection", {"top_k": 3}, PROJECTED - WITH_MASKS | {"twins_m", "report_pages"}),
        ("hidden_states", {"shard_size": 3, "dtype": "float32"}, EXTRACTED - WITH_MASKS - {"extract"} | {"twins_m", "report_pages"}),
    ],
)
def test_another_setting_is_seen_without_snakemakes_records(copied: Run, key: str, value: object, rules: set[str]) -> None:
    config = yaml.safe_load((copied.folder / "my config.yaml").read_text(encoding="utf-8"))
    assert planned(copied, "--configfile", str(copied.configure({**config, key: value}))) == rules


def adopt_dates(run: Run) -> subprocess.CompletedProcess[str]:
    program = run.checkout / "workflow/scripts/adopt_dates.py"
    command = [sys.executable, str(program), "--results", "results/mine"]
    return subprocess.run(command, cwd=run.folder, capture_output=True, text=True, check=False)


def test_a_copy_with_snakemakes_records_and_new_dates(copied: Run, folder: Run) -> None:
    shutil.copytree(folder.folder / ".snakemake", copied.folder / ".snakemake")
    give_new_dates(copied)
    config = str(copied.folder / "my config.yaml")
    by_date = ("--max-checksum-file-size", "0", "--configfile", config)  # as Snakemake does with files of more than a megabyte
    assert planned(copied, *by_date) != set()
    done = adopt_dates(copied)
    assert done.returncode == 0, done.stderr
    assert planned(copied, *by_date) == set()
    (copied.folder / "results/mine/tables/identifiability.csv").unlink()
    done = adopt_dates(copied)
    assert done.returncode == 1
    assert "results/mine/tables/identifiability.csv is missing: remove" in done.stderr


def test_a_copy_that_is_cut_short_is_refused(copied: Run) -> None:
    table = copied.folder / "results/mine/tables/identifiability.csv"
    table.write_bytes(table.read_bytes()[:-1])
    done = copied.snakemake("--dry-run", "--configfile", copied.folder / "my config.yaml")
    name = "results/mine/tables/identifiability.csv"
    assert done.returncode and f"error: {name} is not the file that the run has made (its size differs): remove {name}" in done.stderr
    table.unlink()
    assert of_user(copied) == {"table_identifiability", "report_pages"}


def test_a_file_missing_from_a_folder_is_refused(copied: Run) -> None:
    gone = min(path for path in (copied.folder / "results/mine/explorer/m").rglob("*") if path.is_file() and path.name[0] != ".")
    gone.unlink()
    done = copied.snakemake("--dry-run", "--configfile", copied.folder / "my config.yaml")
    assert done.returncode and "which the run made, is missing: remove the folder results/mine/explorer/m" in done.stderr
    shutil.rmtree(copied.folder / "results/mine/explorer/m")
    assert of_user(copied) == EXPLORED


def test_results_of_which_nothing_is_known_are_refused(copied: Run) -> None:
    (copied.folder / "results/mine/made.json").unlink()
    done = copied.snakemake("--dry-run", "--configfile", copied.folder / "my config.yaml")
    assert done.returncode and "neither .snakemake nor results/mine/made.json says what it was made from" in done.stderr
