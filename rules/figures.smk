# The paper's figures, each in the config's formats with a csv file of its numbers. Letters are aliases: `snakemake F2`.
from classlens.config.catalogue import FIGURES

for figure in FIGURES:

    rule:
        name:
            f"figure_{figure.name}"
        input:
            **inputs_of(figure),
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
            mem_mb=ram(2),
            runtime=30,
        params:
            **program(
                "figure.py",
                step_of(figure, plan.figure_step),
                name=figure.name,
                modules=[f"classlens.figures.{figure.name}"],
                places=lambda wildcards: {"style": run_config.figures.style},
                drawn_as=[plan.style_hash(), *plan.formats],
            ),
        message:
            f"Drawing figure {figure.letter}, {figure.name}" + (" of {wildcards.model}" if figure.per_model else "")
        shell:
            COMMAND


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


describe_items("figure", FIGURES)
