# All uses of Snakemake's undocumented interfaces. `tests/test_snakemake_adapter.py` tests each of them.
from snakemake.logging import logger
from snakemake.path_modifier import PathModifier
from snakemake.settings.types import DeploymentMethod


def is_module():
    """Return whether another workflow uses this one as a module."""
    return not workflow.modifier.is_main_snakefile()


def with_prefix(path):
    """Return a path with the prefix that another workflow sets for this module. Snakemake then adds no prefix to paths of rules.

    Programs get some paths as parameters, which Snakemake leaves as they are.
    """
    modifier = workflow.modifier
    path = modifier.path_modifier.replace_prefix(path)
    modifier.path_modifier = PathModifier(None, None, workflow)
    return path


def own_rule(name):
    """Return a rule of this workflow by its name here, or None if another workflow uses this one without the rule."""
    name = workflow.modifier.avail_rulename(name)
    return name and workflow.get_rule(name)


def config_files():
    """Return the config files of this run."""
    return [Path(path) for path in workflow.configfiles]


def config_arguments():
    """Return the `--configfile` arguments of this command line, to print further commands for the same run."""
    return " ".join(f"--configfile {shlex.quote(str(path))}" for path in workflow.overwrite_configfiles)


def is_main_process():
    """Return whether this process plans the run, instead of executing one of its jobs."""
    return workflow.is_main_process


def jobs_have_environments():
    """Return whether jobs run in conda environments or containers."""
    return bool(workflow.deployment_settings.deployment_method)


def jobs_have_containers():
    """Return whether jobs run in containers."""
    return DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method


def shares_results():
    """Return whether runs and users share results (`--cache`, with a folder in SNAKEMAKE_OUTPUT_CACHE)."""
    return workflow.workflow_settings.cache is not None


def all_cores():
    """Return the number of cores for this run, or 1 if Snakemake has none, as for `--report`."""
    return workflow.global_resources["_cores"].value or 1


def limit_resource(resource, count):
    """Limit a resource on this machine to `count`, unless the profile sets another limit. Return the limit."""
    if resource not in workflow.global_resources:
        workflow.register_resource(resource, count)  # without a total, Snakemake assumes an unlimited resource
    return workflow.global_resources[resource].value


def runs_here():
    """Return whether jobs run on this machine, not on a cluster."""
    return workflow.local_exec


def outputs_of_run():
    """Return the outputs of all jobs that this run's targets need. After a successful run they are up to date, other files may be stale."""
    return {str(path) for job in workflow.dag.jobs for path in job.output}


def rules_without_command():
    """Return the names of targets, whose jobs only wait for others."""
    return frozenset(item.name for item in workflow.rules if not item.shellcmd)


def replace_output(make_handler):
    """Print by another handler than Snakemake's own, which `make_handler` makes from Snakemake's settings of output.

    Snakemake's own output remains in dry runs, if the command line or a profile has an option about output (`--printshellcmds`,
    `--verbose`, `--debug-dag`, `--quiet`) or another `--logger`, and in its log file.
    """
    output = workflow.output_settings
    if not is_main_process() or output.dryrun or output.printshellcmds or output.verbose or output.debug_dag or output.quiet:
        return
    for own in [handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"]:
        made = make_handler(output)
        made.setFormatter(own.formatter)
        for condition in own.filters:
            made.addFilter(condition)
        logger.removeHandler(own)
        logger.addHandler(made)


def remove_benchmarks_of_cached_rules():
    """Remove the benchmarks of rules with cached results, because Snakemake caches no rule that has a benchmark."""
    for item in workflow.modifier.rules:
        if item.cache and item.cache.output:
            item._benchmark = None


def describe(rule_name, text):
    """Set the description of a rule that is defined in a loop, for `snakemake --list`."""
    if made := own_rule(rule_name):
        made.docstring = text


def description(rule_name):
    """Return the description of a rule."""
    made = own_rule(rule_name)
    return made and made.docstring


def follow_profile(rule_name, name):
    """Apply the threads and resources that a profile sets under `name` to a rule that is defined in a loop."""
    made, profile = own_rule(rule_name), workflow.resource_settings
    if made and name in profile._parsed_overwrite_threads:
        made.resources["_cores"] = profile._parsed_overwrite_threads[name]
    if made:
        made.resources.update(profile._parsed_overwrite_resources.get(name, {}))


class UnhashedArguments(str):
    """Arguments of a command whose paths do not enter the hash of the rule's parameters.

    `--cache` finds results by a hash that includes parameters which depend on inputs and outputs, but runs that share results have other
    paths. Hashing sees only `name`; formatting gives the arguments.
    """

    def __new__(cls, name, arguments):
        made = super().__new__(cls, name)
        made.arguments = arguments
        return made

    def __format__(self, spec):
        return shlex.join(self.arguments)
