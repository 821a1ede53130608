"""What targets ask that compute exact sums."""

from __future__ import annotations

import numpy as np

from ..fixedpoint import FixedNetwork


def check_fixed(network: object) -> None:
    """Refuse what is no fixed-point network.

    Raises
    ------
    TypeError
        The message says how to make one.
    """
    if not isinstance(network, FixedNetwork):
        raise TypeError(
            f"network must be a FixedNetwork; got a {type(network).__name__}: make one with "
            'shadowprune.quantize(network, "auto:8", X)'
        )


def sum_ranges(network: FixedNetwork) -> list[tuple[float, float]]:
    """Lowest and highest sum of every layer, whatever the input.

    Raises
    ------
    ValueError
        If a sum is not exact: the targets that ask compute exact sums.
    """
    ranges, x = [], network.dense_input
    for layer in network.layers:
        w, accum = layer.weights, layer.accum_type
        low = float((np.minimum(w * x.high, w * x.low).sum(axis=0) + layer.bias).min())
        high = float((np.maximum(w * x.high, w * x.low).sum(axis=0) + layer.bias).max())
        exact = accum.fractional >= max(
            x.fractional + layer.weight_type.fractional, layer.bias_type.fractional
        )
        if not (exact and accum.low <= low and high <= accum.high):
            raise ValueError(
                f"layer {layer.name}: {accum} does not hold every sum, {low:.6g} to {high:.6g} in steps of "
                f"2^-{x.fractional + layer.weight_type.fractional}; networks from shadowprune.quantize do"
            )
        ranges.append((low, high))
        x = layer.output_type
    return ranges
