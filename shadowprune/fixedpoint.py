"""Fixed point: types, and networks computed in integers as the firmware computes them.

A number of a type is an integer times its step 2^-fractional. The cast of x into a type is

    u = x 2^fractional;   TRN floor(u),  RND floor(u + 1/2),  RND_CONV the nearest integer, ties to even;

then SAT holds it at the limits of the type, WRAP takes it modulo 2^width: the vendors' ap_fixed. A
`FixedNetwork` computes, every operation exact but for the casts that are written,

    x_0 = cast(x, input_type), or with an alignment
    x_0 = cast((cast(x, input_type) - offset) 2^shifts, aligned_type)
    s   = b_l + sum over inputs of x_{l-1} W_l
    z   = cast(s, result_type)
    x_l = cast(phi(z), output_type)

* s is exact where accum_type holds every partial sum: `quantize` sees to that. In a narrower accum_type it
  is s = cast(b), then for one input after the other s = cast(s + cast(x_i W_i)), all to accum_type;
* result_type is that of s, unless the activation wants fewer bits;
* relu is max(z, 0); leaky_relu multiplies by the slope as slope_type holds it; tanh and sigmoid are taken
  from a table; linear layers have x_l = z, and those of the last layer are the logits.

The arithmetic is that of csrc/fixed.c.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._files import load_npz, save_npz

F64 = NDArray[np.float64]

MAX_BITS = 32  # of a type that a user names
SLOPE = 0.01  # of leaky_relu on negative values
FORMAT = "shadowprune fixed-point network"

_TEXT = re.compile(
    r"(?:ap_)?(?P<u>u?)fixed<\s*(?P<width>\d+)\s*,\s*(?P<integer>-?\d+)\s*"
    r"(?:,\s*(?:AP_)?(?P<rounding>RND_CONV|RND|TRN)\s*)?(?:,\s*(?:AP_)?(?P<saturation>SAT|WRAP)\s*)?>"
)


@dataclass(frozen=True)
class FixedType:
    """One ``ap_fixed`` type of the vendor tools.

    Parameters
    ----------
    width : int
        Bits in all.
    integer : int
        Bits left of the binary point, the sign included if there is one. May be negative or exceed `width`.
    signed : bool
    rounding : {"RND", "RND_CONV", "TRN"}
        Half up, half to even, towards minus infinity.
    saturation : {"SAT", "WRAP"}
        What happens to values that do not fit: held at the limit, or the upper bits dropped.
    """

    width: int
    integer: int
    signed: bool = True
    rounding: str = "RND"
    saturation: str = "SAT"

    def __str__(self) -> str:
        return f"{self.bare[:-1]},{self.rounding},{self.saturation}>"

    @property
    def bare(self) -> str:
        """The type without its modes, for constants that are on its grid already."""
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.integer}>"

    @property
    def fractional(self) -> int:
        """Bits right of the binary point."""
        return self.width - self.integer

    @property
    def step(self) -> float:
        """Distance of neighbouring values."""
        return 2.0**-self.fractional

    @property
    def low(self) -> float:
        """Least value."""
        return -(2.0 ** (self.integer - 1)) if self.signed else 0.0

    @property
    def high(self) -> float:
        """Largest value."""
        return 2.0 ** (self.integer - self.signed) - self.step

    @property
    def spec(self) -> _core.FixedSpec:
        """What the core takes."""
        return self.width, self.integer, self.signed, self.saturation == "SAT", self.rounding

    def cast(self, x: ArrayLike) -> F64:
        """Values of `x` as this type holds them, float64; exact while the type has at most 53 bits."""
        return np.asarray(self.integers(x) * self.step)

    def integers(self, x: ArrayLike) -> NDArray[np.int64]:
        """Values of `x` as this type holds them, in multiples of its step."""
        return _core.fixed_cast(self.spec, x)


def integer_bits(largest: float, margin: float = 1.0) -> int:
    """Smallest I with `largest` * `margin` < 2**I, the sign not counted; 0 if `largest` is 0."""
    return math.frexp(largest * margin)[1]


def parse_type(text: str) -> FixedType | None:
    """``"fixed<16,6>"``, ``"ufixed<8,3,TRN,WRAP>"`` as a `FixedType` (RND, SAT unless named), or None."""
    match = _TEXT.fullmatch(text.strip())
    if not match:
        return None
    modes = match["rounding"] or "RND", match["saturation"] or "SAT"
    return FixedType(int(match["width"]), int(match["integer"]), not match["u"], *modes)


def parse_precision(text: str) -> FixedType | int:
    """Read ``"auto:16"`` as the int 16, ``"fixed<16,6>"`` as a `FixedType` (RND, SAT unless named).

    Raises
    ------
    TypeError, ValueError
        If it is neither; the message shows what is understood.
    """
    wanted = f'"auto:<bits>" (2 to {MAX_BITS} bits), "fixed<width,integer>" or "fixed<width,integer,RND,SAT>"'
    if not isinstance(text, str):
        raise TypeError(f"precision must be a string, {wanted}; got {text!r}")
    if match := re.fullmatch(r"auto:(\d+)", text.strip()):
        bits = int(match[1])
        if 2 <= bits <= MAX_BITS:
            return bits
    elif (kind := parse_type(text)) and kind.signed and 2 <= kind.width <= MAX_BITS:
        return kind
    raise ValueError(f"precision must be {wanted}, signed because weights are; got {text!r}")


@dataclass(frozen=True, eq=False)
class FixedLayer:
    """One dense layer and its activation.

    Attributes
    ----------
    name : str
        ``"fc1"``, ``"fc2"``, ...
    activation : {"relu", "leaky_relu", "tanh", "sigmoid", "linear"}
    weights, bias : ndarray of shape (n_in, n_out) and (n_out,), float64
        On the grids of their types.
    weight_type, bias_type, accum_type, result_type, output_type : FixedType
        Of the numbers above, the sum, what enters the activation, and what leaves it; the last two are the
        same if there is no activation.
    table : ndarray of shape (n,), float64, or None
        Entries of tanh on [-4, 4) or sigmoid on [-8, 8), on the grid of `output_type`; n is a power of two.
        z takes entry trunc(z n / 8) + n / 2 (sigmoid: 16), kept between 0 and n - 1.
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
    table: F64 | None = None

    @property
    def slope_type(self) -> FixedType:
        """Type of the slope of leaky_relu."""
        return FixedType(self.output_type.width, -6, signed=False)

    def spec(self) -> Any:
        """What the core takes."""
        table = None if self.table is None else self.output_type.integers(self.table)
        return (
            self.weight_type.integers(self.weights), self.bias_type.integers(self.bias),
            self.weight_type.fractional, self.bias_type.fractional,
            self.accum_type.spec, self.result_type.spec, self.output_type.spec, self.activation,
            int(self.slope_type.integers(SLOPE)), self.slope_type.fractional, table,
        )  # fmt: skip


_TYPES = ("weight_type", "bias_type", "accum_type", "result_type", "output_type")


@dataclass(frozen=True, eq=False, repr=False)
class FixedNetwork:
    """A network in fixed point, computed in integers: what every firmware written from it must give.

    Made by `quantize`, or by an estimator trained with ``precision=``; the emitters read nothing else. The
    semantics stand at the head of `shadowprune.fixedpoint`.

    Parameters
    ----------
    input_type : FixedType
        What the user's columns are read as.
    offset, shifts : ndarray of shape (n_inputs,), float64 and int64, or None
        Column i becomes ``(x_i - offset[i]) * 2.0**shifts[i]``, exactly, offsets being on the grid of
        `input_type`, and is then cast to `aligned_type`. None where columns need no alignment.
    aligned_type : FixedType or None
    layers : tuple of FixedLayer
    input_names : tuple of str or None
        Names of the columns, where they are known.
    """

    input_type: FixedType
    offset: F64 | None
    shifts: NDArray[np.int64] | None
    aligned_type: FixedType | None
    layers: tuple[FixedLayer, ...]
    input_names: tuple[str, ...] | None = None
    _core: _core.Fixed = field(init=False)

    def __post_init__(self) -> None:
        aligned = self.aligned_type
        offset = None if self.offset is None else self.input_type_wide.integers(self.offset)
        core = _core.Fixed(
            self.input_type.spec,
            offset,
            None if self.shifts is None else self.shifts.astype(np.int32),
            None if aligned is None else aligned.spec,
            [layer.spec() for layer in self.layers],
        )
        object.__setattr__(self, "_core", core)

    @property
    def input_type_wide(self) -> FixedType:
        """A signed type on the grid of the inputs that holds every offset."""
        return FixedType(62, 62 - self.input_type.fractional)

    @property
    def dense_input(self) -> FixedType:
        """Type of what enters the first dense layer."""
        return self.aligned_type or self.input_type

    @property
    def widths(self) -> tuple[int, ...]:
        """Nodes per layer: inputs, hidden layers, outputs."""
        return (self.layers[0].weights.shape[0], *(layer.weights.shape[1] for layer in self.layers))

    @property
    def activation(self) -> str:
        """Activation of the hidden layers."""
        return self.layers[0].activation

    @property
    def n_inputs(self) -> int:
        return self.widths[0]

    @property
    def n_outputs(self) -> int:
        return self.widths[-1]

    def forward(self, X: ArrayLike) -> F64:
        """Logits, exactly as the firmware computes them.

        Parameters
        ----------
        X : array_like of shape (n, n_inputs)
            The user's own columns, finite.

        Returns
        -------
        ndarray of shape (n, n_outputs), float64
            Integers times the step of the last layer's `output_type`, of at most 24 bits in networks made by
            `quantize`: float32 holds them too.

        Raises
        ------
        ValueError, TypeError
            If X has another shape, or holds NaN, infinity or no numbers.
        """
        return self._core.forward(X)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to a file (npz with a JSON header, no pickle), whole or not at all.

        Parameters
        ----------
        path : path-like
            Name of the file, taken as it is.

        Returns
        -------
        pathlib.Path
        """
        header: dict[str, Any] = {
            "input_type": str(self.input_type),
            "aligned_type": None if self.aligned_type is None else str(self.aligned_type),
            "input_names": self.input_names,
            "layers": [
                {"name": layer.name, "activation": layer.activation}
                | {name: str(getattr(layer, name)) for name in _TYPES}
                for layer in self.layers
            ],
        }
        arrays: dict[str, NDArray[Any]] = {}
        if self.shifts is not None and self.offset is not None:
            arrays |= {"offset": self.offset, "shifts": self.shifts}
        for layer in self.layers:
            arrays |= {f"{layer.name}.weights": layer.weights, f"{layer.name}.bias": layer.bias}
            if layer.table is not None:
                arrays[f"{layer.name}.table"] = layer.table
        return save_npz(path, FORMAT, header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FixedNetwork:
        """Read a network written by `save`.

        Parameters
        ----------
        path : path-like
            Name of the file.

        Returns
        -------
        FixedNetwork

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is truncated or holds something else.
        """
        try:
            header, arrays = load_npz(path, FORMAT)
            layers = []
            for said in header["layers"]:
                types = {name: _read_type(said[name]) for name in _TYPES}
                name = said["name"]
                layer = FixedLayer(
                    name, said["activation"], arrays[f"{name}.weights"], arrays[f"{name}.bias"], **types,
                    table=arrays.get(f"{name}.table"),
                )  # fmt: skip
                layers.append(layer)
            aligned, names = header["aligned_type"], header["input_names"]
            return cls(
                _read_type(header["input_type"]), arrays.get("offset"), arrays.get("shifts"),
                None if aligned is None else _read_type(aligned), tuple(layers),
                names if names is None else tuple(names),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} is not a whole fixed-point network: {error}") from error

    def __reduce__(self) -> Any:
        parts = self.input_type, self.offset, self.shifts, self.aligned_type, self.layers, self.input_names
        return type(self), parts

    def __repr__(self) -> str:
        enters = self.input_type.bare + (f" -> {self.aligned_type.bare}" if self.aligned_type else "")
        return (
            f"FixedNetwork({'-'.join(map(str, self.widths))}, {self.activation}: inputs {enters}, weights "
            f"{_listed(layer.weight_type for layer in self.layers)}, results "
            f"{_listed(layer.output_type for layer in self.layers)})"
        )


def _listed(types: Any) -> str:
    names: Sequence[str] = [kind.bare for kind in types]
    return names[0] if len(set(names)) == 1 else " ".join(names)


def _read_type(text: str) -> FixedType:
    kind = parse_type(text)
    if kind is None:
        raise ValueError(f"{text!r} is no fixed-point type")
    return kind
