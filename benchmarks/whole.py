"""The whole method against what one would do without it, on the embedded jets.

- *one-shot*: our single training to 70, 30 and 10 % of the nodes, against PyTorch: train, prune by
  magnitude with torch-pruning, fine-tune, in as many epochs altogether; one processor each.
- *against the original*: our training to 30 %, against ours of the original for as many epochs.
- *figure 1*: eight budgets, five seeds and the retrained layouts, against PyTorch training only the five
  original networks; all processors both. PyTorch does it one network after the other with all threads, and
  as many side by side as there are processors; the better counts.

Everybody: 30 epochs, batch 512, AdamW, a cosine from 5e-3 after a short warm-up, weight decay following the
size of the network as in shadowprune. Times are of the training alone: data are loaded and scaled before,
tests come after.
"""

from __future__ import annotations

import math
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from shadowprune._defaults import live_weight_decay

from . import tables
from .machine import processors
from .torch_training import descend
from .workers import Unavailable, Worker

EPOCHS, BATCH, RATE = 30, 512, 5e-3
HIDDEN = (64, 64, 64, 64)
FRACTIONS = (0.7, 0.3, 0.1)
FIGURE_SEEDS = 5
QUICK_EPOCHS, QUICK_ROWS = 2, 8192

COLUMNS = {
    "part": "<22",
    "who": "<34",
    "fraction": ">8.2f",
    "nodes_asked": ">6",
    "nodes_kept": "<14",
    "runs": ">4",
    "seconds_min": ">8.2f",
    "seconds_median": ">8.2f",
    "auc": ">7.4f",
    "auc_spread": ">7.4f",
    "ratio": ">6.2f",
}
NAMES = {
    "nodes_asked": "asked",
    "nodes_kept": "kept",
    "seconds_min": "s (min)",
    "seconds_median": "s (med)",
    "auc": "AUC",
    "auc_spread": "+-",
    "ratio": "x",
}


@dataclass(frozen=True)
class Outcome:
    """One training, tested."""

    seconds: float
    nodes: int
    auc: float


class Ours:
    """`ShadowClassifier` in its process."""

    def __init__(self, quick: bool) -> None:
        from shadowprune.datasets import load_hbb

        train, test = load_hbb(subset="train"), load_hbb(subset="test")
        rows = slice(QUICK_ROWS if quick else None)
        self.train, self.test = (train.data[rows], train.target[rows]), (test.data, test.target)
        self.epochs = QUICK_EPOCHS if quick else EPOCHS

    def fit(self, n_nodes: float | None, seed: int) -> Outcome:
        """One training to a fraction of the nodes; None: of the original."""
        from sklearn.metrics import roc_auc_score

        from shadowprune import ShadowClassifier

        model = ShadowClassifier(
            HIDDEN,
            n_nodes=n_nodes,
            random_state=seed,
            max_iter=self.epochs,
            batch_size=BATCH,
            learning_rate_init=RATE,
        )
        begin = time.perf_counter()
        model.fit(*self.train)
        seconds = time.perf_counter() - begin
        auc = roc_auc_score(self.test[1], model.decision_function(self.test[0]))
        return Outcome(seconds, model.n_nodes_, float(auc))

    def figure1(self, seeds: int, path: bool) -> tuple[float, int]:
        """The networks of figure 1: seconds, and how many there were."""
        from shadowprune.figure1 import FRACTIONS as BUDGETS
        from shadowprune.figure1 import RIGHT
        from shadowprune.parallel import workers
        from shadowprune.scan import node_counts, train_budgets

        begin = time.perf_counter()
        runs = train_budgets(
            self.train,
            self.test,
            node_counts(BUDGETS, HIDDEN),
            range(seeds),
            hidden=HIDDEN,
            retrain=(RIGHT,),
            path=path,
            n_workers=workers(None),
            max_iter=self.epochs,
            batch_size=BATCH,
            learning_rate_init=RATE,
        )
        return time.perf_counter() - begin, len(runs)


class Torch:
    """PyTorch with its fused AdamW, and torch-pruning."""

    def __init__(self, quick: bool, threads: int) -> None:
        import torch
        from sklearn.preprocessing import StandardScaler

        from shadowprune.datasets import load_hbb

        torch.set_num_threads(threads)
        self.torch = torch
        train, test = load_hbb(subset="train"), load_hbb(subset="test")
        rows = slice(QUICK_ROWS if quick else None)
        scaler = StandardScaler().fit(train.data[rows])
        self.x, self.x_test = (
            torch.from_numpy(scaler.transform(d).astype(np.float32)) for d in (train.data[rows], test.data)
        )
        self.y = torch.from_numpy(train.target[rows, None].astype(np.float32))
        self.y_test = test.target
        self.epochs = QUICK_EPOCHS if quick else EPOCHS

    def _network(self) -> Any:
        nn = self.torch.nn
        widths = (self.x.shape[1], *HIDDEN)
        modules: list[Any] = []
        for n_in, n_out in pairwise(widths):
            modules += [nn.Linear(n_in, n_out), nn.ReLU()]
        return nn.Sequential(*modules, nn.Linear(HIDDEN[-1], 1))

    def _train(self, model: Any, epochs: int, seed: int) -> None:
        n_weights = sum(p.numel() for p in model.parameters() if p.ndim == 2)
        decay = float(live_weight_decay(n_weights))
        descend(model, self.x, self.y, epochs, seed, batch=BATCH, rate=RATE, decay=decay)

    def _outcome(self, model: Any, seconds: float) -> Outcome:
        from sklearn.metrics import roc_auc_score

        with self.torch.inference_mode():
            auc = roc_auc_score(self.y_test, model(self.x_test)[:, 0].numpy())
        linear = [m for m in model if isinstance(m, self.torch.nn.Linear)]
        return Outcome(seconds, sum(m.out_features for m in linear[:-1]), float(auc))

    def original(self, seed: int) -> Outcome:
        """Train the original network."""
        self.torch.manual_seed(seed)
        begin = time.perf_counter()
        model = self._network()
        self._train(model, self.epochs, seed)
        return self._outcome(model, time.perf_counter() - begin)

    def prune(self, fraction: float, seed: int) -> Outcome:
        """Train for half the epochs, prune by magnitude over all layers, fine-tune for the rest."""
        import torch_pruning

        self.torch.manual_seed(seed)
        begin = time.perf_counter()
        model = self._network()
        self._train(model, self.epochs // 2, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner = torch_pruning.pruner.MagnitudePruner(
                model,
                self.x[:1],
                torch_pruning.importance.MagnitudeImportance(p=2),
                global_pruning=True,
                pruning_ratio=1 - fraction,
                ignored_layers=[model[-1]],
            )
            pruner.step()
        self._train(model, self.epochs - self.epochs // 2, seed + 1000)
        return self._outcome(model, time.perf_counter() - begin)


def summarise(
    part: str, who: str, fraction: float | None, asked: int | None, runs: list[Outcome]
) -> tables.Record:
    seconds = np.array([r.seconds for r in runs])
    auc = np.array([r.auc for r in runs])
    return {
        "part": part,
        "who": who,
        "fraction": fraction,
        "nodes_asked": asked,
        "nodes_kept": "/".join(map(str, sorted({r.nodes for r in runs}))),
        "runs": len(runs),
        "seconds_min": float(seconds.min()),
        "seconds_median": float(np.median(seconds)),
        "auc": float(auc.mean()),
        "auc_spread": float(auc.std(ddof=1)) if len(auc) > 1 else None,
        "ratio": None,
        "seconds": seconds.tolist(),
    }


def against(ours: tables.Record, theirs: tables.Record) -> None:
    """Set the ratio of `theirs`: the median over repetitions of their time to ours."""
    ours["ratio"] = 1.0
    theirs["ratio"] = float(np.median(np.array(theirs["seconds"]) / np.array(ours["seconds"])))


def one_shot(quick: bool, seeds: int) -> list[tables.Record]:
    """Budgets against train, prune, fine-tune, and against our own training of the original; interleaved."""
    total = sum(HIDDEN)
    runs: dict[tuple[str, float], list[Outcome]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(Worker(f"{__name__}:Ours", quick, threads=1))
        theirs: Worker | None = None
        try:
            theirs = stack.enter_context(Worker(f"{__name__}:Torch", quick, 1, threads=1))
            theirs.ask("prune", 0.5, 0)  # imports, first allocations
        except Unavailable as error:
            print(f"PyTorch with torch-pruning is left out: {error}")
        for seed in range(seeds):
            runs.setdefault(("ours", 1), []).append(ours.ask("fit", None, seed))
            if theirs:
                runs.setdefault(("torch", 1), []).append(theirs.ask("original", seed))
            for fraction in FRACTIONS:
                runs.setdefault(("ours", fraction), []).append(ours.ask("fit", fraction, seed))
                if theirs:
                    runs.setdefault(("torch", fraction), []).append(theirs.ask("prune", fraction, seed))
    records = []
    for fraction in (1, *FRACTIONS):
        asked = math.floor(fraction * total)
        name = "shadowprune, one-shot" if fraction < 1 else "shadowprune"
        record = summarise("one training", name, fraction, asked, runs["ours", fraction])
        records.append(record)
        if theirs:
            name = "PyTorch, torch-pruning, fine-tuned" if fraction < 1 else "PyTorch fused AdamW"
            other = summarise("one training", name, fraction, asked, runs["torch", fraction])
            against(record, other)
            records.append(other)
    small = summarise(
        "against the original", "shadowprune, one-shot", 0.3, math.floor(0.3 * total), runs["ours", 0.3]
    )
    original = summarise("against the original", "shadowprune", 1, total, runs["ours", 1])
    against(original, small)
    return [*records, original, small]


def figure1(quick: bool, repetitions: int) -> list[tables.Record]:
    """All of figure 1 against five original networks of PyTorch."""
    cpus = processors()
    seeds = 2 if quick else FIGURE_SEEDS
    times: dict[str, list[float]] = {"ours": [], "paths": [], "threads": [], "side by side": []}
    n_networks = 0
    with ExitStack() as stack:
        ours = stack.enter_context(Worker(f"{__name__}:Ours", quick, threads=len(cpus), library_threads=1))
        try:
            many = stack.enter_context(Worker(f"{__name__}:Torch", quick, len(cpus), threads=len(cpus)))
            single = [
                stack.enter_context(Worker(f"{__name__}:Torch", quick, 1, threads=1, cpus=[cpu]))
                for cpu in cpus
            ]
        except Unavailable as error:
            print(f"figure 1 against PyTorch is left out: {error}")
            return []
        for _ in range(repetitions):
            for key in ("ours", "paths"):
                seconds, n_networks = ours.ask("figure1", seeds, key == "paths")
                times[key].append(seconds)
            times["threads"].append(sum(many.ask("original", seed).seconds for seed in range(seeds)))
            begin = time.perf_counter()
            waiting, running = list(range(seeds)), list[Worker]()
            for worker in single[:seeds]:
                worker.begin("original", waiting.pop())
                running.append(worker)
            while running:
                worker = Worker.first_done(running)
                worker.finish()
                if waiting:
                    worker.begin("original", waiting.pop())
                else:
                    running.remove(worker)
            times["side by side"].append(time.perf_counter() - begin)
    names = {
        "ours": f"shadowprune, {n_networks} trainings",
        "paths": f"shadowprune, from {seeds} paths",
        "threads": f"PyTorch, {seeds} originals, {len(cpus)} threads",
        "side by side": f"PyTorch, {seeds} originals side by side",
    }
    best = np.minimum(times["threads"], times["side by side"])
    records = []
    for key, name in names.items():
        seconds = np.array(times[key])
        records.append(
            {
                "part": "figure 1",
                "who": name,
                "fraction": None,
                "nodes_asked": None,
                "nodes_kept": "",
                "runs": repetitions,
                "seconds_min": float(seconds.min()),
                "seconds_median": float(np.median(seconds)),
                "auc": None,
                "auc_spread": None,
                "ratio": float(np.median(seconds / np.array(times["ours"]))),
                "seconds": seconds.tolist(),
            }
        )
    alone, paths = (np.median(times[key] / best) for key in ("ours", "paths"))
    print(f"figure 1: {alone:.2f}, from paths {paths:.2f}, of the time PyTorch takes for the originals alone")
    return records


def run(*, repetitions: int, quick: bool = False) -> list[tables.Record]:
    """Measure and print."""
    tables.head(COLUMNS, NAMES)
    records = one_shot(quick, 1 if quick else max(3, min(5, repetitions)))
    tables.show(COLUMNS, records)
    more = figure1(quick, 1 if quick else max(1, repetitions // 3))
    tables.show(COLUMNS, more)
    print(
        "x: time, as a multiple of shadowprune's in the same row of the method (of the "
        "original's for the 30 %)"
    )
    return records + more
