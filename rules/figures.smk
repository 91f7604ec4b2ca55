# The paper's figures. Each is written in the formats that the config asks for, beside the csv that it is drawn from. Letters are aliases: `snakemake F2`.
from classlens.catalogue import FIGURES

# What each figure's program reads: a path of every model that it shows, by argument.
FIGURE_INPUTS = {
    "identifiability_evolution": {
        "tables": "<results>/identifiability/{model}/{dataset}.parquet",
        "ranks": "<results>/identifiability/{model}/{dataset}_ranks.parquet",
    },
    "mean_evolution": {"tables": "<results>/identifiability/{model}/{dataset}.parquet"},
    "change_rate": {"tables": "<results>/identifiability/{model}/{dataset}.parquet"},
    "class_vs_context": {"tables": "<results>/context/{model}/{dataset}.parquet"},
    "class_building": {
        "tables": "<results>/building/{model}/{dataset}.parquet",
        "composition": "<results>/building/{model}/{dataset}_composition.parquet",
    },
    "class_value_agreement": {"tables": "<results>/memories/{model}/{dataset}/class_value_agreement.parquet"},
    "key_value_agreement": {
        "tables": "<results>/memories/{model}/{dataset}/key_value_agreement.parquet",
        "chance": "<results>/memories/{model}/{dataset}/chance.parquet",
    },
    "memory_comparison": {
        "tables": "<results>/memories/{model}/{dataset}/key_value_agreement.parquet",
        "class-value": "<results>/memories/{model}/{dataset}/class_value_agreement.parquet",
        "chance": "<results>/memories/{model}/{dataset}/chance.parquet",
    },
    "agreement_difference": {"tables": "<results>/memories/{model}/{dataset}/key_value_agreement.parquet"},
    "compositionality": {
        "tables": "<results>/memories/{model}/{dataset}/composition.parquet",
        "chance": "<results>/memories/{model}/{dataset}/chance.parquet",
    },
    "relevance_maps": {
        "tables": "<results>/relevance/{model}/{dataset}.parquet",
        "shown": "<results>/relevance/{model}/{dataset}_shown.parquet",
        "manifest": "<results>/data/{dataset}/{split}/manifest.parquet",
    },
    "relevance_heads": {
        "tables": "<results>/relevance/{model}/{dataset}_heads.parquet",
        "shown": "<results>/relevance/{model}/{dataset}_shown.parquet",
        "manifest": "<results>/data/{dataset}/{split}/manifest.parquet",
    },
    "deletion_curves": {"tables": "<results>/deletion/{model}/{dataset}.parquet"},
    "segmentation_scores": {"tables": "<results>/segmentation/{model}/{dataset}.parquet"},
    "probes_vs_projection": {
        "tables": "<results>/probes/{model}/{dataset}.parquet",
        "identifiability": "<results>/identifiability/{model}/{dataset}.parquet",
        "deletion": "<results>/deletion/{model}/{dataset}.parquet",
    },
}


for figure in FIGURES:

    rule:
        name:
            f"figure_{figure.name}"
        input:
            **inputs_of(figure, FIGURE_INPUTS[figure.name]),
        output:
            **formats(figure),
        log:
            f"<logs>/figures/{file_of(figure)}.log",
        benchmark:
            f"<benchmarks>/figures/{file_of(figure)}.tsv"
        conda:
            "../envs/classlens.yaml"
        threads: 1
        resources:
            mem_mb=memory(2),
            runtime=30,
        params:
            settings=settings_of(figure, plan.figure_settings),
            inputs=read_inputs(FIGURE_INPUTS[figure.name]),
            style=style,
            drawings=drawings,
            script=f"figure_{figure.name}.py",
            code=code(f"figure_{figure.name}.py"),
        message:
            f"Drawing figure {figure.letter}, {figure.name}" + (" of {wildcards.model}" if figure.per_model else "")
        shell:
            'python "$SCRIPTS"/{params.script:q} --log {log:q} --threads {threads} --models {params.settings[models]:q}'
            " --seed {params.settings[seed]:q} --protocol {params.settings[protocol]:q}"
            " {params.style:q} --width {params.settings[width]:q}"
            " {params.inputs:q}"
            " {params.drawings:q}"


rule figures:
    """All figures"""
    input:
        [path for names in plan.figures().values() for path in drawn(names)],


for letter, names in plan.figures().items():

    rule:
        name:
            letter
        input:
            drawn(names),
