# The report, `snakemake --report report.zip`: tables as pages, and the run's facts for captions and front page.
import run_output
from classlens.config.catalogue import Item


report: "../workflow/report/summary.rst"


# The templates of captions and front page see only the config, so the run's facts are stored in the config.
config["report"] = {**facts_of_run(), "protocol": plan.protocol.name}

TABLE_PAGES = [table for table in TABLES if plan.models_of(table)]
# Requested figures and tables that cannot be made.
WITHOUT_MASKS = [f"{item.letter} {item.name} of {name} (no masks)" for name, items in plan.without_masks().items() for item in items]
COMPARISON = Item("", "reproduction", "Expected numbers and those of this run", "reproduction")


REPORTED = [*TABLE_PAGES, *([COMPARISON] if EXPECTED else [])]


rule report_pages:
    """The report's pages of tables, and the facts in its captions and on its front page"""
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
        mem_mb=ram(2),
        runtime=30,
    params:
        **program("report_pages.py", plan.report_step(REPORTED, WITHOUT_MASKS, CODE, LOCK), places=benchmarks_of_run),
    message:
        "Writing tables and facts for the report"
    shell:
        COMMAND


OUTPUT = run_output.LogHandlerSettings(logs=f"{results}/logs/", targets=rules_without_command)
replace_output(lambda settings: run_output.LogHandler(settings, OUTPUT))


onsuccess:
    if not plan.published:
        run_record.save(results, STATE)
    made = {
        kind: [name for names in items.values() for name in names]
        for kind, items in (("figures", plan.figures()), ("tables", plan.tables()))
    }
    summary = steps.SummaryStep(
        **made,
        seconds=time.time() - STARTED,
        formats=plan.formats,
        models=plan.presented,
        without_masks=WITHOUT_MASKS,
        arguments=config_arguments(),
    )
    summary_flags = flags(summary)
    shell("python {SCRIPTS:q}/summary.py --results {results:q} {summary_flags:q}")


onerror:
    if not plan.published:
        run_record.save(results, STATE)
    print("The run has stopped. Above, `Error in rule` names each failed job and its log. The same command continues the run.")
    for reason in failures():
        print(f"What went wrong: {reason}")
