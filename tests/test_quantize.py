"""From a network to fixed point: which types are chosen, what is refused, what is warned of."""

from __future__ import annotations

import re

import numpy as np
import pytest
from firmware_cases import ACTIVATIONS, CALIBRATION, X10, Widths, infinite, network, small

import shadowprune as sp
from shadowprune.fixedpoint import FixedType
from shadowprune.quantization import MARGIN, measure


def test_integer_bits_follow_from_the_sample():
    net = network((6, 5))
    ranges = measure(net, CALIBRATION)
    h = CALIBRATION.astype(np.float64)
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        z = h @ w.astype(np.float64) + b
        np.testing.assert_allclose(ranges.means[i], h.mean(axis=0))
        np.testing.assert_allclose((ranges.low[i], ranges.high[i]), (z.min(), z.max()))
        h = np.maximum(z, 0)
    fixed = sp.quantize(net, "auto:16", CALIBRATION)
    for i, layer in enumerate(fixed.layers):
        above = layer.output_type.high + layer.output_type.step
        if i < 2:
            assert MARGIN * ranges.high[i] <= above <= 2 * MARGIN * ranges.high[i]
        else:  # logits have the range of their sum, and no more bits than float32
            assert layer.output_type.integer == layer.accum_type.integer and layer.output_type.width == 24
            assert above >= max(-ranges.low[i], ranges.high[i])
        largest = np.abs(layer.weights).max()
        assert largest <= -layer.weight_type.low <= 2 * largest * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_no_sum_wraps_whatever_the_input(seed):
    rng = np.random.default_rng(seed)
    hidden = tuple(rng.integers(1, 40, rng.integers(1, 4)))
    net = network(hidden, ACTIVATIONS[seed % 5], seed=seed)
    fixed = sp.quantize(net, f"auto:{rng.integers(4, 20)}", CALIBRATION)
    x = fixed.aligned_type
    for layer in fixed.layers:
        w = layer.weights
        above = np.maximum(w * x.high, w * x.low).sum(axis=0) + np.abs(layer.bias)
        below = np.minimum(w * x.high, w * x.low).sum(axis=0) - np.abs(layer.bias)
        assert above.max() <= layer.accum_type.high and below.min() >= layer.accum_type.low
        assert layer.accum_type.fractional == x.fractional + layer.weight_type.fractional
        np.testing.assert_array_equal(layer.bias, layer.accum_type.cast(layer.bias))
        x = layer.output_type


def test_the_bias_takes_back_what_rounded_weights_shift():
    net = network((16, 16))
    fixed = sp.quantize(net, "auto:6", CALIBRATION)
    h = np.ldexp(CALIBRATION.astype(np.float64), fixed.shifts)
    exact = np.ldexp(net.weights[0].astype(np.float64), -fixed.shifts[:, None])
    shift = (h @ fixed.layers[0].weights + fixed.layers[0].bias - h @ exact - net.biases[0]).mean(axis=0)
    uncorrected = (h @ (fixed.layers[0].weights - exact)).mean(axis=0)
    assert np.abs(shift).max() <= fixed.layers[0].bias_type.step
    assert np.abs(uncorrected).max() > 10 * fixed.layers[0].bias_type.step


def test_alignment_is_exact_and_does_not_depend_on_the_units():
    net = network((16,))
    fixed = sp.quantize(net, "auto:16", CALIBRATION)
    assert np.ptp(fixed.shifts) > 8 and fixed.input_type.width < 32
    assert (np.abs(CALIBRATION).max(axis=0) * 2.0**fixed.shifts <= fixed.aligned_type.high).all()
    assert fixed.input_type.step <= (2.0**-fixed.shifts).min() * fixed.aligned_type.step
    assert (CALIBRATION.max(axis=0) <= fixed.input_type.high).all()

    power = np.random.default_rng(0).integers(-6, 7, 40)
    other = net.copy()
    other.weights[0][:] = np.ldexp(other.weights[0], -power[:, None])
    moved = sp.quantize(other, "auto:16", np.ldexp(CALIBRATION, power))
    np.testing.assert_array_equal(moved.shifts, fixed.shifts - power)
    for a, b in zip(moved.layers, fixed.layers, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        np.testing.assert_array_equal(a.bias, b.bias)


def test_columns_alike_need_no_alignment():
    X = np.random.default_rng(0).normal(size=(2000, 12)).astype(np.float32)
    net = network((5,), X=X)
    fixed = sp.quantize(net, X=X)
    assert fixed.input_type == FixedType(16, 4) and fixed.shifts is None and fixed.aligned_type is None


def test_columns_without_effect_cost_no_bits():
    net = network((6, 4))
    net.weights[0][3] = 0
    X = CALIBRATION.copy()
    plain = sp.quantize(net, "auto:16", X)
    X[:, 3] *= 1e9
    huge = sp.quantize(net, "auto:16", X)
    X[:, 3] = 0
    empty = sp.quantize(net, "auto:16", X)
    assert plain.input_type == huge.input_type == empty.input_type
    net.weights[0][3] = 1
    none = sp.quantize(net, "auto:16", X)  # a weight that no jet of the sample uses
    assert none.input_type == plain.input_type and none.layers[0].weight_type == plain.layers[0].weight_type


def test_constant_and_empty_networks():
    net = network((4, 3))
    constant = np.repeat(CALIBRATION[:1], 500, axis=0)
    fixed = sp.quantize(net, "auto:16", constant)
    np.testing.assert_allclose(fixed.forward(constant[:2]), net.forward(constant[:2]), atol=1e-2)
    for values in (*net.weights, *net.biases):
        values[:] = 0
    with pytest.warns(UserWarning, match="change nothing"):
        fixed = sp.quantize(net, "auto:16", CALIBRATION)
    assert not fixed.forward(CALIBRATION[:5]).any()
    flat = network(())
    np.testing.assert_allclose(
        sp.quantize(flat, X=CALIBRATION).forward(CALIBRATION[:9]), flat.forward(CALIBRATION[:9]), atol=1e-2
    )


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"X": None}, ValueError, r"X is missing.*a few thousand rows.*X \(n, 10\).*fixed<16,6>"),
        ({"X": X10[:, :9]}, ValueError, r"X must have shape \(n, 10\).*got \(300, 9\)"),
        ({"X": X10[0]}, ValueError, r"X must have shape \(n, 10\).*got \(10,\)"),
        ({"X": X10[:0]}, ValueError, "X has no rows"),
        ({"X": np.where(X10 > 2.5, np.nan, X10)}, ValueError, r"got nan in row \d+, column \d"),
        ({"X": np.full((3, 10), "jet")}, TypeError, "X must hold numbers.*ndarray: dtype <U3"),
        ({"X": np.full((3, 10), "1.5", object)}, TypeError, "X must hold numbers.*dtype object"),
        ({"X": X10 + 1j}, TypeError, "X must hold numbers.*dtype complex128"),
        ({"precision": "auto"}, ValueError, "precision must be.*auto:<bits>.*got 'auto'"),
        ({"precision": "auto:64"}, ValueError, "precision must be.*2 to 32 bits.*got 'auto:64'"),
        ({"precision": "ufixed<8,3>"}, ValueError, "precision must be.*signed because weights are"),
        ({"precision": 16}, TypeError, "precision must be a string.*got 16"),
        ({"precision": ["auto:8"] * 5}, ValueError, r"one per dense layer \(3\), or the inputs'.*; got 5"),
        ({"precision": "auto:32"}, ValueError, r"fc1: an exact sum of 10 products.* more than 62"),
        ({"network": Widths()}, ValueError, r"a layer without nodes, widths \[10, 0, 1\]"),
        ({"network": infinite()}, ValueError, "weights that are NaN or infinite, in dense layer 2"),
        ({"network": np.ones((3, 3))}, TypeError, "network must be a Network; got a ndarray$"),
        ({"network": sp.ShadowClassifier()}, TypeError, "got a ShadowClassifier: fit it, then"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        sp.quantize(**{"network": small(), "X": X10} | wrong)


def test_a_fitted_classifier_is_not_its_network():
    y = (X10[:, 0] > 0).astype(int)
    clf = sp.ShadowClassifier((6, 4), max_iter=2, random_state=0).fit(X10, y)
    with pytest.raises(TypeError, match="got a ShadowClassifier: pass its network_ attribute"):
        sp.quantize(clf, X=X10)
    sp.quantize(clf.network_, X=X10)


def test_sparse_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"got a sparse csr_array: pass X.toarray\(\)"):
        sp.quantize(small(), X=sparse.csr_array(X10))


def test_any_layout_of_the_sample_is_taken_and_left_alone():
    wanted = None
    X = X10.astype(np.float32)
    table = pytest.importorskip("pandas").DataFrame(X)
    swapped = X.astype(X.dtype.newbyteorder())
    for sample in (
        X,
        X.astype(np.float64),
        np.asfortranarray(X),
        swapped,
        np.repeat(X, 2, 1)[:, ::2],
        table,
        X.tolist(),
    ):
        kept = np.array(sample)
        if isinstance(sample, np.ndarray):
            sample.flags.writeable = False
        fixed = sp.quantize(small(), X=sample)
        z = fixed.forward(sample)
        np.testing.assert_array_equal(np.array(sample), kept)
        wanted = wanted or (repr(fixed), z)
        assert repr(fixed) == wanted[0] and (z == wanted[1]).all()


def test_columns_too_different_for_one_input():
    X = CALIBRATION.astype(np.float64)
    X[:, 0] *= 1e14
    net = network((4,))
    net.weights[0][0] *= 1e-14
    with pytest.raises(
        ValueError,
        match=r"X has columns up to 0.0\d+ and 1e\+17: .* of fc1 for both, fixed<.* needs \d+ bits, more",
    ):
        sp.quantize(net, X=X)


def test_nodes_that_change_nothing():
    net = small()
    net.weights[1][[0, 5]] = 0
    with pytest.warns(
        UserWarning, match=r"layer fc1: 2 of 6 nodes have no outgoing weight but zero.*network.reduce"
    ) as caught:
        sp.quantize(net, X=X10)
    assert caught[0].filename == __file__
    net.weights[1][[0, 5], 0] = 1e-9
    sp.quantize(net, X=X10)


def test_a_layer_that_rounds_to_zero():
    with pytest.warns(UserWarning) as caught:
        fixed = sp.quantize(small(), "fixed<8,10>", X10)
    assert not fixed.layers[0].weights.any() and not fixed.forward(X10).std(axis=0).any()
    said = " ".join(str(w.message) for w in caught)
    assert "layer fc1: every weight rounds to zero in fixed<8,10>" in said
    assert "layer fc3: every weight rounds to zero" in said and "ask for more fractional bits" in said


def test_few_rows():
    with pytest.warns(UserWarning, match="X has 20 rows; other jets may exceed ranges"):
        sp.quantize(small(), X=X10[:20])


def test_a_type_too_small_for_the_sample():
    net = network((6, 5))
    with pytest.warns(UserWarning) as caught:
        sp.quantize(net, "fixed<16,3>", CALIBRATION)
    said = " ".join(str(w.message) for w in caught)
    assert re.search(r"an input of 1000 does not fit fixed<16,3,RND,SAT>; use precision='auto:<bits>'", said)
    assert re.search(r"layer fc1: a weight of -?\d+.* does not fit", said)
    assert re.search(r"layer fc1: a result of -?\d+.* does not fit", said)
    sp.quantize(net, "fixed<16,8>")
