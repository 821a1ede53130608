"""The runs of the study: which there are, doing those that are missing, and what was chosen."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from shadowprune._files import written
from shadowprune.scan import node_counts

from . import samples
from .methods import TABLES, Method, Option, name_of, option_of

Record = dict[str, Any]
Scores = dict[tuple[str, int, int], dict[str, float | None]]  # method, nodes, seed -> option -> reached

FRACTIONS = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05)
TUNED = (0.7, 0.3, 0.1, 0.05)  # of these options are tuned; the others take the nearest's, by ratio
DEFAULTS_AT = (1.0, 0.3, 0.1, 0.05)  # budgets of the defaults, and of what their rules were chosen by
SEEDS, SEEDS_GENERATED = 5, 20  # more where the fewest nodes are nearly level
TUNING_SEEDS = 2
TUNING_SPLITS = 3  # of at most five, where test rows differ
# of the defaults, where tenths of a per mille are to be seen: to test with, and to tune with
DEFAULTS_SEEDS = {
    "jets": 10, "generated": 5, "flavour": 60, samples.NOISY: 240, "digits": 96, "breast cancer": 120,
}  # fmt: skip
DEFAULTS_TUNING_SEEDS = {"jets": 5, "generated": 3, "flavour": 40, samples.NOISY: 40}
RULES_SEEDS = 5
EVERY = 10.0  # seconds: how often files are written while jobs run
DEAD = 0.5  # AUC of a network with the same output for all rows
COLUMNS = (
    "stage", "method", "nodes", "option", "seed", "kept", "own", "auc", "accuracy", "rejection_50",
    "rejection_70", "seconds", "widths",
)  # fmt: skip
DIGITS = {"auc": 6, "accuracy": 6, "rejection_50": 2, "rejection_70": 2, "seconds": 2}


@dataclass(frozen=True)
class Plan:
    """What to run on one sample."""

    sample: str
    methods: Sequence[str]
    fractions: Sequence[float] = FRACTIONS
    seeds: int | None = None  # to test with; None: the study's own number
    table: str = "methods"
    tuned: Sequence[float] = TUNED
    quick: bool = False
    files: tuple[str, ...] = ()

    def counts(self) -> list[int]:
        """Hidden nodes of each budget, the most first."""
        hidden = samples.hidden(self.sample)
        return list(node_counts(self.fractions, hidden).values())

    def table_of(self) -> dict[str, Method]:
        """The methods by name."""
        return TABLES[self.table]

    def tuned_at(self, nodes: int) -> int:
        """The budget whose options are taken."""
        hidden = samples.hidden(self.sample)
        return min(node_counts(self.tuned, hidden).values(), key=lambda n: abs(math.log(n / nodes)))

    def tuning_seeds(self, tested: int = 0) -> range:
        """Of the validation parts that the options of this test seed are chosen on.

        The same for every test seed, but where these have test rows of their own: what they would choose
        together has seen the test rows of each.
        """
        if self.sample in samples.REPEATED:
            n = samples.SPLITS if self.table == "defaults" else TUNING_SPLITS
            return samples.splits_of(self.sample, tested)[: 1 if self.quick else n]
        if self.quick:
            return range(1)
        if self.table == "rules":
            return range(RULES_SEEDS)
        return range(DEFAULTS_TUNING_SEEDS[self.sample] if self.table == "defaults" else TUNING_SEEDS)

    def choices(self) -> list[range]:
        """The seeds that each choice is made with; rules are chosen and not tested."""
        return list(dict.fromkeys(map(self.tuning_seeds, self.test_seeds() or range(1))))

    def test_seeds(self) -> range:
        if self.table == "rules":
            return range(0)
        if self.seeds is not None:
            return range(self.seeds)
        if self.table == "defaults":
            return range(DEFAULTS_SEEDS[self.sample])
        return range(SEEDS_GENERATED if self.sample == "generated" else SEEDS)


def has_died(record: Record, table: str) -> bool:
    """Whether a method left a network with the same output for all rows; of defaults that is a result."""
    return table == "methods" and record["auc"] == DEAD


@dataclass(frozen=True)
class Job:
    """Runs of one method with one seed, done by one process, one after the other."""

    stage: str  # "validation" or "test"
    method: str
    seed: int
    runs: tuple[tuple[int, str], ...]  # nodes, name of the option


def path_of(folder: Path, sample: str, table: str = "methods") -> Path:
    return folder / f"{'' if table == 'methods' else table + '_'}{sample.replace(' ', '_')}.csv"


def key_of(record: Record) -> tuple[str, str, int, str, int]:
    return record["stage"], record["method"], int(record["nodes"]), record["option"], int(record["seed"])


def read(path: Path) -> list[Record]:
    """Records of a file, numbers as numbers; a last line that was cut off is left out."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["widths"]]
    for row in rows:
        row |= {c: int(row[c]) if row[c] else None for c in ("nodes", "seed", "kept", "own")}
        row |= {c: float(row[c]) if row[c] else None for c in DIGITS}
    return rows


def write(path: Path, methods: Sequence[str], records: Iterable[Record]) -> None:
    """All records, by stage, in the order of the methods, then of budgets; whole or not at all."""
    ordered = sorted(
        records,
        key=lambda r: (r["stage"], methods.index(r["method"]), -r["nodes"], r["option"], r["seed"]),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as draft, open(draft, "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(ordered)


def run(plan: Plan, job: Job) -> list[Record]:
    """Train and score; called in a process of its own, which keeps what jobs have in common."""
    data = samples.load(plan.sample, job.seed, job.stage == "validation", plan.quick, plan.files)
    found = []
    for nodes, option in job.runs:
        network, seconds, own = plan.table_of()[job.method].train(data, nodes, job.seed, **option_of(option))
        record = {
            "stage": job.stage, "method": job.method, "nodes": nodes, "option": option, "seed": job.seed,
            "kept": network.n_nodes, "own": own, "seconds": seconds,
            "widths": "-".join(map(str, network.widths)),
            **data.outcome(network),
        }  # fmt: skip
        for column, digits in DIGITS.items():
            if record.get(column) is not None:
                record[column] = round(record[column], digits)
        found.append(record)
    return found


def scores_of(plan: Plan, records: Iterable[Record]) -> Scores:
    """What the validation runs reached; among methods nothing is what a network that died has reached."""
    column = samples.measure(plan.sample, plan.table)
    found: Scores = {}
    for r in records:
        if r["stage"] == "validation":
            score = None if has_died(r, plan.table) else r[column]
            found.setdefault((r["method"], r["nodes"], r["seed"]), {})[r["option"]] = score
    return found


def chosen(
    plan: Plan, scores: Scores, method: str, nodes: int, seeds: Iterable[int]
) -> tuple[list[Option], bool]:
    """The best option of each complete round, by the mean over the seeds' validation rows; whether all are.

    A network that died, with the same output for all rows, is passed over as long as others with its option
    live: nobody would take it.
    """
    reached = [scores.get((method, nodes, seed), {}) for seed in seeds]
    best: list[Option] = []
    while (options := plan.table_of()[method].options(best)) is not None:
        means = {}
        for name in map(name_of, options):
            if not all(name in one for one in reached):
                return best, False
            counted = [score for one in reached if (score := one[name]) is not None]
            means[name] = float(np.mean(counted or [0.0]))
        best.append(max(options, key=lambda option: means[name_of(option)]))
    return best, True


def jobs(plan: Plan, stage: str, records: Sequence[Record]) -> list[Job]:
    """What is missing: of the validation stage, the round that comes next."""
    done = {key_of(r) for r in records}
    scores = scores_of(plan, records)
    methods = plan.table_of()

    @cache
    def choice_of(tuned: str, nodes: int, seeds: range) -> tuple[list[Option], bool]:
        return chosen(plan, scores, tuned, nodes, seeds)

    if stage == "validation":
        seeds = [(seed, choice) for choice in plan.choices() for seed in choice]
    else:
        seeds = [(seed, plan.tuning_seeds(seed)) for seed in plan.test_seeds()]
    found = []
    for seed, choice in seeds:
        for name in plan.methods:
            runs: list[tuple[int, str]] = []
            tuned = methods[name].like or name
            for nodes in plan.counts():
                best, complete = choice_of(tuned, plan.tuned_at(nodes), choice)
                if stage == "test" and complete:
                    runs.append((nodes, name_of(best[methods[name].last]) if best else ""))
                elif stage == "validation" and methods[name].like is None and nodes == plan.tuned_at(nodes):
                    runs += [(nodes, name_of(option)) for option in methods[name].options(best) or []]
            missing = tuple(r for r in runs if (stage, name, r[0], r[1], seed) not in done)
            if missing:
                found.append(Job(stage, name, seed, missing))
    return found


def trained(plan: Plan, parallel: Parallel, records: list[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Tune, then test, what the records lack; the stage and the records of each job, added as it ends."""
    for stage in ("validation", "test"):
        while todo := jobs(plan, stage, records):
            for found in parallel(delayed(run)(plan, job) for job in todo):
                records += found
                yield stage, found


def study(plan: Plan, folder: Path, n_jobs: int) -> list[Record]:
    """Train whatever the sample's file does not hold yet; the file grows as jobs end."""
    path = path_of(folder, plan.sample, plan.table)
    records = read(path)
    stored, n_stored = time.monotonic(), len(records)
    try:
        with Parallel(n_jobs, return_as="generator_unordered", batch_size=1) as parallel:
            for stage, found in trained(plan, parallel, records):
                seconds = sum(r["seconds"] for r in found)
                what = f"{plan.sample}, {stage}: {found[-1]['method']}, seed {found[-1]['seed']}"
                print(f"{what}, {len(found)} trainings, {seconds:.0f} s", flush=True)
                if time.monotonic() > stored + EVERY:
                    write(path, list(plan.table_of()), records)
                    stored, n_stored = time.monotonic(), len(records)
    finally:
        if len(records) > n_stored:
            write(path, list(plan.table_of()), records)
    return records
