"""Inference takes rows or nodes as lanes, whichever wastes less: the bits of the training's forward pass."""

import numpy as np
import pytest
from core_cases import ACTIVATIONS, FORWARD_TOLERANCE, bits, examples, make_params, make_rows
from hypothesis import given
from hypothesis import strategies as st

from shadowprune import _core
from shadowprune import _reference as twin

layouts = st.lists(st.integers(1, 65), min_size=2, max_size=6)
rows = st.integers(1, 300)
seeds = st.integers(0, 2**32 - 1)


def three_ways(widths, activation, params, x):
    """The forward pass that a backward pass may follow, the one without, and the predictor."""
    model = _core.Model(widths, activation)
    return (
        model.forward(params, x, keep=True),
        model.forward(params, x),
        _core.Predictor(widths, activation, params)(x),
    )


def check(widths, activation, n, rng):
    """Same bits three ways, and near the twin: an output's error is measured by the terms it is a sum of."""
    params = make_params(rng, widths)
    x = make_rows(rng, widths, activation, params, n)
    kept, forward, predicted = three_ways(widths, activation, params, x)
    assert bits(kept) == bits(forward) == bits(predicted)
    exact = params.astype(np.float64)
    deepest = twin.preactivations(widths, activation, exact, x)[-2:-1]
    h = twin.activate(activation, deepest[0]) if deepest else x
    w, b = (np.abs(a) for a in twin.unpack(widths, exact)[-1])
    difference = np.abs(predicted - twin.forward(widths, activation, exact, x)).max()
    assert difference / (np.abs(h) @ w + b).max() < FORWARD_TOLERANCE


@examples(200)
@given(layouts, st.sampled_from(ACTIVATIONS), rows, seeds)
def test_any_layout(widths, activation, n, seed):
    check(widths, activation, n, np.random.default_rng(seed))


@pytest.mark.parametrize("width", range(1, 66))
def test_every_width(width, rng):
    for place, n in enumerate((1, 2, 15, 16, 17, 33, 48, 63, 64, 65, 100, 300)):
        check((width, width, 9, width), ACTIVATIONS[place % len(ACTIVATIONS)], n, rng)


@pytest.mark.parametrize(
    "widths", [(40, 130, 64, 1), (3, 257, 70), (600, 5, 100), (300, 300, 300, 65), (1, 1), (2, 3, 1)]
)
def test_wide_and_tiny_layers(widths, rng):
    for n in (1, 20, 64, 200):
        check(widths, "relu", n, rng)


@given(layouts, st.sampled_from(ACTIVATIONS), rows, seeds)
def test_gates_without_a_backward_pass(widths, activation, n, seed):
    rng = np.random.default_rng(seed)
    params, x = make_params(rng, widths), rng.normal(size=(n, widths[0])).astype(np.float32)
    gates = rng.random(sum(widths[:-1])).astype(np.float32)
    model = _core.Model(widths, activation)
    assert bits(model.forward(params, x, gates)) == bits(model.forward(params, x, gates, keep=True))


def test_zeros_keep_their_sign(rng):
    """A bias of -0 and products of -0 add up to -0, however the sums are spread over lanes."""
    widths = (5, 20, 3)
    params = np.full(_core.n_params(widths), -0.0, dtype=np.float32)
    for activation in ACTIVATIONS:
        found = three_ways(widths, activation, params, np.abs(rng.normal(size=(70, 5))).astype(np.float32))
        assert bits(found[0]) == bits(found[1]) == bits(found[2])
    assert np.signbit(three_ways((5, 3), "relu", params[:18], np.ones((70, 5), np.float32))[2]).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_that_is_no_number_stays_alone(activation, rng):
    widths = (6, 19, 33, 2)
    params, x = make_params(rng, widths), rng.normal(size=(130, 6)).astype(np.float32)
    predictor = _core.Predictor(widths, activation, params)
    wanted = predictor(x)
    for row, value in ((0, np.nan), (63, np.inf), (64, -np.inf), (129, np.nan)):
        spoilt = x.copy()
        spoilt[row] = value
        found = predictor(spoilt)
        kept = _core.Model(widths, activation).forward(params, spoilt, keep=True)
        np.testing.assert_array_equal(found, kept)
        assert bits(np.delete(found, row, axis=0)) == bits(np.delete(wanted, row, axis=0))
        if np.isnan(value):
            assert np.isnan(found[row]).all()
    assert bits(predictor(x)) == bits(wanted)  # nothing of them is left behind


def test_probabilities(rng):
    """Near the twin relative to each probability, the smallest too; a pair adds up to one."""
    for n in (0, 1, 7, 8, 9, 1000):
        z = (30 * rng.normal(size=(n, 1))).astype(np.float32)
        found = _core.probabilities(z)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, twin.probabilities(z), rtol=1e-14)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-15)
    edges = np.array([0, -0.0, np.inf, -np.inf, 690, -690, np.nan], np.float32)[:, None]
    wanted = [[0.5, 0.5], [0.5, 0.5], [0, 1], [1, 0], [np.exp(-690), 1], [1, np.exp(-690)], [np.nan, np.nan]]
    np.testing.assert_allclose(_core.probabilities(edges), wanted, rtol=1e-13)


def test_in_place(rng):
    widths = (7, 11, 7)
    params, x = make_params(rng, widths), rng.normal(size=(200, 7)).astype(np.float32)
    predictor = _core.Predictor(widths, "relu", params)
    wanted = predictor(x)
    assert predictor(x, out=x) is x
    assert bits(x) == bits(wanted)
