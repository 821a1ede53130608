"""QONNX and Verilog: independent engines compute the bits of FixedNetwork.forward.

qonnx's executor reads the emitted file, da4ml's emulator the logic, Verilator the emitted Verilog.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys

import numpy as np
import onnx
import pytest
from firmware_cases import ACTIVATIONS, CALIBRATION, TEST, X10, network, small

import shadowprune as sp
from shadowprune.emit import _verify
from shadowprune.emit._da4ml import aligned, trace
from shadowprune.fixedpoint import FixedType

needs_verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="apt-get install verilator")

PRECISIONS = ("auto:4", "auto:8", "auto:12", "fixed<14,7,RND,SAT>", "fixed<14,7,TRN,SAT>")
# jets, and rows where every type of the network saturates
ROWS = np.concatenate([TEST[:1000], 50 * TEST[:500], -1e6 * np.sign(TEST[:50])]).astype(np.float32)


needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="apt-get install iverilog")


def quantized(activation: str = "relu", precision: str = "auto:8", hidden=(9, 7), n_out: int = 2):
    X = CALIBRATION if precision.startswith("auto") else None
    net = network(hidden, activation, n_out)
    if X is None:  # one type for all: columns of one size
        net.weights[0][:] *= CALIBRATION.std(axis=0)[:, None]
    return sp.quantize(net, precision, X)


def rows_for(precision: str) -> np.ndarray:
    return ROWS if precision.startswith("auto") else (ROWS / CALIBRATION.std(axis=0)).astype(np.float32)


# ---- what the engines compute


@pytest.fixture(scope="module")
def tagger():
    """Ten per cent of the nodes, 8 bits, the sample's own columns."""
    train = sp.datasets.load_hbb(subset="train")
    clf = sp.ShadowClassifier(n_nodes=0.1, max_iter=3, random_state=0)
    clf.fit(train.data[:30000], train.target[:30000])
    return sp.quantize(clf.network_, "auto:8", train.data[:8000])


@needs_verilator
def test_a_trained_tagger_has_the_same_bits_everywhere(tagger):
    jets = sp.datasets.load_hbb(subset="test").data[:8000]
    assert tagger.forward(jets).std() > 1
    found = sp.emit.verify(tagger, jets, ["qonnx", "da4ml", "verilator"])
    assert found == {"qonnx": 0, "da4ml": 0, "verilator": 0}


@pytest.mark.parametrize("precision", [*PRECISIONS, "fixed<14,7,RND_CONV,SAT>"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_qonnx_has_the_same_bits(activation, precision):
    q = quantized(activation, precision)
    assert sp.emit.verify(q, rows_for(precision), ["qonnx"]) == {"qonnx": 0}


@pytest.mark.parametrize("precision", [*PRECISIONS, "fixed<10,6,TRN,WRAP>", "fixed<10,6,RND,WRAP>"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_da4ml_has_the_same_bits(activation, precision):
    q = quantized(activation, precision)
    assert sp.emit.verify(q, rows_for(precision), ["da4ml"]) == {"da4ml": 0}


@needs_icarus
@pytest.mark.parametrize(
    ("activation", "precision", "options"),
    [
        ("tanh", "auto:6", {"adders_per_stage": 1}),
        ("sigmoid", "auto:5", {"adders_per_stage": 3}),
        ("leaky_relu", "fixed<10,6,TRN,WRAP>", {"delay_slack": -1, "module": "Tagger_1"}),
        ("linear", "auto:7", {}),
    ],
)
def test_the_verilog_has_the_same_bits(tmp_path, activation, precision, options):
    """Tables, several outputs, multiplexers, wrapped results; golden vectors reach all over the inputs."""
    q = quantized(activation, precision, hidden=(5, 4), n_out=3)
    project = sp.emit.verilog(q, tmp_path / "prj", rows_for(precision)[::5], **options)
    assert project.simulate(tool="iverilog") == 0


X7 = np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32)


def seven(activation: str, precision: str) -> sp.FixedNetwork:
    net = sp.Network([7, 5, 13, 5], activation=activation, random_state=0)
    return sp.quantize(net, precision, X7)


@needs_icarus
@pytest.mark.parametrize("activation, precision", [("leaky_relu", "auto:12"), ("relu", "auto:16")])
def test_constants_of_many_digits_keep_them(tmp_path, activation, precision):
    """A constant of leaky_relu needs more than the 28 digits of Decimal."""
    project = sp.emit.verilog(seven(activation, precision), tmp_path / "prj", X7[:50])
    assert project.simulate(tool="iverilog") == 0


@pytest.mark.filterwarnings("ignore:.*does not fit")
def test_leaky_relu_of_constants():
    """Saturated sums that never change."""
    assert sp.emit.verify(seven("leaky_relu", "fixed<8,-2>"), X7, ["da4ml"]) == {"da4ml": 0}


@pytest.mark.parametrize("activation, precision", [("relu", "auto:16"), ("sigmoid", "auto:20")])
def test_da4ml_emulates_long_sums(activation, precision):
    assert sp.emit.verify(seven(activation, precision), X7, ["da4ml"]) == {"da4ml": 0}


@pytest.mark.filterwarnings("ignore:.*does not fit")
@pytest.mark.parametrize("precision", ["fixed<24,6>", "fixed<24,6,TRN,SAT>", "auto:22"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_qonnx_keeps_biases_and_inputs_longer_than_float32(activation, precision):
    scales = np.array([1, 30, 1000, 0.1, 5, 300, 2] if precision.startswith("auto") else [1] * 7)
    rows = np.concatenate([X7, 100 * X7]).astype(np.float32) * scales.astype(np.float32)
    net = sp.Network([7, 5, 13, 3], activation=activation, random_state=0)
    q = sp.quantize(net, precision, rows[:300])
    assert sp.emit.verify(q, rows, ["qonnx"]) == {"qonnx": 0}


def test_qonnx_refuses_types_that_float32_does_not_hold(tmp_path):
    net = sp.Network([2, 4, 1], random_state=0)
    wanted = r"fixed<26,2>, more than the 24 bits .*precision=\"auto:16\" or \"fixed<16,2>\""
    with pytest.raises(ValueError, match=f"the inputs of fc1 are {wanted}"):
        sp.emit.qonnx(sp.quantize(net, "fixed<26,2>"), tmp_path / "t.onnx")
    with pytest.raises(ValueError, match=f"the results of fc1 are u{wanted}"):
        sp.emit.qonnx(sp.quantize(net, ["fixed<8,2>", "fixed<26,2>", "fixed<8,2>"]), tmp_path / "t.onnx")
    long = sp.quantize(net, ["fixed<24,2>", "fixed<24,2>", "fixed<32,2>"])
    with pytest.raises(ValueError, match=r"the sums of fc2 are fixed<\d+,\d+>, more than the 53 bits"):
        sp.emit.qonnx(long, tmp_path / "t.onnx")
    assert os.listdir(tmp_path) == []


def test_what_the_emulator_cannot_do_is_refused_and_the_others_are_heard(tmp_path):
    q = seven("leaky_relu", "auto:20")
    project = sp.emit.verilog(q, tmp_path / "prj")
    with pytest.raises(ValueError, match=r"a cast to \d+ bits .* da4ml's emulator .*fewer bits.*simulate"):
        project.predict(X7)
    with pytest.raises(ValueError, match="da4ml's emulator"):
        sp.emit.verify(q, X7, ["da4ml"])
    with pytest.warns(UserWarning, match="engine da4ml gave no result.*ValueError: a cast"):
        assert sp.emit.verify(q, X7, ["da4ml", "qonnx"]) == {"qonnx": 0}


@needs_verilator
def test_verilator_reads_tables(tmp_path):
    """It drops the last line of a file that does not end it."""
    q = sp.quantize(network((2,), "tanh", X=X10), "auto:5", X10)
    assert sp.emit.verilog(q, tmp_path / "prj", X10).simulate() == 0


@needs_icarus
def test_the_bench_counts_wrong_rows(tmp_path):
    project = sp.emit.verilog(sp.quantize(small(), "fixed<7,3>"), tmp_path / "prj", X10)
    wanted = tmp_path / "prj" / "tb" / "y.hex"
    lines = wanted.read_text().splitlines()
    for row in (0, 300, len(lines) - 1):
        lines[row] = f"{int(lines[row], 16) ^ 1:x}"
    wanted.write_text("\n".join(lines) + "\n")
    assert project.simulate(tool="iverilog") == 3
    assert project.simulate(X10[:20], tool="iverilog") == 0
    with pytest.raises(ValueError, match="tool must be verilator or iverilog; got 'xsim'"):
        project.simulate(tool="xsim")
    (tmp_path / "prj" / "src" / "tagger_core.v").write_text("module tagger_core\n")
    with pytest.raises(RuntimeError, match=r"the simulation of tagger failed:\n(?s:.*)syntax error"):
        project.simulate(tool="iverilog")


def test_verify_counts_rows_that_differ(monkeypatch):
    q = sp.quantize(small(), "fixed<9,4>")
    logits = q.layers[-1]
    one_step = dataclasses.replace(logits, bias=logits.bias + logits.bias_type.step)
    other = dataclasses.replace(q, layers=(*q.layers[:-1], one_step))
    wanted = int((q.forward(X10) != other.forward(X10)).any(axis=1).sum())
    assert wanted > 250
    emit = _verify.qonnx
    monkeypatch.setattr(_verify, "qonnx", lambda network, path: emit(other, path))
    assert sp.emit.verify(q, X10.astype(np.float32), ["qonnx"]) == {"qonnx": wanted}


def test_verify_takes_what_is_installed(monkeypatch):
    q = sp.quantize(small(4), "fixed<6,3>")
    monkeypatch.setattr(_verify, "find_spec", lambda name: True if name == "da4ml" else None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert sp.emit.verify(q, X10) == {"da4ml": 0}
    with pytest.raises(ValueError, match=r"engines must be a sequence of hls4ml, qonnx.*got \['vivado'\]"):
        sp.emit.verify(q, X10, ["vivado"])
    with pytest.raises(FileNotFoundError, match="apt-get install verilator"):
        sp.emit.verify(q, X10, ["verilator"])


# ---- QONNX files


def test_the_qonnx_file_is_what_it_says(tmp_path):
    q = quantized()
    path = sp.emit.qonnx(q, tmp_path / "tagger.onnx", ROWS)
    model = onnx.load(path)
    assert model.ir_version == 8
    assert {o.domain: o.version for o in model.opset_import} == {"": 13, "qonnx.custom_op.general": 1}
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Quant") == 2 + 1 + 3 * 2 + 2  # input twice, alignment, weights and biases, results
    assert kinds.count("MatMul") == 3 and kinds.count("Relu") == 2 and "Cast" not in kinds
    values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for i, layer in enumerate(q.layers, 1):
        np.testing.assert_array_equal(values[f"fc{i}_weights_value"], layer.weights)
        assert values[f"fc{i}_weights_bits"] == layer.weight_type.width
        assert values[f"fc{i}_weights_scale"] == layer.weight_type.step
    modes = {
        attribute.s
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "rounding_mode"
    }
    assert modes == {b"FLOOR"}
    with np.load(tmp_path / "tagger_golden.npz") as golden:
        np.testing.assert_array_equal(golden["y"], q.forward(golden["x"]))
        np.testing.assert_array_equal(golden["x"], ROWS)
    assert sorted(os.listdir(tmp_path)) == ["tagger.onnx", "tagger_golden.npz"]


def test_qonnx_refuses_what_may_wrap(tmp_path):
    q = quantized("relu", "fixed<9,4,TRN,WRAP>")
    with pytest.raises(
        ValueError, match=r'inputs may wrap in fixed<9,4,TRN,WRAP>.*precision="fixed<9,4,TRN,SAT>"'
    ):
        sp.emit.qonnx(q, tmp_path / "tagger.onnx")
    saturating = dataclasses.replace(q, input_type=FixedType(9, 4, True, "TRN", "SAT"))
    with pytest.raises(ValueError, match=r"the results of fc1 may wrap in ufixed<9,4,TRN,WRAP>"):
        sp.emit.qonnx(saturating, tmp_path / "tagger.onnx")
    assert os.listdir(tmp_path) == []


# ---- Verilog projects


def test_the_project_says_what_it_is(tmp_path):
    q = quantized()
    project = sp.emit.verilog(q, tmp_path / "prj", ROWS, module="jets")
    said = json.loads((tmp_path / "prj" / "firmware.json").read_text())
    assert said["module"] == "jets" and said["widths"] == [40, 9, 7, 2]
    assert said["latency_clocks"] == project.latency == project.logic.stages + 1
    assert said["estimated_luts"] == project.luts == sum(project.logic.luts) > 1000
    assert said["versions"]["shadowprune"] == sp.__version__
    assert [column["shift"] for column in said["columns"]] == q.shifts.tolist()
    names = {path.name for path in (tmp_path / "prj" / "src").iterdir()}
    stages = {f"jets_core_stage{i}.v" for i in range(project.logic.stages)}
    assert names == {"jets.v", "jets_core.v", "shift_adder.v", "mux.v"} | stages
    assert "40 of fixed<8,1>" in (tmp_path / "prj" / "src" / "jets.v").read_text()
    np.testing.assert_array_equal(project.predict(ROWS), q.forward(ROWS))


def test_golden_vectors_are_words_of_the_ports(tmp_path):
    q = quantized("tanh", "auto:6", n_out=3)
    sp.emit.verilog(q, tmp_path / "prj", ROWS)
    with np.load(tmp_path / "prj" / "golden.npz") as golden:
        x, ports, y = golden["x"], golden["x_ports"], golden["y"]
        y_ports = golden["y_ports"]
    np.testing.assert_array_equal(x[: len(ROWS)], ROWS)
    np.testing.assert_array_equal(y, q.forward(x))
    # to the user's units and back; the rows beyond the user's reach every value of the ports
    kind = q.dense_input
    back = np.ldexp(ports * kind.step, -q.shifts) + q.offset
    np.testing.assert_array_equal(aligned(q, back), ports)
    drawn = ports[len(ROWS) :]
    assert len(drawn) == 256 and (np.sort(np.unique(drawn)) == np.arange(-32, 32)).all()
    for name, values, bits in (("x", ports, 6), ("y", y_ports, q.layers[-1].output_type.width)):
        lines = (tmp_path / "prj" / "tb" / f"{name}.hex").read_text().splitlines()
        assert len(lines) == len(x)
        for line, row in list(zip(lines, values, strict=True))[::97]:
            word = int(line, 16)
            assert [word >> (bits * i) & (2**bits - 1) for i in range(len(row))] == [v % 2**bits for v in row]


def test_faster_clocks_cost_clocks_and_slack_saves_luts():
    q = quantized(hidden=(16, 16))
    found = {s: trace(q, adders_per_stage=s) for s in (2, 5, 50)}
    assert found[2].stages > found[5].stages > found[50].stages == 1
    assert found[2].register_bits > found[5].register_bits
    assert {sum(logic.stages_of_layers) == logic.stages for logic in found.values()} == {True}
    tight, loose = trace(q, delay_slack=0), trace(q, delay_slack=-1)
    assert sum(tight.luts) > sum(loose.luts) and tight.depths[-1] < loose.depths[-1]


def test_a_project_is_replaced_and_nothing_else_is(tmp_path):
    q = sp.quantize(small(4), "fixed<6,3>")
    target = tmp_path / "prj"
    sp.emit.verilog(q, target)
    sp.emit.verilog(q, target)
    (target / "reports").mkdir()
    with pytest.raises(
        FileExistsError, match=r"holds a Verilog project and what.*\(reports\).*overwrite=True"
    ):
        sp.emit.verilog(q, target)
    sp.emit.verilog(q, target, overwrite=True)
    assert not (target / "reports").exists()
    (target / "firmware.json").unlink()
    with pytest.raises(FileExistsError, match="is not empty and not a Verilog project"):
        sp.emit.verilog(q, target, overwrite=True)
    assert os.listdir(tmp_path) == ["prj"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"module": "2jets"}, ValueError, "module must be a C identifier.*got '2jets'"),
        ({"module": "wire"}, ValueError, "module must not be reserved in Verilog; got 'wire'"),
        ({"adders_per_stage": 0}, ValueError, "adders_per_stage must be a whole number from 1; got 0"),
        ({"delay_slack": 1.5}, ValueError, "delay_slack must be a whole number from -1; got 1.5"),
        ({"X": X10[:, 1:]}, ValueError, r"X must have shape \(n, 10\)"),
        ({"directory": ""}, TypeError, "directory must be a path"),
    ],
)
def test_mistakes_are_named(tmp_path, options, error, message):
    arguments = {"directory": tmp_path / "prj", **options}
    with pytest.raises(error, match=message):
        sp.emit.verilog(sp.quantize(small(4), "fixed<6,3>"), **arguments)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("emit", [sp.emit.qonnx, sp.emit.verilog])
def test_a_fixed_network_with_exact_sums_is_needed(tmp_path, emit):
    with pytest.raises(TypeError, match=r"must be a FixedNetwork; got a Network: make one with .*quantize"):
        emit(small(), tmp_path / "t.onnx")
    q = sp.quantize(small(), "fixed<9,4>")
    layer = q.layers[0]
    narrow = dataclasses.replace(layer, accum_type=FixedType(12, 5, True, "TRN", "WRAP"))
    with pytest.raises(ValueError, match=r"layer fc1: fixed<12,5,TRN,WRAP> does not hold every sum"):
        emit(dataclasses.replace(q, layers=(narrow, *q.layers[1:])), tmp_path / "t.onnx")


def test_da4ml_has_no_rnd_conv(tmp_path):
    q = sp.quantize(small(), "fixed<9,4,RND_CONV,SAT>")
    with pytest.raises(ValueError, match=r'fc1: da4ml has no RND_CONV.*precision="fixed<9,4,RND,SAT>"'):
        sp.emit.verilog(q, tmp_path / "prj")


@pytest.mark.parametrize(
    ("emit", "package", "extra"), [("qonnx", "onnx", "onnx"), ("verilog", "da4ml", "rtl")]
)
def test_a_missing_extra_says_what_to_type(tmp_path, monkeypatch, emit, package, extra):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'pip install "shadowprune\[{extra}\]"'):
        getattr(sp.emit, emit)(sp.quantize(small(4), "fixed<6,3>"), tmp_path / "t.onnx")
    assert os.listdir(tmp_path) == []
