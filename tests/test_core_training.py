"""Losses, optimisers and the training loop of the C core against the float64 twin."""

import itertools

import numpy as np
import pytest
from core_cases import (
    ACTIVATIONS,
    FAMILIES,
    FORWARD_TOLERANCE,
    GRADIENT_TOLERANCE,
    LOSSES,
    TRAINING_TOLERANCE,
    bits,
    error,
    make_order,
    make_params,
    make_targets,
    schedule,
    seeded_training,
    training_data,
)
from hypothesis import given
from hypothesis import strategies as st

from shadowprune import _core
from shadowprune import _reference as twin

seeds = st.integers(0, 2**32 - 1)

# --- losses


@given(
    st.sampled_from(LOSSES),
    st.integers(1, 300),
    st.integers(1, 20),
    st.booleans(),
    st.floats(0.01, 30),
    seeds,
)
def test_losses(kind, n, n_out, weighted, size, seed):
    rng = np.random.default_rng(seed)
    z = (size * rng.normal(size=(n, n_out))).astype(np.float32)
    target = make_targets(rng, kind, n, n_out)
    weight = rng.normal(size=n).astype(np.float32) if weighted else None
    value, dz = _core.loss(kind, z, target, weight)
    wanted, twin_dz = twin.loss(kind, z, target, weight)
    terms = np.abs(np.ones(n) if weight is None else weight).mean()
    scale = terms * max(1.0, np.abs(z).max() ** (2 if kind == "squared_error" else 1)) * n_out
    assert abs(value - wanted) <= FORWARD_TOLERANCE * scale
    assert dz.shape == z.shape
    # Where the answer is nearly certain, dz is the difference of two numbers near 1: absolute, not relative.
    np.testing.assert_allclose(dz, twin_dz, rtol=GRADIENT_TOLERANCE, atol=1e-6 * terms / n * max(1.0, terms))


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_of_soft_targets_and_usual_logits(rng, kind):
    """The plain relative measure: 1e-5 for the value, 1e-4 for the gradient."""
    z = rng.normal(size=(200, 4)).astype(np.float32)
    target = (rng.dirichlet(np.ones(4), size=200) * 0.9).astype(np.float32)
    weight = rng.uniform(-0.5, 2, size=200).astype(np.float32)
    value, dz = _core.loss(kind, z, target, weight)
    wanted, twin_dz = twin.loss(kind, z, target, weight)
    assert value == pytest.approx(wanted, rel=FORWARD_TOLERANCE)
    assert error(dz, twin_dz) < GRADIENT_TOLERANCE


@pytest.mark.parametrize("kind", LOSSES[:2])
def test_losses_of_large_logits(kind):
    z, target = (
        np.array([[1e4, -1e4], [3e38, -3e38]], dtype=np.float32),
        np.array([[0, 1], [1, 0]], dtype=np.float32),
    )
    value, dz = _core.loss(kind, z, target)
    assert value == pytest.approx(1e4)
    np.testing.assert_array_equal(dz, [[0.5, -0.5], [0, 0]])


# --- optimisers


def optimiser_case(rng, n=1003):
    params = rng.normal(size=n).astype(np.float32)
    decay = np.where(rng.random(n) < 0.5, 0.0, 0.4).astype(np.float32)
    return params, decay


@pytest.mark.parametrize("decayed", [False, True])
def test_adam_steps(rng, decayed):
    params, decay = optimiser_case(rng)
    decay = decay if decayed else None
    m, v = np.zeros_like(params), np.zeros_like(params)
    exact = [a.astype(np.float64) for a in (params, m, v)]
    for step in range(1, 51):
        # Gradients over six orders of magnitude, some of them zero.
        grad = (rng.normal(size=len(params)) * 10.0 ** rng.uniform(-5, 1, size=len(params))).astype(
            np.float32
        )
        grad[::17] = 0
        _core.adam_step(params, grad, m, v, step, 5e-3, 0.9, 0.999, 1e-8, decay)
        twin.adam_step(exact[0], grad, exact[1], exact[2], step, 5e-3, 0.9, 0.999, 1e-8, decay)
    for found, wanted in zip((params, m, v), exact, strict=True):
        assert error(found, wanted) < 2e-6


@pytest.mark.parametrize("decayed", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_steps(rng, momentum, nesterov, decayed):
    params, decay = optimiser_case(rng)
    decay, velocity = decay if decayed else None, np.zeros_like(params)
    exact, exact_velocity = params.astype(np.float64), np.zeros(len(params))
    for _ in range(50):
        grad = rng.normal(size=len(params)).astype(np.float32)
        _core.sgd_step(params, grad, velocity, 0.01, momentum, nesterov, decay)
        twin.sgd_step(exact, grad, exact_velocity, 0.01, momentum, nesterov, decay)
    assert error(params, exact) < 2e-6
    assert error(velocity, exact_velocity) < 2e-6


@given(st.integers(1, 70), seeds)
def test_optimisers_touch_their_arrays_only(n, seed):
    """Any length, inside a larger buffer whose other entries must not change."""
    rng = np.random.default_rng(seed)
    buffer = rng.normal(size=(4, n + 40)).astype(np.float32)
    buffer[3] = np.abs(buffer[3])
    before = buffer.copy()
    w, grad, m, v = buffer[:, 20 : 20 + n]
    _core.adam_step(w, grad, m, v, 3, 1e-2, 0.9, 0.999, 1e-8)
    _core.sgd_step(w, grad, m, 1e-2, 0.9, True)
    outside = np.r_[0:20, 20 + n : n + 40]
    assert bits(buffer[:, outside]) == bits(before[:, outside])
    assert bits(grad) == bits(before[1, 20 : 20 + n])


# --- the training loop

WIDTHS = (6, 20, 15, 1)
N_GATES = 41


def run_case(
    core,
    activation="relu",
    *,
    widths=WIDTHS,
    loss="binary_crossentropy",
    steps=100,
    batch_size=32,
    shadow=None,
    family="logistic",
    weights=None,
    rate=2e-3,
    decay=0.1,
    order=None,
    **options,
):
    """Train on the usual data; returns (losses, params, m, v, scores, gates)."""
    x, target = training_data(n_in=widths[0], n_out=widths[-1])
    if loss == "squared_error":
        target = target + 0.5 * x[:, : widths[-1]]
    rng = np.random.default_rng(11)
    params = make_params(rng, widths)
    trainer = core.Trainer(widths, activation, loss, batch_size=batch_size, **options)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    n_gates, budgets = sum(widths[:-1]), ()
    if shadow == "hidden":
        n = n_gates - widths[0]
        where = np.arange(widths[0], n_gates, dtype=np.int32)
        trainer.set_shadow([(where, 0.01 * rng.normal(size=n), None, 0.02)], family)
        budgets = schedule(steps, n, 0.4 * n)
    elif shadow == "inputs and part":
        where = np.arange(widths[0], n_gates - 3, 2, dtype=np.int32)[::-1].copy()  # any order of indices
        cost = rng.uniform(0.5, 2, size=len(where))
        groups = [
            (np.arange(widths[0], dtype=np.int32), 0.01 * rng.normal(size=widths[0]), None, 0.05),
            (where, 0.01 * rng.normal(size=len(where)), cost, 0.02),
        ]
        trainer.set_shadow(groups, family)
        first, second = schedule(steps, widths[0], 3, 1.0), schedule(steps, cost.sum(), 0.5 * cost.sum())
        budgets = np.hstack([first[0], second[0]]), np.hstack([first[1], second[1]])
    elif shadow == "multiplications":
        layer = np.repeat(np.arange(len(widths) - 1, dtype=np.int32), widths[:-1])
        fixed = np.zeros(len(widths))
        fixed[-1] = widths[-1]
        cost = (0.5 * layer, layer, fixed, rng.uniform(0.5, 1, size=len(widths) - 1))
        where = np.arange(n_gates, dtype=np.int32)
        trainer.set_shadow([(where, 0.01 * rng.normal(size=n_gates), cost, 0.02)], family)
        total = twin.cost_of(cost, np.ones(n_gates))[0]
        budgets = schedule(steps, total, 0.3 * total)
    weight = None
    if weights:
        weight = np.random.default_rng(2).uniform(*weights, size=len(x)).astype(np.float32)
    rates = (rate * (1 - np.arange(steps) / steps)).astype(np.float32)
    order = make_order(1, len(x), steps, batch_size) if order is None else order
    decays = np.full(steps, decay, dtype=np.float32)
    losses = trainer.run(x, target, weight, order, rates, decays, *budgets)
    params, m, v, step = trainer.get_state()
    assert step == steps
    scores = np.concatenate([*trainer.get_shadow(), [0.0]])
    return losses, params, m, v, scores, trainer.gates()


def assert_alike(found, wanted, tolerance=TRAINING_TOLERANCE):
    losses, params, _, _, scores, gates = (error(f, w) for f, w in zip(found, wanted, strict=True))
    assert params < tolerance
    assert losses < tolerance
    # The last gates are steep in the scores (T = 0.02), which have been through all steps.
    assert scores < 10 * tolerance
    assert gates < 100 * tolerance


@pytest.mark.parametrize(
    "weights", [None, (0.1, 2.0), (-0.5, 2.0)], ids=["unweighted", "weighted", "some negative"]
)
@pytest.mark.parametrize("shadow", [None, "hidden", "inputs and part", "multiplications"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_hundred_adam_steps(activation, shadow, weights):
    found, wanted = (run_case(core, activation, shadow=shadow, weights=weights) for core in (_core, twin))
    assert wanted[0][-20:].mean() < 0.95 * wanted[0][:20].mean()  # it has learnt, the steps are not idle
    assert_alike(found, wanted)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hundred_shadow_steps_of_every_activation(activation, family):
    found, wanted = (run_case(core, activation, shadow="hidden", family=family) for core in (_core, twin))
    assert_alike(found, wanted)


@pytest.mark.parametrize("shadow", [None, "hidden"])
@pytest.mark.parametrize(("loss", "n_out"), [(kind, n_out) for kind in LOSSES for n_out in (2, 5)])
def test_hundred_steps_of_every_loss(loss, n_out, shadow):
    case = {"widths": (6, 20, 15, n_out), "loss": loss, "shadow": shadow, "weights": (-0.5, 2.0)}
    assert_alike(run_case(_core, "tanh", **case), run_case(twin, "tanh", **case))


@pytest.mark.parametrize("shadow", [None, "hidden"])
@pytest.mark.parametrize("options", [{"nesterov": True}, {"nesterov": False}, {"momentum": 0.0}])
def test_hundred_sgd_steps(options, shadow):
    case = {"optimizer": "sgd", "rate": 0.05, "shadow": shadow, **options}
    assert_alike(run_case(_core, "tanh", **case), run_case(twin, "tanh", **case))


def test_adam_options_arrive():
    case = {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "decay": 0.5}
    found, wanted = run_case(_core, "tanh", **case), run_case(twin, "tanh", **case)
    assert_alike(found, wanted)
    assert error(found[1], run_case(twin, "tanh", decay=0.5)[1]) > 1e-3


@pytest.mark.parametrize("widths", [(6, 1), (6, 1, 1, 1), (1, 100, 1), (6, 70, 130, 3)])
def test_odd_layouts(widths):
    case = {
        "widths": widths,
        "steps": 40,
        "loss": "squared_error",
        "shadow": "hidden" if len(widths) > 2 else None,
    }
    assert_alike(run_case(_core, "tanh", **case), run_case(twin, "tanh", **case))


@pytest.mark.parametrize(
    ("batch_size", "n"), [(1, 7), (32, 100), (129, 400), (400, 400), (1000, 400), (64, 65), (512, 1)]
)
def test_batches_of_any_size(batch_size, n):
    """A batch larger than the data, a last short one, single rows, rows named twice."""
    order = np.random.default_rng(0).integers(0, 400, size=n).astype(np.int32)
    case = {"batch_size": batch_size, "order": order, "steps": -(-n // batch_size), "shadow": "hidden"}
    found, wanted = run_case(_core, "tanh", **case), run_case(twin, "tanh", **case)
    assert len(found[0]) == -(-n // batch_size)
    assert_alike(found, wanted)


def test_gates_hold_their_budget_after_any_step():
    for steps in (1, 2, 30, 70, 100):
        n = N_GATES - WIDTHS[0]
        gates = run_case(_core, shadow="hidden", steps=steps)[-1]
        budgets, _ = schedule(steps, n, 0.4 * n)
        assert gates.dtype == np.float32
        assert (gates[: WIDTHS[0]] == 1).all()
        assert gates[WIDTHS[0] :].astype(np.float64).sum() == pytest.approx(budgets[-1, 0], abs=n * 2.0**-25)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_full_shadow_is_ordinary_training_bit_for_bit(activation, optimizer):
    widths, steps = (6, 70, 33, 2), 60
    x, target = training_data(n_in=6, n_out=2)
    results = []
    for shadow in (False, True):
        rng = np.random.default_rng(0)
        params = make_params(rng, widths)
        trainer = _core.Trainer(widths, activation, "categorical_crossentropy", optimizer, 50)
        trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
        budgets = ()
        if shadow:
            trainer.set_shadow([(np.arange(6, 109, dtype=np.int32), rng.normal(size=103), None, 0.02)])
            budgets = np.full((steps, 1), 103.0), np.linspace(0.3, 0.02, steps)[:, None]
        rates, decays = np.full(steps, 1e-2, dtype=np.float32), np.full(steps, 0.5, dtype=np.float32)
        losses = trainer.run(x, target, None, make_order(3, 400, steps, 50), rates, decays, *budgets)
        results.append(bits(losses, *trainer.get_state()[:3]))
    assert results[0] == results[1]


def make_trainer(shadow=True):
    """A trainer on the usual data, the arguments of its run as columns of steps, and its order."""
    x, target = training_data()
    rng = np.random.default_rng(5)
    params = make_params(rng, WIDTHS)
    trainer = _core.Trainer(WIDTHS, "relu", "binary_crossentropy", batch_size=32)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    columns = [np.full(60, 1e-2, dtype=np.float32), np.full(60, 0.1, dtype=np.float32)]
    if shadow:
        trainer.set_shadow([(np.arange(6, N_GATES, dtype=np.int32), rng.normal(size=35), None, 0.02)])
        columns += schedule(60, 35, 10)
    return trainer, (x, target, None), columns, make_order(0, 400, 60, 32)


@pytest.mark.parametrize("shadow", [False, True])
def test_a_run_in_parts_is_the_whole_run(shadow):
    """Callbacks, progress bars and Ctrl-C rest on this: all state lives in the trainer."""
    trainer, data, columns, order = make_trainer(shadow)
    whole = trainer.run(*data, order, *columns)
    parts, cuts = make_trainer(shadow)[0], [0, 1, 7, 40, 60]
    losses = [
        parts.run(*data, order[32 * a : 32 * b], *(c[a:b] for c in columns))
        for a, b in itertools.pairwise(cuts)
    ]
    assert bits(*losses) == bits(whole)
    assert bits(*parts.get_state()[:3], *parts.get_shadow()) == bits(
        *trainer.get_state()[:3], *trainer.get_shadow()
    )


def test_a_long_run_keeps_its_schedule():
    """A run of a second looks up for Ctrl-C now and then; after each look it goes on where it was."""
    widths, steps, n_gates = (64, 256, 256, 1), 50, 576
    rng = np.random.default_rng(0)
    x, params = rng.normal(size=(1024, 64)).astype(np.float32), make_params(rng, widths)
    order = make_order(0, 1024, steps, 512)
    columns = [rng.uniform(0, 1e-2, size=steps).astype(np.float32) for _ in range(2)]
    columns += [rng.uniform(300, 500, size=(steps, 1)), rng.uniform(0.1, 0.3, size=(steps, 1))]
    results = []
    for each in (steps, 1):
        trainer = _core.Trainer(widths, "relu", "squared_error", batch_size=512)
        trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
        trainer.set_shadow([(np.arange(n_gates, dtype=np.int32), np.linspace(-1, 1, n_gates), None, 0.02)])
        losses = [
            trainer.run(
                x, x[:, :1], None, order[512 * t : 512 * (t + each)], *(c[t : t + each] for c in columns)
            )
            for t in range(0, steps, each)
        ]
        results.append(bits(*losses, *trainer.get_state()[:3], *trainer.get_shadow()))
    assert results[0] == results[1]


def test_state_goes_to_another_trainer():
    trainer, data, columns, order = make_trainer(shadow=False)
    columns = [c[:30] for c in columns]
    trainer.run(*data, order[:960], *columns)
    other = _core.Trainer(WIDTHS, "relu", "binary_crossentropy", batch_size=32)
    other.set_state(*trainer.get_state())
    for each in (trainer, other):
        each.run(*data, order[960:], *columns)
    assert bits(*other.get_state()[:3]) == bits(*trainer.get_state()[:3])
    assert other.get_state()[3] == 60


def test_shadow_may_be_taken_off():
    trainer, data, columns, order = make_trainer()
    trainer.run(*data, order, *columns)
    assert (trainer.gates()[6:] < 1).any()
    trainer.set_shadow([])
    assert trainer.get_shadow() == []
    assert (trainer.gates() == 1).all()
    trainer.run(*data, order, *columns[:2])


def test_results_are_copies():
    trainer, data, columns, order = make_trainer()
    trainer.run(*data, order, *columns)
    kept = (*trainer.get_state()[:3], *trainer.get_shadow(), trainer.gates())
    before = bits(*kept)
    trainer.run(*data, order, *columns)
    assert bits(*kept) == before


def test_nothing_given_is_modified():
    trainer, (x, target, _), columns, order = make_trainer()
    given_arrays = [x, target, np.ones(400, dtype=np.float32), order, *columns]
    before = bits(*given_arrays)
    for array in given_arrays:
        array.flags.writeable = False
    trainer.run(*given_arrays)
    assert bits(*given_arrays) == before


def test_unit_weights_change_no_bit():
    trainer, data, columns, order = make_trainer()
    trainer.run(*data, order, *columns)
    other = make_trainer()[0]
    other.run(*data[:2], np.ones(400, dtype=np.float32), order, *columns)
    assert bits(*trainer.get_state()[:3]) == bits(*other.get_state()[:3])


def test_the_trainer_computes_what_the_pieces_compute():
    """One step of the loop against gates, Model, loss, adam_step and scores_step in a row."""
    trainer, (x, target, _), columns, order = make_trainer()
    scores, (params, m, v, _) = trainer.get_shadow()[0], trainer.get_state()
    rows, budget, temperature = order[:32], 20.0, 0.2
    trainer.run(x, target, None, rows, columns[0][:1], columns[1][:1], np.array([[20.0]]), np.array([[0.2]]))
    gates = np.ones(N_GATES, dtype=np.float32)
    soft, _ = _core.gates(scores, budget, temperature)
    gates[6:] = soft
    model = _core.Model(WIDTHS, "relu")
    _, dz = _core.loss("binary_crossentropy", model.forward(params, x[rows], gates, keep=True), target[rows])
    dparams, dgates = model.backward(dz)
    decay = np.float32(0.1) * twin.weight_mask(WIDTHS).astype(np.float32)
    _core.adam_step(params, dparams, m, v, 1, 1e-2, 0.9, 0.999, 1e-8, decay)
    grad = _core.gates_backward(soft, temperature, dgates[6:].astype(np.float64))
    _core.scores_step(scores, grad, np.zeros(35), 0.0, 1, 0.02)
    assert error(trainer.get_state()[0], params) < 1e-6
    assert error(trainer.get_shadow()[0], scores) < 1e-6


def test_a_seeded_training_reaches_the_twin():
    """200 steps, two shadows, three classes: the same nodes are kept, the losses agree."""
    found, wanted = seeded_training(_core, "tanh"), seeded_training(twin, "tanh")
    np.testing.assert_array_equal(found[3] > 0.5, wanted[3] > 0.5)
    assert error(found[0], wanted[0]) < 1e-3
    assert error(found[1], wanted[1]) < 1e-3
