"""Which inputs to keep: one run with a shadow on them beside the usual selections, on the embedded jets.

``python -m benchmarks.inputs`` keeps 20, 10 and 5 of the 40 variables by

- shadow: ``ShadowClassifier(n_inputs=K)``, one training that selects and is used as it is;
- shadow, retrained: the columns that run kept, and then as the others;
- permutation importance (Breiman 2001) of a network trained on all variables: loss of AUC on training jets;
- mutual information with the label (Kraskov, Stögbauer and Grassberger 2004), scikit-learn's SelectKBest;
- L1 path: the K variables that enter first as the penalty of a logistic regression falls.

Every other selection is followed by the same 64-64-64-64 network with the same settings, trained on the
columns chosen. All are tested on the same test jets. ``--validation`` cuts the training jets 3 : 1 and tests
on the quarter instead: defaults were compared there, the test jets have only been used for the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_selection import mutual_info_classif
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from shadowprune import ShadowClassifier, metrics, plots
from shadowprune._extras import require
from shadowprune._files import written
from shadowprune.datasets import load_hbb
from shadowprune.scan import mean_spread

from .jets import samples
from .tables import write_csv

KEPT = (20, 10, 5)
N_RANKED = 20_000  # jets that the two rankings which take long are given
COLUMNS = ("method", "inputs", "seed", "auc", "rejection_50", "rejection_70", "seconds", "kept")

LABELS = {"auc": "AUC", "rejection_70": r"$1/\varepsilon_{\mathrm{B}}$ at $\varepsilon_{\mathrm{S}}=0.7$"}

Ranking = NDArray[np.float64]


def permutation(X: NDArray[Any], y: NDArray[Any], seed: int) -> Ranking:
    """Loss of AUC when a column is shuffled."""
    network = ShadowClassifier(n_nodes=None, random_state=seed).fit(X, y)
    rows = np.random.default_rng(seed).permutation(len(X))[:N_RANKED]
    found = permutation_importance(
        network, X[rows], y[rows], scoring="roc_auc", n_repeats=5, random_state=seed
    )
    return np.asarray(found.importances_mean)


def information(X: NDArray[Any], y: NDArray[Any], seed: int) -> Ranking:
    """Mutual information of each column with the label."""
    rows = np.random.default_rng(seed).permutation(len(X))[:N_RANKED]
    return np.asarray(mutual_info_classif(X[rows], y[rows], random_state=seed))


def l1_path(X: NDArray[Any], y: NDArray[Any], seed: int) -> Ranking:
    """Minus the place at which a column enters the path, over a random half of the jets."""
    rows = np.random.default_rng(seed).permutation(len(X))[: len(X) // 2]
    x = StandardScaler().fit_transform(X[rows])
    first = np.full(x.shape[1], np.inf)
    size = np.zeros(x.shape[1])
    for step, c in enumerate(np.geomspace(1e-5, 1e-1, 33)):
        model = LogisticRegression(C=c, l1_ratio=1.0, solver="liblinear", random_state=seed).fit(x, y[rows])
        new = (model.coef_[0] != 0) & np.isinf(first)
        first[new], size[new] = step, np.abs(model.coef_[0][new])
        if np.isfinite(first).sum() >= max(KEPT):
            break
    return np.where(np.isfinite(first), size / (1 + size) - first, -np.inf)


RANKINGS: dict[str, Callable[[NDArray[Any], NDArray[Any], int], Ranking]] = {
    "permutation importance": permutation,
    "mutual information": information,
    "L1 path": l1_path,
}


def runs(train: Any, test: Any, seeds: Sequence[int], kept: Sequence[int]) -> Iterator[dict[str, Any]]:
    """One record per training."""
    (X, y), (X_test, y_test) = train, test
    names = np.array(load_hbb(subset="test").feature_names)

    def record(method: str, seed: int, columns: NDArray[Any], score: Any, begin: float) -> dict[str, Any]:
        seconds = time.perf_counter() - begin
        at_50, at_70 = metrics.background_rejection(y_test, score, [0.5, 0.7])
        return {
            "method": method,
            "inputs": len(columns),
            "seed": seed,
            "auc": float(roc_auc_score(y_test, score)),
            "rejection_50": float(at_50),
            "rejection_70": float(at_70),
            "seconds": round(seconds, 2),
            "kept": " ".join(names[columns]),
        }

    def on_columns(method: str, seed: int, columns: NDArray[Any], begin: float) -> dict[str, Any]:
        network = ShadowClassifier(n_nodes=None, random_state=seed).fit(X[:, columns], y)
        return record(method, seed, columns, network.decision_function(X_test[:, columns]), begin)

    for seed in seeds:
        yield on_columns("all inputs", seed, np.arange(X.shape[1]), time.perf_counter())
        for n in kept:
            begin = time.perf_counter()
            shadow = ShadowClassifier(n_nodes=None, n_inputs=n, random_state=seed).fit(X, y)
            columns = shadow.get_support(indices=True)
            yield record("shadow", seed, columns, shadow.decision_function(X_test), begin)
            yield on_columns("shadow, retrained", seed, columns, begin)
        for method, ranking in RANKINGS.items():
            begin = time.perf_counter()
            best_first = np.argsort(-ranking(X, y, seed), kind="stable")
            for n in kept:
                yield on_columns(method, seed, np.sort(best_first[:n]), begin)
                begin = time.perf_counter()


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of mean and standard deviation over seeds."""
    lines = [f"{'inputs':>6}  {'':24}{'AUC':<19}{'1/eB at 50 %':<14}{'1/eB at 70 %':<14}"]
    for n, method in dict.fromkeys((r["inputs"], r["method"]) for r in records):
        rows = [r for r in records if (r["inputs"], r["method"]) == (n, method)]
        cells = [
            mean_spread([r[key] for r in rows], digits)
            for key, digits in (("auc", 5), ("rejection_50", 0), ("rejection_70", 1))
        ]
        lines.append(f"{n:>6}  {method:24}{cells[0]:<19}{cells[1]:<14}{cells[2]:<14}")
    return lines


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """AUC and rejection against the number of inputs, one line per selection."""
    with plots.style():
        figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 4.6), layout="constrained")
        for ax, (key, label) in zip(figure.subplots(1, 2), LABELS.items(), strict=True):
            for i, method in enumerate(("shadow", *RANKINGS)):
                by_size = {
                    n: [r[key] for r in records if (r["method"], r["inputs"]) == (method, n)]
                    for n in sorted({r["inputs"] for r in records if r["method"] == method})
                }
                x = np.array(list(by_size)) * 1.015 ** (i - 1.5)  # bars of one size side by side
                means, spreads = (
                    [f(v) for v in by_size.values()] for f in (np.mean, partial(np.std, ddof=1))
                )
                ax.errorbar(
                    x, means, yerr=spreads, fmt="o-", markersize=5, capsize=2, color=plots.DISTINCT[i],
                    label=method,
                )  # fmt: skip
            everything = [r[key] for r in records if r["method"] == "all inputs"]
            ax.axhline(np.mean(everything), color="0.5", linestyle=":", linewidth=1.2, label="all 40 inputs")
            ax.set_xscale("log")
            ticks = sorted({r["inputs"] for r in records if r["method"] == "shadow"})
            ax.set_xticks(ticks, map(str, ticks))
            ax.set_xticks([], minor=True)
            ax.set_xlabel("Inputs kept")
            ax.set_ylabel(label)
            ax.margins(x=0.05)
        figure.axes[0].legend(loc="lower right")
        figure.savefig(path, dpi=120)


def main() -> None:
    """Train, print the table, write CSV and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kept", type=int, nargs="+", default=list(KEPT))
    parser.add_argument("--out", type=Path, default=Path("docs"), help="directory of inputs.csv, inputs.png")
    parser.add_argument("--validation", action="store_true", help="test on a quarter of the training jets")
    options = parser.parse_args()
    records = []
    for record in runs(*samples(options.validation), range(options.seeds), options.kept):
        records.append(record)
        print(*(record[c] for c in COLUMNS), flush=True)
    methods = ["all inputs", "shadow", "shadow, retrained", *RANKINGS]
    records.sort(key=lambda r: (-r["inputs"], methods.index(r["method"]), r["seed"]))
    print(*table(records), sep="\n")
    write_csv(options.out / "inputs.csv", COLUMNS, records)
    with written(options.out / "inputs.png") as path:
        draw(records, path)


if __name__ == "__main__":
    main()
