"""The slow twin of csrc/fixed.c and csrc/quantise.c: real numbers in float64 NumPy, every cast written out.

Same names and arguments as in :mod:`shadowprune._core`. Sums go input by input through the type of the sum,
also where the C code knows that no cast can change them. Exact while no number needs more than 53 bits.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._reference import unpack

F64 = NDArray[np.float64]
Kind = tuple[int, int, bool, bool, str]  # width, integer bits, signed, saturates, rounding


def step(kind: Kind) -> float:
    """Distance of neighbouring values."""
    return 2.0 ** (kind[1] - kind[0])


def limits(kind: Kind) -> tuple[float, float]:
    """Least and largest value, in steps."""
    width, _, signed, _, _ = kind
    return (-(2.0 ** (width - 1)), 2.0 ** (width - 1) - 1) if signed else (0.0, 2.0**width - 1)


def fixed_cast(kind: Kind, x: ArrayLike) -> F64:
    """What the type holds for x, in steps."""
    _, _, _, saturates, rounding = kind
    u = np.asarray(x, np.float64) / step(kind)
    below = np.floor(u)
    if rounding == "RND":
        below = below + (u - below >= 0.5)
    elif rounding == "RND_CONV":
        below = np.rint(u)
    low, high = limits(kind)
    if saturates:
        return np.clip(below, low, high)
    period = high - low + 1
    return np.asarray(np.mod(np.fmod(below, period) - low, period) + low)


def cast(kind: Kind, x: ArrayLike) -> F64:
    """What the type holds for x."""
    return fixed_cast(kind, x) * step(kind)


class Fixed:
    """A network in fixed point."""

    def __init__(
        self, input: Kind, offset: Any, shift: Any, aligned: Kind | None, layers: Sequence[tuple[Any, ...]]
    ) -> None:
        self.input, self.offset, self.shift, self.aligned, self.layers = input, offset, shift, aligned, layers

    def forward(self, x: ArrayLike) -> F64:
        """Outputs (n, n_out) of x (n, n_inputs)."""
        h = cast(self.input, x)
        if self.shift is not None and self.aligned is not None:
            h = cast(self.aligned, (h - self.offset * step(self.input)) * 2.0**self.shift)
        for (
            weights,
            bias,
            w_bits,
            b_bits,
            accum,
            result,
            output,
            activation,
            slope,
            s_bits,
            table,
        ) in self.layers:
            w = weights * 2.0**-w_bits
            z = np.tile(cast(accum, bias * 2.0**-b_bits), (len(h), 1))
            for i in range(w.shape[0]):
                z = cast(accum, z + cast(accum, h[:, i : i + 1] * w[i]))
            z = cast(result, z)
            if activation == "relu":
                z = np.maximum(z, 0)
            elif activation == "leaky_relu":
                z = np.where(z > 0, z, z * slope * 2.0**-s_bits)
            if activation in ("tanh", "sigmoid"):
                reach, n = {"tanh": 4, "sigmoid": 8}[activation], len(table)
                entry = np.trunc(z * n / (2 * reach)) + n // 2
                h = table[np.clip(entry, 0, n - 1).astype(int)] * step(output)
            else:
                h = cast(output, z)
        return h


def fixed_table(activation: str, n: int) -> F64:
    """Entries of the table of tanh on [-4, 4) or sigmoid on [-8, 8)."""
    reach = {"tanh": 4.0, "sigmoid": 8.0}[activation]
    u = 2 * reach * (np.arange(n) - n / 2) / n
    return np.tanh(u) if activation == "tanh" else 1 / (1 + np.exp(-u))


def quantised_gradient(
    widths: Sequence[int], params: F64, x: F64, dz: F64, layers: Sequence[tuple[Kind, int, Kind | None]]
) -> tuple[F64, F64]:
    """Outputs z, and the straight-through gradient dL/dparams for dL/dz, of a relu network whose weights,
    biases and outputs of hidden layers are seen on their grids."""
    hs = [x]
    seen = []
    for (w, b), (weight, bits, output) in zip(unpack(widths, params), layers, strict=True):
        seen.append((cast(weight, w), cast((62, 62 - bits, True, True, "RND"), b)))
        z = hs[-1] @ seen[-1][0] + seen[-1][1]
        hs.append(z if output is None else cast(output, np.maximum(z, 0)))
    parts: list[F64] = []
    d = dz
    for i in reversed(range(len(seen))):
        parts[:0] = [(hs[i].T @ d).ravel(), d.sum(axis=0)]
        kind = layers[i - 1][2]
        if i and kind is not None:
            d = (d @ seen[i][0].T) * ((hs[i] > 0) & (hs[i] < limits(kind)[1] * step(kind)))
    return hs[-1], np.concatenate(parts)
