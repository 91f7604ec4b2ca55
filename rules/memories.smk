# Key-value memories: which classes they write, and whether tokens use memories of their own class.


rule memories:
    """Which classes a sublayer's memories write, and which memories tokens use"""
    input:
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        manifest=eval_manifest,
        predictions=of_one("<results>/predictions/{model}/{dataset}/{split}.parquet"),
        memory_keys=shards_of("<results>/memory_keys/{model}/{dataset}/{split}/{shard}.parquet"),
        projections=PROJECTIONS,
    output:
        class_value_agreement="<results>/memories/{model}/{dataset}/class_value_agreement.parquet",
        key_value_agreement="<results>/memories/{model}/{dataset}/key_value_agreement.parquet",
        by_class="<results>/memories/{model}/{dataset}/key_value_agreement_by_class.parquet",
        composition="<results>/memories/{model}/{dataset}/composition.parquet",
        chance="<results>/memories/{model}/{dataset}/chance.parquet",
        interpretable_values="<results>/memories/{model}/{dataset}/interpretable_values.parquet",
    log:
        "<logs>/memories/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/memories/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(6),
        runtime=120,
    params:
        **program("memories.py", plan.step(steps.ProtocolSetting)),
    message:
        "Analysing the key-value memories of {wildcards.model} on {wildcards.dataset}"
    shell:
        COMMAND
