"""hls4ml projects: what the compiled firmware computes, what is written, what is refused.

The reference here knows nothing of the emitter: it reads types from defines.h and parameters.h, weights from
firmware/weights, and does the arithmetic on integers held in float64.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import shadowprune as sp
from shadowprune.emit._fixed import FixedType, integer_bits, parse_precision
from shadowprune.emit._plan import MARGIN, activate, make_plan, measure

pytest.importorskip("hls4ml")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="hls4ml compiles with g++")

N_TEST = 8000
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "linear")


def jets(n: int, seed: int) -> np.ndarray:
    """Forty columns with the units, ranges and tails of jet variables: from ratios to hundreds of GeV."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal
    b = normal(n)
    pt = 250 * (1 + rng.exponential(0.35, n)).clip(1, 4)
    columns = [pt, rng.uniform(-2, 2, n), 50 + 150 * rng.beta(1, 1.6, n), rng.uniform(0, np.pi, n)]
    columns += [20 * np.exp(0.5 * normal(n)), np.round(60 * np.exp(0.3 * normal(n))), 1000 / pt]
    columns += [
        scale / (1 + np.exp(-normal(n) - 0.5 * b)) for scale in (1, 1, 1, 0.6, 0.4, 0.3, 0.3, 0.1, 0.05)
    ]
    for _ in range(12):
        significance = np.exp(1.2 * b + 0.8 * normal(n)) - 1 + 0.5 * rng.standard_t(2, n)
        columns.append(np.where(rng.random(n) < 0.1, -10, significance).clip(-10, 50))
    has = rng.random(n) < 1 / (1 + np.exp(-b))
    columns += [np.where(has, (1 + rng.gamma(2, 1, n)).clip(0, 10), 0) for _ in range(6)]
    columns += [np.where(has, np.exp(1.2 * b + normal(n)).clip(0, 100), 0) for _ in range(6)]
    return np.column_stack(columns).astype(np.float32)


CALIBRATION = jets(6000, 1)
TEST = np.ascontiguousarray(jets(N_TEST, 2))


def network(
    hidden: tuple[int, ...],
    activation: str = "relu",
    n_out: int = 1,
    seed: int = 0,
    X: np.ndarray = CALIBRATION,
) -> sp.Network:
    """Random weights on the columns' own scales; sums spread by 1.5, logits by 4, biases not zero."""
    rng = np.random.default_rng(seed)
    net = sp.Network([X.shape[1], *hidden, n_out], activation, random_state=seed)
    h = X.astype(np.float64)
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        if i == 0:
            w[:] /= X.std(axis=0)[:, None]
        w[:] *= (1.5 if i < len(hidden) else 4) / (h @ w).std(axis=0)
        b[:] = rng.normal(0, 0.5, b.shape) - (h @ w).mean(axis=0)
        h = activate(activation, h @ w + b)
    return net


def rms(model, net: sp.Network, X: np.ndarray = TEST) -> float:
    difference = model.predict(X).reshape(len(X), -1) - net.forward(X)
    return float(np.sqrt(np.mean(difference.astype(np.float64) ** 2)))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return tmp_path_factory.mktemp("hls4ml")


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
    assert rms(model, net) < 0.01


@needs_compiler
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "linear"])
def test_other_tables_agree_with_float(workshop, activation):
    net = network((16, 16), activation)
    model = compiled(net, workshop / f"quartus_{activation}", backend="Quartus")
    assert rms(model, net) < 0.01


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
def test_a_type_of_the_users_own(workshop):
    """X is not needed then, there is no align layer, and the bits are those of the type."""
    X = np.ascontiguousarray(TEST[:1000] / CALIBRATION.std(axis=0))
    net = network((8, 6), X=X)
    directory = workshop / "explicit"
    model = sp.emit.hls4ml(net, directory, precision="fixed<18,8>", backend="Vivado", reuse_factor=3)
    model.compile()
    types = written_types(directory)
    assert types["input_t"] == types["result_t"] == (True, 18, 8, "RND", "SAT")
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
        plan = make_plan(net, measure(net, CALIBRATION), 16)
        for i, layer in enumerate(plan.layers):
            assert types[f"fc{i + 1}_weight_t"][1:3] == (layer.weight_type.width, layer.weight_type.integer)
            assert types[f"fc{i + 1}_accum_t"][3:] == ("TRN", "WRAP")
        results = [t for name, t in types.items() if re.fullmatch(r"(layer\d+|result|input)_t", name)]
        assert len(results) == {"linear": 5}.get(activation, 7)
        assert all(t[3:] == ("RND", "SAT") for t in results)


def test_part_clock_and_name_are_written(tmp_path):
    sp.emit.hls4ml(
        small(), tmp_path / "prj", X10, part="xc7z020clg400-1", clock_period=2.5, project_name="Tagger_1"
    )
    tcl = (tmp_path / "prj" / "project.tcl").read_text()
    assert 'set part "xc7z020clg400-1"' in tcl and "set clock_period 2.5" in tcl
    assert "void Tagger_1(" in (tmp_path / "prj" / "firmware" / "Tagger_1.cpp").read_text()


def test_integer_bits_follow_from_the_sample():
    net = network((6, 5))
    ranges = measure(net, CALIBRATION)
    h = CALIBRATION.astype(np.float64)
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        z = h @ w.astype(np.float64) + b
        np.testing.assert_allclose(ranges.means[i], h.mean(axis=0))
        np.testing.assert_allclose((ranges.low[i], ranges.high[i]), (z.min(), z.max()))
        h = np.maximum(z, 0)
    plan = make_plan(net, ranges, 16)
    for i, layer in enumerate(plan.layers):
        largest = max(abs(ranges.low[i]), ranges.high[i]) if i == 2 else ranges.high[i]
        assert MARGIN * largest <= layer.output_type.high + layer.output_type.step <= 2 * MARGIN * largest
        largest = np.abs(layer.weights).max()
        assert largest <= -layer.weight_type.low <= 2 * largest * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_no_sum_wraps_whatever_the_input(seed):
    rng = np.random.default_rng(seed)
    hidden = tuple(rng.integers(1, 40, rng.integers(1, 4)))
    net = network(hidden, ACTIVATIONS[seed % 5], seed=seed)
    plan = make_plan(net, measure(net, CALIBRATION), int(rng.integers(4, 20)))
    x = plan.aligned_type
    for layer in plan.layers:
        w = layer.weights
        above = np.maximum(w * x.high, w * x.low).sum(axis=0) + np.abs(layer.bias)
        below = np.minimum(w * x.high, w * x.low).sum(axis=0) - np.abs(layer.bias)
        # each product may lose one step of the sum
        assert above.max() <= layer.accum_type.high
        assert below.min() - len(w) * layer.accum_type.step >= layer.accum_type.low
        # ... and all of them together an eighth of a step of the result
        exact = x.fractional + layer.weight_type.fractional
        assert layer.accum_type.fractional >= min(exact, layer.result_type.fractional)
        if layer.accum_type.fractional < exact:
            assert len(w) * layer.accum_type.step <= layer.result_type.step / 4
        np.testing.assert_array_equal(layer.bias, layer.accum_type.cast(layer.bias))
        x = layer.output_type


def test_the_bias_takes_back_what_rounded_weights_shift():
    net = network((16, 16))
    plan = make_plan(net, measure(net, CALIBRATION), 6)
    h = np.ldexp(CALIBRATION.astype(np.float64), plan.shifts)
    exact = np.ldexp(net.weights[0].astype(np.float64), -plan.shifts[:, None])
    shift = (h @ plan.layers[0].weights + plan.layers[0].bias - h @ exact - net.biases[0]).mean(axis=0)
    uncorrected = (h @ (plan.layers[0].weights - exact)).mean(axis=0)
    assert np.abs(shift).max() <= plan.layers[0].bias_type.step
    assert np.abs(uncorrected).max() > 10 * plan.layers[0].bias_type.step


def test_alignment_is_exact_and_does_not_depend_on_the_units():
    net = network((16,))
    ranges = measure(net, CALIBRATION)
    plan = make_plan(net, ranges, 16)
    assert np.ptp(plan.shifts) > 8 and plan.input_type.width < 32
    assert (np.abs(CALIBRATION).max(axis=0) * 2.0**plan.shifts <= plan.aligned_type.high).all()
    assert plan.input_type.step <= (2.0**-plan.shifts).min() * plan.aligned_type.step
    assert (CALIBRATION.max(axis=0) <= plan.input_type.high).all()

    power = np.random.default_rng(0).integers(-6, 7, 40)
    other = net.copy()
    other.weights[0][:] = np.ldexp(other.weights[0], -power[:, None])
    moved = make_plan(other, measure(other, np.ldexp(CALIBRATION, power)), 16)
    np.testing.assert_array_equal(moved.shifts, plan.shifts - power)
    for a, b in zip(moved.layers, plan.layers, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        np.testing.assert_array_equal(a.bias, b.bias)


def test_columns_alike_need_no_alignment(tmp_path):
    X = np.random.default_rng(0).normal(size=(2000, 12)).astype(np.float32)
    net = network((5,), X=X)
    sp.emit.hls4ml(net, tmp_path / "prj", X)
    types = written_types(tmp_path / "prj")
    assert "align_scale_t" not in types and types["input_t"] == (True, 16, 4, "RND", "SAT")
    assert "normalize" not in (tmp_path / "prj" / "firmware" / "myproject.cpp").read_text()


def test_columns_without_effect_cost_no_bits():
    net = network((6, 4))
    net.weights[0][3] = 0
    X = CALIBRATION.copy()
    plain = make_plan(net, measure(net, X), 16)
    X[:, 3] *= 1e9
    huge = make_plan(net, measure(net, X), 16)
    X[:, 3] = 0
    empty = make_plan(net, measure(net, X), 16)
    assert plain.input_type == huge.input_type == empty.input_type
    net.weights[0][3] = 1
    none = make_plan(net, measure(net, X), 16)  # a weight that no jet of the sample uses
    assert none.input_type == plain.input_type and none.layers[0].weight_type == plain.layers[0].weight_type


def test_constant_and_empty_networks_are_emitted(tmp_path):
    net = network((4, 3))
    constant = np.repeat(CALIBRATION[:1], 500, axis=0)
    sp.emit.hls4ml(net, tmp_path / "constant", constant)
    for values in (*net.weights, *net.biases):
        values[:] = 0
    with pytest.warns(UserWarning, match="change nothing"):
        sp.emit.hls4ml(net, tmp_path / "zero", CALIBRATION)
    sp.emit.hls4ml(network(()), tmp_path / "no_hidden_layer", CALIBRATION)


def test_fixed_types():
    assert str(FixedType(16, 6)) == "fixed<16,6,RND,SAT>"
    assert str(FixedType(8, -2, False, "TRN", "WRAP")) == "ufixed<8,-2,TRN,WRAP>"
    assert parse_precision(" ap_fixed<16, 6> ") == FixedType(16, 6)
    assert parse_precision("fixed<12,4,AP_TRN,AP_WRAP>") == FixedType(12, 4, True, "TRN", "WRAP")
    assert parse_precision("auto:9") == 9
    x = np.array([-9, -8.01, -2.5, -2.25, -0.1, 0, 0.25, 0.75, 1.25, 7.6, 7.8, 8, 9])
    kind = FixedType(5, 4)
    want = [-8, -8, -2.5, -2, 0, 0, 0.5, 1, 1.5, 7.5, 7.5, 7.5, 7.5]
    np.testing.assert_array_equal(kind.cast(x), want)
    np.testing.assert_array_equal(FixedType(5, 4, True, "TRN").cast([-0.1, 0.75]), [-0.5, 0.5])
    np.testing.assert_array_equal(FixedType(5, 4, True, "RND_CONV").cast([0.25, 0.75, -0.25]), [0, 1, 0])
    np.testing.assert_array_equal(FixedType(5, 4, True, "TRN", "WRAP").cast([8, -8.5, 15.5]), [-8, 7.5, -0.5])
    np.testing.assert_array_equal(FixedType(4, 4, False, "TRN", "WRAP").cast([16, -1]), [0, 15])
    assert [integer_bits(v) for v in (0.2, 0.25, 0.99, 1.0, 3.9, 4.0, 0.0)] == [-2, -1, 0, 1, 2, 3, 0]


# ---- what is refused

X10 = np.random.default_rng(0).normal(size=(300, 10))


def small(*widths: int) -> sp.Network:
    return sp.Network([10, *(widths or (6, 4)), 1], random_state=0)


class Widths:
    """Like a Network, with a layer of no nodes, which Network itself refuses."""

    activation = "relu"
    weights = (np.zeros((10, 0), np.float32), np.zeros((0, 1), np.float32))
    biases = (np.zeros(0, np.float32), np.zeros(1, np.float32))


def infinite() -> sp.Network:
    net = small()
    net.weights[1][0, 0] = np.inf
    return net


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
        ({"network": Widths()}, ValueError, r"a layer without nodes, widths \[10, 0, 1\]"),
        ({"network": infinite()}, ValueError, "weights that are NaN or infinite, in dense layer 2"),
        ({"network": np.ones((3, 3))}, TypeError, "network must be a Network; got a ndarray$"),
        ({"network": sp.ShadowClassifier()}, TypeError, "got a ShadowClassifier: fit it, then"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_refused(tmp_path, monkeypatch, wrong, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        sp.emit.hls4ml(**{"network": small(), "directory": "prj", "X": X10} | wrong)
    assert not list(tmp_path.iterdir())


def test_a_fitted_classifier_is_not_its_network(tmp_path):
    y = (X10[:, 0] > 0).astype(int)
    clf = sp.ShadowClassifier((6, 4), max_iter=2, random_state=0).fit(X10, y)
    with pytest.raises(TypeError, match="got a ShadowClassifier: pass its network_ attribute"):
        sp.emit.hls4ml(clf, tmp_path / "prj", X10)
    sp.emit.hls4ml(clf.network_, tmp_path / "prj", X10)


def test_sparse_is_refused(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"got a sparse csr_array: pass X.toarray\(\)"):
        sp.emit.hls4ml(small(), tmp_path / "prj", sparse.csr_array(X10))


def test_any_layout_of_the_sample_is_taken_and_left_alone(tmp_path):
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
        model = sp.emit.hls4ml(small(), tmp_path / "prj", sample)
        np.testing.assert_array_equal(np.array(sample), kept)
        types = model.config.config["HLSConfig"]["LayerName"]
        wanted = wanted or types
        assert types == wanted


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
    model = sp.emit.hls4ml(
        net, tmp_path / "prj", CALIBRATION, strategy="Resource", reuse_factor=np.array(factors)
    )
    layers = [layer for layer in model.get_layers() if layer.class_name == "Dense"]
    assert [layer.get_attr("reuse_factor") for layer in layers] == factors
    sp.emit.hls4ml(net, tmp_path / "latency", CALIBRATION, reuse_factor=4)
    with pytest.raises(ValueError, match="reuse_factor 4 is not possible"):
        sp.emit.hls4ml(net, tmp_path / "quartus", CALIBRATION, backend="Quartus", reuse_factor=4)


def test_columns_too_different_for_one_input(tmp_path):
    X = CALIBRATION.astype(np.float64)
    X[:, 0] *= 1e14
    net = network((4,))
    net.weights[0][0] *= 1e-14
    with pytest.raises(
        ValueError, match=r"X has columns up to 0.0\d+ and 1e\+17: .* needs \d+ bits, more than 64"
    ):
        sp.emit.hls4ml(net, tmp_path / "prj", X)


# ---- what is warned of


def test_nodes_that_change_nothing(tmp_path):
    net = small()
    net.weights[1][[0, 5]] = 0
    with pytest.warns(
        UserWarning, match=r"layer fc1: 2 of 6 nodes have no outgoing weight but zero.*network.reduce"
    ) as caught:
        sp.emit.hls4ml(net, tmp_path / "prj", X10)
    assert caught[0].filename == __file__
    net.weights[1][[0, 5], 0] = 1e-9
    sp.emit.hls4ml(net, tmp_path / "prj", X10)


def test_few_rows(tmp_path):
    with pytest.warns(UserWarning, match="X has 20 rows; other jets may exceed ranges"):
        sp.emit.hls4ml(small(), tmp_path / "prj", X10[:20])


def test_a_type_too_small_for_the_sample(tmp_path):
    net = network((6, 5))
    with pytest.warns(UserWarning) as caught:
        sp.emit.hls4ml(net, tmp_path / "prj", CALIBRATION, precision="fixed<16,3>")
    said = " ".join(str(w.message) for w in caught)
    assert re.search(r"an input of 1000 does not fit fixed<16,3,RND,SAT>; use precision='auto:<bits>'", said)
    assert re.search(r"layer fc1: a weight of -?\d+.* does not fit", said)
    assert re.search(r"layer fc3: a result of -?\d+.* does not fit", said)
    sp.emit.hls4ml(net, tmp_path / "prj", precision="fixed<16,3>".replace("3", "8"))


def test_hls4ml_is_silent_but_its_complaints_are_heard(tmp_path, capfd, monkeypatch):
    sp.emit.hls4ml(small(), tmp_path / "prj", X10, backend="Catapult")
    out, err = capfd.readouterr()
    assert out == "" and err == ""
    from hls4ml.model import ModelGraph

    make = ModelGraph.from_layer_list
    monkeypatch.setattr(ModelGraph, "from_layer_list", lambda *a: print("WARNING: odd") or make(*a))
    with pytest.warns(UserWarning, match="hls4ml: WARNING: odd"):
        sp.emit.hls4ml(small(), tmp_path / "prj", X10)


# ---- directories


def listing(path) -> set[str]:
    return {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}


@needs_compiler
def test_relative_paths_survive_a_change_of_directory(tmp_path, monkeypatch):
    (tmp_path / "my work").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "my work")
    model = sp.emit.hls4ml(small(), "new folder/prj µ", X10, backend="Quartus")
    monkeypatch.chdir(tmp_path / "elsewhere")
    model.compile()
    assert model.predict(X10.astype(np.float32)).shape == (300, 1)
    assert not listing(tmp_path / "elsewhere")
    assert [p.name for p in (tmp_path / "my work" / "new folder").iterdir()] == ["prj µ"]


def test_the_configuration_names_its_own_place(tmp_path):
    yaml = pytest.importorskip("yaml")
    directory = tmp_path / ("long " * 12).strip() / ("name " * 12).strip()
    model = sp.emit.hls4ml(small(), directory, X10)
    config = yaml.safe_load((directory / "hls4ml_config.yml").read_text())
    assert config["OutputDir"] == str(directory) == model.config.get_output_dir()
    files = [p for p in directory.rglob("*") if p.is_file()]
    # nothing but the configuration remembers a path, and not that of the draft
    assert not [p for p in files if f".{directory.name}." in p.read_text(errors="replace")]


def test_an_own_project_is_replaced_whole(tmp_path):
    directory = tmp_path / "prj"
    sp.emit.hls4ml(small(6, 4, 3), directory, X10)
    before = listing(directory)
    sp.emit.hls4ml(small(6), directory, X10)
    assert listing(directory) < before
    sp.emit.hls4ml(small(6, 4, 3), directory, X10)
    assert listing(directory) == before
    assert [p.name for p in tmp_path.iterdir()] == ["prj"]


def test_an_empty_directory_is_used(tmp_path):
    directory = tmp_path / "prj"
    directory.mkdir()
    sp.emit.hls4ml(small(), directory, X10)
    assert (directory / "firmware" / "myproject.cpp").is_file()


def test_what_would_be_lost_is_not_replaced(tmp_path):
    directory = tmp_path / "prj"
    sp.emit.hls4ml(small(), directory, X10)
    (directory / "myproject_prj").mkdir()
    (directory / "myproject_prj" / "report.rpt").write_text("hours of synthesis")
    message = r"holds an hls4ml project and what this one would not replace \(myproject_prj\).*overwrite=True"
    with pytest.raises(FileExistsError, match=message):
        sp.emit.hls4ml(small(5), directory, X10)
    assert (directory / "myproject_prj" / "report.rpt").read_text() == "hours of synthesis"
    assert [p.name for p in tmp_path.iterdir()] == ["prj"]
    sp.emit.hls4ml(small(5), directory, X10, overwrite=True)
    assert not (directory / "myproject_prj").exists()


def test_a_directory_of_something_else_is_never_replaced(tmp_path):
    directory = tmp_path / "thesis"
    directory.mkdir()
    (directory / "chapter1.tex").write_text("text")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="not empty and not an hls4ml project"):
            sp.emit.hls4ml(small(), directory, X10, overwrite=overwrite)
    with pytest.raises(FileExistsError, match="is a file"):
        sp.emit.hls4ml(small(), directory / "chapter1.tex", X10, overwrite=True)
    assert listing(tmp_path) == {"thesis/chapter1.tex"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_half_written(tmp_path, monkeypatch, error):
    from hls4ml.writer.vitis_writer import VitisWriter

    sp.emit.hls4ml(small(), tmp_path / "old", X10)
    before = {name: (tmp_path / "old" / name).read_bytes() for name in listing(tmp_path / "old")}

    def fail(self, model):
        assert os.path.exists(model.config.get_output_dir() + "/firmware/defines.h")
        raise error

    monkeypatch.setattr(VitisWriter, "write_nnet_utils_overrides", fail)
    for name in ("old", "new"):
        with pytest.raises(type(error)):
            sp.emit.hls4ml(small(8, 8), tmp_path / name, X10)
    assert {name: (tmp_path / "old" / name).read_bytes() for name in listing(tmp_path / "old")} == before
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


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
