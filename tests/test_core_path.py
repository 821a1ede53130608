"""Several budgets in one step: the C core against its float64 twin, the twin against finite differences."""

import numpy as np
import pytest
from core_cases import ACTIVATIONS, LOSSES, bits, error, make_order, make_params, make_targets, training_data

from shadowprune import _core
from shadowprune._reference_path import PathTrainer

WIDTHS = (6, 20, 13, 17, 2)
N_IN, N_HIDDEN = 6, 50
INDEX = np.arange(N_IN, N_IN + N_HIDDEN, dtype=np.int32)
KNOTS = np.array([5.0, 11, 24, 50])
LAYER = np.repeat([1, 2, 3], WIDTHS[1:-1])
BATCH = 300  # three slices, so that up to three threads have something to do


def schedule(steps):
    """Budgets of three passes and temperatures: from all nodes to few; the first of all nodes, or nearly."""
    low = np.linspace(49, 5, steps)
    first, drawn = low * (N_HIDDEN / low) ** np.random.default_rng(1).random((2, steps))
    first[::3] = first[1::3] = N_HIDDEN
    return np.stack([first, low, drawn], axis=1), np.geomspace(0.3, 0.02, steps)[:, None]


def pair(activation="relu", loss="binary_crossentropy", threads=1):
    rng = np.random.default_rng(1)
    params, scores = make_params(rng, WIDTHS), 0.05 * rng.normal(size=N_HIDDEN)
    core = _core.Trainer(WIDTHS, activation, loss, batch_size=BATCH, threads=threads)
    core.set_state(params, 0 * params, 0 * params, 0)
    core.set_shadow([(INDEX, scores, None, 0.02)])
    core.set_path(KNOTS, 3)
    return core, PathTrainer(WIDTHS, activation, loss, BATCH, params, INDEX, scores, 0.02, KNOTS)


def arguments(loss="binary_crossentropy", steps=30):
    x, _ = training_data(1, 700, N_IN)  # no row so near a kink that it falls on the other side
    rng = np.random.default_rng(3)
    target = make_targets(rng, loss, 700, WIDTHS[-1])
    weight = rng.uniform(0, 2, 700).astype(np.float32)
    rate = np.full(steps, 3e-3, np.float32)
    return x, target, weight, make_order(4, 700, steps, BATCH), rate, np.full(steps, 0.2, np.float32)


def ranks(scores):
    rank = np.empty(N_HIDDEN, np.int32)
    rank[np.argsort(-scores, kind="stable")] = np.arange(N_HIDDEN)
    return rank


def best_first(rank):
    """Order of all gates with the hidden nodes of each layer by rank."""
    return np.concatenate([np.arange(N_IN), N_IN + np.lexsort((rank, LAYER))]).astype(np.int32)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_soft_then_fixed_order_against_the_twin(activation, loss):
    core, twin = pair(activation, loss)
    data, (budgets, temperatures) = arguments(loss), schedule(30)
    assert error(core.run(*data, budgets, temperatures), twin.run(*data, budgets, temperatures)) < 1e-5
    assert error(core.get_shadow()[0], twin.scores) < 1e-3  # a gate near SHUT may fall on either side
    twin.rank = ranks(twin.scores)
    core.freeze(twin.rank)
    budgets[::4, 1:] = N_HIDDEN  # one pass: of all nodes, or of the first
    some = (*arguments(loss, 15), np.rint(budgets[::2]), temperatures[::2])
    assert error(core.run(*some), twin.run(*some)) < 2e-5
    assert error(core.get_state()[0], twin.params) < 5e-5
    gain, shift = core.get_corrections()
    assert np.abs(twin.gain).max() > 1e-3
    assert np.abs(twin.shift).max() > 1e-3
    assert error(gain, twin.gain) < 1e-3
    assert error(shift, twin.shift) < 1e-3


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_of_one_pass_over_all_nodes_is_a_plain_one(threads):
    """To the bit, after other steps too: nothing is collected, nor taught."""
    data, (budgets, temperatures) = arguments(steps=8), schedule(8)
    states = []
    for plain in (False, True):
        core, _ = pair(threads=threads)
        core.run(*data, budgets, temperatures)
        if plain:
            core.set_shadow([])
            losses = core.run(*data)
        else:
            losses = core.run(*data, np.full_like(budgets, N_HIDDEN), temperatures)
        states.append(bits(losses, *core.get_state()[:3]))
    assert states[0] == states[1]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_rows_in_turn_are_read_where_they_lie_to_the_same_bits(loss, threads):
    """A last batch that is not full; from the middle of x; weights or none; gates soft, fixed, none."""
    x, target, weight, order, rate, decay = arguments(loss, 3)
    budgets, temperatures = schedule(3)
    order = order[: 2 * BATCH + 77]
    for given in (weight, None):
        states = []
        for offset in (None, 0, 11):
            core, _ = pair("relu", loss, threads)
            data, rows = (x, target, given), order
            if offset is not None:
                data = tuple(a if a is None else np.concatenate([a[:offset], a[order]]) for a in data)
                rows = np.arange(offset, offset + len(order), dtype=np.int32)
            losses = [core.run(*data, rows, rate, decay, budgets, temperatures)]
            core.freeze(ranks(core.get_shadow()[0]))
            losses.append(core.run(*data, rows, rate, decay, np.rint(budgets), temperatures))
            core.set_shadow([])
            losses.append(core.run(*data, rows, rate, decay))
            states.append(bits(*losses, *core.get_state()[:3]))
        assert states[0] == states[1] == states[2]


@pytest.mark.parametrize(
    ("widths", "batch"),
    [
        ((11, 41, 6, 1), 300),  # few outputs have a product of their own
        ((3, 5, 8, 1, 9), 5),
        ((7, 130, 70, 17, 1), 129),  # several panels
        ((90, 64, 65, 2), 128),
        ((1, 3, 1), 1),
    ],
)
def test_layers_of_any_width_are_computed_in_part(widths, batch):
    """Best nodes first, so that a pass leaves out what lies behind; corrections, negative weights."""
    rng = np.random.default_rng(8)
    n_in, n, loss, steps = widths[0], sum(widths[1:-1]), "squared_error", 4
    index, layer = np.arange(n_in, n_in + n, dtype=np.int32), np.repeat(range(len(widths) - 2), widths[1:-1])
    params, scores, knots = make_params(rng, widths), 0.1 * rng.normal(size=n), np.array([1.0, n / 2, n])
    core = _core.Trainer(widths, "leaky_relu", loss, batch_size=batch, threads=2)
    core.set_state(params, 0 * params, 0 * params, 0)
    core.set_shadow([(index, scores, None, 0.02)])
    core.set_path(knots, 3)
    twin = PathTrainer(widths, "leaky_relu", loss, batch, params, index, scores, 0.02, knots)
    twin.gain[:], twin.shift[:] = (0.1 * rng.normal(size=a.shape) for a in (twin.gain, twin.shift))
    core.set_corrections(twin.gain, twin.shift)
    x, target = rng.normal(size=(200, n_in)).astype(np.float32), make_targets(rng, loss, 200, widths[-1])
    weight = rng.uniform(-0.3, 2, 200).astype(np.float32)
    rates = np.full(steps, 1e-3, np.float32), np.full(steps, 0.2, np.float32)
    for stage in range(4):
        if stage == 2:
            twin.rank = np.argsort(np.argsort(-twin.scores)).astype(np.int32)
            core.freeze(twin.rank)
        key = -twin.scores if twin.rank is None else twin.rank
        order = np.concatenate([np.arange(n_in), n_in + np.lexsort((key, layer))]).astype(np.int32)
        core.permute(order)
        twin.permute(order)
        rows = rng.integers(0, 200, steps * batch - batch // 2)  # the last batch is not full
        budgets = np.rint(np.exp(rng.uniform(0, np.log(n), (steps, 3))))
        budgets[::2, 0] = n  # or the first pass leaves nodes out as well
        run = x, target, weight, rows, *rates, budgets, np.full((steps, 1), 0.01)
        assert error(core.run(*run), twin.run(*run)) < 1e-4
        for found, wanted in zip(core.get_state()[:3], (twin.params, twin.m, twin.v), strict=True):
            assert error(found, wanted) < 1e-3
        for found, wanted in zip(core.get_corrections(), (twin.gain, twin.shift), strict=True):
            assert error(found, wanted) < 1e-3
        assert error(core.get_shadow()[0], twin.scores) < 1e-3


def test_twin_against_finite_differences():
    """Every gradient of one pass, at corrections that are not zero."""
    _, twin = pair("tanh", "categorical_crossentropy")
    rng = np.random.default_rng(5)
    twin.gain[:], twin.shift[:] = (
        0.1 * rng.normal(size=twin.gain.shape),
        0.1 * rng.normal(size=twin.shift.shape),
    )
    twin.gain[:, :N_IN] = 0
    x = rng.normal(size=(40, N_IN))
    target = make_targets(rng, "categorical_crossentropy", 40, 2).astype(float)

    def loss():
        return twin.one_pass(17.0, 0.2, x, target, None)[0]

    _, _, *grads = twin.one_pass(17.0, 0.2, x, target, None)
    for values, grad in zip((twin.params, twin.gain, twin.shift, twin.scores), grads, strict=True):
        flat = values.reshape(-1)
        for i in rng.choice(np.flatnonzero(grad.reshape(-1)), 12, replace=False):
            at, h = flat[i], 1e-6
            flat[i] = at + h
            up = loss()
            flat[i] = at - h
            down = loss()
            flat[i] = at
            assert grad.reshape(-1)[i] == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads):
    data, (budgets, temperatures) = arguments(), schedule(30)
    found = []
    for n in (1, threads):
        core, _ = pair(threads=n)
        losses = core.run(*data, budgets, temperatures)
        core.freeze(ranks(core.get_shadow()[0]))
        losses = [losses, core.run(*data, np.rint(budgets), temperatures)]
        found.append(bits(*losses, *core.get_state()[:3], *core.get_corrections(), *core.get_shadow()))
    assert found[0] == found[1]


def test_another_order_of_the_nodes_is_the_same_training():
    """Best first, closed nodes are not computed: same numbers up to rounding, everything follows its node."""
    data, (budgets, temperatures) = arguments(), schedule(30)
    plain, _ = pair()
    sorted_, _ = pair()
    order = np.arange(N_IN + N_HIDDEN, dtype=np.int32)  # where each node came from
    for k in range(0, 30, 10):
        at = slice(k, k + 10)
        rows = slice(k * BATCH, (k + 10) * BATCH)
        part = (*data[:3], data[3][rows], data[4][at], data[5][at], budgets[at], temperatures[at])
        assert error(sorted_.run(*part), plain.run(*part)) < 1e-5
        step = best_first(ranks(sorted_.get_shadow()[0]))
        sorted_.permute(step)
        order = order[step]
    np.testing.assert_allclose(sorted_.get_shadow()[0], plain.get_shadow()[0][order[N_IN:] - N_IN], rtol=1e-4)
    rank = ranks(plain.get_shadow()[0])
    plain.freeze(rank)
    sorted_.freeze(rank[order[N_IN:] - N_IN])
    hard = (*data, np.rint(budgets), temperatures)
    assert error(sorted_.run(*hard), plain.run(*hard)) < 2e-5
    outputs = np.arange(WIDTHS[-1]) + N_HIDDEN
    for found, wanted, nodes in zip(
        sorted_.get_corrections(),
        plain.get_corrections(),
        (order, np.concatenate([order[N_IN:] - N_IN, outputs])),
        strict=True,
    ):
        assert error(found, wanted[:, nodes]) < 1e-3


def test_corrections_go_in_and_out():
    core, twin = pair()
    rng = np.random.default_rng(6)
    gain, shift = (rng.normal(size=a.shape).astype(np.float32) for a in (twin.gain, twin.shift))
    core.set_corrections(gain, shift)
    assert bits(*core.get_corrections()) == bits(gain, shift)


def test_no_path_and_wrong_paths():
    core, _ = pair()
    bare = _core.Trainer(WIDTHS, "relu", "squared_error")
    for call in (
        lambda: bare.freeze(np.zeros(N_HIDDEN, np.int32)),
        lambda: bare.permute(np.arange(N_IN + N_HIDDEN, dtype=np.int32)),
        bare.get_corrections,
    ):
        with pytest.raises(RuntimeError, match="call set_path first"):
            call()
    with pytest.raises(ValueError, match="a shadow of one group, this training has 0"):
        bare.set_path(KNOTS, 3)
    with pytest.raises(ValueError, match="passes is 1"):
        core.set_path(KNOTS, 1)
    with pytest.raises(ValueError, match="knots must rise"):
        core.set_path(KNOTS[::-1].copy(), 3)
    with pytest.raises(ValueError, match="knots has 1 entries"):
        core.set_path(KNOTS[:1], 3)
    vast = _core.Trainer(WIDTHS, "relu", "squared_error", batch_size=2**62)
    vast.set_shadow([(INDEX, np.zeros(N_HIDDEN), None, 0.02)])
    with pytest.raises(MemoryError):
        vast.set_path(KNOTS, 3)
    with pytest.raises(ValueError, match="order holds"):
        core.permute(np.arange(N_IN + N_HIDDEN, dtype=np.int32)[::-1].copy())
    with pytest.raises(ValueError, match="rank"):
        core.freeze(np.zeros(3, np.int32))
    budgets, temperatures = schedule(30)
    with pytest.raises(ValueError, match="budgets"):
        core.run(*arguments(), budgets[:, :1].copy(), temperatures)


def test_a_new_shadow_ends_the_path():
    core, _ = pair()
    core.set_shadow([])
    with pytest.raises(RuntimeError, match="call set_path first"):
        core.get_corrections()
    assert np.isfinite(core.run(*arguments(), None, None)).all()
