"""Figure 1 on paper: two panels, each with its ratio to the original, and the same points as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shadowprune import plots
from shadowprune._extras import require
from shadowprune.metrics import RejectionCurve, mean_rejection, rejection_ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from shadowprune.scan import Run

F64 = NDArray[np.float64]
COLUMNS = (
    "panel", "network", "nodes", "trainings", "efficiency",
    "rejection", "rejection_spread", "rejection_statistical", "ratio", "ratio_trainings", "ratio_statistical",
)  # fmt: skip


RATIO_JETS = (
    25  # ratios are drawn where that many background jets pass the original: a statistical error of 20 %
)


class Line(NamedTuple):
    """A curve and its ratio to the original, on the same efficiencies; NaN where there is none."""

    panel: str
    network: str  # "original", "pruned" or "retrained"
    nodes: int
    label: str
    curve: RejectionCurve
    ratio: F64
    trainings: F64  # left: spread of the numerator; right: error of the ratio of two means over seeds
    statistical: F64  # right: binomial for the original; for the others what the common jets leave of it

    @property
    def error(self) -> F64:
        """Both parts in quadrature."""
        return np.hypot(np.nan_to_num(self.trainings), np.nan_to_num(self.statistical))

    def draw_ratio(self, ax: Any, start: float, alpha: float, **line: Any) -> None:
        """Ratio and error band from the efficiency `start` on."""
        shown = (self.curve.efficiency >= start) & np.isfinite(self.ratio)
        x, ratio, error = (values[shown] for values in (self.curve.efficiency, self.ratio, self.error))
        ax.plot(x, ratio, **line)
        ax.fill_between(x, ratio - error, ratio + error, color=line["color"], alpha=alpha, linewidth=0)


def write(directory: Path, left: Sequence[Line], right: Sequence[Line], n_background: int) -> None:
    """Draw ``figure1.png`` and ``figure1.pdf``, write ``figure1.csv``."""
    from shadowprune._files import written

    with written(directory / "figure1.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for line in (*left, *right):
            for row in zip(*line.curve[:4], line.ratio, line.trainings, line.statistical, strict=True):
                cells = ("" if np.isnan(v) else f"{v:.6g}" for v in row)
                writer.writerow([line.panel, line.network, line.nodes, line.curve.n_runs, *cells])
    with plots.style():
        figure = draw(left, right, n_background)
        for suffix in ("png", "pdf"):
            with written(directory / f"figure1.{suffix}") as path:
                # no date in the file: the same numbers give the same bytes
                figure.savefig(path, dpi=160, metadata={"CreationDate": None} if suffix == "pdf" else None)


def _over(curve: RejectionCurve, base: RejectionCurve, values: F64) -> F64:
    """`values` on the efficiencies of `base`, taken at those of `curve`; NaN where `base` has none."""
    at = np.full(len(curve.efficiency), np.nan)
    at[np.isin(curve.efficiency, base.efficiency)] = values[np.isin(base.efficiency, curve.efficiency)]
    return at


def lines(y: Any, shadow: Sequence[Run], retrained: Sequence[Run]) -> tuple[list[Line], list[Line]]:
    """The curves of the left and of the right panel, each led by the original network."""
    groups: dict[float, list[Run]] = {}
    for run in shadow:
        groups.setdefault(run.fraction, []).append(run)
    curves = {f: mean_rejection([(y, r.score) for r in runs]) for f, runs in groups.items()}
    base, originals = curves[1.0], groups[1.0]
    left = []
    for fraction, curve in curves.items():
        nodes = groups[fraction][0].asked
        below = _over(curve, base, base.rejection)
        ratio, spread, none = curve.rejection / below, curve.spread / below, np.full(len(below), np.nan)
        label = f"{nodes} (original)" if fraction == 1 else f"{nodes} ({100 * fraction:g} %)"
        left.append(
            Line("left", "original" if fraction == 1 else "pruned", nodes, label, curve, ratio, spread, none)
        )

    fraction, nodes = retrained[0].fraction, retrained[0].asked
    one = np.ones(len(base.efficiency))
    label = f"Original, {originals[0].asked} nodes"
    right = [
        Line("right", "original", left[0].nodes, label, base, one, 0 * one, base.statistical / base.rejection)
    ]
    for network, words, runs in (
        ("pruned", "Pruned in training", groups[fraction]),
        ("retrained", "Pruned, then retrained", retrained),
    ):
        curve = mean_rejection([(y, r.score) for r in runs])
        below = _over(curve, base, base.rejection)
        ratio, statistical = curve.rejection / below, np.full(len(below), np.nan)
        shared = np.isfinite(ratio)
        _, statistical[shared] = rejection_ratio(
            y,
            [r.score for r in runs],
            [r.score for r in originals],
            curve.efficiency[shared],
            n_resamples=100,
        )
        variances = (curve.spread / curve.rejection) ** 2 + (_over(curve, base, base.spread) / below) ** 2
        trainings = ratio * np.sqrt(variances / len(runs))
        right.append(
            Line("right", network, nodes, f"{words}, {nodes} nodes", curve, ratio, trainings, statistical)
        )
    return left, right


def _label(ax: Any) -> None:
    """The line above the axes, as an experiment would write it."""
    above = {"transform": ax.transAxes, "va": "bottom", "fontsize": 11.5}
    ax.text(0, 1.015, "shadowprune", **above | {"weight": "bold", "style": "italic", "fontsize": 14})
    ax.text(0.235, 1.015, "Pythia 8, no pile-up", **above)
    ax.text(1, 1.015, r"$\sqrt{s}=13$ TeV, anti-$k_t$ $R=1.0$", ha="right", **above)


def _note(ax: Any, text: str) -> None:
    ax.text(0.035, 0.04, text, transform=ax.transAxes, va="bottom", fontsize=10.5, linespacing=1.4)


def _limits(found: Sequence[Line], start: float) -> tuple[float, float]:
    """Limits of a ratio panel around every line and its error; the noisy first tenth may stick out."""
    low, high = 0.95, 1.05
    for line in found:
        shown = (line.curve.efficiency > start + 0.1) & np.isfinite(line.ratio)
        if shown.any():
            low = min(low, float((line.ratio - line.error)[shown].min()))
            high = max(high, float((line.ratio + line.error)[shown].max()))
    return max(0.0, np.floor(low * 20) / 20 - 0.02), min(2.0, np.ceil(high * 20) / 20 + 0.02)


def draw(left: Sequence[Line], right: Sequence[Line], n_background: int) -> Figure:
    """The figure; called inside :func:`shadowprune.plots.style`."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(13.4, 7.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, height_ratios=(2.6, 1.25))
    figure.get_layout_engine().set(h_pad=0.03, w_pad=0.06, hspace=0.0, wspace=0.03)
    first = min(line.curve.efficiency[0] for line in (*left, *right) if len(line.curve.efficiency))
    top = max(line.curve.rejection.max() for line in (*left, *right) if len(line.curve.efficiency))
    base = left[0].curve
    supported = base.efficiency[base.rejection <= n_background / RATIO_JETS]
    start = supported[0] if len(supported) else 1.0
    _left(axes[0, 0], axes[1, 0], left, n_background, start)
    _right(axes[0, 1], axes[1, 1], right, start)
    for above, below in axes.T:
        _label(above)
        above.set(xlabel="", ylim=(0.8, 2.5 * top))
        below.set(xlabel=r"Tagging efficiency $\varepsilon_{\mathrm{S}}$", ylabel="Ratio to original")
        below.set_xlim(np.floor(10 * first) / 10, 1)
    return figure  # type: ignore[no-any-return]


def _left(ax: Any, below: Any, found: Sequence[Line], n_background: int, start: float) -> None:
    colors = plots.budget_colors(len(found))
    curves = {line.label: line.curve for line in found}
    plots.rejection_vs_efficiency(curves, ax, colors=colors, legend=False)
    n = found[0].curve.n_runs
    legend = ax.legend(loc="upper right", title="Hidden nodes kept", alignment="left")
    legend.get_title().set_weight("bold")
    spread = f"mean and standard deviation of {n} trainings" if n > 1 else "one training each"
    _note(
        ax,
        r"Boosted $H\rightarrow b\bar{b}$ against QCD multijets"
        f"\nLine and band: {spread}\n"
        f"Lines end where fewer than 10 of {n_background} background\ntest jets pass, ratios where fewer "
        f"than {RATIO_JETS} do",
    )
    below.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    for line, color in zip(found, colors, strict=True):
        line.draw_ratio(below, start, 0.15, color=color, linewidth=1.5)
    below.set_ylim(*_limits([line._replace(trainings=0 * line.ratio) for line in found], start))


def _right(ax: Any, below: Any, found: Sequence[Line], start: float) -> None:
    original, *others = found
    curve, grey = original.curve, {"color": "0.82", "linewidth": 0, "zorder": 0}
    dashes = ("-", (0, (5, 2)), (0, (1, 1.2)))
    for line, color, dash in zip(found, plots.DISTINCT, dashes, strict=False):
        plots.rejection_vs_efficiency(
            {line.label: line.curve}, ax, band=None, colors=[color], legend=False, linestyle=dash
        )
    low, high = curve.rejection - curve.statistical, curve.rejection + curve.statistical
    ax.fill_between(
        curve.efficiency, low, high, label="Original, statistical error of the test sample", **grey
    )
    ax.legend(loc="upper right")
    trainings = f", and error of the mean of {curve.n_runs} trainings" if curve.n_runs > 1 else ""
    _note(
        ax,
        "Below, coloured bands: error of the ratio, from\n"
        f"resampling the jets common to both networks{trainings and ','}\n{trainings[2:]}".rstrip(),
    )
    below.axhline(1, color="black", linewidth=1.2)
    shown = curve.efficiency >= start
    low, high = 1 - original.statistical[shown], 1 + original.statistical[shown]
    below.fill_between(curve.efficiency[shown], low, high, **grey)
    for line, color, dash in zip(others, plots.DISTINCT[1:], dashes[1:], strict=False):
        line.draw_ratio(below, start, 0.25, color=color, linestyle=dash)
    below.set_ylim(*_limits(others, start))
