"""What is asked of a network, of rows and of names before anything is made of them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .network import ACTIVATIONS


def check_network(network: Any) -> None:
    """Refuse what is no network of finite weights.

    Raises
    ------
    TypeError, ValueError
        If it is no Network, has an empty layer, an unknown activation, or weights that are not finite.
    """
    kind = type(network).__name__
    if hasattr(network, "network_"):
        raise TypeError(f"network must be a Network; got a {kind}: pass its network_ attribute")
    if not all(hasattr(network, name) for name in ("weights", "biases", "activation")):
        hint = ": fit it, then pass its network_ attribute" if hasattr(network, "fit") else ""
        raise TypeError(f"network must be a Network; got a {kind}{hint}")
    if network.activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {network.activation!r}")
    widths = [int(w.shape[0]) for w in network.weights] + [int(w.shape[1]) for w in network.weights[-1:]]
    if min(widths, default=0) < 1:
        raise ValueError(f"network has a layer without nodes, widths {widths}: nothing can pass it")
    for i, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise ValueError(f"network has weights that are NaN or infinite, in dense layer {i + 1}")


def check_rows(X: ArrayLike, n_inputs: int) -> NDArray[np.float64]:
    """`X` as float64 (n, n_inputs).

    Raises
    ------
    TypeError, ValueError
        If it holds no finite numbers or has another shape.
    """
    wanted = f"X must hold numbers, shape (n, {n_inputs})"
    if hasattr(X, "tocsr"):
        raise TypeError(f"{wanted}; got a sparse {type(X).__name__}: pass X.toarray()")
    raw = np.asarray(X)
    try:
        if raw.dtype.kind not in "biufO" or any(isinstance(v, str) for v in raw.flat if raw.dtype == object):
            raise TypeError(f"dtype {raw.dtype}")
        rows = raw.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{wanted}; got {type(X).__name__}: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != n_inputs:
        raise ValueError(f"X must have shape (n, {n_inputs}), the network's inputs; got {rows.shape}")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"X must be finite; got {rows[row, column]} in row {row}, column {column}")
    return rows


def check_name(argument: str, name: object, reserved: str, language: str) -> None:
    """Refuse names that cannot be written into the source of `language`.

    Raises
    ------
    ValueError
        If `name` is no identifier, or one of the words in `reserved`.
    """
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)):
        raise ValueError(
            f"{argument} must be a C identifier (letters, digits, _; no digit first); got {name!r}"
        )
    if name in reserved.split() or "__" in name:
        raise ValueError(f"{argument} must not be reserved in {language}; got {name!r}")


def score_weights(weight: NDArray[Any] | None) -> NDArray[Any] | None:
    """Weights for a score: none if any is negative; an area under a curve with negative steps is no score."""
    return None if weight is None or weight.min() < 0 else weight


def check_weights(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    """Weights of `n` rows as float64 (n,), one for each, with a positive sum; None if there are none."""
    if sample_weight is None:
        return None
    weight = (
        np.full(n, sample_weight, float) if np.isscalar(sample_weight) else np.asarray(sample_weight, float)
    )
    if weight.shape != (n,):
        raise ValueError(f"sample_weight has shape {weight.shape}; it needs ({n},), one for every row of X")
    if not np.isfinite(weight).all():
        raise ValueError("sample_weight holds NaN or infinity; every weight must be finite")
    if weight.sum() <= 0:
        raise ValueError(
            f"sample_weight adds up to {weight.sum():g}, which is zero or less; the sum must be positive "
            "(single weights may be negative)"
        )
    return weight
