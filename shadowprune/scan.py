"""Many trainings side by side: every node count with every seed, tested on the same jets."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shadowprune._extras import require
from shadowprune._files import written
from shadowprune.metrics import background_rejection
from shadowprune.parallel import side_by_side, workers

__all__ = ["Run", "node_counts", "scan", "seed_list", "train_budgets"]

COLUMNS = ("nodes_kept", "widths", "seed", "auc", "rejection_50", "rejection_70", "seconds")


@dataclass(frozen=True)
class Run:
    """One training, tested."""

    kind: str  # "shadow" or "retrained"
    fraction: float
    asked: int  # nodes, or what else `budget` names
    seed: int
    network: Any
    score: NDArray[np.floating[Any]]  # logits of the test jets
    seconds: float
    auc: float
    rejection_50: float
    rejection_70: float
    budget: str  # what was asked of: nodes, multiplications, ...

    def entry(self) -> dict[str, Any]:
        """The run as JSON has it; an infinite rejection has no JSON number and becomes None."""
        rejections = {"rejection_50": self.rejection_50, "rejection_70": self.rejection_70}
        return {
            "fraction": self.fraction,
            f"{self.budget}_asked": self.asked,
            "nodes_kept": int(self.network.n_nodes),
            "widths": [int(w) for w in self.network.widths],
            "seed": self.seed,
            "auc": self.auc,
            **{k: v if np.isfinite(v) else None for k, v in rejections.items()},
            "seconds": round(self.seconds, 3),
        }


def seed_list(seeds: int | Sequence[int]) -> list[int]:
    """0 ... seeds - 1, or the seeds themselves.

    Raises
    ------
    ValueError
        Fewer than one, a negative one, or the same one twice.
    """
    if isinstance(seeds, (int, np.integer)):
        if isinstance(seeds, bool) or seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {seeds!r}")
        return list(range(int(seeds)))
    wanted = [int(s) for s in seeds]
    if not wanted or len(set(wanted)) != len(wanted) or min(wanted) < 0:
        raise ValueError(f"seeds must be a count or distinct non-negative integers, got {seeds!r}")
    return wanted


def node_counts(nodes: Sequence[float | int], hidden: Sequence[int]) -> dict[float, int]:
    """Fraction of the hidden nodes -> node count, from the largest to the smallest.

    Parameters
    ----------
    nodes : sequence of float or int
        A float is a fraction in (0, 1], floor(fraction * total); an int is a count.
    hidden : sequence of int
        Hidden widths of the open network.

    Raises
    ------
    ValueError
        Outside (0, 1] or 1..total, or fewer nodes than hidden layers.
    """
    total = sum(hidden)
    counts: dict[float, int] = {}
    for asked in nodes:
        is_count = isinstance(asked, (int, np.integer))
        if isinstance(asked, bool) or not (1 <= asked <= total if is_count else 0 < asked <= 1):
            wanted = f"a count of 1 to {total}" if is_count else "a fraction in (0, 1]"
            raise ValueError(f"nodes must be {wanted}, got {asked}")
        # 0.29 * 100 is 28.999...: a hair above the product, then floor
        count = int(asked) if is_count else int(np.floor(asked * total * (1 + 1e-12)))
        if count < len(hidden):
            raise ValueError(
                f"nodes must leave one in each of {len(hidden)} hidden layers, got {asked} ({count} nodes)"
            )
        counts[asked / total if is_count else float(asked)] = count
    return dict(sorted(counts.items(), reverse=True))


def given(limits: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments of Budget that differ from what they are anyway."""
    usual = {"min_nodes": 1, "multiple": 1, "reuse_factor": 1}
    return {
        name: value
        for name, value in (limits or {}).items()
        if value is not None and value != usual.get(name)
    }


def amounts(
    kind: str, asked: Sequence[float | int], widths: Sequence[int], limits: dict[str, Any] | None = None
) -> dict[float, int]:
    """Fraction of the whole network's -> amount of a budget, from the largest to the smallest.

    Parameters
    ----------
    kind : str
        Argument of :class:`shadowprune.Budget`: nodes, multiplications, multipliers or weights.
    asked : sequence of float or int
        Floats are fractions, ints amounts.
    widths : sequence of int
        Inputs, hidden layers and outputs of the open network.
    limits : dict, optional
        Other arguments of Budget.

    Returns
    -------
    dict
        As :func:`node_counts`, which it is for nodes without limits.

    Raises
    ------
    ValueError
        A budget that the network cannot meet.
    """
    from shadowprune.budget import Budget

    others = given(limits)
    if kind == "nodes" and not others:
        return node_counts(asked, widths[1:-1])
    found = {}
    for amount in asked:
        of: dict[str, Any] = {kind: amount}
        constraint = Budget(**of, **others).constraints(widths)[0]
        fraction = amount / constraint.full if isinstance(amount, (int, np.integer)) else float(amount)
        found[fraction] = int(constraint.target)
    return dict(sorted(found.items(), reverse=True))


def train_budgets(
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    counts: dict[float, int],
    seeds: Sequence[int],
    *,
    hidden: Sequence[int],
    retrain: Sequence[float] = (),
    kind: str = "nodes",
    limits: dict[str, Any] | None = None,
    path: bool = False,
    n_workers: int = 1,
    step: Callable[[Run], None] | None = None,
    **parameters: Any,
) -> list[Run]:
    """Train every budget with every seed, in threads (the C core trains without the GIL), and test each.

    Parameters
    ----------
    train, test : (X, y)
        Two classes.
    counts : dict
        Fraction -> node count, or amount of `kind`; fraction 1 without limits trains without a shadow.
    seeds : sequence of int
        ``random_state`` of the trainings.
    hidden : sequence of int
        Hidden widths of the open network.
    retrain : sequence of float
        Fractions whose layout is also trained again as an independent network.
    kind : str
        Argument of Budget that the amounts are for.
    limits : dict, optional
        Other arguments of Budget, as of :func:`amounts`.
    path : bool
        All node counts but the whole network's from one ShadowPath per seed; their `seconds` are an equal
        share of it.
    n_workers : int
        Threads.
    step : callable, optional
        Called with each finished run, from any of the threads.
    **parameters
        Handed to ShadowClassifier.

    Returns
    -------
    list of Run
        By kind (shadow first), then falling fraction, then seed, whatever the number of threads.

    Raises
    ------
    ValueError
        With `path` and another `kind` than nodes, or limits.
    """
    from sklearn.metrics import roc_auc_score

    from shadowprune.budget import Budget
    from shadowprune.estimators import ShadowClassifier
    from shadowprune.path import ShadowPath

    others = given(limits)
    if path and (kind != "nodes" or others):
        raise ValueError(f"path has node counts only, but kind is {kind!r} and limits are {others}")

    def tested(
        origin: str, fraction: float, seed: int, fit: Callable[[], Any], before: float = 0.0
    ) -> tuple[Any, Run]:
        start = time.perf_counter()
        classifier = fit()
        seconds = before + time.perf_counter() - start
        score = classifier.decision_function(test[0])
        rejections = background_rejection(test[1], score, [0.5, 0.7])
        auc = float(roc_auc_score(test[1], score))
        asked = counts[fraction]
        found = Run(
            origin, fraction, asked, seed, classifier.network_, score, seconds, auc, float(rejections[0]),
            float(rejections[1]), kind,
        )  # fmt: skip
        if step is not None:
            step(found)
        return classifier, found

    def job(fraction: float, seed: int) -> list[Run]:
        asked: dict[str, Any] = {kind: counts[fraction]}
        budget = None if fraction == 1 and not others else Budget(**asked, **others)
        fresh = ShadowClassifier(
            hidden_layer_sizes=tuple(hidden), n_nodes=None, budget=budget, random_state=seed, **parameters
        )
        return with_retrained(fraction, seed, *tested("shadow", fraction, seed, lambda: fresh.fit(*train)))

    def with_retrained(fraction: float, seed: int, classifier: Any, first: Run) -> list[Run]:
        if fraction not in retrain:
            return [first]
        return [first, tested("retrained", fraction, seed, lambda: classifier.retrain(*train))[1]]

    def family(fractions: Sequence[float], seed: int) -> list[Run]:
        start = time.perf_counter()
        one = ShadowPath(
            hidden, n_nodes_min=min(counts[f] for f in fractions), validation_fraction=0, random_state=seed,
            **parameters,
        ).fit(*train)  # fmt: skip
        share = (time.perf_counter() - start) / len(fractions)
        found = []
        for f in fractions:
            of_size = partial(one.at, counts[f])
            found += with_retrained(f, seed, *tested("shadow", f, seed, of_size, share))
        return found

    # the long jobs first, so that no thread ends with one alone
    if path:
        below = [f for f in counts if f < 1]
        jobs = [partial(family, below, seed) for seed in seeds if below]
        jobs += [partial(job, 1.0, seed) for seed in seeds if 1.0 in counts]
    else:
        order = sorted((f not in retrain, -f, seed) for f in counts for seed in seeds)
        jobs = [partial(job, -f, seed) for _, f, seed in order]
    done = side_by_side(jobs, n_workers)
    runs = [run for of_one in done for run in of_one]
    return sorted(runs, key=lambda r: (r.kind != "shadow", -r.fraction, r.seed))


def progress_step(total: int, progress: bool) -> Any:
    """A bar over trainings, a context manager; its ``step(run)`` is the `step` of :func:`train_budgets`."""
    from tqdm import tqdm

    bar = tqdm(total=total, desc="training", unit="network", disable=not progress)

    def step(found: Run) -> None:
        bar.set_postfix_str(f"{found.asked} {found.budget}, AUC {found.auc:.4f}", refresh=False)
        bar.update()

    bar.step = step
    return bar


def mean_spread(values: Sequence[float | None], digits: int) -> str:
    """Mean ± standard deviation between seeds, as text."""
    if any(v is None for v in values):
        return "inf"
    numbers = np.asarray(values, dtype=np.float64)
    spread = f" ± {numbers.std(ddof=1):.{digits}f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.{digits}f}{spread}"


def budget_table(groups: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> list[str]:
    """Lines of a table, one per group of entries that differ in the seed only."""
    lines = [
        f"{'':11}{'asked':>5}{'kept':>6}  {'widths (first seed)':<23}{'AUC':<19}"
        f"{'1/eB at 50 %':<14}{'1/eB at 70 %':<14}{'time':>6}"
    ]
    for name, rows in groups:
        kept = "/".join(str(n) for n in sorted({r["nodes_kept"] for r in rows}))
        widths = "-".join(map(str, rows[0]["widths"]))
        auc, at_50, at_70 = (
            mean_spread([r[key] for r in rows], digits)
            for key, digits in (("auc", 5), ("rejection_50", 0), ("rejection_70", 1))
        )
        seconds = np.mean([r["seconds"] for r in rows])
        lines.append(
            f"{name:11}{rows[0][asked_key(rows[0])]:>5}{kept:>6}  {widths:<23}{auc:<19}{at_50:<14}{at_70:<14}"
            f"{seconds:>4.1f} s"
        )
    return lines


def asked_key(entry: Mapping[str, Any]) -> str:
    """Where an entry says what was asked: nodes_asked, multiplications_asked, ...; "" if it does not."""
    return next((key for key in entry if key.endswith("_asked")), "")


def scan(
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    nodes: Sequence[float | int],
    out: str | os.PathLike[str] = "scan",
    *,
    kind: str = "nodes",
    limits: dict[str, Any] | None = None,
    hidden: Sequence[int] = (64, 64, 64, 64),
    seeds: int | Sequence[int] = 3,
    n_jobs: int | None = None,
    progress: bool = True,
    **parameters: Any,
) -> list[dict[str, Any]]:
    """Train a list of budgets and write ``scan.csv``, ``scan.png``, ``scan.pdf`` and ``model_<asked>.npz``.

    Parameters
    ----------
    train, test : (X, y)
        Two classes.
    nodes : sequence of float or int
        Fractions or counts of hidden nodes, or of what `kind` names.
    out : path
        Directory; made if missing.
    kind, limits
        As for :func:`amounts`.
    hidden, seeds, n_jobs, progress, **parameters
        As for :func:`train_budgets` and :func:`shadowprune.figure1.run`.

    Returns
    -------
    list of dict
        One entry per training, as in the CSV.

    Raises
    ------
    ImportError
        Without matplotlib or mplhep.
    ValueError
        A budget that cannot be, no seeds.
    """
    require("mplhep", "plot")
    widths = [np.shape(train[0])[1], *hidden, 1]
    counts, wanted = amounts(kind, nodes, widths, limits), seed_list(seeds)
    n_workers, directory = workers(n_jobs), Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    with progress_step(len(counts) * len(wanted), progress) as bar:
        runs = train_budgets(
            train, test, counts, wanted, hidden=hidden, kind=kind, limits=limits, n_workers=n_workers,
            step=bar.step, **parameters,
        )  # fmt: skip
    entries = [r.entry() for r in runs]
    with written(directory / "scan.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer, columns = csv.writer(file), (f"{kind}_asked", *COLUMNS)
        writer.writerow(columns)
        for entry in entries:
            cells = entry | {"widths": "-".join(map(str, entry["widths"]))}
            writer.writerow([cells[column] for column in columns])
    for run in runs:
        if run.seed == wanted[0]:
            run.network.save(directory / f"model_{run.asked}.npz")
    _draw(directory, entries, kind)
    return entries


def _draw(directory: Path, entries: Sequence[dict[str, Any]], kind: str) -> None:
    from shadowprune import plots

    key_asked = f"{kind}_asked"
    asked = sorted({e[key_asked] for e in entries})
    with plots.style():
        figure = require("matplotlib.figure", "plot").Figure(figsize=(7, 6.4), layout="constrained")
        axes = figure.subplots(2, 1, sharex=True)
        panels = (
            ("auc", "AUC"),
            ("rejection_50", r"$1/\varepsilon_{\mathrm{B}}$ at $\varepsilon_{\mathrm{S}}=0.5$"),
        )
        for ax, (key, label) in zip(axes, panels, strict=True):
            groups = [[e[key] for e in entries if e[key_asked] == n and e[key] is not None] for n in asked]
            for n, values in zip(asked, groups, strict=True):
                ax.plot([n] * len(values), values, ".", color=plots.DISTINCT[1], alpha=0.5, markersize=6)
            ax.plot(
                asked, [np.mean(v) if v else np.nan for v in groups], "o-", color=plots.BLACK, markersize=5
            )
            ax.set_ylabel(label)
        axes[0].set_xscale("log", base=2)
        axes[0].xaxis.set_major_formatter("{x:.0f}")
        axes[0].plot([], [], ".", color=plots.DISTINCT[1], label="one training")
        axes[0].plot([], [], "o-", color=plots.BLACK, label="mean")
        axes[0].legend(loc="lower right")
        axes[1].set_xlabel("Hidden nodes kept" if kind == "nodes" else f"{kind.capitalize()} at most")
        for suffix in ("png", "pdf"):
            with written(directory / f"scan.{suffix}") as path:
                figure.savefig(path, dpi=160)
