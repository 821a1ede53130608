"""Which fixed-point type every number of a network gets: the model between `Network` and an emitter.

A layer computes  z_j = b_j + sum_i x_i W_ij.  Values up to R in B bits have the step 2^(ceil(log2 R) - B).

* every range comes from the sample (times `MARGIN`), every weight range from the weights;
* one type serves all columns of a layer, although ratios and momenta differ by 2^10. Where that matters,
  column i is multiplied by 2^s_i and row i of W by 2^-s_i: exact, and only the binary point moves. s_i is
  free within  |W_i| 2^-C <= 2^s_i <= 2^A / |x_i|  (C, A: integer bits of weights and inputs), and both
  rounding errors together,  step_x^2 4^-s_i |W_i|^2 + step_w^2 4^s_i n_out Var(x_i),  are least at
  4^s_i = step_x |W_i| / (step_w sqrt(n_out Var(x_i)));
* rounding the weights shifts the mean of z by (W_q - W) <x>. The bias takes that back, free of charge;
* no sum wraps, whatever the input: its integer bits follow from the largest values the types can hold.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ._fixed import FixedType, integer_bits

F64 = NDArray[np.float64]

MARGIN = 1.5  # the sample's extremes are not those of all jets
ALIGN_BITS = 3  # columns whose ranges differ by fewer bits share one type without a shift
MAX_INPUT_BITS = 64
SLOPE = 0.01  # of leaky_relu on negative values
TABLE_INTEGER = {"tanh": 3, "sigmoid": 4}  # hls4ml tabulates tanh on [-4, 4) and sigmoid on [-8, 8)
TABLE_BITS = 12

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "linear")
_BLOCK = 8192


class NetworkLike(Protocol):
    """What an emitter asks of a network; `shadowprune.Network` has it."""

    @property
    def activation(self) -> str: ...
    @property
    def weights(self) -> Sequence[NDArray[np.float32]]: ...
    @property
    def biases(self) -> Sequence[NDArray[np.float32]]: ...


@dataclass
class Ranges:
    """What a sample says: per layer the extremes of its sums z and the mean of its inputs."""

    column_max: F64
    column_var: F64
    means: list[F64]
    low: list[float]
    high: list[float]


@dataclass
class DenseLayer:
    """One dense layer and its activation; weights and biases are on the grids of their types.

    `result_type` is that of the sum, `output_type` that of the activation (the same if there is none).
    """

    name: str
    activation: str
    weights: F64
    bias: F64
    weight_type: FixedType
    bias_type: FixedType
    accum_type: FixedType
    result_type: FixedType
    output_type: FixedType
    table_size: int | None = None


@dataclass
class Plan:
    """A network in fixed point. `shifts` and `aligned_type` are None where columns need no alignment."""

    input_type: FixedType
    shifts: NDArray[np.int64] | None
    aligned_type: FixedType | None
    layers: list[DenseLayer] = field(default_factory=list)

    @property
    def n_inputs(self) -> int:
        return int(self.layers[0].weights.shape[0])


def activate(kind: str, z: F64) -> F64:
    """The activation in float64."""
    if kind == "relu":
        return np.maximum(z, 0.0)
    if kind == "leaky_relu":
        return np.where(z > 0, z, SLOPE * z)
    if kind == "tanh":
        return np.tanh(z)
    if kind == "sigmoid":
        return 0.5 * (1.0 + np.tanh(0.5 * z))
    return z


def measure(network: NetworkLike, X: NDArray[np.floating]) -> Ranges:
    """One float64 forward pass over `X` (n, n_inputs), in blocks of rows.

    Returns
    -------
    Ranges
    """
    weights = [np.asarray(w, np.float64) for w in network.weights]
    biases = [np.asarray(b, np.float64) for b in network.biases]
    last = len(weights) - 1
    sums = [np.zeros(len(w)) for w in weights]
    low, high = [math.inf] * len(weights), [-math.inf] * len(weights)
    for start in range(0, len(X), _BLOCK):
        h = np.asarray(X[start : start + _BLOCK], np.float64)
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            sums[i] += h.sum(axis=0)
            z = h @ w + b
            low[i], high[i] = min(low[i], float(z.min())), max(high[i], float(z.max()))
            h = z if i == last else activate(network.activation, z)
    return Ranges(
        column_max=np.abs(X).max(axis=0).astype(np.float64),
        column_var=X.var(axis=0, dtype=np.float64),
        means=[s / len(X) for s in sums],
        low=low,
        high=high,
    )


def make_plan(
    network: NetworkLike, ranges: Ranges | None, precision: FixedType | int, addressed: bool = True
) -> Plan:
    """Choose every type and put every weight on its grid.

    Parameters
    ----------
    network : Network
    ranges : Ranges or None
        From `measure`; may be None only if `precision` is a type.
    precision : int or FixedType
        Total bits, integer bits following from `ranges`; or one type for inputs, weights and results alike.
    addressed : bool
        Whether the back-end takes the address of tanh and sigmoid tables from the sum by dropping bits. Then
        the sum is rounded to the grid of the table, and the look-up gives the nearest entry, not a lower one.
    """
    shifts, input_type, aligned = _input_types(network, ranges, precision)
    plan = Plan(input_type, shifts, aligned)
    x_type = aligned or input_type
    last = len(network.weights) - 1
    for i, (w32, b32) in enumerate(zip(network.weights, network.biases, strict=True)):
        w, b = np.asarray(w32, np.float64), np.asarray(b32, np.float64)
        mean = None if ranges is None else ranges.means[i]
        if i == 0 and shifts is not None:
            w = np.ldexp(w, -shifts[:, None])
            mean = None if mean is None else np.ldexp(mean, shifts)
        kind = "linear" if i == last else network.activation
        if isinstance(precision, FixedType):
            weight_type = FixedType(precision.width, precision.integer)
            result = output = precision
        else:
            assert ranges is not None
            weight_type = FixedType(precision, 1 + integer_bits(float(np.abs(w).max())))
            result, output = _result_types(kind, ranges.low[i], ranges.high[i], precision)
        table = None
        if kind in TABLE_INTEGER:
            result, table = _table_address(kind, result, addressed)
        wq = weight_type.cast(w)
        if mean is not None:
            b = b + mean @ (w - wq)
        accum, bias_type = _accumulator(wq, b, x_type, weight_type, result)
        name, bq = f"fc{i + 1}", bias_type.cast(b)
        plan.layers.append(
            DenseLayer(name, kind, wq, bq, weight_type, bias_type, accum, result, output, table)
        )
        x_type = output
    _report(network, plan, ranges, given=isinstance(precision, FixedType))
    return plan


def _input_types(
    network: NetworkLike, ranges: Ranges | None, precision: FixedType | int
) -> tuple[NDArray[np.int64] | None, FixedType, FixedType | None]:
    if isinstance(precision, FixedType):
        return None, precision, None
    assert ranges is not None
    bits = precision
    w = np.asarray(network.weights[0], np.float64)
    row = np.abs(w).max(axis=1)
    live = (ranges.column_max > 0) & (row > 0)
    if not live.any():
        return None, FixedType(bits, 1), None
    largest = ranges.column_max * MARGIN
    up = -np.frexp(largest)[1].astype(np.int64)  # |x 2^up| < 1
    integer = 1 - int(up[live].min())
    if np.ptp(up[live]) < ALIGN_BITS:
        return None, FixedType(bits, integer), None
    reach = np.frexp(row)[1].astype(np.int64)  # |W_i| < 2^reach
    weight_integer = int((reach - up)[live].max())
    # twice the logarithm of the 4^s_i above; a column that never varies has no rounding error to balance
    x_error = np.sqrt((w**2).sum(axis=1)) * 2.0 ** (1 - bits)
    w_error = np.sqrt(w.shape[1] * ranges.column_var) * 2.0 ** (weight_integer + 1 - bits)
    balance = live & (w_error > 0)
    best = np.rint(0.5 * np.log2(np.divide(x_error, w_error, out=np.ones_like(row), where=balance)))
    shifts = np.where(balance, np.clip(best.astype(np.int64), reach - weight_integer, up), up)
    shifts = np.clip(shifts, shifts[live].min(), shifts[live].max())  # columns without effect cost no bits
    fractional = int(shifts.max()) + bits - 1
    wide = FixedType(integer + fractional, integer)
    if wide.width > MAX_INPUT_BITS:
        small, large = ranges.column_max[live].min(), ranges.column_max[live].max()
        raise ValueError(
            f"X has columns up to {small:.3g} and {large:.3g}: an input type for both needs {wide.width} "
            f"bits, more than {MAX_INPUT_BITS}; bring them to more similar units"
        )
    return shifts, wide, FixedType(bits, 1)


def _result_types(kind: str, low: float, high: float, bits: int) -> tuple[FixedType, FixedType]:
    """Types of the sum, which lies between `low` and `high`, and of its activation."""
    if kind == "relu":
        # one bit more, the sign: on the same grid relu itself rounds nothing
        integer = integer_bits(max(high, 0.0), MARGIN)
        return FixedType(bits + 1, integer + 1), FixedType(bits, integer, signed=False)
    result = FixedType(bits, 1 + integer_bits(max(-low, high), MARGIN))
    if kind == "leaky_relu":
        return result, FixedType(bits, 1 + integer_bits(max(-SLOPE * low, high), MARGIN))
    if kind == "tanh":
        return result, FixedType(bits, 1)
    if kind == "sigmoid":
        return result, FixedType(bits, 0, signed=False)
    return result, result


def _table_address(kind: str, result: FixedType, addressed: bool) -> tuple[FixedType, int | None]:
    """Type of the sum in front of a table, and its number of entries (None: the back-end's)."""
    integer = TABLE_INTEGER[kind]
    if not addressed:
        # in Quartus projects the table of tanh has 1024 entries even where another number is asked for
        return FixedType(
            max(result.width, integer + 1), integer
        ), 2**TABLE_BITS if kind == "sigmoid" else None
    width = min(max(result.width, integer + 1), TABLE_BITS)
    return FixedType(width, integer), 2**width


def _accumulator(
    w: F64, b: F64, x: FixedType, weight: FixedType, result: FixedType
) -> tuple[FixedType, FixedType]:
    """Types of the sum and of the bias it starts from.

    Integer bits: the largest products of either sign, summed. Fractional bits: those of a product, but no
    more than log2(n_in) + 2 beyond the result's: cutting n_in products then costs an eighth of its step.
    """
    up, down = np.maximum(w * x.high, w * x.low), np.minimum(w * x.high, w * x.low)
    # what is dropped from n_in products and the rounding of the bias is less than one step of the result
    bound = max(float((up.sum(0) + np.abs(b)).max()), float((np.abs(b) - down.sum(0)).max())) + result.step
    exact = x.fractional + weight.fractional
    fractional = max(min(exact, result.fractional + len(w).bit_length() + 2), result.fractional)
    integer = max(1 + integer_bits(bound), result.integer)
    accum = FixedType(integer + fractional, integer, True, "TRN", "WRAP")
    bias_integer = 1 + integer_bits(float(np.abs(b).max()) + accum.step)
    return accum, FixedType(max(bias_integer + fractional, 2), bias_integer)


def _report(network: NetworkLike, plan: Plan, ranges: Ranges | None, given: bool) -> None:
    """Warn of nodes that do nothing and of types that are too small for the sample."""
    for layer, after in zip(plan.layers[:-1], network.weights[1:], strict=True):
        dead = int((np.asarray(after) == 0).all(axis=1).sum())
        if dead:
            warnings.warn(
                f"layer {layer.name}: {dead} of {len(after)} nodes have no outgoing weight but zero; they "
                "cost multiplications and change nothing: take them out with network.reduce()",
                UserWarning,
                stacklevel=4,
            )
    for text in _overflows(network, plan, ranges) if given else ():
        warnings.warn(f"{text}; use precision='auto:<bits>' or more integer bits", UserWarning, stacklevel=4)


def _overflows(network: NetworkLike, plan: Plan, ranges: Ranges | None) -> list[str]:
    """What a type given by the user cannot hold; types from ranges hold what matters."""
    found = []

    def check(what: str, kind: FixedType, low: float, high: float) -> None:
        if low < kind.low - kind.step or high > kind.high + kind.step:
            worst = low if kind.low - low > high - kind.high else high
            found.append(f"{what} of {worst:.4g} does not fit {kind}")

    if ranges is not None:
        check("an input", plan.input_type, 0.0, float(ranges.column_max.max()))
    for i, layer in enumerate(plan.layers):
        if i or plan.shifts is None:
            w = np.asarray(network.weights[i])
            check(f"layer {layer.name}: a weight", layer.weight_type, float(w.min()), float(w.max()))
        if ranges is None:
            continue
        # below zero relu does not care, beyond its table neither does tanh
        reach = 2.0 ** (TABLE_INTEGER.get(layer.activation, 1000) - 1)
        z = np.clip([ranges.low[i], ranges.high[i]], 0.0 if layer.activation == "relu" else -reach, reach)
        check(f"layer {layer.name}: a sum", layer.result_type, z[0], z[1])
        h = activate(layer.activation, z)
        check(f"layer {layer.name}: a result", layer.output_type, h[0], h[1])
    return found
