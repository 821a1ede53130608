"""The embedded file: how columns become few bytes and come back.

Columns are rounded to a stated number of significant bits, kept as float16 one after the other, and
compressed with LZMA. Detector resolutions are percents, so that nine significant bits (0.2 %) cost nothing a
classifier could see.
"""

from __future__ import annotations

import json
import lzma
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pack", "round_bits", "unpack"]

# Two-byte items: the position within the item (lp = pb = 1) tells the coder which half it sees.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 3, "lp": 1, "pb": 1}]


def round_bits(values: ArrayLike, bits: ArrayLike) -> NDArray[np.float32]:
    """Round to a number of significant bits.

    Parameters
    ----------
    values : array_like, float32
        Numbers to round.
    bits : array_like of int
        Significant bits, broadcast against `values`; at most 11, what float16 holds.

    Returns
    -------
    ndarray of float32
        Changed by at most a part ``2**-bits``, or by ``2**-25`` where that is more.
    """
    values = np.asarray(values, np.float32)
    _, exponent = np.frexp(values)
    # Close to zero float16 has equal steps.
    step = np.ldexp(np.float32(1), np.maximum(exponent - np.asarray(bits), -24))
    rounded: NDArray[np.float32] = (np.round(values / step) * step).astype(np.float32)
    return rounded


def pack(
    path: str | os.PathLike[str],
    data: NDArray[Any],
    bits: ArrayLike,
    columns: dict[str, NDArray[Any]],
    facts: Any,
) -> None:
    """Write the embedded file.

    Parameters
    ----------
    path : path-like
        File to write, npz.
    data : ndarray of shape (n, k), float32
        Variables; what is read back is ``round_bits(data, bits)``.
    bits : array_like of shape (k,), int
        Significant bits of each column.
    columns : dict of str to ndarray of shape (n,)
        Integer columns, stored as they are.
    facts : object
        Anything JSON can hold.

    Raises
    ------
    ValueError
        If a value does not survive float16.
    """
    rounded = round_bits(data, bits)
    with np.errstate(over="ignore"):
        half = rounded.T.astype("<f2")
    if not np.array_equal(half.astype(np.float32), rounded.T):
        worst = np.argwhere(half.astype(np.float32) != rounded.T)[0]
        raise ValueError(f"float16 does not hold {rounded.T[tuple(worst)]!r} of column {worst[0]} of data")
    stored = {"variables": half.tobytes()}
    types = {}
    for name, values in columns.items():
        types[name] = np.asarray(values).dtype.newbyteorder("<").str
        stored[name] = np.asarray(values).astype(types[name]).tobytes()
    text = json.dumps({"n": len(data), "types": types, "facts": facts})
    arrays: Any = {
        name: np.frombuffer(lzma.compress(raw, lzma.FORMAT_XZ, filters=_FILTERS), np.uint8)
        for name, raw in stored.items()
    }
    np.savez(path, description=np.array(text), **arrays)


def unpack(path: Any) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]], Any]:
    """Read what :func:`pack` wrote.

    Parameters
    ----------
    path : path-like or file
        The file.

    Returns
    -------
    data : ndarray of shape (n, k), float32
        C-contiguous.
    columns : dict of str to ndarray of shape (n,)
        The integer columns.
    facts : object
        As written.
    """
    with np.load(path, allow_pickle=False) as file:
        description = json.loads(str(file["description"]))
        n, types = description["n"], description["types"]
        raw = {name: lzma.decompress(file[name].tobytes(), lzma.FORMAT_XZ) for name in ("variables", *types)}
    half = np.frombuffer(raw["variables"], "<f2").reshape(-1, n)
    columns = {
        name: np.frombuffer(raw[name], np.dtype(kind)).astype(np.dtype(kind).newbyteorder("="))
        for name, kind in types.items()
    }
    return np.ascontiguousarray(half.T.astype(np.float32)), columns, description["facts"]
