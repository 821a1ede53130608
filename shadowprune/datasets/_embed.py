"""How the embedded file is made of a generated sample; run once per release of the sample.

``embed("full.h5", "shadowprune/datasets/data/hbb.npz")`` after ``generate("full.h5", ...)``.
"""

from __future__ import annotations

import os

import numpy as np

from ._hbb import flavour_of
from ._pack import pack
from .sample_io import read_sample
from .variables import FEATURE_NAMES

__all__ = ["embed"]

BITS = 9
FINER = {"pt": 10, "mass": 10, "msd": 10}
"""Significant bits: of a column, and of those that one looks at closely."""

_STORED = """
**Resolution**

The numbers are kept as float16, rounded to {bits} significant bits (relative error at most {error:.1f} %),
{finer}.
"""


def embed(sample: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Pack a generated sample for the package.

    Parameters
    ----------
    sample : path-like
        File written by :func:`shadowprune.datasets.generate`.
    out : path-like
        File to write.
    """
    data, columns, facts = read_sample(sample)
    # As generated: chunk after chunk, events going up. Steps between events are small numbers.
    order = np.lexsort((columns["event"], columns["chunk"]))
    data, columns = data[order], {name: values[order] for name, values in columns.items()}
    chunk, event = columns["chunk"].astype(np.int64), columns["event"].astype(np.int64)
    first = np.diff(chunk, prepend=-1) != 0
    step = np.where(first, event, np.diff(event, prepend=0)).astype(np.uint16)
    bits = [FINER.get(name, BITS) for name in FEATURE_NAMES]
    finer = ", ".join(f"{name} to {n}" for name, n in FINER.items())
    facts |= {
        "bits": bits,
        "chunk_sizes": np.bincount(chunk).tolist(),
        "stored": _STORED.format(bits=BITS, error=100 * 2.0**-BITS, finer=finer),
    }
    flavour = flavour_of(columns["n_b"], columns["n_c"])
    pack(out, data, bits, {"event_step": step, "flavour": flavour}, facts)
