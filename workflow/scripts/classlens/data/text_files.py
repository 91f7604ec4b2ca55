"""Reading of small text files that people write, with any editor and on any system."""

import codecs
import re
import stat
from pathlib import Path

from classlens.errors import InputError


def read_text(path: Path | str) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark, without the mark.

    Raises:
        InputError: the file cannot be read, or has another encoding.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise InputError(f"{path} is not a regular file: give a text file")
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; correct its name or its permissions") from None
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeError:
        raise InputError(f"{path} is not in UTF-8: save it in that encoding") from None
    if "\0" in text:
        raise InputError(f"{path} is not text in UTF-8 (it holds zero bytes): save it in that encoding")
    return text


def lines_of(text: str) -> list[str]:
    """Return the stripped lines of a text. Only LF, CR and CRLF end a line, because names may contain other line separators."""
    return [line.strip() for line in re.split("\r\n|\r|\n", text)]
