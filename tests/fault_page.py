"""The page about faults: what the tests of faults noted (`note_fault`), one row for each."""

import html
from collections.abc import Iterable
from dataclasses import dataclass

HEAD = """# Reliability

This page lists how a run reacts to faults. `make chaos` causes the faults and writes this page. For every row, it causes the fault, reads
the error message, follows its advice or repeats the command, and compares the results byte by byte with those of an undisturbed run.

- **Writes are atomic.** A program writes to a draft file and renames it when it is complete. Tables have a checksum for every column and
  for their footer, model.json has a checksum, and models and images are identified by their sha256. A program therefore detects a damaged
  file before it computes anything from it, and names the file in its error message.
- **The same command continues a run**, however the run ended. Jobs end together with their Snakemake process, the lock of the results
  folder ends with the process that holds it, and finished results stay.
- **Results are not mixed.** A results folder belongs to one run and protocol, and each table to one model and protocol.
- **No code in data, checkpoints, archives or configs is executed.** Rules quote all values that they pass to a shell, and `make adopt`
  accepts only what `make publish` writes. classlens uses the network only for `weights: pretrained`, `hf-hub:` models and `download: true`.

Some faults are outside our control, because Snakemake reads a `--configfile` before the workflow starts. If the file does not exist, is
not UTF-8, or holds a mapping that contains itself, Snakemake prints a traceback with the reason in its last line. If the file merges
mappings that merge many others (`<<`), Snakemake may not finish reading it. If the file has the key `__use_yte__`, Snakemake executes
code in the file before classlens refuses it. `make estimate` reads the file itself first and gives a one-line error message.

| fault | times tried | message or reaction | results lost | work repeated |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Fault:
    """A fault that was tried.

    Attributes:
        what: what happened.
        sees: what a person saw of it.
        lost: results that were lost or other than before.
        again: what was done again.
        times: how often it was tried.
    """

    what: str
    sees: str
    lost: int = 0
    again: str = "none"
    times: int = 1


def page(faults: Iterable[Fault]) -> str:
    """The page, with the faults that have one name in one row."""
    rows: dict[str, list[Fault]] = {}
    for fault in faults:
        rows.setdefault(fault.what, []).append(fault)
    return HEAD + "".join(_row(rows[what]) for what in sorted(rows, key=str.lower))


def _row(faults: list[Fault]) -> str:
    cells = [faults[0].what, sum(item.times for item in faults), faults[0].sees, sum(item.lost for item in faults), faults[0].again]
    return "| " + " | ".join(html.escape(str(cell), quote=False).replace("|", "&#124;").replace("$", "&#36;") for cell in cells) + " |\n"
