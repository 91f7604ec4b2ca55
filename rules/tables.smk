# The paper's tables, each over all models, what they reproduce, and what is odd about the run. Letters are aliases: `snakemake T1`.
import json

from classlens.catalogue import TABLES

# What each table's program reads: a path of every model that it shows, by argument.
TABLE_INPUTS = {
    "identifiability": {
        "tables": "<results>/identifiability/{model}/{dataset}.parquet",
        "predictions": "<results>/predictions/{model}/{dataset}/{split}.parquet",
    },
    "attention_perturbation": {
        "tables": "<results>/perturbations/{model}/{dataset}.parquet",
        "accuracy": "<results>/perturbations/{model}/{dataset}_accuracy.parquet",
    },
    "token_perturbation": {
        "tables": "<results>/perturbations/{model}/{dataset}.parquet",
        "accuracy": "<results>/perturbations/{model}/{dataset}_accuracy.parquet",
    },
    "context_difference": {"tables": "<results>/building/{model}/{dataset}.parquet"},
    "interpretable_values": {"tables": "<results>/memories/{model}/{dataset}/interpretable_values.parquet"},
    "deletion_area": {"tables": "<results>/deletion/{model}/{dataset}_area.parquet"},
    "segmentation_scores": {"tables": "<results>/segmentation/{model}/{dataset}.parquet"},
}

# The numbers that this run should give, and the tables that it has them in.
COMPARED = sorted({group["table"] for group in EXPECTED} & {table.name for table in TABLES if plan.models_of(table)})


for table in TABLES:

    rule:
        name:
            f"table_{table.name}"
        input:
            **inputs_of(table, TABLE_INPUTS[table.name]),
        output:
            f"<results>/tables/{table.name}.csv",
        log:
            f"<logs>/tables/{table.name}.log",
        benchmark:
            f"<benchmarks>/tables/{table.name}.tsv"
        conda:
            "../envs/classlens.yaml"
        threads: 1
        resources:
            mem_mb=memory(2),
            runtime=30,
        params:
            settings=settings_of(table, plan.statistics_settings),
            inputs=read_inputs(TABLE_INPUTS[table.name]),
            script=f"table_{table.name}.py",
            code=code(f"table_{table.name}.py"),
        message:
            f"Writing table {table.letter}, {table.name}"
        shell:
            'python "$SCRIPTS"/{params.script:q} --log {log:q} --threads {threads} --models {params.settings[models]:q}'
            " --seed {params.settings[seed]:q} --protocol {params.settings[protocol]:q}"
            " {params.inputs:q}"
            " --csv {output:q}"


rule reproduction:
    """The run's tables beside the numbers that they should hold"""
    input:
        [f"<results>/tables/{name}.csv" for name in COMPARED],
    output:
        "<results>/reproduction.csv",
    log:
        "<logs>/reproduction.log",
    benchmark:
        "<benchmarks>/reproduction.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(1),
        runtime=10,
    params:
        expected=json.dumps(EXPECTED),
        code=code("reproduction.py"),
    message:
        "Comparing the tables with the expected numbers"
    shell:
        'python "$SCRIPTS"/reproduction.py --log {log:q} --threads {threads} --expected {params.expected:q} --tables {input:q} --csv {output:q}'


# Models whose answers are looked at: random weights are meant to guess.
ANSWERING = [model for model in plan.models.values() if model.weights != "random"]


rule sanity:
    """Signs of classes in another order, wrong transforms or weights, masks without an object, and copies of images"""
    input:
        cards=[f"<results>/models/{model.name}/model.json" for model in ANSWERING],
        predictions=[of_model(model.name, "<results>/predictions/{model}/{dataset}/{split}.parquet") for model in ANSWERING],
        manifests=[f"<results>/data/{dataset.name}/{dataset.eval_split}/manifest.parquet" for dataset in plan.used()],
        fitted=fitted_manifests(),
    output:
        "<results>/warnings.json",
    log:
        "<logs>/sanity.log",
    benchmark:
        "<benchmarks>/sanity.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=30,
    params:
        settings=dict(
            models=json.dumps([{"name": model.name, "label": model.label, "dataset": model.dataset} for model in ANSWERING]),
            datasets=[dataset.name for dataset in plan.used()],
            protocol=settings["protocol"],
        ),
        code=code("sanity.py"),
    message:
        "Looking for signs that something else was measured than was meant"
    shell:
        'python "$SCRIPTS"/sanity.py --log {log:q} --threads {threads} --protocol {params.settings[protocol]:q}'
        " --models {params.settings[models]:q} --cards {input.cards:q} --predictions {input.predictions:q}"
        " --datasets {params.settings[datasets]:q} --manifests {input.manifests:q} --fitted {input.fitted:q} --warnings {output:q}"


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
