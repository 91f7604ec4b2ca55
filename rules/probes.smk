# Linear probes on stored hidden states.


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
