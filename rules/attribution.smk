# What single components write into the logits, and what the output loses without them.


rule attribution:
    """What each attention head and each MLP writes directly into the logit of the true class"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
    output:
        terms="<results>/attribution/{model}/{dataset}.parquet",
        vectors=temp_unless_kept("<results>/attribution/{model}/{dataset}_vectors.parquet"),
        means=temp_unless_kept("<results>/attribution/{model}/{dataset}_means.safetensors"),
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


rule attribution_tokens:
    """What each head writes from each token into the logits of the true class and its rival, for the images that the explorer shows"""
    input:
        **GUIDE,
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        predictions=of_one("<results>/predictions/{model}/{dataset}/{split}.parquet"),
    output:
        terms="<results>/attribution/{model}/{dataset}_tokens.parquet",
    log:
        "<logs>/attribution_tokens/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/attribution_tokens/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("attribution")))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=240,
    params:
        **program(
            "attribution_tokens.py",
            lambda wildcards: plan.attribution_tokens_step(wildcards.model),
            places=root,
        ),
    message:
        "Measuring through which tokens heads of {wildcards.model} write into the logits on {wildcards.dataset}"
    shell:
        ON_DEVICE_COMMAND


rule ablation:
    """The output without each head and each MLP, directly and with all later effects"""
    input:
        manifest=eval_manifest,
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        vectors="<results>/attribution/{model}/{dataset}_vectors.parquet",
        means="<results>/attribution/{model}/{dataset}_means.safetensors",
    output:
        effects="<results>/ablation/{model}/{dataset}.parquet",
    log:
        "<logs>/ablation/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/ablation/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("ablation")))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=480,
    params:
        **program("ablation.py", plan.step(steps.AblationStep, run_config.ablation), places=root),
    message:
        "Replacing heads and MLPs of {wildcards.model} by their means on {wildcards.dataset}"
    shell:
        ON_DEVICE_COMMAND
