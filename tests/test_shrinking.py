"""Nodes with closed gates leave the computation while the training runs."""

import numpy as np
import pytest
from core_cases import bits, error, make_params
from sklearn.datasets import make_classification

import shadowprune as sp
from shadowprune import _constraints, _core, _defaults, training
from shadowprune import _reference as twin

WIDTHS = (6, 20, 15, 2)
N_GATES = sum(WIDTHS[:-1])


def half_trained(core, cost=None):
    """A trainer after twenty steps of two groups, and what it trains on."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    data = x, rng.normal(size=(200, 2)).astype(np.float32), None
    params = make_params(rng, WIDTHS)
    trainer = core.Trainer(WIDTHS, "tanh", "squared_error", batch_size=20)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    inputs, hidden = np.arange(6, dtype=np.int32), np.arange(6, N_GATES, dtype=np.int32)
    trainer.set_shadow([(hidden, rng.normal(size=35), cost, 0.02), (inputs, rng.normal(size=6), None, 0.05)])
    return trainer, data, run(trainer, data, 20)


def run(trainer, data, steps, columns=slice(None)):
    order = np.tile(np.arange(200), 4)[: 20 * steps].astype(np.int32)
    ones = np.ones((steps, 1))
    rates = np.full(steps, 1e-3, np.float32), np.full(steps, 0.1, np.float32)
    x = np.ascontiguousarray(data[0][:, columns])
    return trainer.run(x, *data[1:], order, *rates, ones * [12.0, 3.5], ones * [0.1, 0.2])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_reduced_trainer_goes_on_as_the_twin_does(weighted):
    keep = np.ones(N_GATES, np.bool_)
    keep[[1, 4, 7, 8, 20, 30, 31, 40]] = False
    cost = np.linspace(0.5, 1.5, 35) if weighted else None
    states = []
    for core in (_core, twin):
        trainer, data, _ = half_trained(core, cost)
        small = trainer.reduced(keep)
        losses = run(small, data, 15, keep[:6])
        states.append([*small.get_state()[:3], *small.get_shadow(), small.gates(), losses])
        assert len(trainer.gates()) == N_GATES  # the first one is as it was
    for ours, theirs in zip(*states, strict=True):
        assert error(ours, theirs) < 1e-5


def test_taking_nothing_off_changes_nothing():
    trainer, data, _ = half_trained(_core)
    copy = trainer.reduced(np.ones(N_GATES, np.bool_))
    assert bits(run(copy, data, 15)) == bits(run(trainer, data, 15))
    assert bits(*copy.get_state()[:3], *copy.get_shadow()) == bits(
        *trainer.get_state()[:3], *trainer.get_shadow()
    )


def test_products_of_widths_go_along():
    """The cost of what is left: theta, and with it the gates, do not move where closed nodes leave."""
    layer = np.repeat([1, 2], [20, 15]).astype(np.int32)
    cost = None, layer, np.array([6.0, 0.0, 0.0, 2.0]), np.ones(3)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=35)
    scores[[3, 25]] = -40
    params, zeros = make_params(rng, WIDTHS), np.zeros(twin.n_params(WIDTHS), np.float32)
    trainer = _core.Trainer(WIDTHS, "relu", "squared_error", batch_size=20)
    trainer.set_state(params, zeros, zeros, 0)
    trainer.set_shadow([(np.arange(6, N_GATES, dtype=np.int32), scores, cost, 0.0)])
    keep = np.ones(N_GATES, np.bool_)
    keep[[9, 31]] = False
    small, data = trainer.reduced(keep), (np.ones((20, 6), np.float32), np.ones((20, 2), np.float32), None)
    for each in (trainer, small):
        rates = np.zeros(1, np.float32)
        each.run(*data, np.arange(20, dtype=np.int32), rates, rates, np.array([[100.0]]), np.array([[0.5]]))
    np.testing.assert_allclose(small.gates(), trainer.gates()[keep], rtol=1e-6)


def test_bad_flags():
    trainer = half_trained(_core)[0]
    with pytest.raises(ValueError, match="keep"):
        trainer.reduced(np.ones(3, np.bool_))
    keep = np.ones(N_GATES, np.bool_)
    keep[6:26] = False
    with pytest.raises(ValueError, match="widths must hold"):
        trainer.reduced(keep)


@pytest.mark.parametrize("arguments", [{"n_nodes": 6}, {"n_nodes": 12, "n_inputs": 5, "alpha": 0.2}])
def test_a_training_that_shrinks_finds_the_same_network(monkeypatch, arguments):
    """With these settings: in some, two nodes that are nearly equal change places."""
    X, y = make_classification(2000, 12, n_informative=6, random_state=0)
    dropped = []
    once = training._Run._reduced

    def counted(self, keep):
        dropped.append((self.soft, int(keep.sum())))
        return once(self, keep)

    monkeypatch.setattr(training._Run, "_reduced", counted)
    monkeypatch.setattr(_defaults, "NARROW", 0)  # or each order would be counted
    make = lambda: sp.ShadowClassifier(  # noqa: E731
        (24, 24), random_state=0, max_iter=40, learning_rate_init=1.25e-3, **arguments
    )
    shrinking = make().fit(X, y)
    assert len(dropped) > 2  # before the hard finish too
    monkeypatch.setattr(_constraints, "CLOSED", 0.0)
    dropped.clear()
    whole = make().fit(X, y)
    assert len(dropped) == 1
    for a, b in zip(shrinking.support_, whole.support_, strict=True):
        np.testing.assert_array_equal(a, b)
    a, b = shrinking.decision_function(X), whole.decision_function(X)
    assert np.sqrt(np.mean((a - b) ** 2)) < 0.02 * b.std()
    assert np.shape(shrinking.history_.gates) == np.shape(whole.history_.gates)
    np.testing.assert_allclose(shrinking.history_.n_nodes, whole.history_.n_nodes, rtol=1e-2)


@pytest.mark.parametrize("n_rows", [574, 1971])
def test_the_last_closed_nodes_may_leave_before_the_ramp_ends(n_rows):
    """Then the budget still lies a little above the number of nodes that are left."""
    rng = np.random.default_rng(n_rows)
    x = rng.normal(size=(n_rows, 12)).astype(np.float32)
    clf = sp.ShadowClassifier((12,), random_state=0, n_inputs=1).fit(x, x[:, 0] > 0)
    assert clf.network_.widths[0] == 1


@pytest.mark.parametrize("seed", range(3))
def test_what_the_finish_may_choose_never_leaves(seed):
    """Inputs that say nothing, three nodes of five hundred: while gates are soft all of them are small."""
    clf = sp.ShadowClassifier((256, 256), n_nodes=3, max_iter=20, random_state=seed)
    assert clf.fit(np.zeros((300, 3)), np.arange(300) % 2).n_nodes_ == 3


def test_a_group_keeps_a_node():
    keep = np.ones(N_GATES, np.bool_)
    trainer, zeros = half_trained(_core)[0], np.zeros(twin.n_params(WIDTHS), np.float32)
    trainer.set_state(zeros, zeros, zeros, 0)
    trainer.set_shadow([(np.array([6, 7], np.int32), np.zeros(2), None, 0.02)])
    keep[[6, 7]] = False
    with pytest.raises(ValueError, match="keep leaves no node"):
        trainer.reduced(keep)
