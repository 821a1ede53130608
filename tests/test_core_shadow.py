"""Gates, their gradient, the hard finish and the score optimiser of the C core against the float64 twin."""

import itertools

import numpy as np
import pytest
from core_cases import FAMILIES, error, examples
from hypothesis import given
from hypothesis import strategies as st

from shadowprune import _core
from shadowprune import _reference as twin

families = st.sampled_from(FAMILIES)
temperatures = st.floats(0.02, 1.0)
fractions = st.floats(0.0, 1.0)
seeds = st.integers(0, 2**32 - 1)
score_lists = st.lists(
    st.one_of(st.floats(-5, 5), st.sampled_from([0.0, 1.0, -1.0]), st.floats(-0.01, 0.01)),
    min_size=1,
    max_size=300,
)


def reachable(scores, temperature, total):
    """How exact the budget can be: 1e-9 of the total, or what theta's last place moves the sum."""
    return 1e-9 * total + total * np.spacing(np.abs(scores).max() + 40 * temperature) / temperature


def budget_at(fraction, total):
    """From nearly nothing to everything."""
    return total if fraction == 1 else max(fraction * total, 1e-6)


@examples(300)
@given(score_lists, fractions, temperatures, families)
def test_gates_hold_the_budget(scores, fraction, temperature, family):
    scores = np.array(scores)
    n = len(scores)
    budget = budget_at(fraction, n)
    g, theta = _core.gates(scores, budget, temperature, family)
    assert abs(g.sum() - budget) <= 1e-9 * n
    assert g.dtype == np.float64
    assert ((g >= 0) & (g <= 1)).all()
    wanted, _ = twin.gates(scores, budget, temperature, family)
    np.testing.assert_allclose(g, wanted, atol=1e-9)
    if budget < n:
        np.testing.assert_allclose(g, twin.cdf(family, (scores - theta) / temperature), atol=1e-13)


@given(score_lists, temperatures, families, st.data())
def test_every_count_is_met(scores, temperature, family, data):
    scores = np.array(scores)
    count = data.draw(st.integers(1, len(scores)))
    g, _ = _core.gates(scores, count, temperature, family)
    assert abs(g.sum() - count) <= 1e-9 * len(scores)


@given(score_lists, st.floats(0.01, 0.99), temperatures, families, st.floats(-50, 50), st.randoms())
def test_shifts_change_nothing_and_permutations_permute(scores, fraction, temperature, family, shift, random):
    scores = np.array(scores)
    n = len(scores)
    g, theta = _core.gates(scores, fraction * n, temperature, family)
    moved, _ = _core.gates(scores + shift, fraction * n, temperature, family)
    np.testing.assert_allclose(moved, g, atol=1e-9)
    order = random.sample(range(n), n)
    np.testing.assert_allclose(
        _core.gates(scores[order], fraction * n, temperature, family)[0], g[order], atol=1e-9
    )
    # Where the search starts makes no difference either.
    for start in (theta, theta + 3.0, -1e9, 1e300):
        np.testing.assert_allclose(
            _core.gates(scores, fraction * n, temperature, family, None, start)[0], g, atol=1e-9
        )


def test_newton_does_not_circle():
    """Scores, budget and temperature of a path's training in which its steps did, for ever."""
    scores = np.array([
        0.507371, 0.712286, 0.727557, 0.900569, 1.465411, 1.48411, 1.54961, 1.626438, 1.631083, 1.683395,
        1.705833, 1.713545, 2.491235, 2.589757, 2.716198, 2.912145, 2.964123, 3.099137, 3.170465, 3.418253,
        3.450177, 3.899287, 4.178504,
    ])  # fmt: skip
    wanted, _ = twin.gates(scores, 20.9868, 0.034275)
    for start in np.linspace(0.5662, 0.568, 15):
        g, _ = _core.gates(scores, 20.9868, 0.034275, theta=start)
        np.testing.assert_allclose(g, wanted, atol=1e-9)


@given(score_lists, st.floats(0.01, 1.0), temperatures, families, seeds)
def test_weighted_gates(scores, fraction, temperature, family, seed):
    scores = np.array(scores)
    cost = np.exp(np.random.default_rng(seed).normal(size=len(scores)))
    budget = fraction * cost.sum()
    g, _ = _core.gates(scores, budget, temperature, family, cost)
    assert abs(cost @ g - budget) <= 1e-9 * cost.sum()
    np.testing.assert_allclose(g, twin.gates(scores, budget, temperature, family, cost)[0], atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0.02, 0.3, 1.0])
@pytest.mark.parametrize(
    "scores",
    [
        np.zeros(256),
        np.full(256, 1000.0),
        np.array([-1e6, 0.0, 1e6]),
        np.array([0.0, 1e-12, 1e12]),
        np.concatenate([np.full(100, 1e5), np.full(100, -1e5)]),
        np.linspace(-300, 300, 77),
        np.array([5.0]),
        np.array([1e-300, -1e-300, 0.0, -0.0]),
    ],
    ids=["zeros", "equal and large", "far apart", "scales apart", "two clusters", "ladder", "one", "tiny"],
)
def test_extreme_scores(scores, temperature, family):
    n = len(scores)
    for budget in (1e-3, 0.5, 1, n / 3, n / 2, n - 1, n - 0.5, n - 1e-3):
        if not 0 < budget < n:
            continue
        bound = reachable(scores, temperature, n)
        try:
            g, _ = _core.gates(scores, budget, temperature, family)
        except RuntimeError:
            assert bound > 1e-6 * n  # neighbouring values of theta lie too far apart for an answer
        else:
            assert abs(g.sum() - budget) <= bound


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_scores_have_equal_gates(family):
    g, _ = _core.gates(np.full(200, 0.37), 51, 0.02, family)
    assert (g == g[0]).all()
    assert g[0] == pytest.approx(51 / 200, abs=1e-11)


@given(score_lists, temperatures, families, seeds)
def test_full_budget_gives_exact_ones(scores, temperature, family, seed):
    scores, n = np.array(scores), len(scores)
    cost = np.random.default_rng(seed).uniform(0.1, 3, size=n)
    for budget, c in ((n, None), (cost.sum(), cost)):
        g, theta = _core.gates(scores, budget, temperature, family, c)
        assert (g == 1).all()
        assert np.isfinite(theta)
        assert (_core.gates_backward(g, temperature, cost, family, c) == 0).all()


def test_full_budget_of_a_rounded_cost():
    """The sum of costs depends on the order of summation; a caller's own sum still means all of them."""
    cost = np.random.default_rng(0).uniform(0.1, 3, size=1000)
    for total in (cost.sum(), sum(cost.tolist()), float(np.cumsum(cost)[-1]), cost[::-1].sum()):
        assert (_core.gates(np.zeros(1000), total, 0.1, cost=cost)[0] == 1).all()


@given(score_lists, st.floats(0.01, 0.99), temperatures, families, st.booleans(), seeds)
def test_gate_gradient(scores, fraction, temperature, family, weighted, seed):
    scores, rng = np.array(scores), np.random.default_rng(seed)
    cost = rng.uniform(0.2, 3, size=len(scores)) if weighted else None
    budget = fraction * (cost.sum() if weighted else len(scores))
    u = rng.normal(size=len(scores))
    g, _ = _core.gates(scores, budget, temperature, family, cost)
    found = _core.gates_backward(g, temperature, u, family, cost)
    wanted = twin.gates_backward(g, temperature, u, family, cost)
    # Of a near-constant u little is left: the terms give the scale.
    scale = twin.gate_slope(family, g).max() / temperature * np.abs(u).max() * 3
    assert np.abs(found - wanted).max() <= 1e-9 * scale
    if not weighted:
        assert abs(found.sum()) <= 1e-12 * scale * len(scores)


# --- products of widths


@st.composite
def pair_costs(draw):
    """(widths, covered gates, cost): a network, the gates under the shadow, prices of products and nodes."""
    widths = [draw(st.integers(1, 40)) for _ in range(draw(st.integers(2, 7)))]
    rng = np.random.default_rng(draw(seeds))
    covered = np.zeros(sum(widths[:-1]), bool)
    chosen = draw(st.sets(st.integers(0, len(widths) - 2), min_size=1))
    layer = np.repeat(np.arange(len(widths) - 1), widths[:-1])
    covered[np.isin(layer, list(chosen))] = True
    fixed = np.array([0.0 if one in chosen else w for one, w in enumerate(widths)])
    pair = draw(st.sampled_from([1.0, 0.25])) * rng.choice([1.0, 1.0, 3.0], size=len(widths) - 1)
    linear = rng.uniform(0, 5, size=covered.sum()) if draw(st.booleans()) else None
    return widths, covered, (linear, layer[covered].astype(np.int32), fixed, pair)


def worth(cost, g):
    return twin.cost_of(cost, np.asarray(g, float))[0]


def test_a_product_cost_is_the_multiplications_of_the_network(rng):
    widths = [9, 8, 7, 5, 3]
    covered = np.arange(29) >= 9
    covered[17:24] = False
    layer = np.repeat(np.arange(4), widths[:-1])[covered].astype(np.int32)
    cost = (None, layer, np.array([9.0, 0, 7, 0, 3]), np.ones(4))
    g = rng.uniform(size=covered.sum())
    for found, wanted in zip(twin.cost_of(cost, g), twin.multiplications(widths, covered)(g), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    assert worth(cost, np.ones(13)) == 9 * 8 + 8 * 7 + 7 * 5 + 5 * 3


@examples(300)
@given(pair_costs(), st.floats(0.0, 1.0), temperatures, families, st.floats(-30, 30), seeds)
def test_gates_hold_a_product_budget(layout, fraction, temperature, family, start, seed):
    _, covered, cost = layout
    scores = np.random.default_rng(seed).normal(size=covered.sum())
    none, total = worth(cost, np.zeros(len(scores))), worth(cost, np.ones(len(scores)))
    budget = total if fraction == 1 else none + max(fraction, 1e-6) * (total - none)
    if not none < budget:
        return
    g, theta = _core.gates(scores, budget, temperature, family, cost, start)
    assert abs(worth(cost, g) - budget) <= 1e-9 * total
    assert ((g >= 0) & (g <= 1)).all()
    if budget == total:
        assert (g == 1).all()
    else:
        np.testing.assert_allclose(g, twin.cdf(family, (scores - theta) / temperature), atol=1e-13)
        if fraction > 1e-3:  # near an empty network one cost has many gates to the last digits
            np.testing.assert_allclose(g, twin.gates(scores, budget, temperature, family, cost)[0], atol=1e-7)


@given(pair_costs(), st.floats(-2, 2), temperatures, families, seeds)
def test_product_gradient(layout, theta, temperature, family, seed):
    _, covered, cost = layout
    rng = np.random.default_rng(seed)
    scores, u = rng.normal(size=covered.sum()), rng.normal(size=covered.sum())
    g = twin.cdf(family, (scores - theta) / temperature)
    found = _core.gates_backward(g, temperature, u, family, cost)
    wanted = twin.gates_backward(g, temperature, u, family, cost)
    _, c = twin.cost_of(cost, g)
    scale = (1 + c.max() / max(c.min(), 1e-3)) * np.abs(u).max() / temperature
    assert np.abs(found - wanted).max() <= 1e-9 * scale


@pytest.mark.parametrize("bad", [0.0, 55.9, 56.0, 1000.0])
def test_product_budgets_out_of_reach(bad):
    cost = (None, np.zeros(4, np.int32), np.array([0.0, 7, 8, 1]), np.ones(3))
    with pytest.raises(ValueError, match="budget is"):
        _core.gates(np.zeros(4), bad, 0.1, cost=cost)
    assert _core.gates(np.zeros(4), 92.0, 0.1, cost=cost)[0] == pytest.approx(np.ones(4))
    assert _core.gates(np.zeros(4), 78.0, 0.1, cost=cost)[0] == pytest.approx(np.full(4, 0.5), abs=1e-10)


@pytest.mark.parametrize("weighted", [False, True, "pairs"])
@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("family", FAMILIES)
def test_gate_gradient_is_the_twins_finite_difference(rng, family, fraction, temperature, weighted):
    n, h = 40, 1e-5 * temperature
    cost = rng.uniform(0.2, 3, size=n) if weighted else None
    if weighted == "pairs":
        cost = (
            cost,
            np.repeat([0, 1, 3], [10, 14, 16]).astype(np.int32),
            [0.0, 1, 6, 0, 2],
            [1.0, 2, 1, 0.5],
        )
        cost = (*cost[:2], *map(np.array, cost[2:]))
    budget = fraction * twin.cost_of(cost, np.ones(n))[0]
    scores, u = 2 * temperature * rng.normal(size=n), rng.normal(size=n)
    wanted = np.empty(n)
    for i in range(n):
        step = h * (np.arange(n) == i)
        up, _ = twin.gates(scores + step, budget, temperature, family, cost)
        down, _ = twin.gates(scores - step, budget, temperature, family, cost)
        wanted[i] = u @ (up - down) / (2 * h)
    g, _ = _core.gates(scores, budget, temperature, family, cost)
    assert error(_core.gates_backward(g, temperature, u, family, cost), wanted) < 1e-6


# --- hard finish

candidates = st.lists(
    st.tuples(st.sampled_from([-2.0, 0.0, -0.0, 0.5, 3.0]) | st.floats(-1e9, 1e9), st.integers(0, 6)),
    min_size=1,
)


@examples(300)
@given(candidates, st.data())
def test_select(nodes, data):
    scores, layer = np.array([s for s, _ in nodes]), np.array([k for _, k in nodes], dtype=np.int32)
    layers, sizes = np.unique(layer, return_counts=True)
    min_nodes = data.draw(st.integers(0, int(sizes.min())))
    n_nodes = data.draw(st.integers(max(1, min_nodes * len(layers)), len(scores)))
    keep = _core.select(scores, layer, n_nodes, min_nodes)
    assert keep.dtype == bool
    assert keep.sum() == n_nodes
    np.testing.assert_array_equal(keep, twin.select(scores, layer, n_nodes, min_nodes))


@examples(200)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), seeds)
def test_every_count_of_any_layout_is_exact(sizes, seed):
    rng = np.random.default_rng(seed)
    layer = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    scores = rng.normal(size=len(layer))
    for n_nodes in rng.integers(len(sizes), len(layer) + 1, size=10):
        keep = _core.select(scores, layer, int(n_nodes), 1)
        assert keep.sum() == n_nodes
        assert (np.bincount(layer[keep], minlength=len(sizes)) >= 1).all()


@examples(300)
@given(candidates, st.integers(1, 5), st.data())
def test_select_within_limits(nodes, multiple, data):
    scores, layer = np.array([s for s, _ in nodes]), np.array([k for _, k in nodes], dtype=np.int32)
    sizes = np.bincount(layer)
    low = np.array([data.draw(st.integers(0, s // multiple * multiple)) for s in sizes], np.int32)
    high = np.array([data.draw(st.integers(a, s + 3)) for a, s in zip(low, sizes, strict=True)], np.int32)
    least = -(-low // multiple) * multiple
    most = np.minimum(high, sizes) // multiple * multiple
    n_nodes = data.draw(st.integers(0, len(scores)))
    if (least > most).any() or not least.sum() <= n_nodes <= most.sum() or n_nodes % multiple:
        with pytest.raises(ValueError, match="n_nodes is"):
            _core.select(scores, layer, n_nodes, low, high, multiple)
        return
    keep = _core.select(scores, layer, n_nodes, low, high, multiple)
    kept = np.bincount(layer[keep], minlength=len(sizes))
    assert keep.sum() == n_nodes
    assert (kept >= low).all() and (kept <= high).all() and not (kept % multiple).any()
    for one in np.unique(layer):  # the best of every layer
        inside, outside = scores[keep & (layer == one)], scores[~keep & (layer == one)]
        assert not len(inside) or not len(outside) or inside.min() >= outside.max()
    np.testing.assert_array_equal(keep, twin.select(scores, layer, n_nodes, low, high, multiple))


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 3), seeds)
def test_select_within_limits_is_the_best_there_is(sizes, multiple, seed):
    rng = np.random.default_rng(seed)
    layer = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    scores = rng.normal(size=len(layer))
    low = rng.integers(0, 2, size=len(sizes))
    high = np.maximum(low, rng.integers(0, 8, size=len(sizes)))
    best = {}
    for widths in itertools.product(*(range(s + 1) for s in sizes)):
        if all(w % multiple == 0 and a <= w <= b for w, a, b in zip(widths, low, high, strict=True)):
            value = sum(np.sort(scores[layer == i])[::-1][:w].sum() for i, w in enumerate(widths))
            best[sum(widths)] = max(best.get(sum(widths), -np.inf), value)
    for n_nodes, value in best.items():
        keep = _core.select(scores, layer, n_nodes, low, high, multiple)
        assert scores[keep].sum() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("n_nodes", "min_nodes"), [(1, 1), (7, 1), (3, 2), (-1, 0), (5, -1)])
def test_select_refuses_counts_it_cannot_meet(n_nodes, min_nodes):
    layer = np.array([0, 0, 0, 1, 1, 1], dtype=np.int32)
    with pytest.raises(ValueError, match="node"):
        _core.select(np.zeros(6), layer, n_nodes, min_nodes)


# --- score optimiser


@given(st.integers(1, 300), st.floats(1e-12, 1e6), st.floats(1e-4, 1.0), seeds)
def test_scores_step(n, size, rate, seed):
    rng = np.random.default_rng(seed)
    scores, velocity, square = rng.normal(size=n), np.zeros(n), 0.0
    twins, twin_velocity, twin_square = scores.copy(), np.zeros(n), 0.0
    for step in range(1, 12):
        grad = size * rng.normal(size=n)
        square = _core.scores_step(scores, grad, velocity, square, step, rate)
        twin_square = twin.scores_step(twins, grad, twin_velocity, twin_square, step, rate)
    assert square == pytest.approx(twin_square, rel=1e-12)
    np.testing.assert_allclose(scores, twins, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(velocity, twin_velocity, rtol=1e-10, atol=1e-12 * size)


def test_scores_step_without_gradient_rests():
    scores, velocity = np.array([1.0, -2.0]), np.zeros(2)
    assert _core.scores_step(scores, np.zeros(2), velocity, 0.0, 1, 0.02) == 0.0
    np.testing.assert_array_equal(scores, [1.0, -2.0])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("costs", [False, True])
@pytest.mark.parametrize("n", [5, 64, 71, 256])
def test_however_near_the_search_starts(family, costs, n, rng):
    """A start near the solution saves exponentials, not digits: constraint, gates and theta as from afar."""
    scores, temperature = rng.normal(size=n), 0.2
    cost = rng.uniform(1, 50, size=n) if costs else None
    weights = np.ones(n) if cost is None else cost
    budget = 0.3 * weights.sum()
    far, theta = _core.gates(scores, budget, temperature, family, cost)
    for distance in (0.0, *np.geomspace(1e-12, 1, 60)):
        for start in (theta - distance * temperature, theta + distance * temperature):
            near, found = _core.gates(scores, budget, temperature, family, cost, theta=start)
            assert abs(weights @ near - budget) <= 1e-12 * weights.sum()
            np.testing.assert_allclose(near, far, rtol=1e-10, atol=1e-13)
            assert abs(found - theta) < 1e-11 * temperature * n
