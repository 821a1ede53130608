"""A whole sample: independent chunks over processes, resumed where it stopped, merged in a fixed order.

Chunk c is signal for even c and background for odd c; its seeds come from ``SeedSequence(seed,
spawn_key=(c,))`` alone. Finished chunks wait beside the output in ``<out>.parts`` until all are there, so
that neither the number of processes nor an interruption changes a bit.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import require
from .._files import written
from ._split import TEST_FRACTION, is_test, shuffled_order
from .detector import Detector
from .sample_io import SUFFIXES, write_sample
from .variables import FEATURE_NAMES

__all__ = ["generate"]

KINDS = ("signal", "background")
POLL_SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class _Task:
    """One chunk to make: everything that decides its bits, and where it goes."""

    number: int
    n_jets: int
    seed: int
    detector: Detector
    versions: tuple[tuple[str, str], ...]
    path: pathlib.Path

    @property
    def kind(self) -> str:
        return KINDS[self.number % 2]

    def recipe(self) -> str:
        """Text that is equal exactly when a stored chunk may be used for this task."""
        from . import events

        parts = {
            "chunk": self.number,
            "n_jets": self.n_jets,
            "seed": self.seed,
            "detector": dataclasses.asdict(self.detector),
            "versions": dict(self.versions),
            "settings": [*events.COMMON, *events.PROCESSES[self.kind]],
            "variables": list(FEATURE_NAMES),
            "recipe": events.RECIPE,
        }
        return json.dumps(parts, sort_keys=True)


class _Stopped(Exception):
    """The call that asked for a chunk does not want it any more."""


_shared: dict[str, Any] = {}


def _start_worker(counter: Any, stop: Any) -> None:
    # Ctrl-C is the parent's business; workers learn of it by `stop`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _shared.update(counter=counter, stop=stop)


def _report(n: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)
    if _shared["stop"].is_set():
        raise _Stopped
    with _shared["counter"].get_lock():
        _shared["counter"].value += n


def _make(task: _Task, on_jets: Callable[[int], Any] = _report, banner: bool = False) -> None:
    # Chunks that were queued when the run was stopped are not begun.
    on_jets(0)
    from . import events

    seed = np.random.SeedSequence(task.seed, spawn_key=(task.number,))
    chunk = events.run_chunk(
        task.kind, task.n_jets, seed, detector=task.detector, on_jets=on_jets, banner=banner
    )
    extras: Any = chunk.extras
    with written(task.path) as temporary:
        np.savez(
            temporary,
            recipe=np.array(task.recipe()),
            cut_flow=np.array([chunk.cut_flow[cut] for cut in events.CUTS], dtype=np.int64),
            data=chunk.data,
            **extras,
        )


def _stored(task: _Task) -> dict[str, NDArray[Any]] | None:
    """Content of the chunk file of a task; None if it is absent, damaged or made by another recipe."""
    try:
        # Reading every array checks the checksums of the archive.
        with task.path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    if str(content.get("recipe")) != task.recipe() or content["data"].shape != (
        task.n_jets,
        len(FEATURE_NAMES),
    ):
        return None
    return content


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")
    return int(value)


def _detector(detector: str | Detector | None) -> Detector:
    if detector is None:
        return Detector.offline()
    if isinstance(detector, Detector):
        return detector
    if isinstance(detector, str):
        if detector in ("offline", "trigger"):
            return Detector.offline() if detector == "offline" else Detector.trigger()
        raise ValueError(f"detector must be 'offline', 'trigger' or a Detector, got {detector!r}")
    raise TypeError(f"detector must be 'offline', 'trigger' or a Detector, got {detector!r}")


def _tasks(
    n_jets: int,
    *,
    seed: int,
    detector: Detector,
    chunk_size: int,
    versions: tuple[tuple[str, str], ...],
    parts: pathlib.Path,
) -> list[_Task]:
    tasks = []
    for side, kind in enumerate(KINDS):
        total = (n_jets + 1 - side) // 2
        for index, first in enumerate(range(0, total, chunk_size)):
            number = 2 * index + side
            path = parts / f"{number:05d}-{kind}.npz"
            tasks.append(_Task(number, min(chunk_size, total - first), seed, detector, versions, path))
    return sorted(tasks, key=lambda task: task.number)


def _run(tasks: list[_Task], n_workers: int, bar: Any) -> None:
    if n_workers == 1:
        for i, task in enumerate(tasks):
            _make(task, bar.update, banner=i == 0)
        return
    shown = 0
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    with concurrent.futures.ProcessPoolExecutor(
        min(n_workers, len(tasks)), mp_context=context, initializer=_start_worker, initargs=(counter, stop)
    ) as pool:
        try:
            waiting = {pool.submit(_make, task, banner=i == 0) for i, task in enumerate(tasks)}
            while waiting:
                done, waiting = concurrent.futures.wait(
                    waiting, POLL_SECONDS, concurrent.futures.FIRST_EXCEPTION
                )
                now = counter.value
                bar.update(now - shown)
                shown = now
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _merge(
    tasks: list[_Task],
) -> tuple[NDArray[np.float32], dict[str, tuple[NDArray[Any], str]], dict[str, dict[str, int]]]:
    """All chunks in the order of their numbers: data, columns with meanings, summed cut flows."""
    from . import events

    contents = []
    for task in tasks:
        content = _stored(task)
        if content is None:
            raise RuntimeError(
                f"chunk {task.number} was made, but {os.fspath(task.path)!r} cannot be read; call again"
            )
        contents.append(content)
    data = np.concatenate([c["data"] for c in contents])
    chunk = np.repeat(np.array([t.number for t in tasks], np.uint16), [t.n_jets for t in tasks])
    columns: dict[str, tuple[NDArray[Any], str]] = {
        "target": (1 - (chunk % 2).astype(np.uint8), "1 for signal, 0 for background"),
        "chunk": (chunk, "number of the chunk, even for signal and odd for background"),
    }
    for name, (_, meaning) in events.EXTRAS.items():
        columns[name] = (np.concatenate([c[name] for c in contents]), meaning)
    cut_flow = {}
    for side, kind in enumerate(KINDS):
        counts = [c["cut_flow"] for t, c in zip(tasks, contents, strict=True) if t.number % 2 == side]
        total = np.sum(counts, axis=0) if counts else np.zeros(len(events.CUTS), np.int64)
        cut_flow[kind] = {cut: int(n) for cut, n in zip(events.CUTS, total, strict=True)}
    return data, columns, cut_flow


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
    """Generate a sample of H -> bb and multijet jets; see :func:`shadowprune.datasets.generate`."""
    out = pathlib.Path(out)
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"out must end in {', '.join(SUFFIXES)}, got {os.fspath(out)!r}")
    n_jets, chunk_size = _positive("n_jets", n_jets), _positive("chunk_size", chunk_size)
    if n_workers is None:
        n_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_workers = _positive("n_workers", n_workers)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed!r}")
    seed, detector = int(seed), _detector(detector)
    if -(-n_jets // (2 * chunk_size)) > 30_000:
        raise ValueError(
            f"chunk_size={chunk_size} makes too many chunks of n_jets={n_jets}; ask for larger chunks"
        )
    if out.exists() and not overwrite:
        raise FileExistsError(f"{os.fspath(out)!r} exists; pass overwrite=True to replace it")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"the directory of out does not exist: {os.fspath(out.parent)!r}")
    if out.suffix.lower() != ".npz":
        require("h5py", "generate")
    require("pythia8mc", "generate")
    require("fastjet", "generate")
    from . import events

    versions = events.versions()
    parts = out.with_name(out.name + ".parts")
    parts.mkdir(exist_ok=True)
    tasks = _tasks(
        n_jets,
        seed=seed,
        detector=detector,
        chunk_size=chunk_size,
        versions=tuple(versions.items()),
        parts=parts,
    )
    missing = [task for task in tasks if _stored(task) is None]

    from tqdm import tqdm

    done = n_jets - sum(task.n_jets for task in missing)
    with tqdm(total=n_jets, initial=done, unit="jet", disable=not progress, file=sys.stderr) as bar:
        _run(missing, n_workers, bar)

    data, columns, cut_flow = _merge(tasks)
    chunk, event = columns["chunk"][0], columns["event"][0]
    columns["is_test"] = (
        is_test(seed, chunk, event),
        "True for the test part, by hash of (seed, chunk, event)",
    )
    order = shuffled_order(seed, chunk, event)
    provenance = {
        "seed": seed,
        "chunk_size": chunk_size,
        "n_jets": n_jets,
        "test_fraction": TEST_FRACTION,
        "versions": versions,
        "detector": dataclasses.asdict(detector),
        "settings": {kind: [*events.COMMON, *events.PROCESSES[kind]] for kind in KINDS},
        "cut_flow": cut_flow,
        "recipe": events.RECIPE,
    }
    write_sample(out, data[order], {k: (v[order], text) for k, (v, text) in columns.items()}, provenance)
    # Only a complete sample lets go of its chunks.
    with contextlib.suppress(OSError):
        shutil.rmtree(parts)
    return out
