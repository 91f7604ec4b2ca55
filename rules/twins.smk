# Random twins. One job per model makes the twins of all seeds and measures them in one pass over the images, without storing hidden states.
# If the config requests further analyses of twins, the rules of ordinary models make and measure them.


def of_twins(model, pattern):
    """Return one path per random twin of a model."""
    return [of_model(twin, pattern) for twin in plan.measured_together[model]]


def shards_of_twins(model, pattern, twins):
    """Return the shards of some random twins of a model, twin by twin."""
    return [of_model(twin, pattern, shard=shard) for twin in twins for shard in plan.eval_shards(twin)]


def memories_of_twins(model):
    """Return the memory tables of a model's random twins by argument, if a model with the analysis `memories` is compared with them."""
    names = ("class_value_agreement", "key_value_agreement", "composition", "chance") if plan.twins_need_memories(model) else ()
    return {name: of_twins(model, f"<results>/memories/{{model}}/{{dataset}}/{name}.parquet") for name in names}


def places_of_twins(model):
    """Return a function that gives the paths of a model's images, class embedding and hub cache."""
    embedding = plan.files_of_model(plan.measured_together[model][0])["class_embedding"]
    return lambda wildcards: {"root": plan.datasets[plan.models[model].dataset].root, "class_embedding": embedding, **hub()}


for model, twins in plan.measured_together.items():

    rule:
        name:
            f"twins_{model}"
        input:
            manifest=of_model(model, "<results>/data/{dataset}/{split}/manifest.parquet"),
        output:
            **memories_of_twins(model),
            weights_files=of_twins(model, "<results>/models/{model}/model.safetensors"),
            cards=of_twins(model, "<results>/models/{model}/model.json"),
            predictions=of_twins(model, "<results>/predictions/{model}/{dataset}/{split}.parquet"),
            projections=shards_of_twins(model, "<results>/projections/{model}/{dataset}/{split}/{shard}.parquet", twins),
            class_logits=shards_of_twins(model, "<results>/class_logits/{model}/{dataset}/{split}/{shard}.parquet", twins[:1]),
            identifiability=of_twins(model, "<results>/identifiability/{model}/{dataset}.parquet"),
            ranks=of_twins(model, "<results>/identifiability/{model}/{dataset}_ranks.parquet"),
        log:
            f"<logs>/twins/{model}.log",
        benchmark:
            f"<benchmarks>/twins/{model}.tsv"
        conda:
            "../envs/classlens.yaml"
        threads: model_threads(len(plan.measured_together))
        resources:
            **ON_DEVICE,
            mem_mb=ram(8 + len(twins)),
            runtime=480,
        params:
            **program("twins.py", plan.twins_step(model), places=places_of_twins(model), content=plan.hashes_of_model(twins[0])),
        message:
            f"Making and measuring the random twins of {model}"
        shell:
            ON_DEVICE_COMMAND

    describe(f"twins_{model}", f"The random twins of {model}, one per seed, made and measured in one job")
    follow_profile(f"twins_{model}", "twins")
