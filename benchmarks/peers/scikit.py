"""scikit-learn's `MLPClassifier`, an epoch per `partial_fit`."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier

from . import BETA_1, BETA_2, EPSILON, F32, I32, Task, flat


class MLP:
    """Adam, no penalty, float32, the rows in the order given; threads are those of the BLAS."""

    def __init__(self, threads: int) -> None:
        """Nothing to set."""

    def start(self, task: Task) -> None:
        self.task = task
        self.model = MLPClassifier(
            task.widths[1:-1],
            activation="relu",
            solver="adam",
            alpha=0,
            batch_size=task.batch_size,
            learning_rate_init=task.learning_rate,
            shuffle=False,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
        )
        classes = np.arange(max(2, task.n_outputs))
        first = slice(task.batch_size)
        self.model.partial_fit(task.x[first], task.label[first], classes=classes)  # makes the arrays
        for place, layer in enumerate(task.layers()):
            self.model.coefs_[place][:], self.model.intercepts_[place][:] = layer
        del self.model._optimizer  # and its moments; the next call makes a new one

    def train(self, order: I32) -> None:
        self.model.partial_fit(self.task.x[order], self.task.label[order])

    def params(self) -> F32:
        return flat(list(zip(self.model.coefs_, self.model.intercepts_, strict=True)))
