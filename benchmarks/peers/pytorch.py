"""PyTorch: as its documentation writes a loop, with its one-kernel Adam, and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from . import BETA_1, BETA_2, EPSILON, F32, I32, Task, flat


def sequential(task: Task) -> Any:
    """The task's network as `nn.Sequential`."""
    modules: list[Any] = []
    for w, b in task.layers():
        linear = torch.nn.Linear(*w.shape)
        linear.weight.data = torch.from_numpy(np.ascontiguousarray(w.T))
        linear.bias.data = torch.from_numpy(b)
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


class Eager:
    """`nn.Sequential`, the loss from logits and `Adam` with its defaults."""

    fused: bool | None = None

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def start(self, task: Task) -> None:
        self.task = task
        binary = task.n_outputs == 1
        self.x = torch.from_numpy(task.x)
        self.y = torch.from_numpy(task.target() if binary else task.label)
        self.model = sequential(task)
        self.criterion = torch.nn.BCEWithLogitsLoss() if binary else torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), task.learning_rate, (BETA_1, BETA_2), EPSILON, fused=self.fused
        )

    def loss(self, x: Any, y: Any) -> Any:
        return self.criterion(self.model(x), y)

    def train(self, order: I32) -> None:
        rows = torch.from_numpy(order)
        for batch in rows.split(self.task.batch_size):
            self.optimizer.zero_grad()
            loss = self.loss(self.x.index_select(0, batch), self.y.index_select(0, batch))
            loss.backward()
            self.optimizer.step()

    def params(self) -> F32:
        linear = [m for m in self.model if isinstance(m, torch.nn.Linear)]
        return flat([(m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in linear])


class Fused(Eager):
    """The same with the fused Adam."""

    fused = True


class Compiled(Fused):
    """Network and loss, forward and backward, through `torch.compile`; the fused Adam."""

    def start(self, task: Task) -> None:
        super().start(task)
        torch.compiler.reset()
        model, criterion = self.model, self.criterion
        self.loss = torch.compile(lambda x, y: criterion(model(x), y), dynamic=False)  # type: ignore[method-assign]
