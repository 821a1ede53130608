"""Whatever the C core is given: no crash, no leak, no reference kept, no half-made object."""

import sys

import numpy as np
import pytest
from core_cases import examples, run_python
from hypothesis import given
from hypothesis import strategies as st
from test_core_errors import (
    N_GATES,
    N_PARAMS,
    ROWS,
    STEPS,
    adam_step,
    backward,
    f32,
    f64,
    forward,
    gates,
    gates_backward,
    i32,
    loss,
    make_model,
    make_trainer,
    reduce,
    run,
    scores_step,
    select,
    set_state,
    sgd_step,
)

from shadowprune import _core


def test_objects_are_not_copied_or_pickled_by_halves():
    for thing in (make_model(), make_trainer()):
        with pytest.raises(TypeError):
            thing.__reduce__()


def test_uninitialised_objects_do_not_crash():
    for kind in (_core.Model, _core.Trainer):
        with pytest.raises((TypeError, ValueError)):
            kind()
        try:
            bare = kind.__new__(kind)
        except TypeError:
            continue
        for name in ("gates", "get_state", "get_shadow"):
            if hasattr(bare, name):
                with pytest.raises((TypeError, ValueError, RuntimeError)):
                    getattr(bare, name)()


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.just(()),
    st.sampled_from(
        [f32(0), f32(6), f64(6), f32(6, 1), f32(ROWS, 3), f32(1, 1, 1), f64(12)[::2], i32(0, 1, 2), object(),
         np.float32(3), np.zeros(6, dtype=">f4"), np.zeros(6, dtype="S3"), np.zeros(6, dtype=object),
         np.zeros(6, dtype="f4,i4"), np.zeros(6, dtype=complex), f32(N_PARAMS), np.ones(N_GATES, dtype=bool)]
    ),
)  # fmt: skip

FUNCTIONS = {
    gates: ["scores", "budget", "temperature", "family", "cost", "theta"],
    gates_backward: ["gates", "temperature", "dgates", "family", "cost"],
    select: ["scores", "layer", "n_nodes", "min_nodes"],
    scores_step: ["scores", "grad", "velocity", "square", "step", "rate"],
    reduce: ["widths", "params", "keep"],
    loss: ["kind", "z", "target", "weight"],
    adam_step: ["params", "grad", "m", "v", "step", "learning_rate", "beta_1", "beta_2", "epsilon", "decay"],
    sgd_step: ["params", "grad", "velocity", "learning_rate", "momentum", "nesterov", "decay"],
    make_model: ["widths", "activation"],
    forward: ["params", "x", "gates", "keep", "out"],
    make_trainer: ["widths", "activation", "loss", "optimizer", "batch_size", "beta_1", "beta_2", "epsilon",
                   "momentum", "nesterov"],
    set_state: ["params", "m", "v", "step"],
    run: ["x", "target", "weight", "order", "learning_rate", "weight_decay", "budgets", "temperatures"],
}  # fmt: skip


@examples(400)
@given(st.data())
def test_junk_never_crashes(data):
    """Whatever stands in whatever place: an answer, or one of four exceptions."""
    function = data.draw(st.sampled_from(list(FUNCTIONS)))
    names = data.draw(st.lists(st.sampled_from(FUNCTIONS[function]), min_size=1, max_size=3, unique=True))
    changes = {name: data.draw(junk, label=name) for name in names}
    try:
        function(**changes)
    except (ValueError, TypeError, OverflowError, RuntimeError):
        pass
    except MemoryError:
        assert "widths" in changes


def test_references_are_returned():
    """Neither success nor refusal keeps hold of an array given."""
    params, x, dz = f32(N_PARAMS), f32(ROWS, 3), f32(ROWS, 2)
    short, order, column = f32(N_PARAMS - 1), np.arange(10, dtype=np.int32), f32(STEPS)
    watched = [params, x, dz, short, order, column]
    before = [sys.getrefcount(array) for array in watched]
    for _ in range(20):
        model, trainer = make_model(), make_trainer()
        model.forward(params, x, keep=True)
        model.backward(dz)
        trainer.set_state(params, params, params, 0)
        trainer.run(x, dz, None, order, column, column)
        for call in (
            lambda: forward(params=short, x=x),
            lambda: forward(params=params, x=x, out=short),
            lambda: backward(short),
            lambda: adam_step(params=params, grad=short),
            lambda: run(x=x, target=dz, order=order, learning_rate=column, weight_decay=short),
        ):
            with pytest.raises((ValueError, TypeError)):
                call()
        del model, trainer
    assert [sys.getrefcount(array) for array in watched] == before


def test_no_leak():
    """Ten thousand calls and refusals in a fresh process must not grow it."""
    code = """
import resource
import numpy as np
import test_core_errors as t

def once():
    t.gates(); t.select(); t.reduce(); t.loss(); t.run(); t.backward(t.f32(t.ROWS, 2))
    for call in (lambda: t.gates(budget=-1.0), lambda: t.run(order=t.i32(99)), lambda: t.forward(x="no"),
                 lambda: t.set_shadow([(t.i32(3), t.f64(1), None, 0.02), 3]),
                 lambda: t.make_model(widths=(1, 0))):
        try:
            call()
        except (ValueError, TypeError):
            pass

def size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

for _ in range(500):
    once()
start = size()
for _ in range(2000):
    once()
print(size() - start)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    assert int(run_python(code)) < 400_000  # 200 bytes a round
