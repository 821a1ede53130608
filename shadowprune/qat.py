"""Quantisation-aware training: firmware's own coordinates from the start, its types from the hard finish on.

Columns are standardised by powers of two, x' = (x - m) 2^-e with e = round(log2(standard deviation)) and m,
near the mean, on the grid of x': an offset and a shift, both exact in fixed point, so that nothing is folded
into the first weights. Training sees x' as its type holds it. At the hard finish every layer gets its types;
from there on the forward pass sees weights and activations on their grids (csrc/quantise.c), on the reduced
network, so that gates and grids never meet. What the trained network computes is then a `FixedNetwork`.

With total bits given ("auto:8") a type gets the integer bits of least mean squared error on what is seen at
the switch: saturating a few values may cost less than a coarser step for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fixedpoint import FixedNetwork, FixedType, integer_bits
from .network import Network
from .quantization import (
    F64,
    MARGIN,
    MAX_INPUT_BITS,
    InputStage,
    LayerTypes,
    assemble,
    check_precision,
)

F32 = NDArray[np.float32]

MAX_TRAINED_BITS = 16  # csrc/packed.h
SAMPLE = 4096  # rows that decide integer bits
CANDIDATES = 6  # numbers of integer bits tried, from what holds everything downwards


class Quantiser:
    """Precision of one training run.

    Parameters
    ----------
    precision : str or sequence of str
        As in `quantize`; at most 16 bits, saturating.
    n_layers : int
        Dense layers.
    activation : str
        Of the hidden layers.

    Raises
    ------
    ValueError, TypeError
        If the precision cannot be read or trained with.
    """

    def __init__(self, precision: str | Sequence[str], n_layers: int, activation: str) -> None:
        if activation != "relu":
            raise ValueError(f'precision needs activation="relu"; got {activation!r}')
        kinds = check_precision(precision, n_layers)
        for kind in kinds:
            bits = kind.width if isinstance(kind, FixedType) else kind
            if bits > MAX_TRAINED_BITS:
                raise ValueError(
                    f"precision is {precision!r}; trainings take at most {MAX_TRAINED_BITS} bits, beyond "
                    "which quantize() after the training does as well"
                )
            if isinstance(kind, FixedType) and kind.saturation == "WRAP":
                raise ValueError(f"precision is {precision!r}; trainings saturate, WRAP has no gradient")
        self._inputs, self._kinds = kinds[0], kinds[1:]
        self.types: list[LayerTypes] | None = None

    def fit(self, X: NDArray[Any], mean: F64, scale: F64) -> None:
        """Choose offsets, shifts and the type of the inputs.

        Parameters
        ----------
        X : ndarray of shape (n, n_inputs)
        mean, scale : ndarray of shape (n_inputs,), float64
            Of the columns; zeros and ones leave them where they are.
        """
        self._shifts = -np.rint(np.log2(scale)).astype(np.int64)
        self._largest = np.abs(X).max(axis=0).astype(np.float64)
        if isinstance(self._inputs, FixedType):
            self.aligned = self._inputs
        else:
            sample = np.ldexp(X[:SAMPLE].astype(np.float64) - mean, self._shifts)
            self.aligned = best_type(sample, self._inputs, signed=True)
        step = np.ldexp(self.aligned.step, -self._shifts)  # of x', in the column's own units
        self.offset = np.rint(mean / step) * step

    @property
    def scale(self) -> F64:
        """2^e of every column."""
        return np.ldexp(1.0, -self._shifts)

    def stage(self, columns: NDArray[np.bool_]) -> InputStage:
        """How some of the columns reach the network."""
        shifts, largest = self._shifts[columns], self._largest[columns]
        fractional = self.aligned.fractional + int(shifts.max())
        integer = 1 + max(integer_bits(float(largest.max()), MARGIN), 1 - fractional)
        if integer + fractional > MAX_INPUT_BITS:
            raise ValueError(
                f"X has columns up to {largest.max():.3g} and with standard deviations down to "
                f"{2.0 ** -shifts.max():.3g}: an input type for both needs {integer + fractional} bits, "
                f"more than {MAX_INPUT_BITS}; bring them to more similar units"
            )
        return InputStage(
            FixedType(integer + fractional, integer), self.offset[columns], shifts, self.aligned
        )

    def transform(self, X: NDArray[Any]) -> F32:
        """Columns as the network sees them, (n, n_inputs)."""
        stage = self.stage(np.ones(X.shape[1], np.bool_))
        x = stage.input_type.cast(X)
        return self.aligned.cast(np.ldexp(x - self.offset, self._shifts)).astype(np.float32)

    def choose(self, network: Network, x: F32) -> list[tuple[Any, int, Any]]:
        """Choose the types of all layers; what `_core.Trainer.set_quantiser` takes.

        Parameters
        ----------
        network : Network
            As trained so far, reduced.
        x : ndarray of shape (n, n_inputs), float32
            Rows as it sees them.
        """
        h = x[:SAMPLE].astype(np.float64)
        types: list[LayerTypes] = []
        grids: list[tuple[Any, int, Any]] = []
        enters = self.aligned
        last = len(network.weights) - 1
        for i, (w32, b32, kind) in enumerate(zip(network.weights, network.biases, self._kinds, strict=True)):
            w = w32.astype(np.float64)
            h = np.maximum(h @ w + b32, 0.0)
            if isinstance(kind, FixedType):
                weight = FixedType(kind.width, kind.integer)
                output = FixedType(kind.width, kind.integer, False, kind.rounding)
            else:
                weight, output = best_type(w, kind, signed=True), best_type(h, kind, signed=False)
            types.append(LayerTypes(weight, None, output if i < last else None))
            fraction = enters.fractional + weight.fractional
            grids.append((weight.spec, fraction, output.spec if i < last else None))
            enters = output
        self.types = types
        return grids

    def finish(
        self, network: Network, columns: NDArray[np.bool_], scale: ArrayLike, shift: ArrayLike
    ) -> FixedNetwork:
        """Puts the weights of `network` on their grids; the rest as `fixed`."""
        for w, b, layer in zip(network.weights, network.biases, self.fixed(network).layers, strict=True):
            w[:], b[:] = layer.weights, layer.bias
        return self.fixed(network, columns, scale, shift)

    def fixed(
        self,
        network: Network,
        columns: NDArray[np.bool_] | None = None,
        scale: ArrayLike = 1.0,
        shift: ArrayLike = 0.0,
    ) -> FixedNetwork:
        """What the trained network computes.

        Parameters
        ----------
        network : Network
            As trained.
        columns : ndarray of bool, optional
            The columns of X it takes; without them it takes what `transform` gives.
        scale, shift : array_like of shape (n_outputs,) or ()
            The outputs are multiplied by `scale`, powers of two, and moved by `shift`.

        Raises
        ------
        ValueError
            Before `choose`, or if a sum needs more than 62 bits.
        """
        if self.types is None:
            raise ValueError("types are chosen at the hard finish, which this training did not reach")
        weights = [w.astype(np.float64) for w in network.weights]
        biases = [b.astype(np.float64) for b in network.biases]
        types = list(self.types)
        stage = InputStage(self.aligned) if columns is None else self.stage(columns)
        made = assemble(weights, biases, network.activation, stage, types)
        power = np.log2(np.broadcast_to(np.asarray(scale, float), biases[-1].shape)).astype(int)
        if not power.any() and not np.any(shift):
            return made
        # the last layer once more, its numbers moved to where the outputs are
        last = made.layers[-1]
        weights = [*(layer.weights for layer in made.layers[:-1]), np.ldexp(last.weights, power)]
        biases = [*(layer.bias for layer in made.layers[:-1]), np.ldexp(last.bias, power) + np.asarray(shift)]
        kind = last.weight_type
        integer, fractional = kind.integer + int(power.max()), kind.fractional - int(power.min())
        types[-1] = LayerTypes(FixedType(integer + fractional, integer), None, None)
        return assemble(weights, biases, network.activation, stage, types)


def best_type(values: F64, bits: int, *, signed: bool) -> FixedType:
    """The type of so many bits, rounding and saturating, of least mean squared error on `values`."""
    top = integer_bits(float(np.abs(values).max())) + signed
    choices = [FixedType(bits, top - i, signed) for i in range(CANDIDATES)]
    return min(choices, key=lambda kind: float(np.mean((kind.cast(values) - values) ** 2)))
