"""Shared code of all programs: arguments, logs, provenance and errors."""

import argparse
import atexit
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
from typing import Any, NoReturn

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from classlens.compute import late_compiler
from classlens.config.catalogue import Item, named
from classlens.config.settings import Section
from classlens.config.steps import flag, from_flags
from classlens.errors import InputError, printable
from classlens.progress import log
from classlens.storage.parquet import reading
from classlens.storage.provenance import code_sha256, library_versions

HOME = Path(__file__).resolve().parents[2]
"""Folder of the Snakefile, the configs and the profiles, in a checkout or an installation."""
STARTED_BY = "CLASSLENS_STARTED_BY"
"""Environment variable with the process id of the Snakemake that started a program. It is not set if a person started the program."""
if STARTED_BY in os.environ:
    # Until `run`, while torch and timm are imported: both take a second, garbage collection finds nothing, and nothing is compiled.
    gc.disable()
    late_compiler.postpone()


class NoSettings(Section):
    """The settings of a program without settings."""


class Parser(argparse.ArgumentParser):
    """A parser of a program's arguments: settings, input and output files, log and threads.

    Args:
        description: the program's docstring.
        settings: class of the settings on which the program's results depend.
        further: classes of settings on which the results do not depend, by their name in the parsed arguments.
    """

    def __init__(self, description: str | None, settings: type[Section] = NoSettings, **further: type[Section]):
        super().__init__(description=description, allow_abbrev=False)
        self._sections = {"settings": settings, **further}
        self.add_argument("--log", type=Path, help="file for plain progress lines")
        self.add_argument("--threads", type=int, default=1, help="number of CPU threads (default: %(default)s)")
        for section in self._sections.values():
            for name, field in section.settings().items():
                self.add_argument(flag(name), required=field.is_required(), metavar="VALUE", help=_help(field))

    def one(self, **paths: str) -> "Parser":
        """Add required arguments that take one path each, with their help texts."""
        for name, help_text in paths.items():
            self.add_argument(flag(name), type=Path, required=True, metavar="PATH", help=help_text)
        return self

    def maybe(self, **paths: str) -> "Parser":
        """Add optional arguments that take one path each."""
        for name, help_text in paths.items():
            self.add_argument(flag(name), type=Path, metavar="PATH", help=help_text)
        return self

    def many(self, **paths: str) -> "Parser":
        """Add arguments that take any number of paths."""
        for name, help_text in paths.items():
            self.add_argument(flag(name), type=Path, nargs="*", default=[], metavar="PATH", help=help_text)
        return self

    def with_settings(self, parsed: argparse.Namespace) -> argparse.Namespace:
        """Return parsed arguments in which each class of settings is one attribute.

        Raises:
            InputError: a setting has a value of the wrong type.
        """
        args = vars(parsed)
        found = {key: from_flags(kind, {name: args.get(name) for name in kind.settings()}) for key, kind in self._sections.items()}
        names = {name for kind in self._sections.values() for name in kind.settings()}
        return argparse.Namespace(**{name: value for name, value in args.items() if name not in names}, **found)


def _help(field: FieldInfo) -> str:
    """Return the help text of a setting, with its default if it has one."""
    text = " ".join((field.description or "").split()).replace("%", "%%")
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return text if default is None else f"{text} (default: {json.dumps(to_jsonable_python(default))})"


def provenance(settings: Section, model_sha256: str | None = None) -> dict[str, str]:
    """Return the schema metadata of a program's tables: protocol, parameters, code, model and library versions, without paths or dates."""
    parameters = settings.model_dump(mode="json", exclude={"protocol"})
    metadata = {
        "protocol": getattr(settings, "protocol", ""),
        "parameters": json.dumps(parameters, sort_keys=True),
        "code_sha256": code_sha256(sys.argv[0]),
        "versions": json.dumps(library_versions(), sort_keys=True),
    }
    return {**metadata, "model_sha256": model_sha256} if model_sha256 else metadata


def run(main: Callable[[argparse.Namespace, Any], None], parser: Parser, arguments: Sequence[str] | None = None) -> None:
    """Run a program with logging. Errors of the input, the disk or a file end it with a one-line message and status 1.

    Args:
        main: function that does the work, called with the parsed arguments and the settings.
        parser: parser of the program's arguments.
        arguments: command line; by default that of this process.
    """
    gc.enable()
    late_compiler.allow()
    parsed = parser.parse_args(arguments)
    _start_logging(parsed.log)
    if STARTED_BY in os.environ:
        Thread(target=_end_with, args=(int(os.environ[STARTED_BY]),), daemon=True).start()
    try:
        args = parser.with_settings(parsed)
        with reading(getattr(args.settings, "protocol", None)):
            main(args, args.settings)
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except Exception:
        log.exception("this is a bug in classlens, or a broken installation:")
        sys.exit(1)
    if STARTED_BY in os.environ:
        _end_at_once()


def run_named(items: tuple[Item, ...], arguments: Callable[[Item], Parser], main: Callable[[Item, argparse.Namespace, Any], None]) -> None:
    """Run a program whose first argument names a figure or table. The other arguments depend on this name.

    Args:
        items: figures or tables to choose from.
        arguments: function that returns the parser of the other arguments.
        main: function that does the work, called with the figure or table, the parsed arguments and the settings.
    """
    first = argparse.ArgumentParser(add_help=len(sys.argv) < 3)
    first.add_argument("name", metavar="NAME", help=f"what to make: {', '.join(item.name for item in items)}")
    known, rest = first.parse_known_args()
    sys.argv[1:] = rest
    try:
        item = named(items, known.name)
    except InputError as error:
        _start_logging(None)
        _fail(str(error))
    run(partial(main, item), arguments(item))


def _end_at_once() -> NoReturn:
    """End this process with status 0 without taking its modules apart, which takes a second or two for torch and its compiler."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_with(parent: int) -> None:
    """End this process as soon as its parent has ended or was killed. The next run makes the result again."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _fail(message: str) -> NoReturn:
    log.error("error: %s", printable(" ".join(message.split())))
    sys.exit(1)


def _start_logging(file: Path | None) -> None:
    """Log everything to the file and errors to the terminal; without a file, log everything to the terminal."""
    logging.captureWarnings(True)
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every table of every font
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.ERROR if file else logging.INFO)
    handlers: list[logging.Handler] = [terminal]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().handlers = handlers
