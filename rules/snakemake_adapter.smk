# What Snakemake does not document, and this workflow needs: all of it stands here, and `tests/test_snakemake_adapter.py` tries each part.


def config_files():
    """The files that the config was read from."""
    return [Path(path) for path in workflow.configfiles]


def config_arguments():
    """The part of the command line that named config files, for commands about the same run."""
    return " ".join(f"--configfile {shlex.quote(str(path))}" for path in workflow.overwrite_configfiles)


def is_main_process():
    """Whether this process plans the run, and is not a job of it."""
    return workflow.is_main_process


def jobs_have_environments():
    """Whether jobs run in environments or containers of their own."""
    return bool(workflow.deployment_settings.deployment_method)


def shares_results():
    """Whether results of rules that run a model or fit probes are shared between runs and users: --cache, and a folder in SNAKEMAKE_OUTPUT_CACHE."""
    return workflow.workflow_settings.cache is not None


def all_cores():
    """How many cores a run on this machine may use; a report is made without any."""
    return workflow.global_resources["_cores"].value or 1


def offer(resource, count):
    """Have jobs on this machine share so many of a resource, unless the profile says how many there are; how many there are then."""
    if resource not in workflow.global_resources:
        workflow.register_resource(resource, count)  # without a total, Snakemake takes as many as jobs ask for to be there
    return workflow.global_resources[resource].value


def runs_here():
    """Whether jobs run on this machine, and not on a cluster."""
    return workflow.local_exec


def untime_cached_rules():
    """Take the benchmarks from rules whose results may come from the cache: Snakemake caches no rule that has one, and those took no time."""
    for item in workflow.rules:
        if item.cache and item.cache.output:
            item._benchmark = None


def describe(rule_name, text):
    """Say what a rule that is made in a loop makes, for `snakemake --list`."""
    workflow.get_rule(rule_name).docstring = text


def description(rule_name):
    """What a rule makes."""
    return workflow.get_rule(rule_name).docstring


def follow_profile(rule_name, name):
    """Give a rule that is made in a loop the threads and resources that a profile sets for all of them under one name."""
    made, profile = workflow.get_rule(rule_name), workflow.resource_settings
    if name in profile._parsed_overwrite_threads:
        made.resources["_cores"] = profile._parsed_overwrite_threads[name]
    made.resources.update(profile._parsed_overwrite_resources.get(name, {}))


class UnhashedArguments(str):
    """A parameter that is formatted as arguments of a command, and is only a name to what hashes parameters.

    The hash by which `--cache` finds results covers parameters that depend on inputs and outputs. Their paths differ between runs that share results.
    """

    def __new__(cls, name, arguments):
        made = super().__new__(cls, name)
        made.arguments = arguments
        return made

    def __format__(self, spec):
        return shlex.join(self.arguments)
