"""Trainings side by side, and threads inside one."""

import os
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest
from core_cases import bits
from sklearn.datasets import make_classification

import shadowprune as sp
from shadowprune.parallel import side_by_side, stop_if_asked, workers


@pytest.fixture(scope="module")
def data():
    return make_classification(3000, 10, n_informative=5, random_state=0)


def classifier(**arguments):
    return sp.ShadowClassifier((24, 24), random_state=3, max_iter=4, batch_size=512, **arguments)


def test_side_by_side_is_one_after_the_other(data):
    asked = [8, 16, 30, None, 12]
    together = sp.fit_many([classifier(n_nodes=n) for n in asked], *data, n_jobs=3)
    for n, found in zip(asked, together, strict=True):
        alone = classifier(n_nodes=n).fit(*data)
        assert bits(found.network_.params) == bits(alone.network_.params)
        assert found.n_nodes_ == (n or 48)


def test_threads_inside_a_training_change_no_bit(data):
    alone = classifier(n_nodes=16).fit(*data)
    for n_jobs in (2, -1):
        assert bits(classifier(n_nodes=16, n_jobs=n_jobs).fit(*data).network_.params) == bits(
            alone.network_.params
        )


def test_weights_reach_every_training(data):
    X, y = data
    weight = np.where(y == 1, 3.0, 1.0)
    one, two = sp.fit_many([classifier(n_nodes=16) for _ in range(2)], X, y, weight, n_jobs=2)
    assert bits(one.network_.params) == bits(classifier(n_nodes=16).fit(X, y, weight).network_.params)
    assert bits(one.network_.params) == bits(two.network_.params)


def test_one_object_trains_once(data):
    same = classifier(n_nodes=16)
    with pytest.raises(ValueError, match="same object twice"):
        sp.fit_many([same, same], *data)


def test_a_failure_ends_the_others_soon(data):
    """The long training would take minutes; it stops after its epoch."""
    endless = sp.ShadowClassifier((24, 24), n_nodes=16, max_iter=10**6, random_state=0)
    begin = time.monotonic()
    with pytest.raises(ValueError, match="n_nodes is 500"):
        sp.fit_many([endless, classifier(n_nodes=500)], *data, n_jobs=2)
    assert time.monotonic() - begin < 60
    assert not hasattr(endless, "network_")
    assert not [t for t in threading.enumerate() if t.name.startswith("shadowprune")]


def test_results_keep_the_order_of_the_jobs():
    def job(i):
        time.sleep(0.02 * (3 - i))
        return i

    assert side_by_side([lambda i=i: job(i) for i in range(4)], 4) == [0, 1, 2, 3]


def test_jobs_not_begun_are_never_begun():
    begun = []

    def bad():
        raise RuntimeError("first")

    def good():
        begun.append(1)
        while True:
            time.sleep(0.001)
            stop_if_asked()

    with pytest.raises((RuntimeError, CancelledError)):
        side_by_side([bad, good, good, good, good], 1)
    assert len(begun) <= 1
    stop_if_asked()  # this thread was never asked


def test_ctrl_c_while_jobs_are_handed_out(data, monkeypatch):
    """The second thread is not there yet, the first trains already."""
    submit = ThreadPoolExecutor.submit

    def interrupted(self, job, *arguments):
        if self._work_queue.qsize() or self._threads:
            raise KeyboardInterrupt
        return submit(self, job, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    many = [classifier(n_nodes=n).set_params(max_iter=10**7) for n in (8, 9)]
    with pytest.raises(KeyboardInterrupt):  # ten million epochs would take days
        sp.fit_many(many, *data, n_jobs=2)


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5, True])
def test_bad_numbers_of_threads(data, n_jobs):
    with pytest.raises(ValueError, match=f"n_jobs must be a positive integer, -1 or None, got {n_jobs}"):
        workers(n_jobs)
    with pytest.raises(ValueError, match="n_jobs"):
        classifier(n_nodes=8, n_jobs=n_jobs).fit(*data)


@pytest.mark.parametrize("wrong", [classifier(n_nodes=8), 3, [3], [sp.ShadowClassifier]])
def test_something_else_than_estimators(data, wrong):
    with pytest.raises(TypeError, match=r"estimators (is|holds) (?s:.*); it must"):
        sp.fit_many(wrong, *data)


def test_affinity_is_respected():
    if not hasattr(os, "sched_setaffinity"):
        assert workers(-1) >= 1
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert workers(None) == workers(-1) == 1
    finally:
        os.sched_setaffinity(0, before)
