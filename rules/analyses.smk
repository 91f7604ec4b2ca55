# Measures per image, computed from the projections of one model: the small inputs of figures and tables.


rule identifiability:
    """Class identifiability of every image, per block and token kind"""
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
        mem_mb=ram(4),
        runtime=60,
    params:
        **program("identifiability.py", plan.step(steps.ProtocolSetting)),
    message:
        "Measuring class identifiability of {wildcards.model} on {wildcards.dataset}"
    shell:
        COMMAND


rule context:
    """Class identifiability of class tokens and context tokens"""
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
        mem_mb=ram(4),
        runtime=60,
    params:
        **program("context.py", plan.step(steps.ProtocolSetting)),
    message:
        "Comparing class and context tokens of {wildcards.model} on {wildcards.dataset}"
    shell:
        COMMAND


rule building:
    """How attention and MLP sublayers change the class logit, and which of them sets the top class of the residual stream"""
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
        mem_mb=ram(4),
        runtime=60,
    params:
        **program("building.py", plan.step(steps.ProtocolSetting)),
    message:
        "Measuring how the sublayers of {wildcards.model} build the class on {wildcards.dataset}"
    shell:
        COMMAND
