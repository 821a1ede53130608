"""What trips people on the way to firmware: each has an error or a warning that says what to do."""

from __future__ import annotations

import re

import numpy as np
import pytest
from firmware_cases import CALIBRATION, X10, Widths, needs_compiler, network, small

import shadowprune as sp

pytest.importorskip("hls4ml")


def test_layers_too_large_to_unroll(tmp_path):
    sp.emit.hls4ml(small(64, 64), tmp_path / "limit", X10)  # 4096 weights: just allowed
    message = (
        'strategy "Latency" unrolls.* 65 x 64 = 4160 weights, more than the 4096 that Vitis takes.*Resource'
    )
    with pytest.raises(ValueError, match=message) as caught:
        sp.emit.hls4ml(small(65, 64), tmp_path / "large", X10)
    factors = [int(r) for r in re.search(r"reuse_factor=\[(.*?)\]", str(caught.value))[1].split(",")]
    sp.emit.hls4ml(small(65, 64), tmp_path / "large", X10, strategy="Resource", reuse_factor=factors)
    sp.emit.hls4ml(small(65, 64), tmp_path / "quartus", X10, backend="Quartus")


def test_reuse_factors_that_pruned_widths_do_not_allow(tmp_path):
    """The trap: hls4ml alone would take 1 for 4 in the layers of 19 and unroll them."""
    net = sp.Network([40, 19, 19, 19, 20, 1], random_state=0)
    with pytest.raises(
        ValueError, match=r"reuse_factor 4 is not possible for layer fc2 of 19 x 19 weights"
    ) as caught:
        sp.emit.hls4ml(net, tmp_path / "prj", CALIBRATION, strategy="Resource", reuse_factor=4)
    factors = [int(r) for r in re.search(r"reuse_factor=\[(.*?)\]", str(caught.value))[1].split(",")]
    assert factors == [4, 1, 1, 1, 4]
    # the smaller network would need more multipliers than 32-32-32-32, which takes 4
    assert "1297 multipliers at once, where widths that allowed 4 everywhere would need 472" in str(
        caught.value
    )
    assert "Budget(nodes=..., multiple=4)" in str(caught.value)
    model = sp.emit.hls4ml(
        net, tmp_path / "prj", CALIBRATION, strategy="Resource", reuse_factor=np.array(factors)
    )
    layers = [layer for layer in model.get_layers() if layer.class_name == "Dense"]
    assert [layer.get_attr("reuse_factor") for layer in layers] == factors
    sp.emit.hls4ml(net, tmp_path / "latency", CALIBRATION, reuse_factor=4)
    with pytest.raises(ValueError, match="reuse_factor 4 is not possible"):
        sp.emit.hls4ml(net, tmp_path / "quartus", CALIBRATION, backend="Quartus", reuse_factor=4)


def test_nodes_that_change_nothing_cost_multipliers(tmp_path):
    net = small()
    net.weights[1][[0, 5]] = 0
    message = r"layer fc1: 2 of 6 nodes have no outgoing weight but zero; .*network.reduce\(\), or ask for"
    with pytest.warns(UserWarning, match=message):
        sp.emit.hls4ml(net, tmp_path / "float", X10)
    with pytest.warns(UserWarning, match=message):
        fixed = sp.quantize(net, X=X10)
    with pytest.warns(UserWarning, match=message) as caught:
        sp.emit.hls4ml(fixed, tmp_path / "fixed", X10)
    assert caught[0].filename == __file__


def test_a_layer_without_nodes(tmp_path):
    with pytest.raises(ValueError, match=r"network has a layer without nodes, widths \[10, 0, 1\]"):
        sp.emit.hls4ml(Widths(), tmp_path / "prj", X10)


def test_columns_that_were_not_scaled(tmp_path):
    """pT in GeV and ratios in one type: told of with a type of one's own, handled by "auto:<bits>"."""
    net = network((6, 5))
    with pytest.warns(UserWarning) as caught:
        sp.emit.hls4ml(net, tmp_path / "given", CALIBRATION, precision="fixed<16,6>")
    said = " ".join(str(w.message) for w in caught)
    assert "an input of 1000 does not fit fixed<16,6,RND,SAT>; use precision='auto:<bits>'" in said
    model = sp.emit.hls4ml(net, tmp_path / "auto", CALIBRATION)
    names = model.config.config["HLSConfig"]["LayerName"]
    assert "align" in names and names["x"]["Precision"]["result"].startswith("fixed<30,")


def test_ranges_beyond_the_types(tmp_path):
    net = network((6, 5))
    sp.emit.hls4ml(net, tmp_path / "prj", CALIBRATION, precision="fixed<18,12>")  # 12 integer bits hold all
    with pytest.warns(UserWarning, match=r"layer fc2: a result of [\d.]+ does not fit ufixed<12,2,RND,SAT>"):
        sp.quantize(net, ["auto:12", "auto:12", "fixed<12,2>", "auto:12"], CALIBRATION)


def test_names_are_identifiers(tmp_path):
    model = sp.emit.hls4ml(small(), tmp_path / "prj", X10)
    assert all(re.fullmatch(r"[A-Za-z_]\w*", layer.name) for layer in model.get_layers())
    with pytest.raises(ValueError, match=r"project_name must be a C identifier.*got 'my tagger'"):
        sp.emit.hls4ml(small(), tmp_path / "other", X10, project_name="my tagger")


@needs_compiler
def test_what_predict_takes(tmp_path):
    """hls4ml's own words; what the docstring of emit.hls4ml says stands here."""
    model = sp.emit.hls4ml(small(), tmp_path / "prj", X10, backend="Quartus")
    X = X10.astype(np.float32)
    with pytest.raises(Exception, match="Model not compiled"):
        model.predict(X)
    model.compile()
    fixed = sp.quantize(small(), X=X10)
    np.testing.assert_array_equal(model.predict(X), fixed.forward(X))
    assert model.predict(X[:1]).shape == (1,) and fixed.forward(X[:1]).shape == (1, 1)
    with pytest.raises(Exception, match=r"Array must be c_contiguous, try using numpy.ascontiguousarray"):
        model.predict(np.asfortranarray(X))
    with pytest.raises(Exception, match=r"Invalid type .* of numpy array. Supported types are: single"):
        model.predict(X10.astype(np.float16))
