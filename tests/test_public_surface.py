"""What other people rely on: names, docstrings, a light import, and a README whose code runs."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shadowprune as sp

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

NAMES = {
    "Adam": ["step"],
    "Budget": [],
    "SGD": ["step"],
    "resources": [],
    "FixedNetwork": ["forward", "save", "load", "widths"],
    "Network": [
        *["widths", "n_nodes", "n_multiplications", "activation", "params", "weights", "biases"],
        *["input_names", "from_params"],
        *["forward", "backward", "reduce", "copy", "save", "load"],
    ],
    "ShadowClassifier": [
        *["fit", "predict", "predict_proba", "decision_function", "retrain", "score"],
        *["prune", "get_support", "get_feature_names_out", "transform", "set_output"],
    ],
    "ShadowNetwork": ["gates", "step", "support"],
    "ShadowPath": ["fit", "at", "smallest"],
    "ShadowRegressor": ["fit", "predict", "prune", "retrain", "score"],
    "datasets": ["generate", "load_hbb"],
    "emit": ["hls4ml", "keras", "onnx", "qonnx", "verify", "verilog"],
    "losses": ["binary_crossentropy", "categorical_crossentropy", "squared_error"],
    "metrics": ["background_rejection"],
    "plots": [
        *["rejection_vs_efficiency", "rejection_vs_size", "gates_over_time", "widths_vs_budget"],
        "inputs_vs_budget",
    ],
    "quantize": [],
}


def resolve(dotted: str) -> Any:
    """The object behind a dotted name below shadowprune, submodules imported on the way."""
    found: Any = sp
    for part in dotted.split("."):
        if inspect.ismodule(found) and not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


def python(code: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    environment = os.environ | {"MPLBACKEND": "Agg"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False, **kwargs
    )


# --- names ---


@pytest.mark.parametrize("dotted", [f"{name}.{inner}" for name, inners in NAMES.items() for inner in inners])
def test_the_name_exists(dotted: str) -> None:
    name, _, inner = dotted.partition(".")
    owner = sp.Network([3, 2, 1], random_state=0) if name == "Network" else resolve(name)
    assert hasattr(owner, inner)


def test_submodules_are_reached_as_attributes_after_a_plain_import() -> None:
    modules = ["metrics", "plots", "emit", "datasets", "losses"]
    done = python(f"import shadowprune as sp; print(*(getattr(sp, m).__name__ for m in {modules}))")
    assert done.stdout.split() == [f"shadowprune.{m}" for m in modules], done.stderr


def test_all_is_complete_and_short() -> None:
    assert len(sp.__all__) == len(set(sp.__all__))
    assert set(sp.__all__) >= set(NAMES)
    assert set(sp.__all__) <= set(dir(sp))
    assert len(sp.__all__) <= 20


def test_version_is_the_one_of_the_metadata() -> None:
    assert sp.__version__ == importlib.metadata.version("shadowprune") == PYPROJECT["project"]["version"]


# --- import ---

HEAVY = {"matplotlib", "mplhep", "hls4ml", "torch", "jax", "pandas", "h5py", "pythia8mc", "fastjet", "keras"}


def test_import_waits_with_scikit_learn() -> None:
    done = python("import shadowprune, sys; print('sklearn' in sys.modules, 'scipy' in sys.modules)")
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_import_takes_nothing_optional_along() -> None:
    done = python(
        "import json, sys, sklearn.model_selection, tqdm\n"  # scikit-learn itself imports pandas
        "before = set(sys.modules)\n"
        "import shadowprune\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "shadowprune" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_import_neither_prints_nor_warns() -> None:
    done = python("import warnings; warnings.simplefilter('error'); import shadowprune")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- docstrings ---


def is_ours(value: Any) -> bool:
    """Whether this was written here, and not imported from elsewhere."""
    return str(getattr(value, "__module__", "")).startswith("shadowprune")


def public_callables() -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """(dotted name, function, whether its first argument is the object) of all that users call."""
    roots: list[tuple[str, Any]] = []
    for name in sp.__all__:
        value = resolve(name)
        if inspect.ismodule(value):
            inners = getattr(value, "__all__", [inner for inner in vars(value) if not inner.startswith("_")])
            own = {inner: getattr(value, inner) for inner in inners}
            roots += [(f"{name}.{inner}", it) for inner, it in own.items() if is_ours(it)]
        else:
            roots.append((name, value))
    for name, value in roots:
        if inspect.isclass(value):
            if value.__init__ is not object.__init__ and not issubclass(value, (tuple, BaseException)):
                yield name, value, False
            for inner, member in vars(value).items():
                if inner.startswith("_"):
                    continue
                function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
                if inspect.isfunction(function):
                    yield f"{name}.{inner}", function, not isinstance(member, staticmethod)
        elif callable(value):
            yield name, value, False


CALLABLES = list(public_callables())


def section(doc: str, title: str) -> str | None:
    """Body of one numpydoc section."""
    match = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n---|\Z)", doc, re.MULTILINE | re.DOTALL)
    return match and match[1]


@pytest.mark.parametrize(("name", "function", "bound"), CALLABLES, ids=[name for name, *_ in CALLABLES])
def test_docstring_names_every_parameter_and_the_result(name: str, function: Any, bound: bool) -> None:
    doc = inspect.getdoc(function) or ""
    assert doc.splitlines()[0:1], f"{name} has no docstring"
    signature = inspect.signature(function)
    wanted = list(signature.parameters)[1 if bound else 0 :]
    if wanted:
        body = section(doc, "Parameters")
        assert body is not None, f"{name}: no Parameters section"
        heads = "\n".join(line for line in body.splitlines() if not line.startswith(" "))
        missing = [p for p in wanted if not re.search(rf"(?<!\w){p}(?!\w)", heads)]
        assert not missing, f"{name}: parameters without a word: {missing}"
    returns = signature.return_annotation
    one_line_will_do = inspect.isclass(function) or not wanted or returns in (None, "None", "Self")
    assert one_line_will_do or section(doc, "Returns") is not None, f"{name}: no Returns section"


def test_modules_say_what_they_are_for() -> None:
    for path in sorted((ROOT / "shadowprune").rglob("*.py")):
        first = path.read_text().lstrip()
        assert first.startswith('"""'), f"{path.relative_to(ROOT)} opens without a docstring"


# --- README and the other texts ---


def test_readme_code_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2, "the notebook lines and the NumPy loop"
    done = python("\n".join(blocks), cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", ["README.md", "ARCHITECTURE.md"])
def test_linked_files_exist(text: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / text).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_named_files_exist() -> None:
    """Every path that the two texts set in `code` and that looks like one of ours."""
    pattern = re.compile(r"`((?:csrc|shadowprune|tests|notebooks|benchmarks|docs|\.ci)/[\w./-]*)`")
    texts = README + (ROOT / "ARCHITECTURE.md").read_text()
    named = set(pattern.findall(texts))
    assert named
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_readme_names_every_extra_and_make_target() -> None:
    for extra in ("plot", "generate", "hls4ml", "all"):
        assert extra in PYPROJECT["project"]["optional-dependencies"]
        assert f"[{extra}]" in README
    targets = set(re.findall(r"^([a-z]\w*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z]\w*)", README, re.MULTILINE))
    assert {"figure1", "test", "lint", "bench"} <= named
    assert named <= targets


def test_lint_pins_are_those_of_pre_commit() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text()
    hooks = dict(re.findall(r"repo: \S+/(\S+)\n\s+rev: v?(\S+)", config))
    pins = dict(pin.split("==") for pin in PYPROJECT["project"]["optional-dependencies"]["lint"])
    for tool, repo in {
        "ruff": "ruff-pre-commit",
        "clang-format": "mirrors-clang-format",
        "mypy": "mirrors-mypy",
        "codespell": "codespell",
        "nbstripout": "nbstripout",
    }.items():
        assert hooks.pop(repo) == pins.pop(tool), tool
    assert not hooks
    assert not pins
