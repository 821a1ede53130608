"""Many trainings side by side in one process: the C core trains without the GIL, so threads are enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextvars import ContextVar
from functools import partial
from threading import Event
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["fit_many", "side_by_side", "workers"]

T = TypeVar("T")
E = TypeVar("E")

_stop: ContextVar[Event | None] = ContextVar("stop", default=None)


def workers(n_jobs: int | None, default: int | None = None) -> int:
    """Threads meant by `n_jobs`: a positive number is itself, -1 all cores this process may use.

    Parameters
    ----------
    n_jobs : int or None
        As scikit-learn has it.
    default : int, optional
        What None means; all cores without it.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If `n_jobs` is neither None, -1 nor positive.
    """
    if n_jobs is None and default is not None:
        return default
    if n_jobs is None or n_jobs == -1:
        # comes with scikit-learn; minds affinity and cgroups
        from joblib import cpu_count  # type: ignore[import-untyped]

        return int(cpu_count())
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs < 1:
        raise ValueError(f"n_jobs must be a positive integer, -1 or None, got {n_jobs!r}")
    return int(n_jobs)


def stop_if_asked() -> None:
    """Called between epochs: ends a training whose neighbour failed, or that Ctrl-C was meant for.

    Raises
    ------
    concurrent.futures.CancelledError
        If this thread belongs to :func:`side_by_side` and another job of it failed.
    """
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise CancelledError


def side_by_side(jobs: Sequence[Callable[[], T]], n_workers: int) -> list[T]:
    """Run jobs in threads; their results in the order of the jobs.

    An exception in one, or Ctrl-C, ends the trainings under way after their epoch, starts nothing new, and
    is raised here.

    Parameters
    ----------
    jobs : sequence of callable
        Without arguments; most of their time outside the GIL, or threads gain nothing.
    n_workers : int
        Threads, at least 1.

    Returns
    -------
    list
    """
    stop = Event()

    def run(job: Callable[[], T]) -> T:
        _stop.set(stop)  # of this thread alone
        return job()

    with ThreadPoolExecutor(n_workers, thread_name_prefix="shadowprune") as pool:
        try:
            futures = [pool.submit(run, job) for job in jobs]  # Ctrl-C may come while the first runs already
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def fit_many(
    estimators: Iterable[E],
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    n_jobs: int | None = None,
) -> list[E]:
    """Fit estimators on the same rows, side by side: budgets, seeds, settings.

    One thread per training is also the best use of many cores; the results are those of fitting one after
    the other, bit for bit.

    Parameters
    ----------
    estimators : iterable of ShadowClassifier or ShadowRegressor
        Each an object of its own; fitted in place.
    X, y, sample_weight
        As for `fit`.
    n_jobs : int, optional
        Trainings at a time. None and -1: one per core this process may use.

    Returns
    -------
    list
        The estimators, fitted, in their order.

    Raises
    ------
    TypeError
        If something else than a list of estimators is given.
    ValueError
        If an estimator is given twice, `n_jobs` makes no sense, or as `fit` does.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> import shadowprune as sp
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> made = [sp.ShadowClassifier((16, 16), n_nodes=n, random_state=0) for n in (8, 16)]
    >>> [clf.n_nodes_ for clf in sp.fit_many(made, X, y)]
    [8, 16]
    """
    if not isinstance(estimators, Iterable):
        raise TypeError(f"estimators is {estimators!r}; it must be a list of estimators, [clf] for one")
    made: list[Any] = list(estimators)
    for one in made:
        if isinstance(one, type) or not hasattr(one, "fit"):
            raise TypeError(f"estimators holds {one!r}; it must hold estimators, each made already")
    if len({id(one) for one in made}) < len(made):
        raise ValueError("estimators holds the same object twice; each training needs one of its own")
    keywords = {} if sample_weight is None else {"sample_weight": sample_weight}
    side_by_side([partial(one.fit, X, y, **keywords) for one in made], workers(n_jobs))
    return made
