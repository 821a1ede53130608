"""Inference on one processor: one row, a thousand, a hundred thousand; the original network and one of 30 %.

A NumPy array goes in and one comes out, whatever the library makes of it in between.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import tables
from .peers import Task, make_task
from .predictors import PREDICTORS, Line
from .workers import Unavailable, Worker

ROWS = (1, 1000, 100_000)
LEAST = 0.05  # seconds of one repetition
AGREE = 1e-4  # of the largest output
MODELS = {
    "original": (40, 64, 64, 64, 64, 1),
    "30 %": (40, 29, 16, 15, 17, 1),  # 77 nodes, distributed as a training on load_hbb left them
}

COLUMNS = {
    "model": "<9",
    "what": "<14",
    "rows": ">7",
    "peer": "<23",
    "us_per_call": ">10.2f",
    "us_per_call_median": ">10.2f",
    "mrow_per_s": ">8.3f",
    "percent_of_peak": ">7.1f",
    "ours_faster_min": ">8.2f",
    "ours_faster_median": ">8.2f",
}
NAMES = {
    "us_per_call": "us (min)",
    "us_per_call_median": "us (med)",
    "mrow_per_s": "Mrow/s",
    "percent_of_peak": "% peak",
    "ours_faster_min": "x (min)",
    "ours_faster_median": "x (med)",
}


class Subject:
    """A predictor in its process."""

    def __init__(self, line: Line, peak_library: Path) -> None:
        from .peak import WIDTHS, Peak

        module, _, name = line.target.partition(":")
        self.predictor = getattr(import_module(module), name)(1)
        core: Any = import_module("shadowprune._core")
        self.peak = Peak(peak_library, WIDTHS[core.isas()[-1]])

    def start(self, task: Task) -> list[str]:
        """Take the network; which methods there are."""
        self.x = task.x
        self.predictor.start(task)
        return [what for what in ("logits", "probabilities") if hasattr(self.predictor, what)]

    def outputs(self, what: str, rows: int) -> NDArray[np.float64]:
        """One column, of class 1."""
        found = np.asarray(getattr(self.predictor, what)(self.x[:rows]), np.float64)
        return found.reshape(rows, -1)[:, -1]

    def measure(self, what: str, rows: int) -> tuple[float, float]:
        """Seconds of a call, and the peak."""
        call, x = getattr(self.predictor, what), self.x[:rows]
        inside = getattr(self.predictor, "latency", None)  # measured where Python is not
        times, elapsed = 1, 0.0
        while elapsed < LEAST:
            begin = time.perf_counter()
            if inside is not None:
                elapsed = times * inside(x, times)
            else:
                for _ in range(times):
                    call(x)
                elapsed = time.perf_counter() - begin
            best, times = elapsed / times, max(times + 1, int(1.2 * LEAST * times / max(elapsed, 1e-6)))
        return best, self.peak.measure()


def summarise(
    model: str, task: Task, what: str, rows: int, samples: dict[Line, list[tuple[float, float]]]
) -> list[tables.Record]:
    """One record per predictor; ratios are to the first."""
    records = []
    ours = np.array([seconds for seconds, _ in next(iter(samples.values()))])
    for line, found in samples.items():
        seconds, peak = np.array([s for s, _ in found]), np.array([p for _, p in found])
        speed = 2 * len(task.params) * rows / seconds / 1e9
        records.append(
            {
                "model": model,
                "widths": "-".join(map(str, task.widths)),
                "what": what,
                "rows": rows,
                "peer": line.name,
                "us_per_call": 1e6 * float(seconds.min()),
                "us_per_call_median": 1e6 * float(np.median(seconds)),
                "mrow_per_s": rows / float(seconds.min()) / 1e6,
                "percent_of_peak": 100 * float(speed.max() / peak.max()),
                "percent_of_peak_median": 100 * float(np.median(speed / peak)),
                "ours_faster_min": float(seconds.min() / ours.min()),
                "ours_faster_median": float(np.median(seconds / ours)),
                "seconds": seconds.tolist(),
                "peaks": peak.tolist(),
            }
        )
    return records


def run(peak_library: Path, *, repetitions: int, quick: bool = False) -> list[tables.Record]:
    """Measure and print."""
    records: list[tables.Record] = []
    with ExitStack() as stack:
        workers: dict[Line, Worker] = {}
        for line in PREDICTORS:
            try:
                worker = Worker(f"{__name__}:Subject", line, peak_library, threads=1)
            except Unavailable as error:
                print(f"{line.name} is left out: {error}")
                continue
            workers[line] = stack.enter_context(worker)
        tables.head(COLUMNS, NAMES)
        sizes = ROWS[:2] if quick else ROWS
        for model, widths in MODELS.items():
            task = make_task(widths, 1, sizes[-1])
            methods = {line: worker.ask("start", task) for line, worker in workers.items()}
            for what in ("logits", "probabilities"):
                taking_part = {line: worker for line, worker in workers.items() if what in methods[line]}
                for rows in sizes:
                    outputs = {
                        line: worker.ask("outputs", what, rows) for line, worker in taking_part.items()
                    }
                    first = next(iter(outputs.values()))
                    for line, found in outputs.items():
                        if not np.allclose(found, first, rtol=0, atol=AGREE * np.abs(first).max()):
                            raise RuntimeError(
                                f"{line.name} gives other {what} than {next(iter(outputs)).name}"
                            )
                    samples: dict[Line, list[tuple[float, float]]] = {line: [] for line in taking_part}
                    for _ in range(repetitions):
                        for line, worker in taking_part.items():
                            samples[line].append(worker.ask("measure", what, rows))
                    found = summarise(model, task, what, rows, samples)
                    tables.show(COLUMNS, found)
                    records += found
    print("x: how many times as long as shadowprune needs")
    return records
