"""Opens what `shadowprune figure1` wrote, and looks: ``python .ci/open_figure1.py FOLDER``."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pypdf

import shadowprune as sp

RUN_KEYS = {
    *("fraction", "nodes_asked", "nodes_kept", "widths", "seed", "auc"),
    *("rejection_50", "rejection_70", "seconds"),
}


def need(condition: object, message: str) -> None:
    """Stop with a message."""
    if not condition:
        raise SystemExit(f"open_figure1: {message}")


def png(path: Path) -> None:
    """A picture of some size with more than one colour in every quarter of it."""
    pixels = matplotlib.image.imread(path)
    height, width = pixels.shape[:2]
    need(height >= 400 and width >= 600, f"{path.name} has only {width} x {height} pixels")
    for rows in (slice(0, height // 2), slice(height // 2, None)):
        for columns in (slice(0, width // 2), slice(width // 2, None)):
            need(np.ptp(pixels[rows, columns, :3]) > 0.5, f"{path.name} has an empty quarter")


def pdf(path: Path) -> None:
    """One page with lines on it."""
    pages = pypdf.PdfReader(path, strict=True).pages
    need(len(pages) == 1, f"{path.name} has {len(pages)} pages")
    contents = pages[0].get_contents()
    need(contents is not None and contents.get_data().count(b" l\n") > 100, f"{path.name} draws nothing")


def table(path: Path) -> None:
    """Curve points: finite numbers in every column that has numbers."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    need(len(rows) > 100, f"{path.name} has {len(rows)} points")
    need(all(None not in row and None not in row.values() for row in rows), f"{path.name} has ragged rows")


def summary(path: Path) -> dict[str, Any]:
    """The keys DESIGN promises, and the promise of the method: nodes kept == nodes asked."""
    document: dict[str, Any] = json.loads(path.read_text())
    keys = document.keys()
    need(keys >= {"versions", "runs", "retrained", "hls4ml"}, f"{path.name} has {sorted(keys)}")
    need(document["runs"], f"{path.name} holds no run")
    for run in [*document["runs"], *document["retrained"]]:
        need(run.keys() >= RUN_KEYS, f"{path.name}: a run without {sorted(RUN_KEYS - run.keys())}")
        kept = (run["nodes_asked"], run["nodes_kept"], sum(run["widths"][1:-1]))
        need(len(set(kept)) == 1, f"{path.name}: nodes asked, kept and summed over widths are {kept}")
        need(0.5 < run["auc"] < 1, f"{path.name}: AUC {run['auc']} at {run['nodes_kept']} nodes")
    need(document["hls4ml"], f"{path.name}: no hls4ml model ({document.get('hls4ml_skipped')})")
    return document


def models(folder: Path, document: dict[str, Any]) -> None:
    """Every saved network has the nodes its name says."""
    budgets = sorted({run["nodes_asked"] for run in document["runs"]})
    for nodes in budgets:
        network = sp.Network.load(folder / f"model_{nodes}.npz")
        need(network.n_nodes == nodes, f"model_{nodes}.npz has {network.n_nodes} nodes")
        logits = network.forward(np.zeros((3, network.widths[0]), np.float32))
        need(np.isfinite(logits).all(), f"model_{nodes}.npz gives {logits}")


def main() -> None:
    """Open everything."""
    folder = Path(sys.argv[1])
    png(folder / "figure1.png")
    pdf(folder / "figure1.pdf")
    table(folder / "figure1.csv")
    document = summary(folder / "summary.json")
    models(folder, document)
    budgets = sorted({run["nodes_asked"] for run in document["runs"]}, reverse=True)
    print(f"figure 1 opened: budgets {budgets}, {len(document['runs'])} runs, hls4ml {document['hls4ml']}")


if __name__ == "__main__":
    main()
