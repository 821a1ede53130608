"""Fixed-point numbers, and networks of them."""

from __future__ import annotations

import math
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from core_cases import examples
from firmware_cases import ACTIVATIONS, any_fixed_network, rows_beyond
from hypothesis import given
from hypothesis import strategies as st

import shadowprune as sp
from shadowprune import _core
from shadowprune import _reference_fixed as twin
from shadowprune.fixedpoint import FixedLayer, FixedNetwork, FixedType, integer_bits, parse_precision


def test_types_and_their_text():
    assert str(FixedType(16, 6)) == "fixed<16,6,RND,SAT>"
    assert str(FixedType(8, -2, False, "TRN", "WRAP")) == "ufixed<8,-2,TRN,WRAP>"
    assert parse_precision(" ap_fixed<16, 6> ") == FixedType(16, 6)
    assert parse_precision("fixed<12,4,AP_TRN,AP_WRAP>") == FixedType(12, 4, True, "TRN", "WRAP")
    assert parse_precision("auto:9") == 9
    assert [integer_bits(v) for v in (0.2, 0.25, 0.99, 1.0, 3.9, 4.0, 0.0)] == [-2, -1, 0, 1, 2, 3, 0]


def test_casts_worked_out_by_hand():
    x = np.array([-9, -8.01, -2.5, -2.25, -0.1, 0, 0.25, 0.75, 1.25, 7.6, 7.8, 8, 9])
    want = [-8, -8, -2.5, -2, 0, 0, 0.5, 1, 1.5, 7.5, 7.5, 7.5, 7.5]
    np.testing.assert_array_equal(FixedType(5, 4).cast(x), want)
    np.testing.assert_array_equal(FixedType(5, 4, True, "TRN").cast([-0.1, 0.75]), [-0.5, 0.5])
    np.testing.assert_array_equal(FixedType(5, 4, True, "RND_CONV").cast([0.25, 0.75, -0.25]), [0, 1, 0])
    np.testing.assert_array_equal(FixedType(5, 4, True, "TRN", "WRAP").cast([8, -8.5, 15.5]), [-8, 7.5, -0.5])
    np.testing.assert_array_equal(FixedType(4, 4, False, "TRN", "WRAP").cast([16, -1]), [0, 15])


# ---- casts against exact fractions


def exact_cast(kind: FixedType, x: float) -> int:
    """The definition, in whole numbers of any size."""
    u = Fraction(x) * Fraction(2) ** kind.fractional
    below = math.floor(u)
    rest = u - below
    half = Fraction(1, 2)
    if kind.rounding == "RND":
        below += rest >= half
    elif kind.rounding == "RND_CONV":
        below += rest > half or (rest == half and below % 2 == 1)
    low = -(2 ** (kind.width - 1)) if kind.signed else 0
    high = low + 2**kind.width - 1
    if kind.saturation == "SAT":
        return min(max(below, low), high)
    return (below - low) % 2**kind.width + low


def kinds(widths: st.SearchStrategy[int]) -> st.SearchStrategy[FixedType]:
    return widths.flatmap(
        lambda width: st.builds(
            FixedType,
            st.just(width),
            st.integers(-4, width + 4),
            st.booleans(),
            st.sampled_from(["RND", "TRN", "RND_CONV"]),
            st.sampled_from(["SAT", "WRAP"]),
        )
    )


@examples(300)
@given(
    kinds(st.integers(1, 62)),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    st.lists(st.integers(-300, 300), max_size=20),
)
def test_casts_are_exact_whatever_the_number(kind, numbers, halves):
    """Halves of steps are where roundings differ; numbers of any size are where doubles lose bits."""
    x = np.array(numbers + [kind.step * h / 2 for h in halves] + [0.0, kind.high, kind.low, -kind.step / 4])
    assert kind.integers(x).tolist() == [exact_cast(kind, v) for v in x]
    if kind.width <= 50 and np.abs(x).max() < 1e290:
        np.testing.assert_array_equal(kind.integers(x), twin.fixed_cast(kind.spec, x))


# ---- networks against the twin


@st.composite
def fixed_networks(draw: st.DrawFn) -> FixedNetwork:
    widths = draw(st.lists(st.integers(1, 5), min_size=2, max_size=4))
    activation = draw(st.sampled_from(ACTIVATIONS))
    return any_fixed_network(np.random.default_rng(draw(st.integers(0, 2**32))), widths, activation)


def in_the_twin(q: FixedNetwork) -> twin.Fixed:
    offset = None if q.offset is None else q.offset / q.input_type.step
    aligned = None if q.aligned_type is None else q.aligned_type.spec
    return twin.Fixed(q.input_type.spec, offset, q.shifts, aligned, [layer.spec() for layer in q.layers])


@examples(200)
@given(fixed_networks())
def test_networks_are_the_twin_bit_for_bit(q):
    X = rows_beyond(q)
    z = q.forward(X)
    np.testing.assert_array_equal(z, in_the_twin(q).forward(X))
    np.testing.assert_array_equal(q.forward(X[:1]), z[:1])


def test_tables_are_those_functions():
    for name, width in (("tanh", 3), ("sigmoid", 4)):
        table = _core.fixed_table(name, 2**8)
        np.testing.assert_allclose(table, twin.fixed_table(name, 2**8), atol=1e-7)
        assert table[2**7] == (0 if width == 3 else 0.5)


# ---- networks as objects


def network() -> sp.Network:
    return sp.Network([5, 7, 4, 2], random_state=1)


X5 = np.random.default_rng(3).normal(size=(500, 5)) * [1, 1, 30, 0.1, 1]


@pytest.mark.parametrize("precision", ["auto:8", "fixed<10,4,TRN,WRAP>", ["auto:6", "fixed<8,3>", "auto:12"]])
def test_files_and_pickles_hold_the_same_network(tmp_path, precision):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        q = sp.quantize(network(), precision, X5)
    path = q.save(tmp_path / "q.npz")
    for copy in (FixedNetwork.load(path), pickle.loads(pickle.dumps(q))):
        np.testing.assert_array_equal(copy.forward(X5), q.forward(X5))
        assert repr(copy) == repr(q) and copy.widths == (5, 7, 4, 2) and copy.activation == "relu"
        for a, b in zip(copy.layers, q.layers, strict=True):
            assert [getattr(a, f"{n}_type") for n in ("weight", "bias", "accum", "result", "output")] == [
                getattr(b, f"{n}_type") for n in ("weight", "bias", "accum", "result", "output")
            ]
    named = network()
    named.input_names = list("abcde")
    assert FixedNetwork.load(sp.quantize(named, "auto:8", X5).save(path)).input_names == tuple("abcde")
    tables = sp.quantize(sp.Network([5, 4, 1], "tanh", random_state=0), "auto:8", X5)
    again = FixedNetwork.load(tables.save(tmp_path / "tanh.npz"))
    np.testing.assert_array_equal(again.forward(X5), tables.forward(X5))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        FixedNetwork.load(tmp_path / "none.npz")
    path = network().save(tmp_path / "float.npz")
    with pytest.raises(
        ValueError, match="is not a whole fixed-point network: its format is 'shadowprune net"
    ):
        FixedNetwork.load(path)
    whole = sp.quantize(network(), "auto:8", X5).save(tmp_path / "q.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is not a whole fixed-point network"):
        FixedNetwork.load(tmp_path / "half.npz")


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (X5[:, :4], ValueError, "X has length 4 along axis 1; it needs 5"),
        (X5[0], ValueError, "X has 1 dimensions; it needs 2"),
        (np.where(X5 > 50, np.nan, X5), ValueError, "X holds nan; it must be finite"),
        (np.where(X5 > 50, np.inf, X5), ValueError, "X holds inf"),
        (X5.astype(str), TypeError, "X must be an array of float64"),
    ],
)
def test_rows_that_no_input_can_take(X, error, message):
    with pytest.raises(error, match=message):
        sp.quantize(network(), "auto:8", X5).forward(X)


def test_rows_keep_and_any_layout_will_do():
    q = sp.quantize(network(), "auto:8", X5)
    z = q.forward(X5)
    kept = X5.copy()
    for X in (np.asfortranarray(X5), X5[::-1][::-1], X5.tolist(), X5.astype(X5.dtype.newbyteorder())):
        np.testing.assert_array_equal(q.forward(X), z)
    np.testing.assert_array_equal(X5, kept)
    assert q.forward(X5[:0]).shape == (0, 2)


def test_sums_beyond_62_bits_are_refused_when_the_network_is_made():
    wide, one = FixedType(40, 20), np.ones((1, 1))
    layer = FixedLayer("fc1", "linear", one, one[0], wide, wide, FixedType(62, 40), wide, wide)
    with pytest.raises(
        ValueError, match="dense layer 1: fixed-point numbers here may need more than 62 bits"
    ):
        FixedNetwork(FixedType(40, 20), None, None, None, (layer,))
    with pytest.raises(ValueError, match="inputs: a fixed-point type must have 1 to 62 bits"):
        FixedNetwork(FixedType(80, 20), None, None, None, (layer,))


def test_threads_share_a_network():
    q = sp.quantize(network(), "auto:8", X5)
    X = np.tile(X5, (200, 1))
    z = q.forward(X)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(q.forward, [X] * 8):
            np.testing.assert_array_equal(found, z)
