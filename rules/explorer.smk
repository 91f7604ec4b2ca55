# The explorer: data files per model, and the page that loads them.


rule explorer_model:
    """The explorer's data files of a model"""
    input:
        **GUIDE,
        manifest=lambda wildcards: of_model(wildcards.model, "<results>/data/{dataset}/{split}/manifest.parquet"),
        card="<results>/models/{model}/model.json",
        predictions=of_one("<results>/predictions/{model}/{dataset}/{split}.parquet"),
        projections=PROJECTIONS,
        class_logits=shards_of("<results>/class_logits/{model}/{dataset}/{split}/{shard}.parquet"),
        memory_keys=explorer_memory_keys,
        interpretable_values=if_analysed({"memories"}, "<results>/memories/{model}/{dataset}/interpretable_values.parquet"),
        tokens=if_analysed({"context", "tokens"}, "<results>/tokens/{model}/{dataset}.parquet"),
        ranks=if_analysed({"attention", "tokens"}, "<results>/perturbations/{model}/{dataset}.parquet"),
        accuracy=if_analysed({"attention", "tokens"}, "<results>/perturbations/{model}/{dataset}_accuracy.parquet"),
        relevance=if_analysed({"relevance"}, "<results>/relevance/{model}/{dataset}.parquet"),
        tuned=tuned_shards("projections"),
        tuned_logits=tuned_shards("class_logits"),
        attribution=shown_attribution,
    output:
        folder=directory("<results>/explorer/{model}"),
    log:
        "<logs>/explorer/{model}.log",
    benchmark:
        "<benchmarks>/explorer/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.explored),
    conda:
        "../envs/classlens.yaml"
    threads: threads_for(len(plan.explored))
    resources:
        mem_mb=ram(4),
        runtime=240,
    params:
        **program(
            "explorer_model.py",
            lambda wildcards: plan.explorer_model_step(wildcards.model),
            places=explorer_places,
        ),
    message:
        "Packing the results of {wildcards.model} for the explorer"
    shell:
        COMMAND


rule explorer:
    """The explorer: an interactive page for single images, tokens and blocks"""
    input:
        explored=expand("<results>/explorer/{model}", model=plan.explored),
        warnings=rules.sanity.output.warnings,
    output:
        page="<results>/explorer/index.html",
    log:
        "<logs>/explorer/index.log",
    benchmark:
        "<benchmarks>/explorer/index.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(1),
        runtime=10,
    params:
        **program("explorer.py", plan.explorer_step()),
    message:
        "Writing the explorer's page"
    shell:
        COMMAND
