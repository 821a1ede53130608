"""Networks and jets for the tests of fixed point and firmware."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence

import numpy as np
import pytest

import shadowprune as sp
from shadowprune.fixedpoint import FixedLayer, FixedNetwork, FixedType
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


def any_type(
    rng: np.random.Generator, integer: tuple[int, int] = (-2, 2), signed: bool | None = None
) -> FixedType:
    """Up to 10 bits; integer: least number of integer bits, and how many more than all there may be."""
    width = int(rng.integers(2, 11))
    return FixedType(
        width,
        int(rng.integers(integer[0], width + integer[1] + 1)),
        bool(rng.integers(2)) if signed is None else signed,
        str(rng.choice(["RND", "TRN", "RND_CONV"])),
        str(rng.choice(["SAT", "WRAP"])),
    )


def any_fixed_network(
    rng: np.random.Generator,
    widths: Sequence[int],
    activation: str,
    narrow: bool | None = None,
    integer: tuple[int, int] = (-2, 2),
) -> FixedNetwork:
    """Any types, also accumulators too narrow for their sums (narrow None: in some layers).

    The ap_types of hls4ml abort where a cast drops all bits of a number: integer=(1, 0) avoids that.
    """
    enters = input_type = any_type(rng, integer)
    offset = shifts = aligned = None
    if rng.integers(2):
        offset = input_type.step * rng.integers(-40, 40, widths[0]).astype(float)
        shifts = rng.integers(-4, 5, widths[0])
        enters = aligned = any_type(rng, integer)
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        phi = activation if i < len(widths) - 2 else "linear"
        weight, bias = (any_type(rng, integer, signed=True) for _ in range(2))
        accum, result, output = (any_type(rng, integer) for _ in range(3))
        if not (rng.integers(2) if narrow is None else narrow):  # the exact sum
            accum = FixedType(40, 40 - max(enters.fractional + weight.fractional, bias.fractional))
        if phi == "linear":
            output = result
        table = None
        if phi in ("tanh", "sigmoid"):
            table = output.cast(rng.uniform(output.low, output.high, 2 ** int(rng.integers(2, 7))))
        w = weight.cast(rng.uniform(weight.low, weight.high, (n_in, n_out)))
        b = bias.cast(rng.uniform(bias.low, bias.high, n_out))
        layers.append(FixedLayer(f"fc{i + 1}", phi, w, b, weight, bias, accum, result, output, table))
        enters = output
    return FixedNetwork(input_type, offset, shifts, aligned, tuple(layers))


def rows_beyond(q: FixedNetwork, n: int = 40) -> np.ndarray:
    """Inside the range of the inputs, beyond it, and on halves of steps."""
    rng = np.random.default_rng(0)
    kind, shape = q.input_type, (n, q.n_inputs)
    inside = rng.uniform(kind.low, kind.high + kind.step, shape)
    return np.concatenate([inside, 3 * inside, kind.step / 2 * rng.integers(-60, 60, shape)])
