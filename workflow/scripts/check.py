"""Check a config before its run: data sets, models with the accuracy on a few images, results, time and disk space.

It writes nothing to the results. With --fix, it first writes the config that a checkpoint and an image folder need.
"""

import os
from argparse import Namespace
from pathlib import Path

import cli
from classlens.config.reading import read
from classlens.config.settings import ComputeSettings
from classlens.errors import InputError
from classlens.progress import log


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="config of the run (YAML)")
    parser.add_argument(
        "--fix",
        type=Path,
        nargs=2,
        metavar=("MODEL", "IMAGES"),
        help="write CONFIG for this checkpoint or folder of transformers, and these images",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results (default: results)")
    parser.set_defaults(threads=len(os.sched_getaffinity(0)))
    return parser


def main(args: Namespace, _: cli.NoSettings) -> None:
    log.setLevel("WARNING")
    if args.fix:
        write(args)
    config = read(args.config)
    import check_report  # imported here, because it imports torch: help and errors of the config come at once

    if problems := check_report.show(args, config):
        raise InputError(f"{args.config} has {problems} problem{'s' if problems > 1 else ''} (above): correct them, and check it again")


def write(args: Namespace) -> None:
    """Write the config that a checkpoint and images need."""
    from classlens.check import proposal
    from classlens.compute.device import Compute

    model, images = args.fix
    proposal.write(args.config, model, images, Compute.from_settings(**dict(ComputeSettings()), threads=args.threads))
    print(f"{args.config} is written.\n", flush=True)


if __name__ == "__main__":
    cli.run(main, arguments())
