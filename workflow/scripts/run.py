"""Run the workflow with a config. This calls `snakemake`, which gets all further arguments: targets first, then options."""

import os
import shlex
import sys
from argparse import REMAINDER, Namespace
from pathlib import Path

import cli
from classlens.errors import InputError

SETS_CORES = ("--cores", "-c", "--jobs", "-j", "--profile", "--executor", "-e")


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="config of the run (YAML)")
    parser.add_argument("further", nargs=REMAINDER, metavar="...", help="targets and options of snakemake, such as F2 or --dry-run")
    return parser


def main(args: Namespace, _: cli.NoSettings) -> None:
    if not args.config.is_file():
        raise InputError(f"{args.config} does not exist: `classlens init` copies the demo's config, `classlens check --fix` writes yours")
    command = [
        "snakemake",
        *args.further,
        *cores(args.further),
        "--snakefile",
        str(cli.HOME / "Snakefile"),
        "--configfile",
        str(args.config),
    ]
    print(shlex.join(command), file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, "-m", *command])


def cores(options: list[str]) -> list[str]:
    """Return the option for all cores, unless the given options set their number."""
    return [] if any(option.split("=")[0] in SETS_CORES for option in options) else ["--cores", "all"]


if __name__ == "__main__":
    cli.run(main, arguments())
