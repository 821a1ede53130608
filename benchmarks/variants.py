"""Ways to choose nodes, on one schedule, to one count: ``python -m benchmarks.variants``.

The shadow's soft gates beside straight-through hard gates and the in-run Taylor ranking (``method=``),
everything else being equal, at five budgets of a 64-64-64-64 network on the embedded jets.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shadowprune import plots
from shadowprune._extras import require
from shadowprune._files import written
from shadowprune.parallel import workers
from shadowprune.scan import mean_spread, node_counts, train_budgets
from shadowprune.shadow import METHODS

from .jets import samples
from .tables import write_csv

HIDDEN = (64, 64, 64, 64)
FRACTIONS = (0.5, 0.3, 0.2, 0.1, 0.05)
COLUMNS = ("method", "nodes_kept", "widths", "seed", "auc", "rejection_50", "rejection_70", "seconds")


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of mean and standard deviation over seeds."""
    lines = [f"{'nodes':>5}  {'':18}{'AUC':<19}{'1/eB at 50 %':<14}{'1/eB at 70 %':<14}"]
    for nodes, method in dict.fromkeys((r["nodes_kept"], r["method"]) for r in records):
        rows = [r for r in records if (r["nodes_kept"], r["method"]) == (nodes, method)]
        cells = [
            mean_spread([r[key] for r in rows], digits)
            for key, digits in (("auc", 5), ("rejection_50", 0), ("rejection_70", 1))
        ]
        lines.append(f"{nodes:>5}  {method:18}{cells[0]:<19}{cells[1]:<14}{cells[2]:<14}")
    return lines


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Rejection at 50 and 70 % against the nodes kept, one line per method."""
    entries = {method: [r for r in records if r["method"] == method] for method in METHODS}
    with plots.style():
        figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 4.6), layout="constrained")
        for ax, efficiency in zip(figure.subplots(1, 2), (0.5, 0.7), strict=True):
            plots.rejection_vs_size(entries, ax, efficiency=efficiency)
        figure.savefig(path, dpi=120)


def main() -> None:
    """Train, print the table, write CSV and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, help="trainings side by side (default: one per core)")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="directory of variants.csv and .png")
    parser.add_argument("--validation", action="store_true", help="test on a quarter of the training jets")
    options = parser.parse_args()
    train, test = samples(options.validation)
    records = []
    for method in METHODS:
        runs = train_budgets(
            train, test, node_counts(FRACTIONS, HIDDEN), range(options.seeds), hidden=HIDDEN,
            n_workers=workers(options.jobs), method=method,
        )  # fmt: skip
        records += [{"method": method, **run.entry()} for run in runs]
        print(f"{method}: {len(runs)} trainings", flush=True)
    records.sort(key=lambda r: (-r["nodes_kept"], METHODS.index(r["method"]), r["seed"]))
    print(*table(records), sep="\n")
    rows = [{c: "-".join(map(str, r[c])) if c == "widths" else r[c] for c in COLUMNS} for r in records]
    write_csv(options.out / "variants.csv", COLUMNS, rows)
    with written(options.out / "variants.png") as path:
        draw(records, path)


if __name__ == "__main__":
    main()
