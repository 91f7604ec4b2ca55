# Projections of hidden states onto the class embedding, and labels of the image tokens.


rule project:
    """Projections of a shard's hidden states onto the class embedding"""
    input:
        manifest="<results>/data/{dataset}/{split}/manifest.parquet",
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        states="<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet",
        predictions="<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet",
    output:
        projections="<results>/projections/{model}/{dataset}/{split}/{shard}.parquet",
        class_logits="<results>/class_logits/{model}/{dataset}/{split}/{shard}.parquet",
    log:
        "<logs>/project/{model}/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/project/{model}/{dataset}/{split}/{shard}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(SHARDS)
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=240,
    params:
        **program("project.py", lambda wildcards: plan.step(steps.ProjectionStep, run_config.projection, shard=wildcards.shard)),
    message:
        "Projecting hidden states of {wildcards.model} on {wildcards.dataset}, {wildcards.split}, shard {wildcards.shard}"
    shell:
        ON_DEVICE_COMMAND


rule tokens:
    """Labels of image tokens from the masks: class, context or ignored"""
    input:
        manifest=eval_manifest,
        card="<results>/models/{model}/model.json",
    output:
        tokens="<results>/tokens/{model}/{dataset}.parquet",
    log:
        "<logs>/tokens/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/tokens/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(2),
        runtime=60,
    params:
        **program("tokens.py", plan.step(steps.ProtocolSetting), places=root),
    message:
        "Labelling the tokens of {wildcards.model} on {wildcards.dataset} by the masks"
    shell:
        COMMAND
