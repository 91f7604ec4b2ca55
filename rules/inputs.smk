# Input functions: they map wildcards to paths of results, or to the locations of data sets, archives and checkpoints.
from types import SimpleNamespace


def of_dataset(wildcards):
    """Return the planned data set that the wildcard names."""
    return plan.datasets[wildcards.dataset]


def root(wildcards):
    """Return the data set's folder as a program argument. Moving the folder makes nothing stale."""
    return {"root": of_dataset(wildcards).root}


def mask_root(wildcards):
    """Return the folder that the paths of masks are relative to, as the program argument `root`."""
    return {"root": of_dataset(wildcards).mask_root}


def of_model(model, pattern, **wildcards):
    """Return a path pattern with the model, its data set and its analysed split filled in."""
    item = plan.models[model]
    return pattern.format(
        model=model,
        dataset=item.dataset,
        split=plan.datasets[item.dataset].eval_split,
        **wildcards,
    )


def shards_of(pattern):
    """Return an input function that gives the shards of a model's analysed split."""

    def paths(wildcards):
        return [of_model(wildcards.model, pattern, shard=shard) for shard in plan.eval_shards(wildcards.model)]

    return paths


# Number of shards of hidden states, summed over all models that store them.
SHARDS = sum(len(plan.eval_shards(model)) for model in plan.measured_alone)

# Input function: all projection shards of a model's analysed split.
PROJECTIONS = shards_of("<results>/projections/{model}/{dataset}/{split}/{shard}.parquet")


def made_images(wildcards):
    """Return the image folder of a data set that the workflow creates, and nothing for other data sets."""
    dataset = of_dataset(wildcards)
    return [dataset.root if dataset.is_generated else f"{dataset.root}/{wildcards.split}"] if dataset.is_made else []


def images_of_classes(wildcards):
    """Return the image folder whose folders are classes, of a generated or unpacked data set; tables need no images for their classes."""
    return [] if of_dataset(wildcards).is_stored else made_images(wildcards)


def made_masks(wildcards):
    """Return the folder of masks that the workflow makes for the analysed split, and nothing for other splits and data sets."""
    dataset = of_dataset(wildcards)
    is_made = dataset.settings.makes_masks and wildcards.split == dataset.eval_split
    return [f"{dataset.mask_root}/{wildcards.split}"] if is_made else []


def eval_manifest(wildcards):
    """Return the manifest of the analysed split."""
    return f"<results>/data/{wildcards.dataset}/{of_dataset(wildcards).eval_split}/manifest.parquet"


def class_list(wildcards):
    """Return the class list, for a model with weights or a class embedding from a file. (New images would make the manifest stale.)"""
    needed = plan.models[wildcards.model].needs_classes
    return of_model(wildcards.model, "<results>/data/{dataset}/{split}/classes.parquet") if needed else []


# Models whose heads the workflow fits.
FITTED = plan.with_class_embedding("fit")


def made_class_embedding(model):
    """Return the class embedding that the workflow makes for a model, or for the model that it is a random twin of."""
    name = plan.models[model].twin_of or model
    return f"<results>/models/{name}/class_embedding.safetensors" if plan.makes_class_embedding(model) else []


def of_fit_split(pattern):
    """Return an input function that gives a path of the split on which the head of the wildcard's model is fitted."""

    def path(wildcards):
        model = wildcards.model
        return pattern.format(model=model, dataset=plan.models[model].dataset, split=plan.fit_split(model))

    return path


def train_manifest(wildcards):
    """Return the manifest of the split on which a model is trained."""
    dataset = plan.datasets[plan.models[wildcards.model].dataset]
    return f"<results>/data/{dataset.name}/{dataset.train_split}/manifest.parquet"


def fitted_manifests():
    """Return the manifests of all fitted splits, or an empty list for published results, which lack them."""
    splits = [(dataset, split) for dataset in plan.used() for split in dataset.splits if split != dataset.eval_split]
    return [f"<results>/data/{dataset.name}/{split}/manifest.parquet" for dataset, split in splits if not plan.published]


def tokens_if_masks(wildcards):
    """Return the token labels, if the images have masks."""
    return f"<results>/tokens/{wildcards.model}/{wildcards.dataset}.parquet" if of_dataset(wildcards).has_masks else []


def of_one(pattern):
    """Return an input function that gives a path of the wildcard's model on its data set."""
    return lambda wildcards: of_model(wildcards.model, pattern)


def probe_manifest(wildcards):
    """Return the manifest of the probe split, if the data set has one."""
    split = of_dataset(wildcards).probe_split
    return [f"<results>/data/{wildcards.dataset}/{split}/manifest.parquet"] if split else []


def probe_states(wildcards):
    """Return the hidden states of the probe split, if the data set has one."""
    model, dataset, split = wildcards.model, wildcards.dataset, of_dataset(wildcards).probe_split
    shards = of_dataset(wildcards).shards(split) if split else []
    return [f"<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet" for shard in shards]


def fitting_manifest(wildcards):
    """Return the manifest of the split that a tuned lens is fitted on: the probe split, or else the analysed one."""
    return probe_manifest(wildcards) or eval_manifest(wildcards)


def fitting_states(wildcards):
    """Return the hidden states of this split."""
    return probe_states(wildcards) or shards_of("<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet")(wildcards)


def probe_ranks(wildcards):
    """Return the ranks by linear probes, if the model has this analysis and relevance maps need it."""
    has = "probe" in plan.relevance_methods(wildcards.model)
    return f"<results>/probes/{wildcards.model}/{wildcards.dataset}.parquet" if has else []


def if_analysed(analyses, pattern):
    """Return an input function that gives a path of the wildcard's model if the model has one of the analyses."""
    return lambda wildcards: of_model(wildcards.model, pattern) if analyses & set(plan.models[wildcards.model].analyses) else []


def explorer_memory_keys(wildcards):
    """Return the shards of active memories, if the model has them. Published results lack them."""
    has = "memories" in plan.models[wildcards.model].analyses and not plan.published
    return shards_of("<results>/memory_keys/{model}/{dataset}/{split}/{shard}.parquet")(wildcards) if has else []


def tuned_shards(kind):
    """Return an input function that gives the shards that the explorer shows of a model through the tuned lens, if it does."""

    def paths(wildcards):
        shards = shards_of(f"<results>/tuned_lens/{{model}}/{{dataset}}/{{split}}/{kind}/{{shard}}.parquet")
        return shards(wildcards) if plan.shows_tuned_lens(wildcards.model) else []

    return paths


def class_layout(wildcards):
    """Return the paths of a data set's images, tables, class list and class names, as program arguments."""
    dataset = of_dataset(wildcards)
    tables = dataset.settings.root if dataset.settings.kind == "table" else None
    return {**root(wildcards), "tables": tables, "classes": dataset.classes, "names": dataset.settings.names}


def of_guide(paths):
    """Return an input function that gives the paths of the model that chooses a model's images in the explorer, or nothing if it shows all."""

    def of_its_guide(wildcards):
        guide = plan.explorer_guide(wildcards.model)
        return paths(SimpleNamespace(model=guide)) if guide else []

    return of_its_guide


# Inputs of rules that treat only the images that the explorer shows: the tables of the model that chooses them.
GUIDE = {
    "guide_card": of_guide(of_one("<results>/models/{model}/model.json")),
    "guide_predictions": of_guide(of_one("<results>/predictions/{model}/{dataset}/{split}.parquet")),
    "guide_projections": of_guide(PROJECTIONS),
}


def shown_attribution(wildcards):
    """Return the terms of heads and MLPs that the explorer shows of a model, if it does."""
    terms = of_model(wildcards.model, "<results>/attribution/{model}/{dataset}_tokens.parquet")
    return terms if plan.shows_attribution(wildcards.model) else []


def explorer_places(wildcards):
    """Return the folders of a model's images and masks, as program arguments; nothing for published results, which lack them."""
    dataset = plan.datasets[plan.models[wildcards.model].dataset]
    return {} if plan.published else {"root": dataset.root, "mask_root": dataset.mask_root}


def layout(wildcards):
    """Return the paths of `class_layout` and that of the masks in the config, as program arguments."""
    return {**class_layout(wildcards), "masks": of_dataset(wildcards).settings.masks}


def manifest_layout(wildcards):
    """Return the paths of `layout`, and the folder of masks that the workflow makes."""
    return {**layout(wildcards), "mask_root": of_dataset(wildcards).mask_root if made_masks(wildcards) else None}


def archive(wildcards):
    """Return the path of an archive, and whether the program may download it."""
    given = of_dataset(wildcards).settings
    return {"archive": given.root, "download": "true" if given.download else ""}


def hub():
    """Return the hub's cache folder, and whether the program must stay offline."""
    return {"cache": run_config.hub.cache, "offline": "true" if run_config.hub.offline else ""}


def benchmarks_of_run(wildcards):
    """Return the folder with the run times of all jobs."""
    return {"benchmarks": f"{results}/benchmarks"}


def tables_of_findings():
    """Return the tables with the run's findings as program arguments, without those that this run has not made or kept up to date."""
    made = outputs_of_run()
    paths = {"evolution": f"{results}/figures/{EVOLUTION}.csv", "rates": f"{results}/tables/{RATES}.csv"}
    return {name: path for name, path in paths.items() if path in made}
