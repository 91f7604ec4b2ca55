"""What the programs in workflow/scripts share: arguments, logs, progress, provenance and errors."""

import argparse
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from tqdm import tqdm

from classlens import STARTED_BY
from classlens.errors import InputError, printable
from classlens.protocol import PROTOCOLS
from classlens.provenance import code_sha256, library_versions
from classlens.storage import reading

Item = TypeVar("Item")

# How a job runs rather than what it computes; these never enter a result's provenance.
RUNTIME_ARGUMENTS = {"log", "threads", "batch_size", "workers", "device", "jobs_per_gpu", "mem_mb", "hub_cache", "offline"}
SECONDS_BETWEEN_LINES = 10

log = logging.getLogger("classlens")


def parser(description: str | None, protocol: bool = True) -> argparse.ArgumentParser:
    """An argument parser with the arguments that every program has.

    Args:
        description: the program's docstring.
        protocol: whether the program's result depends on, or records, a protocol.
    """
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    result.add_argument("--log", type=Path, help="file for plain progress lines")
    result.add_argument("--threads", type=int, default=1, help="processor threads to use")
    if protocol:
        result.add_argument("--protocol", choices=sorted(PROTOCOLS), default="corrected", help="which definitions to follow")
    return result


def optional_int(text: str) -> int | None:
    """An integer argument that may be `None` (all)."""
    return None if text == "None" else int(text)


def optional_text(text: str) -> str | None:
    """An argument that may be `None`."""
    return None if text == "None" else text


def optional_path(text: str) -> Path | None:
    """A path argument that may be `None`."""
    return None if text == "None" else Path(text)


def provenance(args: argparse.Namespace, model_sha256: str | None = None) -> dict[str, str]:
    """Schema metadata of the tables that a program writes: protocol, parameters, code, model and library versions, no paths or dates."""
    left_out = {*RUNTIME_ARGUMENTS, "protocol"}
    parameters = {key: value for key, value in vars(args).items() if key not in left_out and not _holds_paths(value)}
    metadata = {
        "protocol": args.protocol,
        "parameters": json.dumps(parameters, sort_keys=True),
        "code_sha256": code_sha256(sys.argv[0]),
        "versions": json.dumps(library_versions(), sort_keys=True),
    }
    return {**metadata, "model_sha256": model_sha256} if model_sha256 else metadata


def _holds_paths(value: object) -> bool:
    return any(isinstance(item, Path) for item in (value if isinstance(value, list) else [value]))


def run(main: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Run a program: log as asked, and end with one line and status 1 where the input, the disk or a file is to blame."""
    gc.enable()
    _start_logging(args.log)
    if STARTED_BY in os.environ:
        Thread(target=_end_with, args=(int(os.environ[STARTED_BY]),), daemon=True).start()
    try:
        with reading(getattr(args, "protocol", None)):
            main(args)
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except Exception:
        log.exception("this is a bug in classlens, or a broken installation:")
        sys.exit(1)


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


def progress(
    items: Iterable[Item], total: int, what: str, unit: str = "images", size: Callable[[Item], int] = lambda item: 1
) -> Iterator[Item]:
    """The items, with a progress bar on a terminal and a plain line in the log every ten seconds.

    Args:
        items: what is worked through.
        total: sum of the items' sizes.
        what: what is being done, as a person would say it.
        unit: what sizes count.
        size: how much an item adds.
    """
    done, start = 0, time.monotonic()
    last = start
    with tqdm(total=total, desc=what, unit=f" {unit}", leave=False, disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        for item in items:
            yield item
            done += size(item)
            bar.update(size(item))
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                log.info("%s: %d of %d %s, %.1f per second", what, done, total, unit, done / (last - start))
    log.info("%s: %d %s in %.1f s", what, done, unit, time.monotonic() - start)


def json_argument(text: str) -> Any:
    """An argument written as JSON."""
    return json.loads(text)
