"""Costs that a network never exceeds: weighted nodes, products of widths.

The hard finish chooses in two steps. First, with theta the score of the first node that is one too many
(where the gates close as T goes to 0), the nodes of largest sum of s_i - theta within the budget and the
limits per layer: (s - theta)/T is the log-odds of a logistic gate, so this is the likeliest outcome of the
gates among those allowed. It is a knapsack, solved exactly (:mod:`shadowprune._knapsack`): for products of
widths over the widths, since a layer's nodes then go by score; for costs of single nodes over these. Then
what is left over is filled with the best nodes that still fit, until none does: the slack ends below the
cost of one node.
"""

from __future__ import annotations

import math
import numbers
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._constraints import F64, I32, Amount, Bools, BudgetReport, Constraint, rank_in_layer
from ._knapsack import Stage, best_path

Nodes = NDArray[np.intp]
Block: TypeAlias = "tuple[float, Amount, Nodes]"  # mean score, cost, nodes


@dataclass(frozen=True)
class Ceiling(Constraint):
    """A cost that the nodes kept never exceed."""

    @abstractmethod
    def price(self, order: Nodes) -> NDArray[Any]:
        """Cost of the first, the first two, ... of the nodes in this order."""

    @abstractmethod
    def best(self, values: F64) -> tuple[Bools, float]:
        """Nodes with the largest sum of values that keep target and limits; and a bound on what it misses."""

    @abstractmethod
    def blocks(self, keep: Bools, scores: F64) -> list[Block]:
        """Score, cost and nodes of what can be added next within the limits."""

    @abstractmethod
    def used(self, keep: Bools) -> Amount: ...

    @property
    def _grace(self) -> float:
        """What rounding may take a sum of costs above the budget; nothing if they are whole numbers."""
        return 0.0

    def __str__(self) -> str:
        return f"at most {self.target} of {self.full:g} {self.name}"

    def select(self, scores: F64) -> tuple[Bools, float]:
        keep, short = self.best(scores - self._threshold(scores))
        while True:
            left = self.target - self.used(keep) + self._grace
            fitting = [block for block in self.blocks(keep, scores) if block[1] <= left]
            if not fitting:
                return keep, short
            keep[max(fitting, key=lambda block: block[0])[2]] = True

    def _threshold(self, scores: F64) -> float:
        """Score of the first node that is one too many: where the gates close as T goes to 0."""
        order = np.lexsort((np.arange(len(scores)), -scores))
        rank = rank_in_layer(self.layer[order])
        low, high = self.limits.low[self.layer[order]], self.limits.high[self.layer[order]]
        order = np.concatenate([order[rank < low], order[(rank >= low) & (rank < high)]])
        over = np.flatnonzero(self.price(order) > self.target)
        if len(over):
            return float(scores[order[over[0]]])
        return float(scores.min() - max(np.ptp(scores), 1.0))

    def report(self, keep: Bools, short: float) -> BudgetReport:
        further = [cost for _, cost, _ in self.blocks(keep, np.zeros(len(keep)))]
        used = self.used(keep)
        return BudgetReport(self.name, self.target, used, min(further) if further else None, short)


@dataclass(frozen=True)
class Weighted(Ceiling):
    """sum c_i of the nodes kept <= target."""

    asked: Amount
    costs: F64

    def __post_init__(self) -> None:
        if not self.costs.sum() > 0:
            raise ValueError("costs of the covered layers are all 0; there is nothing to bound")
        order = np.argsort(self.costs, kind="stable")
        cheap = order[rank_in_layer(self.layer[order]) < self.limits.low[self.layer[order]]]
        check_ceiling(self.name, self.asked, self.full, self._number(cheap), self._whole)

    @property
    def _whole(self) -> bool:
        return bool((self.costs == np.rint(self.costs)).all())

    def _number(self, nodes: Any) -> Amount:
        total = math.fsum(self.costs[nodes])
        return int(total) if self._whole else total

    @property
    def target(self) -> Amount:
        return ceiling(self.asked, self.full, self._whole)

    @property
    def full(self) -> float:
        return math.fsum(self.costs)

    @property
    def goal(self) -> float:
        order = np.argsort(-self.costs, kind="stable")
        dear = order[rank_in_layer(self.layer[order]) < self.limits.high[self.layer[order]]]
        # a target of 0 leaves the nodes that cost nothing; the kernel wants a sum above 0
        return max(
            min(self.target, math.fsum(self.costs[dear])), 1e-3 * float(self.costs[self.costs > 0].min())
        )

    @property
    def trivial(self) -> bool:
        return self.target >= self.full and not self.limits.cut(self.layer)

    @property
    def kernel(self) -> F64:
        return self.costs

    def used(self, keep: Bools) -> Amount:
        return self._number(keep)

    def price(self, order: Nodes) -> NDArray[Any]:
        return np.cumsum(self.costs[order]) - self._grace

    @property
    def _grace(self) -> float:
        return 0.0 if self._whole else 1e-9 * self.target

    def best(self, values: F64) -> tuple[Bools, float]:
        stages: list[Stage] = []
        kept: list[list[Nodes]] = []  # by each edge of each stage
        unit = np.int64 if self._whole else np.float64
        for one in np.unique(self.layer):
            of = _ranked(values, self.layer, one)
            costs, gains = self.costs[of].astype(unit), values[of]
            widths = np.arange(self.limits.low[one], self.limits.high[one] + 1, self.limits.multiple)
            if (costs == costs[0]).all():  # the best ones, whatever their number
                here = np.zeros(len(widths), np.int64)
                stages.append(Stage(here, here, costs[0] * widths.astype(unit), _sums(gains)[widths]))
                kept.append([of[:w] for w in widths])
                continue
            for i, (stage, taken) in enumerate(_one_by_one(costs, gains, widths)):
                stages.append(stage)
                kept.append([of[i : i + t] for t in taken])
        path = best_path(stages, self.target + self._grace)
        keep = np.zeros(len(values), np.bool_)
        for edge, nodes in zip(path.edges, kept, strict=True):
            keep[nodes[edge]] = True
        return keep, path.short

    def blocks(self, keep: Bools, scores: F64) -> list[Block]:
        found, m = list[Block](), self.limits.multiple
        for one in np.unique(self.layer):
            of = _ranked(scores, self.layer, one)
            rest = of[~keep[of]]
            if len(of) - len(rest) + m <= self.limits.high[one]:
                for nodes in (rest[:m], rest[np.argsort(self.costs[rest], kind="stable")][:m]):
                    found.append((float(scores[nodes].mean()), self._number(nodes), nodes))
        return found


@dataclass(frozen=True)
class Products(Ceiling):
    """sum ceil(n_in n_out / R) + bias n_out over dense layers <= target; widths may be fixed."""

    asked: Amount
    widths: tuple[int, ...]
    reuse: tuple[int, ...]
    bias: int

    def __post_init__(self) -> None:
        least = int(self._exact(self._with(self.limits.low)))
        check_ceiling(self.name, self.asked, self._exact_full, least, True)

    @cached_property
    def _covered(self) -> Bools:
        return np.isin(np.arange(len(self.widths)), self.layer)

    def _with(self, widths: NDArray[Any]) -> NDArray[np.int64]:
        """Widths of all layers, these of the covered ones."""
        return np.where(self._covered, np.r_[widths, 0], self.widths).astype(np.int64)

    def _exact(self, widths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cost of widths (..., layers)."""
        below, above = widths[..., :-1], widths[..., 1:]
        cost: NDArray[np.int64] = (-(-below * above // np.array(self.reuse)) + self.bias * above).sum(axis=-1)
        return cost

    def _smooth(self, widths: NDArray[Any]) -> float:
        below, above = widths[:-1].astype(float), widths[1:].astype(float)
        return float((below * above / np.array(self.reuse) + self.bias * above).sum())

    @cached_property
    def _exact_full(self) -> int:
        return int(self._exact(np.array(self.widths)))

    @property
    def target(self) -> Amount:
        return ceiling(self.asked, self._exact_full, True)

    @property
    def full(self) -> float:
        return self._smooth(np.array(self.widths))

    @property
    def goal(self) -> float:
        return min(self.target, self._smooth(self._with(self.limits.high)))

    @property
    def trivial(self) -> bool:
        return self.target >= self._exact_full and not self.limits.cut(self.layer)

    @property
    def offset(self) -> float:
        fixed = np.where(self._covered, 0, self.widths)
        return float(self.bias * fixed[1:].sum())

    @property
    def kernel(self) -> tuple[F64 | None, I32, F64, F64]:
        linear = np.where(self.layer > 0, 1.0, 0.0) if self.bias else None
        fixed = np.where(self._covered, 0, self.widths).astype(float)
        return linear, self.layer, fixed, 1.0 / np.array(self.reuse, float)

    def open_part(self, budget: F64) -> F64:
        closed = np.where(self._covered, 0, self.widths)
        nothing, half, everything = (
            self._smooth(w) for w in (closed, 0.5 * (closed + np.array(self.widths)), np.array(self.widths))
        )
        # the cost is nothing + linear x + square x^2
        square = 2 * (nothing + everything - 2 * half)
        linear = everything - nothing - square
        root = np.sqrt(np.maximum(linear**2 + 4 * square * (budget - nothing), 0))
        return np.asarray(2 * (budget - nothing) / (linear + root))

    def used(self, keep: Bools) -> int:
        return int(self._exact(self._kept(keep)))

    def _kept(self, keep: Bools) -> NDArray[np.int64]:
        return self._with(np.bincount(self.layer[keep], minlength=len(self.widths) - 1))

    def price(self, order: Nodes) -> NDArray[np.int64]:
        added = self.layer[order][:, None] == np.arange(len(self.widths) - 1)
        widths = np.tile(self.widths, (len(order), 1))
        widths[:, self._covered] = np.cumsum(added, axis=0)[:, self._covered[:-1]]
        return self._exact(widths)

    def best(self, values: F64) -> tuple[Bools, float]:
        ranked = {one: _ranked(values, self.layer, one) for one in np.unique(self.layer)}
        choices = [
            np.arange(self.limits.low[i], self.limits.high[i] + 1, self.limits.multiple)
            if i in ranked
            else [w]
            for i, w in enumerate(self.widths)
        ]
        gains = [
            _sums(values[ranked[i]])[widths] if i in ranked else np.zeros(1)
            for i, widths in enumerate(choices)
        ]
        here = np.arange(len(choices[0]))
        stages = [Stage(0 * here, here, 0 * here, gains[0])]
        for (below, above), gain, r in zip(pairwise(choices), gains[1:], self.reuse, strict=True):
            start, end = (a.ravel() for a in np.indices((len(below), len(above))))
            n_in, n_out = np.asarray(below)[start], np.asarray(above)[end]
            stages.append(Stage(start, end, -(-n_in * n_out // r) + self.bias * n_out, gain[end]))
        path = best_path(stages, self.target)
        keep = np.zeros(len(values), np.bool_)
        for i, (stage, edge) in enumerate(zip(stages, path.edges, strict=True)):
            if i in ranked:
                keep[ranked[i][: choices[i][stage.end[edge]]]] = True
        return keep, path.short

    def blocks(self, keep: Bools, scores: F64) -> list[Block]:
        found, m, widths = list[Block](), self.limits.multiple, self._kept(keep)
        now = self._exact(widths)
        for one in np.unique(self.layer):
            if widths[one] + m <= self.limits.high[one]:
                more = widths + m * (np.arange(len(widths)) == one)
                of = _ranked(scores, self.layer, one)
                nodes = of[~keep[of]][:m]
                found.append((float(scores[nodes].mean()), int(self._exact(more) - now), nodes))
        return found


def ceiling(asked: Amount, full: Amount, whole: bool) -> Amount:
    """What a cost may reach: an int, or a fraction of the full cost, rounded down if costs are whole."""
    if not isinstance(asked, numbers.Integral):
        return math.floor(asked * full * (1 + 1e-12)) if whole else asked * full
    return asked


def check_ceiling(name: str, asked: Amount, full: Amount, least: Amount, whole: bool) -> None:
    """Refuse a cost budget below the least the limits per layer allow."""
    target = ceiling(asked, full, whole)
    if target < least:
        shown = f"{asked!r}" if target == asked else f"{asked!r}, {target:g} of {full:g}"
        raise ValueError(f"{name} is {shown}; the smallest that this network can meet is {least}")


def _ranked(scores: F64, layer: I32, one: int) -> Nodes:
    """Nodes of a layer, best first, ties by index."""
    of = np.flatnonzero(layer == one)
    return of[np.argsort(-scores[of], kind="stable")]


def _sums(values: F64) -> F64:
    """Of the first 0, 1, 2, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _one_by_one(
    costs: NDArray[Any], gains: F64, widths: NDArray[np.integer[Any]]
) -> list[tuple[Stage, NDArray[np.int64]]]:
    """Stages that take a node or not, count those taken, and end at one of `widths`; what each edge takes."""
    n, stages = len(costs), []

    def states(done: int) -> NDArray[np.int64]:
        """Counts after so many nodes from which one of `widths` can still be reached."""
        counts = np.arange(min(done, int(widths[-1])) + 1)
        return counts[widths[np.searchsorted(widths, counts)] <= counts + n - done]

    now = states(0)
    for i, (cost, gain) in enumerate(zip(costs, gains, strict=True)):
        after = states(i + 1)
        start, taken = (a.ravel() for a in np.indices((len(now), 2)))
        reached = now[start] + taken
        possible = np.isin(reached, after)
        start, taken, reached = start[possible], taken[possible], reached[possible]
        end = np.searchsorted(after, reached) if i + 1 < n else np.zeros_like(start)
        stages.append((Stage(start, end, taken.astype(costs.dtype) * cost, taken * gain), taken))
        now = after
    return stages
