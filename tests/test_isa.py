"""Every instruction set of this build: the core's tests under each, one training compared between them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from core_cases import ACTIVATIONS, error, run_python

from shadowprune import _core

OTHERS = [name for name in _core.isas() if name != _core.isa()]

PROBE = """
import sys
import numpy as np
from core_cases import ACTIVATIONS, FAMILIES, LOSSES, make_params, seeded_training
from shadowprune import _core, _reference as twin

rng, results, widths = np.random.default_rng(1), {"isa": np.array(_core.isa())}, (9, 70, 33, 5)
for activation in ACTIVATIONS:
    params, x = make_params(rng, widths), 2 * rng.normal(size=(300, 9)).astype(np.float32)
    gates, dz = rng.random(112).astype(np.float32), rng.normal(size=(300, 5)).astype(np.float32)
    model = _core.Model(widths, activation)
    results["forward " + activation] = model.forward(params, x, gates, keep=True)
    results["dparams " + activation], results["dgates " + activation] = model.backward(dz)
    trained = seeded_training(_core, activation)
    for name, array in zip(("losses", "params", "scores", "gates"), trained):
        results["training " + name + " " + activation] = array
for kind in LOSSES:
    z = 3 * rng.normal(size=(300, 5)).astype(np.float32)
    target = rng.dirichlet(np.ones(5), 300).astype(np.float32)
    value, results["dz " + kind] = _core.loss(kind, z, target)
    results["value " + kind] = np.array([value])
results["probabilities"] = _core.probabilities(20 * rng.normal(size=(300, 1)).astype(np.float32))
for family in FAMILIES:
    scores, u = rng.normal(size=117), rng.normal(size=117)
    results["gates " + family], _ = _core.gates(scores, 31.5, 0.05, family)
    results["gates_backward " + family] = _core.gates_backward(results["gates " + family], 0.05, u, family)
np.savez(sys.argv[1], **results)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the probe computed, per instruction set."""
    found = {}
    for name in _core.isas():
        path = tmp_path_factory.mktemp("isa") / f"{name}.npz"
        run_python(f"import sys; sys.argv = ['', {str(path)!r}]\n{PROBE}", SHADOWPRUNE_ISA=name)
        with np.load(path) as file:
            found[name] = dict(file)
    return found


def test_the_environment_chooses(results):
    for name, found in results.items():
        assert str(found["isa"]) == name


def test_the_fastest_is_the_default():
    assert (
        run_python("from shadowprune import _core; print(_core.isa())", SHADOWPRUNE_ISA="").strip()
        == _core.isas()[-1]
    )
    assert _core.isas()[0] == "baseline"


def test_unknown_names_are_refused():
    name = "avx1024"
    code = "try:\n    import shadowprune._core\nexcept ImportError as error:\n    print(error)"
    said = run_python(code, SHADOWPRUNE_ISA=name)
    for word in ("SHADOWPRUNE_ISA", name, "baseline"):
        assert word in said


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(_core.isas()), reason="needs a processor with AVX-512")
def test_fused_builds_agree_bit_for_bit(results):
    for key, array in results["avx2"].items():
        if key != "isa":
            assert array.tobytes() == results["avx512"][key].tobytes(), key


def test_a_whole_training_agrees_between_instruction_sets(results):
    """200 Adam steps with two shadows, without and with fused multiply-add: the same nodes are kept.

    Rounding grows along a training, and jumps where a row crosses the kink of a relu or the scores of two
    useless nodes cross: 1e-6 for the smooth activations, 1e-4 seen for the kinked ones.
    """
    reference = results["baseline"]
    for found in results.values():
        for activation in ACTIVATIONS:
            for key in ("losses", "params"):
                name = f"training {key} {activation}"
                assert error(found[name], reference[name]) < 1e-3, name
            name = f"training gates {activation}"
            np.testing.assert_array_equal(found[name] > 0.5, reference[name] > 0.5)


def test_single_calls_agree_to_float32(results):
    reference = results["baseline"]
    for found in results.values():
        for key, array in found.items():
            if key.startswith(("forward", "value", "dz")):
                assert error(array, reference[key]) < 3e-6, key
            elif key.startswith(("dparams", "dgates")):
                assert error(array, reference[key]) < 1e-5, key
            elif key.startswith("gates"):
                assert error(array, reference[key]) < 1e-9, key


@pytest.mark.parametrize("name", OTHERS)
def test_the_core_passes_its_tests_under(name):
    """All of test_core_*.py that computes, again in a fresh interpreter, with fewer examples."""
    here = Path(__file__).parent
    files = [str(here / f"test_core_{part}.py") for part in ("network", "predict", "shadow", "training")]
    env = {**os.environ, "SHADOWPRUNE_ISA": name, "HYPOTHESIS_PROFILE": "short"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, env=env, cwd=here.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
