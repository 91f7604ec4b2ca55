"""Boxes around objects, as tables write them."""

import json
import math
import re
from typing import Any

from classlens.errors import InputError

Box = tuple[float, float, float, float]
"""Four numbers in pixels, in the order of the config's `box_format`."""


def parsed(value: Any, place: str) -> tuple[Box, ...]:
    """Return the boxes in a table's field: four numbers, a list of them, or a text with them; empty without boxes.

    Args:
        value: content of the field.
        place: file and row, for error messages.

    Raises:
        InputError: the field holds something else.
    """
    if value is None or len(value) == 0:
        return ()
    try:
        numbers = _numbers(value)
        boxes = numbers if isinstance(numbers[0], list) else [numbers]
        found = [tuple(map(float, box)) for box in boxes]
    except (ValueError, TypeError, IndexError, KeyError):
        found = []
    if not found or any(len(box) != 4 or not all(map(math.isfinite, box)) for box in found):
        raise InputError(f"{place} has the box {str(value)[:60]}: a box must be four numbers in pixels")
    return tuple(found)  # type: ignore[arg-type]


def _numbers(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else re.split(r"[\s,;]+", value.strip(" ()"))
