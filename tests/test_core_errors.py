"""Wrong arguments to the C core: an error that says what is wrong, and a process that lives on."""

import numpy as np
import pytest
from core_cases import make_params

from shadowprune import _core

WIDTHS = (3, 5, 4, 2)
N_PARAMS, N_GATES, ROWS, STEPS = 54, 12, 10, 3
NAN, INF = float("nan"), float("inf")


def f32(*shape):
    return np.zeros(shape, dtype=np.float32)


def f64(*shape):
    return np.zeros(shape)


def i32(*values):
    return np.array(values, dtype=np.int32)


def frozen(array):
    array.flags.writeable = False
    return array


def gates(**changes):
    return _core.gates(**{"scores": f64(6), "budget": 3.0, "temperature": 0.1, **changes})


def gates_backward(**changes):
    return _core.gates_backward(**{"gates": f64(6), "temperature": 0.1, "dgates": f64(6), **changes})


def select(**changes):
    return _core.select(
        **{"scores": f64(6), "layer": i32(0, 0, 0, 1, 1, 1), "n_nodes": 3, "min_nodes": 1, **changes}
    )


def scores_step(**changes):
    usual = {"scores": f64(6), "grad": f64(6), "velocity": f64(6), "square": 0.0, "step": 1, "rate": 0.02}
    return _core.scores_step(**{**usual, **changes})


def reduce(**changes):
    keep = np.ones(N_GATES, dtype=bool)
    return _core.reduce(**{"widths": WIDTHS, "params": f32(N_PARAMS), "keep": keep, **changes})


def loss(**changes):
    return _core.loss(**{"kind": "squared_error", "z": f32(4, 2), "target": f32(4, 2), **changes})


def probabilities(**changes):
    return _core.probabilities(*{"z": f32(4, 1), **changes}.values())


def adam_step(**changes):
    arrays = {name: f32(9) for name in ("params", "grad", "m", "v")}
    numbers = {"step": 1, "learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    return _core.adam_step(**{**arrays, **numbers, **changes})


def sgd_step(**changes):
    arrays = {name: f32(9) for name in ("params", "grad", "velocity")}
    return _core.sgd_step(**{**arrays, "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, **changes})


def make_model(**changes):
    return _core.Model(**{"widths": WIDTHS, "activation": "relu", **changes})


def forward(**changes):
    return make_model().forward(**{"params": f32(N_PARAMS), "x": f32(ROWS, 3), **changes})


def backward(dz):
    model = make_model()
    model.forward(f32(N_PARAMS), f32(ROWS, 3), keep=True)
    return model.backward(dz)


def make_trainer(**changes):
    usual = {"widths": WIDTHS, "activation": "relu", "loss": "squared_error", "batch_size": 4}
    return _core.Trainer(**{**usual, **changes})


def set_state(**changes):
    zeros = {name: f32(N_PARAMS) for name in ("params", "m", "v")}
    return make_trainer().set_state(**{**zeros, "step": 0, **changes})


def set_shadow(groups, family="logistic"):
    return make_trainer().set_shadow(groups, family)


def run(shadow=True, **changes):
    trainer = make_trainer()
    usual = {
        "x": f32(ROWS, 3),
        "target": f32(ROWS, 2),
        "weight": None,
        "order": np.arange(10, dtype=np.int32),
        "learning_rate": f32(STEPS),
        "weight_decay": f32(STEPS),
    }
    if shadow:
        trainer.set_shadow([(i32(3, 4, 5, 6), f64(4), None, 0.02)])
        usual |= {"budgets": np.full((STEPS, 1), 2.0), "temperatures": np.full((STEPS, 1), 0.1)}
    return trainer.run(**{**usual, **changes})


CASES = [
    # the layout
    (_core.n_params, {"widths": ()}),
    (_core.n_params, {"widths": (3,)}),
    (_core.n_params, {"widths": (3, 0, 1)}),
    (_core.n_params, {"widths": (3, -2, 1)}),
    (_core.n_params, {"widths": (3, 2.5, 1)}),
    (_core.n_params, {"widths": (3, "4", 1)}),
    (_core.n_params, {"widths": "341"}),
    (_core.n_params, {"widths": 7}),
    (_core.n_params, {"widths": None}),
    (_core.n_params, {"widths": (3, 2**40, 1)}),
    (_core.n_params, {"widths": (3, 2**32 + 5, 1)}),
    (_core.n_params, {"widths": (3, 10**30, 1)}),
    (make_model, {"widths": (2**31 - 1, 2**31 - 1, 1)}),
    (make_trainer, {"widths": (2**30,) * 5}),
    (_core.n_params, {"widths": (2,) * (_core.MAX_LAYERS + 2)}),
    (make_model, {"widths": (3, 0, 1)}),
    (make_model, {"widths": (3,)}),
    (make_model, {"activation": "softplus"}),
    (make_model, {"activation": ""}),
    (make_model, {"activation": None}),
    (make_model, {"activation": 3}),
    # forward
    (forward, {"params": f32(N_PARAMS - 1)}),
    (forward, {"params": f32(N_PARAMS + 1)}),
    (forward, {"params": f32(1, N_PARAMS)}),
    (forward, {"params": None}),
    (forward, {"params": "params"}),
    (forward, {"x": f32(ROWS, 4)}),
    (forward, {"x": f32(ROWS, 2)}),
    (forward, {"x": f32(3)}),
    (forward, {"x": f32(ROWS, 3, 1)}),
    (forward, {"x": None}),
    (forward, {"x": "rows"}),
    (forward, {"x": [["a", "b", "c"]]}),
    (forward, {"x": [[1, 2, 3], [1, 2]]}),
    (forward, {"x": np.zeros((ROWS, 3), dtype=complex)}),
    (forward, {"x": np.full((ROWS, 3), None)}),
    (forward, {"gates": f32(N_GATES - 1)}),
    (forward, {"gates": f32(N_GATES + 2)}),
    (forward, {"out": f32(ROWS, 3)}),
    (forward, {"out": f32(ROWS - 1, 2)}),
    (forward, {"out": f64(ROWS, 2)}),
    (forward, {"out": frozen(f32(ROWS, 2))}),
    (forward, {"out": f32(2, ROWS).T}),
    (forward, {"out": [[0.0, 0.0]] * ROWS}),
    # backward
    (backward, {"dz": f32(ROWS, 3)}),
    (backward, {"dz": f32(ROWS - 1, 2)}),
    (backward, {"dz": f32(ROWS + 1, 2)}),
    (backward, {"dz": f32(ROWS * 2)}),
    (backward, {"dz": None}),
    # reduce
    (reduce, {"keep": np.ones(N_GATES - 1, dtype=bool)}),
    (reduce, {"keep": np.ones(N_GATES + 1, dtype=bool)}),
    (reduce, {"keep": np.ones(N_GATES)}),
    (reduce, {"keep": np.r_[np.ones(3, dtype=bool), np.zeros(5, dtype=bool), np.ones(4, dtype=bool)]}),
    (reduce, {"params": f32(N_PARAMS - 1)}),
    (reduce, {"widths": (3, 5, 4)}),
    # the gates
    (gates, {"budget": 0.0}),
    (gates, {"budget": -1.0}),
    (gates, {"budget": 6.001}),
    (gates, {"budget": NAN}),
    (gates, {"budget": INF}),
    (gates, {"budget": "3"}),
    (gates, {"temperature": 0.0}),
    (gates, {"temperature": -0.1}),
    (gates, {"temperature": NAN}),
    (gates, {"temperature": INF}),
    (gates, {"scores": f64(0)}),
    (gates, {"scores": f64(2, 3)}),
    (gates, {"scores": np.array([0.0, NAN, 0, 0, 0, 0])}),
    (gates, {"scores": np.array([0.0, INF, 0, 0, 0, 0])}),
    (gates, {"family": "normal"}),
    (gates, {"family": None}),
    (gates, {"cost": np.ones(5)}),
    (gates, {"cost": np.array([1.0, 1, 1, 1, 1, NAN])}),
    (gates, {"cost": np.array([1.0, 1, 1, 1, 1, -1])}),
    (gates, {"cost": np.ones(6), "budget": 7.0}),
    (gates, {"cost": (np.ones(5), i32(0, 0, 0, 1, 1, 1), f64(3), f64(2))}),
    (gates, {"cost": (None, i32(0, 0, 0, 1, 1), f64(3), f64(2))}),
    (gates, {"cost": (None, i32(0, 0, 0, 1, 1, 3), f64(3), f64(2))}),
    (gates, {"cost": (None, i32(0, 0, 0, 1, 1, -1), f64(3), f64(2))}),
    (gates, {"cost": (None, i32(0, 0, 0, 1, 1, 1), f64(3), f64(3))}),
    (gates, {"cost": (None, i32(0, 0, 0, 0, 0, 0), f64(1), f64(0))}),
    (gates, {"cost": (None, i32(0, 0, 0, 0, 0, 0), f64(40), f64(39))}),
    (gates, {"cost": (None, i32(0, 0, 0, 1, 1, 1), np.array([0, -1.0, 0]), f64(2))}),
    (gates, {"cost": (None, i32(0, 0, 0, 1, 1, 1), f64(3), np.array([0, NAN]))}),
    (gates_backward, {"temperature": 0.0}),
    (gates_backward, {"temperature": NAN}),
    (gates_backward, {"dgates": f64(5)}),
    (gates_backward, {"cost": np.ones(7)}),
    (gates_backward, {"family": "cauchy"}),
    (gates_backward, {"gates": f64(7)}),
    # the hard finish
    (select, {"layer": i32(0, 0, 0, 1, 1)}),
    (select, {"layer": i32(0, 0, 0, 1, 1, -1)}),
    (select, {"layer": i32(0, 0, 0, 1, 1, 2**31 - 1)}),
    (select, {"n_nodes": 1}),
    (select, {"n_nodes": 7}),
    (select, {"n_nodes": 2.5}),
    (select, {"n_nodes": 2**40}),
    (select, {"min_nodes": 2**40}),
    (select, {"min_nodes": -1}),
    (select, {"min_nodes": 2}),
    (select, {"min_nodes": i32(1)}),
    (select, {"min_nodes": i32(1, -1)}),
    (select, {"max_nodes": 1}),
    (select, {"max_nodes": i32(1, 1, 1)}),
    (select, {"multiple": 2}),
    (select, {"multiple": 0}),
    (select, {"scores": f64(0), "layer": i32()}),
    (select, {"scores": np.array([0.0, NAN, 0, 0, 0, 0])}),
    # the score optimiser
    (scores_step, {"grad": f64(5)}),
    (scores_step, {"velocity": f64(7)}),
    (scores_step, {"scores": frozen(f64(6))}),
    (scores_step, {"velocity": frozen(f64(6))}),
    (scores_step, {"scores": f32(6)}),
    (scores_step, {"scores": f64(12)[::2]}),
    (scores_step, {"scores": [0.0] * 6}),
    (scores_step, {"step": 0}),
    (scores_step, {"step": -3}),
    (scores_step, {"rate": NAN}),
    (scores_step, {"square": NAN}),
    (scores_step, {"square": -1.0}),
    # losses
    (loss, {"kind": "hinge"}),
    (loss, {"kind": None}),
    (loss, {"target": f32(4, 3)}),
    (loss, {"target": f32(5, 2)}),
    (loss, {"target": f32(8)}),
    (loss, {"z": f32(8)}),
    (loss, {"z": f32(0, 2), "target": f32(0, 2)}),
    (loss, {"weight": f32(3)}),
    (loss, {"weight": f32(4, 1)}),
    (probabilities, {"z": f32(4)}),
    (probabilities, {"z": f32(4, 2)}),
    (probabilities, {"z": None}),
    # optimisers
    (adam_step, {"grad": f32(8)}),
    (adam_step, {"m": f32(10)}),
    (adam_step, {"v": f32(3, 3)}),
    (adam_step, {"v": f64(9)}),
    (adam_step, {"params": f64(9)}),
    (adam_step, {"params": frozen(f32(9))}),
    (adam_step, {"m": frozen(f32(9))}),
    (adam_step, {"params": f32(18)[::2]}),
    (adam_step, {"decay": f32(8)}),
    (adam_step, {"step": 0}),
    (adam_step, {"step": -1}),
    (adam_step, {"learning_rate": NAN}),
    (adam_step, {"beta_1": 1.0}),
    (adam_step, {"beta_1": -0.1}),
    (adam_step, {"beta_2": 1.0}),
    (adam_step, {"beta_2": NAN}),
    (adam_step, {"epsilon": -1e-8}),
    (sgd_step, {"grad": f32(8)}),
    (sgd_step, {"velocity": f32(10)}),
    (sgd_step, {"params": frozen(f32(9))}),
    (sgd_step, {"velocity": f64(9)}),
    (sgd_step, {"decay": f32(10)}),
    (sgd_step, {"learning_rate": NAN}),
    (sgd_step, {"momentum": NAN}),
    # the trainer
    (make_trainer, {"widths": (3, 0, 2)}),
    (make_trainer, {"activation": "gelu"}),
    (make_trainer, {"loss": "hinge"}),
    (make_trainer, {"optimizer": "lbfgs"}),
    (make_trainer, {"batch_size": 0}),
    (make_trainer, {"batch_size": -5}),
    (make_trainer, {"batch_size": 2.5}),
    (make_trainer, {"beta_1": 1.0}),
    (make_trainer, {"beta_2": NAN}),
    (make_trainer, {"epsilon": NAN}),
    (make_trainer, {"momentum": NAN}),
    (set_state, {"params": f32(N_PARAMS - 1)}),
    (set_state, {"m": f32(N_PARAMS + 1)}),
    (set_state, {"step": -1}),
    (set_state, {"step": "one"}),
    (set_shadow, {"groups": None}),
    (set_shadow, {"groups": [3]}),
    (set_shadow, {"groups": [(i32(3), f64(1))]}),
    (set_shadow, {"groups": [(i32(3, 4), f64(1), None, 0.02)]}),
    (set_shadow, {"groups": [(i32(3, N_GATES), f64(2), None, 0.02)]}),
    (set_shadow, {"groups": [(i32(3, -1), f64(2), None, 0.02)]}),
    (set_shadow, {"groups": [(i32(3, 3), f64(2), None, 0.02)]}),
    (set_shadow, {"groups": [(i32(3, 4), f64(2), None, 0.02), (i32(4, 5), f64(2), None, 0.02)]}),
    (set_shadow, {"groups": [(i32(3, 4), np.array([0, NAN]), None, 0.02)]}),
    (set_shadow, {"groups": [(i32(3, 4), f64(2), np.ones(3), 0.02)]}),
    (set_shadow, {"groups": [(i32(3, 4), f64(2), np.array([1.0, -1.0]), 0.02)]}),
    (set_shadow, {"groups": [(i32(3, 4), f64(2), None, NAN)]}),
    (set_shadow, {"groups": [(i32(3, 4), f64(2), None, "fast")]}),
    (set_shadow, {"groups": [(i32(), f64(0), None, 0.02)]}),
    (set_shadow, {"groups": [(i32(3, 4), f64(2), None, 0.02)], "family": "normal"}),
    # the run
    (run, {"x": f32(ROWS, 2)}),
    (run, {"x": f32(3)}),
    (run, {"target": f32(ROWS, 1)}),
    (run, {"target": f32(ROWS - 1, 2)}),
    (run, {"target": f32(ROWS * 2)}),
    (run, {"weight": f32(ROWS - 1)}),
    (run, {"weight": f32(ROWS, 1)}),
    (run, {"order": np.arange(1, 11, dtype=np.int32)}),
    (run, {"order": np.arange(-1, 9, dtype=np.int32)}),
    (run, {"order": np.full(10, 2**31 - 1, dtype=np.int32)}),
    (run, {"order": np.full(10, 2**32)}),
    (run, {"order": np.full(10, 2**64 - 1, dtype=np.uint64)}),
    (run, {"order": np.zeros(10)}),
    (run, {"order": np.arange(13, dtype=np.int32) % 10}),
    (run, {"order": np.arange(8, dtype=np.int32)}),
    (run, {"order": np.zeros((5, 2), dtype=np.int32)}),
    (run, {"learning_rate": f32(STEPS - 1)}),
    (run, {"learning_rate": f32(STEPS + 1)}),
    (run, {"learning_rate": np.array([0, NAN, 0], dtype=np.float32)}),
    (run, {"weight_decay": f32(STEPS - 1)}),
    (run, {"weight_decay": f32(STEPS, 1)}),
    (run, {"weight_decay": np.array([0, INF, 0], dtype=np.float32)}),
    (run, {"budgets": None}),
    (run, {"temperatures": None}),
    (run, {"budgets": np.full((STEPS - 1, 1), 2.0)}),
    (run, {"budgets": np.full((STEPS, 2), 2.0)}),
    (run, {"budgets": np.full(STEPS, 2.0)}),
    (run, {"budgets": np.array([[4.0], [2.0], [0.0]])}),
    (run, {"budgets": np.array([[4.5], [2.0], [2.0]])}),
    (run, {"budgets": np.array([[4.0], [NAN], [2.0]])}),
    (run, {"temperatures": np.full((STEPS + 1, 1), 0.1)}),
    (run, {"temperatures": np.array([[0.1], [0.0], [0.1]])}),
    (run, {"temperatures": np.array([[0.1], [NAN], [0.1]])}),
    (run, {"shadow": False, "budgets": np.full((STEPS, 1), 2.0), "temperatures": np.full((STEPS, 1), 0.1)}),
]


def name_of(case):
    function, changes = case
    return f"{function.__name__}-{'-'.join(changes)}"


@pytest.mark.parametrize(("function", "changes"), CASES, ids=[name_of(case) for case in CASES])
def test_refused(function, changes):
    with pytest.raises((ValueError, TypeError, OverflowError)) as caught:
        function(**changes)
    assert len(str(caught.value)) > 10  # a sentence, not a code


@pytest.mark.parametrize(
    "function",
    [
        gates,
        gates_backward,
        select,
        scores_step,
        reduce,
        loss,
        probabilities,
        adam_step,
        sgd_step,
        forward,
        set_state,
        run,
    ],
)
def test_the_usual_arguments_are_accepted(function):
    """Or else the refusals above would prove nothing."""
    function()
    assert backward(f32(ROWS, 2))[0].shape == (N_PARAMS,)
    assert set_shadow([(i32(3, 4), f64(2), np.ones(2), 0.02)], "laplace") is None


@pytest.mark.parametrize(
    ("function", "changes", "words"),
    [
        (gates, {"budget": 6.5}, ["budget", "6.5"]),
        (gates, {"temperature": -0.25}, ["temperature", "-0.25"]),
        (make_model, {"activation": "softplus"}, ["activation", "softplus"]),
        (loss, {"kind": "hinge"}, ["hinge"]),
        (make_trainer, {"optimizer": "lbfgs"}, ["optimizer", "lbfgs"]),
        (forward, {"x": f32(ROWS, 4)}, ["x", "4", "3"]),
        (forward, {"params": f32(7)}, ["params", "7", "54"]),
        (adam_step, {"grad": f32(8)}, ["grad", "8", "9"]),
        (run, {"order": np.full(10, 99, dtype=np.int32)}, ["order", "99"]),
        (run, {"learning_rate": f32(8)}, ["learning_rate", "8", "3"]),
    ],
)
def test_messages_name_argument_value_and_wish(function, changes, words):
    with pytest.raises((ValueError, TypeError)) as caught:
        function(**changes)
    for word in words:
        assert word in str(caught.value)


def test_other_number_types_are_converted(rng):
    """Where nothing is changed in place, float64, lists and wider integers are as good as the type wanted."""
    params, x = make_params(rng, WIDTHS), rng.normal(size=(ROWS, 3)).astype(np.float32)
    wanted = forward(params=params, x=x, gates=np.full(N_GATES, 0.5, dtype=np.float32))
    found = forward(params=params.astype(float), x=x.tolist(), gates=[0.5] * N_GATES)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(reduce(params=params.tolist()), params)
    scores = rng.normal(size=6).astype(np.float32)
    np.testing.assert_array_equal(gates(scores=scores)[0], gates(scores=scores.astype(float))[0])
    layer = np.array([0, 0, 0, 1, 1, 1])
    for kind in (np.int8, np.int64, np.uint32):
        np.testing.assert_array_equal(
            select(scores=scores, layer=layer.astype(kind)), select(scores=scores.astype(float))
        )
    order = np.arange(10)[::-1]
    np.testing.assert_array_equal(run(x=x, order=order), run(x=x, order=order.astype(np.int32)))


def test_backward_needs_a_forward():
    model = make_model()
    with pytest.raises(ValueError, match="forward"):
        model.backward(f32(ROWS, 2))
    model.forward(f32(N_PARAMS), f32(ROWS, 3))
    with pytest.raises(ValueError, match="forward"):
        model.backward(f32(ROWS, 2))
    model.forward(f32(N_PARAMS), f32(ROWS, 3), keep=True)
    model.forward(f32(N_PARAMS), f32(ROWS, 3))  # it has used the memory of the one before
    with pytest.raises(ValueError, match="forward"):
        model.backward(f32(ROWS, 2))


def test_a_failed_forward_leaves_nothing_to_go_back_to_by_mistake():
    model = make_model()
    model.forward(f32(N_PARAMS), f32(ROWS, 3), keep=True)
    with pytest.raises(ValueError, match="x"):
        model.forward(f32(N_PARAMS), f32(2 * ROWS, 4), keep=True)
    with pytest.raises(ValueError, match="dz"):
        model.backward(f32(2 * ROWS, 2))


def test_an_error_in_a_run_leaves_the_trainer_usable():
    rng = np.random.default_rng(0)
    params = make_params(rng, WIDTHS)
    trainer = make_trainer()
    trainer.set_state(params, f32(N_PARAMS), f32(N_PARAMS), 0)
    trainer.set_shadow([(i32(3, 4, 5, 6), f64(4), None, 0.02)])
    x, column = rng.normal(size=(12, 3)).astype(np.float32), np.full(3, 0.1, dtype=np.float32)
    data = x, x[:, :2].copy(), None, np.arange(12, dtype=np.int32), column, column
    with pytest.raises(ValueError, match="budget"):
        trainer.run(*data, np.array([[4.0], [2.0], [-1.0]]), np.full((3, 1), 0.1))
    before = trainer.get_state()[3]
    assert np.isfinite(trainer.run(*data, np.array([[4.0], [3.0], [2.0]]), np.full((3, 1), 0.1))).all()
    assert trainer.get_state()[3] == before + 3


def test_a_refused_shadow_leaves_the_old_one():
    trainer = make_trainer()
    trainer.set_shadow([(i32(3, 4), np.array([1.0, 2.0]), None, 0.02)])
    with pytest.raises(ValueError, match=r"\d"):
        trainer.set_shadow([(i32(5, 6), f64(2), None, 0.02), (i32(3, 99), f64(2), None, 0.02)])
    np.testing.assert_array_equal(trainer.get_shadow(), [[1.0, 2.0]])


def test_empty_batch_has_empty_logits():
    assert forward(x=f32(0, 3)).shape == (0, 2)
