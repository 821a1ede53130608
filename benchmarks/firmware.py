"""The same bits in training, in our integers and in hls4ml's compiled firmware, budget by budget.

``python -m benchmarks.firmware`` trains the paper's model with ``precision=`` at five budgets and several
numbers of bits, then, for one seed,

* takes every network with results that round and saturate and with results that are cut and wrap,
* writes and compiles hls4ml projects for strategy Latency with reuse factor 1 and for Resource with 4 (or the
  nearest that each layer allows),
* and counts the jets of the test sample whose logits differ from `FixedNetwork.forward`.

Two tables: ``fixed_point_trained.csv``, background rejection at 50 % efficiency with and without,
per seed, and ``fixed_point_bits.csv``, one line per project. About ten minutes; needs hls4ml and g++.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

import shadowprune as sp
from shadowprune.fixedpoint import FixedNetwork, FixedType

from .tables import write_csv

BUDGETS = (1.0, 0.7, 0.5, 0.3, 0.1)
BITS = (6, 8, 12)
MODES = (("RND", "SAT"), ("TRN", "WRAP"))
STRATEGIES = (("Latency", 1), ("Resource", 4))


def train(
    jets: dict[str, Any], seeds: Iterable[int], max_iter: int | None, out: Path, rows: list[dict[str, Any]]
) -> dict[tuple[float, int], FixedNetwork]:
    """More lines of the first table; the fixed-point networks of the last seed, by budget and bits."""
    kept = {}
    precisions = [None, *(f"auto:{bits}" for bits in BITS), "fixed<8,3>"]
    runs = list(itertools.product(seeds, BUDGETS, precisions))
    for seed, budget, precision in tqdm(runs, desc="training", unit="run"):
        clf = sp.ShadowClassifier(
            n_nodes=budget, precision=precision, max_iter=max_iter or "auto", random_state=seed
        ).fit(jets["X"], jets["y"])
        score = clf.decision_function(jets["X_test"])
        rejection, error = sp.metrics.background_rejection(jets["y_test"], score, return_uncertainty=True)
        if precision is not None and precision.startswith("auto:"):
            kept[budget, int(precision.partition(":")[2])] = clf.fixed_network_
        rows.append(
            {
                "nodes": clf.n_nodes_,
                "precision": precision or "float",
                "seed": seed,
                "rejection_50": round(float(rejection), 1),
                "error": round(float(error), 1),
                "auc": round(float(roc_auc_score(jets["y_test"], score)), 5),
            }
        )
        write_csv(out / "fixed_point_trained.csv", list(rows[0]), rows)
    return kept


def with_modes(network: FixedNetwork, rounding: str, saturation: str) -> FixedNetwork:
    """The network with other modes for inputs and hidden results."""

    def changed(kind: FixedType) -> FixedType:
        return dataclasses.replace(kind, rounding=rounding, saturation=saturation)

    hidden = [
        dataclasses.replace(layer, output_type=changed(layer.output_type)) for layer in network.layers[:-1]
    ]
    return FixedNetwork(
        changed(network.input_type),
        network.offset,
        network.shifts,
        network.aligned_type and changed(network.aligned_type),
        (*hidden, network.layers[-1]),
    )


def nearest_reuse(network: FixedNetwork, backend: str, wanted: int) -> list[int]:
    """Reuse factors near the one wanted, one per layer, that the widths allow."""
    from hls4ml.backends import get_backend

    shapes = (layer.weights.shape for layer in network.layers)
    valid = (get_backend(backend).get_valid_reuse_factors(*map(int, shape)) for shape in shapes)
    return [min(v, key=lambda r: (abs(r - wanted), r)) for v in valid]


def compare(
    networks: dict[tuple[float, int], FixedNetwork], X: np.ndarray, backend: str
) -> Iterator[dict[str, Any]]:
    """One project after the other, compiled and compared."""
    runs = list(itertools.product(networks.items(), MODES, STRATEGIES))
    for ((_, bits), trained), modes, (strategy, reuse) in tqdm(runs, desc="projects", unit="project"):
        network = with_modes(trained, *modes)
        factors = [1] * len(network.layers) if reuse == 1 else nearest_reuse(network, backend, reuse)
        folder = Path(tempfile.mkdtemp())
        begin = time.perf_counter()
        try:
            model = sp.emit.hls4ml(
                network, folder / "project", X, backend=backend, strategy=strategy, reuse_factor=factors
            )
            model.compile()
            compiled = time.perf_counter()
            found = model.predict(X).reshape(len(X), -1)
            done = time.perf_counter()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        ours = network.forward(X)
        yield {
            "nodes": sum(network.widths[1:-1]),
            "widths": "-".join(map(str, network.widths)),
            "bits": bits,
            "modes": ",".join(modes),
            "strategy": strategy,
            "reuse_factors": " ".join(map(str, factors)),
            "jets": len(X),
            "different_scores": len(np.unique(ours)),
            "mismatches": int((found != ours).any(axis=1).sum()),
            "compile_s": round(compiled - begin, 1),
            "predict_s": round(done - compiled, 1),
            "hls4ml": version("hls4ml"),
            "backend": backend,
            "machine": platform.machine(),
        }


def main() -> int:
    """Both tables; 1 if a single logit differs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.firmware", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of both tables")
    parser.add_argument("--seeds", type=int, default=5, help="trainings per budget and precision")
    parser.add_argument("--jets", type=int, default=8000, help="jets of the test sample to compare")
    parser.add_argument("--backend", default="Vitis")
    parser.add_argument("--max-iter", type=int, help="epochs, to try it out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    fit, test = sp.datasets.load_hbb(subset="train"), sp.datasets.load_hbb(subset="test")
    jets = {"X": fit.data, "y": fit.target, "X_test": test.data, "y_test": test.target}
    trained: list[dict[str, Any]] = []
    networks = train(jets, [0], options.max_iter, options.out, trained)
    rows: list[dict[str, Any]] = []
    for row in compare(networks, np.ascontiguousarray(test.data[: options.jets]), options.backend):
        rows.append(row)
        write_csv(options.out / "fixed_point_bits.csv", list(rows[0]), rows)
    train(jets, range(1, options.seeds), options.max_iter, options.out, trained)
    wrong = sum(row["mismatches"] for row in rows)
    print(f"{len(rows)} projects, {options.jets} jets each: {wrong} mismatches")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
