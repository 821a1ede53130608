"""Budgets in numbers: what each tells the kernel, and which nodes remain at the hard finish.

Here what all of them share, and counts, which the C core finishes; costs are in :mod:`shadowprune._costs`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _core

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
I32 = NDArray[np.int32]
Amount: TypeAlias = "int | float"

# Gates below this hardly open again: of 1,168 nodes kept in 16 trainings on jets 4 had been there. What is
# left may add up to less than the schedule asks for: training caps a count at the number of nodes left.
CLOSED = 1e-2


@dataclass(frozen=True)
class BudgetReport:
    """What became of one budget.

    Attributes
    ----------
    name : str
        Which: "nodes", "per_layer[0]", "inputs", "weighted", "multiplications", "multipliers" or "weights".
    asked, used : int or float
        The number asked for, fractions worked out, and the one of the nodes kept.
    next_node : int, float or None
        Cost of the cheapest further node (of `multiple` nodes of one layer) that the limits per layer still
        allow; None if they allow none, and for counts.
    short : float
        Bound on how much better, in summed scores, another choice of nodes could have been; 0 if none is,
        which was proved.
    """

    name: str
    asked: Amount
    used: Amount
    next_node: Amount | None = None
    short: float = 0.0

    @property
    def slack(self) -> Amount:
        """What was left over: 0 for a count, below `next_node` for a cost."""
        return max(self.asked - self.used, 0)  # a sum may round above the budget it met


@dataclass(frozen=True)
class Limits:
    """Nodes per layer, inputs first: at least and at most, in multiples; zero where no budget covers them."""

    low: I32
    high: I32
    multiple: int
    width: NDArray[np.int64]

    def cut(self, layer: I32) -> bool:
        """Whether they forbid some of these layers to stay as they are."""
        where = np.unique(layer)
        return bool((self.high[where] < self.width[where]).any())


@dataclass(frozen=True)
class Constraint(ABC):
    """One budget over some gates of a network, in numbers.

    index: places among all gates; layer: of each, 0 the inputs. full and goal: C with all gates open and
    where the schedule ends. offset: a part of the cost that no gate has a share in, unknown to the kernel.
    """

    name: str
    index: I32
    layer: I32
    limits: Limits

    @property
    def offset(self) -> float:
        return 0.0

    @property
    @abstractmethod
    def full(self) -> float: ...
    @property
    @abstractmethod
    def goal(self) -> float: ...
    @property
    @abstractmethod
    def target(self) -> Amount:
        """What the nodes kept cost at most: for a count, exactly."""

    @property
    @abstractmethod
    def trivial(self) -> bool:
        """Whether everything may stay, so that there is nothing to train."""

    @property
    def may_shrink(self) -> bool:
        """Whether nodes may leave the computation before the hard finish."""
        return False

    @property
    @abstractmethod
    def kernel(self) -> _core.Cost:
        """The cost as the C core takes it."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def select(self, scores: F64) -> tuple[Bools, float]:
        """Nodes to keep, and a bound on the summed score this may miss."""

    @abstractmethod
    def report(self, keep: Bools, short: float) -> BudgetReport: ...

    def idle(self, scores: F64, gates: NDArray[np.float32]) -> Bools:
        """Nodes that may leave the computation: they will not open again, nor does the finish choose them."""
        return np.zeros(len(scores), np.bool_)

    def open_part(self, budget: F64) -> F64:
        """Part of each covered layer that is open at these C, were all of them cut alike."""
        return budget / self.full


@dataclass(frozen=True)
class Count(Constraint):
    """So many nodes, exactly."""

    keep: int

    @property
    def full(self) -> float:
        return len(self.index)

    @property
    def goal(self) -> float:
        return self.keep

    @property
    def target(self) -> int:
        return self.keep

    @property
    def trivial(self) -> bool:
        return self.keep == len(self.index)

    @property
    def may_shrink(self) -> bool:
        return self.limits.multiple == 1 and not self.limits.cut(self.layer)

    @property
    def kernel(self) -> None:
        return None

    def __str__(self) -> str:
        return f"{self.keep} of {len(self.index)} {self.name}"

    def select(self, scores: F64) -> tuple[Bools, float]:
        layers = int(self.layer.max()) + 1
        low, high = self.limits.low[:layers], self.limits.high[:layers]
        return _core.select(scores, self.layer, self.keep, low, high, self.limits.multiple), 0.0

    def idle(self, scores: F64, gates: NDArray[np.float32]) -> Bools:
        if not self.may_shrink:
            return super().idle(scores, gates)
        order = np.lexsort((np.arange(len(scores)), -scores))
        spare = np.zeros(len(scores), np.bool_)
        spare[order] = rank_in_layer(self.layer[order]) >= self.limits.low[self.layer[order]]
        spare[order[: self.keep]] = False  # of very many nodes all gates may be small for a while
        return spare & (gates < CLOSED)

    def report(self, keep: Bools, short: float) -> BudgetReport:
        return BudgetReport(self.name, self.keep, int(keep.sum()))


def rank_in_layer(layer: I32) -> NDArray[np.int64]:
    """Of each node among those of its layer, in the order given."""
    rank = np.zeros(len(layer), np.int64)
    for one in np.unique(layer):
        of = layer == one
        rank[of] = np.arange(of.sum())
    return rank
