# Models: fetched, loaded or initialised, or trained here; checked and kept with their description.


rule model:
    """A model from the hub, a checkpoint or a seed, which must pass a self-check"""
    input:
        class_list,
    output:
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
    log:
        "<logs>/model/{model}.log",
    benchmark:
        "<benchmarks>/model/{model}.tsv"
    wildcard_constraints:
        model=one_of(set(plan.measured_alone) - set(plan.trained())),
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4),
        runtime=60,
        checkpoint=lambda wildcards: plan.files_of_model(wildcards.model)["checkpoint"],
        class_embedding=lambda wildcards: plan.files_of_model(wildcards.model)["class_embedding"],
        hub_cache=str(settings["hub"]["cache"]),
        offline=str(settings["hub"]["offline"]).lower(),
    params:
        settings=lambda wildcards: plan.model_settings(wildcards.model),
        code=code("model.py"),
    message:
        "Preparing the model {wildcards.model} ({params.settings[weights]} weights)"
    shell:
        'python "$SCRIPTS"/model.py --log {log:q} --threads {threads}'
        " --arch {params.settings[arch]:q} --weights {params.settings[weights]:q} --checkpoint {resources.checkpoint:q}"
        " --sha256 {params.settings[pinned]:q} --hub-cache {resources.hub_cache:q} --offline {resources.offline:q}"
        " --class-embedding {resources.class_embedding:q} --normalization {params.settings[normalization]:q}"
        " --temperature {params.settings[temperature]:q} --projection {params.settings[projection]:q} --class-list {input:q}"
        " --kwargs {params.settings[kwargs]:q} --key-prefix={params.settings[key_prefix]:q} --ignore-keys {params.settings[ignore_keys]:q}"
        " --transform {params.settings[transform]:q} --num-classes {params.settings[num_classes]:q} --seed {params.settings[seed]:q}"
        " --protocol {params.settings[protocol]:q} --model {output.weights:q} --card {output.card:q}"


rule train:
    """A model trained on the data set's train split"""
    input:
        manifest=train_manifest,
    output:
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
    log:
        "<logs>/train/{model}.log",
    benchmark:
        "<benchmarks>/train/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.trained()),
    conda:
        "../envs/classlens.yaml"
    threads: shared(at_once(len(plan.trained())))
    resources:
        **ON_DEVICE,
        mem_mb=memory(6),
        runtime=720,
        root=lambda wildcards: plan.datasets[plan.models[wildcards.model].dataset].root,
        workers=settings["compute"]["workers"],
    params:
        settings=lambda wildcards: plan.training_settings(wildcards.model),
        code=code("train.py"),
    message:
        "Training the model {wildcards.model}"
    shell:
        'python "$SCRIPTS"/train.py --log {log:q} --threads {threads}'
        " --device {resources.device:q} --jobs-per-gpu {resources.jobs_per_gpu:q} --mem-mb {resources.mem_mb:q}"
        " --workers {resources.workers:q} --precision {params.settings[precision]:q}"
        " --manifest {input.manifest:q} --root {resources.root:q} --arch {params.settings[arch]:q} --kwargs {params.settings[kwargs]:q}"
        " --transform {params.settings[transform]:q} --num-classes {params.settings[num_classes]:q} --recipe {params.settings[recipe]:q}"
        " --seed {params.settings[seed]:q} --protocol {params.settings[protocol]:q} --model {output.weights:q} --card {output.card:q}"


include: "twins.smk"
