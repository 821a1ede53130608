"""An external C loop for the paper's network, called through ctypes: ``--prototype FILE.so``.

It exports ``mlp_new(n_hidden, int widths[n_hidden + 1], 0, threads)``, ``mlp_set(handle, params, NULL)``,
``mlp_get(handle, params, NULL)`` and ``mlp_train(handle, x, y, order, long rows, long batch, float rate)``,
for one logit; params per layer W (n_out, n_in), then b.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np

from ..workers import Unavailable
from . import F32, I32, Task, flat

VARIABLE = "SHADOWPRUNE_PROTOTYPE"


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class Prototype:
    """The library named by `VARIABLE`."""

    def __init__(self, threads: int) -> None:
        path = os.environ.get(VARIABLE)
        if not path:
            raise Unavailable("no --prototype given")
        self.library = ctypes.CDLL(path)
        self.library.mlp_new.restype = ctypes.c_void_p
        self.threads = threads

    def start(self, task: Task) -> None:
        if task.n_outputs != 1:
            raise Unavailable("it has one output")
        self.task = task
        self.y = task.label.astype(np.float32)
        widths = task.widths[:-1]
        shape = (ctypes.c_int * len(widths))(*widths)
        self.handle = ctypes.c_void_p(self.library.mlp_new(len(widths) - 1, shape, 0, self.threads))
        start = flat([(w.T, b) for w, b in task.layers()])  # it wants PyTorch's order
        self.library.mlp_set(self.handle, pointer(start), None)

    def train(self, order: I32) -> None:
        n, batch = ctypes.c_long(len(order)), ctypes.c_long(self.task.batch_size)
        rate = ctypes.c_float(self.task.learning_rate)
        self.library.mlp_train(
            self.handle, pointer(self.task.x), pointer(self.y), pointer(order), n, batch, rate
        )

    def params(self) -> F32:
        found = np.empty_like(self.task.params)
        self.library.mlp_get(self.handle, pointer(found), None)
        layers, at = [], 0
        for w, b in self.task.layers():
            layers.append(
                (found[at : at + w.size].reshape(w.shape[::-1]).T, found[at + w.size : at + w.size + b.size])
            )
            at += w.size + b.size
        return flat(layers)
