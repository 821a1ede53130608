"""What a network costs on an FPGA, counted and estimated before any vendor tool is opened.

A dense layer of n_in x n_out weights has n_in n_out multiplications; with reuse factor R,
ceil(n_in n_out / R) multipliers work in parallel. The LUTs are da4ml's estimate of the fully parallel logic
(R = 1), in which multiplications by constants are additions: no multiplier, no DSP. ``docs/firmware.md``
holds it against synthesis.
"""

from __future__ import annotations

import html
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np

from ._checks import check_network
from .fixedpoint import FixedNetwork
from .network import Network

__all__ = ["LayerResources", "Resources", "resources"]

_COLUMNS = ("nodes", "weights", "multiplications", "multipliers", "memory_bits", "luts", "stages")


@dataclass(frozen=True)
class LayerResources:
    """Of one dense layer with its activation, or of all together.

    Attributes
    ----------
    name : str
        ``"fc1"``, ..., or ``"total"``.
    nodes : int
        Of the layer; the total counts hidden nodes only.
    weights, multiplications : int
        n_in n_out, biases not counted.
    multipliers : int
        Working in parallel at the reuse factor.
    memory_bits : int or None
        Of weights and biases, if the network is in fixed point.
    luts : int or None
        da4ml's estimate for the logic unrolled completely, if the network is in fixed point.
    stages : int or None
        Stages it adds to the pipeline, five adders in a row each; 0 if its adders fit into the stage that the
        layer before began.
    """

    name: str
    nodes: int
    weights: int
    multiplications: int
    multipliers: int
    memory_bits: int | None
    luts: int | None
    stages: int | None


@dataclass(frozen=True)
class Resources:
    """Cost of a network per layer and in total; draws itself as a table in notebooks and by ``print``.

    Attributes
    ----------
    layers : tuple of LayerResources
    total : LayerResources
    reuse_factor : tuple of int
        Per layer.
    note : str
        What a column without numbers waits for; empty if there is none.
    """

    layers: tuple[LayerResources, ...]
    total: LayerResources
    reuse_factor: tuple[int, ...]
    note: str

    def _cells(self) -> list[list[str]]:
        head = ["layer", *(column.replace("_", " ").replace("luts", "LUTs") for column in _COLUMNS)]
        rows = [
            [layer.name, *(_shown(getattr(layer, column)) for column in _COLUMNS)]
            for layer in (*self.layers, self.total)
        ]
        return [head, *rows]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            )
            for row in cells
        ]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        head, *rows = self._cells()
        *layers, total = [
            "<tr>"
            + "".join(f"<td style='text-align:right'>{html.escape(cell)}</td>" for cell in row)
            + "</tr>"
            for row in rows
        ]
        titles = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return (
            f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(layers)}</tbody>"
            f"<tfoot style='font-weight:bold'>{total}</tfoot></table>{note}"
        )


def resources(network: Network | FixedNetwork, reuse_factor: int | Sequence[int] = 1) -> Resources:
    """Count and estimate what a network costs.

    Parameters
    ----------
    network : Network or FixedNetwork
        Bits, LUTs and stages are those of a `FixedNetwork`, from `shadowprune.quantize`.
    reuse_factor : int or sequence of int, default=1
        How often one multiplier is used per row, in all dense layers or in each. It decides the multipliers
        only: LUTs and stages are those of the logic unrolled completely. Any number is counted, also those
        that `shadowprune.emit.hls4ml` refuses with ``strategy="Resource"`` as not fitting a layer's widths.

    Returns
    -------
    Resources

    Raises
    ------
    TypeError, ValueError
        If `network` is neither, `reuse_factor` is below 1, or there is not one per layer.

    Notes
    -----
    LUTs and stages take da4ml (``pip install "shadowprune[rtl]"``) and, for 256 nodes of 8 bits, some ten
    seconds. They are those of `shadowprune.emit.verilog` with its defaults.

    Examples
    --------
    >>> sp.resources(sp.Network([40, 26, 1], random_state=0), reuse_factor=4).total.multipliers
    267
    """
    if not isinstance(network, FixedNetwork):
        check_network(network)
    widths = [int(width) for width in network.widths]
    shapes = list(pairwise(widths))
    reuse = _check_reuse(reuse_factor, len(shapes))
    bits, luts, stages, note = _fixed(network, len(shapes))
    layers = tuple(
        LayerResources(
            f"fc{i + 1}", b, a * b, a * b, math.ceil(a * b / reuse[i]), bits[i], luts[i], stages[i]
        )
        for i, (a, b) in enumerate(shapes)
    )
    sums = {column: _sum([getattr(layer, column) for layer in layers]) for column in _COLUMNS[1:]}
    total = LayerResources("total", sum(widths[1:-1]), **sums)  # type: ignore[arg-type]
    return Resources(layers, total, reuse, note)


Column = Sequence[int | None]


def _fixed(network: Network | FixedNetwork, n: int) -> tuple[Column, Column, Column, str]:
    """Bits, LUTs and stages per layer, and what is missing."""
    none = [None] * n
    if not isinstance(network, FixedNetwork):
        return (
            none,
            none,
            none,
            "memory bits, LUTs and stages: of shadowprune.quantize(network, precision, X)",
        )
    bits = [
        layer.weights.size * layer.weight_type.width + layer.bias.size * layer.bias_type.width
        for layer in network.layers
    ]
    if find_spec("da4ml") is None:
        return bits, none, none, 'LUTs and stages: pip install "shadowprune[rtl]"'
    from .emit._da4ml import trace

    try:
        logic = trace(network)
    except ValueError as error:
        return bits, none, none, f"no LUTs and stages: {error}"
    ends = np.rint(np.cumsum([0.0, *logic.luts])).astype(int)  # rounded so that the sum is that of the whole
    return bits, np.diff(ends).tolist(), logic.stages_of_layers, ""


def _check_reuse(reuse_factor: Any, n: int) -> tuple[int, ...]:
    several = isinstance(reuse_factor, (Sequence, np.ndarray)) and not isinstance(reuse_factor, str)
    given: list[Any] = list(reuse_factor) if several else [reuse_factor] * n
    if len(given) != n:
        raise ValueError(f"reuse_factor must be one number or one per dense layer, {n}; got {reuse_factor!r}")
    if not all(isinstance(r, numbers.Integral) and not isinstance(r, bool) and int(r) >= 1 for r in given):
        raise ValueError(f"reuse_factor must be a whole number from 1; got {reuse_factor!r}")
    return tuple(int(r) for r in given)


def _sum(values: Column) -> int | None:
    return None if None in values else sum(value for value in values if value is not None)


def _shown(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
