"""Training speed: peers interleaved with ours, one process per peer and number of threads, pinned.

Repetitions go A B C A B C, because the machine's clock drifts, and a ratio compares times of one
repetition. All peers start from the same weights and see the same batches; after some steps their weights
must give the same loss, or the benchmark stops: a peer that did other work would be no peer. Around each
repetition the worker measures the FMA peak of its own processors.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shadowprune import _core

from . import tables
from .machine import processors
from .peak import WIDTHS
from .peers import OURS, PEERS, Entry, Task, make_task
from .trainee import Sample
from .workers import Failed, Unavailable, Worker

N_AGREE, AGREE = 30, 3e-4  # steps after which the losses are compared, relative; float32 parts ways slowly

TRAINEE = f"{__package__}.trainee:Trainee"

SPEED = ("shadowprune", "shadowprune, AVX2", "JAX jit + scan", "PyTorch fused Adam")


@dataclass(frozen=True)
class Case:
    """A network and the batches it is trained with."""

    name: str
    widths: tuple[int, ...]
    batches: tuple[int, ...]
    peers: tuple[str, ...] | None = None  # all by default
    threads: tuple[int, ...] = (1, 2)
    rows: int = 65536
    busy: bool = False  # while other processes keep all processors at work

    def includes(self, entry: Entry, threads: int) -> bool:
        """Whether this peer takes part with so many threads."""
        return threads in self.threads and (self.peers is None or entry.name in self.peers)


PAPER = (40, 64, 64, 64, 64, 1)
JET_TAGGER = (16, 64, 32, 32, 5)  # the LHC jet tagger of hls4ml
WIDER = (
    "shadowprune",
    "shadowprune, shadow on",
    "JAX jit + scan",
    "PyTorch fused Adam",
    "PyTorch compile, fused",
)
CURVE = (5, 8, 13, 16, 24, 29, 32, 45, 48, 64, 72, 96, 128)
CASES: tuple[Case, ...] = (
    Case("paper", PAPER, (32, 128, 256, 1024, 4096, 8192)),
    Case("4x256", (40, 256, 256, 256, 256, 1), (1024,), WIDER, rows=16384),
    Case("4x512", (40, 512, 512, 512, 512, 1), (1024,), WIDER, rows=8192),
    Case("jet tagger", JET_TAGGER, (128, 1024), WIDER),
    Case("paper, busy processors", PAPER, (256, 1024), (OURS,), busy=True),
    *(Case(f"width {n}", (40, n, n, n, n, 1), (1024,), SPEED, (1,)) for n in CURVE),
)
QUICK: tuple[Case, ...] = (
    Case("paper", PAPER, (1024,), rows=16384),
    Case(
        "jet tagger",
        JET_TAGGER,
        (1024,),
        ("shadowprune", "JAX jit + scan", "PyTorch fused Adam"),
        (1,),
        16384,
    ),
    Case("width 13", (40, 13, 13, 13, 13, 1), (1024,), SPEED, (1,), 16384),
)

COLUMNS = {
    "batch_size": ">6",
    "threads": ">3",
    "peer": "<27",
    "mrow_per_s": ">8.3f",
    "gflop_per_s": ">8.1f",
    "percent_of_peak": ">7.1f",
    "percent_of_peak_median": ">7.1f",
    "seconds_min": ">9.4f",
    "seconds_median": ">9.4f",
    "ours_faster_min": ">7.2f",
    "ours_faster_median": ">7.2f",
}
NAMES = {
    "batch_size": "batch",
    "threads": "thr",
    "mrow_per_s": "Mrow/s",
    "gflop_per_s": "GFLOP/s",
    "percent_of_peak": "% peak",
    "percent_of_peak_median": "(med)",
    "seconds_min": "s (min)",
    "seconds_median": "s (med)",
    "ours_faster_min": "x (min)",
    "ours_faster_median": "x (med)",
}


def measure(
    task: Task, workers: dict[tuple[Entry, int], Worker], rows: int, repetitions: int
) -> dict[tuple[Entry, int], list[Sample]]:
    """Every repetition of every worker."""
    rng = np.random.default_rng(1)
    orders = [rng.permutation(rows).astype(np.int32) for _ in range(repetitions + 1)]
    agree = orders[0][: min(N_AGREE, rows // task.batch_size) * task.batch_size]
    running: dict[tuple[Entry, int], Worker] = {}
    reference = None
    for (entry, threads), worker in workers.items():
        try:
            loss = worker.ask("start", task, agree)
        except (Unavailable, Failed) as error:
            if entry.name == OURS and isinstance(error, Failed):
                raise
            print(f"{entry.name}, {threads} threads, is left out: {error}")
            continue
        if reference is None:
            reference, by = loss, entry.name
        elif entry.same_work and not abs(loss - reference) <= AGREE * reference:
            raise RuntimeError(
                f"{entry.name} with {threads} threads has loss {loss:.7g}, {by} {reference:.7g}"
            )
        worker.ask("warm", orders[0])
        running[entry, threads] = worker
    samples: dict[tuple[Entry, int], list[Sample]] = {key: [] for key in running}
    for order in orders[1:]:
        for key, worker in running.items():
            samples[key].append(worker.ask("measure", order))
    return samples


def summarise(
    case: Case, task: Task, rows: int, samples: dict[tuple[Entry, int], list[Sample]]
) -> list[tables.Record]:
    """One record per peer and number of threads; ratios are to ours with as many threads."""
    flop_per_row = 6 * len(task.params)  # two per weight: forward, weights' gradient, inputs' gradient
    ours = {
        key[1]: np.array([s.seconds for s in list_]) for key, list_ in samples.items() if key[0].name == OURS
    }
    records = []
    for (entry, threads), list_ in samples.items():
        seconds = np.array([s.seconds for s in list_]) / entry.trainings
        peak = threads * np.array([s.peak for s in list_])
        speed = flop_per_row * rows / seconds / 1e9
        record: tables.Record = {
            "case": case.name,
            "widths": "-".join(map(str, case.widths)),
            "batch_size": task.batch_size,
            "threads": threads,
            "peer": entry.name,
            "rows": rows,
            "seconds_min": float(seconds.min()),
            "seconds_median": float(np.median(seconds)),
            "mrow_per_s": rows / float(seconds.min()) / 1e6,
            "gflop_per_s": float(speed.max()),
            "peak_gflop_per_s": float(peak.max()),
            "percent_of_peak": 100 * float(speed.max() / peak.max()),
            "percent_of_peak_median": 100 * float(np.median(speed / peak)),
            "ours_faster_min": None,
            "ours_faster_median": None,
            "idle_seconds": float(sum(s.idle for s in list_)),
            "seconds": seconds.tolist(),
            "peaks": peak.tolist(),
        }
        if threads in ours:
            record["ours_faster_min"] = float(seconds.min() / ours[threads].min())
            record["ours_faster_median"] = float(np.median(seconds / ours[threads]))
        records.append(record)
    return records


@contextmanager
def others_at_work() -> Iterator[None]:
    """One process on each processor that does nothing but use it."""
    code = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", code, str(cpu)]) for cpu in processors()]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def with_prototype(library: Path | None) -> list[Entry]:
    """The peers, the external C loop among them only if there is one."""
    from .peers.prototype import VARIABLE

    found = [entry for entry in PEERS if not entry.target.endswith(":Prototype")]
    if library is not None:
        (entry,) = set(PEERS) - set(found)
        found.insert(PEERS.index(entry), replace(entry, variables={VARIABLE: str(library.resolve())}))
    return found


def run(
    peak_library: Path,
    *,
    repetitions: int,
    quick: bool = False,
    prototype: Path | None = None,
    cases: Sequence[str] | None = None,
    batches: Sequence[int] | None = None,
    threads: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[list[tables.Record]]:
    """Measure and print every case, batch by batch; one record per peer and number of threads."""
    chosen = [case for case in (QUICK if quick else CASES) if not cases or case.name in cases]
    with ExitStack() as stack:
        workers: dict[tuple[Entry, int], Worker] = {}
        for entry in with_prototype(prototype):
            if names and entry.name not in names:
                continue
            vector = WIDTHS[entry.isa or _core.isas()[-1]]
            counts = entry.threads if entry.name == OURS or not quick else entry.threads[:1]
            for count in counts:
                if (threads and count not in threads) or not any(c.includes(entry, count) for c in chosen):
                    continue
                arguments = (entry.target, count, peak_library, vector)
                try:
                    worker = Worker(TRAINEE, *arguments, threads=count, variables=entry.variables)
                except Unavailable as error:
                    print(f"{entry.name}, {count} threads, is left out: {error}")
                    continue
                workers[entry, count] = stack.enter_context(worker)
        tables.head(COLUMNS, NAMES)
        for case in chosen:
            print(f"{case.name}: {'-'.join(map(str, case.widths))}")
            for batch_size in case.batches:
                if batches and batch_size not in batches:
                    continue
                task = make_task(case.widths, batch_size, case.rows)
                taking_part = {key: worker for key, worker in workers.items() if case.includes(*key)}
                rows = case.rows - case.rows % batch_size
                with others_at_work() if case.busy else nullcontext():
                    samples = measure(task, taking_part, rows, repetitions)
                found = summarise(case, task, rows, samples)
                tables.show(COLUMNS, found)
                yield found
    print(f"x: how many times as long as {OURS} needs with as many threads")
