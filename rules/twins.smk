# Random twins that models are compared with: one job per model makes those of all seeds, and measures them in one pass over the images.
# They have no hidden states. Twins for which the config asks more are models like others, made and measured by the other rules.


def of_twins(model, pattern):
    """A path of each random twin of a model."""
    return [of_model(twin, pattern) for twin in plan.measured_together[model]]


def shards_of_twins(model, pattern, twins):
    """The shards of some random twins of a model, those of the first one first."""
    return [of_model(twin, pattern, shard=shard) for twin in twins for shard in plan.eval_shards(twin)]


def memories_of_twins(model):
    """What is known of the memories of a model's random twins, by argument, where some model is compared with it."""
    names = ("class_value_agreement", "key_value_agreement", "composition", "chance") if plan.twins_need_memories(model) else ()
    return {name: of_twins(model, f"<results>/memories/{{model}}/{{dataset}}/{name}.parquet") for name in names}


def written(names):
    """The part of a command that names files to write, by argument. A parameter, because a shell text in a loop sees the loop's last round."""
    return lambda wildcards, output: [part for name in names for part in (f"--{name.replace('_', '-')}", *getattr(output, name))]


for model, twins in plan.measured_together.items():

    rule:
        name:
            f"twins_{model}"
        input:
            of_model(model, "<results>/data/{dataset}/{split}/manifest.parquet"),
        output:
            **memories_of_twins(model),
            weights_to=of_twins(model, "<results>/models/{model}/model.safetensors"),
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
        threads: paired(len(plan.measured_together))
        resources:
            **ON_DEVICE,
            mem_mb=memory(8 + len(twins)),
            runtime=480,
            root=plan.datasets[plan.models[model].dataset].root,
            batch_size=settings["compute"]["batch_size"],
            workers=settings["compute"]["workers"],
            class_embedding=plan.files_of_model(twins[0])["class_embedding"],
            hub_cache=str(settings["hub"]["cache"]),
            offline=str(settings["hub"]["offline"]).lower(),
        params:
            settings=plan.twins_settings(model),
            written=written(
                [
                    *("weights_to", "cards", "predictions", "projections", "class_logits", "identifiability", "ranks"),
                    *memories_of_twins(model),
                ]
            ),
            code=code("twins.py"),
        message:
            f"Making and measuring the random twins of {model}"
        shell:
            'python "$SCRIPTS"/twins.py --log {log:q} --threads {threads}'
            " --device {resources.device:q} --jobs-per-gpu {resources.jobs_per_gpu:q} --mem-mb {resources.mem_mb:q}"
            " --batch-size {resources.batch_size:q} --workers {resources.workers:q} --precision {params.settings[precision]:q}"
            " --manifest {input:q} --class-list {input:q} --root {resources.root:q} --seeds {params.settings[seeds]:q} --arch {params.settings[arch]:q}"
            " --weights {params.settings[weights]:q} --hub-cache {resources.hub_cache:q} --offline {resources.offline:q}"
            " --class-embedding {resources.class_embedding:q} --normalization {params.settings[normalization]:q}"
            " --temperature {params.settings[temperature]:q} --projection {params.settings[projection]:q} --kwargs {params.settings[kwargs]:q}"
            " --transform {params.settings[transform]:q} --num-classes {params.settings[num_classes]:q}"
            " --dtype {params.settings[dtype]:q} --top-k {params.settings[top_k]:q} --classes {params.settings[classes]:q}"
            " --protocol {params.settings[protocol]:q} {params.written:q}"

    workflow.get_rule(f"twins_{model}").docstring = f"The random twins of {model}, one per seed, made and measured in one job"
    settings_of_profile(workflow.get_rule(f"twins_{model}"), "twins")
