# Hidden states, memory keys and predictions, from one forward pass per image and model. Only the analysed split gets memory keys.
WITH_MEMORY_KEYS = one_of_analysed(plan.models_with("memories"))


rule extract:
    """Hidden states and predictions of a shard, in one forward pass per image"""
    input:
        manifest="<results>/data/{dataset}/{split}/manifest.parquet",
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
    output:
        states=temp_unless_kept("<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet"),
        predictions="<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet",
    log:
        "<logs>/extract/{model}/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/extract/{model}/{dataset}/{split}/{shard}.tsv"
    wildcard_constraints:
        model=f"(?!{WITH_MEMORY_KEYS})({one_of(plan.measured_alone)})",  # Snakemake would make a job for each rule that matches
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(SHARDS)
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=240,
    params:
        **program(
            "extract.py",
            lambda wildcards: plan.step(steps.ExtractionStep, run_config.hidden_states, shard=wildcards.shard),
            places=root,
        ),
    message:
        "Extracting hidden states of {wildcards.model} on {wildcards.dataset}, {wildcards.split}, shard {wildcards.shard}"
    shell:
        ON_DEVICE_COMMAND


use rule extract as extract_with_memory_keys with:
    """Hidden states, predictions and the active memories of each token of a shard"""
    output:
        states=temp_unless_kept("<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet"),
        predictions="<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet",
        memory_keys="<results>/memory_keys/{model}/{dataset}/{split}/{shard}.parquet",
    wildcard_constraints:
        model=WITH_MEMORY_KEYS,
    cache: shares_results()


rule predictions:
    """A model's predictions for all images of a split"""
    input:
        shards=shards_of("<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet"),
    output:
        predictions="<results>/predictions/{model}/{dataset}/{split}.parquet",
    log:
        "<logs>/predictions/{model}/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/predictions/{model}/{dataset}/{split}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(1),
        runtime=10,
    params:
        **program("predictions.py", plan.step(steps.ProtocolSetting)),
    message:
        "Collecting the predictions of {wildcards.model} on {wildcards.dataset}, {wildcards.split}"
    shell:
        COMMAND
