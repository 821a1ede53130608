"""The float64 twin against finite differences, SciPy, scikit-learn, and the promises of the method."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from shadowprune import _reference as twin

ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "linear"]
LOSSES = ["binary_crossentropy", "categorical_crossentropy", "squared_error"]
FAMILIES = ["logistic", "laplace"]
WIDTHS = (5, 7, 6, 4, 3)
TOLERANCE = 1e-6


def central_differences(f, at, h):
    """Gradient of the scalar f(array) by central differences."""
    grad = np.empty_like(at)
    for i in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (up[i] - down[i])
    return grad


def relative_error(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def make_targets(rng, kind, n, n_out):
    if kind == "squared_error":
        return rng.normal(size=(n, n_out))
    if kind == "binary_crossentropy":
        return rng.integers(0, 2, size=(n, n_out)).astype(float)
    return rng.dirichlet(np.ones(n_out), size=n)


def problem(rng, activation, n=9, widths=WIDTHS):
    """Parameters with non-zero biases, gates in (0, 1), and rows that keep 1e-3 away from every kink."""
    params = rng.normal(size=twin.n_params(widths)) * 0.6
    gates = rng.uniform(0.1, 1, size=sum(widths[:-1]))
    x = rng.normal(size=(20 * n, widths[0]))
    z = twin.preactivations(widths, activation, params, x, gates)
    clear = np.min([np.abs(zl).min(axis=1) for zl in z[:-1]], axis=0) > 1e-3
    assert clear.sum() >= n
    return params, gates, x[clear][:n]


# --- finite differences


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_network_gradients(rng, activation, kind, weighted):
    params, gates, x = problem(rng, activation)
    target = make_targets(rng, kind, len(x), WIDTHS[-1])
    weight = rng.normal(size=len(x)) if weighted else None  # of both signs

    def value(params, gates, x):
        return twin.loss(kind, twin.forward(WIDTHS, activation, params, x, gates), target, weight)[0]

    z = twin.forward(WIDTHS, activation, params, x, gates)
    found = twin.backward(WIDTHS, activation, params, x, twin.loss(kind, z, target, weight)[1], gates)
    wanted = (
        central_differences(lambda p: value(p, gates, x), params, 1e-5),
        central_differences(lambda g: value(params, g, x), gates, 1e-5),
        central_differences(lambda a: value(params, gates, a), x, 1e-5),
    )
    for f, w in zip(found, wanted, strict=True):
        assert relative_error(f, w) < TOLERANCE


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slope(rng, activation):
    z = rng.normal(size=50)
    z = z[np.abs(z) > 1e-3]
    wanted = central_differences(lambda a: twin.activate(activation, a).sum(), z, 1e-5)
    assert relative_error(twin.slope(activation, z), wanted) < TOLERANCE


@pytest.mark.parametrize("kind", LOSSES)
def test_loss_gradient(rng, kind):
    z, weight = 3 * rng.normal(size=(8, 4)), rng.normal(size=8)
    target = make_targets(rng, kind, 8, 4) * 1.3  # the gradient holds for any target, not only probabilities
    wanted = central_differences(lambda a: twin.loss(kind, a, target, weight)[0], z, 1e-5)
    assert relative_error(twin.loss(kind, z, target, weight)[1], wanted) < TOLERANCE


LAYERS = (9, 8, 7, 3)  # 9 inputs, 15 hidden nodes: 24 gates
COSTS = ["nodes", "weighted", "multiplications"]


def make_cost(name, n=24):
    match name:
        case "nodes":
            return None
        case "weighted":
            return np.random.default_rng(5).uniform(0.2, 3, size=n)
        case "multiplications":
            return twin.multiplications(LAYERS, np.ones(n, dtype=bool))


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("temperature", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("family", FAMILIES)
def test_gate_gradient(rng, family, fraction, temperature, cost):
    n, h = 24, 1e-5 * temperature
    c = make_cost(cost)
    budget = fraction * twin.cost_of(c, np.ones(n))[0]
    u, curve = rng.normal(size=n), rng.normal(size=(n, n))

    def value(s):
        g, _ = twin.gates(s, budget, temperature, family, c)
        return u @ g + 0.5 * g @ curve @ g

    # Laplace's density has a kink where a score equals theta: draw until none lies near.
    while True:
        scores = 2 * temperature * rng.normal(size=n)
        g, theta = twin.gates(scores, budget, temperature, family, c)
        if np.abs(scores - theta).min() > 1e-3 * temperature:
            break
    dg = u + 0.5 * (curve + curve.T) @ g
    found = twin.gates_backward(g, temperature, dg, family, c)
    assert relative_error(found, central_differences(value, scores, h)) < TOLERANCE
    if cost == "nodes":
        assert abs(found.sum()) < 1e-12 * np.abs(found).sum()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_to_loss(rng, activation, family):
    """The whole chain: scores, gates, network, loss."""
    params, _, x = problem(rng, activation)
    n, budget, temperature = sum(WIDTHS[:-1]), 12.5, 0.3
    scores = 0.3 * rng.normal(size=n)
    target = make_targets(rng, "binary_crossentropy", len(x), WIDTHS[-1])

    def value(s):
        g, _ = twin.gates(s, budget, temperature, family)
        return twin.loss("binary_crossentropy", twin.forward(WIDTHS, activation, params, x, g), target)[0]

    g, _ = twin.gates(scores, budget, temperature, family)
    _, dz = twin.loss("binary_crossentropy", twin.forward(WIDTHS, activation, params, x, g), target)
    _, dgates, _ = twin.backward(WIDTHS, activation, params, x, dz, g)
    found = twin.gates_backward(g, temperature, dgates, family)
    assert relative_error(found, central_differences(value, scores, 1e-6)) < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_gate_slope(rng, family):
    x = 3 * rng.normal(size=40)
    wanted = central_differences(lambda a: twin.cdf(family, a).sum(), x, 1e-5)
    assert relative_error(twin.gate_slope(family, twin.cdf(family, x)), wanted) < TOLERANCE


def test_multiplication_derivative(rng):
    covered = rng.random(24) < 0.6
    cost, g = twin.multiplications(LAYERS, covered), rng.uniform(0.1, 1, size=covered.sum())
    wanted = central_differences(lambda a: cost(a)[0], g, 1e-4)
    assert relative_error(cost(g)[1], wanted) < TOLERANCE
    assert cost(np.ones_like(g))[0] == 9 * 8 + 8 * 7 + 7 * 3


# --- other people


def test_distributions_are_scipys():
    x = np.array([-800.0, -40, -3, -1e-9, 0, 1e-9, 0.5, 30, 800])
    for family, theirs in (("logistic", stats.logistic), ("laplace", stats.laplace)):
        np.testing.assert_allclose(twin.cdf(family, x), theirs.cdf(x), rtol=1e-14)
        np.testing.assert_allclose(
            twin.gate_slope(family, theirs.cdf(x)), theirs.pdf(x), rtol=1e-13, atol=1e-16
        )
    np.testing.assert_allclose(twin.sigmoid(x), special.expit(x), rtol=1e-14)


def test_losses_are_sklearns(rng):
    z, labels = 4 * rng.normal(size=(30, 3)), rng.integers(0, 3, size=30)
    weight = rng.uniform(0.1, 2, size=30)
    mean = weight.mean()  # theirs divides by the sum of weights, ours by the number of rows
    found, _ = twin.loss("categorical_crossentropy", z, np.eye(3)[labels], weight)
    wanted = log_loss(labels, special.softmax(z, axis=1), sample_weight=weight, labels=[0, 1, 2])
    assert found == pytest.approx(mean * wanted, rel=1e-12)
    found, _ = twin.loss("binary_crossentropy", z[:, :1], labels[:, None] > 0, weight)
    wanted = log_loss(labels > 0, special.expit(z[:, 0]), sample_weight=weight)
    assert found == pytest.approx(mean * wanted, rel=1e-12)


def test_losses_of_large_logits():
    z, t = np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]])
    for kind, wanted in (("binary_crossentropy", 2e4), ("categorical_crossentropy", 2e4)):
        value, dz = twin.loss(kind, z, t)
        assert value == wanted
        np.testing.assert_array_equal(dz, [[1.0, -1.0]])


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_sgd_training_is_sklearns(rng, activation):
    """Twenty Nesterov steps on full batches are those of MLPClassifier, from its own starting weights."""

    def flat(model):
        pairs = zip(model.coefs_, model.intercepts_, strict=True)
        return np.concatenate([a.ravel() for pair in pairs for a in pair])

    x, y, widths = rng.normal(size=(40, 4)), np.arange(40) % 3, (4, 6, 5, 3)
    theirs = MLPClassifier(
        (6, 5),
        activation="logistic" if activation == "sigmoid" else activation,
        solver="sgd",
        alpha=0.0,
        batch_size=40,
        learning_rate_init=0.1,
        shuffle=False,
        random_state=3,
    )
    theirs.partial_fit(x, y, classes=[0, 1, 2])  # makes one step
    ours = twin.Trainer(widths, activation, "categorical_crossentropy", "sgd", 40)
    first = flat(theirs)
    listed = theirs._optimizer.velocities  # three W, then three b
    velocity = np.concatenate([listed[i + k].ravel() for i in range(3) for k in (0, 3)])
    ours.set_state(first, velocity, np.zeros_like(first), 1)
    for _ in range(20):
        theirs.partial_fit(x, y)
    ours.run(x, np.eye(3)[y], None, np.tile(np.arange(40), 20), np.full(20, 0.1), np.zeros(20))
    wanted = flat(theirs)
    assert np.abs(wanted - first).max() > 0.05
    np.testing.assert_allclose(ours.get_state()[0], wanted, rtol=1e-9, atol=1e-12)


def test_adam_step_by_hand():
    """Numbers from the definition: the first step is lr in size, decay comes first and is decoupled."""
    w, m, v = np.array([2.0, -1.0]), np.zeros(2), np.zeros(2)
    twin.adam_step(w, np.array([0.5, -4.0]), m, v, 1, 0.1, 0.9, 0.999, 0.0, np.array([0.2, 0.0]))
    np.testing.assert_allclose(w, [2.0 * 0.98 - 0.1, -1.0 + 0.1], rtol=1e-15)
    np.testing.assert_allclose(m, [0.05, -0.4], rtol=1e-15)
    np.testing.assert_allclose(v, [0.00025, 0.016], rtol=1e-12)
    twin.adam_step(w, np.array([0.0, 0.0]), m, v, 2, 0.1, 0.9, 0.999, 0.0)
    step = 0.1 * (0.9 * 0.5 * 0.1 / (1 - 0.81)) / np.sqrt(0.999 * 0.001 * 0.25 / (1 - 0.999**2))
    assert w[0] == pytest.approx(2.0 * 0.98 - 0.1 - step, rel=1e-13)


def test_scores_step_by_hand():
    """The first step divides by the root mean square of the whole gradient, not entry by entry."""
    s, velocity = np.array([0.0, 1.0]), np.zeros(2)
    square = twin.scores_step(s, np.array([3.0, 4.0]), velocity, 0.0, 1, 0.02)
    assert square == pytest.approx(0.125)
    np.testing.assert_allclose(s, [-0.02 * 3 / np.sqrt(12.5), 1 - 0.02 * 4 / np.sqrt(12.5)], rtol=1e-10)


# --- what the method promises


scores_lists = st.lists(st.floats(-5, 5) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=40)
fractions, temperatures, families = st.floats(0.001, 0.999), st.floats(0.02, 1.0), st.sampled_from(FAMILIES)
seeds = st.integers(0, 9999)


@given(scores_lists, fractions, temperatures, families, st.randoms())
def test_gates_hold_the_budget(scores, fraction, temperature, family, random):
    scores = np.array(scores)
    n = len(scores)
    budget = fraction * n
    g, theta = twin.gates(scores, budget, temperature, family)
    assert abs(g.sum() - budget) <= 1e-12 * n
    assert ((g >= 0) & (g <= 1)).all()
    # Larger scores have larger gates, a constant added changes nothing, a permutation permutes.
    order = np.argsort(scores)
    assert (np.diff(g[order]) >= 0).all()
    moved, there = twin.gates(scores + 3.0, budget, temperature, family)
    np.testing.assert_allclose(moved, g, atol=1e-12)
    assert there == pytest.approx(theta + 3.0, abs=1e-11 * (1 + abs(theta)))
    order = random.sample(range(n), n)
    moved, _ = twin.gates(scores[order], budget, temperature, family)
    np.testing.assert_allclose(moved, g[order], atol=1e-12)


@given(scores_lists, fractions, temperatures, families, seeds)
def test_weighted_gates_hold_the_budget(scores, fraction, temperature, family, seed):
    scores = np.array(scores)
    cost = np.random.default_rng(seed).uniform(0.1, 10, size=len(scores))
    g, _ = twin.gates(scores, fraction * cost.sum(), temperature, family, cost)
    assert abs(cost @ g - fraction * cost.sum()) <= 1e-12 * cost.sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_gates_hold_multiplications(rng, family):
    cost = twin.multiplications(LAYERS, np.ones(24, dtype=bool))
    for budget in (5.0, 50.0, 148.9):
        g, _ = twin.gates(rng.normal(size=24), budget, 0.1, family, cost)
        assert cost(g)[0] == pytest.approx(budget, rel=1e-12)


def test_full_budget_opens_every_gate():
    scores = np.array([-3.0, 0.0, 1e6])
    g, _ = twin.gates(scores, 3.0, 0.02)
    np.testing.assert_array_equal(g, 1.0)
    np.testing.assert_array_equal(twin.gates_backward(g, 0.02, np.array([1.0, 2.0, 3.0])), 0.0)


@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.integers(0, 4)), min_size=1), st.data())
def test_select_is_the_best_of_each_layer_then_of_all(nodes, data):
    scores, layer = np.array([s for s, _ in nodes]), np.array([k for _, k in nodes], dtype=np.int32)
    layers, sizes = np.unique(layer, return_counts=True)
    min_nodes = data.draw(st.integers(0, int(sizes.min())))
    n_nodes = data.draw(st.integers(min_nodes * len(sizes), len(scores)))
    keep = twin.select(scores, layer, n_nodes, min_nodes)
    assert keep.sum() == n_nodes
    place = np.argsort(np.lexsort((np.arange(len(scores)), -scores)))  # 0 for the best, ties by index
    last_spare = -1
    for one in layers:
        kept, dead = np.sort(place[keep & (layer == one)]), place[~keep & (layer == one)]
        assert len(kept) >= min_nodes
        assert not len(dead) or not len(kept) or kept.max() < dead.min()
        last_spare = max([last_spare, *kept[min_nodes:]])
    # Whoever is kept beyond its layer's minimum beats everybody who is not kept.
    assert keep.all() or last_spare < place[~keep].min()


@given(st.lists(st.integers(1, 12), min_size=2, max_size=6), st.sampled_from(ACTIVATIONS), seeds)
def test_reduced_network_is_the_gated_one(widths, activation, seed):
    rng = np.random.default_rng(seed)
    params, x = rng.normal(size=twin.n_params(widths)), rng.normal(size=(7, widths[0]))
    keep = rng.random(sum(widths[:-1])) < 0.6
    for flags in twin.split_gates(widths, keep):
        flags[rng.integers(len(flags))] = True
    small = [*(int(flags.sum()) for flags in twin.split_gates(widths, keep)), widths[-1]]
    reduced = twin.reduce(widths, params, keep)
    assert len(reduced) == twin.n_params(small)
    found = twin.forward(small, activation, reduced, x[:, keep[: widths[0]]])
    wanted = twin.forward(widths, activation, params, x, keep.astype(float))
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)  # the sums run in another order


def test_full_shadow_is_ordinary_training(rng):
    widths, states = (4, 6, 5, 1), []
    params, x = rng.normal(size=twin.n_params(widths)) * 0.5, rng.normal(size=(50, 4))
    target = (x[:, :1] > 0).astype(float)
    for shadow in (False, True):
        trainer = twin.Trainer(widths, "tanh", "binary_crossentropy", batch_size=16)
        trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
        if shadow:
            trainer.set_shadow([(np.arange(4, 15, dtype=np.int32), rng.normal(size=11), None, 0.02)])
        budget = (np.full((4, 1), 11.0), np.full((4, 1), 0.1)) if shadow else ()
        trainer.run(x, target, None, np.arange(50), np.full(4, 0.01), np.ones(4), *budget)
        states.append(trainer.get_state()[0])
    np.testing.assert_array_equal(*states)


def test_shadow_training_finds_the_useful_inputs():
    """Eight inputs, two of which carry the answer: a shadow with a budget of two ends on these."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 8))
    target = (x[:, 2:3] * x[:, 5:6] > 0).astype(float)
    widths = (8, 16, 1)
    params = 0.4 * rng.normal(size=twin.n_params(widths))
    trainer = twin.Trainer(widths, "tanh", "binary_crossentropy", batch_size=200)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    trainer.set_shadow([(np.arange(8, dtype=np.int32), 0.01 * rng.normal(size=8), None, 0.02)])
    steps = 300
    r = np.arange(steps)[:, None] / steps
    budgets = np.maximum(2.0, 8 - 6 * (1 - (1 - np.minimum(r / 0.75, 1)) ** 3))
    order = np.concatenate([rng.permutation(2000) for _ in range(30)]).astype(np.int32)
    args = x, target, None, order, np.full(steps, 0.01), np.zeros(steps), budgets, 0.5 * (0.02 / 0.5) ** r
    losses = trainer.run(*args)
    np.testing.assert_array_equal(np.flatnonzero(trainer.gates()[:8] > 0.5), [2, 5])
    assert trainer.gates().sum() == pytest.approx(2 + 16, abs=1e-9)
    assert losses[0] > 0.6
    assert losses[-1] < 0.3
