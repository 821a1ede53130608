"""Optimisers of a network's parameters, for a user's own loop. The estimators use the same C functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .network import Network


class _Optimizer:
    def __init__(self, network: Network, learning_rate: float, weight_decay: float) -> None:
        for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{name} is {value!r}; it must be a finite number, at least 0")
        self.network = network
        self.learning_rate = float(learning_rate)
        self.weight_decay = float(weight_decay)
        self.n_steps = 0

    def _decay(self) -> np.ndarray | None:
        """Weights decay, biases do not."""
        if not self.weight_decay:
            return None
        parts = [
            np.full(n, rate, np.float32)
            for w, b in zip(self.network.weights, self.network.biases, strict=True)
            for n, rate in ((w.size, self.weight_decay), (b.size, 0.0))
        ]
        return np.concatenate(parts)


class Adam(_Optimizer):
    """Adam with decoupled weight decay (Kingma and Ba, ICLR 2015; Loshchilov and Hutter, ICLR 2019).

    Parameters
    ----------
    network : Network
        Whose `params` are changed in place.
    learning_rate : float, default=1e-3
        May be changed between steps.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Memories of the two moments, in [0, 1).
    epsilon : float, default=1e-8
        Added to the root of the second moment.
    weight_decay : float, default=0
        Decoupled; times the learning rate, on weights, not on biases.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    def __init__(
        self,
        network: Network,
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(network, learning_rate, weight_decay)
        for name, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value!r}; it must be at least 0 and below 1")
        if not (np.isfinite(epsilon) and epsilon > 0):
            raise ValueError(f"epsilon is {epsilon!r}; it must be a finite number above 0")
        self.beta_1, self.beta_2, self.epsilon = float(beta_1), float(beta_2), float(epsilon)
        self._m = np.zeros_like(network.params)
        self._v = np.zeros_like(network.params)

    def step(self, dparams: ArrayLike) -> None:
        """One step on the network's parameters, in place.

        Parameters
        ----------
        dparams : array_like of shape (n_params,)
            Gradient, as `Network.backward` returns it.
        """
        self.n_steps += 1
        _core.adam_step(
            self.network.params, np.asarray(dparams), self._m, self._v, self.n_steps, self.learning_rate,
            self.beta_1, self.beta_2, self.epsilon, self._decay(),
        )  # fmt: skip


class SGD(_Optimizer):
    """Stochastic gradient descent with momentum and decoupled weight decay.

    Parameters
    ----------
    network : Network
        Whose `params` are changed in place.
    learning_rate : float, default=1e-2
        May be changed between steps.
    momentum : float, default=0.9
        In [0, 1).
    nesterov : bool, default=True
        Nesterov's form of momentum.
    weight_decay : float, default=0
        Decoupled; times the learning rate, on weights, not on biases.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    def __init__(
        self,
        network: Network,
        learning_rate: float = 1e-2,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(network, learning_rate, weight_decay)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum!r}; it must be at least 0 and below 1")
        self.momentum, self.nesterov = float(momentum), bool(nesterov)
        self._velocity = np.zeros_like(network.params)

    def step(self, dparams: ArrayLike) -> None:
        """One step on the network's parameters, in place.

        Parameters
        ----------
        dparams : array_like of shape (n_params,)
            Gradient, as `Network.backward` returns it.
        """
        self.n_steps += 1
        _core.sgd_step(
            self.network.params, np.asarray(dparams), self._velocity, self.learning_rate, self.momentum,
            self.nesterov, self._decay(),
        )  # fmt: skip
