"""Straight-through and Taylor: the same budgets and schedule, hard gates, other scores."""

import numpy as np
import pytest
from core_cases import error, make_order, make_params, schedule, training_data

import shadowprune as sp
from shadowprune import _core
from shadowprune import _reference as twin

HARD = ["straight-through", "taylor"]
WIDTHS = (6, 20, 15, 1)


def trainer_of(core, method, widths=WIDTHS, inputs=3, seed=11):
    """A trainer with a shadow on inputs and hidden nodes, and the places of both groups."""
    rng = np.random.default_rng(seed)
    params = make_params(rng, widths)
    trainer = core.Trainer(widths, "tanh", "binary_crossentropy", batch_size=32)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    n_gates = sum(widths[:-1])
    where = np.split(np.arange(n_gates, dtype=np.int32), [widths[0]])
    groups = [(w, 0.01 * rng.normal(size=len(w)), None, r) for w, r in zip(where, (0.05, 0.02), strict=True)]
    trainer.set_shadow(groups, "logistic", method)
    return trainer, where


def columns(steps, widths=WIDTHS, inputs=3, nodes=11):
    both = schedule(steps, widths[0], inputs, 1.0), schedule(steps, sum(widths[1:-1]), nodes)
    rates = np.linspace(5e-3, 0, steps, dtype=np.float32), np.full(steps, 0.1, np.float32)
    return [*rates, *(np.hstack(pair) for pair in zip(*both, strict=True))]


@pytest.mark.parametrize("method", ["shadow", *HARD])
def test_hundred_steps_are_the_twins(method):
    x, target = training_data(n_in=6)
    order = make_order(1, len(x), 100, 32)
    results = []
    for core in (_core, twin):
        trainer, _ = trainer_of(core, method)
        losses = trainer.run(x, target, None, order, *columns(100))
        scores = trainer.get_shadow()
        results.append((losses, trainer.get_state()[0], *scores, trainer.gates()))
    found, wanted = results
    assert wanted[0][-20:].mean() < 0.95 * wanted[0][:20].mean()
    for f, w in zip(found[:-1], wanted[:-1], strict=True):
        assert error(f, w) < 1e-4
    assert error(found[-1], wanted[-1]) < 1e-3
    if method in HARD:
        np.testing.assert_array_equal(found[-1], wanted[-1])


@pytest.mark.parametrize("method", HARD)
@pytest.mark.parametrize(("widths", "nodes"), [(WIDTHS, 11), ((6, 1, 40, 3, 1), 3), ((6, 300, 1), 7)])
def test_gates_are_hard_and_the_best_by_score(method, widths, nodes):
    x, target = training_data(n_in=6)
    trainer, where = trainer_of(_core, method, widths)
    layer = np.repeat(np.arange(len(widths) - 1, dtype=np.int32), widths[:-1])
    order, steps = make_order(1, len(x), 60, 32), columns(60, widths, nodes=nodes)
    for t in range(60):
        before = trainer.get_shadow()
        trainer.run(x, target, None, order[32 * t : 32 * (t + 1)], *(c[t : t + 1] for c in steps))
        for scores, place, budget in zip(before, where, steps[2][t], strict=True):
            n_open = max(int(np.floor(budget + 0.5)), len(set(layer[place])))
            np.testing.assert_array_equal(
                trainer.gates()[place], _core.select(scores, layer[place], n_open, 1)
            )
    assert trainer.gates()[where[1]].sum() == nodes


def test_taylor_scores_are_mean_squared_saliencies():
    """Weights at rest and all gates open: the mean over the batches of the squared gradient of the gates."""
    x, target = training_data(n_in=6)
    trainer, where = trainer_of(_core, "taylor")
    params, order, n_gates = trainer.get_state()[0], make_order(1, len(x), 12, 32), sum(WIDTHS[:-1])
    still = np.zeros(12, np.float32)
    budgets = np.tile([6.0, 35.0], (12, 1))
    trainer.run(x, target, None, order, still, still, budgets, np.ones((12, 2)))
    model, squares = _core.Model(WIDTHS, "tanh"), np.zeros(n_gates)
    for rows in order.reshape(12, 32):
        z = model.forward(params, x[rows], np.ones(n_gates, np.float32), keep=True)
        squares += model.backward(_core.loss("binary_crossentropy", z, target[rows])[1])[1] ** 2
    for scores, place in zip(trainer.get_shadow(), where, strict=True):
        np.testing.assert_allclose(scores, squares[place] / 12, rtol=1e-4)


def test_taylor_estimates_what_a_node_is_worth():
    """The root of the score is the change of the loss without the node, where that is small."""
    x, target = training_data(n_in=6)
    net = sp.Network.from_params(WIDTHS, make_params(np.random.default_rng(0), WIDTHS), "tanh")
    net.weights[-1][:] *= 1e-3
    shadow = sp.ShadowNetwork(net, n_nodes=11, method="taylor", random_state=0)
    base, dz = sp.losses.binary_crossentropy(net.forward(x, gates=shadow.gates(0.0)), target)
    shadow.step(net.backward(dz)[1])
    for i in range(15):
        gates = [np.ones(20), (np.arange(15) != i).astype(float)]
        change = sp.losses.binary_crossentropy(net.forward(x, gates=gates), target)[0] - base
        assert np.sqrt(shadow.groups[0].scores[20 + i]) == pytest.approx(abs(change), rel=0.05, abs=2e-6)


@pytest.mark.parametrize("method", ["shadow", *HARD])
def test_a_loop_of_ones_own_is_the_trainers(method):
    x, target = training_data(n_in=6)
    order = make_order(1, len(x), 50, 32)
    trainer, _ = trainer_of(_core, method)
    scores, params = trainer.get_shadow(), trainer.get_state()[0]
    net = sp.Network.from_params(WIDTHS, params, "tanh")
    shadow = sp.ShadowNetwork(net, n_nodes=11, inputs=3, method=method)
    nodes, inputs = shadow.groups
    inputs.scores[:], nodes.scores[:] = scores
    adam = sp.Adam(net, learning_rate=5e-3)
    progress = np.arange(50) * 0.6 / 50
    for rows, part in zip(order.reshape(50, 32), progress, strict=True):
        z = net.forward(x[rows], gates=shadow.gates(part))
        dparams, dgates = net.backward(sp.losses.binary_crossentropy(z, target[rows])[1])
        adam.step(dparams)
        shadow.step(dgates)
    rates = np.full(50, 5e-3, np.float32), np.zeros(50, np.float32)
    budgets, temperatures = (
        np.stack([getattr(g, what)(progress) for g in (inputs, nodes)], axis=1)
        for what in ("budget", "temperature")
    )
    trainer.run(x, target, None, order, *rates, budgets, temperatures)
    assert error(net.params, trainer.get_state()[0]) < 1e-4
    for found, wanted in zip((inputs.scores, nodes.scores), trainer.get_shadow(), strict=True):
        assert error(found, wanted) < 1e-3


@pytest.mark.parametrize("method", HARD)
def test_every_count_is_exact(method):
    x, y = training_data(n_in=6)
    for n_nodes in (2, 3, 9, 20, 29, 30):
        clf = sp.ShadowClassifier(
            (18, 12), n_nodes, n_inputs=4, method=method, max_iter=3, random_state=n_nodes
        )
        clf.fit(x, y[:, 0])
        assert clf.n_nodes_ == n_nodes and clf.network_.widths[0] == 4


@pytest.mark.parametrize("method", HARD)
def test_costs_are_never_exceeded(method):
    x, y = training_data(n_in=6)
    for budget in (
        sp.Budget(multiplications=150),
        sp.Budget(weights=0.3),
        sp.Budget(multipliers=60, reuse_factor=2),
    ):
        clf = sp.ShadowClassifier((18, 12), budget=budget, method=method, max_iter=3, random_state=0).fit(
            x, y[:, 0]
        )
        (report,) = clf.budget_report_
        assert report.asked - report.next_node < report.used <= report.asked


@pytest.mark.parametrize("method", HARD)
def test_costs_of_single_nodes_are_refused(method):
    budget = sp.Budget(weighted=9, costs=[1, 2])
    with pytest.raises(ValueError, match=f"method is '{method}', .* a weighted budget needs 'shadow'"):
        sp.ShadowNetwork(sp.Network([4, 8, 8, 1]), budget=budget, method=method)


@pytest.mark.parametrize("method", HARD)
def test_it_learns(method):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 12))
    y = X[:, 3] - X[:, 7] + np.abs(X[:, 9]) > 0.5
    clf = sp.ShadowClassifier((24, 24), 12, n_inputs=3, method=method, max_iter=40, random_state=0).fit(X, y)
    assert clf.get_support(indices=True).tolist() == [3, 7, 9]
    assert clf.score(X, y) > 0.93


def test_an_unknown_method_is_named():
    x, y = training_data(n_in=6)
    with pytest.raises(
        ValueError, match="method is 'magic'; it must be one of shadow, straight-through, taylor"
    ):
        sp.ShadowClassifier((4,), 2, method="magic").fit(x, y[:, 0])
    with pytest.raises(ValueError, match="method is 'magic'"):
        sp.ShadowNetwork(sp.Network([3, 4, 1]), n_nodes=2, method="magic")
    with pytest.raises(ValueError, match="method is 'magic'"):
        trainer_of(_core, "magic")
