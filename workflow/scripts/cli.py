"""What the programs share: arguments, logs, provenance and errors."""

import argparse
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from pydantic_core import to_jsonable_python

from classlens.config.catalogue import Item, named
from classlens.config.settings import Section
from classlens.config.steps import from_flags
from classlens.errors import InputError, printable
from classlens.progress import log
from classlens.storage.parquet import reading
from classlens.storage.provenance import code_sha256, library_versions

STARTED_BY = "CLASSLENS_STARTED_BY"
"""Environment variable with the process number of the Snakemake that runs a program; without it the program is run by hand."""
if STARTED_BY in os.environ:
    gc.disable()  # until `run`: nothing that a program imports is garbage, and to look for some takes torch a second


class NoSettings(Section):
    """The settings of a program that has none."""


class Parser(argparse.ArgumentParser):
    """The arguments of a program: its settings, the files that it reads and writes, its log and its threads.

    Args:
        description: the program's docstring.
        settings: class of what its results depend on.
        further: classes of settings that its results do not depend on, by the name that they have among the parsed arguments.
    """

    def __init__(self, description: str | None, settings: type[Section] = NoSettings, **further: type[Section]):
        super().__init__(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        self._sections = {"settings": settings, **further}
        self.add_argument("--log", type=Path, help="file for plain progress lines")
        self.add_argument("--threads", type=int, default=1, help="processor threads to use")
        for section in self._sections.values():
            for name, field in section.settings().items():
                said = " ".join((field.description or "").split()).replace("%", "%%")
                default = None if field.is_required() else field.get_default(call_default_factory=True)
                self.add_argument(_flag(name), required=field.is_required(), metavar="VALUE", help=f"{said} (default: {default})")

    def one(self, **paths: str) -> "Parser":
        """Add arguments that are a path each, with their help."""
        for name, said in paths.items():
            self.add_argument(_flag(name), type=Path, required=True, metavar="PATH", help=said)
        return self

    def maybe(self, **paths: str) -> "Parser":
        """Add arguments that are a path, or nothing."""
        for name, said in paths.items():
            self.add_argument(_flag(name), type=lambda text: Path(text) if text else None, metavar="PATH", help=said)
        return self

    def many(self, **paths: str) -> "Parser":
        """Add arguments that are any number of paths."""
        for name, said in paths.items():
            self.add_argument(_flag(name), type=Path, nargs="*", default=[], metavar="PATH", help=said)
        return self

    def parsed(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments of this process, or those given; the settings of each class are one attribute.

        Raises:
            InputError: a setting has a value of another kind.
        """
        args = vars(self.parse_args(arguments))
        found = {key: from_flags(kind, {name: args.get(name) for name in kind.settings()}) for key, kind in self._sections.items()}
        names = {name for kind in self._sections.values() for name in kind.settings()}
        return argparse.Namespace(**{name: value for name, value in args.items() if name not in names}, **found)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def provenance(settings: Section, model_sha256: str | None = None) -> dict[str, str]:
    """Schema metadata of the tables that a program writes: protocol, parameters, code, model and library versions, no paths or dates."""
    parameters = {name: value for name, value in settings if name != "protocol"}
    metadata = {
        "protocol": getattr(settings, "protocol", ""),
        "parameters": json.dumps(to_jsonable_python(parameters), sort_keys=True),
        "code_sha256": code_sha256(sys.argv[0]),
        "versions": json.dumps(library_versions(), sort_keys=True),
    }
    return {**metadata, "model_sha256": model_sha256} if model_sha256 else metadata


def run(main: Callable[[argparse.Namespace, Any], None], parser: Parser, arguments: Sequence[str] | None = None) -> None:
    """Run a program: log as asked, and end with one line and status 1 where the input, the disk or a file is to blame.

    Args:
        main: does the work; takes the parsed arguments and the settings.
        parser: the program's arguments.
        arguments: in place of those of this process.
    """
    gc.enable()
    _start_logging(parser.parse_args(arguments).log)
    if STARTED_BY in os.environ:
        Thread(target=_end_with, args=(int(os.environ[STARTED_BY]),), daemon=True).start()
    try:
        args = parser.parsed(arguments)
        with reading(getattr(args.settings, "protocol", None)):
            main(args, args.settings)
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except Exception:
        log.exception("this is a bug in classlens, or a broken installation:")
        sys.exit(1)


def run_named(items: tuple[Item, ...], arguments: Callable[[Item], Parser], main: Callable[[Item, argparse.Namespace, Any], None]) -> None:
    """Run a program whose first argument names a figure or table, on which its other arguments depend.

    Args:
        items: the figures or tables.
        arguments: the other arguments.
        main: does the work; takes the figure or table, the parsed arguments and the settings.
    """
    first = argparse.ArgumentParser(add_help=len(sys.argv) < 3)
    first.add_argument("name", choices=[item.name for item in items], help="what to make")
    known, rest = first.parse_known_args()
    sys.argv[1:] = rest
    item = named(items, known.name)
    run(partial(main, item), arguments(item))


def _end_with(parent: int) -> None:
    """End this process once its parent has ended, even if that was killed: nobody waits for the result, and the next run makes it anew."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _fail(message: str) -> None:
    log.error("error: %s", printable(" ".join(message.split())))
    sys.exit(1)


def _start_logging(file: Path | None) -> None:
    """Everything goes to the log file; a terminal sees errors, and everything where there is no file."""
    logging.captureWarnings(True)
    logging.getLogger().setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.ERROR if file else logging.INFO)
    handlers: list[logging.Handler] = [terminal]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().handlers = handlers
