"""What the CSV files of the study hold, ready for tables and pages: test runs, differences seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

import numpy as np
from scipy.stats import sem

from shadowprune.scan import node_counts

from . import samples
from .methods import METHODS, TABLES
from .study import FRACTIONS, Record, has_died, path_of, read

FOLDER = "method"  # of the CSV files, beside the pages
OURS = "shadow default"
TITLES = {
    "jets": "Embedded jets",
    "generated": "Generated jets",
    "flavour": "Flavour of jets, five classes",
    "digits": "Digits, ten classes",
    "breast cancer": "Breast cancer, two classes",
    samples.NOISY: "Noisy labels, two classes",
}
Documents = dict[tuple[str, str], list[Record]]  # by table and sample
Difference = tuple[float, float]  # mean and standard error


class Results:
    """The test runs of one sample."""

    def __init__(
        self, sample: str, records: Sequence[Record], methods: Sequence[str] = tuple(METHODS),
        table: str = "methods",
    ) -> None:  # fmt: skip
        self.sample, self.table = sample, table
        self.tests = [r for r in records if r["stage"] == "test"]
        self.column = samples.measure(sample, table)
        tuning = {r["seed"] for r in records if r["stage"] == "validation"}
        if sample in samples.REPEATED:
            tuning &= set(range(samples.SPLITS))
        self.tried = len(tuning)  # validation parts to choose by
        self.nodes = sorted({r["nodes"] for r in self.tests}, reverse=True)
        self.methods = [m for m in methods if any(r["method"] == m for r in self.tests)]

    @property
    def title(self) -> str:
        """Of the sample, in few words."""
        return TITLES[self.sample].split(",")[0]

    @property
    def label(self) -> str:
        """What is compared, in words."""
        return "AUC" if self.column == "auc" else "accuracy"

    def parts(self) -> dict[str, int]:
        """Nodes of each budget of the study that it has, by the part of the hidden nodes before pruning."""
        counts = node_counts((1.0, *FRACTIONS), samples.hidden(self.sample))
        return {f"{100 * part:g} %": n for part, n in counts.items() if n in self.nodes}

    def values(self, method: str, nodes: int, column: str | None = None) -> dict[int, float]:
        """Seed -> what was reached; dead networks of methods are left out, and counted beside.

        Seeds that test on the same rows for the same choice are not independent: their mean, by the first.
        """
        found: dict[int, list[float]] = {}
        for r in self.tests:
            if (r["method"], r["nodes"]) != (method, nodes) or has_died(r, self.table):
                continue
            if (reached := r[column or self.column]) is not None:
                found.setdefault(samples.tested_on(self.sample, r["seed"]), []).append(reached)
        return {seed: float(np.mean(each)) for seed, each in found.items()}

    def difference(self, method: str, nodes: int, ours: str = OURS) -> Difference | None:
        """Ours minus the method's, seed by seed: mean and standard error."""
        a, b = self.values(ours, nodes), self.values(method, nodes)
        seeds = sorted(set(a) & set(b))
        if len(seeds) < 2:
            return None
        each = np.array([a[s] - b[s] for s in seeds])
        return float(each.mean()), float(sem(each))

    def difference_at(self, method: str | None, part: str, ours: str = OURS) -> Difference | None:
        """The same with this part of the nodes."""
        nodes = self.parts().get(part)
        return None if method is None or nodes is None else self.difference(method, nodes, ours)


def parts_of(of: Sequence[Results]) -> list[str]:
    """Parts of the nodes that any of them has, the most first."""
    return sorted({part for found in of for part in found.parts()}, key=lambda s: -float(s.split()[0]))


def short(value: float, digits: int) -> str:
    """Without the zero before the point."""
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def mean_error(values: dict[int, float], digits: int) -> str:
    """Mean and standard error, as a cell."""
    if not values:
        return "–"
    mean = short(float(np.mean(list(values.values()))), digits)
    return mean if len(values) < 2 else f"{mean} ± {short(sem([*values.values()]), digits)}"


def difference_cell(difference: Difference | None, mark: Callable[[float, float], str]) -> str:
    """In units of 1e-4, with the mark that mean and error have on both sides."""
    if difference is None:
        return "–"
    mean, error = difference
    return f"{mark(mean, error)}{1e4 * mean:+.1f} ± {1e4 * error:.1f}{mark(mean, error)}"


def filled(page: str, texts: dict[str, Sequence[str]]) -> str:
    """A page from its template, lines for each name in it."""
    text = Template((Path(__file__).parent / "pages" / page).read_text(encoding="utf-8"))
    return text.substitute({name: "\n".join(lines) for name, lines in texts.items()}).rstrip() + "\n"


def documents_in(folder: Path) -> Documents:
    """Records of every table and sample that has test runs, or is there to choose rules by."""
    every = (*samples.SAMPLES, samples.NOISY, *samples.SUBSETS)
    found = {
        (table, sample): read(path_of(folder / FOLDER, sample, table)) for table in TABLES for sample in every
    }
    stages = {name: "validation" if name[0] == "rules" else "test" for name in found}
    return {name: some for name, some in found.items() if any(r["stage"] == stages[name] for r in some)}


def tables_of(documents: Documents, table: str) -> dict[str, list[Record]]:
    """Records of one table, by sample."""
    return {sample: records for (name, sample), records in documents.items() if name == table}
