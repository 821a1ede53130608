"""When the levels of a path train, and for how long: see nested.py for what they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

FIRST = 0.72  # part of all nodes where the second level begins
STEP = 0.55  # part of its nodes where the level below another begins; the last two fall by equal factors
WHOLE = 0.8  # part of the epochs for the whole network
LENGTH_SECOND = 0.7  # part of its own for the second level, of 72 to 40 % of the nodes
LENGTH = 0.45  # the same for each level below it
FEW = 0.2  # part of all nodes up to which a level has few: it costs little
LENGTH_FEW = 0.55  # the same for it, and more as its epochs grow over those of all nodes; a last one has all
SOFT = 2 / 15  # soft epochs of the whole network and of the last level, as part of those of a single run
SOFT_BELOW = 1 / 15  # the same of each other level
MOST_ORDERS = 2.0  # times those of a single run, of which a last level has the more the longer it is
HALVING = 1 / 15  # part of the epochs of a single run after which the worse half of several orders goes
ALONE = 1 / 3  # the same in which, after a last level of few, its smallest network trains alone


@dataclass(frozen=True)
class Stage:
    """What one level does when; times in epochs."""

    top: int  # nodes of its network
    low: int  # its smallest count, once the order is fixed
    begin: int  # what its weights have seen already
    epochs: int
    soft: float  # with soft gates
    tries: int = 1  # orders it begins from
    halving: int = 0  # epochs after which the worse half of them goes, and so on until one is left
    alone: int = 0  # at last, of its smallest network with weights of its own

    @property
    def next_begin(self) -> int:
        """What the weights of the next level have seen."""
        return self.begin + max(1, math.ceil(self.soft - 1e-9))

    def is_halved(self, seen: int) -> bool:
        """Whether the worse of several orders go once the weights have seen so many epochs."""
        return seen > self.next_begin and (seen - self.next_begin) % self.halving == 0


def _counts(n: int, smallest: int) -> list[int]:
    """Node counts between which the levels lie, from all to the smallest; the last two share what remains."""
    counts, below = [n], min(round(FIRST * n), n - 1)
    while STEP * below >= smallest:
        counts.append(below)
        below = round(STEP * below)
    between = round(math.sqrt(counts[-1] * smallest))
    if len(counts) > 1 and smallest < between < counts[-1]:
        counts.append(between)
    return [*counts, smallest]


def stages_of(n: int, smallest: int, epochs: Callable[[float], int], orders: int) -> list[Stage]:
    """All levels; but in a last one of few no network sees more epochs than a single run of the smallest.

    `orders`: how many a single run of few nodes tries.
    """
    whole = epochs(1.0)
    counts = _counts(n, smallest)
    stages = [Stage(n, counts[1], 0, max(1, round(WHOLE * whole)), SOFT * whole)]
    for top, low in pairwise(counts[1:]):
        begin, most = stages[-1].next_begin, epochs(low / n)
        if begin >= most:
            break
        part = LENGTH_SECOND if len(stages) == 1 else LENGTH
        if top <= FEW * n:
            part = LENGTH_FEW * most / whole
        length = min(max(1, round(part * most)), most - begin)
        stages.append(Stage(top, low, begin, length, SOFT_BELOW * most))
    last = replace(stages.pop(), low=smallest)
    if stages:
        few, single = last.top <= FEW * n, epochs(smallest / n)
        length = single if few else last.epochs
        last = replace(last, epochs=length, soft=min(SOFT * single, length / 2))
        if few:
            hard = last.begin + last.epochs - last.next_begin
            tries = min(max(1, round(orders * min(MOST_ORDERS, single / whole))), 2**hard)
            halving = max(1, round(HALVING * single))
            alone = max(1, round(ALONE * single))
            last = replace(last, tries=tries, halving=halving, alone=alone)
    return [*stages, last]


def epochs_below(stages: list[Stage]) -> range:
    """Epochs of the levels below the whole network, by what the first of them has seen."""
    below = stages[1:]
    return range(below[0].begin, max(one.begin + one.epochs for one in below)) if below else range(0)


def count_epochs(stages: list[Stage]) -> int:
    """Epochs of the whole run, in which not all levels train at the same time."""
    return stages[0].epochs + len(epochs_below(stages)) + stages[-1].alone
