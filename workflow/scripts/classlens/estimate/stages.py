"""What a run will take, before it starts: images, jobs, disk and time of every stage.

Disk follows from the shapes of what is written, and from the bytes per image that a calibration measures where files are compressed. Time
is that of images through the calibrated stages, of further stages as multiples of the forward pass (`FORWARDS`), and of loading libraries
in every job.
"""

from collections.abc import Callable
from dataclasses import dataclass

from classlens.analyses.deletion import RANDOM_DRAWS, TIE_DRAWS, steps
from classlens.analyses.extraction import MOST_LIKELY
from classlens.analyses.memory_table import ACTIVE
from classlens.analyses.twins import KEPT_SITES
from classlens.config.plan import Model, Plan
from classlens.data.transforms import output_size
from classlens.errors import InputError
from classlens.estimate.calibration import Calibration
from classlens.models.card import Card
from classlens.storage.hidden_states import NUMPY_DTYPES
from classlens.vocabulary import METHODS, ORDERS, PROJECTED_SITES, STORED_SITES, SUBLAYER_SITES, SUBLAYERS

# Forward passes of an image that a stage takes, from docs/benchmarks.md (ViT-B/32).
FORWARDS = {
    "self_only": 0.97,
    "no_cls": 1.02,
    "without_context": 0.55,
    "without_class": 0.7,
    "relevance": 1.07,
    "attention maps": 2.09,
    "deletion step": 0.5,
    "training step": 3.0,
}
# One linear probe of ViT-B/32 (9100 training and 4550 test images, 768 wide, 1000 classes), in seconds.
PROBE_SECONDS = 0.23

# Jobs that load torch; the others load table libraries, and figures matplotlib.
WITH_TORCH = {"model", "train", "extract", "extract_with_memory_keys", "project", "perturbations", "relevance", "deletion", "memories"}
# Seconds of a job beside loading libraries, where they do not depend on the number of images much.
FIXED = {"figure": 2.0, "memories": 2.0}
# What Snakemake itself does for each job, in seconds.
PER_JOB = 0.35
JOBS_AT_ONCE = 2


@dataclass(frozen=True)
class Loading:
    """Seconds that a job takes to load its libraries: torch and timm, table libraries, or matplotlib too."""

    torch: float
    tables: float
    figures: float

    def of(self, rule: str) -> float:
        """Seconds of a job of a rule beside its images."""
        if rule in WITH_TORCH or rule.startswith("twins_"):
            return self.torch + FIXED.get(rule, 0)
        return self.figures + FIXED["figure"] if rule.startswith("figure_") else self.tables


@dataclass
class Stage:
    """What the jobs of a rule take.

    Attributes:
        rule: name of the rule.
        jobs: how many are left to do.
        all_jobs: how many there are.
        seconds: of all its jobs, with all cores, beside loading libraries.
        bytes: that it leaves on disk.
        temporary: bytes that it needs only while the run lasts.
    """

    rule: str
    jobs: int = 0
    all_jobs: int = 0
    seconds: float = 0
    bytes: float = 0
    temporary: float = 0

    @property
    def left(self) -> float:
        """Share of the stage that is still to be done."""
        return self.jobs / self.all_jobs if self.all_jobs else 0


def stages(plan: Plan, calibrations: dict[str, Calibration], left: dict[str, int], everything: dict[str, int]) -> list[Stage]:
    """The stages of a run in the order of its rules.

    Args:
        plan: the run.
        calibrations: of each model, by name; a twin has its model's.
        left: jobs that are still to be done, by rule.
        everything: all jobs of the run, by rule.
    """
    found = {rule: Stage(rule, left.get(rule, 0), count) for rule, count in everything.items()}

    def add(rule: str, seconds: float = 0, size: float = 0, temporary: float = 0) -> None:
        stage = found.get(rule, Stage(rule))
        stage.seconds, stage.bytes, stage.temporary = stage.seconds + seconds, stage.bytes + size, stage.temporary + temporary

    for name in plan.measured_alone:
        _add_model(plan, plan.models[name], calibrations[plan.models[name].twin_of or name], add)
    for name, twins in plan.measured_together.items():
        _add_twins(plan, name, len(twins), calibrations[name], add)
    for dataset in (dataset for dataset in plan.used() if dataset.is_generated):
        add("shapes", size=IMAGE_BYTES * sum(map(dataset.image_count, dataset.splits)))
    for rule in found:
        if rule.startswith("figure_"):
            add(rule, size=FIGURE_BYTES * found[rule].all_jobs)
    return list(found.values())


SECONDS_PER_TWIN = 0.6
"""A random twin that is initialised, checked, written and read."""
IMAGE_BYTES = 6500
"""A generated image with its mask."""
FIGURE_BYTES = 350_000
"""A figure in its four formats."""
EXPLORER_SHARE, EXPLORER_SECONDS, PHOTOGRAPH_BYTES = 0.5, 6e-8, 0.3
"""Of a byte that the explorer shows: what is left of it in its file, and seconds to pack it; and bytes of a photograph's pixel."""

Add = Callable[..., None]


def _add_model(plan: Plan, model: Model, cost: Calibration, add: Add) -> None:
    card, has = cost.card, set(model.analyses)
    dataset = plan.datasets[model.dataset]
    count = dataset.image_count(dataset.eval_split)
    split = dataset.probe_split if "probes" in has else None
    of_probes = dataset.image_count(split) if split else 0
    keep = plan.config.hidden_states.keep
    states = states_per_image(cost, plan.config.hidden_states.dtype)
    keys = "memories" in has
    add("train" if model.weights == "trained" else "model", seconds=_training(plan, model, cost), size=cost.weights)
    add("extract_with_memory_keys" if keys else "extract", seconds=count * cost.extraction, size=count * cost.memory_keys * keys)
    add("extract", seconds=of_probes * cost.extraction)
    for rule, images in (("extract_with_memory_keys" if keys else "extract", count), ("extract", of_probes)):
        add(rule, **{"size" if keep else "temporary": images * states})
    add("project", seconds=count * cost.projection, size=count * (cost.projections + cost.class_logits))
    if model.name in plan.explored:
        _add_explorer(plan, cost, add, count=count, sites=STORED_SITES, memories=keys)
    add("perturbations", seconds=count * cost.forward * sum(FORWARDS[name] for name in conditions(plan, model, cost)))
    if "relevance" in has:
        classes = len(set(plan.config.relevance.classes) | {"own"})
        maps = FORWARDS["relevance"] + FORWARDS["attention maps"] + (classes > 1)
        values = card.depth * card.heads + len(METHODS)
        add("relevance", seconds=count * cost.forward * maps, size=4 * 0.9 * count * classes * values * card.image_tokens)
    if "deletion" in has:
        removed = steps(card.image_tokens, plan.config.deletion.steps, card.pooling == "mean", plan.protocol)
        curves = (len(METHODS) - 1 - ("probes" not in has)) * len(ORDERS) + RANDOM_DRAWS
        curves += (TIE_DRAWS - 1) * len(ORDERS) * ("probes" in has)  # ranks of probes have ties
        runs = sum(curves if 0 < number < card.image_tokens else 1 for number in removed)  # all curves begin and end alike
        add("deletion", seconds=count * cost.forward * FORWARDS["deletion step"] * runs)
    if "probes" in has:
        share = probe_work(of_probes or count, count, card.width, card.classes) / probe_work(9100, 4550, 768, 1000)
        add("probes", seconds=PROBE_SECONDS * share * len(STORED_SITES) * card.depth * card.tokens)


def _add_explorer(plan: Plan, cost: Calibration, add: Add, *, count: int, sites: tuple[str, ...], memories: bool) -> None:
    shown = explored(cost.card, plan.config.projection.top_k, memories, sites)
    height, width = output_size(cost.card.transform) or (0, 0)
    explorer = EXPLORER_SHARE * shown + PHOTOGRAPH_BYTES * height * width
    add("explorer_model", seconds=count * shown * EXPLORER_SECONDS, size=count * explorer)


def _add_twins(plan: Plan, name: str, twins: int, cost: Calibration, add: Add) -> None:
    """Add what the random twins of a model take: images decoded once, a forward pass and few sites for each twin, and no hidden states."""
    dataset = plan.datasets[plan.models[name].dataset]
    count = dataset.image_count(dataset.eval_split)
    share = len(KEPT_SITES) / len(PROJECTED_SITES)
    projected = len((*KEPT_SITES, *(SUBLAYER_SITES if plan.twins_need_memories(name) else ()))) / len(PROJECTED_SITES)
    seconds = count * (cost.extraction - cost.forward + twins * (cost.forward + projected * cost.projection))
    size = twins * cost.weights + count * share * (twins * cost.projections + cost.class_logits)
    add(f"twins_{name}", seconds=seconds + twins * SECONDS_PER_TWIN, size=size)
    _add_explorer(plan, cost, add, count=count, sites=KEPT_SITES, memories=False)


def explored(card: Card, top_k: int, memories: bool, sites: tuple[str, ...]) -> int:
    """Bytes of an image in the explorer: ranks, logits of classes of interest and largest classes of every token, and active memories."""
    projected = len(sites) * (2 + 2 * (1 + MOST_LIKELY) + 4 * min(top_k, card.classes))
    return card.tokens * card.depth * (projected + 4 * ACTIVE * len(SUBLAYERS) * memories)


def probe_work(train: int, test: int, width: int, classes: int) -> float:
    """Multiplications of one linear probe: products with training images, a decomposition (measured as 8 cubes), test images."""
    return train * width * (width + classes) + 8 * width**3 + test * width * classes


def _training(plan: Plan, model: Model, cost: Calibration) -> float:
    if model.weights != "trained":
        return 0
    kept = 1 - model.settings.kwargs.get("patch_drop_rate", 0)
    dataset = plan.datasets[model.dataset]
    images = dataset.image_count(dataset.train_split) * model.settings.training.epochs
    return images * cost.forward * FORWARDS["training step"] * kept


def conditions(plan: Plan, model: Model, cost: Calibration) -> list[str]:
    """The perturbations that a model is run under."""
    attention = ["self_only", *(["no_cls"] if cost.card.cls_token else [])] if "attention" in model.analyses else []
    tokens = ["without_context", "without_class"] if "tokens" in model.analyses and plan.datasets[model.dataset].has_masks else []
    return [*attention, *tokens]


def states_per_image(cost: Calibration, dtype: str) -> float:
    """Return the bytes of the hidden states of an image: the values of each site and block, their exponents, and the token's number."""
    card, exponent = cost.card, 4 if dtype == "float16" else 0  # Parquet stores an int8 in four bytes
    return card.tokens * (len(STORED_SITES) * card.depth * (card.width * NUMPY_DTYPES[dtype].itemsize + exponent) + 6)


@dataclass(frozen=True)
class Totals:
    """What a run takes.

    Attributes:
        jobs: that are left.
        seconds: wall time on this machine.
        bytes: that it adds to the disk.
        peak: bytes that it needs while it runs.
    """

    jobs: int
    seconds: float
    bytes: float
    peak: float


def totals(found: list[Stage], loading: Loading, cores: int) -> Totals:
    """Sums over the stages of what is left of them.

    Args:
        found: from `stages`.
        loading: seconds that libraries take to load.
        cores: that Snakemake is given.
    """
    kept = sum(stage.bytes * stage.left for stage in found)
    temporary = sum(stage.temporary * stage.left for stage in found)
    return Totals(sum(stage.jobs for stage in found), sum(wall(stage, loading, cores) for stage in found), kept, kept + temporary)


def check_disk(total: Totals, free: float) -> None:
    """Raise an InputError where the run needs more than the free bytes."""
    if total.peak > free:
        raise InputError(
            f"the run needs up to {total.peak / 1e9:.2f} GB of disk and {free / 1e9:.2f} GB are free: free some, move the results "
            "folder to another disk, or set hidden_states.keep to false"
        )


def wall(stage: Stage, loading: Loading, cores: int) -> float:
    """Seconds that what is left of a stage takes: images use all cores, and jobs load their libraries two at a time."""
    return stage.seconds * stage.left + stage.jobs * (loading.of(stage.rule) / min(JOBS_AT_ONCE, cores) + PER_JOB)


def report(plan: Plan, found: list[Stage], loading: Loading, cores: int) -> str:
    """The estimate as a table for people."""
    lines = [f"{'stage':26}{'jobs':>6}{'done':>6}{'disk, MB':>12}{'for a while':>13}{'minutes':>9}"]
    groups: dict[str, list[Stage]] = {}
    for stage in found:
        groups.setdefault("figures and tables" if stage.rule.startswith(("figure_", "table_")) else stage.rule, []).append(stage)
    for name, group in groups.items():
        total = totals(group, loading, cores)
        done = sum(stage.all_jobs for stage in group) - total.jobs
        sizes = f"{total.bytes / 1e6:>12.1f}{(total.peak - total.bytes) / 1e6:>13.1f}"
        lines.append(f"{name:26}{total.jobs:>6}{done:>6}{sizes}{total.seconds / 60:>9.1f}")
    return "\n".join([*_images(plan), "", *lines])


def _images(plan: Plan) -> list[str]:
    """How many images of each split the run has."""
    lines = []
    for dataset in plan.used():
        of_dataset = [model for model in plan.models.values() if model.dataset == dataset.name]
        models = [model.name for model in of_dataset if not model.twin_of]
        splits = ", ".join(f"{dataset.image_count(split)} of {split}" for split in dataset.splits)
        twins = f"; {len(of_dataset) - len(models)} random twins" if len(of_dataset) > len(models) else ""
        lines.append(f"{dataset.name}: {splits} images; {len(models)} models: {', '.join(models)}{twins}")
    return lines
