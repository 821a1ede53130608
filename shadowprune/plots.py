"""Curves a physicist expects, drawn with matplotlib; nothing here changes the user's rcParams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shadowprune._extras import require
from shadowprune.metrics import RejectionCurve, mean_rejection
from shadowprune.scan import asked_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "budget_colors",
    "gates_over_time",
    "inputs_vs_budget",
    "rejection_vs_efficiency",
    "rejection_vs_size",
    "style",
    "widths_vs_budget",
]

Run = tuple[ArrayLike, ArrayLike]
Runs = Run | Sequence[Run] | RejectionCurve
Band = Literal["spread", "statistical"] | None

BLACK = "#000000"
# Okabe and Ito, "Color Universal Design" (2008): told apart with any colour vision.
DISTINCT = (BLACK, "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


@contextmanager
def style() -> Iterator[None]:
    """The look of mplhep (ticks inwards, labels at the ends of axes) for figures made inside ``with``.

    Raises
    ------
    ImportError
        Without matplotlib or mplhep: ``pip install "shadowprune[plot]"``.
    """
    matplotlib = require("matplotlib", "plot")
    hep = dict(require("mplhep", "plot").style.ATLAS)
    # mplhep's own choices suit one 8x6 plot; the rest of the look stays
    hep |= {
        "font.size": 13,
        "axes.labelsize": "large",
        "xtick.labelsize": "medium",
        "ytick.labelsize": "medium",
        "xtick.major.size": 7,
        "xtick.minor.size": 4,
        "ytick.major.size": 7,
        "ytick.minor.size": 4,
        "axes.autolimit_mode": "data",
        "legend.fontsize": "small",
        "legend.borderpad": 0.4,
        "lines.linewidth": 1.8,
        "mathtext.fontset": "stixsans",
    }
    with matplotlib.rc_context(hep):
        yield


def budget_colors(n: int) -> list[str]:
    """Colours for n networks from the largest to the smallest: black, then dark to light.

    Parameters
    ----------
    n : int
        Number of curves.

    Returns
    -------
    list of str
        Hex colours; the order survives any colour vision and a grey printer (viridis without its yellow end).
    """
    if n <= 0:
        return []
    matplotlib = require("matplotlib", "plot")
    to_hex = require("matplotlib.colors", "plot").to_hex
    ramp = matplotlib.colormaps["plasma"](np.linspace(0.05, 0.86, max(n - 1, 1)))
    return [BLACK, *(to_hex(c) for c in ramp[: n - 1])]


def _curve(name: str, runs: Runs, min_background: float) -> RejectionCurve:
    if isinstance(runs, RejectionCurve):
        return runs
    pairs = [runs] if isinstance(runs, tuple) else list(runs)
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise TypeError(
                f"curves[{name!r}] must be a tuple (y, score) or a list of them, one per training, got "
                f"{type(pair).__name__}" + (f" of {len(pair)}" if isinstance(pair, tuple) else "")
            )
    return mean_rejection(pairs, min_background=min_background)


def _label(key: str | int) -> str:
    return f"{key} nodes" if isinstance(key, (int, np.integer)) else str(key)


def _colors(colors: Sequence[str] | None, n: int) -> list[str]:
    if colors is None:
        return list(DISTINCT[:n]) if n <= 3 else budget_colors(n)
    if len(colors) != n:
        raise ValueError(f"colors must hold one colour per curve, {n}, got {len(colors)}")
    return list(colors)


def _axes(ax: Axes | None, height: float = 5.6) -> Axes:
    if ax is not None:
        return ax
    pyplot = require("matplotlib.pyplot", "plot")
    pyplot.draw_if_interactive()  # loads the backend: a notebook's sets rcParams that style() must not undo
    with style():
        _, new = pyplot.subplots(figsize=(7, height), layout="constrained")
    return new  # type: ignore[no-any-return]


def _efficiency_axis(ax: Axes) -> None:
    ax.set_xlabel(r"Tagging efficiency $\varepsilon_{\mathrm{S}}$")
    ax.minorticks_on()


def _error(curve: RejectionCurve, band: Band) -> np.ndarray[Any, Any] | None:
    if band not in ("spread", "statistical", None):
        raise ValueError(f'band must be "spread", "statistical" or None, got {band!r}')
    if band is None or (band == "spread" and curve.n_runs < 2):
        return None
    return getattr(curve, band)  # type: ignore[no-any-return]


def rejection_vs_efficiency(
    curves: Mapping[Any, Runs],
    ax: Axes | None = None,
    *,
    band: Band = "spread",
    min_background: float = 10,
    colors: Sequence[str] | None = None,
    legend: bool = True,
    **line: Any,
) -> Axes:
    """Background rejection 1/eps_B against tagging efficiency eps_S, one line per network.

    Parameters
    ----------
    curves : mapping of name to runs
        From the largest network to the smallest. A name that is an int reads "<name> nodes". Runs are a tuple
        ``(y, score)``, a list of such tuples, one per training (drawn as mean and band), or a
        :class:`~shadowprune.metrics.RejectionCurve`.
    ax : matplotlib Axes, optional
        By default a new figure in mplhep's look.
    band : "spread", "statistical" or None
        Standard deviation between the trainings (nothing to draw for a single one), or binomial error of the
        test sample, or no band.
    min_background : float
        A line stops where fewer background jets pass in any of its runs.
    colors : sequence of str, optional
        One per curve.
    legend : bool
        Draw a legend.
    **line
        Handed to ``Axes.plot``.

    Returns
    -------
    matplotlib Axes
        Lines in the order of `curves`, each followed by its band among ``ax.collections``.

    Raises
    ------
    ImportError
        Without matplotlib or mplhep.
    ValueError, TypeError
        Runs that are not pairs, or as :func:`~shadowprune.metrics.background_rejection` finds them.
    """
    if not curves:
        raise ValueError("curves must hold at least one network, got none")
    drawn = {key: _curve(str(key), runs, min_background) for key, runs in curves.items()}
    errors = [_error(curve, band) for curve in drawn.values()]
    palette = _colors(colors, len(drawn))
    ax = _axes(ax)
    for (key, curve), error, color in zip(drawn.items(), errors, palette, strict=True):
        ax.plot(curve.efficiency, curve.rejection, **{"color": color, "label": _label(key), **line})
        if error is not None:
            low = np.maximum(curve.rejection - error, 0.5)  # a log axis has no room for zero
            ax.fill_between(
                curve.efficiency, low, curve.rejection + error, color=color, alpha=0.25, linewidth=0
            )
    ax.set_yscale("log")
    _efficiency_axis(ax)
    ax.set_ylabel(r"Background rejection $1/\varepsilon_{\mathrm{B}}$")
    ax.set_xlim(0, 1)
    ax.set_ylim(bottom=1)
    if legend:
        ax.legend()
    return ax


def _widths(entry: Any, what: str) -> tuple[int, ...]:
    """All widths, inputs to outputs, of a fitted estimator, a network or an entry of a scan."""
    found = entry["widths"] if isinstance(entry, Mapping) and "widths" in entry else None
    if found is None:
        found = getattr(getattr(entry, "network_", entry), "widths", None)
    if found is None:
        raise TypeError(
            f"{what} must hold fitted estimators, networks or entries of a scan, got {type(entry).__name__}"
        )
    return tuple(int(width) for width in found)


def _several(what: str, given: Any) -> None:
    """Refuse a single one where there should be a list of them."""
    if isinstance(given, Mapping) or not np.iterable(given):
        raise TypeError(f"{what} must be a list, got a single {type(given).__name__}; one is [it]")


def _mean_and_spread(values: Sequence[Any]) -> tuple[Any, Any]:
    array = np.asarray(values, dtype=np.float64)
    spread = array.std(axis=0, ddof=1) if len(array) > 1 else np.zeros(array.shape[1:])
    return array.mean(axis=0), spread


def _counts_axis(axis: Any, values: ArrayLike) -> None:
    """A logarithmic axis around some whole numbers, its ticks written as such."""
    ticker = require("matplotlib.ticker", "plot")
    low, high = np.min(values), np.max(values)
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(low / 1.15, high * 1.15)
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:,.0f}".replace(",", "\u2009")))
    axis.set_minor_formatter(ticker.NullFormatter())


def _color_bar(ax: Axes, image: Any, label: str) -> None:
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label(label, size=ax.xaxis.label.get_fontsize())


def gates_over_time(history: Any, ax: Axes | None = None) -> Axes:
    """Every gate after every epoch of the gate stage, and what the hard finish kept.

    Parameters
    ----------
    history : History
        ``clf.history_``.
    ax : matplotlib Axes, optional
        By default a new figure in mplhep's look.

    Returns
    -------
    matplotlib Axes
        One image: a column per epoch and last the hard finish, a row per node, layer by layer from the inputs
        up, within a layer the node that stayed open longest on top. Layers whose gates never moved are left
        out.

    Raises
    ------
    ImportError
        Without matplotlib or mplhep.
    ValueError
        Without gates (a training without a shadow).
    """
    if not hasattr(history, "gates"):
        hint = ": pass its history_" if hasattr(history, "fit") else ""
        raise TypeError(f"history must be the history_ of an estimator, got {type(history).__name__}{hint}")
    if not history.gates:
        raise ValueError("history holds no gates: there was no shadow, or less than an epoch of its stage")
    masks = history.support
    every = np.column_stack([*history.gates, np.concatenate(masks)]).astype(np.float64)
    blocks, names, edges = [], [], [0]
    for layer, gates in enumerate(np.split(every, np.cumsum([len(m) for m in masks])[:-1])):
        if (gates == 1).all():
            continue
        blocks.append(gates[np.lexsort((gates.mean(axis=1), gates[:, -1]))])
        names.append(f"layer {layer}" if layer else "inputs")
        edges.append(edges[-1] + len(gates))
    if not blocks:
        raise ValueError("every gate stayed open: there is nothing to see")
    ax = _axes(ax)
    epochs = np.arange(every.shape[1] + 1) + 0.5
    image = ax.pcolormesh(
        epochs, np.arange(edges[-1] + 1), np.vstack(blocks), cmap="viridis", vmin=0, vmax=1, rasterized=True
    )
    for edge in edges[1:-1]:
        ax.axhline(edge, color="white", linewidth=1.5)
    ax.axvline(epochs[-2], color="white", linewidth=1.5)
    ax.set_yticks([0.5 * (a + b) for a, b in pairwise(edges)], names)
    ax.tick_params(which="both", left=False, right=False, top=False, bottom=False)
    ax.minorticks_off()
    n, step = len(history.gates), max(1, round(len(history.gates) / 6))
    marks = [e for e in range(step, n + 1, step) if n + 1 - e > 0.5 * step]
    ax.set_xticks([*marks, n + 1], [*map(str, marks), "hard"])
    ax.set_xlabel("Epoch")
    _color_bar(ax, image, "Gate")
    return ax


def widths_vs_budget(entries: Sequence[Any], ax: Axes | None = None, *, legend: bool = True) -> Axes:
    """Width of each hidden layer against the hidden nodes kept.

    Parameters
    ----------
    entries : sequence
        Fitted estimators, networks or entries of :func:`shadowprune.scan.scan`, all with as many layers;
        those with equal totals (trainings that differ in the seed) are drawn as mean and standard deviation.
    ax : matplotlib Axes, optional
        By default a new figure in mplhep's look.
    legend : bool
        Draw a legend.

    Returns
    -------
    matplotlib Axes
        One line per hidden layer in ``ax.containers``, and a thin one where all layers were equally wide.

    Raises
    ------
    ImportError
        Without matplotlib or mplhep.
    ValueError, TypeError
        Nothing to draw, networks with different numbers of layers, or something else than networks.
    """
    _several("entries", entries)
    hidden = [_widths(entry, "entries")[1:-1] for entry in entries]
    if not hidden or not hidden[0]:
        raise ValueError("entries must hold at least one network with a hidden layer")
    if len({len(widths) for widths in hidden}) > 1:
        raise ValueError("entries must hold networks with the same number of layers")
    groups: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for widths in hidden:
        groups[sum(widths)].append(widths)
    totals = np.array(sorted(groups))
    found = [_mean_and_spread(groups[total]) for total in totals.tolist()]
    means, spreads = (np.array(part) for part in zip(*found, strict=True))
    ax = _axes(ax)
    ax.set_xscale("log")
    ax.set_yscale("log")
    n_layers = len(hidden[0])
    colors = budget_colors(n_layers)
    for layer in range(n_layers):
        shift = 1.012 ** (layer - 0.5 * (n_layers - 1))  # the bars of one budget side by side
        low = np.minimum(spreads[:, layer], 0.5 * means[:, layer])
        ax.errorbar(
            totals * shift, means[:, layer], yerr=(low, spreads[:, layer]), fmt="o-", markersize=4,
            color=colors[layer], linewidth=1.4, elinewidth=1.2, label=f"layer {layer + 1}",
        )  # fmt: skip
    ax.plot(totals, totals / n_layers, color="0.6", linewidth=1, linestyle=":", label="equal", zorder=0)
    _counts_axis(ax.xaxis, totals)
    _counts_axis(ax.yaxis, [np.maximum(means - spreads, 0.5 * means), means + spreads])
    ax.set_xlabel("Hidden nodes kept")
    ax.set_ylabel("Width of the layer")
    if legend:
        ax.legend()
    return ax


def rejection_vs_size(
    entries: Mapping[str, Sequence[Mapping[str, Any]]],
    ax: Axes | None = None,
    *,
    size: Literal["nodes", "multiplications", "luts"] = "nodes",
    efficiency: float = 0.5,
    colors: Sequence[str] | None = None,
    legend: bool = True,
) -> Axes:
    """Background rejection at one tagging efficiency against the size of the network.

    Parameters
    ----------
    entries : mapping of name to sequence of dict
        As :func:`shadowprune.scan.scan` returns them or ``summary.json`` holds them: ``widths``,
        ``rejection_50``, ``rejection_70``. Those of one name that were asked for the same (``nodes_asked``,
        ``multiplications_asked``, ...; else those of equal nodes) are drawn as mean and standard deviation
        between trainings; an infinite rejection (None) is left out.
    ax : matplotlib Axes, optional
        By default a new figure in mplhep's look.
    size : "nodes", "multiplications" or "luts"
        Hidden nodes, multiplications of one evaluation, which is the number of weights, or LUTs: what the
        entries hold as ``luts``, ``shadowprune.resources(...).total.luts`` for example.
    efficiency : float
        0.5 or 0.7, or another one the entries know as ``rejection_<per cent>``.
    colors : sequence of str, optional
        One per name.
    legend : bool
        Draw a legend.

    Returns
    -------
    matplotlib Axes
        One set of points with error bars per name, in ``ax.containers``.

    Raises
    ------
    ImportError
        Without matplotlib or mplhep.
    ValueError, TypeError
        Nothing to draw, an unknown size, or entries without that rejection.
    """
    labels = {"nodes": "Hidden nodes kept", "multiplications": "Multiplications", "luts": "LUTs (estimated)"}
    if size not in labels:
        raise ValueError(f"size must be one of {', '.join(labels)}; got {size!r}")
    if not entries:
        raise ValueError("entries must hold at least one name, got none")
    key = f"rejection_{100 * efficiency:.0f}"
    lines = {name: _sizes_and_rejections(name, rows, size, key) for name, rows in entries.items()}
    palette = _colors(colors, len(lines)) if colors or len(lines) > len(DISTINCT) else DISTINCT
    ax = _axes(ax)
    ax.set_xscale("log")
    for (name, points), color in zip(lines.items(), palette, strict=False):
        (x, dx), (y, dy) = ((points[:, k], points[:, k + 1]) for k in (0, 2))
        ax.errorbar(
            x, y, xerr=np.where(dx > 0, dx, np.nan) if dx.any() else None, yerr=dy, fmt="o-", markersize=5,
            color=color, linewidth=1.4, elinewidth=1.2, capsize=2, label=name,
        )  # fmt: skip
    _counts_axis(ax.xaxis, np.concatenate([p[:, 0] + s * p[:, 1] for p in lines.values() for s in (-1, 1)]))
    ax.set_ylim(bottom=0)
    ax.set_xlabel(labels[size])
    ax.set_ylabel(rf"$1/\varepsilon_{{\mathrm{{B}}}}$ at $\varepsilon_{{\mathrm{{S}}}}={efficiency:g}$")
    if legend and (len(lines) > 1 or list(lines) != [""]):
        ax.legend(loc="lower right")
    return ax


def _sizes_and_rejections(
    name: str, rows: Sequence[Mapping[str, Any]], size: str, key: str
) -> NDArray[np.float64]:
    """Mean and spread of the size, mean and spread of the rejection; a row per budget, (n, 4)."""
    groups: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        widths = _widths(row, f"entries[{name!r}]")
        nodes = sum(widths[1:-1])
        if key not in row:
            raise ValueError(f"entries[{name!r}] has no {key}; an entry holds {', '.join(row)}")
        if row[key] is not None and np.isfinite(row[key]):
            known = {**row, "nodes": nodes, "multiplications": sum(a * b for a, b in pairwise(widths))}
            if size not in known:
                raise ValueError(f"entries[{name!r}] has no {size}; an entry holds {', '.join(row)}")
            cost = known[size]
            groups[row.get(asked_key(row), nodes)].append((cost, row[key]))
    if not groups:
        raise ValueError(f"entries[{name!r}] holds no network with a finite {key}")
    found = [_mean_and_spread(groups[budget]) for budget in sorted(groups)]
    return np.array([[m[0], s[0], m[1], s[1]] for m, s in found])


def inputs_vs_budget(
    selections: Sequence[Any], names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Which inputs survive at which budget.

    Parameters
    ----------
    selections : sequence
        Fitted estimators, or masks of shape (n_features,), bool: what each training kept. Those that keep
        equally many (trainings that differ in the seed) share a column, whose shade is the part of the
        trainings that kept the input.
    names : sequence of str, optional
        Names of all inputs; by default those the first estimator was fitted with, else x0, x1, ...
    ax : matplotlib Axes, optional
        By default a new figure in mplhep's look.

    Returns
    -------
    matplotlib Axes
        One image: a column per number of inputs, from many to few, a row per input, those that survive
        longest on top.

    Raises
    ------
    ImportError
        Without matplotlib or mplhep.
    ValueError
        No selections, or of different lengths.
    """
    _several("selections", selections)
    if not len(selections):
        raise ValueError("selections must hold at least one, got none")
    masks = [np.asarray(s.get_support() if hasattr(s, "get_support") else s, bool) for s in selections]
    n_features = len(masks[0])
    if any(mask.shape != (n_features,) for mask in masks):
        raise ValueError("selections must all be of the same inputs")
    if names is None:
        names = list(getattr(selections[0], "feature_names_in_", [f"x{i}" for i in range(n_features)]))
    if len(names) != n_features:
        raise ValueError(f"names must hold {n_features} names, got {len(names)}")
    groups: dict[int, list[NDArray[np.bool_]]] = defaultdict(list)
    for mask in masks:
        groups[int(mask.sum())].append(mask)
    budgets = sorted(groups, reverse=True)
    kept = np.column_stack([np.mean(groups[budget], axis=0) for budget in budgets])
    order = np.lexsort(kept.T)  # the smallest budget decides first
    ax = _axes(ax, height=max(3.5, 0.24 * n_features + 1.2))
    grid = np.arange(len(budgets) + 1), np.arange(n_features + 1)
    image = ax.pcolormesh(*grid, kept[order], cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.8)
    ax.set_xticks(np.arange(len(budgets)) + 0.5, [str(budget) for budget in budgets])
    ax.set_yticks(np.arange(n_features) + 0.5, [names[i] for i in order], fontsize="small")
    ax.tick_params(which="both", left=False, right=False, top=False, bottom=False)
    ax.minorticks_off()
    ax.set_xlabel("Inputs kept")
    if max(map(len, groups.values())) > 1:
        _color_bar(ax, image, "Part of the trainings")
    return ax
