# Where inputs are: functions of the wildcards that return paths, or the places of what lies outside the results.


def of_dataset(wildcards):
    """The wildcard's data set."""
    return plan.datasets[wildcards.dataset]


def root(wildcards):
    """Folder of the data set. A data set that has moved makes nothing stale."""
    return {"root": of_dataset(wildcards).root}


def of_model(model, pattern, **wildcards):
    """A path of a model's results on its data set."""
    item = plan.models[model]
    return pattern.format(
        model=model,
        dataset=item.dataset,
        split=plan.datasets[item.dataset].eval_split,
        **wildcards,
    )


def shards_of(pattern):
    """Input function: the shards of a model's analysed split."""

    def paths(wildcards):
        return [of_model(wildcards.model, pattern, shard=shard) for shard in plan.eval_shards(wildcards.model)]

    return paths


# How many shards there are of all models together whose hidden states are stored.
SHARDS = sum(len(plan.eval_shards(model)) for model in plan.measured_alone)

# All shards of projections of a model's analysed split.
PROJECTIONS = shards_of("<results>/projections/{model}/{dataset}/{split}/{shard}.parquet")


def made_images(wildcards):
    """The folder of images of a data set that the workflow makes itself."""
    dataset = of_dataset(wildcards)
    return [f"{dataset.root}/{wildcards.split}" if dataset.archive else dataset.root] if dataset.is_made else []


def eval_manifest(wildcards):
    """Manifest of the split that is analysed."""
    return f"<results>/data/{wildcards.dataset}/{of_dataset(wildcards).eval_split}/manifest.parquet"


def class_list(wildcards):
    """Classes of the data set, for a model with weights or a class embedding from a file. Not the manifest: images make no model stale."""
    needed = plan.models[wildcards.model].needs_classes
    return of_model(wildcards.model, "<results>/data/{dataset}/{split}/classes.parquet") if needed else []


def train_manifest(wildcards):
    """Manifest of the split that a model is trained on."""
    dataset = plan.datasets[plan.models[wildcards.model].dataset]
    return f"<results>/data/{dataset.name}/{dataset.train_split}/manifest.parquet"


def fitted_manifests():
    """Manifests of the splits that models and probes are fitted on; those of published results are not there."""
    splits = [(dataset, split) for dataset in plan.used() for split in dataset.splits if split != dataset.eval_split]
    return [f"<results>/data/{dataset.name}/{split}/manifest.parquet" for dataset, split in splits if not plan.published]


def tokens_if_masks(wildcards):
    """Token labels, where the images have masks."""
    return f"<results>/tokens/{wildcards.model}/{wildcards.dataset}.parquet" if of_dataset(wildcards).has_masks else []


def of_one(pattern):
    """Input function: a path of the wildcard's model on its data set."""
    return lambda wildcards: of_model(wildcards.model, pattern)


def probe_manifest(wildcards):
    """Manifest of the split that linear probes are fitted on, where there is one."""
    split = of_dataset(wildcards).probe_split
    return [f"<results>/data/{wildcards.dataset}/{split}/manifest.parquet"] if split else []


def probe_states(wildcards):
    """Hidden states of the split that linear probes are fitted on, where there is one."""
    model, dataset, split = wildcards.model, wildcards.dataset, of_dataset(wildcards).probe_split
    shards = of_dataset(wildcards).shards(split) if split else []
    return [f"<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet" for shard in shards]


def probe_ranks(wildcards):
    """Ranks by linear probes, where the model has them."""
    has = wildcards.model in plan.models_with("probes")
    return f"<results>/probes/{wildcards.model}/{wildcards.dataset}.parquet" if has else []


def if_analysed(analyses, pattern):
    """Input function: a path of the wildcard's model, where it has one of some analyses."""
    return lambda wildcards: of_model(wildcards.model, pattern) if analyses & set(plan.models[wildcards.model].analyses) else []


def explorer_memory_keys(wildcards):
    """Active memories of the wildcard's model, where it has them: they are not published."""
    has = "memories" in plan.models[wildcards.model].analyses and not plan.published
    return shards_of("<results>/memory_keys/{model}/{dataset}/{split}/{shard}.parquet")(wildcards) if has else []


def layout(wildcards):
    """Where the images, classes and masks of a data set are."""
    dataset = of_dataset(wildcards)
    return {**root(wildcards), "classes": dataset.settings.classes, "masks": dataset.settings.masks}


def class_layout(wildcards):
    """Where the images and classes of a data set are."""
    return {**root(wildcards), "classes": of_dataset(wildcards).settings.classes}


def archive(wildcards):
    """Where an archive is, and whether it may be fetched."""
    given = of_dataset(wildcards).settings
    return {"archive": given.root, "download": "true" if given.download else ""}


def hub():
    """Where the hub's client keeps its files, and whether it may ask the network."""
    return {"cache": asked.hub.cache, "offline": "true" if asked.hub.offline else ""}


def benchmarks_of_run(wildcards):
    """Where the times of all jobs are."""
    return {"benchmarks": f"{results}/benchmarks"}
