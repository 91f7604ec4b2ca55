# The report, `snakemake --report report.zip`: a front page, and a page with caption for each figure and table.
import run_output

if not is_module():

    report: "../workflow/report/summary.rst"

    # The template of the front page sees only the config.
    config["report"] = front_page()


CAPTIONS = HERE / "workflow" / "report"
# Requested figures and tables that cannot be made.
WITHOUT_MASKS = [f"{item.letter} {item.name} of {name} (no masks)" for name, items in plan.without_masks().items() for item in items]
COMPARISON = steps.ReportPage(
    name="reproduction", caption="reproduction", title="Expected numbers and those of this run", section=CATEGORIES["reproduction"]
)
PAGES = [*plan.report_pages(), *([COMPARISON] if EXPECTED else [])]


rule report_pages:
    """The report's pages of figures and tables, and its front page"""
    input:
        cards=[f"<results>/models/{model}/model.json" for model in plan.presented],
        manifests=sorted({of_model(model, "<results>/data/{dataset}/{split}/manifest.parquet") for model in plan.presented}),
        figures=[f"<results>/figures/{name}.csv" for names in plan.figures().values() for name in names],
        pictures=[f"<results>/figures/{name}.{plan.formats[0]}" for names in plan.figures().values() for name in names],
        tables=[f"<results>/tables/{name}.csv" for names in plan.tables().values() for name in names],
        reproduction=rules.reproduction.output if EXPECTED else [],
        warnings=rules.sanity.output,
    output:
        front_page="<results>/report/front_page.html",
        pages=[in_report(page) for page in PAGES],
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
        **program(
            "report_pages.py",
            plan.report_step(PAGES, WITHOUT_MASKS, CODE, LIBRARIES),
            places=benchmarks_of_run,
            captions=sha256_of(*(sha256(CAPTIONS / f"{page.caption}.rst") for page in PAGES)),
        ),
    message:
        "Writing the pages of the report"
    shell:
        COMMAND


OUTPUT = run_output.LogHandlerSettings(logs=f"{results}/logs/", targets=rules_without_command)
if not is_module():
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
    summary_flags = [*flags(summary), *flags_of(tables_of_findings())]
    shell(f"CLASSLENS_PYTHON={{sys.executable:q}}; {START}summary.py --results {{results:q}} {{summary_flags:q}}")


onerror:
    if not plan.published:
        run_record.save(results, STATE)
    print("The run has stopped. Above, `Error in rule` names each failed job and its log. The same command continues the run.")
    for reason in failures():
        print(f"What went wrong: {reason}")
