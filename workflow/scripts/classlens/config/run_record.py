"""The provenance records of a run's files, stored with the results. Snakemake's own records lie in another folder, which may be lost.

The imports are light, because the workflow uses this module whenever it is parsed.
"""

import base64
import binascii
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from classlens.errors import InputError
from classlens.storage.atomic_write import atomic_write

RECORD = "made.json"
"""The file of the records. Its first line has the size in bytes and modification time in ns of every output file, each further line the
path of an output and Snakemake's record of it."""
DATA = (".parquet", ".csv", ".safetensors")


def discard(results: str | Path) -> None:
    """Remove a run's record before files are written, because the record would be wrong if the run is killed."""
    (Path(results) / RECORD).unlink(missing_ok=True)


def save(results: str | Path, state: Path) -> None:
    """Copy Snakemake's records of a run's files into the run's folder.

    Args:
        results: the run's folder, as in the paths of outputs.
        state: Snakemake's folder, `.snakemake`.
    """
    outputs = {name: path for name, path in _records(state / "metadata", f"{results}/") if os.path.lexists(name)}
    if not outputs:
        return  # the results are in object storage, or there are none
    lines = [json.dumps({name: _dates(Path(name)) for name in sorted(outputs)})]
    lines += [json.dumps([name, outputs[name].read_text(encoding="utf-8")]) for name in sorted(outputs)]
    record = Path(results) / RECORD
    try:
        with atomic_write(record) as draft:
            draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:  # only a warning: if the disk is full, the run reports its own error
        print(f"warning: {record}: {error.strerror}; without this file, a copy of {results} is refused", file=sys.stderr)


def restore(results: str | Path, state: Path) -> None:
    """Restore the records and dates of files that Snakemake has no record of, if the files agree with the run's record.

    Args:
        results: the run's folder, as in the paths of outputs.
        state: Snakemake's folder, `.snakemake`.

    Raises:
        InputError: a file differs from the run's record, or results have no record at all.
    """
    known = {name for folder in ("metadata", "incomplete") for name, _ in _records(state / folder, f"{results}/")}
    record = Path(results) / RECORD
    if not record.is_file():
        if not known and (found := _data(Path(results))):
            raise _unknown(results, found)
        return
    try:
        with record.open(encoding="utf-8") as file:
            dates = json.loads(next(file))
            lost = {name for name in dates.keys() - known if os.path.lexists(name)}
            records = dict(json.loads(line) for line in file) if lost else {}
            if not lost <= records.keys():
                raise ValueError
    except (ValueError, TypeError, AttributeError, StopIteration):
        raise InputError(f"{record} is damaged: delete it. If .snakemake does not belong to this run, delete {results} too") from None
    for name in sorted(dates):
        _check_folder(name, dates[name])
    for name in sorted(lost):
        _check(name, dates[name])
    for name in sorted(lost):
        for path, (_, date) in dates[name].items():
            os.utime(path, ns=(date, date))
        _write(state / "metadata", name, records[name])


def put_back_dates(results: str | Path) -> int:
    """Restore the original dates of the files in a copied run, and return the number of files.

    Args:
        results: the run's folder, as in the paths of outputs.

    Raises:
        InputError: the folder has no record, or a file differs from the record.
    """
    record = Path(results) / RECORD
    try:
        with record.open(encoding="utf-8") as file:
            dates = json.loads(next(file))
    except OSError as error:
        raise InputError(
            f"{record}: {error.strerror}; the run was not finished when it was copied: finish it where it was made, and copy it again"
        ) from None
    except (ValueError, StopIteration):
        raise InputError(f"{record} is damaged: copy {results} again") from None
    for name in sorted(dates):
        _check(name, dates[name])
    found = {path: date for files in dates.values() for path, (_, date) in files.items()}
    for path, date in found.items():
        os.utime(path, ns=(date, date))
    return len(found)


def _check_folder(name: str, dates: dict[str, list[int]]) -> None:
    """Raise an InputError if a file in an output folder is missing, because Snakemake checks only the folder itself."""
    if os.path.isdir(name) and (gone := [path for path in dates if not os.path.lexists(path)]):
        raise InputError(f"{gone[0]}, which the run made, is missing: remove the folder {name}, and run the workflow again")


def _check(name: str, dates: dict[str, list[int]]) -> None:
    found = _dates(Path(name))
    for path in sorted(found.keys() | dates.keys()):
        if found.get(path, [None])[0] != dates.get(path, [None])[0]:
            what = "is missing" if path not in found else "is not the file that the run has made (its size differs)"
            raise InputError(f"{path} {what}: remove {name}, and run the workflow again")


def _dates(output: Path) -> dict[str, list[int]]:
    """Return [size in bytes, modification time in ns] by path, for an output file or for an output folder and every file in it.

    A folder has size 0, because its real size depends on the file system. The result is empty if the output is missing.
    """
    if not output.exists():
        return {}
    files = [Path(folder, name) for folder, _, names in os.walk(output) for name in names] if output.is_dir() else [output]
    found = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in files}
    return {**found, str(output): [0, output.stat().st_mtime_ns]} if output.is_dir() else found


def _data(results: Path) -> Path | None:
    """Return any table or tensor file in a run's folder, or None."""
    found = (Path(folder, name) for folder, _, names in os.walk(results) for name in names if name.endswith(DATA))
    return next(found, None)


def _unknown(results: str | Path, found: Path) -> InputError:
    return InputError(
        f"{found}: neither .snakemake nor {results}/{RECORD} says what it was made from: remove {results}, or give the config another `run`"
    )


def _records(folder: Path, start: str) -> Iterator[tuple[str, Path]]:
    """Yield the outputs whose paths start with `start`, each with the file of its record.

    Snakemake names a record by the base64 of the output's path, and splits long names into folders.
    """
    for base, _, names in os.walk(folder):
        parts = [part.removeprefix("@") for part in Path(base).relative_to(folder).parts]
        for name in names:
            with suppress(binascii.Error, UnicodeDecodeError):
                output = base64.urlsafe_b64decode("".join([*parts, name])).decode()
                if output.startswith(start):
                    yield output, Path(base, name)


def _write(folder: Path, output: str, text: str) -> None:
    """Write the record of an output where Snakemake looks for it."""
    for needed in (folder, folder.with_name("incomplete")):  # without `incomplete`, Snakemake mistakes the records for an old version's
        needed.mkdir(parents=True, exist_ok=True)
    name = base64.urlsafe_b64encode(output.encode()).decode()
    step = os.pathconf(folder, "PC_NAME_MAX") - 1
    parts = [name[i : i + step] for i in range(0, len(name), step)]
    path = folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
