"""Which fixed-point type every number of a network gets: from `Network` to `FixedNetwork`.

A layer computes  z_j = b_j + sum_i x_i W_ij.  Values up to R in B bits have the step 2^(ceil(log2 R) - B).

* every range comes from the sample (times `MARGIN`), every weight range from the weights;
* one type serves all columns of a layer, although ratios and momenta differ by 2^10. Where that matters,
  column i is multiplied by 2^s_i and row i of W by 2^-s_i: exact, and only the binary point moves. s_i is
  free within  |W_i| 2^-C <= 2^s_i <= 2^A / |x_i|  (C, A: integer bits of weights and inputs), and both
  rounding errors together,  step_x^2 4^-s_i |W_i|^2 + step_w^2 4^s_i n_out Var(x_i),  are least at
  4^s_i = step_x |W_i| / (step_w sqrt(n_out Var(x_i)));
* rounding the weights shifts the mean of z by (W_q - W) <x>. The bias takes that back, free of charge;
* sums are exact, whatever the input: their integer bits follow from the largest values the types can hold,
  their fractional bits are those of a product. Nothing is rounded but inputs, weights, and the result of an
  activation.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._checks import check_network, check_rows
from .fixedpoint import SLOPE, FixedLayer, FixedNetwork, FixedType, integer_bits, parse_precision

F64 = NDArray[np.float64]
Precision = FixedType | int  # a type for inputs, weights and results alike; or bits, ranges decide the rest

MARGIN = 1.5  # the sample's extremes are not those of all jets
ALIGN_BITS = 3  # columns whose ranges differ by fewer bits share one type without a shift
MAX_INPUT_BITS = 53
MAX_SUM_BITS = 62
LOGIT_BITS = 24  # float32 holds them
FEW_ROWS = 256
TABLE_INTEGER = {"tanh": 3, "sigmoid": 4}  # hls4ml tabulates tanh on [-4, 4) and sigmoid on [-8, 8)
TABLE_BITS = 12
_BLOCK = 8192


class NetworkLike(Protocol):
    """What `quantize` asks of a network; `shadowprune.Network` has it."""

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
class InputStage:
    """How columns reach the first layer: `FixedNetwork`'s attributes of these names."""

    input_type: FixedType
    offset: F64 | None = None
    shifts: NDArray[np.int64] | None = None
    aligned_type: FixedType | None = None


@dataclass
class LayerTypes:
    """What is chosen for a layer; all other types follow. `result`: None leaves the sum as it is."""

    weight: FixedType
    result: FixedType | None
    output: FixedType | None


def quantize(
    network: NetworkLike, precision: str | Sequence[str] = "auto:16", X: ArrayLike | None = None
) -> FixedNetwork:
    """A trained network in fixed point.

    Parameters
    ----------
    network : Network
        Takes the user's own columns and gives logits; ``clf.network_`` of a fitted classifier.
    precision : str or sequence of str, default="auto:16"
        ``"auto:16"``: 16 bits for inputs, weights and results of hidden layers, integer bits from the ranges,
        rounded (RND) and saturating (SAT). ``"fixed<8,3>"``: this one type for inputs and weights, and
        ``ufixed<8,3>`` for the results of relu, which have no sign; rounded and saturating unless it says
        ``"fixed<8,3,TRN,WRAP>"``. Without `X` nothing checks that it holds them. A sequence has one entry
        per dense layer, for its weights and its result, or the inputs' first and then those. Sums are exact
        and logits keep up to 24 bits of them, whatever the precision.
    X : array_like of shape (n, n_inputs), optional
        Sample in the columns and units of the network, a few thousand rows like those the firmware will
        see; jets of the training will do. The range of every number in the network is measured on it, in
        float64. Required for ``"auto:<bits>"``.

    Returns
    -------
    FixedNetwork

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, a width is zero, a weight is not finite, or a sum needs more than 62
        bits.

    Warns
    -----
    UserWarning
        If nodes have only zero weights behind them, rounding leaves a layer only zeros, `X` has few rows, or
        a given type is too small.

    Notes
    -----
    *Columns of different size.* Firmware has one type for all inputs. If the ranges of the columns differ by
    less than about a factor 8, that is all. Otherwise (pT of 600 GeV beside ratios of 0.5) the input type is
    wide enough for the largest column and fine enough for the smallest, and an alignment multiplies column i
    by a power of two and rounds it to the bits asked for, while row i of the first weights is divided by that
    power: exact, and neither inputs nor weights waste bits in the multipliers. The price is a wide input port
    (27 bits for jets at ``"auto:16"``; bits a column does not use may be tied to zero) and one rounding and
    saturation per column before the first layer.

    *Bits.* With H->bb jets and networks of 12 to 256 nodes the logits, which spread by 4, differ from float
    by (RMS) 0.001 at 16 bits, 0.003 at 14, 0.012 at 12 and 0.05 at 10. Below that, train for it: the
    estimators' ``precision=``.

    *tanh and sigmoid* are looked up in tables of up to 4096 entries. relu costs next to nothing.

    Examples
    --------
    >>> net = sp.Network([4, 8, 1], random_state=0)
    >>> sp.quantize(net, "fixed<8,3>")
    FixedNetwork(4-8-1, relu: inputs fixed<8,3>, weights fixed<8,3>, results ufixed<8,3> fixed<19,9>)
    """
    check_network(network)
    kinds = check_precision(precision, len(network.weights))
    n_inputs = network.weights[0].shape[0]
    if X is None and not all(isinstance(kind, FixedType) for kind in kinds):
        raise ValueError(
            f"X is missing: precision {precision!r} takes integer bits from a sample. Pass a few thousand "
            f"rows of the network's own columns, X (n, {n_inputs}), or a type such as "
            'precision="fixed<16,6>"'
        )
    ranges = None
    if X is not None:
        sample = check_rows(X, n_inputs)
        if len(sample) == 0:
            raise ValueError("X has no rows; ranges need a few thousand")
        ranges = measure(network, sample)
        if len(sample) < FEW_ROWS:
            warn(
                f"X has {len(sample)} rows; other jets may exceed ranges from so few, and saturate: pass "
                "some thousand"
            )
    stage = _input_stage(network, ranges, kinds[0])
    weights, biases = _moved(network, stage)
    means = None if ranges is None else [_aligned(stage, ranges.means[0]), *ranges.means[1:]]
    types = choose_types(weights, network.activation, ranges, kinds[1:])
    made = assemble(weights, biases, network.activation, stage, types, means)
    _report(network, made, ranges, [isinstance(kind, FixedType) for kind in kinds])
    return dataclasses.replace(made, input_names=getattr(network, "input_names", None))


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


def choose_types(
    weights: Sequence[F64], activation: str, ranges: Ranges | None, kinds: Sequence[Precision]
) -> list[LayerTypes]:
    """Types of every layer, from the precision asked for and the ranges seen."""
    chosen = []
    last = len(weights) - 1
    for i, (w, kind) in enumerate(zip(weights, kinds, strict=True)):
        phi = "linear" if i == last else activation
        if isinstance(kind, FixedType):
            weight = FixedType(kind.width, kind.integer)
            result: FixedType | None = kind
            output = kind
            if phi == "relu":
                modes = kind.rounding, kind.saturation
                result, output = None, FixedType(kind.width, kind.integer, False, *modes)
        else:
            assert ranges is not None
            weight = FixedType(kind, 1 + integer_bits(float(np.abs(w).max())))
            result, output = _result_types(phi, ranges.low[i], ranges.high[i], kind)
        if phi in TABLE_INTEGER:
            result = _table_address(phi, result)
        chosen.append(LayerTypes(weight, result, output) if i < last else LayerTypes(weight, None, None))
    return chosen


def assemble(
    weights: Sequence[F64],
    biases: Sequence[F64],
    activation: str,
    stage: InputStage,
    types: Sequence[LayerTypes],
    means: Sequence[F64] | None = None,
) -> FixedNetwork:
    """Put every number on its grid.

    Parameters
    ----------
    weights, biases : sequence of ndarray, float64
        As the first layer sees the aligned columns.
    activation : str
    stage : InputStage
    types : sequence of LayerTypes
    means : sequence of ndarray, optional
        Mean of each layer's inputs: what the rounding of weights shifts is then taken off the biases.

    Raises
    ------
    ValueError
        If a sum needs more than 62 bits.
    """
    x = stage.aligned_type or stage.input_type
    layers = []
    for i, (w, chosen) in enumerate(zip(weights, types, strict=True)):
        phi = "linear" if i == len(weights) - 1 else activation
        wq = chosen.weight.cast(w)
        b = biases[i] if means is None else biases[i] + means[i] @ (w - wq)
        accum, bias = sum_types(wq, b, x, chosen.weight)
        name = f"fc{i + 1}"
        if accum.width > MAX_SUM_BITS:
            raise ValueError(
                f"layer {name}: an exact sum of {len(w)} products of {x.bare} and {chosen.weight.bare} needs "
                f"{accum.width} bits, more than {MAX_SUM_BITS}: ask for fewer bits, such as "
                'precision="auto:16"'
            )
        result = chosen.result or accum
        output = chosen.output or result
        if chosen.output is None and result.width > LOGIT_BITS:
            result = output = FixedType(LOGIT_BITS, result.integer)
        table = None
        if phi in TABLE_INTEGER:
            table = output.cast(_core.fixed_table(phi, 2**result.width))
        layers.append(
            FixedLayer(name, phi, wq, bias.cast(b), chosen.weight, bias, accum, result, output, table)
        )
        x = output
    return FixedNetwork(stage.input_type, stage.offset, stage.shifts, stage.aligned_type, tuple(layers))


def sum_types(w: F64, b: F64, x: FixedType, weight: FixedType) -> tuple[FixedType, FixedType]:
    """Types of the sum and of the bias it starts from.

    Fractional bits: those of a product. Integer bits: the largest products of either sign, summed.
    """
    fractional = x.fractional + weight.fractional
    up, down = np.maximum(w * x.high, w * x.low), np.minimum(w * x.high, w * x.low)
    step = 2.0**-fractional  # the bias may be rounded up by half of that
    bound = max(float((up.sum(0) + np.abs(b)).max()), float((np.abs(b) - down.sum(0)).max())) + step
    integer = max(1 + integer_bits(bound), 2 - fractional)
    bias_integer = max(1 + integer_bits(float(np.abs(b).max()) + step), 2 - fractional)
    accum = FixedType(integer + fractional, integer, True, "TRN", "WRAP")
    return accum, FixedType(bias_integer + fractional, bias_integer)


def _moved(network: NetworkLike, stage: InputStage) -> tuple[list[F64], list[F64]]:
    """Weights and biases for aligned columns."""
    weights = [np.asarray(w, np.float64) for w in network.weights]
    biases = [np.asarray(b, np.float64) for b in network.biases]
    if stage.shifts is not None and stage.offset is not None:
        biases[0] = biases[0] + stage.offset @ weights[0]
        weights[0] = np.ldexp(weights[0], -stage.shifts[:, None])
    return weights, biases


def _aligned(stage: InputStage, x: F64) -> F64:
    if stage.shifts is None or stage.offset is None:
        return x
    return np.asarray(np.ldexp(x - stage.offset, stage.shifts))


def _input_stage(network: NetworkLike, ranges: Ranges | None, precision: Precision) -> InputStage:
    if isinstance(precision, FixedType):
        return InputStage(precision)
    assert ranges is not None
    bits = precision
    w = np.asarray(network.weights[0], np.float64)
    row = np.abs(w).max(axis=1)
    live = (ranges.column_max > 0) & (row > 0)
    if not live.any():
        return InputStage(FixedType(bits, 1))
    largest = ranges.column_max * MARGIN
    up = -np.frexp(largest)[1].astype(np.int64)  # |x 2^up| < 1
    integer = 1 - int(up[live].min())
    if np.ptp(up[live]) < ALIGN_BITS:
        return InputStage(FixedType(bits, integer))
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
            f"X has columns up to {small:.3g} and {large:.3g}: an input type of fc1 for both, {wide.bare}, "
            f"needs {wide.width} bits, more than {MAX_INPUT_BITS}; bring them to more similar units, or ask "
            f'for fewer bits than "auto:{bits}"'
        )
    return InputStage(wide, np.zeros(len(shifts)), shifts, FixedType(bits, 1))


def _result_types(phi: str, low: float, high: float, bits: int) -> tuple[FixedType | None, FixedType]:
    """Types of what is activated, from a sum between `low` and `high`, and of the activation."""
    if phi == "relu":
        return None, FixedType(bits, integer_bits(max(high, 0.0), MARGIN), signed=False)
    result = FixedType(bits, 1 + integer_bits(max(-low, high), MARGIN))
    if phi == "leaky_relu":
        return result, FixedType(bits, 1 + integer_bits(max(-SLOPE * low, high), MARGIN))
    if phi == "tanh":
        return result, FixedType(bits, 1)
    if phi == "sigmoid":
        return result, FixedType(bits, 0, signed=False)
    return result, result


def _table_address(phi: str, result: FixedType | None) -> FixedType:
    """Type of the sum in front of a table: one value per entry, so that rounding finds the nearest."""
    integer = TABLE_INTEGER[phi]
    width = TABLE_BITS if result is None else min(max(result.width, integer + 1), TABLE_BITS)
    return FixedType(width, integer)


# ---- what is reported


def warn(text: str) -> None:
    """A UserWarning that points at the caller outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(__package__ + "."):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)


def warn_of_idle(weights: Sequence[NDArray[np.floating]]) -> None:
    """Warn of nodes that change no output, their outgoing weights all being zero."""
    for i, after in enumerate(weights[1:], 1):
        idle = int((np.asarray(after) == 0).all(axis=1).sum())
        if idle:
            warn(
                f"layer fc{i}: {idle} of {len(after)} nodes have no outgoing weight but zero; they cost "
                "multiplications and change nothing: take them out with network.reduce(), or ask for more "
                "bits if rounding made the zeros"
            )


def _report(network: NetworkLike, made: FixedNetwork, ranges: Ranges | None, given: Sequence[bool]) -> None:
    """Warn of nodes that do nothing and of types that are too small for the sample."""
    for before, layer in zip(network.weights, made.layers, strict=True):
        if np.any(before) and not layer.weights.any():
            warn(
                f"layer {layer.name}: every weight rounds to zero in {layer.weight_type.bare}, so that its "
                f"results never change; its largest is {float(np.abs(before).max()):.3g}: ask for more "
                "fractional bits, that is fewer integer bits or precision='auto:<bits>'"
            )
    warn_of_idle(network.weights)
    for text in _overflows(network, made, ranges, given):
        warn(f"{text}; use precision='auto:<bits>' or more integer bits")


def _overflows(
    network: NetworkLike, made: FixedNetwork, ranges: Ranges | None, given: Sequence[bool]
) -> list[str]:
    """What a type given by the user cannot hold; types from ranges hold what matters."""
    found = []

    def check(what: str, kind: FixedType, low: float, high: float) -> None:
        if low < kind.low - kind.step or high > kind.high + kind.step:
            worst = low if kind.low - low > high - kind.high else high
            found.append(f"{what} of {worst:.4g} does not fit {kind}")

    if ranges is not None and given[0]:
        check("an input", made.input_type, 0.0, float(ranges.column_max.max()))
    for i, layer in enumerate(made.layers):
        if not given[i + 1]:
            continue
        if i or made.shifts is None:
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


# ---- checks


def check_precision(precision: object, n_layers: int) -> list[Precision]:
    """One entry for the inputs and one per dense layer.

    Raises
    ------
    ValueError, TypeError
        If there are more or fewer, or one cannot be read.
    """
    if isinstance(precision, str) or not isinstance(precision, Sequence):
        return [parse_precision(precision)] * (n_layers + 1)  # type: ignore[arg-type]
    kinds = [parse_precision(text) for text in precision]
    if len(kinds) == n_layers:
        kinds.insert(0, kinds[0])
    if len(kinds) != n_layers + 1:
        raise ValueError(
            f"precision must be one string, one per dense layer ({n_layers}), or the inputs' and then those; "
            f"got {len(kinds)}"
        )
    return kinds
