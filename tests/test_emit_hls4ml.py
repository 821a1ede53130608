"""hls4ml projects: what the compiled firmware computes, what is written, what is refused.

The reference here knows nothing of the emitter: it reads types from defines.h and parameters.h, weights from
firmware/weights, and does the arithmetic on integers held in float64.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import dataclasses
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from firmware_cases import (
    ACTIVATIONS,
    CALIBRATION,
    N_TEST,
    TEST,
    X10,
    any_fixed_network,
    needs_compiler,
    network,
    rms,
    rows_beyond,
    small,
)

import shadowprune as sp
from shadowprune.fixedpoint import FixedType

pytest.importorskip("hls4ml")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return tmp_path_factory.mktemp("hls4ml")


def with_modes(kind: FixedType, rounding: str, saturation: str) -> FixedType:
    return dataclasses.replace(kind, rounding=rounding, saturation=saturation)


def compiled(net, directory, X=CALIBRATION, **options):
    model = sp.emit.hls4ml(net, directory, X, **options)
    model.compile()
    return model


# ---- the reference


TYPE = re.compile(r"typedef ap_(u?)fixed<(-?\d+),(-?\d+)(?:,AP_(\w+),AP_(\w+),0)?> (\w+);")


def written_types(directory) -> dict[str, tuple[bool, int, int, str, str]]:
    """Signed, width, integer bits, rounding, saturation of every type in defines.h."""
    text = (directory / "firmware" / "defines.h").read_text()
    found = {
        name: (not unsigned, int(width), int(integer), rounding or "TRN", saturation or "WRAP")
        for unsigned, width, integer, rounding, saturation, name in TYPE.findall(text)
    }
    others = [line for line in text.splitlines() if line.startswith("typedef") and not TYPE.match(line)]
    assert all("_index;" in line for line in others), others
    return found


def cast(x: np.ndarray, kind: tuple[bool, int, int, str, str]) -> np.ndarray:
    signed, width, integer, rounding, saturation = kind
    v = x * 2.0 ** (width - integer)
    v = {"TRN": np.floor, "RND": lambda u: np.floor(u + 0.5)}[rounding](v)
    low, high = (-(2.0 ** (width - 1)), 2.0 ** (width - 1) - 1) if signed else (0.0, 2.0**width - 1)
    v = np.clip(v, low, high) if saturation == "SAT" else np.mod(v - low, 2.0**width) + low
    return v * 2.0 ** (integer - width)


def lookup(function: str, reach: int, n: int) -> np.ndarray:
    """The table before it is rounded: float32 and the C library, as hls4ml has it."""
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    for f in (library.tanhf, library.expf):
        f.restype, f.argtypes = ctypes.c_float, [ctypes.c_float]
    x = 2 * reach * (np.arange(n) - n / 2) / n
    if function == "tanh":
        return np.array([library.tanhf(v) for v in x])
    return np.array([np.float32(1 / np.float64(1 + np.float32(library.expf(-v)))) for v in x], np.float64)


def reference(directory, X: np.ndarray, project: str = "myproject") -> np.ndarray:
    """What the written project must compute, product by product."""
    types = written_types(directory)
    source = (directory / "firmware" / f"{project}.cpp").read_text()
    parameters = (directory / "firmware" / "parameters.h").read_text()
    alias = {
        config: dict(re.findall(r"typedef (\w+) (accum_t|weight_t|bias_t|scale_t|table_t);", body))
        for config, body in re.findall(r"struct (\w+) : nnet::\w+ \{(.*?)\n\};", parameters, re.S)
    }
    for config, names in alias.items():
        alias[config] = {role: types[name] for name, role in names.items()}
    sizes = re.findall(r"struct (\w+) : .*\n.*\n\s+static const unsigned table_size = (\d+);", parameters)
    sizes = {config: int(n) for config, n in sizes}

    def load(name):
        return np.array((directory / "firmware" / "weights" / f"{name}.txt").read_text().split(","), float)

    h = cast(X.astype(np.float64), types["input_t"])
    for function, arguments, values in re.findall(r"nnet::(\w+)<(.*?)>\((.*?)\); //", source):
        names, operands = re.split(", *", arguments), re.split(", *", values)
        config, out = names[-1], types[names[-2]]
        if function == "normalize":
            h = cast(h * cast(load(operands[2]), alias[config]["scale_t"]), out)
        elif function == "dense":
            w = cast(load(operands[2]), alias[config]["weight_t"]).reshape(h.shape[1], -1)
            z = np.tile(
                cast(cast(load(operands[3]), alias[config]["bias_t"]), alias[config]["accum_t"]), (len(h), 1)
            )
            for i in range(h.shape[1]):
                z = cast(z + cast(h[:, i : i + 1] * w[i], alias[config]["accum_t"]), alias[config]["accum_t"])
            h = cast(z, out)
        elif function == "relu":
            h = cast(np.maximum(h, 0), out)
        elif function == "leaky_relu":
            slope = cast(np.array(float(operands[1])), types[names[1]])
            h = cast(np.where(h > 0, h, slope * h), out)
        else:
            reach, n = {"tanh": 4, "sigmoid": 8}[function], sizes[config]
            table = cast(lookup(function, reach, n), alias[config]["table_t"])
            index = np.trunc(h * n / (2 * reach)).astype(int) + n // 2
            h = cast(table[np.clip(index, 0, n - 1)], out)
    return h


# ---- what the firmware computes

# Tables aside, every back-end gives the same bits; small networks compile fastest with Quartus.


@needs_compiler
@pytest.mark.parametrize(("n_nodes", "backend"), [(0.7, "Vitis"), (0.1, "Quartus")])
def test_trained_taggers_agree_with_float(workshop, n_nodes, backend):
    """The sample's own columns at the default precision: RMS of the logits below 0.01, the same rejection."""
    train, test = sp.datasets.load_hbb(subset="train"), sp.datasets.load_hbb(subset="test")
    clf = sp.ShadowClassifier(n_nodes=n_nodes, max_iter=5, random_state=0)
    clf.fit(train.data[:40000], train.target[:40000])
    net, X, y = clf.network_, test.data[:N_TEST], test.target[:N_TEST]
    model = compiled(net, workshop / f"tagger{net.n_nodes}", train.data[:N_TEST], backend=backend)
    assert rms(model, net, X) < 0.003
    fixed = sp.quantize(net, X=train.data[:N_TEST])
    np.testing.assert_array_equal(model.predict(X), fixed.forward(X))

    wanted, error = sp.metrics.background_rejection(y, net.forward(X).ravel(), return_uncertainty=True)
    assert abs(sp.metrics.background_rejection(y, model.predict(X).ravel()) - wanted) < 0.5 * error

    # what the docstring says of predict
    assert model.predict(X[:1]).shape == (1,)
    np.testing.assert_array_equal(model.predict(X[:5].astype(np.float64)), model.predict(X[:5]))


@needs_compiler
@pytest.mark.parametrize("activation", ["leaky_relu", "tanh", "sigmoid"])
def test_the_project_computes_what_its_files_say(workshop, activation):
    """Bit for bit, also far beyond the sample, where results saturate and no sum may wrap."""
    net = network((9, 8), activation, n_out=2)
    directory = workshop / f"files_{activation}"
    model = compiled(net, directory)
    rng = np.random.default_rng(0)
    ends = rng.choice([-1e7, 0, 1e7], (200, 40))
    towards = 1e7 * np.sign(net.weights[0].T)
    X = np.concatenate([TEST[:2000], ends, towards, -towards, 1.5 * TEST[:500]]).astype(np.float32)
    np.testing.assert_array_equal(model.predict(X), reference(directory, X))
    np.testing.assert_array_equal(model.predict(X), sp.quantize(net, X=CALIBRATION).forward(X))
    assert rms(model, net) < 0.01


@needs_compiler
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "linear"])
def test_other_tables_agree_with_float(workshop, activation):
    net = network((16, 16), activation)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if activation == "linear" else "ignore")
        model = compiled(net, workshop / f"quartus_{activation}", backend="Quartus")
    assert rms(model, net) < 0.015


@needs_compiler
@pytest.mark.parametrize(
    "options",
    [
        {"backend": "catapult", "project_name": "Tagger_1"},
        {"strategy": "resource", "reuse_factor": [4, 4, 2], "io_type": "io_stream"},
    ],
    ids=str,
)
def test_backends_and_options(workshop, options):
    net = network((16, 8))
    directory = workshop / "-".join(map(str, options.values()))
    model = compiled(net, directory, **options)
    assert rms(model, net, TEST[:2000]) < 0.003
    if "strategy" in options:
        text = (directory / "firmware" / "parameters.h").read_text()
        pairs = re.findall(r"strategy = nnet::(\w+);\n\s+static const unsigned reuse_factor = (\d+)", text)
        assert pairs == [("resource", "4"), ("resource", "4"), ("resource", "2")]


@needs_compiler
@pytest.mark.parametrize("modes", [("RND", "SAT"), ("TRN", "WRAP")], ids=",".join)
def test_a_network_trained_for_six_bits(workshop, modes):
    """Offsets, shifts and grids of the training, in 8000 jets; benchmarks/firmware.py has 60 projects."""
    train, test = sp.datasets.load_hbb(subset="train"), sp.datasets.load_hbb(subset="test")
    clf = sp.ShadowClassifier((32, 16), n_nodes=12, precision="auto:6", max_iter=2, random_state=0)
    fixed = clf.fit(train.data[:20000], train.target[:20000]).fixed_network_
    hidden = [
        dataclasses.replace(layer, output_type=with_modes(layer.output_type, *modes))
        for layer in fixed.layers[:-1]
    ]
    fixed = sp.FixedNetwork(
        with_modes(fixed.input_type, *modes), fixed.offset, fixed.shifts,
        with_modes(fixed.aligned_type, *modes), (*hidden, fixed.layers[-1]),
    )  # fmt: skip
    strategy = {"strategy": "Resource", "reuse_factor": [4] + [1] * (len(fixed.layers) - 1)}
    options = strategy if "WRAP" in modes else {}
    model = compiled(fixed, workshop / f"six_{modes[0]}", test.data, **options)
    X = test.data[:N_TEST]
    z = fixed.forward(X)
    assert len(np.unique(z)) > 100
    np.testing.assert_array_equal(model.predict(X).reshape(z.shape), z)


@needs_compiler
@pytest.mark.parametrize(
    ("seed", "activation", "options"),
    [
        (34, "relu", {"backend": "Vivado", "strategy": "Resource", "reuse_factor": 5}),
        (30, "leaky_relu", {"backend": "Vitis"}),
    ],
)
def test_any_types_whatever_also_sums_that_wrap(workshop, seed, activation, options):
    rng = np.random.default_rng(seed)
    for narrow in (True, False):
        fixed = any_fixed_network(rng, [5, 5, 4], activation, narrow, integer=(1, 0))
        X = np.ascontiguousarray(rows_beyond(fixed, 300))
        model = compiled(fixed, workshop / f"any_{seed}_{narrow}", X, **options)
        z = fixed.forward(X)
        assert len(np.unique(z)) > 8
        np.testing.assert_array_equal(model.predict(X).reshape(z.shape), z)


@needs_compiler
def test_the_test_bench_replays_what_forward_gives(tmp_path):
    """The vectors lie beside the project, and the bench that the vendors' tools run reproduces them."""
    net = network((8, 6))
    for name, X in (("sample", CALIBRATION), ("none", None)):
        fixed = sp.quantize(net, "auto:9", CALIBRATION)
        sp.emit.hls4ml(fixed, tmp_path / name, X)
        data = tmp_path / name / "tb_data"
        rows, logits = (np.loadtxt(data / f"tb_{n}.dat") for n in ("input_features", "output_predictions"))
        assert rows.shape == (1000, 40) and (rows.astype(np.float32) == rows).all()
        np.testing.assert_array_equal(logits, fixed.forward(rows)[:, 0])
    here = tmp_path / "none"
    weights = f'-DWEIGHTS_DIR="{here}/firmware/weights"'
    sources = ["myproject_test.cpp", "firmware/myproject.cpp", "-Ifirmware/ap_types", weights]
    subprocess.run(["g++", "-std=c++14", "-w", *sources, "-o", "bench"], cwd=here, check=True)
    subprocess.run(["./bench"], cwd=here, check=True, capture_output=True)
    found = np.loadtxt(here / "tb_data" / "csim_results.log")
    np.testing.assert_allclose(found, logits, rtol=1e-5)


@needs_compiler
def test_a_type_of_the_users_own(workshop):
    """X is not needed then, there is no align layer, and the bits are those of the type."""
    X = np.ascontiguousarray(TEST[:1000] / CALIBRATION.std(axis=0))
    net = network((8, 6), X=X)
    directory = workshop / "explicit"
    model = sp.emit.hls4ml(net, directory, precision="fixed<18,8>", backend="Vivado", reuse_factor=3)
    model.compile()
    types = written_types(directory)
    assert types["input_t"] == (True, 18, 8, "RND", "SAT")
    assert types["fc1_weight_t"][:3] == (True, 18, 8) and "align_scale_t" not in types
    np.testing.assert_array_equal(model.predict(X), reference(directory, X))
    assert rms(model, net, X) < 0.05


# ---- types


def test_every_type_is_written_and_none_is_a_default(tmp_path):
    for activation in ACTIVATIONS:
        net = network((7, 5), activation)
        directory = tmp_path / activation
        sp.emit.hls4ml(net, directory, CALIBRATION)
        types = written_types(directory)
        text = (directory / "firmware" / "defines.h").read_text() + (
            directory / "firmware" / "parameters.h"
        ).read_text()
        assert "default" not in text
        for i, layer in enumerate(sp.quantize(net, "auto:16", CALIBRATION).layers):
            assert types[f"fc{i + 1}_weight_t"][1:3] == (layer.weight_type.width, layer.weight_type.integer)
            assert types[f"fc{i + 1}_accum_t"][3:] == ("TRN", "WRAP")
        results = [t for name, t in types.items() if re.fullmatch(r"(layer\d+|result|input)_t", name)]
        assert len(results) == {"linear": 5}.get(activation, 7)
        exact = sum(t[3:] == ("TRN", "WRAP") for t in results)  # what relu takes is the sum itself
        assert exact == (2 if activation == "relu" else 0)
        assert sum(t[3:] == ("RND", "SAT") for t in results) == len(results) - exact


def test_part_clock_and_name_are_written(tmp_path):
    sp.emit.hls4ml(
        small(), tmp_path / "prj", X10, part="xc7z020clg400-1", clock_period=2.5, project_name="Tagger_1"
    )
    tcl = (tmp_path / "prj" / "project.tcl").read_text()
    assert 'set part "xc7z020clg400-1"' in tcl and "set clock_period 2.5" in tcl
    assert "void Tagger_1(" in (tmp_path / "prj" / "firmware" / "Tagger_1.cpp").read_text()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"backend": "VitisAI"}, ValueError, "backend must be one of Vitis, Vivado.*got 'VitisAI'"),
        ({"strategy": "Fast"}, ValueError, "strategy must be one of Latency.*got 'Fast'"),
        ({"io_type": "serial"}, ValueError, "io_type must be one of io_parallel.*got 'serial'"),
        ({"clock_period": -5}, ValueError, "clock_period must be a positive number of ns; got -5"),
        ({"clock_period": "5"}, ValueError, "clock_period must be a positive number of ns; got '5'"),
        ({"part": ""}, ValueError, "part must be the name of a device.*got ''"),
        ({"project_name": "2jets"}, ValueError, "project_name must be a C identifier.*got '2jets'"),
        ({"project_name": "b-tag"}, ValueError, "project_name must be a C identifier.*got 'b-tag'"),
        ({"project_name": "template"}, ValueError, r"project_name must not be reserved in C\+\+"),
        ({"reuse_factor": 0}, ValueError, "reuse_factor must be a whole number from 1; got 0"),
        ({"reuse_factor": 1.5}, ValueError, "must be a whole number from 1; got 1.5"),
        ({"reuse_factor": [1, 2]}, ValueError, r"one per dense layer, 3; got \[1, 2\]"),
        ({"reuse_factor": 61}, ValueError, "reuse_factor 61 is not possible for layer fc1 of 10 x 6"),
        ({"directory": ""}, TypeError, "directory must be a path; got ''"),
        ({"directory": "."}, ValueError, "directory must not be the current directory"),
        ({"directory": ".."}, ValueError, "directory must not be the current directory or one above"),
        ({"network": sp.ShadowClassifier()}, TypeError, "got a ShadowClassifier: fit it, then"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_refused(tmp_path, monkeypatch, wrong, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        sp.emit.hls4ml(**{"network": small(), "directory": "prj", "X": X10} | wrong)
    assert not list(tmp_path.iterdir())


def test_hls4ml_is_silent_but_its_complaints_are_heard(tmp_path, capfd, monkeypatch):
    sp.emit.hls4ml(small(), tmp_path / "prj", X10, backend="Catapult")
    out, err = capfd.readouterr()
    assert out == "" and err == ""
    from hls4ml.model import ModelGraph

    make = ModelGraph.from_layer_list
    monkeypatch.setattr(ModelGraph, "from_layer_list", lambda *a: print("WARNING: odd") or make(*a))
    with pytest.warns(UserWarning, match="hls4ml: WARNING: odd"):
        sp.emit.hls4ml(small(), tmp_path / "prj", X10)


# ---- imports


def test_hls4ml_is_imported_when_called_and_not_before():
    code = (
        "import sys, shadowprune as sp; assert callable(sp.emit.hls4ml); "
        "print(*{'hls4ml', 'yaml', 'h5py', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_without_hls4ml_the_message_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hls4ml", None)
    with pytest.raises(ImportError, match=r'pip install "shadowprune\[hls4ml\]"'):
        sp.emit.hls4ml(small(), tmp_path / "prj", X10)
    assert not list(tmp_path.iterdir())
