"""Keras 3 with its JAX backend, through `fit`."""

from __future__ import annotations

import keras
import numpy as np

from . import BETA_1, BETA_2, EPSILON, F32, I32, Task, flat

STEPS = 16  # one at a time, the default, is up to 1.5 times slower


class KerasOnJax:
    """`Sequential`, `compile`, `fit`, several steps per call of the compiled function.

    `fit` gets the rows in order, for shuffling is part of everybody's time.
    """

    def __init__(self, threads: int) -> None:
        if keras.backend.backend() != "jax":
            raise ImportError(f"Keras runs on {keras.backend.backend()}, not JAX")

    def start(self, task: Task) -> None:
        self.task = task
        self.target = task.target()
        hidden = [keras.layers.Dense(n, "relu") for n in task.widths[1:-1]]
        self.model = keras.Sequential(
            [keras.Input((task.widths[0],)), *hidden, keras.layers.Dense(task.n_outputs)]
        )
        self.model.set_weights([part for layer in task.layers() for part in layer])
        losses = keras.losses
        binary = task.n_outputs == 1
        self.model.compile(
            keras.optimizers.Adam(task.learning_rate, BETA_1, BETA_2, EPSILON),
            (losses.BinaryCrossentropy if binary else losses.CategoricalCrossentropy)(from_logits=True),
            steps_per_execution=STEPS,
        )

    def train(self, order: I32) -> None:
        x, y = self.task.x[order], self.target[order]
        self.model.fit(x, y, batch_size=self.task.batch_size, epochs=1, shuffle=False, verbose=0)

    def params(self) -> F32:
        weights = [np.asarray(w) for w in self.model.get_weights()]
        return flat(list(zip(weights[::2], weights[1::2], strict=True)))
