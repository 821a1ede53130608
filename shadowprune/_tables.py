"""Samples of the user's own, for the command line: npz, CSV or HDF5 tables with one column the target."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shadowprune._extras import require

__all__ = ["Table", "read_sample", "read_table", "split"]

MATRICES = ("X", "data", "x")
TARGETS = ("target", "y", "label", "labels")


Part = tuple[NDArray[Any], NDArray[Any]]  # (X, y)


class Table(NamedTuple):
    """Columns and labels."""

    X: NDArray[Any]  # (n, k)
    y: NDArray[Any] | None  # (n,); None where the file has no target and none was asked for
    names: tuple[str, ...]
    is_test: NDArray[np.bool_] | None  # a split that comes with the sample


def read_sample(name: str) -> Table:
    """The embedded sample of that name.

    Raises
    ------
    ValueError
        Unknown name.
    """
    if name != "hbb":
        raise ValueError(f"sample must be hbb, got {name!r}")
    from shadowprune.datasets import load_hbb

    jets = load_hbb()
    return Table(jets.data, jets.target, tuple(jets.feature_names), jets.is_test)


def read_table(path: str | os.PathLike[str], target: str | None = None, *, need_target: bool = True) -> Table:
    """Read a sample.

    Parameters
    ----------
    path : path
        ``.csv``: a header line, then numbers separated by commas (the target may be text).
        ``.npz``: a matrix ``X`` or ``data`` (n, k) and the target.
        ``.h5``, ``.hdf5``: the same, or what ``shadowprune generate`` writes, or one dataset per column.
    target : str, optional
        Name of the target; by default the first found of target, y, label, labels.
    need_target : bool
        Whether a file without target is an error.

    Raises
    ------
    ValueError
        Unknown suffix, no target, no columns, text where numbers belong, columns of different lengths.
    OSError
        The file cannot be read.
    ImportError
        HDF5 without h5py.
    """
    path = Path(path)
    readers = {".csv": _csv, ".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise ValueError(f"data must end in {', '.join(readers)}, got {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {str(path)!r}")
    table = readers[suffix](path, target)
    if table.y is None and (need_target or target is not None):
        wanted = repr(target) if target is not None else " or ".join(TARGETS)
        raise ValueError(f"{path.name} has no target {wanted}; it holds {_listed(table.names)}")
    if table.X.dtype.kind not in "fiub":
        raise ValueError(f"{path.name}: the columns must be numbers, got {table.X.dtype}")
    if table.X.ndim != 2 or 0 in table.X.shape:
        raise ValueError(
            f"{path.name}: the columns must make a table of rows and columns, got {table.X.shape}"
        )
    if table.y is not None and table.y.shape != table.X.shape[:1]:
        raise ValueError(f"{path.name}: the target has shape {table.y.shape}, the table {table.X.shape}")
    return table


def split(table: Table, fraction: float, seed: int) -> tuple[Part, Part]:
    """What to train on and what to test on: the sample's own split, or a stratified draw.

    Raises
    ------
    ValueError
        No target, `fraction` outside (0, 1), or a class with a single row.
    """
    if table.y is None:
        raise ValueError("the sample has no target")
    if not 0 < fraction < 1:
        raise ValueError(f"test fraction must lie between 0 and 1, got {fraction}")
    if table.is_test is not None:
        test = table.is_test
    else:
        from sklearn.model_selection import train_test_split

        rows = np.arange(len(table.X))
        _, drawn = train_test_split(rows, test_size=fraction, random_state=seed, stratify=table.y)
        test = np.isin(rows, drawn)
    return (table.X[~test], table.y[~test]), (table.X[test], table.y[test])


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")


def _pick(available: list[str], target: str | None) -> str | None:
    wanted = TARGETS if target is None else (target,)
    return next((name for name in wanted if name in available), None)


def _csv(path: Path, target: str | None) -> Table:
    with open(path, newline="", encoding="utf-8") as file:
        names = [name.strip() for name in next(csv.reader(file), [])]
        if not names:
            raise ValueError(f"{path.name} is empty")
        if len(set(names)) != len(names):
            raise ValueError(f"{path.name}: two columns have the same name in {_listed(tuple(names))}")
        rows = [row for row in csv.reader(file) if row]
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if ragged is not None:
        raise ValueError(
            f"{path.name}: row {ragged + 1} has {len(rows[ragged])} cells, the header {len(names)}"
        )
    chosen = _pick(names, target)
    kept = [i for i, name in enumerate(names) if name != chosen]
    X = np.empty((len(rows), len(kept)))
    for number, row in enumerate(rows):
        try:
            X[number] = [float(row[i]) for i in kept]
        except ValueError as error:
            raise ValueError(f"{path.name}: row {number + 1}: {error}") from None
    y = None if chosen is None else _labels([row[names.index(chosen)].strip() for row in rows])
    return Table(X, y, tuple(names[i] for i in kept), None)


def _labels(text: list[str]) -> NDArray[Any]:
    """Numbers where all are, else text."""
    try:
        values = np.array([float(t) for t in text])
    except ValueError:
        return np.array(text)
    whole = values.astype(np.int64, casting="unsafe") if np.isfinite(values).all() else None
    return whole if whole is not None and (whole == values).all() else values


def _from_arrays(path: Path, arrays: dict[str, Any], target: str | None) -> Table:
    chosen = _pick(list(arrays), target)
    y = None if chosen is None else np.asarray(arrays[chosen])
    matrix = next((m for m in MATRICES if m in arrays and m != chosen and np.ndim(arrays[m]) == 2), None)
    if matrix is not None:
        X = np.asarray(arrays[matrix])
        stored = np.asarray(arrays.get("feature_names", ())).ravel()
        names = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in stored)
        return Table(X, y, names if len(names) == X.shape[1] else _numbered(X.shape[1]), None)
    columns = {n: np.asarray(a) for n, a in arrays.items() if n != chosen and np.ndim(a) == 1}
    if not columns:
        raise ValueError(
            f"{path.name} holds neither a matrix X or data nor columns, but {_listed(tuple(arrays))}"
        )
    lengths = {len(a) for a in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"{path.name}: the columns have different lengths, {sorted(lengths)}")
    return Table(np.stack(list(columns.values()), axis=1), y, tuple(columns), None)


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(f"x{i}" for i in range(n))


def _generated(path: Path, target: str | None) -> Table:
    from shadowprune.datasets import FEATURE_NAMES
    from shadowprune.datasets.sample_io import read_sample as read_generated

    data, columns, _ = read_generated(path)
    chosen = _pick(list(columns), target)
    y = None if chosen is None else columns[chosen].astype(np.int64)
    return Table(data, y, FEATURE_NAMES, columns["is_test"].astype(np.bool_))


def _npz(path: Path, target: str | None) -> Table:
    from zipfile import BadZipFile

    try:
        # opened here: np.load would leave a damaged file open
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            if "provenance" in file.files:
                return _generated(path, target)
            arrays = {name: file[name] for name in file.files}
    except (BadZipFile, EOFError, AttributeError, ValueError) as error:
        raise ValueError(f"{path.name} is not a readable npz file of plain arrays: {error}") from None
    return _from_arrays(path, arrays, target)


def _hdf5(path: Path, target: str | None) -> Table:
    h5py = require("h5py", "generate")
    try:
        with h5py.File(path, "r") as file:
            if "provenance" in file.attrs:
                return _generated(path, target)
            arrays = {name: item[()] for name, item in file.items() if isinstance(item, h5py.Dataset)}
    except OSError as error:
        raise ValueError(f"{path.name} is not a readable HDF5 file: {error}") from None
    return _from_arrays(path, arrays, target)
