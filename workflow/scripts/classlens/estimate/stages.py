"""Estimates of a run before it starts: images, jobs, disk space and time of every stage.

Disk space follows from the shapes of arrays or, for compressed files, from the measured bytes per image of a calibration. Time is the sum
of calibrated stages, further stages as multiples of the forward pass (`FORWARDS`), and loading libraries in every job.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from classlens.analyses.attribution_tokens import CLASSES
from classlens.analyses.deletion import RANDOM_DRAWS, TIE_DRAWS, steps
from classlens.analyses.extraction import MOST_LIKELY
from classlens.analyses.faithfulness import GROUPS
from classlens.analyses.integrated_gradients import STEPS
from classlens.analyses.memory_table import ACTIVE
from classlens.analyses.segmentation import trivial_maps
from classlens.analyses.tuned_lens import HALVES
from classlens.analyses.twins import KEPT_SITES
from classlens.config.plan import Model, Plan
from classlens.config.settings import ON_PROBE_SPLIT
from classlens.data.transforms import output_size
from classlens.errors import InputError
from classlens.estimate.calibration import Calibration
from classlens.models.card import Card
from classlens.models.training import Recipe
from classlens.report.run_facts import duration
from classlens.storage.hidden_states import NUMPY_DTYPES
from classlens.vocabulary import ORDERS, PROJECTED_SITES, STORED_SITES, SUBLAYER_SITES, SUBLAYERS, Method

# Time per image of a stage in forward passes, from docs/benchmarks.md (ViT-B/32), and for training from the demo's small models.
FORWARDS = {
    "self_only": 0.97,
    "no_cls": 1.02,
    "without_context": 0.55,
    "without_class": 0.7,
    "relevance": 1.07,
    "attribution": 1.2,
    "attribution by token": 2.4,
    "deletion step": 0.5,
    "group": 0.9,
    "training step": 4.0,
}
# Backward passes of a method of relevance maps for each class, in forward passes.
BACKWARD: dict[Method, float] = {"legrad": 0.45, "attnlrp": 1.0, "grad_cam": 0.2, "integrated_gradients": 32 * 1.15, "chefer": 0.9}
# Seconds of one linear probe of ViT-B/32 (9100 training and 4550 test images, width 768, 1000 classes).
PROBE_SECONDS = 0.23

# Seconds of the sums of a tuned lens per block and token, for each entry of its matrix of products, on two cores.
TUNED_SECONDS = 4e-11
# Time of the comparison of two lenses at one site, relative to the projection of four sites.
TUNED_PROJECTIONS = 0.6

# Seconds of a logistic regression per image, feature and class, for all strengths (5,000 images, width 384, 100 classes).
FIT_SECONDS = 2e-8

# Rules whose jobs load torch. Other jobs load table libraries, and jobs of figures also load matplotlib.
WITH_TORCH = {"features", "fit_head", "text_embedding", "model", "train", "extract", "extract_with_memory_keys", "project"}
WITH_TORCH |= {"attribution", "attribution_tokens", "ablation", "tuned_lens_fit", "tuned_lens", "project_tuned"}
WITH_TORCH |= {"perturbations", "relevance", "deletion", "faithfulness", "memories", "segmentation"}
# Seconds of work per job that hardly depend on the number of images, without loading libraries.
FIXED = {"figure": 2.0, "memories": 2.0, "deletion_curves": 0.7, "sanity": 0.7, "probes": 0.7}
# Seconds that Snakemake itself needs for each job.
PER_JOB = 0.35
JOBS_AT_ONCE = 2
FEW_STEPS = 13
"""Number of points of a curve that the advice for long deletion curves recommends."""
LONG = 600
"""Seconds from which on deletion curves are called long."""


@dataclass(frozen=True)
class Loading:
    """Seconds that a job takes to load its libraries.

    Attributes:
        torch: torch and timm.
        tables: table libraries.
        figures: table libraries and matplotlib.
    """

    torch: float
    tables: float
    figures: float

    def of(self, rule: str) -> float:
        """Return the seconds of a rule's job that do not depend on the images."""
        if rule in WITH_TORCH or rule.startswith("twins_"):
            return self.torch + FIXED.get(rule, 0)
        return self.figures + FIXED["figure"] if rule.startswith("figure_") else self.tables + FIXED.get(rule, 0)


@dataclass
class Stage:
    """The time and disk space of a rule's jobs.

    Attributes:
        rule: name of the rule.
        jobs: number of remaining jobs.
        all_jobs: number of all jobs.
        seconds: time of all jobs on all cores, without loading libraries.
        bytes: bytes that all jobs leave on disk.
        temporary: bytes that all jobs need only during the run.
    """

    rule: str
    jobs: int = 0
    all_jobs: int = 0
    seconds: float = 0
    bytes: float = 0
    temporary: float = 0

    @property
    def left(self) -> float:
        """Share of the stage's jobs that remain."""
        return self.jobs / self.all_jobs if self.all_jobs else 0


def stages(plan: Plan, calibrations: dict[str, Calibration], left: dict[str, int], everything: dict[str, int]) -> list[Stage]:
    """Return the stages of a run in the order of its rules.

    Args:
        plan: plan of the run.
        calibrations: calibration of each model by name; a random twin uses the calibration of its model.
        left: number of remaining jobs by rule.
        everything: number of all jobs by rule.
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
        images = sum(map(dataset.image_count, dataset.splits))
        add("shapes", seconds=DRAWING_SECONDS * images, size=IMAGE_BYTES * images)
    for dataset in plan.used():
        add("manifest", seconds=CHECKING_SECONDS * sum(map(dataset.image_count, dataset.splits)))
    for rule in found:
        if rule.startswith("figure_"):
            add(rule, size=FIGURE_BYTES * found[rule].all_jobs)
    return list(found.values())


SECONDS_PER_TWIN = 0.6
"""Seconds to initialise, check, write and read a random twin."""
IMAGE_BYTES = 6500
"""Bytes of a generated image with its mask."""
FIGURE_BYTES = 350_000
"""Bytes of a figure in its four formats."""
READING_SECONDS, PACKING_SECONDS, PACKED_SHARE, PHOTOGRAPH_BYTES = 2e-8, 4.5e-8, 0.33, 0.32
"""Costs of the explorer: seconds of reading each byte of data of all images, seconds of packing and bytes on disk for each byte of data of
the images that it shows, and bytes on disk for each pixel of a photograph."""
TERM_BYTES = 0.7
"""Bytes on disk for each term of a token in the explorer."""

DRAWING_SECONDS, CHECKING_SECONDS = 6e-3, 1e-3
"""Seconds to draw an image with its mask, and to check an image."""
SCORING_SECONDS = 4e-8
"""Seconds to score a relevance map against a mask, for each pixel, on two cores."""

Add = Callable[..., None]


def _add_model(plan: Plan, model: Model, cost: Calibration, add: Add) -> None:
    card, has = cost.card, set(model.analyses)
    dataset = plan.datasets[model.dataset]
    count = dataset.image_count(dataset.eval_split)
    split = dataset.probe_split if has & ON_PROBE_SPLIT else None
    of_probes = dataset.image_count(split) if split else 0
    kept = "size" if plan.config.hidden_states.keep else "temporary"
    states = states_per_image(cost, plan.config.hidden_states.dtype)
    keys = "memories" in has
    add("train" if model.weights == "trained" else "model", seconds=_training(plan, model, cost), size=cost.weights)
    if model.name in plan.with_class_embedding("fit"):
        _add_fit(plan, model.name, cost, add, count)
    add("extract_with_memory_keys" if keys else "extract", seconds=count * cost.extraction, size=count * cost.memory_keys * keys)
    add("extract", seconds=of_probes * cost.extraction)
    for rule, images in (("extract_with_memory_keys" if keys else "extract", count), ("extract", of_probes)):
        add(rule, **{kept: images * states})
    add("project", seconds=count * cost.projection, size=count * (cost.projections + cost.class_logits))
    if model.name in plan.explored:
        _add_explorer(plan, model.name, cost, add, sites=STORED_SITES, memories=keys)
    add("perturbations", seconds=count * cost.forward * sum(FORWARDS[name] for name in conditions(plan, model, cost)))
    methods = plan.relevance_methods(model.name)
    if "relevance" in has:
        classes = len(set(plan.config.relevance.classes) | {"own"})
        values = card.depth * card.heads + len(methods)
        maps = FORWARDS["relevance"] + (classes > 1) + sum(_of_methods(methods, classes))
        add("relevance", seconds=count * cost.forward * maps, size=4 * 0.9 * count * classes * values * card.image_tokens)
        if dataset.has_masks:
            height, width = output_size(card.transform) or (0, 0)
            scored = len(methods) + len(trivial_maps(card.grid))
            add("segmentation", seconds=SCORING_SECONDS * count * scored * height * width)
    if "deletion" in has:
        removed = steps(card.image_tokens, plan.deletion_steps, card.pooling == "mean", plan.protocol)
        curves = len(set(methods) - {"random"}) * len(ORDERS) + RANDOM_DRAWS
        curves += (TIE_DRAWS - 1) * len(ORDERS) * ("probe" in methods)  # ranks from probes have ties
        runs = sum(curves if 0 < number < card.image_tokens else 1 for number in removed)  # all curves share their first and last point
        add("deletion", seconds=count * cost.forward * FORWARDS["deletion step"] * runs)
    if "faithfulness" in has:
        add("faithfulness", seconds=count * cost.forward * FORWARDS["group"] * GROUPS * len(methods))
    if "probes" in has:
        share = probe_work(of_probes or count, count, card.width, card.classes) / probe_work(9100, 4550, 768, 1000)
        add("probes", seconds=PROBE_SECONDS * share * len(STORED_SITES) * card.depth * card.tokens)
    if "attribution" in has:
        vectors = 4 * count * card.width * (2 + card.depth * (card.heads + 1))
        means = 8 * card.depth * card.tokens * card.width
        add("attribution", seconds=FORWARDS["attribution"] * count * cost.forward, **{kept: vectors + means})
        _add_terms(plan, model.name, cost, add)
    if "ablation" in has:
        again = min(count, plan.config.ablation.images) * card.depth * (card.heads + 1) / 2  # half of the blocks, on average
        add("ablation", seconds=again * cost.forward)
    if "tuned_lens" in has:
        matrices = card.depth * card.width**2
        maps = (1 + card.cls_token) * (1 if split else HALVES)
        add("tuned_lens_fit", seconds=TUNED_SECONDS * (of_probes or count) * card.tokens * matrices, size=4 * maps * matrices)
        add("tuned_lens", seconds=TUNED_PROJECTIONS * count * cost.projection)
        if plan.shows_tuned_lens(model.name):
            tuned = 1 / len(PROJECTED_SITES)
            add("project_tuned", seconds=tuned * count * cost.projection, size=tuned * count * (cost.projections + cost.class_logits))


def _of_methods(methods: list[Method], classes: int) -> Iterator[float]:
    """Yield what methods of relevance maps cost per image besides ours, in forward passes."""
    for method in methods:
        if method in BACKWARD:
            forward = STEPS if method == "integrated_gradients" else method != "grad_cam"
            yield forward + classes * BACKWARD[method]
    if {"rollout", "last_attention"} & set(methods) and "chefer" not in methods:
        yield 1


def _add_fit(plan: Plan, name: str, cost: Calibration, add: Add, count: int) -> None:
    """Add the costs of a fitted head: the features of two splits, and the fit of the slowest kind, logistic regression."""
    fitted = plan.datasets[plan.models[name].dataset].image_count(plan.fit_split(name))
    add("features", seconds=(fitted + count) * cost.extraction, size=4 * cost.card.width * (fitted + count))
    if plan.fit_step(name).fit == "linear":
        add("fit_head", seconds=FIT_SECONDS * fitted * cost.card.width * cost.card.classes)


def _add_explorer(plan: Plan, name: str, cost: Calibration, add: Add, *, sites: tuple[str, ...], memories: bool) -> None:
    """Add the costs of the explorer's files of a model, or of a random twin of this model."""
    data = explored(cost.card, plan.config.projection.top_k, memories, sites)
    height, width = output_size(cost.card.transform) or (0, 0)
    shown, count = plan.explorer_images(name)
    seconds = data * (count * READING_SECONDS + shown * PACKING_SECONDS)
    add("explorer_model", seconds=seconds, size=shown * (PACKED_SHARE * data + PHOTOGRAPH_BYTES * height * width))


def _add_terms(plan: Plan, name: str, cost: Calibration, add: Add) -> None:
    """Add the costs of a model's terms by token, of the images that the explorer shows."""
    card, (shown, _) = cost.card, plan.explorer_images(name)
    terms = shown * CLASSES * card.depth * card.heads * card.tokens
    add("attribution_tokens", seconds=FORWARDS["attribution by token"] * shown * cost.forward, size=4 * terms)
    add("explorer_model", size=TERM_BYTES * terms)


def _add_twins(plan: Plan, name: str, twins: int, cost: Calibration, add: Add) -> None:
    """Add the costs of a model's random twins: decoding images once, and a forward pass and a few sites per twin. No states are stored."""
    dataset = plan.datasets[plan.models[name].dataset]
    count = dataset.image_count(dataset.eval_split)
    share = len(KEPT_SITES) / len(PROJECTED_SITES)
    projected = len((*KEPT_SITES, *(SUBLAYER_SITES if plan.twins_need_memories(name) else ()))) / len(PROJECTED_SITES)
    seconds = count * (cost.extraction - cost.forward + twins * (cost.forward + projected * cost.projection))
    size = twins * cost.weights + count * share * (twins * cost.projections + cost.class_logits)
    add(f"twins_{name}", seconds=seconds + twins * SECONDS_PER_TWIN, size=size)
    _add_explorer(plan, name, cost, add, sites=KEPT_SITES, memories=False)


def explored(card: Card, top_k: int, memories: bool, sites: tuple[str, ...]) -> int:
    """Return the bytes per image in the explorer: ranks, logits of classes of interest, top classes, and active memories of every token.

    Args:
        card: description of the model.
        top_k: number of classes that a projection stores.
        memories: whether the explorer shows active memories.
        sites: sites that the explorer shows.
    """
    projected = len(sites) * (2 + 2 * (1 + MOST_LIKELY) + 4 * min(top_k, card.classes))
    return card.tokens * card.depth * (projected + 4 * ACTIVE * len(SUBLAYERS) * memories)


def probe_work(train: int, test: int, width: int, classes: int) -> float:
    """Return the multiplications of one linear probe: products with training images, a decomposition, and products with test images.

    The cost of the decomposition is measured: it corresponds to 8 times the cube of the width.

    Args:
        train: number of training images.
        test: number of test images.
        width: width of the hidden states.
        classes: number of classes.
    """
    return train * width * (width + classes) + 8 * width**3 + test * width * classes


def _training(plan: Plan, model: Model, cost: Calibration) -> float:
    if model.weights != "trained":
        return 0
    kept = 1 - model.settings.kwargs.get("patch_drop_rate", 0)
    images, epochs, _ = _training_length(plan, model)
    return images * epochs * cost.forward * FORWARDS["training step"] * kept


def _training_length(plan: Plan, model: Model) -> tuple[int, int, int]:
    """Return the number of training images of a model, of epochs, and of steps in all epochs."""
    dataset = plan.datasets[model.dataset]
    images = dataset.image_count(dataset.train_split)
    return images, *Recipe(**dict(model.settings.training)).length(images)


def conditions(plan: Plan, model: Model, cost: Calibration) -> list[str]:
    """Return the names of the perturbations that a model is run with."""
    attention = ["self_only", *(["no_cls"] if cost.card.cls_token else [])] if "attention" in model.analyses else []
    tokens = ["without_context", "without_class"] if "tokens" in model.analyses and plan.datasets[model.dataset].has_masks else []
    return [*attention, *tokens]


def states_per_image(cost: Calibration, dtype: str) -> float:
    """Return the bytes of an image's hidden states: values of each site and block, their exponents, and the numbers of the tokens."""
    card, exponent = cost.card, 4 if dtype == "float16" else 0  # Parquet stores an int8 in four bytes
    return card.tokens * (len(STORED_SITES) * card.depth * (card.width * NUMPY_DTYPES[dtype].itemsize + exponent) + 6)


@dataclass(frozen=True)
class Totals:
    """The time and disk space that a run still needs.

    Attributes:
        jobs: number of remaining jobs.
        seconds: wall time on this machine.
        bytes: bytes that the run adds to the disk.
        peak: bytes that the run needs on disk while it runs.
    """

    jobs: int
    seconds: float
    bytes: float
    peak: float


def totals(found: list[Stage], loading: Loading, cores: int) -> Totals:
    """Return the sums over the remaining parts of stages.

    Args:
        found: from `stages`.
        loading: seconds for loading libraries.
        cores: number of cores that Snakemake may use.
    """
    kept = sum(stage.bytes * stage.left for stage in found)
    temporary = sum(stage.temporary * stage.left for stage in found)
    return Totals(sum(stage.jobs for stage in found), sum(wall(stage, loading, cores) for stage in found), kept, kept + temporary)


def check_disk(total: Totals, free: float) -> None:
    """Raise an InputError if the run needs more disk space than is free.

    Args:
        total: from `totals`.
        free: free bytes on the disk.
    """
    if total.peak > free:
        raise InputError(
            f"the run needs up to {total.peak / 1e9:.2f} GB of disk and {free / 1e9:.2f} GB are free: free some space, move the results "
            "folder to another disk, or set hidden_states.keep to false"
        )


def wall(stage: Stage, loading: Loading, cores: int) -> float:
    """Return the wall time in seconds of a stage's remaining jobs: images use all cores, and two jobs at a time load libraries."""
    return stage.seconds * stage.left + stage.jobs * (loading.of(stage.rule) / min(JOBS_AT_ONCE, cores) + PER_JOB)


def advice(plan: Plan, found: list[Stage], loading: Loading, cores: int) -> str | None:
    """Return how to shorten a run of which deletion curves take most of the time, or None.

    Args:
        plan: plan of the run.
        found: from `stages`.
        loading: seconds for loading libraries.
        cores: number of cores that Snakemake may use.
    """
    total = totals(found, loading, cores).seconds
    deletion = sum(wall(stage, loading, cores) for stage in found if stage.rule == "deletion")
    if (plan.deletion_steps and plan.deletion_steps <= FEW_STEPS) or deletion < max(LONG, total / 2):
        return None
    now = plan.deletion_steps or "all"
    return (
        f"{duration(deletion)} of it are deletion curves: `deletion: {{steps: {FEW_STEPS}}}` measures {FEW_STEPS} points instead of {now}"
    )


def report(plan: Plan, found: list[Stage], loading: Loading, cores: int) -> str:
    """Return the estimate as a table in plain text.

    Args:
        plan: plan of the run.
        found: from `stages`.
        loading: seconds for loading libraries.
        cores: number of cores that Snakemake may use.
    """
    lines = [f"{'stage':26}{'jobs':>6}{'done':>6}{'disk, MB':>12}{'temporary':>13}{'minutes':>9}"]
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
    """Return a line for each data set with its images and models, and a line for each training."""
    lines = []
    for dataset in plan.used():
        of_dataset = [model for model in plan.models.values() if model.dataset == dataset.name]
        models = [model.name for model in of_dataset if not model.twin_of]
        splits = ", ".join(f"{dataset.image_count(split)} of {split}" for split in dataset.splits)
        twins = f"; {len(of_dataset) - len(models)} random twins" if len(of_dataset) > len(models) else ""
        lines.append(f"{dataset.name}: {splits} images; {len(models)} models: {', '.join(models)}{twins}")
    for name in plan.trained():
        images, epochs, steps = _training_length(plan, plan.models[name])
        lines.append(f"{name} is trained for {epochs} epochs of {images} images, {steps} steps")
    return lines
