# How rules call programs, and which changes make results stale.


# sha256 of the code of every program, by script and by the name of the figure or table (empty for other programs).
CODE = {}


def program(script, settings, name="", modules=(), places=None, **further):
    """Return the params of a rule: the program's settings and files, and hashes of its code and of the environment.

    `settings` is a step, or a function from wildcards to a step. `places` is a function from wildcards to arguments that make nothing
    stale, such as folders outside the results. `further` holds other parameters on which the result depends.
    """
    CODE[script, name] = code_sha256(SCRIPTS / script, *modules)

    def files(wildcards, input, output):  # Snakemake does not record parameters that depend on the output
        named = files_of_job(input, output)
        return UnhashedArguments(" ".join(named), [*arguments_of(named), *flags_of(places(wildcards) if places else {})])

    return {
        "program": [script, name] if name else script,
        "settings": lambda wildcards: flags(settings(wildcards) if callable(settings) else settings),
        "files": files,
        "code": [CODE[script, name], LIBRARIES],
        **further,
    }


def files_of_job(input, output):
    """Return a job's named inputs and outputs as lists of paths, without empty ones."""
    named = {name: [paths] if isinstance(paths, str) else list(paths) for files in (input, output) for name, paths in files.items()}
    return {name: paths for name, paths in named.items() if paths}


def arguments_of(named):
    """Return named lists of paths as program arguments."""
    return [part for name, paths in named.items() for part in (flag(name), *paths)]


def flags_of(places):
    """Return named texts as program arguments, without empty ones."""
    return [f"{flag(name)}={text}" for name, text in places.items() if text]


# The start of a program. `exec` makes it a child of Snakemake (in a container: of apptainer), so that it can end with this parent
# (cli.STARTED_BY).
START = 'CLASSLENS_STARTED_BY=$PPID exec "$CLASSLENS_PYTHON" "$CLASSLENS_SCRIPTS"/'
# Snakemake sets the number of threads for torch, NumPy and pyarrow's CPU pool. polars and pyarrow's I/O pool read variables of their own.
POOLS = 'POLARS_MAX_THREADS="$OMP_NUM_THREADS" ARROW_IO_THREADS="$OMP_NUM_THREADS" '
# The shell command of a rule, and that of a rule that runs a model on a device.
COMMAND = f"{POOLS}{START}{{params.program:q}} --log {{log:q}} --threads {{threads}} {{params.settings:q}} {{params.files}}"
ON_DEVICE_COMMAND = " ".join([COMMAND, *(f"{flag(name)}={{resources.{name}:q}}" for name in RunSettings.settings())])
