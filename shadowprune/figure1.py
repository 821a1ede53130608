"""The paper's figure on boosted H->bb against QCD jets: train every budget, draw, write everything down.

Two errors appear and are never mixed. The *spread* is the standard deviation between trainings that differ in
the seed alone. The *statistical* error comes from the finite test sample; all networks see the same jets, so
it is largely common to them, and what of it remains in a ratio is found by resampling the jets.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from shutil import which
from typing import Any, Literal

import numpy as np

from shadowprune._extras import require
from shadowprune._files import written
from shadowprune.metrics import background_rejection
from shadowprune.parallel import workers
from shadowprune.scan import budget_table, node_counts, progress_step, seed_list, train_budgets

__all__ = ["FRACTIONS", "run", "table", "versions"]

FRACTIONS = (1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05)
HIDDEN = (64, 64, 64, 64)
RIGHT = 0.7  # the fraction of the right panel
CHECKED = (0.5, 0.6, 0.7, 0.8)  # efficiencies at which its three networks are compared
QUICK: dict[str, Any] = {"fractions": (1.0, RIGHT, 0.1), "seeds": 2, "max_iter": 3, "n_train": 6000}
N_HLS4ML = 8000  # test jets through the compiled model


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, shadowprune, numpy, scikit-learn and `packages`; "not installed" where missing."""
    found = {"python": platform.python_version()}
    for name in ("shadowprune", "numpy", "scikit-learn", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    if found["shadowprune"] == "not installed":  # used from a source tree
        import shadowprune

        found["shadowprune"] = str(getattr(shadowprune, "__version__", "unknown"))
    return found


def _why_no_hls4ml() -> str | None:
    if find_spec("hls4ml") is None:
        return 'hls4ml is not installed (pip install "shadowprune[hls4ml]")'
    if which("g++") is None:
        return "g++, which hls4ml compiles with, is not installed"
    return None


def compare_hls4ml(network: Any, directory: Path, calibration: Any, X: Any, y: Any) -> dict[str, Any]:
    """Write an hls4ml project of `network`, compile it, and compare with floating point on jets (X, y)."""
    from shadowprune import emit

    X = np.ascontiguousarray(X, dtype=np.float32)
    with redirect_stdout(StringIO()):  # hls4ml reports every layer
        model = emit.hls4ml(network, str(directory), X=calibration)
        model.compile()
        fixed = np.asarray(model.predict(X), dtype=np.float64).ravel()
    exact = np.asarray(network.forward(X), dtype=np.float64).ravel()
    emitted = background_rejection(y, fixed)
    floating, error = background_rejection(y, exact, return_uncertainty=True)
    return {
        "logit_rms": float(np.sqrt(np.mean((fixed - exact) ** 2))),
        "rejection_50": emitted,
        "rejection_50_float": floating,
        "rejection_50_float_error": error,
        "jets": len(y),
        "directory": directory.name,
    }


def agreement(line: Any) -> dict[str, list[float | None]]:
    """A curve's ratio to the original at efficiencies 0.5 to 0.8, and its error; None without statistics.

    ``statistical`` is from resampling the jets, ``trainings`` from the errors of the two means over seeds
    (None with one seed), ``error`` both in quadrature.
    """
    names = ("ratio", "statistical", "trainings", "error")
    rows: dict[str, list[float | None]] = {"efficiency": list(CHECKED), **{name: [] for name in names}}
    for efficiency in CHECKED:
        at = np.flatnonzero(np.isclose(line.curve.efficiency, efficiency))
        for name in names:
            value = float(getattr(line, name)[at[0]]) if len(at) else np.nan
            rows[name].append(value if np.isfinite(value) else None)
    return rows


def run(
    out: str | os.PathLike[str] = "figure1",
    *,
    fractions: Sequence[float] | None = None,
    seeds: int | Sequence[int] | None = None,
    n_jobs: int | None = None,
    path: bool = False,
    quick: bool = False,
    hls4ml: bool | Literal["auto"] = "auto",
    progress: bool = True,
    n_train: int | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Train, test, draw and write figure 1.

    Parameters
    ----------
    out : path
        Directory of the results; made if missing. Each file replaces its predecessor only when complete.
    fractions : sequence of float, optional
        Of the 256 hidden nodes; by default 1, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05. 1 (the original network, no
        shadow) and 0.7 (the right panel) are always among them.
    seeds : int or sequence of int, optional
        How many trainings of each, or their seeds; by default 5.
    n_jobs : int, optional
        Trainings side by side; None or -1: one per core this process may use.
    path : bool
        All budgets from one ShadowPath per seed, but for the original network, which is trained by itself.
    quick : bool
        A check of the whole chain: three budgets, two seeds, three epochs on 6000 jets. Not a result.
    hls4ml : bool or "auto"
        Emit and compile the 70 % network of the first seed. "auto": if hls4ml and g++ are there, else the
        summary says why not.
    progress : bool
        Show bars.
    n_train : int, optional
        Use the first `n_train` training jets only.
    **parameters
        Handed to ShadowClassifier, the same for every budget; by default nothing is tuned.

    Returns
    -------
    dict
        What ``summary.json`` holds. :func:`table` prints it.

    Raises
    ------
    ImportError
        Without matplotlib or mplhep; without hls4ml or g++ if ``hls4ml=True``.
    ValueError
        A fraction outside (0, 1] or below one node per layer, fewer than one seed, `n_jobs` below 1.

    Notes
    -----
    Files: ``figure1.png``, ``figure1.pdf``, ``figure1.csv`` (every curve point), ``model_<nodes>.npz`` (first
    seed of each budget), ``summary.json`` and the project ``hls4ml_<nodes>/``.
    """
    from shadowprune.datasets import load_hbb

    start = time.perf_counter()
    require("mplhep", "plot")  # before the work, not after it
    require("matplotlib", "plot")
    from shadowprune import _figure1_plot as drawing

    why_not = "not asked for" if hls4ml is False else _why_no_hls4ml()
    if hls4ml is True and why_not:
        raise ImportError(why_not)
    if quick:
        fractions = QUICK["fractions"] if fractions is None else fractions
        seeds = QUICK["seeds"] if seeds is None else seeds
        n_train = QUICK["n_train"] if n_train is None else n_train
        parameters = {"max_iter": QUICK["max_iter"]} | parameters
    asked = [float(f) for f in (FRACTIONS if fractions is None else fractions)]
    counts = node_counts([*asked, 1.0, RIGHT], HIDDEN)
    wanted_seeds = seed_list(5 if seeds is None else seeds)
    n_workers = workers(n_jobs)
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)

    train, test = load_hbb(subset="train"), load_hbb(subset="test")
    X, y = train.data[:n_train], train.target[:n_train]
    begin_training = time.perf_counter()
    with progress_step((len(counts) + 1) * len(wanted_seeds), progress) as bar:
        runs = train_budgets(
            (X, y),
            (test.data, test.target),
            counts,
            wanted_seeds,
            hidden=HIDDEN,
            retrain=(RIGHT,),
            path=path,
            n_workers=n_workers,
            step=bar.step,
            **parameters,
        )
    training_seconds = time.perf_counter() - begin_training
    shadow = [r for r in runs if r.kind == "shadow"]
    retrained = [r for r in runs if r.kind == "retrained"]

    first = {r.asked: r.network for r in shadow if r.seed == wanted_seeds[0]}
    for nodes, network in first.items():
        network.save(directory / f"model_{nodes}.npz")
    left, right = drawing.lines(test.target, shadow, retrained)
    drawing.write(directory, left, right, n_background=int((test.target == 0).sum()))

    emitted = None
    if why_not is None:
        nodes, some = counts[RIGHT], slice(N_HLS4ML)
        if progress:
            progress_note(f"compiling the {nodes}-node network with hls4ml")
        emitted = compare_hls4ml(
            first[nodes], directory / f"hls4ml_{nodes}", X[some], test.data[some], test.target[some]
        )
    original = [r.score for r in shadow if r.fraction == 1]
    errors = [background_rejection(test.target, s, [0.5, 0.7], return_uncertainty=True)[1] for s in original]
    error_50, error_70 = np.mean(errors, axis=0)

    from shadowprune import _core

    summary: dict[str, Any] = {
        "versions": versions("matplotlib", "mplhep", "hls4ml") | {"instruction set": _core.isa()},
        "settings": {
            "quick": quick,
            "path": path,
            "hidden_layer_sizes": list(HIDDEN),
            "seeds": wanted_seeds,
            "train_jets": len(y),
            "test_jets": len(test.target),
            "workers": n_workers,
            "parameters": {name: _plain(value) for name, value in parameters.items()},
        },
        "runs": [r.entry() for r in shadow],
        "retrained": [r.entry() for r in retrained],
        "statistical_error": {"rejection_50": _plain(error_50), "rejection_70": _plain(error_70)},
        "agreement": {line.network: agreement(line) for line in right[1:]},
        "hls4ml": emitted if emitted is None else {name: _plain(value) for name, value in emitted.items()},
        "hls4ml_skipped": why_not,
        "seconds": {"training": round(training_seconds, 1), "all": round(time.perf_counter() - start, 1)},
    }
    with written(directory / "summary.json") as file:
        file.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return summary


def progress_note(text: str) -> None:
    """A line above the bars, where the bars go (stderr)."""
    import sys

    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def _plain(value: Any) -> Any:
    """What JSON can hold: a number without a JSON form becomes None, anything else its text."""
    if isinstance(value, (bool, str, int, type(None))):
        return value
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return str(value)


def _number(value: float | None, digits: int) -> str:
    return "inf" if value is None else f"{value:.{digits}f}"


def table(summary: dict[str, Any]) -> str:
    """The closing table, as text.

    Parameters
    ----------
    summary : dict
        As :func:`run` returns it and ``summary.json`` holds it.

    Returns
    -------
    str
        One line per budget: mean ± standard deviation between seeds. The statistical error stands below.
    """
    fractions = dict.fromkeys(r["fraction"] for r in summary["runs"])
    groups = [
        ("original" if f == 1 else f"{100 * f:g} %", [r for r in summary["runs"] if r["fraction"] == f])
        for f in fractions
    ]
    settings, stat, seconds = summary["settings"], summary["statistical_error"], summary["seconds"]
    lines = budget_table([*groups, ("retrained", summary["retrained"])])
    n = len(settings["seeds"])
    one = (
        ["", "Pruned networks: one path per seed, and of its time an equal share."]
        if settings["path"]
        else []
    )
    lines += [
        *one,
        "",
        (f"±: standard deviation between {n} trainings. " if n > 1 else "One training each. ")
        + f"Statistical error of the {settings['test_jets']} test jets, common to all rows:",
        f"± {_number(stat['rejection_50'], 0)} at 50 %, ± {_number(stat['rejection_70'], 1)} at 70 %. "
        f"Training took {seconds['training']:.0f} s with {settings['workers']} side by side.",
    ]
    for name, found in summary["agreement"].items():
        rows = zip(found["efficiency"], found["ratio"], found["error"], strict=True)
        shown = ", ".join(f"{r:.3f} ± {e:.3f} at {100 * eff:.0f} %" for eff, r, e in rows if r is not None)
        lines.append(f"{100 * RIGHT:.0f} % {name} / original: {shown}")
    if (emitted := summary["hls4ml"]) is not None:
        lines.append(
            f"hls4ml, {emitted['jets']} jets: logit RMS to float {emitted['logit_rms']:.4f}; 1/eB at 50 % "
            f"{_number(emitted['rejection_50'], 0)}, float {_number(emitted['rejection_50_float'], 0)} "
            f"± {_number(emitted['rejection_50_float_error'], 0)}"
        )
    else:
        lines.append(f"hls4ml: left out, {summary['hls4ml_skipped']}")
    if settings["quick"]:
        lines.append("Quick mode: a check of the machinery, not a result.")
    return "\n".join(lines)
