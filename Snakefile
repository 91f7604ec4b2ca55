# classlens: where and how class information arises inside Vision Transformers, as a workflow of cached results.
#   snakemake --cores all                                               everything for config/config.yaml (the demo)
#   snakemake --cores all --configfile my.yaml                          your own models and images
#   snakemake --cores 2 results/demo/figures/mean_evolution.svg         one figure, and its stale inputs
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
sys.path.insert(0, str(HERE / "workflow" / "scripts"))
if "models" not in config:

    configfile: HERE / "config" / "config.yaml"


include: "rules/snakemake_adapter.smk"
include: "rules/common.smk"


# A run from published results has no images and models: these rules have nothing to do.
if not plan.published:

    include: "rules/data.smk"
    include: "rules/models.smk"
    include: "rules/hidden_states.smk"
    include: "rules/projections.smk"
    include: "rules/memories.smk"
    include: "rules/probes.smk"
    include: "rules/attribution.smk"
    include: "rules/perturbations.smk"
    include: "rules/relevance.smk"


include: "rules/analyses.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/explorer.smk"
include: "rules/report.smk"


remove_benchmarks_of_cached_rules()


rule all:
    """All figures and tables, the explorer and the pages of the report (the default target)"""
    default_target: True
    input:
        rules.figures.input,
        rules.tables.input,
        [*rules.explorer.input, *rules.explorer.output],
        rules.reproduction.output if EXPECTED else [],
        rules.report_pages.output,


onstart:
    claim_results()
