"""Samples on disk: HDF5 with one documented column per variable, or npz; neither ever holds a pickle.

Both hold the forty variables, `target`, `is_test`, the columns that tell where a jet comes from, and the
provenance as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import require
from .._files import written
from .variables import FEATURE_NAMES, VARIABLES

__all__ = ["SUFFIXES", "read_sample", "write_sample"]

SUFFIXES = (".h5", ".hdf5", ".npz")


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"out must end in {', '.join(SUFFIXES)}, got {os.fspath(path)!r}")
    return suffix


def write_sample(
    path: str | os.PathLike[str],
    data: NDArray[np.float32],
    columns: Mapping[str, tuple[NDArray[Any], str]],
    provenance: Mapping[str, Any],
) -> None:
    """Write a sample; the file appears complete or not at all.

    Parameters
    ----------
    path : path-like
        File to write, ending in .h5, .hdf5 or .npz.
    data : ndarray of shape (n, 40), float32
        The variables.
    columns : dict of str to (ndarray of shape (n,), str)
        Further columns and their meaning; `target` and `is_test` among them.
    provenance : dict
        Anything JSON can hold.

    Raises
    ------
    ValueError
        If the suffix of `path` is none of the three.
    ImportError
        If h5py is missing and `path` asks for HDF5.
    """
    text = json.dumps(provenance, indent=1)
    if _suffix(path) == ".npz":
        arrays: Any = {name: values for name, (values, _) in columns.items()}
        with written(path) as temporary:
            np.savez_compressed(
                temporary,
                data=np.asfortranarray(data),
                feature_names=np.array(FEATURE_NAMES),
                units=np.array([v.unit for v in VARIABLES]),
                provenance=np.array(text),
                **arrays,
            )
        return
    h5py = require("h5py", "generate")
    packed = {"compression": "gzip", "shuffle": True}
    with written(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["provenance"] = text
        file.attrs["feature_names"] = list(FEATURE_NAMES)
        group = file.create_group("variables")
        for variable, values in zip(VARIABLES, np.asarray(data, np.float32).T, strict=True):
            column = group.create_dataset(variable.name, data=values, **packed)
            column.attrs["unit"] = variable.unit
            column.attrs["definition"] = variable.definition
            column.attrs["undefined"] = np.nan if variable.undefined is None else variable.undefined
        for name, (values, meaning) in columns.items():
            file.create_dataset(name, data=values, **packed).attrs["definition"] = meaning


def read_sample(
    path: str | os.PathLike[str],
) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file written by :func:`write_sample`.

    Parameters
    ----------
    path : path-like
        File to read.

    Returns
    -------
    data : ndarray of shape (n, 40), float32
        The variables, C-contiguous.
    columns : dict of str to ndarray of shape (n,)
        All further columns.
    provenance : dict
        As written.

    Raises
    ------
    ValueError
        If the suffix is unknown or the file holds other variables.
    """
    if _suffix(path) == ".npz":
        with np.load(path, allow_pickle=False) as file:
            names = tuple(str(n) for n in file["feature_names"])
            data, provenance = file["data"], json.loads(str(file["provenance"]))
            own = ("data", "feature_names", "units", "provenance")
            columns = {name: file[name] for name in file.files if name not in own}
    else:
        h5py = require("h5py", "generate")
        with h5py.File(path, "r") as file:
            names = tuple(str(n) for n in file.attrs["feature_names"])
            provenance = json.loads(file.attrs["provenance"])
            data = np.stack([file["variables"][name][:] for name in names], axis=1)
            columns = {name: file[name][:] for name in file if name != "variables"}
    if names != FEATURE_NAMES:
        raise ValueError(
            f"{os.fspath(path)!r} does not hold the forty variables of this version, but {names}"
        )
    return np.ascontiguousarray(data, dtype=np.float32), columns, provenance
