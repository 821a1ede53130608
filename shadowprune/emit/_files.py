"""What an emitter writes: under another name first, then renamed; nothing of others is lost."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._files import written

__all__ = ["check_directory", "check_file", "project", "write_golden", "written"]


def check_directory(directory: str | os.PathLike[str]) -> Path:
    """The directory of a project, which need not exist, as an absolute path.

    Raises
    ------
    TypeError, ValueError, FileExistsError
        If it is no path, the current directory or one above it, or a file.
    """
    if not isinstance(directory, (str, os.PathLike)) or not os.fspath(directory):
        raise TypeError(f"directory must be a path; got {directory!r}")
    target = Path(directory).expanduser().resolve()
    here = Path.cwd()
    if target == here or target in here.parents:
        raise ValueError(
            f"directory must not be the current directory or one above it; got {str(directory)!r}"
        )
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"directory {str(target)!r} is a file")
    return target


def check_file(path: str | os.PathLike[str], *suffixes: str) -> Path:
    """The file to write, as an absolute path; its directory is made.

    Raises
    ------
    TypeError, ValueError, FileExistsError
        If it is no path, does not end in one of `suffixes`, or is a directory.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise TypeError(f"path must be a path; got {path!r}")
    target = Path(path).expanduser().resolve()
    if target.suffix.lower() not in suffixes:
        raise ValueError(f"path must end in {' or '.join(suffixes)}; got {str(path)!r}")
    if target.is_dir():
        raise FileExistsError(f"path {str(target)!r} is a directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def write_golden(path: Path, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
    """Rows and the outputs they must give, beside `path`: ``<stem>_golden.npz`` with ``x`` and ``y``."""
    with written(path.with_name(f"{path.stem}_golden.npz")) as draft:
        np.savez(draft, x=x, y=y)


@contextmanager
def project(target: Path, marker: str, kind: str, overwrite: bool) -> Iterator[Path]:
    """An empty directory beside `target`, which takes its place when the block ends well.

    Parameters
    ----------
    target : Path
        From `check_directory`.
    marker : str
        The file that makes a directory a project of this kind; the block writes it.
    kind : str
        What messages call it, with its article: "an hls4ml project".
    overwrite : bool
        Replace a project even if it holds files that were not written in the block.

    Raises
    ------
    FileExistsError
        If `target` holds something that would be lost.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    try:
        draft.mkdir()
        yield draft
        _check_replaceable(target, draft, marker, kind, overwrite)
        old = draft.with_name(draft.name + ".old")
        if target.exists():
            os.replace(target, old)
        os.replace(draft, target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_replaceable(target: Path, draft: Path, marker: str, kind: str, overwrite: bool) -> None:
    held = set(os.listdir(target)) if target.exists() else set()
    if held and marker not in held:
        raise FileExistsError(
            f"directory {str(target)!r} is not empty and not {kind}: choose another, or empty it yourself"
        )
    foreign = sorted(held - set(os.listdir(draft)))
    if foreign and not overwrite:
        more = ", ..." if len(foreign) > 3 else ""
        raise FileExistsError(
            f"directory {str(target)!r} holds {kind} and what this one would not replace "
            f"({', '.join(foreign[:3])}{more}): choose another, or pass overwrite=True to lose it"
        )
