"""One training for every node count: nested sub-networks that share their weights.

The scores of a shadow order all nodes, so that the networks of the K best nodes are nested. They are trained
in levels, one after the other (csrc/path.c has the equations):

1. With soft gates, for a few epochs. A step passes over its rows with all nodes of the level open, under the
   smallest budget there is, and every other step under one drawn above it, log-uniformly. In the first level,
   which is the whole network, the smallest budget falls by the same factor in every step, so that the order
   of the nodes can settle at every size; in the others it is the smallest from the start, and the drawn
   budget takes the place of all nodes; with several orders a step has one pass alone, under the smallest
   budget or, every other step, the drawn one.
2. Then the order is fixed, and the level goes on with its upper counts alone: a step passes one of these,
   drawn log-uniformly, and often the smallest or the largest; in the first level every other time all
   nodes. What lies below is copied and makes the next level, which finds the order of its nodes anew.

So few nodes are not chosen in a network of many, and counts share their weights with those close to them. The
smaller a level, the less it costs. The last one, if it is small, begins from several orders as a single run
does, leaves the worse half of them behind, again and again (`_orders.fewer`), and trains for as long as that
run. At last its smallest network trains on with weights of its own, at a low learning rate.

The first level learns from the labels, all below three tenths from these, seven from what the whole
network says in the end. While gates are soft, the later passes of a step learn half from the first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._defaults import WeightDecay
from ._family import Band, Family, Order
from ._levels import Stage, count_epochs, epochs_below
from ._orders import apart, area_under_curves, fewer
from .network import Network
from .shadow import Group, ShadowNetwork
from .training import F32, History, Rows, Settings, new_trainer, run_steps, shuffled

KNOT = 8  # corrections stand at node counts no further apart than this, as a factor
FALL = 0.6  # part of its soft epochs in which the smallest budget of the whole network falls
LARGE = 0.35  # of the nodes: while the smallest budget is larger, one drawn above it says the same
WARM = 0.5  # temperature at which a level below begins, of that of the whole network
RISE = 0.3  # that of the whole network rises from 1 - RISE to 1 + RISE times
BEYOND = 0.25  # draws of the largest count of a level, as a part of the log-uniform ones
BEYOND_WHOLE = 1.5  # the same in the first level, once its order is fixed
BELOW = 0.3  # the same of the smallest count, once the order is fixed; it gains most
SLOWER = 0.3  # of a single run's learning rate, for the smallest network alone
SAME = 2  # epochs of all levels below that take the rows in the same order
TAUGHT = 0.7  # part of the targets of all levels below that the whole network says; the rest are labels


def train_nested(
    network: Network,
    stages: list[Stage],
    x: F32,
    target: F32,
    weight: F32 | None,
    settings: Settings,
    rng: np.random.Generator,
    *,
    learning_rate: Callable[[float], float],
    scores: np.random.Generator,
    progress: Callable[[History], None] | None = None,
) -> tuple[Family, History]:
    """Train the networks of every node count from that of the last stage to all, in one run.

    Parameters
    ----------
    network : Network
        Where to start; not changed.
    stages : list of Stage
        What the levels do when.
    x, target : ndarray of shape (n, n_inputs) and (n, n_outputs), float32
        Rows.
    weight : ndarray of shape (n,), float32, or None
        Weights of the rows, with mean one.
    settings : Settings
        A `weight_decay` that follows the size is that of a single run for the whole network, where it rises
        from .7 to 1.3 times that, and a quarter of that of its largest in a level below (half of it with
        several classes, less where rows are many), or more where data are very scarce or classes outnumber
        the nodes of a layer; the smallest network alone has that of the last level. Learning rate and epochs
        are not used.
    rng : numpy.random.Generator
        Order of the rows, and the budgets drawn.
    learning_rate : callable
        Largest learning rate of a network that keeps this part of the nodes.
    scores : numpy.random.Generator
        Initial scores, and those of the orders that a small last level begins from.
    progress : callable, optional
        Called with the history so far after every epoch.

    Returns
    -------
    family : Family
    history : History
        Of the whole network, then of the levels below, then of the smallest alone: loss and weight
        decay are means over those in training (the last level once for each order that is tried), the
        learning rate is that of the largest, `n_nodes` the smallest budget trained under.

    Raises
    ------
    ValueError
        If the training diverges.
    """
    n, n_all, smallest = len(x), network.n_nodes, stages[-1].low
    journal = _Journal(count_epochs(stages), progress)
    levels = [_Level.whole(network, stages, settings, scores, n, lambda nodes: learning_rate(nodes / n_all))]
    rivals: list[_Level] = []  # other orders of the last level

    def train(active: list[_Level], rows: Rows, order: Order) -> None:
        """One epoch of some levels, which take the rows in the same order.

        Of several orders of the last one, those that diverge go.
        """
        journal.begun += 1
        losses = []
        for one in active:
            try:
                losses.append(one.epoch(rows, order, rng))
            except ValueError:
                if one in rivals:
                    rivals.remove(one)
                elif one is levels[-1] and rivals:
                    levels[-1] = rivals.pop(0)
                else:
                    raise
        decay = float(np.mean([one.last[1] for one in active]))
        fewest = min(one.smallest_open() for one in active)
        journal.note(float(np.mean(losses)), active[0].last[0], decay, fewest)

    def loss_of(one: _Level) -> float:
        return one.loss(x, taught, weight)

    def worse(one: _Level) -> float:
        """Of several classes what the loss has left is told apart as in a single run."""
        several = settings.loss == "categorical_crossentropy"
        return -area_under_curves(one.outputs(x), target, weight) if several else loss_of(one)

    try:
        for _ in range(stages[0].epochs):
            train(levels, (x, target, weight), shuffled(n, rng))
        taught = _taught(levels[0].band().network, x, target, settings.loss)
        below = _laid_out((x, taught, weight), rng)
        for epoch in epochs_below(stages):
            if levels[-1].next_begin == epoch:
                above = levels[-1]
                levels.append(above.below())
                rivals += [above.below(scores) for _ in range(1, levels[-1].stages[0].tries)]
            train([one for one in levels[1:] + rivals if one.step < one.n_steps], *next(below))
            if rivals and stages[-1].is_halved(epoch + 1):
                first = len(rivals) + 1 == stages[-1].tries
                levels[-1], *rivals = fewer([levels[-1], *rivals], loss_of if first else worse)
    except KeyboardInterrupt:
        journal.interrupted()
        return _family(levels), journal.history
    family = _family(levels)
    if not stages[-1].alone:
        return family, journal.history
    settings = replace(
        settings,
        epochs=stages[-1].alone,
        learning_rate=SLOWER * learning_rate(smallest / n_all),
    )
    own = family.at(smallest)
    try:
        _train_alone(own, below, settings, levels[-1].decay, journal)
    except KeyboardInterrupt:
        journal.interrupted()
    return family.with_smallest(own), journal.history


@dataclass
class _Journal:
    """What happened by now."""

    n_epochs: int
    progress: Callable[[History], None] | None
    history: History = field(default_factory=History)
    begun: int = 0  # epochs

    def note(self, loss: float, rate: float, decay: float, n_nodes: float) -> None:
        """An epoch has ended."""
        self.history.loss.append(loss)
        self.history.learning_rate.append(rate)
        self.history.weight_decay.append(decay)
        self.history.n_nodes.append(n_nodes)
        if self.progress:
            self.progress(self.history)

    def interrupted(self) -> None:
        """Ctrl-C."""
        warnings.warn(
            f"training interrupted in epoch {self.begun} of {self.n_epochs}; the networks "
            "have the nodes asked for but are less trained",
            RuntimeWarning,
            stacklevel=4,  # the line that called fit
        )


def _train_alone(
    network: Network,
    epochs: Iterator[tuple[Rows, Order]],
    settings: Settings,
    decay: float,
    journal: _Journal,
) -> None:
    """Train a network in place, without a shadow."""
    trainer = new_trainer(network, settings)
    try:
        for epoch, (rows, order) in zip(range(settings.epochs), epochs, strict=False):
            journal.begun += 1
            per_epoch = -(-len(order) // settings.batch_size)
            steps = epoch * per_epoch + np.arange(per_epoch)
            n_steps, decays = settings.epochs * per_epoch, np.full(per_epoch, decay)
            losses, rate = run_steps(trainer, settings, rows, order, steps, n_steps, decays, None, None)
            journal.note(float(np.mean(losses)), rate, decay, float(network.n_nodes))
    finally:
        network.params[:] = trainer.get_state()[0]


def _laid_out(data: Rows, rng: np.random.Generator) -> Iterator[tuple[Rows, Order]]:
    """Rows and their order for one epoch after the other, without end; anew for every `SAME` of them.

    They lie in it, so that several trainings do not each fetch them from all over the memory, and always in
    the same arrays, as new ones would cost as much again.
    """
    x, target, weight = data
    laid = x.copy(), target.copy(), None if weight is None else weight.copy()
    turn = np.arange(len(x), dtype=np.int32)
    while True:
        order = shuffled(len(x), rng)
        for part, to in zip(data, laid, strict=True):
            if part is not None:
                np.take(part, order, axis=0, out=to, mode="clip")  # "raise" would write them twice
        for _ in range(SAME):
            yield laid, turn


def _family(levels: list[_Level]) -> Family:
    """The networks of all levels, each of which knows best in what order the nodes below come."""
    bands = [one.band() for one in levels]
    for i in reversed(range(1, len(levels))):
        bands[i - 1].rank[levels[i].nodes] = bands[i].rank
    place = np.arange(len(bands[0].rank))  # nodes of every level in the order of the whole
    for i, one in enumerate(levels[1:], 1):
        place = place[one.nodes]
        hidden = one._best_first(place)
        bands[i] = one._band(bands[i].rank[hidden])
    return Family(tuple(reversed(bands)))


def _taught(network: Network, x: F32, target: F32, loss: str) -> F32:
    """Targets between the labels and what the network says."""
    _, off = _core.loss(loss, network.forward(x, keep=False), target)  # prediction less target, over n
    taught: F32 = target + np.float32(TAUGHT * len(x)) * off
    return taught


def _ranks(scores: NDArray[np.float64], layer: NDArray[np.int32]) -> Order:
    """Order in which nodes come: the best of each layer, then by score; ties by index."""
    by_score = np.argsort(-scores, kind="stable")
    first = np.zeros(len(scores), np.bool_)
    first[[by_score[layer[by_score] == one][0] for one in np.unique(layer)]] = True
    order = by_score[np.argsort(~first[by_score], kind="stable")]
    rank = np.empty(len(scores), np.int32)
    rank[order] = np.arange(len(scores))
    return rank


class _Level:
    """Training of the networks of some range of node counts: the trainer, and where the schedule stands."""

    def __init__(
        self, network: Network, group: Group, stages: list[Stage], settings: Settings, n_rows: int,
        rate: Callable[[int], float],
    ) -> None:  # fmt: skip
        stage, per_epoch = stages[0], -(-n_rows // settings.batch_size)
        self.network = network
        self.group = group
        self.stages = stages  # this level, then those below
        self.settings = replace(settings, learning_rate=rate(stage.top))
        self.n_rows = n_rows
        self.rate = rate
        self.is_whole = stage.begin == 0
        decay, self.rise = settings.weight_decay, 0.0
        if isinstance(decay, WeightDecay):
            if self.is_whole:
                decay, self.rise = float(decay(network.widths)), RISE
            else:
                decay = decay.below(network.widths)
        self.decay = decay
        self.smallest = stages[-1].low
        self.low = stage.low
        self.next_begin = stages[1].begin if len(stages) > 1 else None
        self.n_steps = stage.epochs * per_epoch
        self.n_soft = min(max(1, round(stage.soft * per_epoch)), self.n_steps)
        self.step = 0
        self.last = (0.0, 0.0)  # learning rate and weight decay of the last step
        self.knots = _knots(self.smallest, stage.top)
        self.nodes = np.arange(stage.top)  # where its nodes were when the level above fixed its order
        self.layer = np.repeat(np.arange(1, len(network.widths) - 1, dtype=np.int32), network.widths[1:-1])
        self.rank: Order | None = None
        self.trainer = new_trainer(network, settings)
        self.trainer.set_shadow([(group.index, group.scores, None, group.rate)])
        self.trainer.set_path(np.array(self.knots, float), 3)

    @classmethod
    def whole(
        cls, network: Network, stages: list[Stage], settings: Settings, scores: np.random.Generator,
        n_rows: int, rate: Callable[[int], float],
    ) -> _Level:  # fmt: skip
        """The first level."""
        group = ShadowNetwork(network, stages[-1].low, random_state=scores).groups[0]
        return cls(network, group, stages, settings, n_rows, rate)

    def below(self, rng: np.random.Generator | None = None) -> _Level:
        """The counts that this level leaves, from where its order was fixed, or from nearly any order."""
        above, n_inputs = self.fixed, self.network.widths[0]
        keep = np.concatenate(above.keep(self.low))
        hidden = keep[n_inputs:]
        network = above.at(self.low)
        group = ShadowNetwork(network, self.smallest, random_state=0).groups[0]
        group.scores[:] = self.scores[hidden]
        if rng:
            group.scores += apart(group.layer, rng)
        made = _Level(network, group, self.stages[1:], self.settings, self.n_rows, self.rate)
        made.nodes = np.flatnonzero(hidden)
        to_gain, to_shift = above.correction(self.low)
        pairs = zip(*(above.correction(k) for k in made.knots[:-1]), strict=True)
        gain, shift = (np.array(pair, np.float32) for pair in pairs)
        outputs = np.ones(network.widths[-1], np.bool_)
        made.trainer.set_corrections(  # of a node that was hardly open the ratio says nothing
            np.clip((1 + gain) / (1 + to_gain), 0.5, 2)[:, keep] - 1,
            (shift - to_shift)[:, np.concatenate([hidden, outputs])],
        )
        return made

    def epoch(self, data: Rows, order: Order, rng: np.random.Generator) -> float:
        """One pass over the rows, in two pieces where the order becomes fixed inside it; mean loss."""
        batch = self.settings.batch_size
        begin, losses = self.step, []
        end = begin + -(-len(order) // batch)
        while self.step < end:
            to = min(end, self.n_soft) if self.rank is None else end
            rows = order[(self.step - begin) * batch : (to - begin) * batch]
            losses.append(self._advance(data, rows, np.arange(self.step, to), rng))
            self.step = to
            if self.rank is None and self.step >= self.n_soft:
                self.fix_order()
        if self.rank is None:
            self._best_first(-self.trainer.get_shadow()[0])  # before the next epoch
        return float(np.mean(np.concatenate(losses)))

    def _advance(
        self, data: Rows, rows: Order, steps: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        part, n = np.minimum(steps / self.n_soft, 1), self.knots[-1]
        low, none = self._smallest(part), np.full(len(steps), float(n))  # all nodes are no pass but the first
        soft = self.rank is None
        below = 0 if soft else BELOW
        beyond = BEYOND_WHOLE if self.is_whole and not soft else BEYOND
        drawn = low * (n / low) ** np.clip((1 + below + beyond) * rng.random(len(steps)) - below, 0, 1)
        if soft and self.is_whole:
            budgets = [none, low, np.where((low > LARGE * n) | (steps % 2 > 0), none, drawn)]
        elif soft and self.stages[0].tries > 1:
            budgets = [np.where(steps % 2, drawn, low), none, none]
        elif soft:
            budgets = [np.where(steps % 2, drawn, none), low, none]
        else:
            budgets = [np.rint(drawn), none, none]
        hot = self.group.hot * (1 if self.is_whole else WARM)
        decay = self.decay * (1 + self.rise * (2 * steps / self.n_steps - 1))
        losses, rate = run_steps(
            self.trainer, self.settings, data, rows, steps, self.n_steps, decay,
            np.stack(budgets, axis=1), (hot * (self.group.cold / hot) ** part)[:, None],
        )  # fmt: skip
        self.last = (rate, float(decay[-1]))
        return losses

    def _smallest(self, part: NDArray[Any]) -> NDArray[np.float64]:
        """Smallest budget in these parts of the soft steps; at first it falls by the same factor in each."""
        if self.rank is not None:
            return np.full(len(part), float(self.low))
        n = self.knots[-1]
        fallen = np.minimum(part / FALL, 1.0) if self.is_whole else np.ones(len(part))
        falling: NDArray[np.float64] = n * (self.smallest / n) ** fallen
        return falling

    def smallest_open(self) -> float:
        """The smallest budget by now."""
        return float(self._smallest(np.array([min(self.step / self.n_soft, 1)]))[0])

    def fix_order(self) -> Order:
        """Nodes come and go in the order of their scores from now on; their ranks."""
        if self.rank is None:
            rank = _ranks(self.trainer.get_shadow()[0], self.layer)
            self.trainer.freeze(rank)
            rank = rank[self._best_first(rank)]
            self.scores = self.trainer.get_shadow()[0]
            self.fixed = self._band(rank)
            self.rank = rank  # last: a Ctrl-C before this line finds the order open, and fixes it again
        return self.rank

    def _best_first(self, key: NDArray[Any]) -> NDArray[np.int32]:
        """The nodes of each layer in the order of a key: closed ones then lie behind and cost nothing."""
        hidden = np.lexsort((key, self.layer)).astype(np.int32)
        n_inputs = self.network.widths[0]
        inputs = np.arange(n_inputs, dtype=np.int32)
        self.trainer.permute(np.concatenate([inputs, n_inputs + hidden], dtype=np.int32))
        self.nodes = self.nodes[hidden]
        return hidden

    def outputs(self, x: F32) -> F32:
        """Of its smallest network."""
        return self.band().at(self.smallest).forward(x, keep=False)

    def loss(self, x: F32, target: F32, weight: F32 | None) -> float:
        """Of its smallest network."""
        return _core.loss(self.settings.loss, self.outputs(x), target, weight)[0]

    def band(self) -> Band:
        """The networks as they stand."""
        return self._band(self.fix_order())

    def _band(self, rank: Order) -> Band:
        network = self.network.copy()
        network.params[:] = self.trainer.get_state()[0]
        gain, shift = self.trainer.get_corrections()
        return Band(network, rank.copy(), tuple(self.knots), gain, shift)


def _knots(low: int, high: int) -> list[int]:
    """Node counts from low to high, equally far apart in their logarithm."""
    n = 1 + max(1, math.ceil(math.log(high / low) / math.log(KNOT)))
    return sorted({round(k) for k in np.geomspace(low, high, n)})
