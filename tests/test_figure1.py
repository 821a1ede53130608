"""Figure 1 from end to end in quick mode, every file opened; and the parts of it that can go wrong alone."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("mplhep")

import matplotlib.image
from sklearn.metrics import roc_auc_score

from shadowprune import Network, _figure1_plot, figure1, metrics, scan
from shadowprune.datasets import load_hbb

KEYS = {
    *("fraction", "nodes_asked", "nodes_kept", "widths", "seed", "auc"),
    *("rejection_50", "rejection_70", "seconds"),
}
BUDGETS = {1.0: 256, 0.7: 179, 0.1: 25}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp("figure1") / "new"
    before = dict(matplotlib.rcParams)
    summary = figure1.run(out, quick=True, hls4ml=False, progress=False, n_jobs=2)
    assert dict(matplotlib.rcParams) == before
    return out, summary


def test_left_panel_from_one_path(tmp_path):
    """One training per seed for all budgets; the original is trained by itself, as it is without a path."""
    common = {"quick": True, "hls4ml": False, "progress": False, "n_jobs": 2, "max_iter": 6}
    summary = figure1.run(tmp_path / "path", path=True, **common)
    separate = figure1.run(tmp_path / "separate", **common)
    assert summary["settings"]["path"]
    assert {(r["fraction"], r["nodes_kept"]) for r in summary["runs"]} == set(BUDGETS.items())
    assert {r["nodes_kept"] for r in summary["retrained"]} == {179}
    for ours, theirs in zip(summary["runs"], separate["runs"], strict=True):
        assert abs(ours["auc"] - theirs["auc"]) < (0.02 if ours["fraction"] < 1 else 1e-12)
    assert "one path per seed" in figure1.table(summary)
    assert "one path" not in figure1.table(separate)
    networks = [Network.load(tmp_path / "path" / f"model_{n}.npz") for n in BUDGETS.values()]
    assert [n.n_nodes for n in networks] == list(BUDGETS.values())


@pytest.fixture(scope="module")
def test_jets():
    return load_hbb(subset="test")


def rows(out):
    with open(out / "figure1.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_is_there_and_nothing_else(quick):
    out, _ = quick
    models = {f"model_{nodes}.npz" for nodes in BUDGETS.values()}
    assert {p.name for p in out.iterdir()} == models | {
        "figure1.png",
        "figure1.pdf",
        "figure1.csv",
        "summary.json",
    }


def test_summary_has_the_promised_keys_and_every_count_is_exact(quick):
    out, summary = quick
    assert json.loads((out / "summary.json").read_text()) == summary
    assert {"versions", "runs", "retrained", "hls4ml"} <= summary.keys()
    assert all(run.keys() == KEYS for run in summary["runs"] + summary["retrained"])
    assert [(r["fraction"], r["seed"]) for r in summary["runs"]] == [(f, s) for f in BUDGETS for s in (0, 1)]
    assert [(r["fraction"], r["seed"]) for r in summary["retrained"]] == [(0.7, 0), (0.7, 1)]
    for run in summary["runs"] + summary["retrained"]:
        assert run["nodes_asked"] == run["nodes_kept"] == sum(run["widths"][1:-1]) == BUDGETS[run["fraction"]]
        assert run["widths"][0] == 40 and run["widths"][-1] == 1
    assert summary["hls4ml"] is None and summary["hls4ml_skipped"] == "not asked for"


def test_retrained_networks_have_the_layout_found(quick):
    _, summary = quick
    found = [r["widths"] for r in summary["runs"] if r["fraction"] == 0.7]
    assert [r["widths"] for r in summary["retrained"]] == found


def test_saved_models_are_those_of_the_summary(quick, test_jets):
    out, summary = quick
    for fraction, nodes in BUDGETS.items():
        network = Network.load(out / f"model_{nodes}.npz")
        run = next(r for r in summary["runs"] if r["fraction"] == fraction)
        assert network.n_nodes == nodes and list(network.widths) == run["widths"]
        score = network.forward(test_jets.data)[:, 0]
        assert roc_auc_score(test_jets.target, score) == pytest.approx(run["auc"], abs=1e-6)
        expected = metrics.background_rejection(test_jets.target, score, [0.5, 0.7])
        np.testing.assert_allclose([run["rejection_50"], run["rejection_70"]], expected, rtol=1e-3)
        assert run["auc"] > 0.85  # three epochs on few jets


def test_png_and_pdf_are_pictures(quick):
    out, _ = quick
    picture = matplotlib.image.imread(out / "figure1.png")
    assert picture.shape[0] > 800 and picture.shape[1] > 1500
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    for part in (
        picture[:height, :width],
        picture[:height, width:],
        picture[height:, :width],
        picture[height:, width:],
    ):
        assert part.min() == 0 and part.max() == 1 and 0.01 < (part[..., :3].mean(axis=2) < 0.9).mean() < 0.5
    pdf = (out / "figure1.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-1.") and pdf.rstrip().endswith(b"%%EOF") and b"CreationDate" not in pdf


def test_csv_holds_every_curve_down_to_its_statistics(quick, test_jets):
    out, _ = quick
    found = rows(out)
    assert tuple(found[0]) == _figure1_plot.COLUMNS
    lines = {(r["panel"], r["network"], int(r["nodes"])) for r in found}
    left = {("left", "original", 256), ("left", "pruned", 179), ("left", "pruned", 25)}
    assert lines == left | {("right", "original", 256), ("right", "pruned", 179), ("right", "retrained", 179)}
    background = (test_jets.target == 0).sum()
    for line in lines:
        chosen = [r for r in found if (r["panel"], r["network"], int(r["nodes"])) == line]
        efficiency = np.array([float(r["efficiency"]) for r in chosen])
        rejection = np.array([float(r["rejection"]) for r in chosen])
        assert (np.diff(efficiency) > 0).all() and efficiency[-1] == 1
        assert rejection.max() <= background / 10 * 1.0001
        assert {r["trainings"] for r in chosen} == {"2"}


def test_csv_agrees_with_the_summary(quick):
    out, summary = quick
    at_70 = next(
        r for r in rows(out) if r["panel"] == "left" and r["nodes"] == "25" and float(r["efficiency"]) == 0.7
    )
    runs = [r["rejection_70"] for r in summary["runs"] if r["nodes_asked"] == 25]
    assert float(at_70["rejection"]) == pytest.approx(np.mean(runs), rel=1e-5)
    assert float(at_70["rejection_spread"]) == pytest.approx(np.std(runs, ddof=1), rel=1e-4)
    original = [r["rejection_70"] for r in summary["runs"] if r["fraction"] == 1]
    assert float(at_70["ratio"]) == pytest.approx(np.mean(runs) / np.mean(original), rel=1e-4)


def test_agreement_at_70_percent_has_both_errors(quick):
    _, summary = quick
    for name in ("pruned", "retrained"):
        found = summary["agreement"][name]
        assert found["efficiency"] == [0.5, 0.6, 0.7, 0.8]
        both = np.hypot(found["statistical"], found["trainings"])
        np.testing.assert_allclose(found["error"], both)
        assert (both > 0).all()


def test_table_says_what_was_measured(quick):
    _, summary = quick
    text = figure1.table(summary)
    for words in (
        "original",
        "70 %",
        "retrained",
        "1/eB at 50 %",
        "between 2 trainings",
        "hls4ml: left out, not asked",
    ):
        assert words in text
    assert all(len(line) <= 125 for line in text.splitlines())
    assert "-".join(map(str, summary["runs"][0]["widths"])) in text


def test_same_seed_same_bytes_whatever_the_number_of_threads(tmp_path, monkeypatch):
    def few(subset):
        jets = load_hbb(subset=subset)
        return SimpleNamespace(data=jets.data[:4000], target=jets.target[:4000])

    monkeypatch.setattr("shadowprune.datasets.load_hbb", few)
    outs = []
    for n_jobs in (1, 2):
        out = tmp_path / str(n_jobs)
        figure1.run(out, fractions=(0.1,), seeds=1, n_jobs=n_jobs, max_iter=1, hls4ml=False, progress=False)
        outs.append([(out / name).read_bytes() for name in ("figure1.csv", "figure1.pdf", "figure1.png")])
    assert outs[0] == outs[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fractions": (1.5,)}, r"nodes must be a fraction in \(0, 1\], got 1.5"),
        ({"fractions": (0.01,)}, r"nodes must leave one in each of 4 hidden layers, got 0.01 \(2 nodes\)"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"seeds": [1, 1]}, "seeds must be a count or distinct"),
        ({"n_jobs": 0}, "n_jobs must be a positive integer, -1 or None, got 0"),
    ],
)
def test_mistakes_are_found_before_any_training(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        figure1.run(tmp_path / "out", hls4ml=False, progress=False, **arguments)
    assert not (tmp_path / "out").exists()


def test_missing_packages_are_found_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(figure1, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "shadowprune\[hls4ml\]"'):
        figure1.run(tmp_path / "out", hls4ml=True)
    monkeypatch.setitem(sys.modules, "mplhep", None)
    with pytest.raises(ImportError, match=r'pip install "shadowprune\[plot\]"'):
        figure1.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_node_counts():
    hidden = (64, 64, 64, 64)
    expected = [256, 230, 179, 128, 76, 51, 25, 12]
    assert list(scan.node_counts(figure1.FRACTIONS, hidden).values()) == expected
    assert scan.node_counts([0.29], (100,)) == {0.29: 29}  # 28.999... in floating point
    assert scan.node_counts([26, 0.5, 256], hidden) == {1.0: 256, 0.5: 128, 26 / 256: 26}
    for wrong in (0, -1, 257, 0.0, 1.01, float("nan"), True):
        with pytest.raises(ValueError, match="nodes must"):
            scan.node_counts([wrong], hidden)


def test_a_failing_training_stops_the_rest(monkeypatch):
    started = []

    class Failing:
        def __init__(self, random_state, **_):
            self.seed = random_state

        def fit(self, X, y):
            started.append(self.seed)
            raise FloatingPointError("diverged")

    monkeypatch.setattr("shadowprune.estimators.ShadowClassifier", Failing)
    threads = threading.active_count()
    with pytest.raises(FloatingPointError, match="diverged"):
        scan.train_budgets((None, None), (None, None), {1.0: 8}, range(50), hidden=(8,))
    assert len(started) < 50 and threading.active_count() == threads


@pytest.mark.parametrize("other", [{"kind": "multiplications"}, {"limits": {"max_nodes": 4}}])
def test_a_path_has_node_counts_only(other):
    with pytest.raises(ValueError, match="path has node counts only"):
        scan.train_budgets((None, None), (None, None), {0.5: 8}, [0], hidden=(8, 8), path=True, **other)


def test_ctrl_c_ends_the_trainings_under_way(test_jets):
    jets = test_jets.data[:2000], test_jets.target[:2000]
    ctrl_c = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    ctrl_c.start()
    with pytest.raises(KeyboardInterrupt):  # ten million epochs would take days
        scan.train_budgets(jets, jets, {0.5: 8}, range(4), hidden=(8, 8), n_workers=2, max_iter=10**7)
    assert not [t for t in threading.enumerate() if t.name.startswith("shadowprune")]


def test_an_interrupted_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), scan.written(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_hls4ml_comparison_counts_on_the_jets_given(tmp_path, monkeypatch):
    """The arithmetic around the compiled model; the model itself is the matter of test_emit_hls4ml."""
    from shadowprune import emit

    rng = np.random.default_rng(0)
    y = np.arange(2000) % 2
    X = (rng.normal(size=(2000, 3)) + y[:, None]).astype(np.float32)
    network = Network([3, 4, 1], random_state=0)
    exact = network.forward(X)
    model = SimpleNamespace(
        compile=lambda: print("noise"), predict=lambda x: network.forward(x) + np.float32(0.25)
    )
    monkeypatch.setattr(emit, "hls4ml", lambda *a, **k: model)
    found = figure1.compare_hls4ml(network, tmp_path / "prj", X, X, y)
    assert found["logit_rms"] == pytest.approx(0.25, rel=1e-5)
    expected = metrics.background_rejection(y, exact[:, 0], return_uncertainty=True)
    assert (found["rejection_50_float"], found["rejection_50_float_error"]) == expected
    assert found["rejection_50"] == pytest.approx(expected[0], rel=0.01)
    assert found["jets"] == 2000 and found["directory"] == "prj"


def test_scan_writes_one_line_per_training(tmp_path, test_jets):
    train, test = (
        (test_jets.data[:3000], test_jets.target[:3000]),
        (test_jets.data[3000:6000], test_jets.target[3000:6000]),
    )
    limits = {"inputs": 1, "max_nodes": 1, "min_nodes": 1, "multiple": 1, "reuse_factor": 1, "layers": None}
    assert scan.given(limits) == {"inputs": 1, "max_nodes": 1}
    entries = scan.scan(
        train, test, [8, 1.0], tmp_path, hidden=(8, 8), seeds=2, n_jobs=2, progress=False, max_iter=2
    )
    with open(tmp_path / "scan.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(int(r["nodes_kept"]), int(r["seed"])) for r in found] == [(16, 0), (16, 1), (8, 0), (8, 1)]
    assert [float(r["auc"]) for r in found] == [e["auc"] for e in entries]
    assert Network.load(tmp_path / "model_8.npz").n_nodes == 8
    assert matplotlib.image.imread(tmp_path / "scan.png").ndim == 3
    assert (tmp_path / "scan.pdf").read_bytes().startswith(b"%PDF")
