# The report, `snakemake --report report.zip`: tables as pages, and what captions and the front page say of this run.
import json

from classlens.catalogue import Item
from classlens.provenance import sha256_of


report: "../workflow/report/summary.rst"


# Captions and front page are templates that see nothing of a run but its config: what they say of it is put there.
config["report"] = {**facts_of_run(), "protocol": plan.protocol.name}

TABLE_PAGES = [table for table in TABLES if plan.models_of(table)]
# Figures and tables that were asked for and are not made.
WITHOUT_MASKS = [f"{item.letter} {item.name} of {name} (no masks)" for name, items in plan.without_masks().items() for item in items]
COMPARISON = Item("", "reproduction", "Expected numbers and those of this run", "reproduction")


rule report_pages:
    """Tables as pages, and the facts in the report's captions and on its front page"""
    input:
        cards=[f"<results>/models/{model}/model.json" for model in plan.presented],
        manifests=sorted({of_model(model, "<results>/data/{dataset}/{split}/manifest.parquet") for model in plan.presented}),
        figures=[f"<results>/figures/{name}.csv" for names in plan.figures().values() for name in names],
        tables=[f"<results>/tables/{table.name}.csv" for table in TABLE_PAGES],
        reproduction=rules.reproduction.output if EXPECTED else [],
        warnings=rules.sanity.output,
    output:
        facts="<results>/report/facts.json",
        pages=[in_report(table, f"tables/{table.name}", f"<results>/report/{table.name}.html") for table in TABLE_PAGES]
        + ([in_report(COMPARISON, "reproduction", "<results>/report/reproduction.html")] if EXPECTED else []),
    log:
        "<logs>/report_pages.log",
    benchmark:
        "<benchmarks>/report_pages.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2),
        runtime=30,
    params:
        settings=plan.statistics_settings(plan.presented),
        titles=json.dumps([f"{item.letter} {item.title}".strip() for item in [*TABLE_PAGES, *([COMPARISON] if EXPECTED else [])]]),
        hashes=json.dumps({"code": sha256_of(*CODE.values()), "lock": LOCK}),
        benchmarks=f"{results}/benchmarks",
        without_masks=WITHOUT_MASKS,
        code=code("report_pages.py"),
    message:
        "Writing tables and facts for the report"
    shell:
        'python "$SCRIPTS"/report_pages.py --log {log:q} --threads {threads} --models {params.settings[models]:q}'
        " --seed {params.settings[seed]:q} --hashes {params.hashes:q} --benchmarks {params.benchmarks:q}"
        " --cards {input.cards:q} --manifests {input.manifests:q} --figures {input.figures:q} --tables {input.tables:q}"
        " --titles {params.titles:q} --pages {output.pages:q} --facts {output.facts:q} --without-masks {params.without_masks:q}"
        " --warnings {input.warnings:q}" + (" --reproduction {input.reproduction:q}" if EXPECTED else "")


onsuccess:
    if not plan.published:
        run_record.keep(results, STATE)
    seconds = time.time() - STARTED
    figures, tables = ([name for names in items.values() for name in names] for items in (plan.figures(), plan.tables()))
    same = " ".join(f"--configfile {shlex.quote(str(path))}" for path in workflow.overwrite_configfiles)
    shell(
        "python {workflow.basedir:q}/workflow/scripts/summary.py --results {results:q} --seconds {seconds} --figures {figures:q}"
        " --formats {plan.formats:q} --tables {tables:q} --models {plan.presented:q} --without-masks {WITHOUT_MASKS:q} --arguments={same:q}"
    )


onerror:
    if not plan.published:
        run_record.keep(results, STATE)
    print("The run has stopped. Above, `Error in rule` names each failed job and its log; the same command goes on from what is done.")
    for reason in failures():
        print(f"What went wrong: {reason}")
