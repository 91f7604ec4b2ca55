# Measures per image, from the projections of one model: small tables that figures and tables are made from.


rule identifiability:
    """Class identifiability of every image, by block and kind of token"""
    input:
        projections=PROJECTIONS,
        card="<results>/models/{model}/model.json",
    output:
        measures="<results>/identifiability/{model}/{dataset}.parquet",
        ranks="<results>/identifiability/{model}/{dataset}_ranks.parquet",
    log:
        "<logs>/identifiability/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/identifiability/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4),
        runtime=60,
    params:
        **program("identifiability.py", plan.step(steps.ProtocolSetting)),
    message:
        "Measuring class identifiability of {wildcards.model} on {wildcards.dataset}"
    shell:
        COMMAND


rule context:
    """Class identifiability of tokens on the object and beside it"""
    input:
        projections=PROJECTIONS,
        card="<results>/models/{model}/model.json",
        tokens="<results>/tokens/{model}/{dataset}.parquet",
    output:
        context="<results>/context/{model}/{dataset}.parquet",
    log:
        "<logs>/context/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/context/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4),
        runtime=60,
    params:
        **program("context.py", plan.step(steps.ProtocolSetting)),
    message:
        "Comparing class and context tokens of {wildcards.model} on {wildcards.dataset}"
    shell:
        COMMAND


rule building:
    """What attention and MLP layers add to the class, and whose top class the stream takes on"""
    input:
        projections=PROJECTIONS,
        card="<results>/models/{model}/model.json",
        tokens=tokens_if_masks,
    output:
        changes="<results>/building/{model}/{dataset}.parquet",
        composition="<results>/building/{model}/{dataset}_composition.parquet",
    log:
        "<logs>/building/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/building/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4),
        runtime=60,
    params:
        **program("building.py", plan.step(steps.ProtocolSetting)),
    message:
        "Measuring how the layers of {wildcards.model} build the class on {wildcards.dataset}"
    shell:
        COMMAND
