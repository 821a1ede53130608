"""Two published ways to learn gates, each on the C core's forward and backward passes.

*Hard concrete*: gates z = clip(s (zeta - gamma) + gamma), s = sigmoid((logit u + log alpha) / beta), with u
uniform (Louizos, Welling and Kingma, ICLR 2018). The expected number of open gates meets its target through
a Lagrangian with a linear and a quadratic term whose multipliers ascend, and a target that comes down bit
by bit (Wang, Wohlwend and Lei, EMNLP 2020).

*ChipNet-like*: gates z = 1 - exp(-g t) + t exp(-g), t = sigmoid(b psi): a smooth step of a logistic curve,
both sharpened as the training goes on, with a penalty on what is neither zero nor one and one on the budget
(Tiwari, Bamba, Chavan and Gupta, ICLR 2021).

Both may end with another number of open gates than asked for. This number is reported; then exactly the
nodes asked for are kept, the best by gate, and trained on without gates.
"""

from __future__ import annotations

import math
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from shadowprune import losses
from shadowprune._reference import adam_step
from shadowprune.network import Network
from shadowprune.optimizers import Adam
from shadowprune.training import learning_rates

from .dense import RULE, best, decay_of, fit, fresh, rng_of
from .samples import Data

F64 = NDArray[np.float64]

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
RAMP = 0.5  # part of the gated training over which the hard concrete's target falls


class Gates(Protocol):
    """Gates of all hidden nodes, and how they learn."""

    def open(self, progress: float, rng: np.random.Generator) -> F64:
        """Gates for a step; progress runs from 0 to 1 over the gated training."""

    def learn(self, dgates: F64, rate: float) -> None:
        """Move along the gradient of the loss with respect to the last gates, and of the penalties."""

    def final(self) -> F64:
        """Gates of a trained network, without chance."""


class Moments:
    """Adam on a vector (Kingma and Ba, ICLR 2015)."""

    def __init__(self, n: int) -> None:
        self.m, self.v, self.steps = np.zeros(n), np.zeros(n), 0

    def step(self, x: F64, gradient: F64, rate: float) -> None:
        """One step, in place."""
        self.steps += 1
        adam_step(x, gradient, self.m, self.v, self.steps, rate, 0.9, 0.999, 1e-8)


class HardConcrete:
    """Stochastic gates with a Lagrangian for their expected number."""

    def __init__(self, n: int, count: int, rng: np.random.Generator, multiplier_rate: float = 1.0) -> None:
        self.count = count
        self.log_alpha = rng.normal(logit(0.9), 0.01, n)
        self.moments = Moments(n)
        self.multipliers = np.zeros(2)
        self.multiplier_rate = multiplier_rate
        self.progress = 0.0

    def open(self, progress: float, rng: np.random.Generator) -> F64:
        self.progress = progress
        self.s = expit((logit(rng.uniform(1e-6, 1 - 1e-6, len(self.log_alpha))) + self.log_alpha) / BETA)
        return np.clip(self.s * (ZETA - GAMMA) + GAMMA, 0, 1)

    def slopes(self) -> F64:
        """d gate / d log alpha of the gates last opened."""
        stretched = self.s * (ZETA - GAMMA) + GAMMA
        inside = (stretched > 0) & (stretched < 1)
        return np.where(inside, (ZETA - GAMMA) * self.s * (1 - self.s) / BETA, 0.0)

    def probability(self) -> F64:
        """That a gate is not zero."""
        return np.asarray(expit(self.log_alpha - BETA * math.log(-GAMMA / ZETA)))

    def learn(self, dgates: F64, rate: float) -> None:
        n = len(self.log_alpha)
        p = self.probability()
        target = 1 - (1 - self.count / n) * min(1.0, self.progress / RAMP)
        miss = p.mean() - target
        linear, quadratic = self.multipliers
        penalty = (linear + 2 * quadratic * miss) * p * (1 - p) / n
        self.moments.step(self.log_alpha, dgates * self.slopes() + penalty, rate)
        self.multipliers += self.multiplier_rate * rate * np.array([miss, miss**2])

    def final(self) -> F64:
        return np.clip(expit(self.log_alpha) * (ZETA - GAMMA) + GAMMA, 0, 1)


class ChipNet:
    """A continuous step of a logistic curve, with penalties on crispness and budget."""

    def __init__(
        self, n: int, count: int, rng: np.random.Generator, crispness: float = 10.0, budget: float = 30.0
    ) -> None:
        self.count, self.weights = count, (crispness, budget)
        self.psi = rng.uniform(0, 0.01, n)
        self.moments = Moments(n)
        self.sharp, self.step = 1.0, 2.0

    def _gates(self) -> tuple[F64, F64]:
        t = expit(self.sharp * self.psi)
        return t, 1 - np.exp(-self.step * t) + t * math.exp(-self.step)

    def open(self, progress: float, rng: np.random.Generator) -> F64:
        # from the authors' first values to their last ones
        self.sharp, self.step = 1 + 2 * progress, 2.0 * 128**progress
        return self._gates()[1]

    def slopes(self) -> tuple[F64, F64]:
        """d t / d psi and d gate / d t."""
        t, _ = self._gates()
        return self.sharp * t * (1 - t), self.step * np.exp(-self.step * t) + math.exp(-self.step)

    def learn(self, dgates: F64, rate: float) -> None:
        t, z = self._gates()
        dt, dz = self.slopes()
        crispness, budget = self.weights
        n = len(t)
        of_gates = dgates + 2 * budget * (z.mean() - self.count / n) / n
        crisp = 2 * crispness * (t - z)
        self.moments.step(self.psi, ((of_gates - crisp) * dz + crisp) * dt, rate)

    def final(self) -> F64:
        return self._gates()[1]


def gated(
    network: Network, gates: Gates, data: Data, epochs: int, decay: float | str, rng: np.random.Generator,
    rate: float, gate_rate: float,
) -> float:  # fmt: skip
    """Train network and gates together, in place; seconds of processor time."""
    loss_of = getattr(losses, data.loss)
    hidden = network.widths[1:-1]
    places = np.cumsum(hidden)[:-1]
    optimizer = Adam(network)
    steps_of_epoch = math.ceil(len(data.x) / data.batch)
    n_steps = epochs * steps_of_epoch
    shares = learning_rates(1.0, np.arange(n_steps), n_steps)
    begin = time.thread_time()
    for step in range(n_steps):
        if step % steps_of_epoch == 0:
            order = rng.permutation(len(data.x))
        at = step % steps_of_epoch * data.batch
        rows = order[at : at + data.batch]
        progress = step / n_steps
        share = float(shares[step])
        g = gates.open(progress, rng)
        z = network.forward(data.x[rows], gates=np.split(g.astype(np.float32), places))
        _, dz = loss_of(z, data.target[rows])
        dparams, dgates = network.backward(dz)
        if step % 50 == 0:
            open_part = float(np.mean(g > 0.5))
            optimizer.weight_decay = decay_of(decay, network, data) * (open_part if decay == RULE else 1.0)
        optimizer.learning_rate = share * rate * data.rate
        optimizer.step(dparams)
        gates.learn(np.concatenate(dgates).astype(np.float64), share * gate_rate)
    return time.thread_time() - begin


def learn_gates(
    data: Data, count: int, seed: int, *, kind: type[HardConcrete] | type[ChipNet], decay: float | str = RULE,
    rate: float = 1.0, split: float = 0.6, gate_rate: float = 0.05, **own: Any,
) -> tuple[Network, float, int]:  # fmt: skip
    """Train with gates, keep exactly `count` nodes by gate, train on.

    Parameters
    ----------
    data, count, seed
        Rows, nodes to keep, seed.
    kind : HardConcrete or ChipNet
    decay : float or "rule"
        Weight decay.
    rate : float
        Largest learning rate of the weights, times the usual one.
    split : float
        Part of the epochs that have gates.
    gate_rate : float
        Largest learning rate of the gates' parameters.
    **own
        Arguments of `kind`.

    Returns
    -------
    network : Network
        With exactly `count` nodes.
    seconds : float
        Processor time.
    is_open : int
        Nodes whose gates were open at the end of the gated training.
    """
    with_gates = round(split * data.epochs)
    network, rng = fresh(data.widths, seed), rng_of(seed, 4)
    gates = kind(network.n_nodes, count, rng, **own)
    seconds = gated(network, gates, data, with_gates, decay, rng, rate, gate_rate)
    final = gates.final()
    is_open = int((final > 0.5).sum())
    ranking = gates.log_alpha if isinstance(gates, HardConcrete) else gates.psi
    support = best(ranking, network.widths[1:-1], count)
    parts = np.split(np.maximum(final, 0.1), np.cumsum(network.widths[1:-1])[:-1])
    for w, part in zip(network.weights[1:], parts, strict=True):
        w[:] *= part[:, None]  # a kept gate becomes part of the weights
    rest = data.epochs - with_gates
    network, more = fit(network.reduce(support), data, rest, decay, rng_of(seed, 3), rate)
    return network, seconds + more, is_open
