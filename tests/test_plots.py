"""What is drawn equals what is computed, and nobody else's plots change."""

from __future__ import annotations

import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("mplhep")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import same_color, to_rgb  # noqa: E402

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
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(ImportError, match=r'pip install "shadowprune\[plot\]"'):
        plots.rejection_vs_efficiency({"a": sample()})
