"""A peer in its process: imports little, for there are many of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from .peak import Peak
from .peers import I32, Task, mean_loss

LEAST = 0.08  # seconds a repetition lasts at least; the faster peers train several times


@dataclass(frozen=True)
class Sample:
    """One repetition of one peer."""

    seconds: float  # of one training over the rows
    peak: float  # GFLOP/s of one processor, before and after it
    idle: float  # processor seconds the worker used since the sample before, while others were measured


class Trainee:
    """A peer in its process; what `workers.Worker` runs."""

    def __init__(self, target: str, threads: int, peak_library: Path, vector: int) -> None:
        module, _, name = target.partition(":")
        self.peer = getattr(import_module(module), name)(threads)
        self.peak = Peak(peak_library, vector)
        self.left = time.process_time()

    def start(self, task: Task, order: I32) -> float:
        """Begin anew; the loss after training over `order`."""
        self.peer.start(task)
        self.peer.train(order)
        return mean_loss(task, self.peer.params())

    def warm(self, order: I32) -> None:
        """Caches, pages, whatever is compiled for this length; and how often it goes into a repetition."""
        self.peer.train(order)
        begin = time.perf_counter()
        self.peer.train(order)
        self.times = max(1, int(np.ceil(LEAST / (time.perf_counter() - begin))))
        self.left = time.process_time()

    def measure(self, order: I32) -> Sample:
        """Train over `order`, with the clock running."""
        idle = time.process_time() - self.left
        before = self.peak.measure()
        begin = time.perf_counter()
        for _ in range(self.times):
            self.peer.train(order)
        seconds = (time.perf_counter() - begin) / self.times
        after = self.peak.measure()
        self.left = time.process_time()
        return Sample(seconds, max(before, after), idle)
