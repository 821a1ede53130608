"""Fixed-point networks as da4ml's logic: adders, shifts and multiplexers in place of multipliers.

da4ml writes a matrix of constants times a vector as a tree of additions that share terms (C. Sun et al.,
ACM TRETS 2025, doi:10.1145/3777387). Every operation is traced with the range of its operands; its cost is
an estimate of the LUTs, its latency the number of adders in a row. The logic starts at the type of the first
dense layer: the input stage, which only moves binary points, is the user's.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_rows
from .._extras import require
from ..fixedpoint import SLOPE, FixedLayer, FixedNetwork, FixedType
from ..quantization import TABLE_INTEGER
from ._exact import sum_ranges

MAX_WEIGHT_BITS = 24  # da4ml takes constants as float32
MAX_PORT_BITS = 32
CAST_BITS = 31  # of values that da4ml's emulator casts; the Verilog has no such limit
EMULATOR_BITS = 62
_CASTS = (2, 3)  # da4ml's codes: relu with a cast, a cast
DECIMAL_DIGITS = 200  # da4ml computes constants in Decimal, whose 28 digits round those of narrow leaky_relu


@dataclass(frozen=True)
class Logic:
    """What da4ml made of a network.

    `luts` and `depths` have one entry per dense layer: estimated LUTs, and adders in a row up to its end.
    """

    network: FixedNetwork
    combinational: Any  # da4ml.types.CombLogic
    pipeline: Any  # da4ml.types.Pipeline
    luts: tuple[float, ...]
    depths: tuple[float, ...]
    adders_per_stage: int

    @property
    def stages(self) -> int:
        """Of the pipeline; a result comes out ``stages + 1`` clocks after its input was there."""
        return len(self.pipeline.solutions)

    @property
    def stages_of_layers(self) -> tuple[int, ...]:
        """Stages each layer adds; their sum is `stages`."""
        ends = [max(1, math.ceil(depth / self.adders_per_stage)) for depth in self.depths]
        return tuple(int(n) for n in np.diff([0, *np.maximum.accumulate(ends)]))

    @property
    def register_bits(self) -> int:
        """Flip-flops between the stages, at the input and at the output."""
        return int(self.pipeline.reg_bits)

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logits of the user's rows by da4ml's emulator, (n, n_outputs).

        Raises
        ------
        ValueError
            If the logic has numbers wider than the emulator computes; the Verilog has no such limit.
        """
        self._check_emulator()
        rows = aligned(self.network, check_rows(X, self.network.n_inputs))
        y = self.combinational.predict(rows * self.network.dense_input.step)
        return np.asarray(y, np.float64).reshape(len(rows), self.network.n_outputs)

    def _check_emulator(self) -> None:
        kif = require("da4ml.types", "rtl").minimal_kif
        for op in self.combinational.ops:
            width, casts = sum(kif(op.qint)), abs(op.opcode) in _CASTS
            if width > (most := CAST_BITS if casts else EMULATOR_BITS):
                raise ValueError(
                    f"{'a cast to' if casts else 'an operation of'} {width} bits is more than the {most} "
                    "that da4ml's emulator computes right: ask for fewer bits, or simulate the Verilog, "
                    "emit.verilog(...).simulate(), which has no such limit"
                )


def aligned(network: FixedNetwork, X: NDArray[np.floating]) -> NDArray[np.int64]:
    """What the input stage makes of the user's rows, in steps of ``network.dense_input``."""
    x = network.input_type.cast(X)
    if network.shifts is not None and network.aligned_type is not None:
        x = np.ldexp(x if network.offset is None else x - network.offset, network.shifts)
    return network.dense_input.integers(x)


def trace(network: FixedNetwork, *, adders_per_stage: int = 5, delay_slack: int = 2) -> Logic:
    """Build the logic of `network`.

    Parameters
    ----------
    network : FixedNetwork
    adders_per_stage : int
        Adders in a row between two registers.
    delay_slack : int
        Adders that a layer may have in a row beyond the fewest possible: more of them share more terms.
        -1: as many as sharing wants.

    Raises
    ------
    ValueError
        If a number is out of range, or the network uses what da4ml has not: RND_CONV, weights of more
        than 24 bits.
    ImportError
        Without da4ml: ``pip install "shadowprune[rtl]"``.
    """
    for name, value, least in (("adders_per_stage", adders_per_stage, 1), ("delay_slack", delay_slack, -1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be a whole number from {least}; got {value!r}")
    _check(network)
    tracing = require("da4ml.trace", "rtl")
    kind = _kif(network.dense_input)
    columns = [np.full(network.n_inputs, number) for number in kind]
    options = {"hard_dc": int(delay_slack)}
    hardware = tracing.HWConfig(1, -1, -1)  # a carry chain counts as one adder, whatever its width
    x = tracing.FixedVariableArray.from_kif(*columns, hwconf=hardware, solver_options=options)
    h, logic = x, None
    luts, depths = [0.0], []
    with decimal.localcontext() as context:
        context.prec = DECIMAL_DIGITS
        for layer in network.layers:
            h = _layer(tracing, h, layer)
            logic = tracing.comb_trace(x, h, keep_dead_inputs=True)
            luts.append(max(luts[-1], float(logic.cost)))
            depths.append(float(max(np.ravel(h.latency))))
        pipeline = tracing.to_pipeline(logic, adders_per_stage, retiming=False)
    each = tuple(float(d) for d in np.diff(luts))
    return Logic(network, logic, pipeline, each, tuple(depths), int(adders_per_stage))


def _kif(kind: FixedType) -> tuple[int, int, int]:
    """da4ml's way: sign bit, integer bits without it, fractional bits."""
    return int(kind.signed), kind.integer - kind.signed, kind.fractional


def _layer(tracing: Any, x: Any, layer: FixedLayer) -> Any:
    result, output, phi = layer.result_type, layer.output_type, layer.activation
    z = x @ layer.weights + layer.bias
    if layer.accum_type.width <= CAST_BITS:
        z = _cast(z, layer.accum_type)  # drops bits no sum reaches, for nothing; sums are exact without
    if phi == "relu" and result == layer.accum_type and output.saturation == "SAT" and not output.signed:
        return _cast(z, output)  # holding at zero is what relu does
    z = z if result == layer.accum_type else _cast(z, result)
    if phi == "relu":
        z = z.relu()
    elif phi == "leaky_relu":
        slope = float(layer.slope_type.cast(SLOPE))
        z = tracing.FixedVariableArray(
            np.array([_leaky(v, slope) for v in z._vars.ravel()]),
            z.solver_options,
            hwconf=z.hwconf,
        )
    elif layer.table is not None:
        n = len(layer.table)
        per_entry = n / 2.0 ** TABLE_INTEGER[phi]

        def entry(values: NDArray[np.float64]) -> NDArray[np.float64]:
            index = np.trunc(values * per_entry).astype(np.int64) + n // 2
            return np.asarray(layer.table)[np.clip(index, 0, n - 1)]

        z = z.apply(entry)  # becomes a table in the cast
    return z if phi == "linear" else _cast(z, output)


def _leaky(v: Any, slope: float) -> Any:
    # a multiplexer only where the sign is open: da4ml's has none to look at in constants
    return v if v.low >= 0 else v * slope if v.high <= 0 else v.msb_mux(v * slope, v)


def _cast(z: Any, kind: FixedType) -> Any:
    k, i, f = _kif(kind)
    return z.quantize(k, i, f, overflow_mode=kind.saturation, round_mode=kind.rounding)


def _check(network: FixedNetwork) -> None:
    sum_ranges(network)
    if network.dense_input.width > MAX_PORT_BITS:
        raise ValueError(
            f"the inputs of fc1, {network.dense_input.bare}, have more than {MAX_PORT_BITS} bits: ask "
            'quantize for fewer, such as precision="auto:16"'
        )
    for layer in network.layers:
        if layer.weight_type.width > MAX_WEIGHT_BITS:
            raise ValueError(
                f"layer {layer.name}: da4ml takes weights of at most {MAX_WEIGHT_BITS} bits, "
                f'got {layer.weight_type.bare}: ask quantize for fewer, such as precision="auto:16"'
            )
        for kind in (layer.result_type, layer.output_type):
            if kind.rounding == "RND_CONV":
                raise ValueError(
                    f"layer {layer.name}: da4ml has no RND_CONV, got {kind}; take RND or TRN, "
                    f'such as precision="fixed<{kind.width},{kind.integer},RND,{kind.saturation}>"'
                )
