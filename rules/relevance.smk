# Relevance maps of all methods, and their evaluation: deletion curves and agreement with the masks.


rule relevance:
    """Relevance maps of all methods"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        probes=probe_ranks,
    output:
        maps="<results>/relevance/{model}/{dataset}.parquet",
        heads="<results>/relevance/{model}/{dataset}_heads.parquet",
        shown="<results>/relevance/{model}/{dataset}_shown.parquet",
    log:
        "<logs>/relevance/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/relevance/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("relevance")))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=240,
    params:
        **program("relevance.py", plan.step(steps.RelevanceStep, run_config.relevance), places=root),
    message:
        "Making relevance maps of {wildcards.model} on {wildcards.dataset}"
    shell:
        ON_DEVICE_COMMAND


rule deletion:
    """Whether a model stays correct as tokens are removed in order of relevance"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        relevance="<results>/relevance/{model}/{dataset}.parquet",
    output:
        deletion="<results>/deletion/{model}/{dataset}_images.parquet",
    log:
        "<logs>/deletion/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/deletion/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("deletion")))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=1440,
    params:
        **program("deletion.py", plan.step(steps.DeletionStep, steps=plan.deletion_steps), places=root),
    message:
        "Removing tokens of {wildcards.model} on {wildcards.dataset} in order of relevance"
    shell:
        ON_DEVICE_COMMAND


rule deletion_curves:
    """Deletion curves and the areas under them"""
    input:
        deletion="<results>/deletion/{model}/{dataset}_images.parquet",
    output:
        curves="<results>/deletion/{model}/{dataset}.parquet",
        area="<results>/deletion/{model}/{dataset}_area.parquet",
        differences="<results>/deletion/{model}/{dataset}_differences.parquet",
    log:
        "<logs>/deletion_curves/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/deletion_curves/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(2),
        runtime=30,
    params:
        **program("deletion_curves.py", plan.step(steps.StatisticsStep)),
    message:
        "Computing the deletion curves of {wildcards.model} on {wildcards.dataset}"
    shell:
        COMMAND


rule faithfulness:
    """SaCo: whether groups of tokens that relevance maps call more relevant matter more to the output"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        relevance="<results>/relevance/{model}/{dataset}.parquet",
    output:
        images="<results>/faithfulness/{model}/{dataset}_images.parquet",
        scores="<results>/faithfulness/{model}/{dataset}.parquet",
        differences="<results>/faithfulness/{model}/{dataset}_differences.parquet",
    log:
        "<logs>/faithfulness/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/faithfulness/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("faithfulness")))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=480,
    params:
        **program("faithfulness.py", plan.step(steps.FaithfulnessStep), places=root),
    message:
        "Removing groups of tokens of {wildcards.model} on {wildcards.dataset}"
    shell:
        ON_DEVICE_COMMAND


rule segmentation:
    """Agreement of relevance maps with the masks"""
    input:
        manifest=eval_manifest,
        card="<results>/models/{model}/model.json",
        relevance="<results>/relevance/{model}/{dataset}.parquet",
    output:
        segmentation="<results>/segmentation/{model}/{dataset}.parquet",
    log:
        "<logs>/segmentation/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/segmentation/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(4),
        runtime=120,
    params:
        **program("segmentation.py", plan.step(steps.ProtocolSetting), places=mask_root),
    message:
        "Comparing the relevance maps of {wildcards.model} with the masks of {wildcards.dataset}"
    shell:
        COMMAND
