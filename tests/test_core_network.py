"""Forward, backward and reduction of the C core against the float64 twin."""

import gc

import numpy as np
import pytest
from core_cases import (
    ACTIVATIONS,
    FORWARD_TOLERANCE,
    GRADIENT_TOLERANCE,
    bits,
    error,
    examples,
    make_params,
    make_rows,
)
from hypothesis import given
from hypothesis import strategies as st

from shadowprune import _core
from shadowprune import _reference as twin

layouts = st.lists(st.integers(1, 100), min_size=2, max_size=8)  # up to six hidden layers
rows = st.integers(1, 300)
seeds = st.integers(0, 2**32 - 1)
activations = st.sampled_from(ACTIVATIONS)


def compare(widths, activation, n, gated, rng):
    """Errors of forward, of the parameters' gradient and of the gates' gradient."""
    params = make_params(rng, widths)
    gates = rng.random(sum(widths[:-1])).astype(np.float32) if gated else None
    x = make_rows(rng, widths, activation, params, n, gates)
    dz = rng.normal(size=(n, widths[-1])).astype(np.float32) / n
    model = _core.Model(widths, activation)
    z = model.forward(params, x, gates, keep=True)
    dparams, dgates = model.backward(dz)
    assert z.dtype == dparams.dtype == dgates.dtype == np.float32
    exact = params.astype(np.float64)
    wanted = twin.backward(widths, activation, exact, x, dz, gates)
    # Where an output is a small difference of large terms, its error is measured by the terms.
    last = [np.abs(a) for a in twin.unpack(widths, exact)[-1]]
    deepest = twin.preactivations(widths, activation, exact, x, gates)[-2:-1]
    h = np.abs(twin.activate(activation, deepest[0]) if deepest else x)
    if gated:
        h = h * gates[len(gates) - widths[-2] :]
    exact_z = twin.forward(widths, activation, exact, x, gates)
    terms = (h @ last[0] + last[1]).max()
    return np.abs(z - exact_z).max() / terms, error(dparams, wanted[0]), error(dgates, wanted[1])


@examples(150)
@given(layouts, activations, rows, st.booleans(), seeds)
def test_any_layout_agrees_with_the_twin(widths, activation, n, gated, seed):
    forward, dparams, dgates = compare(widths, activation, n, gated, np.random.default_rng(seed))
    assert forward < FORWARD_TOLERANCE
    assert dparams < GRADIENT_TOLERANCE
    assert dgates < GRADIENT_TOLERANCE


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "widths",
    [(40, 64, 64, 64, 64, 1), (40, 64, 64, 64, 64, 5), (16, 64, 32, 32, 5), (3, 200, 130, 65, 2), (1, 1, 1)],
)
def test_usual_layouts(rng, widths, activation, gated):
    """The same on layouts people use, relative to the largest logit, over several blocks of rows."""
    params = make_params(rng, widths)
    gates = rng.random(sum(widths[:-1])).astype(np.float32) if gated else None
    x = make_rows(rng, widths, activation, params, 261, gates)
    exact = params.astype(np.float64)
    model = _core.Model(widths, activation)
    z = model.forward(params, x, gates, keep=True)
    assert error(z, twin.forward(widths, activation, exact, x, gates)) < FORWARD_TOLERANCE
    dz = rng.normal(size=z.shape).astype(np.float32)
    found = model.backward(dz)
    wanted = twin.backward(widths, activation, exact, x, dz, gates)
    assert error(found[0], wanted[0]) < GRADIENT_TOLERANCE
    assert error(found[1], wanted[1]) < GRADIENT_TOLERANCE
    for (w, b), (w0, b0) in zip(twin.unpack(widths, found[0]), twin.unpack(widths, wanted[0]), strict=True):
        assert error(w, w0) < GRADIENT_TOLERANCE  # no layer hides behind another's larger entries
        assert error(b, b0) < GRADIENT_TOLERANCE


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_activations_over_their_whole_range(activation):
    """One node at a time, from 1e-30 to overflow: absolute 1e-6, and relative near 0 for tanh."""
    x = np.concatenate([np.geomspace(1e-30, 1e30, 2001), np.linspace(0, 20, 4001), [0.0, 3e38]])
    x = np.concatenate([x, -x]).astype(np.float32)[:, None]
    one = np.array([1, 0, 1, 0], dtype=np.float32)
    model = _core.Model((1, 1, 1), activation)
    z = model.forward(one, x, keep=True)
    wanted = twin.activate(activation, x.astype(np.float64))
    assert np.isfinite(z).all()
    np.testing.assert_allclose(
        z, wanted, rtol=1e-6 if activation == "tanh" else 0, atol=1e-6 * (activation != "tanh")
    )
    middle = np.abs(x[:, 0]) < 8
    np.testing.assert_allclose(z[middle], wanted[middle], rtol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rows_do_not_depend_on_their_neighbours(rng, activation):
    """Any part of a batch gives the bits of the whole batch."""
    widths = (7, 33, 20, 3)
    params, x = make_params(rng, widths), rng.normal(size=(391, 7)).astype(np.float32)
    model = _core.Model(widths, activation)
    whole = model.forward(params, x)
    for start, stop in ((0, 1), (5, 6), (0, 127), (1, 129), (100, 391), (390, 391)):
        assert bits(model.forward(params, x[start:stop])) == bits(whole[start:stop])


def variants(x):
    """The same numbers in memory of every kind."""
    wide = np.full((2 * len(x), 3 * x.shape[1]), np.nan, dtype=x.dtype)
    wide[::2, 1::3] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    raw = np.zeros(x.nbytes + 1, dtype=np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[:] = x
    return {
        "float64": x.astype(np.float64),
        "float16": x.astype(np.float16),
        "Fortran": np.asfortranarray(x),
        "strided": wide[::2, 1::3],
        "backward": x[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": x.astype(">f4"),
        "big-endian float64": x.astype(">f8"),
        "read-only": frozen,
        "unaligned": unaligned,
        "list": x.tolist(),
        "int64": x.astype(np.int64),
        "int8": x.astype(np.int8),
        "bool": x.astype(bool),
    }


@pytest.mark.parametrize("name", list(variants(np.ones((2, 3), dtype=np.float32))))
@pytest.mark.parametrize("n", [1, 37])
def test_x_may_be_any_array(rng, name, n):
    widths = (5, 9, 2)
    params = make_params(rng, widths)
    x = rng.integers(-8, 8, size=(n, 5)).astype(np.float32) / (
        1 if "int" in name else 4
    )  # exact in all these types
    if name == "bool":
        x = (x > 0).astype(np.float32)
    given_x = variants(x)[name]
    before = np.array(given_x, copy=True)
    model = _core.Model(widths, "tanh")
    wanted = model.forward(params, x, keep=True)
    gradients = model.backward(wanted)
    found = model.forward(params, given_x, keep=True)
    assert bits(found) == bits(wanted)
    assert bits(*model.backward(found)) == bits(*gradients)
    np.testing.assert_array_equal(np.asarray(given_x), before)


def test_nothing_given_is_modified(rng):
    widths = (6, 11, 8, 2)
    given_arrays = [
        make_params(rng, widths),
        rng.normal(size=(50, 6)).astype(np.float32),
        rng.random(25).astype(np.float32),
        rng.normal(size=(50, 2)).astype(np.float32),
    ]
    before = bits(*given_arrays)
    for array in given_arrays:
        array.flags.writeable = False
    params, x, gates, dz = given_arrays
    model = _core.Model(widths, "sigmoid")
    model.forward(params, x, gates, keep=True)
    model.backward(dz)
    _core.reduce(widths, params, np.ones(25, dtype=bool))
    assert bits(*given_arrays) == before


def test_out_receives_the_logits(rng):
    widths = (6, 11, 2)
    params, x = make_params(rng, widths), rng.normal(size=(50, 6)).astype(np.float32)
    model, out = _core.Model(widths, "relu"), np.full((50, 2), np.nan, dtype=np.float32)
    assert model.forward(params, x, out=out) is out
    assert bits(out) == bits(model.forward(params, x))


def test_backward_outlives_the_arrays_of_forward(rng):
    widths = (6, 11, 2)
    params, x = make_params(rng, widths), rng.normal(size=(300, 6)).astype(np.float32)
    dz = rng.normal(size=(300, 2)).astype(np.float32)
    model = _core.Model(widths, "tanh")
    model.forward(params, x, keep=True)
    wanted = model.backward(dz)
    model.forward(params.copy(), x.copy(), keep=True)
    gc.collect()
    np.full((300, 6), np.nan, dtype=np.float32)
    assert bits(*model.backward(dz)) == bits(*wanted)


def test_models_do_not_share_memory(rng):
    widths = (6, 11, 2)
    x = rng.normal(size=(20, 6)).astype(np.float32)
    first, second = make_params(rng, widths), make_params(rng, widths)
    a, b = _core.Model(widths, "tanh"), _core.Model(widths, "tanh")
    z = a.forward(first, x, keep=True)
    kept = z.copy()
    b.forward(second, x, keep=True)
    assert bits(z) == bits(kept)
    wanted = twin.backward(widths, "tanh", first.astype(np.float64), x, z)
    assert error(a.backward(z)[0], wanted[0]) < GRADIENT_TOLERANCE


# --- reduction


def draw_keep(rng, widths, share):
    """Flags of inputs and hidden nodes, at least one per layer."""
    keep = rng.random(sum(widths[:-1])) < share
    for flags in twin.split_gates(widths, keep):
        flags[rng.integers(len(flags))] = True
    return keep


def reduced_widths(widths, keep):
    return (*(int(flags.sum()) for flags in twin.split_gates(widths, keep)), widths[-1])


@examples(200)
@given(layouts, activations, rows, st.floats(0.0, 1.0), seeds)
def test_reduced_network_is_the_gated_network_bit_for_bit(widths, activation, n, share, seed):
    rng = np.random.default_rng(seed)
    params, x = make_params(rng, widths), rng.normal(size=(n, widths[0])).astype(np.float32)
    keep = draw_keep(rng, widths, share)
    small = reduced_widths(widths, keep)
    gated = _core.Model(widths, activation).forward(params, x, keep.astype(np.float32))
    reduced = _core.reduce(widths, params, keep)
    assert reduced.shape == (_core.n_params(small),)
    found = _core.Model(small, activation).forward(reduced, x[:, keep[: widths[0]]])
    assert bits(found) == bits(gated)


@given(layouts, st.floats(0.0, 1.0), seeds)
def test_reduce_picks_rows_and_columns(widths, share, seed):
    rng = np.random.default_rng(seed)
    params, keep = make_params(rng, widths), draw_keep(rng, widths, share)
    assert bits(_core.reduce(widths, params, keep)) == bits(twin.reduce(widths, params, keep))


@given(layouts)
def test_n_params(widths):
    assert _core.n_params(widths) == twin.n_params(widths)


def test_dead_nodes_give_exactly_nothing(rng):
    """However large their weights: the logits are those of a network in which these weights are zero."""
    widths = (6, 40, 20, 3)
    params, x = make_params(rng, widths), rng.normal(size=(50, 6)).astype(np.float32)
    keep = draw_keep(rng, widths, 0.5)
    loud, silent = params.copy(), params.copy()
    for flat, value in ((loud, 1e25), (silent, 0.0)):
        for (weights, _), alive in zip(
            twin.unpack(widths, flat), twin.split_gates(widths, keep), strict=True
        ):
            weights[~alive] = value
    model = _core.Model(widths, "relu")
    assert bits(model.forward(loud, x, keep.astype(np.float32))) == bits(model.forward(silent, x))


def test_open_gates_change_no_bit(rng):
    widths = (6, 70, 9, 3)
    params, x = make_params(rng, widths), rng.normal(size=(50, 6)).astype(np.float32)
    model = _core.Model(widths, "leaky_relu")
    ones = np.ones(85, dtype=np.float32)
    assert bits(model.forward(params, x, ones)) == bits(model.forward(params, x))
