"""Curves a physicist expects, drawn with matplotlib; nothing here changes the user's rcParams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from shadowprune._extras import require
from shadowprune.metrics import RejectionCurve, mean_rejection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["budget_colors", "rejection_vs_efficiency", "style"]

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


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    with style():
        _, new = require("matplotlib.pyplot", "plot").subplots(figsize=(7, 5.6), layout="constrained")
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
