"""Losses from logits, each with its gradient; for a user's own loop and for the estimators."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core

F32 = NDArray[np.float32]


def _loss(kind: str, z: F32, target: ArrayLike, sample_weight: ArrayLike | None) -> tuple[float, F32]:
    rows = np.asarray(z)
    flat = rows.reshape(len(rows), -1)
    wanted = np.asarray(target, np.float32)
    if wanted.shape[:1] != rows.shape[:1] or wanted.size != flat.size:
        raise ValueError(f"y has shape {wanted.shape}; logits of shape {rows.shape} need as many values")
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float32)
    value, dz = _core.loss(kind, flat, wanted.reshape(flat.shape), weight)
    return value, dz.reshape(rows.shape)


def binary_crossentropy(z: F32, y: ArrayLike, sample_weight: ArrayLike | None = None) -> tuple[float, F32]:
    """Binary cross-entropy, log(1 + exp z) - y z.

    Parameters
    ----------
    z : ndarray of shape (n,) or (n, n_outputs)
        Logits.
    y : array_like of as many values
        Labels 0 and 1, or probabilities.
    sample_weight : array_like of shape (n,), optional
        Multiplies each row's loss; may be negative. The mean divides by n.

    Returns
    -------
    loss : float
        Mean over the rows (sum over outputs).
    dz : ndarray like z, float32
        Gradient of `loss`.

    Raises
    ------
    ValueError
        If the shapes do not match.
    """
    return _loss("binary_crossentropy", z, y, sample_weight)


def categorical_crossentropy(
    z: F32, y: ArrayLike, sample_weight: ArrayLike | None = None
) -> tuple[float, F32]:
    """Cross-entropy after a softmax.

    Parameters
    ----------
    z : ndarray of shape (n, n_classes)
        Logits.
    y : array_like of shape (n,) or (n, n_classes)
        Class indices from 0, or probabilities.
    sample_weight : array_like of shape (n,), optional
        Multiplies each row's loss; may be negative. The mean divides by n.

    Returns
    -------
    loss : float
        Mean over the rows.
    dz : ndarray of shape (n, n_classes), float32
        Gradient of `loss`.

    Raises
    ------
    ValueError
        If the shapes do not match or a class index is out of range.
    """
    labels = np.asarray(y)
    if labels.ndim == 1 and np.ndim(z) == 2:
        n_classes = np.shape(z)[1]
        if labels.dtype.kind not in "iub" or (
            len(labels) and not 0 <= labels.min() <= labels.max() < n_classes
        ):
            raise ValueError(
                f"y must hold class indices from 0 to {n_classes - 1}, or be of shape {np.shape(z)}"
            )
        labels = np.eye(n_classes, dtype=np.float32)[labels.astype(np.intp)]
    return _loss("categorical_crossentropy", z, labels, sample_weight)


def squared_error(z: F32, y: ArrayLike, sample_weight: ArrayLike | None = None) -> tuple[float, F32]:
    """Half the squared error, summed over outputs.

    Parameters
    ----------
    z : ndarray of shape (n,) or (n, n_outputs)
        Predictions.
    y : array_like of as many values
        Targets.
    sample_weight : array_like of shape (n,), optional
        Multiplies each row's loss; may be negative. The mean divides by n.

    Returns
    -------
    loss : float
        Mean over the rows.
    dz : ndarray like z, float32
        Gradient of `loss`.

    Raises
    ------
    ValueError
        If the shapes do not match.
    """
    return _loss("squared_error", z, y, sample_weight)
