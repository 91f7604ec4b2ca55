# The paper's tables, each over all models. Letters are aliases: `snakemake T1`.


rule table_identifiability:
    input:
        tables=of_models("identifiability", "<results>/identifiability/{model}/{dataset}.parquet"),
        predictions=of_models(
            "identifiability",
            "<results>/predictions/{model}/{dataset}/{split}.parquet",
        ),
    output:
        "<results>/tables/identifiability.csv",
    log:
        "<logs>/tables/identifiability.log",
    benchmark:
        "<benchmarks>/tables/identifiability.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("table_identifiability.py"),
        mem_mb=memory(2),
        runtime=30,
    params:
        settings=plan.statistics_settings(plan.models_of("identifiability")),
        code=code("table_identifiability.py"),
    message:
        "Writing table T1, identifiability"
    shell:
        "python {resources.script:q} --log {log:q} --threads {threads}"
        " --models {params.settings[models]:q} --seed {params.settings[seed]} --protocol {params.settings[protocol]}"
        " --tables {input.tables:q} --predictions {input.predictions:q} --csv {output:q}"


rule table_context_difference:
    input:
        tables=of_models("context_difference", "<results>/building/{model}/{dataset}.parquet"),
    output:
        "<results>/tables/context_difference.csv",
    log:
        "<logs>/tables/context_difference.log",
    benchmark:
        "<benchmarks>/tables/context_difference.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("table_context_difference.py"),
        mem_mb=memory(2),
        runtime=30,
    params:
        settings=plan.statistics_settings(plan.models_of("context_difference")),
        code=code("table_context_difference.py"),
    message:
        "Writing table T4, context_difference"
    shell:
        "python {resources.script:q} --log {log:q} --threads {threads}"
        " --models {params.settings[models]:q} --seed {params.settings[seed]} --protocol {params.settings[protocol]}"
        " --tables {input.tables:q} --csv {output:q}"


rule tables:
    input:
        [f"<results>/tables/{name}.csv" for names in plan.tables().values() for name in names],


for letter, names in plan.tables().items():

    rule:
        name:
            letter
        input:
            [f"<results>/tables/{name}.csv" for name in names],
