"""What is drawn equals what is computed, and nobody else's plots change."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("mplhep")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import same_color, to_rgb  # noqa: E402

import shadowprune as sp  # noqa: E402
from shadowprune import metrics, plots  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def sample(n=4000, seed=0, separation=1.5):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return y, rng.normal(size=n) + separation * y


def test_lines_are_the_curves_on_a_log_axis_with_labels():
    y, score = sample()
    curves = {"original": (y, score), 26: (y, score + np.random.default_rng(1).normal(size=len(y)))}
    ax = plots.rejection_vs_efficiency(curves)
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == r"Tagging efficiency $\varepsilon_{\mathrm{S}}$"
    assert ax.get_ylabel() == r"Background rejection $1/\varepsilon_{\mathrm{B}}$"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["original", "26 nodes"]
    assert not ax.collections  # one training each: no spread to draw
    for line, (labels, scores) in zip(ax.lines, curves.values(), strict=True):
        efficiency, rejection = line.get_data()
        np.testing.assert_allclose(rejection, metrics.background_rejection(labels, scores, efficiency))
        assert efficiency[0] >= metrics.rejection_curve(labels, scores)[0][0]
        assert rejection.max() <= (labels == 0).sum() / 10
    assert ax.get_xlim() == (0, 1)
    ax.figure.canvas.draw()


def test_several_trainings_make_a_mean_and_a_band():
    runs = [sample(seed=seed) for seed in range(3)]
    ax = plots.rejection_vs_efficiency({"original": runs})
    curve = metrics.mean_rejection(runs)
    np.testing.assert_array_equal(ax.lines[0].get_data()[1], curve.rejection)
    (band,) = ax.collections
    top = band.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx((curve.rejection + curve.spread).max())
    ax.figure.canvas.draw()


def test_statistical_band_and_no_band():
    y, score = sample()
    ax = plots.rejection_vs_efficiency({"original": (y, score)}, band="statistical")
    curve = metrics.mean_rejection([(y, score)])
    vertices = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert vertices.max() == pytest.approx((curve.rejection + curve.statistical).max())
    again = plots.rejection_vs_efficiency({"original": curve}, band=None, legend=False)
    assert not again.collections and again.get_legend() is None
    np.testing.assert_array_equal(again.lines[0].get_data()[1], curve.rejection)


def test_given_axes_are_used_and_line_properties_reach_matplotlib():
    _, ax = plt.subplots()
    found = plots.rejection_vs_efficiency({"a": sample()}, ax, linestyle="--", colors=["#123456"])
    assert found is ax and ax.lines[0].get_linestyle() == "--"
    assert same_color(ax.lines[0].get_color(), "#123456")


@pytest.mark.parametrize("n_curves", [1, 8])
def test_rc_parameters_and_open_figures_of_others_stay(n_curves):
    mine = plt.figure()
    before = dict(matplotlib.rcParams)
    plots.rejection_vs_efficiency({k: sample() for k in range(n_curves, 0, -1)})
    assert dict(matplotlib.rcParams) == before
    with plots.style():
        assert dict(matplotlib.rcParams) != before
    assert dict(matplotlib.rcParams) == before
    assert plt.fignum_exists(mine.number)


def test_a_notebook_stays_interactive_when_its_first_figure_is_ours(tmp_path):
    """A notebook's backend switches interactive mode on as it is loaded: when the first figure is made."""
    backend = (
        "from matplotlib.backends.backend_agg import *\nimport matplotlib\nmatplotlib.interactive(True)\n"
    )
    (tmp_path / "notebook_backend.py").write_text(backend)
    code = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "import matplotlib, shadowprune\n"
        "shadowprune.plots.inputs_vs_budget([[True, False]])\n"
        "print(matplotlib.is_interactive())"
    )
    environment = os.environ | {"MPLBACKEND": "module://notebook_backend"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout == "True\n"


@pytest.mark.parametrize("n", [1, 2, 3, 8, 12])
def test_budget_colours_differ_and_grow_lighter(n):
    colors = plots.budget_colors(n)
    light = [np.dot(to_rgb(c), (0.2126, 0.7152, 0.0722)) for c in colors]
    assert len(set(colors)) == n and (np.diff(light) > 0).all()
    assert plots.budget_colors(0) == []


def test_mistakes_are_named():
    y, score = sample(200)
    with pytest.raises(ValueError, match="curves must hold at least one network"):
        plots.rejection_vs_efficiency({})
    with pytest.raises(TypeError, match=r"curves\['a'\] must be a tuple \(y, score\) .* got ndarray"):
        plots.rejection_vs_efficiency({"a": [y, score]})
    with pytest.raises(TypeError, match="got tuple of 3"):
        plots.rejection_vs_efficiency({"a": (y, score, y)})
    with pytest.raises(ValueError, match="band must be"):
        plots.rejection_vs_efficiency({"a": (y, score)}, band="seeds")
    with pytest.raises(ValueError, match="colors must hold one colour per curve, 1, got 2"):
        plots.rejection_vs_efficiency({"a": (y, score)}, colors=["k", "r"])
    with pytest.raises(ValueError, match="score must be finite"):
        plots.rejection_vs_efficiency({"a": (y, np.full(len(y), np.nan))})
    assert plt.get_fignums() == []  # a mistake leaves no empty figure behind


@pytest.mark.parametrize("hidden", ["matplotlib", "mplhep"])
def test_a_missing_package_says_what_to_install(monkeypatch, hidden):
    plt.close(plt.figure())  # loads the backend, which imports matplotlib itself
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(ImportError, match=r'pip install "shadowprune\[plot\]"'):
        plots.rejection_vs_efficiency({"a": sample()})


# --- budgets


def entries(seeds=3):
    """What a scan returns, of four budgets: widths that differ between the seeds, one rejection infinite."""
    found = []
    for nodes in (8, 20, 60, 180):
        for seed in range(seeds):
            first = nodes // 2 + seed - 1
            widths = [10, first, nodes - first, 1]
            rejection = None if (nodes, seed) == (180, 0) else 3.0 * nodes + seed
            found.append({"nodes_asked": nodes, "widths": widths, "seed": seed, "rejection_50": rejection})
    return found


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 8))
    y = X[:, 2] - X[:, 5] > 0
    return [
        sp.ShadowClassifier((12, 12), 10, n_inputs=n, max_iter=20, random_state=seed).fit(X, y)
        for n in (6, 3, 2)
        for seed in range(2)
    ]


def test_gates_over_time_are_the_history_layer_by_layer(trained):
    clf = trained[0]
    ax = plots.gates_over_time(clf.history_)
    drawn = ax.collections[0].get_array().reshape(8 + 24, -1)
    assert drawn.shape[1] == len(clf.history_.gates) + 1
    for epoch, gates in enumerate(clf.history_.gates):
        for found, wanted in zip(np.split(drawn[:, epoch], [8, 20]), np.split(gates, [8, 20]), strict=True):
            np.testing.assert_allclose(np.sort(found), np.sort(wanted))
    assert drawn[:, -1].sum() == 16
    assert all((np.diff(part) >= 0).all() for part in np.split(drawn[:, -1], [8, 20]))  # kept ones on top
    assert [t.get_text() for t in ax.get_yticklabels()] == ["inputs", "layer 1", "layer 2"]
    assert ax.get_xticklabels()[-1].get_text() == "hard"
    # of a network pruned on, whose support refers to columns it never saw
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 8))
    on = clf.prune(X, X[:, 2] > 0, n_nodes=5, n_inputs=3, max_iter=10)
    again = plots.gates_over_time(on.history_).collections[0].get_array().reshape(6 + 10, -1)
    assert again[:, -1].sum() == 8
    ax.figure.canvas.draw()


def test_layers_without_a_shadow_are_left_out():
    rng = np.random.default_rng(0)
    clf = sp.ShadowClassifier((6, 5), 3, prune_layers=[1], max_iter=10, random_state=0)
    clf.fit(rng.normal(size=(100, 4)), np.arange(100) % 2)
    ax = plots.gates_over_time(clf.history_)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["layer 2"]
    clf.history_.gates.clear()
    with pytest.raises(ValueError, match="history holds no gates"):
        plots.gates_over_time(clf.history_)


def test_widths_are_means_with_spread(trained):
    ax = plots.widths_vs_budget(entries())
    first, second = ax.containers
    x, y = second.lines[0].get_data()
    np.testing.assert_allclose(x, np.array([8, 20, 60, 180]) * 1.012**0.5)
    np.testing.assert_allclose(y, [4, 10, 30, 90])
    bars = second.lines[2][0].get_segments()
    np.testing.assert_allclose([top[1] - bottom[1] for bottom, top in bars], 2.0)  # a spread of one each way
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["equal", "layer 1", "layer 2"]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    again = plots.widths_vs_budget([clf.network_ for clf in trained], ax=plt.figure().add_subplot())
    other = plots.widths_vs_budget(trained, legend=False)
    np.testing.assert_array_equal(again.lines[0].get_data(), other.lines[0].get_data())
    assert first.lines[0].get_data()[1][0] == pytest.approx(4)
    assert other.get_legend() is None
    ax.figure.canvas.draw()


@pytest.mark.parametrize("size", ["nodes", "multiplications"])
def test_rejection_against_size(size):
    ax = plots.rejection_vs_size({"shadow": entries(), "one run": entries(1)[:3]}, size=size)
    several, single = ax.containers
    x, y = several.lines[0].get_data()
    np.testing.assert_allclose(y, [25, 61, 181, 541.5])  # the infinite one is left out of the last mean
    if size == "nodes":
        np.testing.assert_array_equal(x, [8, 20, 60, 180])
    else:
        multiplications = [10 * a + a * b + b for a, b in ((3, 5), (4, 4), (5, 3))]
        assert x[0] == pytest.approx(np.mean(multiplications))
    np.testing.assert_allclose(single.lines[0].get_data()[1], [24, 60, 180])
    spread = [top[1] - bottom[1] for bottom, top in several.lines[2][-1].get_segments()]
    np.testing.assert_allclose(spread, [2, 2, 2, 2**0.5])
    assert ax.get_ylabel() == r"$1/\varepsilon_{\mathrm{B}}$ at $\varepsilon_{\mathrm{S}}=0.5$"
    low, high = ax.get_xlim()
    assert low < x.min() and high > x.max()
    ax.figure.canvas.draw()


def test_seeds_of_a_cost_are_one_point():
    rows = [
        {"multiplications_asked": 40, "widths": [5, n, 4, 1], "rejection_50": r}
        for n, r in ((3, 20.0), (4, 30.0))
    ]
    ax = plots.rejection_vs_size({"cost": rows}, size="multiplications")
    (line,) = (container.lines[0] for container in ax.containers)
    assert [float(v) for v in np.concatenate(line.get_data())] == [35.5, 25.0]  # 15+12+4 and 20+16+4


def test_rejection_against_luts_needs_them_in_the_entries():
    rows = [{**row, "luts": 100 * row["nodes_asked"]} for row in entries(1)[:3]]
    ax = plots.rejection_vs_size({"8 bits": rows}, size="luts")
    np.testing.assert_allclose(ax.containers[0].lines[0].get_data()[0], [row["luts"] for row in rows])
    assert ax.get_xlabel() == "LUTs (estimated)"
    with pytest.raises(ValueError, match=r"entries\['8 bits'\] has no luts; an entry holds"):
        plots.rejection_vs_size({"8 bits": entries(1)}, size="luts")


def test_inputs_that_survive_longest_are_on_top(trained):
    ax = plots.inputs_vs_budget(trained)
    drawn = ax.collections[0].get_array().reshape(8, 3)
    np.testing.assert_allclose(drawn.sum(axis=0), [6, 3, 2])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["6", "3", "2"]
    assert {t.get_text() for t in ax.get_yticklabels()[-2:]} == {"x2", "x5"}
    assert (np.diff(drawn[:, -1]) >= 0).all()
    ax.figure.canvas.draw()
    masks = [np.array([True, False, True]), np.array([False, False, True])]
    _, given = plt.subplots()
    assert plots.inputs_vs_budget(masks, ["mass", "pt", "tau"], given) is given
    assert [t.get_text() for t in given.get_yticklabels()] == ["pt", "mass", "tau"]
    assert len(given.figure.axes) == 1  # one training each: nothing to shade, no colour bar


def test_mistakes_in_budget_plots_are_named():
    with pytest.raises(ValueError, match="entries must hold at least one network"):
        plots.widths_vs_budget([])
    with pytest.raises(
        TypeError, match="must hold fitted estimators, networks or entries of a scan, got int"
    ):
        plots.widths_vs_budget([3])
    clf = sp.ShadowClassifier()
    with pytest.raises(TypeError, match="history_ of an estimator, got ShadowClassifier: pass its history_"):
        plots.gates_over_time(clf)
    with pytest.raises(TypeError, match="entries must be a list, got a single ShadowClassifier"):
        plots.widths_vs_budget(clf)
    with pytest.raises(TypeError, match="selections must be a list, got a single ShadowClassifier"):
        plots.inputs_vs_budget(clf)
    with pytest.raises(ValueError, match="same number of layers"):
        plots.widths_vs_budget([sp.Network([2, 3, 1]), sp.Network([2, 3, 3, 1])])
    with pytest.raises(ValueError, match="size must be one of nodes, multiplications, luts; got 'area'"):
        plots.rejection_vs_size({"a": entries()}, size="area")
    with pytest.raises(ValueError, match=r"entries\['a'\] has no rejection_30; an entry holds nodes_asked"):
        plots.rejection_vs_size({"a": entries()}, efficiency=0.3)
    with pytest.raises(ValueError, match=r"entries\['a'\] holds no network with a finite rejection_50"):
        plots.rejection_vs_size({"a": [{"widths": [2, 2, 1], "rejection_50": None}]})
    with pytest.raises(ValueError, match="entries must hold at least one name"):
        plots.rejection_vs_size({})
    with pytest.raises(ValueError, match="selections must hold at least one"):
        plots.inputs_vs_budget([])
    with pytest.raises(ValueError, match="all be of the same inputs"):
        plots.inputs_vs_budget([np.ones(3, bool), np.ones(4, bool)])
    with pytest.raises(ValueError, match="names must hold 3 names, got 2"):
        plots.inputs_vs_budget([np.ones(3, bool)], ["a", "b"])
    assert plt.get_fignums() == []
