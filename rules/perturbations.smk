# Class identifiability with cut attention or removed tokens. One job measures all conditions of a model.


rule perturbations:
    """Class identifiability with cut attention, without context tokens and without class tokens"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        tokens=tokens_if_masks,
    output:
        ranks="<results>/perturbations/{model}/{dataset}.parquet",
        accuracy="<results>/perturbations/{model}/{dataset}_accuracy.parquet",
    log:
        "<logs>/perturbations/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/perturbations/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(set(plan.models_with("attention")) | set(plan.models_with("tokens"))))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=240,
    params:
        **program("perturb.py", lambda wildcards: plan.perturbation_step(wildcards.model), places=root),
    message:
        "Cutting attention and removing tokens of {wildcards.model} on {wildcards.dataset}"
    shell:
        ON_DEVICE_COMMAND
