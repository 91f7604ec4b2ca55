"""The page about faults: what the tests of faults noted (`note_fault`), one row for each."""

import html
from collections.abc import Iterable
from dataclasses import dataclass

HEAD = """# Reliability

What a run does when something fails, as tested by `make chaos`, which writes this page. For every row the fault was caused, the message
was read, its advice was followed or the same command given again, and the results were compared, byte by byte, with those of an
undisturbed run.

- **Results are whole or absent.** A program writes to a draft and renames it when it is complete. Tables carry a checksum of every
  column and of their footer, model.json one of itself, and models and images are known by their sha256: damage is found before
  anything is computed from it, and named.
- **A run goes on with the command that started it**, after whatever end: jobs end with the Snakemake that started them, the lock of
  the results folder is the system's and ends with its process, and what had finished is kept.
- **Results are not mixed.** A results folder belongs to one run and protocol, and each table to one model and protocol.
- **Nothing in data, checkpoints, archives or configs is executed**, names of any kind are only names, and the network is asked for
  nothing but `weights: pretrained`, `hf-hub:` models and `download: true`. Every rule's values are quoted, and an archive is compared
  with what `make publish` would have written.

Outside our control: Snakemake reads a `--configfile` before the workflow begins. One that does not exist, is not UTF-8, or holds a mapping
that contains itself is answered by Snakemake, with a traceback that ends in the reason; mappings that merge each other many times over
(`<<`) keep it busy without end; and what is in a file with the key `__use_yte__` it runs, before classlens refuses the file. `make
estimate` reads the file itself first, and says what is wrong in one line.

| fault | times tried | what a person sees | data lost | work repeated |
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
