"""One training for every node count: nested sub-networks that share their weights.

The scores of the shadow order all nodes, so that the networks of the K best nodes are nested. They are
trained together (csrc/path.c has the equations):

1. With soft gates. Every step passes over its rows with all nodes open, under the smallest budget there
   is yet, and under one drawn above it, log-uniformly. The smallest falls by the same factor in every
   step, so that the order of the nodes can settle at every size.
2. Then the order is fixed, and the node counts are cut into bands. The topmost goes on with the whole
   network, all nodes open and a count drawn from the band in every step. Each band below copies the nodes
   it can have, and is trained on in the same way. A small network gains most: it no longer shares its
   weights with one ten times its size, and costs next to nothing.

The whole network learns from the labels. The others learn half from the labels, half from what the whole
network says.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .network import Network
from .shadow import Group, ShadowNetwork
from .training import F32, History, Settings, live_weight_decay, new_trainer, run_steps

Order = NDArray[np.int32]

N_KNOTS = 9  # node counts, equally far apart in their logarithm, at which corrections stand and bands end
TOPMOST = 0.35  # of the nodes: where the topmost band begins
MAIN = 0.8  # part of the epochs for the whole network
SOFT = 0.7  # part of these with soft gates
FALL = 0.6  # part of these during which the smallest budget falls
LEARNS_AS = 0.44  # the whole network learns at the rate of one that keeps this part of the nodes


@dataclass(frozen=True)
class Band:
    """Nested networks of some range of node counts.

    Attributes
    ----------
    network : Network
        The largest of them, the best nodes of each layer first.
    rank : ndarray of shape (n_nodes,), int32
        Of the hidden nodes: those below K make the network of K nodes.
    knots : tuple of int
        Node counts that corrections are known for, rising to all nodes of `network`, which need none.
    gain : ndarray of shape (n_knots - 1, n_inputs + n_nodes), float32
        What the outputs of a node are multiplied with, less one.
    shift : ndarray of shape (n_knots - 1, n_nodes + n_outputs), float32
        What is added to the biases.
    """

    network: Network
    rank: Order
    knots: tuple[int, ...]
    gain: F32
    shift: F32

    def correction(self, n_nodes: int) -> tuple[F32, F32]:
        """Gain and shift at a node count: linear in its logarithm."""
        hats = np.eye(len(self.knots))[:-1]  # one at a knot, zero at the others
        part = np.array([np.interp(np.log(n_nodes), np.log(self.knots), hat) for hat in hats], np.float32)
        return part @ self.gain, part @ self.shift

    def corrected(self, n_nodes: int) -> Network:
        """The whole network with the corrections of a node count folded in."""
        network = self.network.copy()
        gain, shift = self.correction(n_nodes)
        gains, shifts = network.split(1 + gain), np.split(shift, np.cumsum(network.widths[1:-1]))
        for w, b, of_inputs, added in zip(network.weights, network.biases, gains, shifts, strict=True):
            np.multiply(w, of_inputs[:, None], out=w)
            np.add(b, added, out=b)
        return network

    def keep(self, n_nodes: int) -> list[NDArray[np.bool_]]:
        """Masks of the nodes of a network: inputs, then each hidden layer."""
        inputs = np.ones(self.network.widths[0], np.bool_)
        return self.network.split(np.concatenate([inputs, self.rank < n_nodes]))

    def at(self, n_nodes: int) -> Network:
        """The network of so many nodes."""
        return self.corrected(n_nodes).reduce(self.keep(n_nodes))


@dataclass(frozen=True)
class Family:
    """Networks of every node count from the smallest to all, in bands one above the other."""

    bands: tuple[Band, ...]

    @property
    def whole(self) -> Band:
        """The band that the others were copied from."""
        return self.bands[-1]

    def at(self, n_nodes: int) -> Network:
        """The network of so many nodes."""
        return next(b for b in self.bands if n_nodes <= b.knots[-1]).at(n_nodes)


def train_nested(
    network: Network,
    smallest: int,
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
    """Train the networks of every node count from `smallest` to all, in one run.

    Parameters
    ----------
    network : Network
        Where to start; not changed.
    smallest : int
        Nodes of the smallest network.
    x, target : ndarray of shape (n, n_inputs) and (n, n_outputs), float32
        Rows.
    weight : ndarray of shape (n,), float32, or None
        Weights of the rows, with mean one.
    settings : Settings
        Without `weight_decay`: between those of the largest and the smallest network; that of its largest in
        a band. The learning rate is not used.
    rng : numpy.random.Generator
        Order of the rows, and the budgets drawn.
    learning_rate : callable
        Largest learning rate of a network that keeps this part of the nodes.
    scores : numpy.random.Generator
        Initial scores.
    progress : callable, optional
        Called with the history so far after every epoch.

    Returns
    -------
    family : Family
    history : History
        Loss and learning rate are those of the whole network, then means over the bands; `n_nodes` the
        smallest budget trained under.

    Raises
    ------
    ValueError
        If the training diverges.
    """
    history = History()
    n = len(x)
    whole_run = replace(settings, learning_rate=learning_rate(LEARNS_AS))
    main = _Nested.over(network, smallest, whole_run, scores, n)
    bands: list[_Nested] = []

    def note(loss: float, at: Sequence[_Nested]) -> None:
        history.loss.append(loss)
        history.learning_rate.append(at[0].last)
        history.weight_decay.append(float(np.mean([one.decay for one in at])))
        history.n_nodes.append(min(one.smallest_open() for one in at))
        if progress:
            progress(history)

    try:
        for _ in range(main.epochs):
            note(main.epoch(x, target, weight, rng), [main])
        whole = main.band()
        bands = main.below(n, learning_rate)
        taught = _taught(whole.network, x, target, settings.loss)
        for _ in range(bands[0].epochs if bands else 0):
            note(float(np.mean([one.epoch(x, taught, weight, rng) for one in bands])), bands)
    except KeyboardInterrupt:
        warnings.warn(
            f"training interrupted in epoch {len(history.loss) + 1} of {n_epochs(settings)}; the networks "
            "have the nodes asked for but are less trained",
            RuntimeWarning,
            stacklevel=3,  # the line that called fit
        )
        bands = bands or main.below(n, learning_rate)
    return Family((*(one.band() for one in bands), main.band())), history


def n_epochs(settings: Settings) -> int:
    """Epochs of the whole run: no network sees more than `settings` say, but not all at the same time."""
    return _main_epochs(settings) + _band_epochs(settings)


def _band_epochs(settings: Settings) -> int:
    return settings.epochs - round(SOFT * _main_epochs(settings))


def _main_epochs(settings: Settings) -> int:
    return max(1, round(MAIN * settings.epochs))


def _taught(network: Network, x: F32, target: F32, loss: str) -> F32:
    """Targets halfway between the labels and what the network says."""
    _, off = _core.loss(loss, network.forward(x, keep=False), target)  # prediction less target, over n
    taught: F32 = target + np.float32(0.5 * len(x)) * off
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


class _Nested:
    """One nested training: the trainer, and where the schedule stands."""

    def __init__(
        self, network: Network, knots: list[int], settings: Settings, decay: float, epochs: int, n_rows: int
    ) -> None:
        self.network = network
        self.knots = knots
        self.settings = settings
        auto = settings.weight_decay is None
        self.decay = settings.decay_factor * decay if auto else settings.weight_decay
        self.epochs = epochs
        self.n_steps = epochs * -(-n_rows // settings.batch_size)
        self.step = 0
        self.last = 0.0  # learning rate of the last step
        self.rank: Order | None = None
        self.low = knots[0]  # smallest budget there will be
        self.lowest = False  # of the bands
        self.layer = np.repeat(np.arange(1, len(network.widths) - 1, dtype=np.int32), network.widths[1:-1])
        self.trainer = new_trainer(network, settings)

    @classmethod
    def over(
        cls, network: Network, smallest: int, settings: Settings, scores: np.random.Generator, n_rows: int
    ) -> _Nested:
        """All node counts of a network, the order of its nodes still open."""
        n = network.n_nodes
        shadow = ShadowNetwork(network, smallest, random_state=scores)
        knots = sorted({round(k) for k in np.geomspace(smallest, n, N_KNOTS)})
        share = smallest / n
        weights = [
            w * (share if 0 < i < len(network.widths) - 1 else 1) for i, w in enumerate(network.widths)
        ]
        small = sum(a * b for a, b in pairwise(weights))
        decay = math.sqrt(live_weight_decay(network.n_multiplications) * live_weight_decay(small))
        made = cls(network, knots, settings, decay, _main_epochs(settings), n_rows)
        made._set_path(shadow.groups[0])
        return made

    def below(self, n_rows: int, learning_rate: Callable[[float], float]) -> list[_Nested]:
        """Bands of the node counts below the topmost one, from where the order was fixed."""
        self.fix_order()
        edges = [k for k in self.knots if k <= self.low]
        rates = [learning_rate(high / self.knots[-1]) for high in edges[1:]]
        bands = [
            _Nested.within(self.shared, low, high, replace(self.settings, learning_rate=rate), n_rows)
            for (low, high), rate in zip(pairwise(edges), rates, strict=True)
        ]
        if bands:
            bands[0].lowest = True
        return bands

    @classmethod
    def within(cls, whole: Band, low: int, high: int, settings: Settings, n_rows: int) -> _Nested:
        """Node counts from low to high, from where the whole network stands."""
        network = whole.at(high)
        made = cls(
            network,
            [low, high],
            settings,
            live_weight_decay(network.n_multiplications),
            _band_epochs(settings),
            n_rows,
        )
        keep = np.concatenate(whole.keep(high))
        shadow = ShadowNetwork(network, low, random_state=0)
        made._set_path(shadow.groups[0])
        made.rank = whole.rank[keep[network.widths[0] :]]
        made.trainer.freeze(made.rank)
        (gain, shift), (to_gain, to_shift) = whole.correction(low), whole.correction(high)
        outputs = np.ones(network.widths[-1], np.bool_)
        made.trainer.set_corrections(
            ((1 + gain) / (1 + to_gain) - 1)[None, keep],
            (shift - to_shift)[None, np.concatenate([keep[network.widths[0] :], outputs])],
        )
        return made

    def _set_path(self, group: Group) -> None:
        self.group = group
        self.trainer.set_shadow([(group.index, group.scores, None, group.rate)])
        self.trainer.set_path(np.array(self.knots, float), 3)

    def epoch(self, x: F32, target: F32, weight: F32 | None, rng: np.random.Generator) -> float:
        """One pass over the rows, in two pieces where the order becomes fixed inside it; mean loss."""
        batch = self.settings.batch_size
        order = rng.permutation(len(x)).astype(np.int32)
        begin, finish, losses = self.step, max(1, round(SOFT * self.n_steps)), []
        end = begin + -(-len(x) // batch)
        while self.step < end:
            to = min(end, finish) if self.rank is None else end
            rows = order[(self.step - begin) * batch : (to - begin) * batch]
            losses.append(self._advance(x, target, weight, rows, np.arange(self.step, to), rng))
            self.step = to
            if self.rank is None and self.step >= finish:
                self.fix_order()
        if self.rank is None:
            self._best_first(-self.trainer.get_shadow()[0])  # before the next epoch
        return float(np.mean(np.concatenate(losses)))

    def _advance(
        self, x: F32, target: F32, weight: F32 | None, rows: Order, steps: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:  # fmt: skip
        part, n = steps / self.n_steps, self.knots[-1]
        low, none = self._smallest(part), np.full(len(steps), float(n))  # all nodes are no pass of their own
        above = rng.random(len(steps))
        if self.lowest:  # elsewhere the smallest is the largest of the band below
            above = np.maximum(2 * above - 1, 0)
        drawn = low * (n / low) ** above
        if self.rank is None:  # two budgets near all nodes say the same
            budgets = np.stack([low, np.where(low > TOPMOST * n, none, drawn)], axis=1)
        else:
            budgets = np.stack([none, np.rint(drawn)], axis=1)
        losses, self.last = run_steps(
            self.trainer, self.settings, (x, target, weight), rows, steps, self.n_steps,
            np.full(len(steps), self.decay), budgets, self.group.temperature(part)[:, None],
        )  # fmt: skip
        return losses

    def _smallest(self, part: NDArray[Any]) -> NDArray[np.float64]:
        """Smallest budget: with soft gates it falls by the same factor in every step, then it is fixed."""
        if self.rank is not None:
            return np.full(len(part), float(self.low))
        small, n = self.knots[0], self.knots[-1]
        falling: NDArray[np.float64] = n * (small / n) ** np.minimum(part / SOFT / FALL, 1.0)
        return falling

    def smallest_open(self) -> float:
        """The smallest budget by now."""
        return float(self._smallest(np.array([self.step / self.n_steps]))[0])

    def fix_order(self) -> Order:
        """Nodes come and go in the order of their scores from now on; their ranks."""
        if self.rank is None:
            rank = _ranks(self.trainer.get_shadow()[0], self.layer)
            self.trainer.freeze(rank)
            rank = rank[self._best_first(rank)]
            self.shared = self._band(rank)
            self.low = max([k for k in self.knots if k <= TOPMOST * self.knots[-1]], default=self.knots[0])
            self.lowest = self.low == self.knots[0]
            self.rank = rank  # last: a Ctrl-C before this line finds the order open, and fixes it again
        return self.rank

    def _best_first(self, key: NDArray[Any]) -> NDArray[np.int32]:
        """The nodes of each layer in the order of a key: closed ones then lie behind and cost nothing."""
        hidden = np.lexsort((key, self.layer)).astype(np.int32)
        n_inputs = self.network.widths[0]
        inputs = np.arange(n_inputs, dtype=np.int32)
        self.trainer.permute(np.concatenate([inputs, n_inputs + hidden], dtype=np.int32))
        return hidden

    def band(self) -> Band:
        """The networks as they stand."""
        return self._band(self.fix_order())

    def _band(self, rank: Order) -> Band:
        network = self.network.copy()
        network.params[:] = self.trainer.get_state()[0]
        gain, shift = self.trainer.get_corrections()
        return Band(network, rank, tuple(self.knots), gain, shift)
