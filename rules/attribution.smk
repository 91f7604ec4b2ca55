# What single components write into the logits.


rule attribution:
    """What each attention head and each MLP writes directly into the logit of the true class"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
    output:
        terms="<results>/attribution/{model}/{dataset}.parquet",
    log:
        "<logs>/attribution/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/attribution/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("attribution")))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=240,
    params:
        **program("attribution.py", plan.step(steps.AttributionStep), places=root),
    message:
        "Measuring what heads and MLPs of {wildcards.model} write into the logits on {wildcards.dataset}"
    shell:
        ON_DEVICE_COMMAND
