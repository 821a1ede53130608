"""A careful NumPy loop: float32 throughout, one flat parameter block, no allocation in Adam."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from . import BETA_1, BETA_2, EPSILON, F32, I32, Task


class ByHand:
    """NumPy and its BLAS."""

    def __init__(self, threads: int) -> None:
        """Threads are those of the BLAS, set by its environment variable."""

    def start(self, task: Task) -> None:
        self.task = task
        self.target = task.target()
        self.flat = task.params.copy()
        self.grad = np.zeros_like(self.flat)
        self.m, self.v = np.zeros_like(self.flat), np.zeros_like(self.flat)
        self.work, self.root = np.empty_like(self.flat), np.empty_like(self.flat)
        self.step = 0
        self.weights, self.biases = self._views(self.flat)
        self.dweights, self.dbiases = self._views(self.grad)

    def params(self) -> F32:
        return self.flat

    def _views(self, flat: F32) -> tuple[list[F32], list[F32]]:
        weights, biases, at = [], [], 0
        for n_in, n_out in pairwise(self.task.widths):
            weights.append(flat[at : at + n_in * n_out].reshape(n_in, n_out))
            at += n_in * n_out
            biases.append(flat[at : at + n_out])
            at += n_out
        return weights, biases

    def _adam(self) -> None:
        self.step += 1
        work, root, grad = self.work, self.root, self.grad
        rate = self.task.learning_rate / (1 - BETA_1**self.step)
        self.m *= BETA_1
        np.multiply(grad, 1 - BETA_1, out=work)
        self.m += work
        self.v *= BETA_2
        np.multiply(grad, grad, out=work)
        work *= 1 - BETA_2
        self.v += work
        np.multiply(self.v, 1 / (1 - BETA_2**self.step), out=root)
        np.sqrt(root, out=root)
        root += EPSILON
        np.multiply(self.m, rate, out=work)
        work /= root
        self.flat -= work

    def _gradient_of_outputs(self, z: F32, target: F32) -> F32:
        if z.shape[1] == 1:
            tail = np.exp(-np.abs(z))
            d = np.where(z >= 0, 1, tail) / (1 + tail)
        else:
            d = np.exp(z - z.max(axis=1, keepdims=True))
            d /= d.sum(axis=1, keepdims=True)
        d -= target
        d /= len(z)
        return d

    def train(self, order: I32) -> None:
        last = len(self.weights) - 1
        for rows in self.task.batches(order):
            activations = [self.task.x[rows]]
            for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
                z = activations[-1] @ w
                z += b
                if layer < last:
                    np.maximum(z, 0, out=z)
                activations.append(z)
            d = self._gradient_of_outputs(activations[-1], self.target[rows])
            for layer in range(last, -1, -1):
                h = activations[layer]
                np.matmul(h.T, d, out=self.dweights[layer])
                np.sum(d, axis=0, out=self.dbiases[layer])
                if layer:
                    d = d @ self.weights[layer].T
                    d *= h > 0
            self._adam()
