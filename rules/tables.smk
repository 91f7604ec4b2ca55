# The paper's tables over all models, the comparison with expected numbers, and plausibility checks. Letters are aliases: `snakemake T1`.
from classlens.config.catalogue import TABLES

# Tables that contain an expected number of this run.
COMPARED = sorted({group.table for group in EXPECTED} & {table.name for table in TABLES if plan.models_of(table)})


for table in TABLES:

    rule:
        name:
            f"table_{table.name}"
        input:
            **inputs_of(table),
        output:
            csv=f"<results>/tables/{table.name}.csv",
        log:
            f"<logs>/tables/{table.name}.log",
        benchmark:
            f"<benchmarks>/tables/{table.name}.tsv"
        conda:
            "../envs/classlens.yaml"
        threads: 1
        resources:
            mem_mb=ram(2),
            runtime=30,
        params:
            **program("table.py", step_of(table, plan.table_step), name=table.name, modules=[f"classlens.tables.{table.name}"]),
        message:
            f"Writing table {table.letter}, {table.name}"
        shell:
            COMMAND


rule reproduction:
    """The comparison of the run's tables with the expected numbers"""
    input:
        tables=[f"<results>/tables/{name}.csv" for name in COMPARED],
    output:
        csv="<results>/reproduction.csv",
    log:
        "<logs>/reproduction.log",
    benchmark:
        "<benchmarks>/reproduction.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(1),
        runtime=10,
    params:
        **program("reproduction.py", steps.ReproductionStep(expected=EXPECTED)),
    message:
        "Comparing the tables with the expected numbers"
    shell:
        COMMAND


# Models whose predictions are checked. Models with random weights guess by design.
ANSWERING = [model for model in plan.models.values() if model.weights != "random"]


rule sanity:
    """Warnings about a wrong order of classes, wrong transforms or weights, masks without an object, and duplicate images"""
    input:
        cards=[f"<results>/models/{model.name}/model.json" for model in ANSWERING],
        predictions=[of_model(model.name, "<results>/predictions/{model}/{dataset}/{split}.parquet") for model in ANSWERING],
        manifests=[f"<results>/data/{dataset.name}/{dataset.eval_split}/manifest.parquet" for dataset in plan.used()],
        fitted=fitted_manifests(),
    output:
        warnings="<results>/warnings.json",
    log:
        "<logs>/sanity.log",
    benchmark:
        "<benchmarks>/sanity.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(2),
        runtime=30,
    params:
        **program("sanity.py", plan.sanity_step(ANSWERING)),
    message:
        "Checking the results for signs of mistakes in data, classes or weights"
    shell:
        COMMAND


rule tables:
    """All tables"""
    input:
        [f"<results>/tables/{name}.csv" for names in plan.tables().values() for name in names],


for letter, names in plan.tables().items():

    rule:
        name:
            letter
        input:
            [f"<results>/tables/{name}.csv" for name in names],


describe_items("table", TABLES)
