"""Files of numbers that a page can load from disk, where browsers allow it no other way than to run a script.

A file is one call, `classlens.NAME(...)`. Arrays travel in the format of safetensors, deflated and in base64; logits as multiples of a
step, because two decimals of a logit are all that anybody reads.
"""

import base64
import json
import zlib
from typing import Any

import numpy as np
from safetensors.numpy import save

STEP = 0.01
"""Smallest difference of two logits that is kept, where 16 bits suffice for the largest."""

LARGEST = np.iinfo(np.int16).max


def quantized(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values as multiples of a step, int16 of the same shape, and the step."""
    step = max(STEP, float(np.abs(values).max(initial=0)) / LARGEST)
    return np.rint(values / step).astype(np.int16), step


def indices(values: np.ndarray, number: int) -> np.ndarray:
    """Indices below a number, in as many bits as they need."""
    return values.astype(np.uint16 if number <= 1 << 16 else np.int32)


def packed(arrays: dict[str, np.ndarray], facts: dict[str, str]) -> str:
    """Return arrays by name, and texts by name, as base64; equal arrays and texts give equal results."""
    contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    metadata = {"facts": json.dumps(facts, sort_keys=True)}  # one entry: safetensors writes several in any order
    return base64.b64encode(zlib.compress(save(contiguous, metadata))).decode()


def call(name: str, *arguments: Any) -> str:
    """A script that calls the page's function of a name."""
    return f"classlens.{name}({', '.join(map(script_json, arguments))})\n"


def script_json(value: Any) -> str:
    """JSON that is safe in a script, also inside of a page, whatever names hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
