"""Fixed-point numbers, and networks of them."""

from __future__ import annotations

import numpy as np

from shadowprune.fixedpoint import FixedType, integer_bits, parse_precision


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
