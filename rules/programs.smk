# How programs are called, and what makes their results stale.


# sha256 of every program that a rule runs, by its name and that of the figure or table that it makes.
CODE = {}


def program(script, settings, name="", modules=(), places=None, **further):
    """The params of a program: its settings, its files, and hashes of its code and of the environment.

    `settings` is a step, or a function of the wildcards that returns one. `places` is a function of the wildcards that returns arguments which
    make nothing stale, such as folders outside the results. Further parameters are what else the result depends on.
    """
    CODE[script, name] = code_sha256(SCRIPTS / script, *modules)

    def files(wildcards, input, output):  # Snakemake does not remember parameters that depend on the output
        named = files_of_job(input, output)
        return UnhashedArguments(" ".join(named), [*arguments_of(named), *flags_of(places(wildcards) if places else {})])

    return {
        "program": [script, name] if name else script,
        "settings": lambda wildcards: flags(settings(wildcards) if callable(settings) else settings),
        "files": files,
        "code": [CODE[script, name], LOCK],
        **further,
    }


def files_of_job(input, output):
    """A job's named inputs and outputs, without those that it lacks: lists of paths by name."""
    named = {name: [paths] if isinstance(paths, str) else list(paths) for files in (input, output) for name, paths in files.items()}
    return {name: paths for name, paths in named.items() if paths}


def arguments_of(named):
    """Lists of paths as arguments of a program."""
    return [part for name, paths in named.items() for part in (f"--{name.replace('_', '-')}", *paths)]


def flags_of(places):
    """Texts as arguments of a program; none for what is not there."""
    return [f"--{name.replace('_', '-')}={text}" for name, text in places.items() if text]


# How a rule's program is called, and how one that runs a model on a device.
COMMAND = 'python "$SCRIPTS"/{params.program:q} --log {log:q} --threads {threads} {params.settings:q} {params.files}'
ON_DEVICE_COMMAND = " ".join([COMMAND, *(f"--{name.replace('_', '-')}={{resources.{name}:q}}" for name in RunSettings.settings())])
