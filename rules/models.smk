# Models: downloaded, loaded, initialised or trained, then checked and stored with their card.


rule model:
    """A model from the hub, a checkpoint or a seed; it must pass a self-check"""
    input:
        class_list=class_list,
        class_embedding=lambda wildcards: made_class_embedding(wildcards.model),
    output:
        weights_file="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
    log:
        "<logs>/model/{model}.log",
    benchmark:
        "<benchmarks>/model/{model}.tsv"
    wildcard_constraints:
        model=one_of(set(plan.measured_alone) - set(plan.trained())),
    priority: SOON
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(4),
        runtime=60,
    params:
        **program(
            "model.py",
            lambda wildcards: plan.model_step(wildcards.model),
            places=lambda wildcards: {**hub(), **plan.files_of_model(wildcards.model)},
            content=lambda wildcards: plan.hashes_of_model(wildcards.model),
        ),
    message:
        "Preparing the model {wildcards.model}"
    shell:
        COMMAND


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
    threads: threads_for(parallel_jobs(len(plan.trained())))
    resources:
        **ON_DEVICE,
        mem_mb=ram(6),
        runtime=720,
    params:
        **program(
            "train.py",
            lambda wildcards: plan.training_step(wildcards.model),
            places=lambda wildcards: {"root": plan.datasets[plan.models[wildcards.model].dataset].root},
        ),
    message:
        "Training the model {wildcards.model}"
    shell:
        ON_DEVICE_COMMAND


include: "class_embeddings.smk"
include: "twins.smk"
