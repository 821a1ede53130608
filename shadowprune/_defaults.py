"""What "auto" means: batch, learning rate, epochs and weight decay, from the data and the network.

docs/defaults.md has how these rules were chosen.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

DECAY = 0.6  # weight decay of a large network
LARGE = 15000  # weights from which on it is large
STUDIED = 14_912  # weights of 40-64-64-64-64-1, on which much data were seen to want less decay
ENOUGH = 0.15  # as many weights per row
SCARCEST = 5.0  # weights per target; decay grows with them up to here
SCARCE, FLATTEST = 7.0, 0.2  # from here on it falls less with the size of a network, by powers up to this
CROWDED = 1.5  # power of classes per node that decay is times; down to half of it below two nodes a layer
EARLY, LATE = 0.5, 1.5  # and times this while the budget falls, and after the hard finish
LESS, LESS_OF_CLASSES = 0.25, 0.5  # and times this in a path below the whole network; of several classes
PLENTY = 0.4  # weights per target below which rows are many
FADED = 0.2  # with them the fade falls from one at PLENTY down to this
SLOWER, SLOWER_ROWS = 0.5, (512, 16_384)  # scores of few nodes, of rows from here to there
EPOCHS, STEPS = 30, 3000  # at least
FEW, FEW_OF_MANY = 0.3, 0.6  # parts of the nodes below which epochs grow, of few and of many rows
LONGER_ROWS = 4096, 50_000  # from here to there they grow faster,
LONGER, LONGEST, SEEN = 1.25, 8.0, 3_000_000  # with this power, to so many times, or until these are seen,
LONGER_CLASSES = 2.0  # and up to so many classes per node
NARROW = 6  # nodes of a hidden layer up to which several orders of them are tried
ORDERS, FROM = (8, 64, 32, 16, 8), (512, 8192, 16_384, 32_768)  # so many; the next from so many rows on
FROM_OF_CLASSES = (512, 32_768, 65_536, 131_072)  # of several


def usual_batch_size(n_rows: int) -> int:
    """Rows a step: a power of two from 32 to 512."""
    return 32 << bisect_right((4096, 16384, 32768, 65536), n_rows)


def usual_learning_rate(batch_size: int, kept: float, classes: float = 1.0) -> float:
    """Largest learning rate for steps of so many rows, of a network that keeps this part of its nodes.

    0.005, and more for more than 512 rows, with their root; it goes against the root of the part kept, up to
    three times as much: a small network that comes out of a large one gains from it. Where classes outnumber
    the nodes of a layer, these get stuck early, and less so at a larger rate: times classes per node, again
    up to three times as much.
    """
    few = min(3.0, 1 / math.sqrt(kept))
    return float(5e-3 * max(1.0, math.sqrt(batch_size / 512)) * few * min(3.0, classes))


def usual_epochs(
    widths: Sequence[Any], n_rows: int, batch_size: int, loss: str, kept: float = 1.0,
    least: float | None = None,
) -> int:  # fmt: skip
    """Epochs of a network that keeps this part of its nodes: 30 to 240, or as many as make 3,000 steps.

    Few nodes are slow to train and cost little. So epochs grow with the root of a limit over the part kept,
    up to 60. The limit is .3 and rises, as weights per target (before the pruning) fall from .4 to .2, to
    .6; most problems of fewer rows lost by that. With 4,096 to 50,000 rows they grow with the power of
    1.25, up to 240 or to 3,000,000 rows seen; fewer rows lost by it. Not so where there are more than two
    classes per node of the average hidden layer, in a path of its smallest network, which keeps the part
    `least`.
    """
    scarcity = min(FEW_OF_MANY, max(FEW, FEW * PLENTY / weights_per_target(widths, n_rows))) / kept
    power, most = 0.5, 2.0
    classes = round(float(classes_per_node(widths, loss, kept if least is None else least)), 6)
    if LONGER_ROWS[0] <= n_rows < LONGER_ROWS[1] and classes <= LONGER_CLASSES:
        power, most = LONGER, min(LONGEST, SEEN / n_rows / EPOCHS)
    longer = min(most, max(1.0, float(scarcity**power)))
    return max(round(EPOCHS * longer), math.ceil(STEPS / math.ceil(n_rows / batch_size)))


def usual_orders(n_rows: int, loss: str) -> int:
    """Orders of few nodes to try: 8, and up to 64 where rows are few, but enough to tell which is better.

    Several classes gain more by them, and have as many with four times the rows.
    """
    limits = FROM_OF_CLASSES if loss == "categorical_crossentropy" else FROM
    return ORDERS[bisect_right(limits, n_rows)]


def usual_tries(widths: Sequence[Any], final: Sequence[Any], n_rows: int, loss: str) -> int:
    """Orders of the nodes to try, from the widths before and after the pruning.

    Where few nodes are left in the average hidden layer, one more or less in a layer decides.
    """
    nodes, kept = sum(widths[1:-1]), round(float(sum(final[1:-1])), 6)  # the sum of parts of layers
    return usual_orders(n_rows, loss) if kept < nodes and kept <= NARROW * (len(widths) - 2) else 1


def usual_score_rate(n_rows: int, loss: str) -> float:
    """Of the scores, where several orders are tried, times the usual rate.

    Half where rows are few, but enough to tell orders apart: what closes early there closes for too little
    reason. Not so of several classes, which lost by it.
    """
    few = SLOWER_ROWS[0] <= n_rows < SLOWER_ROWS[1]
    return SLOWER if few and loss != "categorical_crossentropy" else 1.0


def classes_per_node(widths: Sequence[Any], loss: str, kept: float = 1.0) -> Any:
    """Of the average hidden layer, this part of it kept, at least one; one without classes."""
    if loss != "categorical_crossentropy" or len(widths) < 3:
        return 1.0
    return np.maximum(1.0, widths[-1] / (kept * nodes_per_layer(widths)))


def nodes_per_layer(widths: Sequence[Any]) -> Any:
    """Of the hidden layers, in the mean."""
    return sum(widths[1:-1]) / (len(widths) - 2)


def live_weight_decay(n_weights: Any) -> Any:
    """Weight decay for a network of so many weights: 1 for 40-64-64-64-64-1, less for smaller ones.

    The square root follows the best values found per budget.
    """
    return np.sqrt(np.minimum(1.0, np.asarray(n_weights) / LARGE))


@dataclass(frozen=True)
class WeightDecay:
    """Weight decay that follows the live size of the network.

    Where classes outnumber the nodes of a layer, more decay helps as a larger learning rate does: it is times
    a power of classes per node, up to twice that of the whole network. With less than two nodes a layer some
    have one, and die of it: there the power is less. All this before `by_stage`.

    Parameters
    ----------
    widths : tuple of int
        Of the network that training begins with, among whose weights it chooses.
    factor : float
        For much or little data.
    flatter : float
        It falls less with the size, by this power of how many times more weights the whole network has.
    loss : str
        What the network learns.
    crowded : float
        The power of classes per node.
    early, late : float
        It is times these while the budget falls, and after the hard finish.
    fade : float
        Where classes crowd, half of this is the least it is times after the finish, and one over it a power
        of their crowding: one, or down to .2 where rows are many.
    """

    widths: tuple[int, ...]
    factor: float = 1.0
    flatter: float = 0.0
    loss: str = ""
    crowded: float = CROWDED
    early: float = EARLY
    late: float = LATE
    fade: float = 1.0

    def __call__(self, widths: Sequence[Any]) -> Any:
        """Weight decay at these widths, numbers or arrays."""
        n, n_whole = count_weights(widths), count_weights(self.widths)
        whole = live_weight_decay(n_whole)
        decay = np.minimum(whole, live_weight_decay(n) * (n_whole / n) ** self.flatter)
        return DECAY * self.factor * np.minimum(decay * self._crowding(widths), 2 * whole)

    def below(self, widths: Sequence[int]) -> float:
        """What it is in a path's levels below the whole network.

        A part of it, larger with several classes unless rows are many, and all of it where data are scarcest
        or classes crowd.
        """
        if classes_per_node(widths, self.loss) > 1:
            return float(self(widths))
        several = (self.fade - FADED) / (1 - FADED) if self.loss == "categorical_crossentropy" else 0.0
        part = LESS + several * (LESS_OF_CLASSES - LESS)
        return float(part ** (1 - self.flatter / FLATTEST) * float(self(widths)))

    def _crowding(self, widths: Sequence[Any]) -> Any:
        classes = classes_per_node(widths, self.loss)
        if np.all(classes == 1):
            return classes
        return classes ** (self.crowded * np.clip(nodes_per_layer(widths) - 1, 0.5, 1))

    def by_stage(self, final: Sequence[int]) -> NDArray[np.float64]:
        """What it is times in each stage of a shadow that leaves the `final` widths.

        Classifiers of fewer nodes gain by little while much is open, and more once the choice is made. The
        more classes there are for a node, the more of it the choice wants (from 1.59 on all), and the less
        is best at last, where rows are many above all.
        """
        if self.loss == "squared_error" or sum(final[1:-1]) == sum(self.widths[1:-1]):
            return np.ones(3)
        crowded = float(self._crowding(final))
        late = max(0.5 * self.fade, self.late / crowded ** (1 / self.fade))
        return np.array([min(1.0, self.early * crowded), 1.0, late])


def usual_weight_decay(widths: Sequence[int], n_rows: int, loss: str) -> WeightDecay:
    """Weight decay for so many rows.

    Next to a mean loss, a prior of the weights stands with one over the number of rows. So it is times the
    weights per target (a row, of more than two classes a row and a class), from 1 to 5, and down to half
    where a network of the usual size has less than .15 weights per row. From seven weights per target on
    classifiers have a decay that falls less with the size of the network, by a power of .2 from 12 on. Below
    four tenths of a weight per target, networks that have more classes than nodes in a layer end with less.
    """
    n_weights, per_target = count_weights(widths), weights_per_target(widths, n_rows)
    much = min(1.0, max(0.5, max(n_weights, STUDIED) / n_rows / ENOUGH))
    flatter = 0.0
    if loss != "squared_error":  # regressions lost by it
        flatter = min(FLATTEST, max(0.0, 0.5 * (1 - SCARCE / per_target)))
    factor = min(SCARCEST, max(1.0, per_target)) * much
    fade = min(1.0, max(FADED, per_target / PLENTY))
    return WeightDecay(tuple(widths), factor, flatter, loss, fade=fade)


def weights_per_target(widths: Sequence[int], n_rows: int) -> float:
    """Of a network before the pruning; a target is a row, or with several outputs a row of one of them."""
    return float(count_weights(widths) / n_rows / widths[-1])


def count_weights(widths: Sequence[Any]) -> Any:
    """Weights of dense layers, biases not counted."""
    return sum(a * b for a, b in pairwise(widths))
