# The paper's figures. Each is written as svg, png and pdf, beside the csv that it is drawn from. Letters are aliases: `snakemake F2`.


rule figure_identifiability_evolution:
    input:
        tables=of_models(
            "identifiability_evolution",
            "<results>/identifiability/{model}/{dataset}.parquet",
        ),
        ranks=of_models(
            "identifiability_evolution",
            "<results>/identifiability/{model}/{dataset}_ranks.parquet",
        ),
    output:
        **formats("identifiability_evolution"),
    log:
        "<logs>/figures/identifiability_evolution.log",
    benchmark:
        "<benchmarks>/figures/identifiability_evolution.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("figure_identifiability_evolution.py"),
        mem_mb=memory(2),
        runtime=30,
        style=style,
    params:
        settings=plan.figure_settings(plan.models_of("identifiability_evolution")),
        code=code("figure_identifiability_evolution.py"),
    message:
        "Drawing figure F1, identifiability_evolution"
    shell:
        draw("--ranks {input.ranks:q}")


rule figure_mean_evolution:
    input:
        tables=of_models("mean_evolution", "<results>/identifiability/{model}/{dataset}.parquet"),
    output:
        **formats("mean_evolution"),
    log:
        "<logs>/figures/mean_evolution.log",
    benchmark:
        "<benchmarks>/figures/mean_evolution.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("figure_mean_evolution.py"),
        mem_mb=memory(2),
        runtime=30,
        style=style,
    params:
        settings=plan.figure_settings(plan.models_of("mean_evolution")),
        code=code("figure_mean_evolution.py"),
    message:
        "Drawing figure F2, mean_evolution"
    shell:
        draw()


rule figure_change_rate:
    input:
        tables=of_models("change_rate", "<results>/identifiability/{model}/{dataset}.parquet"),
    output:
        **formats("change_rate"),
    log:
        "<logs>/figures/change_rate.log",
    benchmark:
        "<benchmarks>/figures/change_rate.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("figure_change_rate.py"),
        mem_mb=memory(2),
        runtime=30,
        style=style,
    params:
        settings=plan.figure_settings(plan.models_of("change_rate")),
        code=code("figure_change_rate.py"),
    message:
        "Drawing figure F3, change_rate"
    shell:
        draw()


rule figure_class_vs_context:
    input:
        tables=of_one("<results>/context/{model}/{dataset}.parquet"),
    output:
        **formats("class_vs_context_{model}"),
    log:
        "<logs>/figures/class_vs_context_{model}.log",
    benchmark:
        "<benchmarks>/figures/class_vs_context_{model}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("figure_class_vs_context.py"),
        mem_mb=memory(2),
        runtime=30,
        style=style,
    params:
        settings=lambda wildcards: plan.figure_settings([wildcards.model]),
        code=code("figure_class_vs_context.py"),
    message:
        "Drawing figure F4, class_vs_context, of {wildcards.model}"
    shell:
        draw()


rule figure_class_building:
    input:
        tables=of_one("<results>/building/{model}/{dataset}.parquet"),
        composition=of_one("<results>/building/{model}/{dataset}_composition.parquet"),
    output:
        **formats("class_building_{model}"),
    log:
        "<logs>/figures/class_building_{model}.log",
    benchmark:
        "<benchmarks>/figures/class_building_{model}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("figure_class_building.py"),
        mem_mb=memory(2),
        runtime=30,
        style=style,
    params:
        settings=lambda wildcards: plan.figure_settings([wildcards.model]),
        code=code("figure_class_building.py"),
    message:
        "Drawing figure F5, class_building, of {wildcards.model}"
    shell:
        draw("--composition {input.composition:q}")


rule figures:
    input:
        [f"<results>/figures/{name}.svg" for names in plan.figures().values() for name in names],


for letter, names in plan.figures().items():

    rule:
        name:
            letter
        input:
            [f"<results>/figures/{name}.svg" for name in names],
