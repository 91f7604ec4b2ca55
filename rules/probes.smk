# Linear probes and tuned lenses, which are fitted to stored hidden states.


rule probes:
    """Linear probes for every site, block and token position"""
    input:
        card="<results>/models/{model}/model.json",
        manifest=eval_manifest,
        states=shards_of("<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet"),
        train_manifest=probe_manifest,
        train_states=probe_states,
    output:
        ranks="<results>/probes/{model}/{dataset}.parquet",
        accuracy="<results>/probes/{model}/{dataset}_accuracy.parquet",
    log:
        "<logs>/probes/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/probes/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("probes")))
    resources:
        mem_mb=ram(8),
        runtime=240,
    params:
        **program("probe.py", lambda wildcards: plan.probe_step(wildcards.dataset)),
    message:
        "Fitting linear probes to the hidden states of {wildcards.model} on {wildcards.dataset}"
    shell:
        COMMAND


rule tuned_lens_fit:
    """The maps of a tuned lens, fitted to the hidden states of the probe split"""
    input:
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        manifest=fitting_manifest,
        states=fitting_states,
    output:
        maps="<results>/tuned_lens/{model}/{dataset}.safetensors",
    log:
        "<logs>/tuned_lens_fit/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/tuned_lens_fit/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("tuned_lens")))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=240,
    params:
        **program("tuned_lens_fit.py", lambda wildcards: plan.tuned_lens_step(wildcards.dataset)),
    message:
        "Fitting the tuned lens of {wildcards.model} on {wildcards.dataset}"
    shell:
        ON_DEVICE_COMMAND


rule tuned_lens:
    """What the tuned lens and the logit lens read from the hidden states of every block"""
    input:
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        manifest=eval_manifest,
        states=shards_of("<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet"),
        maps="<results>/tuned_lens/{model}/{dataset}.safetensors",
        tokens=tokens_if_masks,
    output:
        measures="<results>/tuned_lens/{model}/{dataset}.parquet",
    log:
        "<logs>/tuned_lens/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/tuned_lens/{model}/{dataset}.tsv"
    cache: shares_results()
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(plan.models_with("tuned_lens")))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=240,
    params:
        **program("tuned_lens.py", plan.step(steps.ProtocolSetting)),
    message:
        "Comparing the tuned lens of {wildcards.model} with its logit lens on {wildcards.dataset}"
    shell:
        ON_DEVICE_COMMAND


use rule project as project_tuned with:
    """Projections of a shard's residual stream through the tuned lens, which the explorer shows if the config asks for it"""
    input:
        manifest="<results>/data/{dataset}/{split}/manifest.parquet",
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        states="<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet",
        predictions="<results>/predictions/{model}/{dataset}/{split}/{shard}.parquet",
        maps="<results>/tuned_lens/{model}/{dataset}.safetensors",
    output:
        projections="<results>/tuned_lens/{model}/{dataset}/{split}/projections/{shard}.parquet",
        class_logits="<results>/tuned_lens/{model}/{dataset}/{split}/class_logits/{shard}.parquet",
    log:
        "<logs>/project_tuned/{model}/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/project_tuned/{model}/{dataset}/{split}/{shard}.tsv"
    cache: shares_results()
    params:
        **program("project_tuned.py", lambda wildcards: plan.step(steps.ProjectionStep, run_config.projection, shard=wildcards.shard)),
    message:
        "Projecting {wildcards.model} on {wildcards.dataset}, {wildcards.split}, shard {wildcards.shard}, through the tuned lens"
