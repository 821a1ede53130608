"""Our C loop: without a shadow, with one, and two trainings side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shadowprune import _core

from ..workers import Unavailable
from . import BETA_1, BETA_2, EPSILON, F32, I32, Task


class Plain:
    """One training."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def _trainer(self, task: Task) -> Any:
        loss = "binary_crossentropy" if task.n_outputs == 1 else "categorical_crossentropy"
        arguments = (task.widths, "relu", loss, "adam", task.batch_size, BETA_1, BETA_2, EPSILON)
        make: Any = _core.Trainer
        if self.threads == 1:
            trainer = make(*arguments)
        else:
            try:
                trainer = make(*arguments, threads=self.threads)
            except TypeError:
                raise Unavailable("this build trains with one thread") from None
        zeros = np.zeros_like(task.params)
        trainer.set_state(task.params, zeros, zeros.copy(), 0)
        return trainer

    def start(self, task: Task) -> None:
        self.task = task
        self.target = task.target()
        self.trainer = self._trainer(task)

    def _schedule(self, n_steps: int) -> dict[str, NDArray[np.float64]]:
        return {}

    def _run(self, trainer: Any, order: I32) -> None:
        task = self.task
        n_steps = -(-len(order) // task.batch_size)
        rate = np.full(n_steps, task.learning_rate, np.float32)
        decay = np.zeros(n_steps, np.float32)
        trainer.run(task.x, self.target, None, order, rate, decay, **self._schedule(n_steps))

    def train(self, order: I32) -> None:
        self._run(self.trainer, order)

    def params(self) -> F32:
        return np.asarray(self.trainer.get_state()[0])


class Shadow(Plain):
    """A shadow over all hidden nodes, budget 70 %: what gates cost before any node goes."""

    def start(self, task: Task) -> None:
        super().start(task)
        hidden = sum(task.widths[1:-1])
        self.budget = 0.7 * hidden
        index = np.arange(task.widths[0], task.widths[0] + hidden, dtype=np.int32)
        scores = np.random.default_rng(1).normal(0.0, 0.01, hidden)
        self.trainer.set_shadow([(index, scores, None, 0.02)])

    def _schedule(self, n_steps: int) -> dict[str, NDArray[np.float64]]:
        return {"budgets": np.full((n_steps, 1), self.budget), "temperatures": np.full((n_steps, 1), 0.1)}


class SideBySide(Plain):
    """As many trainings as threads, each with one of them, in one process."""

    def __init__(self, threads: int) -> None:
        super().__init__(1)
        self.pool = ThreadPoolExecutor(threads)
        self.count = threads

    def start(self, task: Task) -> None:
        super().start(task)
        self.trainers = [self.trainer] + [self._trainer(task) for _ in range(self.count - 1)]

    def train(self, order: I32) -> None:
        for done in [self.pool.submit(self._run, trainer, order) for trainer in self.trainers]:
            done.result()
