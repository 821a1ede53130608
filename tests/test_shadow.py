"""The shadow network in a user's own loop: exact budget at every step, exact count at the end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shadowprune as sp
from shadowprune import shadow as shadow_module


def small_problem(seed=0, n=400, n_inputs=6):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_inputs)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.float32)


def user_loop(net, shadow, x, y, n_steps=60):
    """The ten lines of the README."""
    opt = sp.Adam(net, learning_rate=5e-3)
    for step in range(n_steps):
        g = shadow.gates(step / n_steps)
        z = net.forward(x, gates=g)
        _loss, dz = sp.losses.binary_crossentropy(z, y)
        dparams, dgates = net.backward(dz)
        opt.step(dparams)
        shadow.step(dgates)
    return net.reduce(shadow.support())


def test_the_loop_ends_with_the_nodes_asked_for_and_the_same_outputs():
    x, y = small_problem()
    net = sp.Network([6, 16, 16, 1], random_state=0)
    shadow = sp.ShadowNetwork(net, n_nodes=9, random_state=0)
    small = user_loop(net, shadow, x, y)
    assert small.n_nodes == 9
    np.testing.assert_array_equal(small.forward(x), net.forward(x, gates=shadow.gates(1.0)))


layouts = st.lists(st.integers(1, 100), min_size=1, max_size=6)


@settings(deadline=None, max_examples=80)
@given(layouts, st.data())
def test_gates_add_up_to_the_budget_and_the_count_is_exact(hidden, data):
    total = sum(hidden)
    n_nodes = data.draw(st.integers(len(hidden), total))
    net = sp.Network([3, *hidden, 1])
    shadow = sp.ShadowNetwork(net, n_nodes=n_nodes, random_state=data.draw(st.integers(0, 2**31)))
    rng = np.random.default_rng(0)
    for step in range(12):
        gates = shadow.gates(step / 12)
        budget = shadow.groups[0].budget(step / 12) if step / 12 < 0.6 else n_nodes
        assert sum(g.sum(dtype=float) for g in gates) == pytest.approx(budget, rel=1e-6)
        assert all((g >= 0).all() and (g <= 1).all() for g in gates)
        shadow.step([rng.normal(size=g.shape) for g in gates])
    support = shadow.support()
    assert sum(int(m.sum()) for m in support[1:]) == n_nodes
    assert all(m.any() for m in support)
    assert net.reduce(support).n_nodes == n_nodes


def test_every_count_from_the_least_to_all():
    net = sp.Network([3, 12, 7, 5, 1])
    for n_nodes in range(3, 25):
        assert net.reduce(sp.ShadowNetwork(net, n_nodes=n_nodes).support()).n_nodes == n_nodes


def test_inputs_and_nodes_have_budgets_of_their_own():
    net = sp.Network([10, 16, 16, 1], random_state=0)
    shadow = sp.ShadowNetwork(net, n_nodes=0.5, inputs=4, random_state=0)
    gates = shadow.gates(0.5)
    assert [len(g) for g in gates] == [10, 16, 16]
    x, y = small_problem(n_inputs=10)
    small = user_loop(net, shadow, x, y)
    assert small.widths[0] == 4
    assert small.n_nodes == 16


def test_a_portion_leaves_the_other_layers_alone():
    net = sp.Network([4, 16, 8, 16, 1], random_state=0)
    shadow = sp.ShadowNetwork(net, n_nodes=10, layers=[0, 2])
    gates = shadow.gates(0.3)
    np.testing.assert_array_equal(gates[1], np.ones(8))
    widths = net.reduce(shadow.support()).widths
    assert widths[2] == 8
    assert widths[1] + widths[3] == 10


def test_min_nodes_of_every_covered_layer():
    net = sp.Network([4, 30, 30, 1])
    shadow = sp.ShadowNetwork(net, n_nodes=10, min_nodes=4)
    shadow.groups[0].scores[:30] += 10  # the first layer would take all
    assert [m.sum() for m in shadow.support()] == [4, 6, 4]


def test_the_first_gates_are_all_open():
    net = sp.Network([4, 30, 30, 1])
    for g in sp.ShadowNetwork(net, n_nodes=10).gates(0.0):
        np.testing.assert_array_equal(g, np.ones(30))


@pytest.mark.parametrize(
    ("n_nodes", "message"),
    [
        (1, "at least 2"),
        (0, "at least 2"),
        (-5, "at least 2"),
        (17, "at most 16"),
        (1.5, "a fraction must be above 0 and at most 1"),
        (float("nan"), "a fraction must be above 0 and at most 1"),
        (-0.1, "a fraction must be above 0 and at most 1"),
        (0.01, "0 of 16"),
    ],
)
def test_impossible_budgets(n_nodes, message):
    with pytest.raises(ValueError, match=message):
        sp.ShadowNetwork(sp.Network([4, 8, 8, 1]), n_nodes=n_nodes)


def test_fractions_round_down_as_a_person_would():
    net = sp.Network([4, 10, 1])
    assert sp.ShadowNetwork(net, n_nodes=0.7).groups[0].constraint.keep == 7
    assert sp.ShadowNetwork(net, n_nodes=0.79).groups[0].constraint.keep == 7
    assert sp.ShadowNetwork(sp.Network([40, 64, 64, 64, 64, 1]), n_nodes=0.7).groups[0].constraint.keep == 179
    assert sp.ShadowNetwork(net, n_nodes=1.0).groups[0].constraint.keep == 10


def test_bad_arguments_name_themselves():
    net = sp.Network([4, 8, 8, 1])
    with pytest.raises(TypeError, match="n_nodes is 'many'"):
        sp.ShadowNetwork(net, n_nodes="many")
    with pytest.raises(TypeError, match="n_nodes is True"):
        sp.ShadowNetwork(net, n_nodes=True)
    with pytest.raises(ValueError, match="n_inputs is 5"):
        sp.ShadowNetwork(net, inputs=5)
    with pytest.raises(ValueError, match=r"layers is \[2\]"):
        sp.ShadowNetwork(net, n_nodes=4, layers=[2])
    with pytest.raises(ValueError, match="each once"):
        sp.ShadowNetwork(net, n_nodes=4, layers=[0, -2])
    with pytest.raises(ValueError, match="family is 'probit'"):
        sp.ShadowNetwork(net, n_nodes=4, family="probit")
    with pytest.raises(ValueError, match="min_nodes is 0"):
        sp.ShadowNetwork(net, n_nodes=4, min_nodes=0)
    with pytest.raises(ValueError, match=r"progress is 1.1"):
        sp.ShadowNetwork(net, n_nodes=4).gates(1.1)
    with pytest.raises(ValueError, match=r"layers is \[9\], but n_nodes is None"):
        sp.ShadowNetwork(net, layers=[9], min_nodes=50)
    with pytest.raises(ValueError, match="min_nodes is 50, but n_nodes is None"):
        sp.ShadowNetwork(net, min_nodes=50)
    with pytest.raises(TypeError, match="layers is 2; it must be a sequence"):
        sp.ShadowNetwork(net, n_nodes=4, layers=2)
    with pytest.raises(ValueError, match="no hidden layer"):
        sp.ShadowNetwork(sp.Network([4, 1]), n_nodes=1)


def test_the_finish_is_chosen_once(monkeypatch):
    solved = []
    monkeypatch.setattr(shadow_module.Group, "select", lambda g: solved.append(g) or g.scores > 0)
    net = sp.Network([4, 8, 8, 1])
    shadow = sp.ShadowNetwork(net, budget=sp.Budget(multiplications=30), random_state=0)
    first = shadow.gates(0.6)
    first[0][:] = 7  # the caller's own
    shadow.support()[1][:] = False
    np.testing.assert_array_equal(np.concatenate(shadow.gates(0.9)), shadow.groups[0].scores > 0)
    assert len(solved) == 1
    shadow.groups[0].scores[3] *= -1
    np.testing.assert_array_equal(np.concatenate(shadow.gates(0.9)), shadow.groups[0].scores > 0)
    assert len(solved) == 2


def test_step_needs_gates_first():
    shadow = sp.ShadowNetwork(sp.Network([4, 8, 1]), n_nodes=4)
    with pytest.raises(ValueError, match="gates"):
        shadow.step([np.ones(8)])
