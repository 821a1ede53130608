"""Prune a network that PyTorch has trained, in a third of its epochs: ``python -m benchmarks.warm_start``.

A 40-64-64-64-64-1 network is trained by ``torch.optim.AdamW`` for 30 epochs on the embedded jets. Its weights
go through ``Network.from_params`` into ``ShadowClassifier(n_nodes=...).fit(X, y, network=...)``, which takes
10 epochs. The loss of AUC is that between the two networks on the same test jets. Its error is the spread
over seeds of everything; beside it stand the statistical error of one AUC (DeLong, DeLong and Clarke-Pearson,
Biometrics 1988) and that of the difference, in which the jets are largely common.

``--validation`` cuts the training jets 3 : 1 and tests on the quarter; the rule of the learning rate comes
from there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from shadowprune import Network, ShadowClassifier, metrics
from shadowprune.scan import mean_spread

from .jets import samples
from .tables import write_csv

WIDTHS = (40, 64, 64, 64, 64, 1)
KEPT = (0.7, 0.5, 0.3, 0.2)
EPOCHS, BATCH, RATE, DECAY = 30, 512, 5e-3, 1.0  # what suits this network best, in both libraries
COLUMNS = (
    *("kept", "nodes", "seed", "auc_start", "auc", "auc_error", "difference_error"),
    *("rejection_50_start", "rejection_50", "rejection_70_start", "rejection_70", "epochs", "seconds"),
)

F64 = NDArray[np.float64]


def train_torch(X: NDArray[Any], y: NDArray[Any], seed: int) -> Network:
    """A network of PyTorch's, trained on standardised columns, as a Network of the columns as they are."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    mean, scale = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    x = torch.from_numpy(((X - mean) / scale).astype(np.float32))
    target = torch.from_numpy(y.astype(np.float32)[:, None])
    layers = [m for a, b in pairwise(WIDTHS) for m in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.03)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.binary_cross_entropy_with_logits(model(x[rows]), target[rows]).backward()
            optimizer.step()
            schedule.step()
    dense = [m for m in model if isinstance(m, torch.nn.Linear)]
    weights = [m.weight.detach().numpy().T.astype(np.float64) for m in dense]
    biases = [m.bias.detach().numpy().astype(np.float64) for m in dense]
    biases[0] -= (mean / scale) @ weights[0]
    weights[0] /= scale[:, None]
    blocks = [part for w, b in zip(weights, biases, strict=True) for part in (w.ravel(), b)]
    return Network.from_params(WIDTHS, np.concatenate(blocks), "relu")


def auc_components(y: NDArray[Any], score: NDArray[Any]) -> tuple[float, F64, F64]:
    """AUC, and what each signal and each background jet contributes to it."""
    signal, background = score[y == 1], score[y == 0]
    ranks = rankdata(np.concatenate([signal, background]))
    n, m = len(signal), len(background)
    won = (ranks[:n] - rankdata(signal)) / m
    lost = 1 - (ranks[n:] - rankdata(background)) / n
    return float(won.mean()), won, lost


def auc_error(won: F64, lost: F64) -> float:
    """Standard error of a mean of components, or of a difference of two AUCs on the same jets."""
    return float(np.sqrt(won.var(ddof=1) / len(won) + lost.var(ddof=1) / len(lost)))


def runs(train: Any, test: Any, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """One record per pruned network."""
    (X, y), (X_test, y_test) = train, test
    for seed in seeds:
        start = train_torch(X, y, seed)
        before = start.forward(X_test)[:, 0]
        auc_start, won_start, lost_start = auc_components(y_test, before)
        at_start = metrics.background_rejection(y_test, before, [0.5, 0.7])
        for kept in KEPT:
            begin = time.perf_counter()
            clf = ShadowClassifier(n_nodes=kept, random_state=seed).fit(X, y, network=start)
            seconds = time.perf_counter() - begin
            after = clf.decision_function(X_test)
            auc, won, lost = auc_components(y_test, after)
            at = metrics.background_rejection(y_test, after, [0.5, 0.7])
            yield {
                "kept": kept,
                "nodes": clf.n_nodes_,
                "seed": seed,
                "auc_start": auc_start,
                "auc": auc,
                "auc_error": auc_error(won_start, lost_start),
                "difference_error": auc_error(won_start - won, lost_start - lost),
                "rejection_50_start": float(at_start[0]),
                "rejection_50": float(at[0]),
                "rejection_70_start": float(at_start[1]),
                "rejection_70": float(at[1]),
                "epochs": clf.n_iter_,
                "seconds": round(seconds, 2),
            }


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of mean and standard deviation over seeds; the start first."""
    titles = ("AUC", "AUC lost", "jets of one", "of the loss", "1/eB at 50 %", "1/eB at 70 %")
    lines = [f"{'nodes':>5}  " + "".join(f"{title:<21}" for title in titles)]
    for nodes in (sum(WIDTHS[1:-1]), *dict.fromkeys(r["nodes"] for r in records)):
        start = nodes == sum(WIDTHS[1:-1])
        rows = [r for r in records if r["nodes"] == (records[0]["nodes"] if start else nodes)]
        end = "_start" if start else ""
        cells = [mean_spread([r[f"auc{end}"] for r in rows], 5)]
        cells.append("" if start else mean_spread([r["auc_start"] - r["auc"] for r in rows], 5))
        cells += [f"{np.mean([r['auc_error'] for r in rows]):.5f}"]
        cells.append("" if start else f"{np.mean([r['difference_error'] for r in rows]):.5f}")
        cells += [mean_spread([r[f"rejection_{e}{end}"] for r in rows], 1) for e in (50, 70)]
        lines.append(f"{nodes:>5}  " + "".join(f"{cell:<21}" for cell in cells))
    return lines


def main() -> None:
    """Train, prune, print the table, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="directory of warm_start.csv")
    parser.add_argument("--validation", action="store_true", help="test on a quarter of the training jets")
    options = parser.parse_args()
    records = []
    for record in runs(*samples(options.validation), range(options.seeds)):
        records.append(record)
        print(*(f"{record[c]:.5g}" for c in COLUMNS), flush=True)
    records.sort(key=lambda r: (-r["nodes"], r["seed"]))
    print(*table(records), sep="\n")
    write_csv(options.out / "warm_start.csv", COLUMNS, records)


if __name__ == "__main__":
    main()
