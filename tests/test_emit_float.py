"""ONNX and Keras files of float networks, read back by the packages whose formats they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import h5py
import numpy as np
import onnx
import onnxruntime
import pytest

import shadowprune as sp
from shadowprune.network import ACTIVATIONS

N_INPUTS = 7


def network(activation: str = "relu", hidden: tuple[int, ...] = (9, 4), n_out: int = 3) -> sp.Network:
    rng = np.random.default_rng(1)
    net = sp.Network([N_INPUTS, *hidden, n_out], activation, random_state=0)
    for b in net.biases:
        b[:] = rng.normal(size=b.shape)
    return net


X = np.random.default_rng(0).normal(size=(500, N_INPUTS)).astype(np.float32)


def in_float64(net: sp.Network, x: np.ndarray) -> np.ndarray:
    """The network once more, by its definition."""
    phi = {
        "relu": lambda z: z * (z > 0),
        "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "linear": lambda z: z,
    }[net.activation]
    h = x.astype(np.float64)
    for w, b in zip(net.weights[:-1], net.biases[:-1], strict=True):
        h = phi(h @ w + b)
    return h @ net.weights[-1] + net.biases[-1]


def check_golden(path, net: sp.Network) -> None:
    with np.load(path.with_name(f"{path.stem}_golden.npz")) as golden:
        np.testing.assert_array_equal(golden["x"], X)
        np.testing.assert_allclose(golden["y"], in_float64(net, X), atol=1e-5)


# ---- ONNX


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnxruntime_computes_the_network(tmp_path, activation):
    net = network(activation)
    path = sp.emit.onnx(net, tmp_path / "tagger.onnx", X)
    session = onnxruntime.InferenceSession(path)
    (x,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (x.name, x.shape, logits.name, logits.shape) == ("x", ["batch", 7], "logits", ["batch", 3])
    for rows in (X, X[:1]):
        (found,) = session.run(None, {"x": rows})
        np.testing.assert_allclose(found, in_float64(net, rows), rtol=1e-5, atol=1e-5)
    check_golden(path, net)


def test_the_onnx_file_is_what_it_says(tmp_path):
    net = network()
    net.input_names = [f"column {i}" for i in range(N_INPUTS)]
    path = sp.emit.onnx(net, tmp_path / "deep" / "tagger.onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8 and [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert model.producer_version == sp.__version__
    assert {p.key: json.loads(p.value) for p in model.metadata_props} == {
        "input_names": list(net.input_names)
    }
    wanted = ["MatMul", "Add", "Relu", "MatMul", "Add", "Relu", "MatMul", "Add"]
    assert [node.op_type for node in model.graph.node] == wanted
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert os.listdir(path.parent) == ["tagger.onnx"]
    again = sp.emit.onnx(net, tmp_path / "again.onnx")
    assert again.read_bytes() == path.read_bytes()


# ---- Keras


READ_KERAS = """
import json, sys
import keras, numpy as np
for path in sys.argv[1:]:
    model = keras.models.load_model(path, compile=False)
    np.save(path + ".npy", model.predict(np.load("x.npy"), verbose=0))
    layers = [layer.name for layer in model.layers]
    print(json.dumps([keras.__version__, model.name, model.count_params(), layers]))
"""


def test_keras_computes_the_network(tmp_path):
    """Keras 3 reads its own format and, as legacy, that of Keras 2. A process of its own, with a back-end."""
    cases = [(a, s) for a in ("relu", "leaky_relu", "tanh", "sigmoid") for s in ("keras", "h5")]
    nets = [network(activation) for activation, _ in cases]
    paths = [
        sp.emit.keras(net, tmp_path / f"{activation}.{suffix}", X)
        for net, (activation, suffix) in zip(nets, cases, strict=True)
    ]
    np.save(tmp_path / "x.npy", X)
    backend = "jax" if find_spec("jax") else "torch"
    arguments = [sys.executable, "-c", READ_KERAS, *(path.name for path in paths)]
    env = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(arguments, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    for net, path, line in zip(nets, paths, lines, strict=True):
        version, name, n_params, layers = json.loads(line)
        assert version.startswith("3.") and name == "shadowprune" and n_params == len(net.params)
        names = ["fc1", "fc2", "fc3"]
        if net.activation == "leaky_relu":
            names = ["fc1", "fc1_leaky_relu", "fc2", "fc2_leaky_relu", "fc3"]
        assert layers == names
        np.testing.assert_allclose(np.load(f"{path}.npy"), in_float64(net, X), rtol=1e-4, atol=1e-5)
        check_golden(path, net)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_hls4ml_reads_the_keras_2_pair(tmp_path, activation):
    reader = pytest.importorskip("hls4ml.converters.keras_v2_to_hls")
    net = network(activation)
    path = sp.emit.keras(net, tmp_path / "tagger.h5")
    config = {"KerasJson": str(path.with_suffix(".json")), "KerasH5": str(path)}
    architecture, weights = reader.get_model_arch(config)
    layers, _, _, shapes = reader.parse_keras_model(architecture, weights)
    dense = [layer for layer in layers if layer["class_name"] == "Dense"]
    assert [layer["name"] for layer in dense] == ["fc1", "fc2", "fc3"]
    for layer, w, b in zip(dense, net.weights, net.biases, strict=True):
        np.testing.assert_array_equal(layer["weight_data"], w)
        np.testing.assert_array_equal(layer["bias_data"], b)
    others = [layer for layer in layers if layer["class_name"] not in ("Dense", "InputLayer")]
    assert {layer.get("activ_param") for layer in others if "LeakyReLU" in layer["class_name"]} <= {0.01}
    assert shapes["fc3"] == [None, 3]
    with h5py.File(path) as file:
        assert json.loads(file.attrs["model_config"])["config"] == architecture["config"]
    assert sorted(os.listdir(tmp_path)) == ["tagger.h5", "tagger.json"]


def test_a_keras_file_is_a_function_of_the_network(tmp_path):
    net = network()
    paths = [sp.emit.keras(net, tmp_path / f"{name}.keras") for name in "ab"]
    contents = []
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0] == contents[1] and set(contents[0]) == {
        "metadata.json",
        "config.json",
        "model.weights.h5",
    }


# ---- what is refused


@pytest.mark.parametrize(("emit", "suffix"), [(sp.emit.onnx, "onnx"), (sp.emit.keras, "keras")])
def test_mistakes_are_named(tmp_path, emit, suffix):
    net, path = network(), tmp_path / f"tagger.{suffix}"
    with pytest.raises(ValueError, match=rf"path must end in \.{suffix}.*got '.*tagger.pb'"):
        emit(net, tmp_path / "tagger.pb")
    with pytest.raises(TypeError, match="path must be a path; got None"):
        emit(net, None)
    with pytest.raises(TypeError, match="network must be a Network; got a ShadowClassifier: fit it"):
        emit(sp.ShadowClassifier(), path)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 7\), the network's inputs; got \(500, 6\)"):
        emit(net, path, X[:, 1:])
    with pytest.raises(ValueError, match="X must be finite; got nan in row 2, column 1"):
        emit(net, path, np.where(np.arange(500 * 7).reshape(500, 7) == 15, np.nan, X))
    net.weights[1][0, 0] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite, in dense layer 2"):
        emit(net, path)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    net = network()
    path = sp.emit.keras(net, tmp_path / "tagger.keras")
    before = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="no space"):
        sp.emit.keras(network("tanh"), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["tagger.keras"]


@pytest.mark.parametrize(
    ("emit", "package", "extra", "name"),
    [(sp.emit.onnx, "onnx", "onnx", "t.onnx"), (sp.emit.keras, "h5py", "keras", "t.h5")],
)
def test_a_missing_extra_says_what_to_type(tmp_path, monkeypatch, emit, package, extra, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'pip install "shadowprune\[{extra}\]"'):
        emit(network(), tmp_path / name)
    assert os.listdir(tmp_path) == []
