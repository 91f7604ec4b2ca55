# Linear probes on stored hidden states.


rule probes:
    """Linear probes of every site, block and token position"""
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
    cache: CACHING
    conda:
        "../envs/classlens.yaml"
    threads: paired(len(plan.models_with("probes")))
    resources:
        mem_mb=memory(8),
        runtime=240,
    params:
        settings=lambda wildcards: plan.probe_settings(wildcards.dataset),
        code=code("probe.py"),
    message:
        "Fitting linear probes to the hidden states of {wildcards.model} on {wildcards.dataset}"
    shell:
        'python "$SCRIPTS"/probe.py --log {log:q} --threads {threads} --protocol {params.settings[protocol]:q}'
        " --card {input.card:q} --manifest {input.manifest:q} --states {input.states:q}"
        " --train-manifest {input.train_manifest:q} --train-states {input.train_states:q}"
        " --training {params.settings[training]:q} --seed {params.settings[seed]:q}"
        " --ranks {output.ranks:q} --accuracy {output.accuracy:q}"
