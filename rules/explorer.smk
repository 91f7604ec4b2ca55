# The explorer: files of every model, and the page that shows them.


rule explorer_model:
    """What the explorer shows of a model"""
    input:
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
    output:
        directory("<results>/explorer/{model}"),
    log:
        "<logs>/explorer/{model}.log",
    benchmark:
        "<benchmarks>/explorer/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.explored),
    conda:
        "../envs/classlens.yaml"
    threads: shared(len(plan.explored))
    resources:
        mem_mb=memory(4),
        runtime=240,
        root=lambda wildcards: "None" if plan.published else plan.datasets[plan.models[wildcards.model].dataset].root,
    params:
        protocol=settings["protocol"],
        code=code("explorer_model.py"),
    message:
        "Packing what is known of the images of {wildcards.model} for the explorer"
    shell:
        'python "$SCRIPTS"/explorer_model.py --log {log:q} --threads {threads} --protocol {params.protocol:q} --name {wildcards.model:q}'
        " --root {resources.root:q} --manifest {input.manifest:q} --card {input.card:q} --predictions {input.predictions:q}"
        " --projections {input.projections:q} --class-logits {input.class_logits:q} --memory-keys {input.memory_keys:q}"
        " --interpretable-values {input.interpretable_values:q} --tokens {input.tokens:q} --ranks {input.ranks:q}"
        " --accuracy {input.accuracy:q} --relevance {input.relevance:q} --folder {output:q}"


rule explorer:
    """A page on which every image, token and layer can be looked at"""
    input:
        models=expand("<results>/explorer/{model}", model=plan.explored),
        warnings=rules.sanity.output,
    output:
        "<results>/explorer/index.html",
    log:
        "<logs>/explorer/index.log",
    benchmark:
        "<benchmarks>/explorer/index.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=10,
    params:
        settings=plan.explorer_settings(),
        code=code("explorer.py"),
    message:
        "Writing the page of the explorer"
    shell:
        'python "$SCRIPTS"/explorer.py --log {log:q} --threads {threads} --protocol {params.settings[protocol]:q}'
        " --run {params.settings[run]:q} --models {params.settings[models]:q} --warnings {input.warnings:q} --page {output:q}"
