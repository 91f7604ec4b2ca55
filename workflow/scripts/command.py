"""Show where class information arises inside Vision Transformers."""

import argparse
import importlib
import sys

import cli
from classlens.version import __version__

COMMANDS = {
    "init": "copy the configs and profiles of the workflow, to edit them",
    "check": "check a config before its run, or write one for a checkpoint and an image folder",
    "run": "run the workflow with a config",
    "explore": "open the explorer of a run in the browser",
}
"""What each command does. A command is a program of this folder."""


def main() -> None:
    """Run the program that the first argument names with the other arguments."""
    parser = argparse.ArgumentParser(prog="classlens", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "\n".join(["commands:", *(f"  {name:8} {what}" for name, what in COMMANDS.items())])
    parser.add_argument("--version", action="version", version=f"classlens {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="a command; `classlens COMMAND --help` lists its arguments")
    name = parser.parse_args(sys.argv[1:2]).command
    sys.argv = [f"classlens {name}", *sys.argv[2:]]
    program = importlib.import_module(name)
    cli.run(program.main, program.arguments())


if __name__ == "__main__":
    main()
