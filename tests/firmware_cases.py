"""Networks and jets for the tests of fixed point and firmware."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import shadowprune as sp
from shadowprune.quantization import activate

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="hls4ml compiles with g++")

N_TEST = 8000
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "linear")
X10 = np.random.default_rng(0).normal(size=(300, 10))


def jets(n: int, seed: int) -> np.ndarray:
    """Forty columns with the units, ranges and tails of jet variables: from ratios to hundreds of GeV."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal
    b = normal(n)
    pt = 250 * (1 + rng.exponential(0.35, n)).clip(1, 4)
    columns = [pt, rng.uniform(-2, 2, n), 50 + 150 * rng.beta(1, 1.6, n), rng.uniform(0, np.pi, n)]
    columns += [20 * np.exp(0.5 * normal(n)), np.round(60 * np.exp(0.3 * normal(n))), 1000 / pt]
    columns += [
        scale / (1 + np.exp(-normal(n) - 0.5 * b)) for scale in (1, 1, 1, 0.6, 0.4, 0.3, 0.3, 0.1, 0.05)
    ]
    for _ in range(12):
        significance = np.exp(1.2 * b + 0.8 * normal(n)) - 1 + 0.5 * rng.standard_t(2, n)
        columns.append(np.where(rng.random(n) < 0.1, -10, significance).clip(-10, 50))
    has = rng.random(n) < 1 / (1 + np.exp(-b))
    columns += [np.where(has, (1 + rng.gamma(2, 1, n)).clip(0, 10), 0) for _ in range(6)]
    columns += [np.where(has, np.exp(1.2 * b + normal(n)).clip(0, 100), 0) for _ in range(6)]
    return np.column_stack(columns).astype(np.float32)


CALIBRATION = jets(6000, 1)
TEST = np.ascontiguousarray(jets(N_TEST, 2))


def network(
    hidden: tuple[int, ...],
    activation: str = "relu",
    n_out: int = 1,
    seed: int = 0,
    X: np.ndarray = CALIBRATION,
) -> sp.Network:
    """Random weights on the columns' own scales; sums spread by 1.5, logits by 4, biases not zero."""
    rng = np.random.default_rng(seed)
    net = sp.Network([X.shape[1], *hidden, n_out], activation, random_state=seed)
    h = X.astype(np.float64)
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        if i == 0:
            w[:] /= X.std(axis=0)[:, None]
        w[:] *= (1.5 if i < len(hidden) else 4) / (h @ w).std(axis=0)
        b[:] = rng.normal(0, 0.5, b.shape) - (h @ w).mean(axis=0)
        h = activate(activation, h @ w + b)
    return net


def rms(model, net: sp.Network, X: np.ndarray = TEST) -> float:
    difference = model.predict(X).reshape(len(X), -1) - net.forward(X)
    return float(np.sqrt(np.mean(difference.astype(np.float64) ** 2)))


def small(*widths: int) -> sp.Network:
    return sp.Network([10, *(widths or (6, 4)), 1], random_state=0)


class Widths:
    """Like a Network, with a layer of no nodes, which Network itself refuses."""

    activation = "relu"
    weights = (np.zeros((10, 0), np.float32), np.zeros((0, 1), np.float32))
    biases = (np.zeros(0, np.float32), np.zeros(1, np.float32))


def infinite() -> sp.Network:
    net = small()
    net.weights[1][0, 0] = np.inf
    return net
