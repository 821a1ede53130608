"""Standardisation of the inputs, (x - mean)/scale, into and out of a network's first layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .network import Network

FAR = 1e4  # |mean| over standard deviation from which float32 columns lose what matters


def fold_inputs(network: Network, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
    """A network of standardised columns becomes, in place, one of the columns as they are; same outputs."""
    far = np.flatnonzero(np.abs(mean) > FAR * scale)
    if len(far):
        i = int(far[0])
        warnings.warn(
            f"{len(far)} columns of X lie far from zero for their spread, the first with mean "
            f"{mean[i]:.6g} and standard deviation {scale[i]:.3g}: network_ takes the columns as they are in "
            "float32, which holds seven digits; subtract a constant from them first",
            UserWarning,
            stacklevel=5,
        )
    w, b = network.weights[0], network.biases[0]
    folded = w / scale[:, None]
    b -= (mean @ folded).astype(np.float32)
    w[:] = folded


def unfold_inputs(network: Network, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
    """The reverse: a network of the columns as they are becomes, in place, one of standardised columns."""
    w, b = network.weights[0], network.biases[0]
    b += (mean @ w.astype(np.float64)).astype(np.float32)
    w *= scale[:, None]


def check_start(start: object, n_inputs: int, n_outputs: int, names: Sequence[str] | None = None) -> None:
    """Refuse what a training cannot start from; None is a fresh start.

    Raises
    ------
    TypeError
        If it is no Network.
    ValueError
        If its inputs or outputs are too many or too few, inputs have other names than the columns, or a
        parameter is not finite.
    """
    if start is None:
        return
    if not isinstance(start, Network):
        raise TypeError(
            f"network is a {type(start).__name__}; it must be a Network (Network.from_params takes the "
            "weights of any other)"
        )
    if start.widths[0] != n_inputs:
        raise ValueError(f"network has {start.widths[0]} inputs; X has {n_inputs} columns")
    for i, (wanted, seen) in enumerate(
        zip(start.input_names or (), () if names is None else names, strict=False)
    ):
        if wanted != seen:
            raise ValueError(
                f"network has input_names, and takes {wanted!r} where X has column {seen!r} (input {i} of "
                f"{n_inputs}); give X the columns of input_names in their order, or set input_names to None"
            )
    if start.widths[-1] != n_outputs:
        hint = "; two classes have one logit" if n_outputs == 1 else ""
        raise ValueError(f"network has {start.widths[-1]} outputs; y needs {n_outputs}{hint}")
    if not np.isfinite(start.params).all():
        raise ValueError("network holds NaN or infinity among its parameters")
