"""Files that appear whole or not at all, and npz files with a JSON header, read without pickle."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name beside `path`: the file takes its place when the block ends well, and goes when it does not.

    The suffix is that of `path`. Unlike tempfile's, the file is as readable as any other.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.{token_hex(4)}{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_npz(
    path: str | os.PathLike[str], kind: str, header: dict[str, Any], arrays: dict[str, NDArray[Any]]
) -> Path:
    """Write `arrays` and a header that says what they are.

    Parameters
    ----------
    path : path-like
        Name of the file, taken as it is.
    kind : str
        What the file holds; `load_npz` asks for the same.
    header : dict
        Anything JSON takes.
    arrays : dict of ndarray
    """
    path = Path(path)
    text = np.array(json.dumps({"format": kind, "version": 1, **header}))
    with written(path) as part, open(part, "xb") as file:  # savez would give a bare name a suffix
        np.savez(file, header=text, **arrays)  # type: ignore[arg-type]
    return path


def load_npz(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a file written by `save_npz`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError, KeyError
        If the file is truncated or holds something else.
    """
    try:
        with open(path, "rb") as stream:
            if not zipfile.is_zipfile(stream):  # NumPy would speak of pickles
                raise ValueError("it is no whole npz file")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
    except (EOFError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error
    header = json.loads(str(arrays.pop("header")))
    if header["format"] != kind:
        raise ValueError(f"its format is {header['format']!r}")
    if header["version"] != 1:
        raise ValueError(f"its version is {header['version']}; this shadowprune reads version 1")
    return header, arrays
