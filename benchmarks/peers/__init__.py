"""What we compare ourselves with: each peer trains the same network from the same start on the same batches.

To add one, write a class with the methods of `Peer` and put a line into `PEERS`. A peer may prepare what it
likes in `start`; the clock runs over `train` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Task:
    """The work: one dense ReLU network, Adam without weight decay.

    Attributes
    ----------
    widths : tuple of int
        Inputs, hidden layers, outputs.
    params : ndarray of shape (n_params,)
        Where every peer starts; per layer W (n_in, n_out) row by row, then b (n_out,).
    x : ndarray of shape (n_rows, n_inputs), float32
    label : ndarray of shape (n_rows,), int64
        With one output 0 or 1 for binary cross-entropy, else a class for the softmax.
    batch_size : int
        Divides the rows of every order.
    learning_rate : float
    """

    widths: tuple[int, ...]
    params: F32
    x: F32
    label: NDArray[np.int64]
    batch_size: int
    learning_rate: float

    @property
    def n_outputs(self) -> int:
        return self.widths[-1]

    def target(self) -> F32:
        """Labels as the outputs should be: (n_rows, 1), or one column per class."""
        if self.n_outputs == 1:
            return self.label[:, None].astype(np.float32)
        return np.eye(self.n_outputs, dtype=np.float32)[self.label]

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


def flat(layers: list[tuple[F32, F32]]) -> F32:
    """(W, b) of every layer as the one block that `Task.params` is."""
    return np.concatenate([np.asarray(part, np.float32).ravel() for layer in layers for part in layer])


def make_task(
    widths: tuple[int, ...], batch_size: int, rows: int, learning_rate: float = 1e-3, seed: int = 0
) -> Task:
    """Gaussian inputs and labels that can be learnt from them, from `seed`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, widths[0])).astype(np.float32)
    score = x @ rng.normal(size=(widths[0], max(2, widths[-1]))) + rng.normal(size=(rows, max(2, widths[-1])))
    blocks = [
        (rng.normal(size=n_in * n_out) * np.sqrt(2 / n_in), np.zeros(n_out))
        for n_in, n_out in pairwise(widths)
    ]
    params = np.concatenate([part for block in blocks for part in block]).astype(np.float32)
    return Task(widths, params, x, score.argmax(axis=1), batch_size, learning_rate)


def mean_loss(task: Task, params: F32, rows: int = 4096) -> float:
    """Of the network with these parameters on the first rows, in float64: did peers do equal work?"""
    h = task.x[:rows].astype(np.float64)
    at, last = 0, len(task.widths) - 2
    for layer, (n_in, n_out) in enumerate(pairwise(task.widths)):
        w = params[at : at + n_in * n_out].reshape(n_in, n_out).astype(np.float64)
        at += n_in * n_out
        h = h @ w + params[at : at + n_out]
        at += n_out
        if layer < last:
            h = np.maximum(h, 0)
    label = task.label[:rows]
    if task.n_outputs == 1:
        h = np.hstack([np.zeros_like(h), h])
    return float(np.mean(np.logaddexp.reduce(h, axis=1) - h[np.arange(len(h)), label]))


class Peer(Protocol):
    """One way to train."""

    def __init__(self, threads: int) -> None:
        """Load the library; ImportError or `workers.Unavailable` leaves the peer out."""

    def start(self, task: Task) -> None:
        """Take the task's weights and forget all moments."""

    def train(self, order: I32) -> None:
        """Train once over these rows, `batch_size` at a time; return when it is done."""

    def params(self) -> F32:
        """The weights now, as `Task.params`."""


@dataclass(frozen=True)
class Entry:
    """A line of the table of peers."""

    name: str
    target: str  # "module:class" of a Peer
    threads: tuple[int, ...] = (1, 2)
    variables: dict[str, str] = field(default_factory=dict, hash=False)
    trainings: int = 1  # networks trained at the same time by one call of `train`
    same_work: bool = True  # whether its weights must give the reference's loss
    isa: str | None = None  # the instruction set whose peak it is measured by; None: the machine's best


HERE = __name__
OURS = "shadowprune"
AVX2 = {"SHADOWPRUNE_ISA": "avx2"}
KERAS = {"KERAS_BACKEND": "jax"}

PEERS: tuple[Entry, ...] = (
    Entry(OURS, f"{HERE}.ours:Plain"),
    Entry("shadowprune, shadow on", f"{HERE}.ours:Shadow", same_work=False),
    Entry("shadowprune, 2 side by side", f"{HERE}.ours:SideBySide", threads=(2,), trainings=2),
    Entry("shadowprune, AVX2", f"{HERE}.ours:Plain", threads=(1,), variables=AVX2, isa="avx2"),
    Entry("C prototype", f"{HERE}.prototype:Prototype"),
    Entry("JAX jit + scan", f"{HERE}.jax_scan:JaxScan"),
    Entry("Keras 3 on JAX", f"{HERE}.keras_jax:KerasOnJax", variables=KERAS),
    Entry("PyTorch eager", f"{HERE}.pytorch:Eager"),
    Entry("PyTorch fused Adam", f"{HERE}.pytorch:Fused"),
    Entry("PyTorch compile, fused", f"{HERE}.pytorch:Compiled"),
    Entry("NumPy by hand", f"{HERE}.by_hand:ByHand"),
    Entry("scikit-learn", f"{HERE}.scikit:MLP"),
)
