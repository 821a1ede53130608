"""Budgets of every kind: never exceeded, counts exact, no better choice, refused before training starts."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import shadowprune as sp

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
