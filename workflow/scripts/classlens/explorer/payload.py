"""Files of numbers as scripts, because a page that is opened from disk can load nothing else.

A file is one call, `classlens.NAME(...)`. Arrays are in safetensors format, compressed with deflate, and written as text with 15 bits per
character. Deflate compresses the arrays to about half as much as it would without preparation (`prepared`). Logits are multiples of a
step, because the page shows only two decimals.
"""

import codecs
import json
import zlib
from typing import Any

import numpy as np
from safetensors.numpy import save

STEP = 0.01
"""Step of stored logits, unless the largest logit needs a larger step to fit into 16 bits."""

LARGEST = np.iinfo(np.int16).max

BITS, FIRST_CHARACTER, END = 15, 0x3400, b"\xff"
"""Bits per character, character of the value 0, and the byte after the last one. The characters, U+3400 to U+B3FF, need no escapes."""


def quantized(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Return values as multiples of a step, int16 of the same shape, and the step."""
    step = max(STEP, float(np.abs(values).max(initial=0)) / LARGEST)
    return np.rint(values / step).astype(np.int16), step


def scaled(rows: np.ndarray, largest: int = LARGEST) -> tuple[np.ndarray, np.ndarray]:
    """Return rows [row, value] as multiples of a step per row, up to `largest`, and the steps, float32 [row]."""
    kind = np.int8 if largest <= np.iinfo(np.int8).max else np.int16
    steps = (np.abs(rows).max(axis=1, initial=0) / largest).astype(np.float32)
    return np.rint(rows / np.where(steps, steps, 1)[:, None]).clip(-largest, largest).astype(kind), steps


def indices(values: np.ndarray, number: int) -> np.ndarray:
    """Return indices below `number` in the smaller of two integer types that holds them."""
    return values.astype(np.uint16 if number <= 1 << 16 else np.int32)


def by_frequency(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values, the most frequent first, and the place of each value among them: small numbers, mostly."""
    distinct, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return distinct[order], indices(np.argsort(order)[places].reshape(values.shape), len(distinct))


def packed(arrays: dict[str, np.ndarray], facts: dict[str, str], differences: dict[str, tuple[int, ...]] | None = None) -> str:
    """Return arrays by name, and texts by name, as text; equal arrays and texts give equal results.

    Args:
        arrays: arrays of bytes, of integers with 16 or 32 bits, or of float32.
        facts: texts.
        differences: axes along which to store differences, by name of an array of integers. Neighbours should be similar there.
    """
    axes = differences or {}
    bytes_of = {name: prepared(values, axes.get(name, ())) for name, values in arrays.items()}
    metadata = json.dumps({"facts": facts, "differences": axes}, sort_keys=True)  # one entry: safetensors has no order of entries
    # Small blocks have their own frequencies of bytes, and short matches in noise cost more than they save.
    deflate = zlib.compressobj(memLevel=5, strategy=zlib.Z_FILTERED)
    return characters(deflate.compress(save(bytes_of, {"json": metadata})) + deflate.flush())


def prepared(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return an array for compression, of the same type and shape, but with its bytes in another order.

    Integers become differences along `axes`; signed ones move their sign to the lowest bit, which makes small numbers of both signs small.
    The first bytes of all values are stored first, then their second bytes, and so on.
    """
    for axis in axes:
        values = np.diff(values, axis=axis, prepend=values.dtype.type(0))
    if values.dtype.kind == "i":
        values = (values << 1) ^ (values >> (8 * values.itemsize - 1))
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    planes = little.reshape(-1, 1).view(np.uint8).T
    return np.frombuffer(planes.tobytes(), little.dtype).reshape(values.shape)


def characters(content: bytes) -> str:
    """Return bytes as text, 15 bits per character."""
    ended = content + END
    groups = -(-len(ended) // BITS)  # of 15 bytes, which are 8 characters
    padded = np.zeros((groups, BITS + 1), np.uint32)
    padded[:, :BITS] = np.frombuffer(ended.ljust(groups * BITS, b"\0"), np.uint8).reshape(groups, BITS)
    starts = [divmod(BITS * number, 8) for number in range(8)]
    windows = [padded[:, byte : byte + 3] @ np.array([1 << 16, 1 << 8, 1], np.uint32) for byte, _ in starts]
    values = [(window >> (24 - BITS - bit)) & ((1 << BITS) - 1) for window, (_, bit) in zip(windows, starts, strict=True)]
    units = np.stack(values, axis=1).ravel()[: -(-8 * len(ended) // BITS)]
    return (units + FIRST_CHARACTER).astype("<u2").tobytes().decode("utf-16-le")


def call(name: str, *arguments: Any) -> bytes:
    """Return a script that calls a function of the page, in UTF-8 or UTF-16, whichever is smaller. Browsers see its byte order mark."""
    text = f"classlens.{name}({', '.join(map(script_json, arguments))})\n"
    return min(codecs.BOM_UTF8 + text.encode(), codecs.BOM_UTF16_LE + text.encode("utf-16-le"), key=len)


def script_json(value: Any) -> str:
    """Return JSON that is safe in a script, even inside a page and with arbitrary text in names."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
