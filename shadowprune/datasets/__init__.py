"""Samples to train on: an embedded one that loads at once, and the generator that made it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ._hbb import load_generated, load_hbb
from .detector import Detector
from .variables import FEATURE_NAMES, VARIABLES

if TYPE_CHECKING:
    import pathlib

__all__ = ["FEATURE_NAMES", "VARIABLES", "Detector", "generate", "load_generated", "load_hbb"]


def generate(
    out: str | os.PathLike[str],
    n_jets: int = 100_000,
    *,
    seed: int = 1,
    n_workers: int | None = None,
    detector: str | Detector | None = "offline",
    chunk_size: int = 5000,
    progress: bool = True,
    overwrite: bool = False,
) -> pathlib.Path:
    """Generate H -> bb and multijet jets with Pythia 8 and FastJet.

    The sample depends on `n_jets`, `seed`, `detector`, `chunk_size` and the versions of the programs only.
    Each chunk is an independent job with its own seeds. Finished chunks wait in ``<out>.parts``: after an
    interruption the same call takes them up and makes the rest; a damaged chunk, or one made with other
    settings, is made again. The output appears complete or not at all.

    Parameters
    ----------
    out : path-like
        File to write: .h5 or .hdf5 (one documented dataset per variable) or .npz.
    n_jets : int, default=100_000
        Number of jets, half of them signal.
    seed : int, default=1
        Seed of everything.
    n_workers : int or None, default=None
        Number of processes; None for one per core. Does not change the sample. In a script keep the call
        under ``if __name__ == "__main__":``, as the processes import it.
    detector : {"offline", "trigger"} or Detector, default="offline"
        What measures the particles.
    chunk_size : int, default=5000
        Jets per chunk.
    progress : bool, default=True
        Show a progress bar on the standard error stream.
    overwrite : bool, default=False
        Replace `out` if it exists.

    Returns
    -------
    pathlib.Path
        The file written; :func:`load_generated` reads it.

    Raises
    ------
    ImportError
        If pythia8mc, fastjet or h5py is missing; the message tells what to install.
    FileExistsError
        If `out` exists and `overwrite` is false.
    FileNotFoundError
        If the directory of `out` does not exist.
    ValueError, TypeError
        If an argument makes no sense.
    RuntimeError
        If Pythia does not start.
    """
    from .generation import generate as run

    return run(
        out,
        n_jets,
        seed=seed,
        n_workers=n_workers,
        detector=detector,
        chunk_size=chunk_size,
        progress=progress,
        overwrite=overwrite,
    )
