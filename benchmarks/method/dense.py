"""Ordinary training with the C core: what all methods have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shadowprune import _core
from shadowprune._defaults import DECAY
from shadowprune.network import Network
from shadowprune.training import Settings, train

from .samples import Data

RULE = "rule"


def decay_of(option: float | str, network: Network, data: Data) -> float:
    """Weight decay that an option names; the rule: the root of the weights, 1 for 40-64-64-64-64-1.

    It depends on the number of rows as that of the estimator does.
    """
    if option != RULE:
        return float(option)
    return float(data.rule(network.widths)) / DECAY


def rng_of(seed: int, *purpose: int) -> np.random.Generator:
    """A stream of its own for every purpose of a run."""
    return np.random.default_rng([seed, *purpose])


def fresh(widths: Sequence[int], seed: int) -> Network:
    """Random weights; the same for every method, seed by seed."""
    return Network(widths, random_state=rng_of(seed, 0))


def fit(
    network: Network, data: Data, epochs: int, decay: float | str, rng: np.random.Generator, rate: float = 1.0
) -> tuple[Network, float]:
    """A phase of training, with warm-up and cosine of its own: the network, and processor seconds.

    Parameters
    ----------
    network, data, epochs
        Where to start, rows, passes over them.
    decay : float or "rule"
        Weight decay.
    rng : numpy.random.Generator
        Order of the rows.
    rate : float
        Largest learning rate, times the usual one.
    """
    if epochs < 1:
        return network, 0.0
    settings = Settings(data.loss, epochs, data.batch, rate * data.rate, decay_of(decay, network, data))
    begin = time.thread_time()
    trained, _, _ = train(network, None, data.x, data.target, None, settings, rng)
    return trained, time.thread_time() - begin


def narrow(hidden: Sequence[int], count: int) -> list[int]:
    """Widths in the proportion of `hidden` that add up to `count`, each at least one."""
    exact = np.array(hidden) * count / sum(hidden)
    widths = np.maximum(1, np.floor(exact).astype(int))
    for layer in np.argsort(widths - exact, kind="stable"):  # the one that lost most first
        widths[layer] += widths.sum() < count
    while widths.sum() > count:  # layers raised to one node
        widths[widths.argmax()] -= 1
    return [int(w) for w in widths]


def best(scores: NDArray[np.float64], hidden: Sequence[int], count: int) -> list[NDArray[np.bool_]]:
    """Masks of the `count` best nodes over all layers, at least one of each."""
    layer = np.repeat(np.arange(len(hidden), dtype=np.int32), hidden)
    keep = _core.select(np.ascontiguousarray(scores, np.float64), layer, count, 1)
    return np.split(np.asarray(keep, np.bool_), np.cumsum(hidden)[:-1])
