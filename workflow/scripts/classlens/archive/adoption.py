"""Adoption of an archive from `publish`. Archives come from other people, so every byte is checked."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from classlens.archive import publication
from classlens.config import published
from classlens.config.plan import Plan
from classlens.config.published import CONFIG, MANIFEST, Published
from classlens.config.reading import resolve
from classlens.config.settings import Config
from classlens.errors import InputError, printable

LARGEST_MANIFEST = 2**26
BLOCK = 2**20


def adopt(archive: Path, home: Path) -> Path:
    """Check every file of an archive, and unpack them into a new results folder.

    Args:
        archive: archive from `publish`.
        home: folder that contains the results of all runs.

    Returns:
        the results folder of the run.

    Raises:
        InputError: the archive is damaged, contains anything that `publish` does not write, or the run already has results.
    """
    home.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".adopting-", dir=home))
    try:
        with open(archive, "rb") as file:
            run = _Archive(archive, file).unpack(draft)
        target = home / run
        if target.exists() or target.is_symlink():
            raise InputError(f"{target} exists already: rename or remove it, and adopt again")
        _same_time(draft)
        draft.chmod(0o755)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


@dataclass
class _Archive:
    """An untrusted archive.

    Each header must have exactly the bytes that `publish` writes. This refuses links, devices, sparse files and format extensions without
    parsing them.
    """

    path: Path
    file: BinaryIO

    def unpack(self, folder: Path) -> str:
        """Write the files to a folder, and return the name of the run."""
        content = self._first()
        try:
            manifest = published.manifest_of(content)
            config = _adoptable(manifest)
            (folder / MANIFEST).write_bytes(content)
            self._check_names(manifest, config, folder)
        except InputError as error:
            advice = "adopt it with the classlens that published it, or get it again"
            raise self._error(f"is refused: its {MANIFEST} {'; '.join(str(error).splitlines())}: {advice}") from None
        self._check_sizes(manifest.bytes, folder)
        names = [CONFIG, *sorted(manifest.files.keys() - {CONFIG})]
        for done, name in enumerate(names):
            self._expect(_header(name, manifest.bytes[name]), name, names[:done], manifest)
            self._copy(name, manifest, folder)
        self._end(names, manifest)
        return manifest.run

    def _first(self) -> bytes:
        """Return the content of the first file, which must be the manifest."""
        block = self.file.read(tarfile.BLOCKSIZE)
        found = _described(block)
        if found is None or block != _header(MANIFEST, found.size) or found.size > LARGEST_MANIFEST:
            raise self._error(f"does not begin with {MANIFEST}: it was not made by `make publish`")
        content = self.file.read(found.size)
        self._padding(MANIFEST, len(content), found.size)
        return content

    def _check_names(self, manifest: Published, config: Config, folder: Path) -> None:
        """Raise an InputError if the listed files differ from those of the run's plan, or the config file from the manifest's config."""
        with _using_the_config():
            wanted = {*publication.files(Plan(config, str(folder))), CONFIG}
        if unknown := sorted(manifest.files.keys() - wanted):
            raise InputError(f"lists {unknown[0]}, which no run of this config publishes")
        if missing := sorted(wanted - manifest.files.keys()):
            raise InputError(f"does not list {missing[0]}, which a run of this config publishes")
        if manifest.files[CONFIG] != hashlib.sha256(publication.config_text(manifest.config)).hexdigest():
            raise InputError(f"lists a {CONFIG} that differs from its config")

    def _check_sizes(self, sizes: dict[str, int], folder: Path) -> None:
        total, there, free = sum(sizes.values()), os.stat(self.path).st_size, shutil.disk_usage(folder).free
        if total > there:
            raise self._error(f"is refused: it has {there:,} bytes and lists files with {total:,} bytes: get it again")
        if total > free:
            raise self._error(f"holds {total / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: make room for it")

    def _expect(self, header: bytes, name: str, done: list[str], manifest: Published) -> None:
        """Read the next header, and raise an InputError if it differs from `header`."""
        block = self.file.read(len(header))
        if block != header:
            self._refuse(block, name, done, manifest)

    def _refuse(self, block: bytes, name: str, done: list[str], manifest: Published) -> NoReturn:
        """Raise an InputError that describes a block found in place of a file's header or the archive's end.

        Args:
            block: the bytes found.
            name: name of the expected file, or `its end`.
            done: names of the files before it.
            manifest: content of `published.json`.
        """
        found = _described(block)
        if found and found.name in done:
            raise self._error(f"is refused: it holds {found.name} twice: get it again")
        if found and found.name not in manifest.files:
            raise self._error(f"is refused: {found.name} is not listed in its {MANIFEST}: get it again")
        if found and found.type != tarfile.REGTYPE:
            raise self._error(f"is refused: {found.name} is not a plain file: get it again")
        if found and found.name == name:
            raise self._error(f"is refused: {name} is not as it was published (its header differs); get the archive again")
        if name in manifest.files and (found or block.count(0) == len(block) > 0):
            raise self._error(f"lacks {name}, which its {MANIFEST} lists: get it again")
        raise self._error(f"is damaged or cut short before {name}: get it again")

    def _copy(self, name: str, manifest: Published, folder: Path) -> None:
        """Write the bytes of a file, and raise an InputError if their sha256 differs from the listed one."""
        path, left, digest = folder / name, manifest.bytes[name], hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as target:
            while block := self.file.read(min(left, BLOCK)):
                digest.update(block)
                target.write(block)
                left -= len(block)
        self._padding(name, manifest.bytes[name] - left, manifest.bytes[name])
        if digest.hexdigest() != manifest.files[name]:
            raise self._error(f"is refused: {name} is not as it was published; get the archive again")

    def _padding(self, name: str, read: int, size: int) -> None:
        """Read the zeros that fill the last block of a file.

        Args:
            name: name of the file.
            read: number of bytes of the file that were read.
            size: number of bytes that the file must have.
        """
        padding = -size % tarfile.BLOCKSIZE
        if read < size or self.file.read(padding) != bytes(padding):
            raise self._error(f"is cut short or damaged in {name}: get it again")

    def _end(self, names: list[str], manifest: Published) -> None:
        """Read the zeros at the end of the archive."""
        end = -self.file.tell() % tarfile.RECORDSIZE
        end += tarfile.RECORDSIZE if end < 2 * tarfile.BLOCKSIZE else 0
        block = self.file.read(end + 1)
        if block != bytes(end):
            self._refuse(block, "its end", names, manifest)

    def _error(self, what: str) -> InputError:
        return InputError(printable(f"archive {self.path} {what}"))


def _header(name: str, size: int) -> bytes:
    """Return the bytes that `publish` writes before a file."""
    return publication.member(name, size).tobuf(tarfile.PAX_FORMAT)


def _described(block: bytes) -> tarfile.TarInfo | None:
    """Return the parsed first block of a header for error messages, or None if the block is not a header."""
    try:
        return tarfile.TarInfo.frombuf(block[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None


@contextmanager
def _using_the_config() -> Iterator[None]:
    """Extend an InputError within the block to say that the archive's config is refused."""
    try:
        yield
    except InputError as error:
        raise InputError(f"holds a config that is refused ({error})") from None


def _adoptable(manifest: Published) -> Config:
    """Return the resolved config of a manifest, and raise an InputError if it differs from the form that `publish` writes."""
    with _using_the_config():
        config = resolve(manifest.config)
    if published.portable(config) != manifest.config:
        raise InputError("holds a config that names folders, or lacks keys")
    if config.run != manifest.run:
        raise InputError(f"says run {manifest.run!r}, and its config says run {config.run!r}")
    return config


def _same_time(folder: Path) -> None:
    """Give all files the same modification time, so that no file looks newer than the files made from it."""
    now = (folder / MANIFEST).stat().st_mtime_ns
    for path in folder.rglob("*"):
        os.utime(path, ns=(now, now))
