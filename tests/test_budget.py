"""Budgets of every kind: never exceeded, counts exact, no better choice, refused before training starts."""

import copy
import dataclasses
import itertools
import math
import pickle

import numpy as np
import pytest
import scipy.optimize
import sklearn.base
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import shadowprune as sp
from shadowprune import _estimator, _knapsack
from shadowprune._constraints import BudgetReport
from shadowprune._defaults import DECAY, live_weight_decay

CEILINGS = ("weighted", "multiplications", "multipliers", "weights")
PAPER = [40, 64, 64, 64, 64, 1]
seeds = st.integers(0, 2**31)


def spent(kind, widths, reuse=1):
    """The cost of widths, by the definition, one layer after the other."""
    total = 0
    reuse = [reuse] * (len(widths) - 1) if isinstance(reuse, int) else reuse
    for n_in, n_out, r in zip(widths[:-1], widths[1:], reuse, strict=True):
        match kind:
            case "multiplications":
                total += n_in * n_out
            case "multipliers":
                total += math.ceil(n_in * n_out / r)
            case "weights":
                total += n_in * n_out + n_out
    return total


@st.composite
def cases(draw, kinds=CEILINGS):
    """(network, Budget arguments but for the amount): a layout and options of a cost budget."""
    hidden = [draw(st.integers(1, 20)) for _ in range(draw(st.integers(1, 5)))]
    net = sp.Network([draw(st.integers(1, 12)), *hidden, draw(st.integers(1, 3))])
    free = draw(st.booleans())
    kind = draw(st.sampled_from(kinds))
    options = {"multiple": draw(st.sampled_from([1, 1, 1, 2, 3]))}
    layers = draw(st.sets(st.integers(0, len(hidden) - 1), min_size=0 if free else 1))
    options["layers"] = sorted(layers)
    if free:
        options["inputs"] = "free"
    elif draw(st.booleans()):
        options["inputs"] = draw(st.integers(1, net.widths[0]))
    if draw(st.booleans()):
        options["min_nodes"] = draw(st.integers(1, 4))
    if draw(st.booleans()):
        options["max_nodes"] = [draw(st.integers(4, 20)) for _ in hidden]
    if kind == "multipliers":
        reuse = draw(st.lists(st.integers(1, 9), min_size=len(hidden) + 1, max_size=len(hidden) + 1))
        options["reuse_factor"] = draw(st.sampled_from([reuse, reuse[0]]))
    if kind == "weighted":
        rng = np.random.default_rng(draw(seeds))
        of = [net.widths[0]] * free + hidden
        each = [rng.integers(0, 9, size=w) + (i == 0) for i, w in enumerate(of)]
        if draw(st.booleans()):
            each = [float(c) * 0.1 + 0.1 for c in rng.integers(1, 9, size=len(of))]
        elif draw(st.booleans()):
            each = [int(c[0]) + 1 for c in each]
        options["costs"] = each
    return net, kind, options


def build(net, kind, amount, options, seed=0):
    return sp.ShadowNetwork(net, budget=sp.Budget(**{kind: amount}, **options), random_state=seed)


def smallest(net, kind, options):
    """The smallest amount that is not refused, as the refusal names it."""
    try:
        build(net, kind, 1, options)
    except ValueError as error:
        assume("smallest" in str(error))  # or the multiple does not fit at all
        return math.ceil(float(str(error).rpartition("is ")[2]) - 1e-9)
    return 1


def cost(net, kind, options, support):
    if kind != "weighted":
        return spent(kind, [*(int(m.sum()) for m in support), net.widths[-1]], options.get("reuse_factor", 1))
    masks = support if options.get("inputs") == "free" else support[1:]
    of = options["layers"] if options.get("inputs") != "free" else [0, *(i + 1 for i in options["layers"])]
    return sum(float(np.sum(np.broadcast_to(options["costs"][i], masks[i].shape)[masks[i]])) for i in of)


def check(net, kind, options, amount, support):
    """Budget, limits and slack, by going through every layer."""
    used, m = cost(net, kind, options, support), options["multiple"]
    assert used <= amount * (1 + 1e-9)
    high = options.get("max_nodes", [99] * len(support))
    free = options.get("inputs") == "free"
    if not free:
        assert support[0].sum() == options.get("inputs", len(support[0]))
    for layer, mask in enumerate(support):
        covered = free if layer == 0 else layer - 1 in options["layers"]
        if not covered:
            assert layer == 0 or mask.all()
            continue
        n = int(mask.sum())
        assert n % m == 0 and n >= 1
        most = len(mask) if layer == 0 else min(len(mask), high[layer - 1])
        assert n <= most
        if layer:
            assert n >= min(options.get("min_nodes", 1), len(mask))
        if n + m <= most:  # no m further nodes of this layer fit
            for more in itertools.islice(itertools.combinations(np.flatnonzero(~mask), m), 500):
                grown = [k.copy() for k in support]
                grown[layer][list(more)] = True
                assert cost(net, kind, options, grown) > amount * (1 - 1e-9)


@settings(deadline=None, max_examples=400)
@given(cases(), st.floats(0, 1), seeds)
def test_a_cost_is_never_exceeded_and_nothing_more_would_fit(case, fraction, seed):
    net, kind, options = case
    least = smallest(net, kind, options)
    full = math.floor(cost(net, kind, options, net.split(np.ones(sum(net.widths[:-1]), bool))))
    amount = least + round(fraction * max(full - least, 0))
    shadow = build(net, kind, amount, options)
    rng = np.random.default_rng(seed)
    for group in shadow.groups:
        group.scores[:] = rng.normal(size=group.total) * rng.choice([1e-3, 1, 100])
    support = shadow.support()
    check(net, kind, options, amount, support)
    report = shadow.report(support)[0]
    assert (report.name, report.short) == (kind, 0)
    assert report.used == pytest.approx(cost(net, kind, options, support))
    assert report.next_node is None or report.slack < report.next_node * (1 + 1e-9)
    if least > 1:
        with pytest.raises(ValueError, match="the smallest that this network can meet is"):
            build(net, kind, least - 1, options)


@settings(deadline=None, max_examples=100)
@given(cases(), st.floats(0.02, 1), st.sampled_from(["logistic", "laplace"]), seeds)
def test_the_gates_hold_the_cost_at_every_step(case, fraction, family, seed):
    net, kind, options = case
    least = smallest(net, kind, options)
    reckoned = [options.get("inputs", net.widths[0]), *net.widths[1:]]
    if options.get("inputs") == "free":
        reckoned[0] = net.widths[0]
    budget = sp.Budget(**{kind: max(least, 7)}, **options)
    shadow = sp.ShadowNetwork(net, budget=budget, family=family, random_state=seed)
    group, rng = shadow.groups[0], np.random.default_rng(seed)
    group.scores[:] = 0.1 * rng.normal(size=group.total)
    reuse = np.broadcast_to(options.get("reuse_factor", 1), len(net.widths) - 1)
    where = np.zeros(sum(net.widths[:-1]), bool)
    where[group.index] = True
    for progress in (0.0, 0.1 * fraction, 0.4 * fraction, 0.59):
        gates = shadow.gates(progress)
        gates = gates if len(gates) == len(net.widths) - 1 else [np.ones(net.widths[0]), *gates]
        if kind == "weighted":
            found = group.constraint.costs @ np.concatenate(gates)[group.index]
        else:
            # inputs with gates of their own count with the number that will remain
            n = [float(g.sum(dtype=float)) for g in gates]
            n[0] = n[0] if where[0] else reckoned[0]
            n.append(net.widths[-1])
            found = sum(a * b / r + b * (kind == "weights") for a, b, r in zip(n, n[1:], reuse, strict=False))
        assert found == pytest.approx(float(group.budget(progress)), rel=2e-6)
        shadow.step([rng.normal(size=g.shape) for g in shadow.gates(progress)])
    start, end = (float(group.budget(p)) for p in (0.0, 0.5))
    assert start == pytest.approx(group.constraint.full)
    assert end <= max(least, 7) * (1 + 1e-9)


def subsets(net, kind, options, amount):
    """Every choice of nodes within budget and limits, as one mask over the group's nodes."""
    group = build(net, kind, amount, options).groups[0]
    for bits in itertools.product([False, True], repeat=group.total):
        keep = np.array(bits)
        flat = np.ones(sum(net.widths[:-1]), bool)
        flat[group.index] = keep
        support = net.split(flat)
        if cost(net, kind, options, support) > amount * (1 + 1e-9):
            continue
        limits = group.constraint.limits
        n = np.bincount(group.layer[keep], minlength=len(net.widths) - 1)
        if (n < limits.low).any() or (n > limits.high).any() or (n % limits.multiple).any():
            continue
        yield keep


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(CEILINGS), st.integers(1, 3), st.booleans(), st.floats(0.1, 1), seeds)
def test_no_choice_of_nodes_is_better(kind, multiple, free, fraction, seed):
    rng = np.random.default_rng(seed)
    net = sp.Network([3, *rng.integers(2, 5, size=2), 1])
    options = {"multiple": multiple, "layers": [0, 1], "max_nodes": [4, 3]}
    options |= {"inputs": "free"} if free else {}
    if kind == "weighted":
        options["costs"] = [rng.integers(1, 9, size=w) for w in net.widths[not free : -1]]
    if kind == "multipliers":
        options["reuse_factor"] = [2, 3, 1]
    least = smallest(net, kind, options)
    full = cost(net, kind, options, net.split(np.ones(sum(net.widths[:-1]), bool)))
    amount = least + round(fraction * max(full - least, 0))
    constraint = build(net, kind, amount, options).groups[0].constraint
    values = rng.normal(size=len(constraint.index)).round(1)
    keep, short = constraint.best(values)
    assert short == 0
    best = max(values[k].sum() for k in subsets(net, kind, options, amount))
    assert values[keep].sum() == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_knapsack_of_256_nodes_is_solved_as_well_as_by_highs(seed, multiple):
    """HiGHS by scipy: one binary per node, one integer per layer that makes its width a multiple."""
    rng = np.random.default_rng(seed)
    costs, values = rng.integers(1, 1000, size=256), rng.normal(size=256)
    budget = sp.Budget(
        weighted=30_000, costs=costs.reshape(4, 64), multiple=multiple, min_nodes=3, max_nodes=40
    )
    constraint = budget.constraints(PAPER)[0]
    keep, short = constraint.best(values)
    layers = np.repeat(np.eye(4), 64, axis=1)
    solved = scipy.optimize.milp(
        np.r_[-values, np.zeros(4)],
        integrality=np.ones(260),
        bounds=scipy.optimize.Bounds(0, np.r_[np.ones(256), np.full(4, 64)]),
        constraints=[
            scipy.optimize.LinearConstraint(np.r_[costs, np.zeros(4)], -np.inf, 30_000),
            scipy.optimize.LinearConstraint(np.c_[layers, -multiple * np.eye(4)], 0, 0),
            scipy.optimize.LinearConstraint(np.c_[layers, np.zeros((4, 4))], 3, 40),
        ],
        options={"mip_rel_gap": 0},
    )
    assert short == 0
    assert costs[keep].sum() <= 30_000
    assert values[keep].sum() == pytest.approx(-solved.fun, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(cases(("multiplications", "multipliers")), st.integers(1, 4), st.floats(0.1, 0.9), seeds)
def test_too_many_pairs_leave_a_bound_that_holds(case, labels, fraction, seed):
    net, kind, options = case
    least = smallest(net, kind, options)
    full = cost(net, kind, options, net.split(np.ones(sum(net.widths[:-1]), bool)))
    amount = least + round(fraction * max(full - least, 0))
    constraint = build(net, kind, amount, options).groups[0].constraint
    values = np.random.default_rng(seed).normal(size=len(constraint.index))
    exact, _ = constraint.best(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_knapsack, "LABELS", labels)
        found, short = constraint.best(values)
    assert constraint.used(found) <= amount
    assert values[exact].sum() <= values[found].sum() + short + 1e-9


# --- counts


@pytest.mark.parametrize("seed", range(20))
def test_every_count_of_the_paper_layout_is_exact(seed):
    net = sp.Network(PAPER)
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=256) + rng.normal(size=4).repeat(64)  # layers of unlike worth
    for n_nodes in range(4, 257):
        shadow = sp.ShadowNetwork(net, n_nodes=n_nodes)
        shadow.groups[0].scores[:] = scores
        support = shadow.support()
        assert sum(int(m.sum()) for m in support[1:]) == n_nodes
        assert min(int(m.sum()) for m in support) >= 1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 8), st.data())
def test_a_count_holds_limits_and_multiples_or_is_refused(hidden, multiple, data):
    net = sp.Network([5, *hidden, 1])
    low = [data.draw(st.integers(1, 5)) for _ in hidden]
    high = [data.draw(st.integers(5, 40)) for _ in hidden]
    asked = data.draw(st.integers(1, sum(hidden)))
    # by hand: the multiples each layer may have, and what they add up to
    widths = [
        [w for w in range(multiple, min(h, n) + 1, multiple) if w >= min(a, n)]
        for n, a, h in zip(hidden, low, high, strict=True)
    ]
    sums = {0}
    for choices in widths:
        sums = {s + w for s in sums for w in choices}
    budget = sp.Budget(nodes=asked, min_nodes=low, max_nodes=high, multiple=multiple)
    if asked not in sums:
        with pytest.raises(ValueError, match=r"nodes is|multiple is") as error:
            sp.ShadowNetwork(net, budget=budget)
        if sums and min(sums) <= asked <= max(sums):
            below, above = max(s for s in sums if s < asked), min(s for s in sums if s > asked)
            assert f"nearest: {below} or {above}" in str(error.value)
        elif sums:
            assert f"at least {min(sums)} " in str(error.value)
            assert f"at most {max(sums)}" in str(error.value)
        return
    shadow = sp.ShadowNetwork(net, budget=budget, random_state=0)
    kept = [int(m.sum()) for m in shadow.support()[1:]]
    assert sum(kept) == asked
    assert all(k in choices for k, choices in zip(kept, widths, strict=True))
    assert shadow.report()[0].slack == 0


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.data(), seeds)
def test_counts_per_layer_and_of_inputs_are_exact(hidden, data, seed):
    net = sp.Network([7, *hidden, 2])
    asked = [data.draw(st.one_of(st.none(), st.integers(1, w), st.just(0.5))) for w in hidden]
    asked[0] = asked[0] or hidden[0]
    inputs = data.draw(st.integers(1, 7))
    if any(a == 0.5 and w == 1 for a, w in zip(asked, hidden, strict=True)):
        with pytest.raises(ValueError, match=r"per_layer\[\d\] is 0.5, 0 of 1"):
            sp.ShadowNetwork(net, budget=sp.Budget(per_layer=asked, inputs=inputs))
        return
    shadow = sp.ShadowNetwork(net, budget=sp.Budget(per_layer=asked, inputs=inputs), random_state=seed)
    wanted = [w if a is None else w // 2 if a == 0.5 else a for a, w in zip(asked, hidden, strict=True)]
    assert [int(m.sum()) for m in shadow.support()] == [inputs, *wanted]
    rng = np.random.default_rng(seed)
    for progress in (0.1, 0.44, 0.5, 0.59):
        gates = shadow.gates(progress)
        for group in shadow.groups:
            soft = np.concatenate(gates)[group.index].sum(dtype=float)
            assert soft == pytest.approx(float(group.budget(progress)), rel=1e-6)
        shadow.step([rng.normal(size=g.shape) for g in gates])
    assert [int(m.sum()) for m in shadow.support()] == [inputs, *wanted]


def test_counts_per_layer():
    net = sp.Network([5, 10, 20, 30, 1])
    support = sp.ShadowNetwork(net, budget=sp.Budget(per_layer=[3, None, 0.5])).support()
    assert [int(m.sum()) for m in support] == [5, 3, 20, 15]
    support = sp.ShadowNetwork(net, budget=sp.Budget(per_layer=4, layers=[1, 2], inputs=2)).support()
    assert [int(m.sum()) for m in support] == [2, 10, 4, 4]


def test_one_count_for_inputs_and_nodes():
    net = sp.Network([10, 16, 16, 1])
    shadow = sp.ShadowNetwork(net, budget=sp.Budget(nodes=12, inputs="free"))
    shadow.groups[0].scores[:10] += 1
    shadow.groups[0].scores[9] -= 5
    kept = [int(m.sum()) for m in shadow.support()]
    assert (sum(kept), kept[0]) == (12, 9)
    assert len(shadow.gates(0.3)) == 3


def test_fractions_of_costs_and_multiples():
    net = sp.Network(PAPER)
    report = sp.ShadowNetwork(net, budget=sp.Budget(multiplications=0.3)).report()[0]
    assert report.asked == math.floor(0.3 * net.n_multiplications)
    assert sp.ShadowNetwork(net, budget=sp.Budget(nodes=0.7, multiple=8)).report()[0].asked == 176
    report = sp.ShadowNetwork(net, budget=sp.Budget(weighted=0.5, costs=[0.5, 1, 1.5, 2])).report()[0]
    assert report.asked == pytest.approx(160.0)


def test_a_fraction_goes_down_to_what_the_limits_allow():
    for hidden, options, wanted in (((10, 10), dict(multiple=4), 16), ((8, 8), dict(max_nodes=6), 12)):
        net = sp.Network([4, *hidden, 1])
        assert sp.ShadowNetwork(net, budget=sp.Budget(nodes=1.0, **options)).report()[0].used == wanted
    shadow = sp.ShadowNetwork(net, budget=sp.Budget(per_layer=1.0, max_nodes=[3, 8]))
    assert [report.used for report in shadow.report()] == [3, 8]


def test_a_ceiling_above_the_whole_network_leaves_it_whole():
    net = sp.Network(PAPER)
    shadow = sp.ShadowNetwork(net, budget=sp.Budget(weights=10**6))
    assert shadow.trivial
    assert all(m.all() for m in shadow.support())
    assert shadow.report()[0].used == sp.Network(PAPER).params.size
    assert not sp.ShadowNetwork(net, budget=sp.Budget(weights=10**6, max_nodes=63)).trivial


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(), "needs one of nodes"),
        (dict(inputs="free"), "needs one of nodes"),
        (dict(nodes=3, multiplications=100), "nodes and multiplications are both given"),
        (dict(nodes=1.5), "nodes is 1.5; a fraction must be above 0 and at most 1"),
        (dict(weights=-0.5), "weights is -0.5"),
        (dict(nodes=4, inputs="all"), "inputs is 'all'"),
        (dict(per_layer=[3, 3], inputs="free"), "inputs is 'free' beside per_layer"),
        (dict(weighted=10), "weighted and costs belong together"),
        (dict(nodes=4, costs=[1, 2]), "weighted and costs belong together"),
        (dict(nodes=4, multiple=0), "multiple is 0; it must be a whole number, at least 1"),
        (dict(nodes=4, multiple=True), "multiple is True"),
        (dict(nodes=4, min_nodes=0), "nothing passes an empty layer"),
        (dict(nodes=4, min_nodes=[1, 0]), "nothing passes an empty layer"),
        (dict(nodes=4, max_nodes=0), "max_nodes is 0"),
        (dict(multipliers=9, reuse_factor=0), "reuse_factor is 0"),
        (dict(multipliers=9, reuse_factor=1.5), "reuse_factor is 1.5"),
        (dict(nodes=4, min_nodes=2.0), "min_nodes is 2.0; it must be a whole number, at least 1"),
        (dict(multiplications=2000, reuse_factor=4), "reuse_factor is 4, but only multipliers has one"),
        (dict(inputs=20, max_nodes=8), "max_nodes is 8, but no hidden layer is covered"),
        (dict(inputs=20, multiple=4, min_nodes=16), "min_nodes is 16, but no hidden layer"),
        (dict(inputs=20, layers=[7]), r"layers is \(7,\), but no hidden layer"),
    ],
)
def test_values_that_cannot_be_meant(arguments, message):
    with pytest.raises(ValueError, match=message):
        sp.Budget(**arguments)


@pytest.mark.parametrize(
    "arguments", [dict(nodes="many"), dict(weights=True), dict(weighted=3, costs=7), dict(nodes=3, layers=2)]
)
def test_values_of_the_wrong_kind(arguments):
    with pytest.raises(TypeError, match="it must be"):
        sp.Budget(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(multiplications=41), "multiplications is 41; the smallest that this network can meet is 42"),
        (dict(multiplications=0.001), r"multiplications is 0.001, 2 of 2336; the smallest .* is 42"),
        (dict(multiplications=35, inputs=4, min_nodes=4), "smallest .* is 36"),
        (dict(multiplications=2, inputs="free"), "smallest .* is 3"),
        (dict(multipliers=11, reuse_factor=4), "smallest .* is 12"),
        (dict(weights=137, layers=[0]), "smallest .* is 138"),
        (dict(weighted=2, costs=[1, 2]), "smallest .* is 3"),
        (dict(weighted=2, costs=[1]), "costs has 1 entries; it needs 2, for each hidden layer"),
        (dict(weighted=2, costs=[1, 2], inputs="free"), "it needs 3, for the inputs and each hidden layer"),
        (dict(weighted=2, costs=[1, [1, 2]]), r"costs\[1\] must be a number or 32 numbers"),
        (dict(weighted=2, costs=[1, -1]), "costs must be finite and at least 0"),
        (dict(weighted=2, costs=[0, 0]), "all 0"),
        (dict(nodes=50, multiple=8), "nodes is 50; widths in multiples of 8 .* nearest: 48 or 56"),
        (dict(nodes=8, multiple=8), r"nodes is 8; it must be at least 16 .8 in every covered layer."),
        (dict(nodes=60, max_nodes=20), "at most 40"),
        (dict(nodes=60, multiple=33), "multiple is 33; hidden layer 0 of 32 nodes"),
        (dict(nodes=60, min_nodes=5, max_nodes=4), "max_nodes is 4 and min_nodes is 5"),
        (dict(nodes=60, max_nodes=[4]), "max_nodes has 1 entries; the network has 2 hidden layers"),
        (dict(per_layer=[4]), "per_layer has 1 entries"),
        (dict(per_layer=[4, 33]), r"per_layer\[1\] is 33; it must be at least 1 and at most 32"),
        (dict(per_layer=[4, 4], layers=[0]), "layer 1 is not in layers"),
        (dict(per_layer=[None, None]), "every entry is None"),
        (dict(multipliers=99, reuse_factor=[1, 2]), "reuse_factor has 2 entries; the network has 3 dense"),
        (dict(inputs=41), "inputs is 41; it must be at least 1 and at most 40"),
        (dict(nodes=4, min_nodes=8), r"must be at least 16 \(min_nodes is 8\) and"),
        (dict(nodes=4, min_nodes=6, multiple=4), r"at least 16 \(min_nodes is 6, multiple 4\) and"),
        (dict(per_layer=4, min_nodes=8), r"per_layer\[0\] is 4; it must be at least 8 \(min_nodes is 8\)"),
        (dict(nodes=9, layers=[2]), "layers is"),
    ],
)
def test_budgets_a_network_cannot_meet_are_refused_before_training(arguments, message):
    X, y = np.ones((10, 40)), np.arange(10) % 2
    budget = sp.Budget(**arguments)
    with pytest.raises(ValueError, match=message):
        sp.ShadowNetwork(sp.Network([40, 32, 32, 1]), budget=budget)
    with pytest.raises(ValueError, match=message), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_estimator, "train", None)  # not reached
        sp.ShadowClassifier((32, 32), budget=budget).fit(X, y)


def test_the_smallest_named_can_be_met():
    net = sp.Network([40, 32, 32, 1])
    for arguments in (
        dict(multiplications=42),
        dict(multipliers=12, reuse_factor=4),
        dict(weights=138, layers=[0]),
    ):
        report = sp.ShadowNetwork(net, budget=sp.Budget(**arguments)).report()[0]
        assert report.slack == 0


def test_a_budget_is_a_value():
    a = sp.Budget(weighted=9, costs=np.array([1, 2]), min_nodes=[2, 3])
    assert a == sp.Budget(weighted=9, costs=[1, 2], min_nodes=(2, 3)) != sp.Budget(nodes=9)
    assert hash(a) == hash(copy.deepcopy(a))
    assert eval(repr(a), {"Budget": sp.Budget}) == a
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.nodes = 4


# --- in training


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 12))
    return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)


BUDGETS = [
    sp.Budget(multiplications=300),
    sp.Budget(multiplications=300, inputs="free"),
    sp.Budget(multiplications=300, inputs=5),
    sp.Budget(multipliers=80, reuse_factor=[4, 4, 1]),
    sp.Budget(multipliers=80, reuse_factor=4, multiple=4, inputs="free"),
    sp.Budget(weights=0.5, layers=[1]),
    sp.Budget(weighted=60, costs=[3, 1]),
    sp.Budget(weighted=60, costs=[range(24), 2]),
    sp.Budget(per_layer=[7, 0.5], inputs=6),
    sp.Budget(nodes=20, inputs="free"),
    sp.Budget(nodes=24, multiple=4, max_nodes=16),
    sp.Budget(inputs=4),
]


@pytest.mark.parametrize("weighted", [0, 0.01])
def test_a_budget_of_nothing_leaves_what_costs_nothing(problem, weighted):
    X, y = problem
    costs = [[0, 0, 5, 1], [0, 2, 2, 2]]
    clf = sp.ShadowClassifier((4, 4), budget=sp.Budget(weighted=weighted, costs=costs), max_iter=4).fit(X, y)
    assert [r.used for r in clf.budget_report_] == [0] and clf.widths_ == (2, 1)


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_a_trained_network_keeps_its_budget(problem, budget):
    X, y = problem
    clf = sp.ShadowClassifier((24, 24), budget=budget, max_iter=12, random_state=0).fit(X, y)
    assert [r.name for r in clf.budget_report_]
    for report in clf.budget_report_:
        assert report.used <= report.asked
        assert report.slack == 0 if report.next_node is None else 0 <= report.slack < report.next_node
    widths = clf.network_.widths
    kind = clf.budget_report_[0].name
    if kind in ("multiplications", "multipliers", "weights"):
        reuse = budget.reuse_factor
        used = spent(kind, widths, reuse if isinstance(reuse, int) else list(reuse))
        assert used == clf.budget_report_[0].used
    assert clf.score(X, y) > 0.75  # chance is 0.5
    again = sp.ShadowClassifier((24, 24), budget=budget, max_iter=12, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clf.network_.params, again.network_.params)


def test_shorthand_and_budget_are_the_same_training(problem):
    X, y = problem
    arguments = dict(max_iter=8, random_state=0)
    short = sp.ShadowClassifier((16, 16), n_nodes=9, n_inputs=6, prune_layers=[1], **arguments)
    budget = sp.Budget(nodes=9, inputs=6, layers=[1])
    long = sp.ShadowClassifier((16, 16), budget=budget, **arguments)
    np.testing.assert_array_equal(short.fit(X, y).network_.params, long.fit(X, y).network_.params)


@pytest.mark.parametrize(
    "budget",
    [sp.Budget(multiplications=1.0, inputs="free"), sp.Budget(multipliers=10**6), sp.Budget(weights=1.0)],
)
def test_a_budget_that_takes_nothing_is_ordinary_training_bit_for_bit(problem, budget):
    X, y = problem
    plain, trivial = (
        sp.ShadowClassifier((16, 8), max_iter=5, random_state=0, **kind).fit(X, y)
        for kind in (dict(n_nodes=None), dict(budget=budget))
    )
    np.testing.assert_array_equal(plain.network_.params, trivial.network_.params)
    assert trivial.budget_report_[0].next_node is None


def test_a_budget_replaces_the_default_and_contradicts_nothing(problem):
    X, y = problem
    budget = sp.Budget(nodes=9)
    for good in (dict(), dict(n_nodes=9), dict(n_nodes=None)):
        assert sp.ShadowClassifier((16,), budget=budget, max_iter=2, **good).fit(X, y).n_nodes_ == 9
    for bad in (dict(n_nodes=8), dict(n_inputs=3), dict(prune_layers=[0]), dict(n_nodes=0.5)):
        name = next(iter(bad))
        with pytest.raises(ValueError, match=f"{name} is .* but budget is Budget"):
            sp.ShadowClassifier((16,), budget=budget, **bad).fit(X, y)
        shadow = {"n_inputs": "inputs", "prune_layers": "layers"}.get(name, name)
        with pytest.raises(ValueError, match=f"{shadow} is .* beside budget"):
            sp.ShadowNetwork(sp.Network([3, 8, 1]), budget=budget, **{shadow: bad[name]})
    for wrong in (9, {"nodes": 9}):
        with pytest.raises(TypeError, match="it must be a shadowprune"):
            sp.ShadowClassifier((16,), budget=wrong).fit(X, y)


def test_one_node_is_not_all_of_them(problem):
    clf = sp.ShadowClassifier((16,), n_nodes=1, budget=sp.Budget(nodes=1.0))
    with pytest.raises(ValueError, match="n_nodes is 1, but budget is"):
        clf.fit(*problem)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(n_nodes=None, prune_layers=[7]), r"prune_layers is \[7\], but n_nodes is None"),
        (dict(n_nodes=None, n_inputs=3, prune_layers=[0]), r"prune_layers is \[0\], but n_nodes is None"),
        (dict(prune_layers=0), "prune_layers is 0; it must list hidden layers"),
        (dict(hidden_layer_sizes=8.0), "hidden_layer_sizes is 8.0; it must hold whole numbers"),
        (dict(hidden_layer_sizes=None), "hidden_layer_sizes is None; it must hold whole numbers"),
    ],
)
def test_parameters_that_say_nothing(problem, arguments, message):
    with pytest.raises(ValueError, match=message):
        sp.ShadowClassifier(**arguments).fit(*problem)


def test_rounding_leaves_no_negative_slack():
    asked, used = 0.3, math.fsum([0.1, 0.1, 0.1]) + 6e-17  # within 1e-9, as Budget promises
    assert used > asked
    assert BudgetReport("weighted", asked, used).slack == 0


def test_clone_pickle_and_retrain_know_the_budget(problem):
    X, y = problem
    clf = sp.ShadowClassifier((16, 16), budget=sp.Budget(multiplications=150), max_iter=4, random_state=0)
    copied = pickle.loads(pickle.dumps(sklearn.base.clone(clf))).fit(X, y)
    assert copied.get_params()["budget"] == clf.budget
    again = copied.retrain(X, y)
    assert again.widths_ == copied.widths_
    assert again.budget_report_ == ()
    smaller = copied.prune(X, y, budget=sp.Budget(multiplications=80))
    assert spent("multiplications", smaller.network_.widths) <= 80


@pytest.mark.parametrize("budget", [BUDGETS[0], BUDGETS[1], BUDGETS[3], sp.Budget(weights=300)], ids=str)
def test_weight_decay_follows_the_live_size(problem, budget):
    """The schedule knows no gates: it takes covered layers as cut alike, and the cost is B_t at that size."""
    X, y = problem
    clf = sp.ShadowClassifier((24, 24), budget=budget, max_iter=20, random_state=0).fit(X, y)
    net, progress = sp.Network([12, 24, 24, 1]), 0.15
    group = sp.ShadowNetwork(net, budget=budget).groups[0]
    part = float(group.open_part(progress))
    widths = [w * part if layer in group.layer else w for layer, w in enumerate([12, 24, 24])] + [1]
    reuse = np.broadcast_to(budget.reuse_factor, 3)
    bias = group.name == "weights"
    live = sum(a * b / r + bias * b for a, b, r in zip(widths, widths[1:], reuse, strict=False))
    assert live == pytest.approx(float(group.budget(progress)))
    decay = clf.history_.weight_decay
    assert decay[0] > decay[2] > decay[4]
    n_weights = sum(a * b for a, b in itertools.pairwise(clf.network_.widths))
    assert decay[-1] == pytest.approx(1.5 * DECAY * live_weight_decay(n_weights))
    assert decay[9] == pytest.approx(decay[-1] / 1.5, rel=0.15)  # else the finish cuts no step into it
