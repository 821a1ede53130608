"""Several orders of few nodes: how another one is drawn, and which is the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.utils.extmath import softmax

from ._checks import score_weights

Rival = TypeVar("Rival")

APART = 1.2  # normal deviates added to the scores of all orders but the first: more than most differ by


def apart(layer: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.float64]:
    """What gives nodes of these layers nearly any order, added to their scores; nothing for inputs."""
    return APART * rng.standard_normal(len(layer)) * (layer > 0)


def best(
    rivals: Sequence[Rival], learnt: str, loss: Callable[[Rival], float], area: Callable[[Rival], float]
) -> Rival:
    """That of least loss; of several classes the most discriminating of the better half.

    The loss counts classes as often as they come, and likes one that tells the common ones apart better.

    Parameters
    ----------
    rivals : sequence
        Trainings that differ in the order of their nodes.
    learnt : str
        The loss they learn by.
    loss, area : callable
        Of one of them: the less, and the more, the better. A loss that is not finite comes last.
    """
    half = _better_half(rivals, loss)
    return max(half, key=area) if learnt == "categorical_crossentropy" else half[0]


def fewer(rivals: Sequence[Rival], worse: Callable[[Rival], float]) -> list[Rival]:
    """The better half, the best first, and of up to four the best alone.

    Parameters
    ----------
    rivals : sequence
        Trainings that differ in the order of their nodes.
    worse : callable
        A loss of one of them: the less, the better. One that is not finite comes last.
    """
    half = _better_half(rivals, worse)
    return half if len(rivals) > 4 else half[:1]


def _better_half(rivals: Sequence[Rival], loss: Callable[[Rival], float]) -> list[Rival]:
    """Those of less loss, the least first."""

    def finite(one: Rival) -> float:
        value = loss(one)
        return value if math.isfinite(value) else math.inf

    return sorted(rivals, key=finite)[: math.ceil(len(rivals) / 2)]


def area_under_curves(z: NDArray[Any], target: NDArray[Any], weight: NDArray[Any] | None) -> float:
    """Under the ROC curve of each class against the others, their mean.

    Parameters
    ----------
    z : ndarray of shape (n, n_classes)
        Outputs of a network, before the softmax.
    target : ndarray of shape (n, n_classes)
        One in the column of a row's class, else zero.
    weight : ndarray of shape (n,), or None
        Rows of weight zero do not count; where any is negative, the others count alike.
    """
    if not np.isfinite(z).all():
        return -math.inf  # the last step before diverged
    if weight is not None:
        z, target, weight = (of[weight != 0] for of in (z, target, weight))
    shares, weight = softmax(z.astype(np.float64)), score_weights(weight)
    both = target.min(axis=0) < target.max(axis=0)  # a class may have had zero weights only
    if not both.any():
        return 0.0
    return float(roc_auc_score(target[:, both], shares[:, both], sample_weight=weight))
