"""What we compare ourselves with: each peer trains the same network from the same start on the same batches.

To add one, write a class with `start` and `train` and put it into `PEERS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Task:
    """The work: one dense ReLU network with one logit, binary cross-entropy, Adam without weight decay.

    Attributes
    ----------
    widths : tuple of int
        Inputs, hidden layers, one output.
    params : ndarray of shape (n_params,)
        Where every peer starts; per layer W (n_in, n_out) row by row, then b (n_out,).
    x, y : ndarray of shape (n_rows, n_inputs) and (n_rows, 1)
        float32.
    batch_size : int
    learning_rate : float
    """

    widths: tuple[int, ...]
    params: F32
    x: F32
    y: F32
    batch_size: int
    learning_rate: float

    def layers(self) -> Iterator[tuple[F32, F32]]:
        """Copies of (W, b), layer by layer."""
        at = 0
        for n_in, n_out in pairwise(self.widths):
            w = self.params[at : at + n_in * n_out].reshape(n_in, n_out).copy()
            at += n_in * n_out
            yield w, self.params[at : at + n_out].copy()
            at += n_out

    def batches(self, order: I32) -> Iterator[I32]:
        """The rows of each step."""
        for at in range(0, len(order), self.batch_size):
            yield order[at : at + self.batch_size]


class Peer(Protocol):
    """One way to train."""

    name: str
    package: str  # shown with its version; skipped where it is not installed
    same_work: bool  # whether its loss must agree with the first peer's

    def start(self, task: Task) -> None:
        """Take the task's weights and forget all moments."""

    def train(self, order: I32) -> float:
        """Train once over these rows, `batch_size` at a time; mean loss of the last step."""


class Shadowprune:
    """Our C loop, no shadow on the network."""

    name, package, same_work = "shadowprune", "shadowprune", True

    def start(self, task: Task) -> None:
        core: Any = import_module("shadowprune._core")
        self.task = task
        self.trainer = core.Trainer(
            task.widths, "relu", "binary_crossentropy", "adam", task.batch_size, BETA_1, BETA_2, EPSILON
        )
        zeros = np.zeros_like(task.params)
        self.trainer.set_state(task.params, zeros, zeros.copy(), 0)

    def shadow(self, n_steps: int) -> dict[str, NDArray[np.float64]]:
        return {}

    def train(self, order: I32) -> float:
        task = self.task
        n_steps = -(-len(order) // task.batch_size)
        rate = np.full(n_steps, task.learning_rate, np.float32)
        decay = np.zeros(n_steps, np.float32)
        losses = self.trainer.run(task.x, task.y, None, order, rate, decay, **self.shadow(n_steps))
        return float(losses[-1])


class ShadowpruneGated(Shadowprune):
    """Our C loop, every hidden node under a shadow whose budget is 70 % of them: what the gates cost."""

    name, same_work = "shadowprune, shadow on", False

    def start(self, task: Task) -> None:
        super().start(task)
        hidden = sum(task.widths[1:-1])
        self.budget = 0.7 * hidden
        index = np.arange(task.widths[0], task.widths[0] + hidden, dtype=np.int32)
        scores = np.random.default_rng(1).normal(0.0, 0.01, hidden)
        self.trainer.set_shadow([(index, scores, None, 0.02)])

    def shadow(self, n_steps: int) -> dict[str, NDArray[np.float64]]:
        return {"budgets": np.full((n_steps, 1), self.budget), "temperatures": np.full((n_steps, 1), 0.1)}


class NumpyByHand:
    """A careful NumPy loop: float32 throughout, one flat parameter block, no allocation in Adam."""

    name, package, same_work = "NumPy by hand", "numpy", True

    def start(self, task: Task) -> None:
        self.task = task
        self.params = task.params.copy()
        self.grad = np.zeros_like(self.params)
        self.m, self.v = np.zeros_like(self.params), np.zeros_like(self.params)
        self.work, self.root = np.empty_like(self.params), np.empty_like(self.params)
        self.step = 0
        self.weights, self.biases = self._views(self.params)
        self.dweights, self.dbiases = self._views(self.grad)

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
        self.params -= work

    def train(self, order: I32) -> float:
        loss = np.nan
        last = len(self.weights) - 1
        for rows in self.task.batches(order):
            activations = [self.task.x[rows]]
            target = self.task.y[rows]
            for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
                z = activations[-1] @ w
                z += b
                if layer < last:
                    np.maximum(z, 0, out=z)
                activations.append(z)
            z = activations[-1]
            tail = np.exp(-np.abs(z))
            loss = np.mean(np.maximum(z, 0) - z * target + np.log1p(tail))
            d = np.where(z >= 0, 1, tail) / (1 + tail)
            d -= target
            d /= len(rows)
            for layer in range(last, -1, -1):
                h = activations[layer]
                np.matmul(h.T, d, out=self.dweights[layer])
                np.sum(d, axis=0, out=self.dbiases[layer])
                if layer:
                    d = d @ self.weights[layer].T
                    d *= h > 0
            self._adam()
        return float(loss)


class TorchEager:
    """`nn.Sequential`, `BCEWithLogitsLoss` and `Adam` as its documentation writes them."""

    name, package, same_work = "PyTorch eager", "torch", True
    fused = False

    def start(self, task: Task) -> None:
        torch: Any = import_module("torch")
        torch.set_num_threads(1)
        self.torch, self.task = torch, task
        self.x, self.y = torch.from_numpy(task.x), torch.from_numpy(task.y)
        modules: list[Any] = []
        for w, b in task.layers():
            linear = torch.nn.Linear(*w.shape)
            linear.weight.data = torch.from_numpy(np.ascontiguousarray(w.T))
            linear.bias.data = torch.from_numpy(b)
            modules += [linear, torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*modules[:-1])
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), task.learning_rate, (BETA_1, BETA_2), EPSILON, fused=self.fused
        )
        self.loss = torch.nn.BCEWithLogitsLoss()

    def train(self, order: I32) -> float:
        loss = None
        for batch in self.task.batches(order):
            rows = self.torch.from_numpy(batch)
            self.optimizer.zero_grad()
            loss = self.loss(self.model(self.x[rows]), self.y[rows])
            loss.backward()
            self.optimizer.step()
        return float("nan") if loss is None else loss.item()


class TorchFused(TorchEager):
    """The same with PyTorch's one-kernel Adam."""

    name, fused = "PyTorch fused Adam", True


PEERS: tuple[type[Peer], ...] = (Shadowprune, ShadowpruneGated, NumpyByHand, TorchEager, TorchFused)


def installed() -> dict[str, str]:
    """Versions of the packages of `PEERS` that are here."""
    found: dict[str, str] = {}
    for package in dict.fromkeys(peer.package for peer in PEERS):
        try:
            found[package] = import_module(package).__version__
        except ImportError:
            continue
    return found
