"""Fixed pseudo-random numbers per event, which decide the split and the order of a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["TEST_FRACTION", "event_hash", "is_test", "shuffled_order"]

TEST_FRACTION = 0.35
_SPLIT, _ORDER = 1, 2


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # Finaliser of splitmix64 (Steele, Lea and Flood, 2014).
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def event_hash(seed: int, chunk: ArrayLike, event: ArrayLike, salt: int = 0) -> NDArray[np.uint64]:
    """A 64-bit hash of where a jet comes from; wrapping arithmetic, equal on every machine.

    Parameters
    ----------
    seed : int
        Seed of the sample.
    chunk, event : array_like of shape (n,), int
        Chunk, and event within it. Chunks are numbered through both classes.
    salt : int, default=0
        Different salts give independent hashes.

    Returns
    -------
    ndarray of shape (n,), uint64
        Equal for jets of one event.
    """
    x = np.full(np.shape(chunk), np.uint64((seed * 8 + salt) % 2**64), dtype=np.uint64)
    for value in (chunk, event):
        x = _mix(x + np.uint64(0x9E3779B97F4A7C15)) ^ np.asarray(value).astype(np.uint64)
    return _mix(x + np.uint64(0x9E3779B97F4A7C15))


def is_test(
    seed: int, chunk: ArrayLike, event: ArrayLike, fraction: float = TEST_FRACTION
) -> NDArray[np.bool_]:
    """Whether each jet belongs to the test part: bool of shape (n,); jets of one event agree."""
    return event_hash(seed, chunk, event, _SPLIT) < np.uint64(round(fraction * 2**64))


def shuffled_order(seed: int, chunk: ArrayLike, event: ArrayLike) -> NDArray[np.int64]:
    """A fixed permutation that mixes the classes, int64 of shape (n,); jets of one event stay neighbours."""
    return np.argsort(event_hash(seed, chunk, event, _ORDER), kind="stable")
