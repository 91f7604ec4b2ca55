"""Numbers as people read them: three significant digits, intervals like their values, and a minus sign."""

from math import isfinite
from typing import Any, TypeGuard

DIGITS = 3
"""Significant digits of every measured number in texts and pages."""
NARROW = 1e-4
"""Smaller absolute values are written with a power of ten."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """Return a measured number with three significant digits: `0.940`, `76.5`, `1230`, `−0.0421`, `1.20×10⁻⁵`; an integer is exact.

    Raises:
        ValueError: the number is NaN or infinite, which a text must not show as a result.
    """
    if isinstance(value, int):
        return signed(str(value))
    if not isfinite(value):
        raise ValueError(f"{value} is not a number to show")
    if value == 0:
        return "0"
    mantissa, power = f"{value:.{DIGITS - 1}e}".split("e")
    if abs(value) < NARROW:
        return signed(f"{mantissa}×10") + str(int(power)).translate(SUPERSCRIPTS)
    return signed(f"{float(f'{mantissa}e{power}'):.{max(0, DIGITS - 1 - int(power))}f}")


def number_or_undefined(value: float) -> str:
    """Return a measured number, or `undefined` for one that does not exist, such as an area without a rightly classified image."""
    return number(value) if known(value) else "undefined"


def quoted(value: float) -> str:
    """Return an expected number or a setting with the digits that its source gives."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def per_cent(row: dict[str, Any], name: str) -> str:
    """Return a percentage of a table's row, with its interval in columns `name_low` and `name_high`: `94.0 % (89.8 to 96.5 %)`."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    interval = f" ({number(low)} to {number(high)} %)" if known(low) and known(high) else ""
    return f"{number_or_undefined(row[name])} %{interval}"


def known(value: float | None) -> TypeGuard[float]:
    """Return whether a cell of a table holds a number: a missing interval is null or NaN."""
    return value is not None and isfinite(value)


def signed(text: str) -> str:
    """Return the text of a number with a minus sign in place of its hyphen."""
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text
