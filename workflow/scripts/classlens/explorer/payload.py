"""Files of numbers as scripts, because a page that is opened from disk can load nothing else.

A file is one call, `classlens.NAME(...)`. Arrays are in safetensors format, compressed with deflate and encoded as base64. Logits are
multiples of a step, because the page shows only two decimals.
"""

import base64
import json
import zlib
from typing import Any

import numpy as np
from safetensors.numpy import save

STEP = 0.01
"""Step of stored logits, unless the largest logit needs a larger step to fit into 16 bits."""

LARGEST = np.iinfo(np.int16).max


def quantized(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Return values as multiples of a step, int16 of the same shape, and the step."""
    step = max(STEP, float(np.abs(values).max(initial=0)) / LARGEST)
    return np.rint(values / step).astype(np.int16), step


def indices(values: np.ndarray, number: int) -> np.ndarray:
    """Return indices below `number` in the smaller of two integer types that holds them."""
    return values.astype(np.uint16 if number <= 1 << 16 else np.int32)


def packed(arrays: dict[str, np.ndarray], facts: dict[str, str]) -> str:
    """Return arrays by name, and texts by name, as base64; equal arrays and texts give equal results."""
    contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    metadata = {"facts": json.dumps(facts, sort_keys=True)}  # one entry, because safetensors writes several in arbitrary order
    return base64.b64encode(zlib.compress(save(contiguous, metadata))).decode()


def call(name: str, *arguments: Any) -> str:
    """Return a script that calls a function of the page."""
    return f"classlens.{name}({', '.join(map(script_json, arguments))})\n"


def script_json(value: Any) -> str:
    """Return JSON that is safe in a script, even inside a page and with arbitrary text in names."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
