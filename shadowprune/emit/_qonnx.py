"""QONNX files: fixed-point networks as ONNX with Quant nodes, computing the same bits.

A Quant node clips to the integers of a type, then rounds: ROUND is RND_CONV, FLOOR is TRN. QONNX has no RND
(its HALF_UP rounds away from zero) and no WRAP. So RND is written as FLOOR after half a step, exactly: a sum
has the half step in its bias; the user's column x, which is on no grid, is floored to half steps before,

    floor(v + 1/2) = floor((floor(2 v) + 1) / 2).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_rows
from ..fixedpoint import SLOPE, FixedLayer, FixedNetwork, FixedType, integer_bits
from ..quantization import TABLE_INTEGER
from ._exact import check_fixed, sum_ranges
from ._files import check_file, write_golden
from ._onnx import Graph

DOMAIN = "qonnx.custom_op.general"
FLOAT32_BITS = 24  # of integers that float32 holds
FLOAT64_BITS = 53


def qonnx(network: FixedNetwork, path: str | os.PathLike[str], X: ArrayLike | None = None) -> Path:
    """Write a fixed-point network as a QONNX model: MatMul, Add and activations between Quant nodes.

    Parameters
    ----------
    network : shadowprune.FixedNetwork
        From `shadowprune.quantize`.
    path : path
        Ends in ``.onnx``. Written under another name, then renamed.
    X : array-like (n, n_inputs), optional
        Rows in the network's columns, taken as float32. They and their logits are written beside the model
        as golden vectors: ``<name>_golden.npz`` with ``x`` and ``y``.

    Returns
    -------
    pathlib.Path
        The file, absolute.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, a result may wrap, as Quant nodes only saturate, inputs of the first
        layer or results have more than 24 bits, or sums more than 53: no executor would have the same bits.
    ImportError
        Without the package onnx: ``pip install "shadowprune[onnx]"``.

    Notes
    -----
    qonnx's executor gives the bits of ``network.forward`` for float32 rows. Opset 13, IR version 8, Quant
    nodes of domain ``qonnx.custom_op.general``; input ``x`` (batch, n_inputs) and output ``logits`` (batch,
    n_outputs), float32. RND becomes FLOOR with half a step added before, mostly in the bias. Sums of more
    than 24 bits, with biases that float32 does not hold, and wider input types are computed in float64
    between Cast nodes, and tanh and sigmoid are looked up by Gather:
    right in every executor of ONNX, but converters to firmware may not know these nodes.
    """
    check_fixed(network)
    reaches = sum_ranges(network)
    _check_widths(network)
    target = check_file(path, ".onnx")
    rows = None if X is None else check_rows(X, network.n_inputs).astype(np.float32)
    graph = QuantGraph("batch", network.n_inputs)
    tensor = _input_stage(graph, network)
    for layer, reach in zip(network.layers, reaches, strict=True):
        tensor = _layer(graph, layer, tensor, reach)
    graph.save(target, tensor, network.n_outputs, None)
    if rows is not None:
        write_golden(target, rows, network.forward(rows))
    return target


Reach = tuple[float, float]  # lowest and highest value there can be


class QuantGraph(Graph):
    """A graph with Quant nodes, from which float32 comes whatever goes in."""

    def __init__(self, batch: str | int, n_inputs: int) -> None:
        super().__init__(batch, n_inputs)
        self._doubles: set[str] = set()

    def add(
        self,
        kind: str,
        name: str,
        inputs: list[str],
        attributes: dict[str, Any] | None = None,
        domain: str = "",
    ) -> str:
        """As `Graph.add`, remembering which tensors are float64."""
        out = super().add(kind, name, inputs, attributes, domain)
        if kind not in ("Quant", "Cast") and not self._doubles.isdisjoint(inputs):
            self._doubles.add(out)
        return out

    def float64(self, name: str, tensor: str) -> str:
        """`tensor` in float64."""
        if tensor in self._doubles:
            return tensor
        out = self.to(f"{name}_double", tensor, "DOUBLE")
        self._doubles.add(out)
        return out

    def double(self, name: str, values: ArrayLike) -> str:
        """An initializer in float64."""
        self._doubles.add(name)
        return self.constant(name, values, np.float64)

    def float32(self, name: str, tensor: str) -> str:
        """`tensor` in float32."""
        return self.to(f"{name}_single", tensor, "FLOAT") if tensor in self._doubles else tensor

    def quant(self, name: str, tensor: str, kind: FixedType, rounding: str = "FLOOR") -> str:
        """Clip `tensor` to the values of `kind` and round it; float32 comes out."""
        numbers = {"scale": kind.step, "zero": 0.0, "bits": float(kind.width)}
        constants = [self.constant(f"{name}_{what}", value) for what, value in numbers.items()]
        modes = {"signed": int(kind.signed), "narrow": 0, "rounding_mode": rounding}
        return self.add("Quant", name, [tensor, *constants], modes, DOMAIN)

    def cast(self, name: str, tensor: str, kind: FixedType, grid: int | None, halved: bool = False) -> str:
        """Cast `tensor`, whose values have `grid` fractional bits (None: on no grid), into `kind`.

        `halved`: half a step of `kind` was added already.
        """
        if grid is not None and grid <= kind.fractional:
            return self.quant(name, tensor, kind)
        if kind.rounding == "RND_CONV":
            return self.quant(name, tensor, kind, "ROUND")
        if kind.rounding == "RND" and not halved:
            if grid is None:
                halves = FixedType(kind.width + 1, kind.integer, kind.signed)
                long = tensor in self._doubles
                tensor = self.quant(f"{name}_halves", tensor, halves)
                tensor = self.float64(f"{name}_halves", tensor) if long else tensor
            half = self.constant(
                f"{name}_half", kind.step / 2, np.float64 if tensor in self._doubles else np.float32
            )
            tensor = self.add("Add", f"{name}_up", [tensor, half])
        return self.quant(name, tensor, kind)

    def to(self, name: str, tensor: str, kind: str) -> str:
        """A Cast node to the ONNX type `kind`."""
        return self.add("Cast", name, [tensor], {"to": getattr(self.types, kind)})


def _input_stage(graph: QuantGraph, network: FixedNetwork) -> str:
    _check_saturates("inputs", network.input_type, (-np.inf, np.inf))
    long = network.input_type.width >= FLOAT32_BITS  # half a step more than float32 holds
    tensor = graph.cast("input", graph.float64("x", "x") if long else "x", network.input_type, None)
    if network.shifts is None or network.aligned_type is None:
        return tensor
    tensor = graph.float64("input_wide", tensor) if long else tensor
    dtype = np.float64 if long else np.float32
    if network.offset is not None and network.offset.any():
        tensor = graph.add("Sub", "offset", [tensor, graph.constant("offset_by", network.offset, dtype)])
    scale = graph.constant("shift_by", np.ldexp(1.0, network.shifts), dtype)
    tensor = graph.add("Mul", "shift", [tensor, scale])
    _check_saturates("inputs", network.aligned_type, (-np.inf, np.inf))
    grid = network.input_type.fractional - int(network.shifts.min())
    return graph.cast("aligned", tensor, network.aligned_type, grid)


def _layer(graph: QuantGraph, layer: FixedLayer, tensor: str, reach: Reach) -> str:
    """One dense layer and its activation; `reach` is how far its sums go."""
    name, phi, result, output = layer.name, layer.activation, layer.result_type, layer.output_type
    grid = layer.accum_type.fractional
    whole = _holds(result, grid, reach)  # the sum enters the activation as it is
    rounded = output if whole and phi in ("relu", "linear") else result
    halved = rounded.rounding == "RND" and grid > rounded.fractional
    bias = layer.bias + (rounded.step / 2 if halved else 0)
    bias_type = FixedType(max(2, 1 + integer_bits(float(np.abs(bias).max())) + grid), 0)
    bias_type = FixedType(bias_type.width, bias_type.width - grid)

    def constant(what: str, values: NDArray[np.float64], kind: FixedType) -> str:
        if (values == values.astype(np.float32)).all():
            return graph.quant(f"{name}_{what}", graph.constant(f"{name}_{what}_value", values), kind)
        return graph.double(f"{name}_{what}_value", values)  # Quant would give float32

    operands = {
        "input": tensor,
        "weights": constant("weights", layer.weights, layer.weight_type),
        "bias": constant("bias", bias, bias_type),
    }
    if layer.accum_type.width >= FLOAT32_BITS:  # the half step may take one bit more
        operands = {what: graph.float64(f"{name}_{what}", one) for what, one in operands.items()}
    tensor = graph.add("MatMul", f"{name}_matmul", [operands["input"], operands["weights"]])
    tensor = graph.add("Add", name, [tensor, operands["bias"]])

    if not whole:
        _check_saturates(f"the sums of {name}", result, reach)
        tensor = graph.cast(f"{name}_result", tensor, result, grid, halved)
        grid, halved = min(grid, result.fractional), False
        reach = max(reach[0], result.low), min(reach[1], result.high)
    tensor, grid, reach = _activation(graph, layer, tensor, grid, reach)
    if not _holds(output, grid, reach):
        _check_saturates(f"the results of {name}", output, reach)
        return graph.cast(f"{name}_output", tensor, output, grid, halved)
    return graph.float32(name, tensor)


def _activation(
    graph: QuantGraph, layer: FixedLayer, tensor: str, grid: int, reach: Reach
) -> tuple[str, int, Reach]:
    """The tensor after the activation, its fractional bits, and how far it goes."""
    name, phi = layer.name, layer.activation
    low, high = reach
    if phi == "relu":
        return graph.add("Relu", f"{name}_relu", [tensor]), grid, (max(low, 0.0), max(high, 0.0))
    if phi == "leaky_relu":
        slope = layer.slope_type
        alpha = float(slope.cast(SLOPE))
        if layer.result_type.width + slope.width < FLOAT32_BITS:
            tensor = graph.add("LeakyRelu", f"{name}_leaky_relu", [tensor], {"alpha": alpha})
        else:  # products too long for float32; ONNX's own node may have no other
            tensor = graph.float64(f"{name}_result", tensor)
            slanted = graph.constant(f"{name}_slope", alpha, np.float64)
            slanted = graph.add("Mul", f"{name}_below", [tensor, slanted])
            tensor = graph.add("Max", f"{name}_leaky_relu", [tensor, slanted])
        return tensor, grid + slope.fractional, (low * alpha if low < 0 else low, high)
    if layer.table is None:
        return tensor, grid, reach
    n = len(layer.table)
    scale = graph.constant(f"{name}_per_entry", n / 2.0 ** TABLE_INTEGER[phi])
    tensor = graph.add("Mul", f"{name}_address", [tensor, scale])
    tensor = graph.to(f"{name}_whole", tensor, "INT64")
    ends = [graph.constant(f"{name}_{what}", i, np.int64) for what, i in (("first", 0), ("final", n - 1))]
    middle = graph.constant(f"{name}_middle", n // 2, np.int64)
    tensor = graph.add("Add", f"{name}_entry", [tensor, middle])
    tensor = graph.add("Clip", f"{name}_within", [tensor, *ends])
    table = graph.constant(f"{name}_table", layer.table)
    tensor = graph.add("Gather", f"{name}_{phi}", [table, tensor])
    return tensor, layer.output_type.fractional, (float(layer.table.min()), float(layer.table.max()))


def _holds(kind: FixedType, grid: int, reach: Reach) -> bool:
    """Whether a cast into `kind` changes nothing."""
    return grid <= kind.fractional and kind.low <= reach[0] and reach[1] <= kind.high


def _check_widths(network: FixedNetwork) -> None:
    """Refuse what the float32 of Quant nodes, and the float64 between, do not hold."""
    kinds = [("the inputs of fc1", network.dense_input, FLOAT32_BITS)]
    for layer in network.layers:
        kinds.append((f"the sums of {layer.name}", layer.accum_type, FLOAT64_BITS))
        kinds.append((f"the results of {layer.name}", layer.output_type, FLOAT32_BITS))
    for what, kind, most in kinds:
        if kind.width > most:
            asked = FixedType(16, min(kind.integer, 16)).bare
            raise ValueError(
                f"{what} are {kind.bare}, more than the {most} bits that QONNX computes exactly: make the "
                f'network with fewer, such as precision="auto:16" or "{asked}"'
            )


def _check_saturates(what: str, kind: FixedType, reach: Reach) -> None:
    # rounding up may leave the range by itself
    if kind.saturation == "WRAP" and not (kind.low <= reach[0] and reach[1] <= kind.high - kind.step):
        raise ValueError(
            f"{what} may wrap in {kind}, and QONNX has only saturation: make the network with SAT, such as "
            f'precision="{FixedType(kind.width, kind.integer, True, kind.rounding)}"'
        )
