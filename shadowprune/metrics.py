"""How well a tagger rejects background, and how well that is known.

With n_B background jets, k of them above the cut that keeps a fraction eps_S of the signal::

    eps_B = k / n_B        R = 1 / eps_B        sigma(R) / R = sqrt((1 - eps_B) / k)        (binomial)

and with weights w (Monte Carlo, some may be negative)::

    eps_B = sum_pass w / sum w
    var(eps_B) = ((1 - 2 eps_B) sum_pass w^2 + eps_B^2 sum w^2) / (sum w)^2

which is the line above for w = 1 (error propagation of pass / (pass + fail) with independent pass and fail).
The effective number of passing jets is (sum_pass w)^2 / sum_pass w^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["RejectionCurve", "background_rejection", "mean_rejection", "rejection_curve", "rejection_ratio"]

F64 = NDArray[np.float64]


class _Roc(NamedTuple):
    """Cumulative sums from the tightest cut to the loosest; the first point is (0, 0)."""

    signal: F64  # efficiency
    background: F64  # efficiency
    squares: F64  # sum of squared background weights above the cut
    total: float  # sum of background weights

    @property
    def passing(self) -> F64:
        """Effective number of background jets above the cut: a plain count without weights."""
        summed = self.background * self.total
        positive = (summed > 0) & (self.squares > 0)
        return np.divide(summed**2, self.squares, out=np.zeros_like(summed), where=positive)


def _labels(y: ArrayLike) -> NDArray[np.bool_]:
    """True where y holds the larger of its two values."""
    values = np.asarray(y)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"y must be a non-empty one-dimensional array of labels, got shape {values.shape}")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(f"y must not hold NaN, got {np.isnan(values).sum()} of them")
    classes = np.unique(values)
    if len(classes) != 2:
        shown = ", ".join(map(str, classes[:4])) + (", ..." if len(classes) > 4 else "")
        raise ValueError(f"y must hold two classes, background and signal, got {len(classes)}: {shown}")
    return np.asarray(values == classes[1], dtype=np.bool_)


def _numbers(name: str, values: ArrayLike, n: int) -> F64:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers, got {type(values).__name__}: {error}") from None
    if array.shape != (n,):
        hint = "; of predict_proba take column 1" if name == "score" and array.shape == (n, 2) else ""
        raise ValueError(f"{name} must have shape ({n},), one number per label, got {array.shape}{hint}")
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, got {array[bad]} at index {bad}")
    return array


def _efficiency(efficiency: ArrayLike) -> F64:
    try:
        wanted = np.asarray(efficiency, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"efficiency must be a number or an array, got {efficiency!r}") from None
    outside = ~((wanted > 0) & (wanted <= 1))
    if outside.any():
        raise ValueError(f"efficiency must lie in (0, 1], got {wanted[outside].flat[0]}")
    return wanted


def _roc(signal: NDArray[np.bool_], score: F64, weight: F64 | None) -> _Roc:
    from sklearn.metrics import roc_curve

    if weight is not None:
        for name, members in (("signal", signal), ("background", ~signal)):
            if not weight[members].sum() > 0:
                total = weight[members].sum()
                raise ValueError(
                    f"sample_weight must sum to more than 0 in each class, got {total} for the {name}"
                )
    # drop_intermediate would thin the two calls below differently.
    eps_b, eps_s, _ = roc_curve(signal, score, sample_weight=weight, drop_intermediate=False)
    if weight is None:
        n_b = float(np.count_nonzero(~signal))
        return _Roc(eps_s, eps_b, eps_b * n_b, n_b)
    square_b, _, _ = roc_curve(signal, score, sample_weight=weight**2, drop_intermediate=False)
    background = weight[~signal]
    return _Roc(eps_s, eps_b, square_b * float((background**2).sum()), float(background.sum()))


def _at(roc: _Roc, wanted: F64) -> tuple[F64, F64]:
    """(eps_B, sum of squares) where the signal efficiency first reaches each wanted value."""
    # running maximum: negative weights can make the efficiency step back
    right = np.maximum(np.searchsorted(np.maximum.accumulate(roc.signal), wanted, side="left"), 1)
    right = np.minimum(right, len(roc.signal) - 1)
    left = right - 1
    step = roc.signal[right] - roc.signal[left]
    t = np.divide(wanted - roc.signal[left], step, out=np.ones_like(wanted), where=step > 0)
    t = np.clip(t, 0.0, 1.0)
    return (
        roc.background[left] + t * (roc.background[right] - roc.background[left]),
        roc.squares[left] + t * (roc.squares[right] - roc.squares[left]),
    )


def _invert(eps_b: F64) -> F64:
    return np.divide(1.0, eps_b, out=np.full_like(eps_b, np.inf), where=eps_b > 0)


# fmt: off
@overload
def background_rejection(
    y: ArrayLike, score: ArrayLike, efficiency: float = ..., *, sample_weight: ArrayLike | None = ...,
    return_uncertainty: Literal[False] = ...,
) -> float: ...
@overload
def background_rejection(
    y: ArrayLike, score: ArrayLike, efficiency: float = ..., *, sample_weight: ArrayLike | None = ...,
    return_uncertainty: Literal[True],
) -> tuple[float, float]: ...
@overload
def background_rejection(
    y: ArrayLike, score: ArrayLike, efficiency: Sequence[float] | F64, *,
    sample_weight: ArrayLike | None = ..., return_uncertainty: Literal[False] = ...,
) -> F64: ...
@overload
def background_rejection(
    y: ArrayLike, score: ArrayLike, efficiency: Sequence[float] | F64, *,
    sample_weight: ArrayLike | None = ..., return_uncertainty: Literal[True],
) -> tuple[F64, F64]: ...
# fmt: on
def background_rejection(
    y: ArrayLike,
    score: ArrayLike,
    efficiency: ArrayLike = 0.5,
    *,
    sample_weight: ArrayLike | None = None,
    return_uncertainty: bool = False,
) -> float | F64 | tuple[float, float] | tuple[F64, F64]:
    """Background rejection 1/eps_B at a tagging (signal) efficiency eps_S.

    Points come from scikit-learn's ``roc_curve``; between two of them eps_B is linear in eps_S, which is what
    random tie-breaking among equal scores gives. Nothing is extrapolated.

    Parameters
    ----------
    y : array-like, shape (n,)
        Labels of two values; the larger is the signal.
    score : array-like, shape (n,)
        Any number that grows with signal-likeness: logit or probability.
    efficiency : float or array-like
        Signal efficiencies in (0, 1].
    sample_weight : array-like, shape (n,), optional
        Event weights; negative ones are allowed as long as each class sums to more than 0. The efficiency is
        then taken where it is first reached.
    return_uncertainty : bool
        Also return the binomial standard deviation from the number of background jets that pass. The position
        of the cut is taken as given: the finite signal sample adds little.

    Returns
    -------
    rejection : float, or float64 array shaped like `efficiency`
        ``inf`` where no background passes.
    uncertainty : same type, with ``return_uncertainty=True``
        ``inf`` where no background passes.

    Raises
    ------
    ValueError
        Lengths differ, NaN or infinity, other than two classes, efficiency outside (0, 1].
    TypeError
        Scores, weights or efficiencies that are not numbers.
    """
    signal = _labels(y)
    scores = _numbers("score", score, len(signal))
    weight = None if sample_weight is None else _numbers("sample_weight", sample_weight, len(signal))
    wanted = _efficiency(efficiency)
    roc = _roc(signal, scores, weight)
    eps_b, squares = _at(roc, np.atleast_1d(wanted))
    rejection = _invert(eps_b)
    # with weights above one eps_B can pass 1, and rounding can push the variance below 0 at eps_B = 1
    variance = np.maximum((1 - 2 * eps_b) * squares + eps_b**2 * roc.squares[-1], 0.0) / roc.total**2
    sigma = np.full_like(rejection, np.inf)
    finite = np.isfinite(rejection)
    sigma[finite] = rejection[finite] ** 2 * np.sqrt(variance[finite])
    if wanted.ndim == 0:
        return (float(rejection[0]), float(sigma[0])) if return_uncertainty else float(rejection[0])
    rejection, sigma = rejection.reshape(wanted.shape), sigma.reshape(wanted.shape)
    return (rejection, sigma) if return_uncertainty else rejection


def rejection_curve(
    y: ArrayLike, score: ArrayLike, min_background: float = 10, *, sample_weight: ArrayLike | None = None
) -> tuple[F64, F64]:
    """Every point (eps_S, 1/eps_B) of the ROC curve that enough background jets support.

    Parameters
    ----------
    y, score, sample_weight
        As for :func:`background_rejection`.
    min_background : float
        The curve stops where fewer background jets pass (with weights: fewer effective ones), at least 1.

    Returns
    -------
    efficiency, rejection : float64 arrays of one length
        Efficiency increasing up to 1, one point per value: at a vertical step of the curve the lowest eps_B,
        as in :func:`background_rejection`. Empty if no cut lets that many jets pass.

    Raises
    ------
    ValueError, TypeError
        As for :func:`background_rejection`, and for `min_background` below 1.
    """
    if not min_background >= 1:
        raise ValueError(f"min_background must be at least 1, got {min_background}")
    signal = _labels(y)
    scores = _numbers("score", score, len(signal))
    weight = None if sample_weight is None else _numbers("sample_weight", sample_weight, len(signal))
    roc = _roc(signal, scores, weight)
    highest = np.maximum.accumulate(roc.signal)
    first = np.concatenate([[False], highest[1:] > highest[:-1]])  # leaves out (0, 0)
    # half a part in 10^9: eps_B n_B is a rounded count
    keep = first & (roc.passing >= min_background * (1 - 1e-9))
    return roc.signal[keep], _invert(roc.background[keep])


class RejectionCurve(NamedTuple):
    """Mean curve of several trainings and its two errors; float64 arrays of one length."""

    efficiency: F64  # eps_S, increasing
    rejection: F64  # mean over the trainings of 1/eps_B
    spread: F64  # standard deviation between trainings (n - 1); NaN with one training
    statistical: F64  # binomial error of one training, common to all that are tested on the same jets
    n_runs: int  # trainings


def mean_rejection(
    runs: Sequence[tuple[ArrayLike, ArrayLike]],
    efficiency: ArrayLike | None = None,
    min_background: float = 10,
) -> RejectionCurve:
    """Mean rejection curve of several trainings, where all of them have the statistics.

    Parameters
    ----------
    runs : sequence of (y, score)
        One pair per training, as for :func:`background_rejection`.
    efficiency : array-like, optional
        Signal efficiencies in (0, 1], increasing; by default 0.005, 0.010, ... 1.
    min_background : float
        Efficiencies where fewer background jets pass in any of the runs are left out, at least 1.

    Returns
    -------
    RejectionCurve

    Raises
    ------
    ValueError, TypeError
        As for :func:`background_rejection`; no runs at all.
    """
    runs = list(runs)
    if not runs:
        raise ValueError("runs must hold at least one pair (y, score), got none")
    grid = np.arange(1, 201) / 200 if efficiency is None else np.atleast_1d(_efficiency(efficiency))
    start = 0.0
    for y, score in runs:
        supported, _ = rejection_curve(y, score, min_background)
        start = max(start, supported[0] if len(supported) else np.inf)
    grid = grid[grid >= start]
    rejection, statistical = np.empty((len(runs), len(grid))), np.empty((len(runs), len(grid)))
    for i, (y, score) in enumerate(runs):
        rejection[i], statistical[i] = background_rejection(y, score, grid, return_uncertainty=True)
    spread = rejection.std(axis=0, ddof=1) if len(runs) > 1 else np.full(len(grid), np.nan)
    return RejectionCurve(grid, rejection.mean(axis=0), spread, statistical.mean(axis=0), len(runs))


def rejection_ratio(
    y: ArrayLike,
    score: ArrayLike | Sequence[ArrayLike],
    reference: ArrayLike | Sequence[ArrayLike],
    efficiency: ArrayLike = 0.5,
    *,
    n_resamples: int = 200,
    random_state: int | np.random.Generator | None = 0,
) -> tuple[F64, F64]:
    """Rejection of one tagger over another's on the same jets, with its statistical uncertainty.

    Both see the same jets, so most of their fluctuation is shared and cancels in the ratio: adding two
    binomial errors would overstate it. Here the jets are resampled (each gets a Poisson(1) weight, the
    bootstrap of large samples), for both taggers alike, which also counts the finite signal sample.

    Parameters
    ----------
    y : array-like, shape (n,)
        Labels, as for :func:`background_rejection`.
    score, reference : array-like, shape (n,) or (n_seeds, n)
        Scores of tagger and reference; with several trainings the ratio is of the mean rejections.
    efficiency : float or array-like
        Signal efficiencies in (0, 1].
    n_resamples : int
        At least 2; the uncertainty is known to about 1/sqrt(2 n_resamples).
    random_state : int, Generator or None
        Of the resampling.

    Returns
    -------
    ratio, uncertainty : float64 arrays shaped like `efficiency`
        Uncertainty of the test sample only: how trainings differ is another matter. NaN where no background
        passes.

    Raises
    ------
    ValueError, TypeError
        As for :func:`background_rejection`.
    """
    if n_resamples < 2:
        raise ValueError(f"n_resamples must be at least 2, got {n_resamples}")
    signal = _labels(y)
    sides = [_stack(name, s, len(signal)) for name, s in (("score", score), ("reference", reference))]
    wanted = _efficiency(efficiency)
    grid = np.atleast_1d(wanted).ravel()
    sorted_sides = [[_Sorted(signal, row) for row in side] for side in sides]
    rng = np.random.default_rng(random_state)

    def ratio(weight: F64 | None) -> F64:
        above, below = (
            np.mean([_invert(curve.background_efficiency(grid, weight)) for curve in side], axis=0)
            for side in sorted_sides
        )
        usable = np.isfinite(above) & np.isfinite(below)
        quotient: F64 = np.divide(above, below, out=np.full_like(grid, np.nan), where=usable)
        return quotient

    central = ratio(None)
    resampled = np.stack(
        [ratio(rng.poisson(1.0, len(signal)).astype(np.float64)) for _ in range(n_resamples)]
    )
    # a resampled curve without any background at this efficiency has no ratio
    lost = np.isnan(resampled).any(axis=0) | np.isnan(central)
    sigma = np.where(lost, np.nan, np.std(np.where(np.isnan(resampled), 0.0, resampled), axis=0, ddof=1))
    return central.reshape(wanted.shape), sigma.reshape(wanted.shape)


def _stack(name: str, scores: ArrayLike | Sequence[ArrayLike], n: int) -> list[F64]:
    array = np.asarray(scores)
    return [_numbers(name, row, n) for row in (array if array.ndim > 1 else [array])]


class _Sorted:
    """One tagger's jets in order of falling score, so that a new set of weights costs two cumulative sums."""

    def __init__(self, signal: NDArray[np.bool_], score: F64) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.is_signal = signal[self.order].astype(np.float64)
        falling = score[self.order]
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # of each run of equal scores
        self.last = slice(None) if len(last) == len(falling) else last
        self.sums = np.zeros((2, len(falling) + 1))

    def background_efficiency(self, grid: F64, weight: F64 | None) -> F64:
        w = np.ones(len(self.order)) if weight is None else weight[self.order]
        signal, background = self.sums
        np.cumsum(w, out=background[1:])
        w *= self.is_signal
        np.cumsum(w, out=signal[1:])
        background -= signal
        if not self.sums[:, -1].all():  # a resample of very few jets can lose a whole class
            return np.full(len(grid), np.nan)
        eps_s, eps_b = (np.append(0.0, total[1:][self.last]) / total[-1] for total in self.sums)
        return _at(_Roc(eps_s, eps_b, eps_b, 1.0), grid)[0]
