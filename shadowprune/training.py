"""One training run: schedules, the loop over steps, the hard finish, and what happened."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._defaults import WeightDecay
from ._orders import apart, area_under_curves, best
from .fixedpoint import FixedNetwork
from .network import Network
from .qat import Quantiser
from .shadow import RAMP, STAGE, Group, ShadowNetwork, stage_of

F32 = NDArray[np.float32]
Rows = tuple[F32, F32, F32 | None]  # x, target, weight

WARMUP = 0.03  # part of the training over which the learning rate rises
CHOSEN = 0.65  # part of the training at which one of the orders is kept: while gates are soft, loss misleads


@dataclass
class History:
    """What happened, one entry per epoch.

    Attributes
    ----------
    loss : list of float
        Mean training loss.
    learning_rate, weight_decay : list of float
        At the last step of the epoch.
    n_nodes : list of float
        Open hidden nodes: the soft count during the gate stage, the exact one after it.
    validation_score : list of float
        Score on the validation rows, empty without early stopping.
    gates : list of ndarray
        Gates of inputs and hidden nodes after every epoch of the gate stage, float32.
    support : list of ndarray of bool
        Nodes kept of the network the run began with: inputs, then each hidden layer.
    gap : float
        Soft-to-hard gap at the hard finish: |K - sum of the kept gates| with K nodes kept, the largest over
        budgets.
    """

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    weight_decay: list[float] = field(default_factory=list)
    n_nodes: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    gates: list[F32] = field(default_factory=list)
    support: list[NDArray[np.bool_]] = field(default_factory=list)
    gap: float = 0.0


@dataclass
class Settings:
    """Numbers of one training run, all decided."""

    loss: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float | WeightDecay  # a number, or what it is at the live size of the network
    optimizer: str = "adam"
    patience: int | None = None  # epochs without a better validation score, once one order is left
    threads: int = 1  # inside each step
    tries: int = 1  # orders of the nodes to go on with once the budget is reached
    score_rate: float = 1.0  # of hidden nodes, times that of the shadow


def learning_rates(peak: float, steps: NDArray[Any], n_steps: int) -> F32:
    """Learning rate at some steps of a training: a rise to the peak, then a cosine to zero."""
    warm = np.minimum(1.0, (steps + 1) / max(1.0, WARMUP * n_steps))
    rates: F32 = (peak * warm * 0.5 * (1 + np.cos(np.pi * steps / n_steps))).astype(np.float32)
    return rates


def new_trainer(network: Network, settings: Settings) -> _core.Trainer:
    """A trainer that begins with the parameters of a network."""
    trainer = _core.Trainer(
        network.widths, network.activation, settings.loss, settings.optimizer, settings.batch_size,
        threads=settings.threads,
    )  # fmt: skip
    zeros = np.zeros_like(network.params)
    trainer.set_state(network.params, zeros, zeros, 0)
    return trainer


def shuffled(n_rows: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """A new order of the rows, as the core takes it."""
    return rng.permutation(n_rows).astype(np.int32)


def run_steps(
    trainer: _core.Trainer, settings: Settings, data: Rows, rows: NDArray[np.int32], steps: NDArray[Any],
    n_steps: int, decay: NDArray[np.float64], budgets: NDArray[np.float64] | None,
    temperatures: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """Some steps of a training over rows of the data: their losses, the last learning rate.

    Raises
    ------
    ValueError
        If the training diverges.
    """
    rate = learning_rates(settings.learning_rate, steps, n_steps)
    failure, losses = None, np.empty(0)
    try:
        losses = trainer.run(*data, rows, rate, decay.astype(np.float32), budgets, temperatures)
    except RuntimeError as error:
        failure = error
    if failure or not np.isfinite(losses).all():
        raise ValueError(
            f"the training diverged near step {steps[0]} of {n_steps} (the loss is not finite); lower "
            f"learning_rate_init, which is {settings.learning_rate:g}, or look for huge values in X or y"
        ) from failure
    return losses, float(rate[-1])


def train(
    network: Network,
    shadow: ShadowNetwork | None,
    x: F32,
    target: F32,
    weight: F32 | None,
    settings: Settings,
    rng: np.random.Generator,
    *,
    scores: np.random.Generator | None = None,
    quantiser: Quantiser | None = None,
    score: Callable[[Network | FixedNetwork, NDArray[np.bool_]], float] | None = None,
    progress: Callable[[History], None] | None = None,
) -> tuple[Network, list[NDArray[np.bool_]], History]:
    """Train network and shadow in one run and take the dead nodes off on the way.

    With `settings.tries`, and `scores`, the training goes on from where the budget is reached with as many
    orders of the nodes, if those whose gates have closed may leave the computation. The best of them stays,
    soon after the hard finish.

    Parameters
    ----------
    network : Network
        Where to start; not changed.
    shadow : ShadowNetwork or None
        Shadow over it, changed; None trains without.
    x, target : ndarray of shape (n, n_inputs) and (n, n_outputs), float32
        Rows.
    weight : ndarray of shape (n,), float32, or None
        Weights of the rows, with mean one.
    settings : Settings
    rng : numpy.random.Generator
        Order of the rows.
    scores : numpy.random.Generator, optional
        Orders of the nodes to try.
    quantiser : Quantiser, optional
        Fixed point from the hard finish on, or from where it would be; its types are then chosen.
    score : callable, optional
        Score of a network and the mask of its inputs, for early stopping: the best network since the
        hard finish, or since one order is left, is returned.
    progress : callable, optional
        Called with the history so far after every epoch.

    Returns
    -------
    network : Network
        With exactly the nodes asked for.
    support : list of ndarray of bool
        Nodes kept: inputs, then each hidden layer.
    history : History

    Raises
    ------
    ValueError
        If the training diverges.
    """
    runs = [_Run(network, shadow, x, target, weight, settings, quantiser)]
    may_try = runs[0].shadow is not None and runs[0].shadow.may_shrink
    saved: tuple[float, Network | None] = (-math.inf, None)
    waited = 0
    epoch = 0
    try:
        for epoch in range(settings.epochs):
            n_orders = _n_orders(epoch, settings)
            if scores and may_try and runs[0].soft and len(runs) == 1 < n_orders:
                runs += [runs[0].reordered(scores) for _ in range(1, n_orders)]
            elif n_orders == 1 < len(runs):
                runs = [best(runs, settings.loss, _Run.last_loss, _Run.area)]
            order = shuffled(len(x), rng)
            _train_all(runs, epoch, order)
            run = runs[0]
            if score and len(runs) == 1 and not run.first_stage:
                current = run.network()
                run.history.validation_score.append(score(run.in_use(current), run.support[0]))
                waited += 1
                if run.history.validation_score[-1] > saved[0]:
                    saved, waited = (run.history.validation_score[-1], current), 0
            if progress:
                progress(run.history)
            if settings.patience is not None and waited >= settings.patience:
                break
    except KeyboardInterrupt:
        warnings.warn(
            f"training interrupted in epoch {epoch + 1} of {settings.epochs}; the network has the nodes "
            "asked for but is less trained",
            RuntimeWarning,
            stacklevel=4,  # the line that called fit, prune or retrain
        )
    run = runs[0]  # after a Ctrl-C among several the first
    run.end_first_stage()
    if shadow is not None and run.shadow is not None:
        shadow.groups = run.shadow.groups
    if quantiser is not None and run.quantiser is not None:
        quantiser.types = run.quantiser.types
    run.history.support = list(run.support)
    return saved[1] or run.network(), run.support, run.history


def _n_orders(epoch: int, settings: Settings) -> int:
    """Orders of the nodes that are trained in an epoch; one in the last."""
    n = settings.epochs
    chosen = min(max(round(CHOSEN * n), math.ceil(STAGE * n) + 1), n - 1)  # after an epoch of hard gates
    return settings.tries if round(RAMP * STAGE * n) <= epoch < chosen else 1


def _train_all(runs: list[_Run], epoch: int, order: NDArray[np.int32]) -> None:
    """An epoch of each; one that diverges goes at once, unless it is the last.

    Of several only one at a time has rows without the inputs that left.
    """
    several = len(runs) > 1
    for run in tuple(runs):
        try:
            run.epoch(epoch, order)
        except ValueError:
            if len(runs) == 1:
                raise
            runs.remove(run)
        if several:
            run.left = None


class _Run:
    """State of one run: the trainer of the present layout, and where the schedule stands."""

    def __init__(
        self, network: Network, shadow: ShadowNetwork | None, x: F32, target: F32, weight: F32 | None,
        settings: Settings, quantiser: Quantiser | None,
    ) -> None:  # fmt: skip
        self.layout = network
        self.all, self.target, self.weight = x, target, weight
        self.left: F32 | None = None  # rows with the inputs that are left, once they are needed
        self.settings = settings
        self.shadow = None if shadow is None or shadow.trivial else shadow
        self.quantiser = quantiser
        self.soft = self.shadow is not None
        self.first_stage = self.soft or quantiser is not None
        self.support = network.split(np.ones(sum(network.widths[:-1]), np.bool_))
        self.active = np.ones(sum(network.widths[:-1]), np.bool_)  # nodes still computed, of the first layout
        self.history = History()
        self.n_steps = settings.epochs * -(-len(x) // settings.batch_size)
        self.finish = max(1, round(STAGE * self.n_steps)) if self.first_stage else 0
        self.step = 0
        self.last = (0.0, 0.0)  # learning rate and weight decay of the last step
        self.trainer = new_trainer(network, settings)
        if self.shadow:
            groups = [(g.index, g.scores, g.constraint.kernel, self._rate(g)) for g in self.shadow.groups]
            self.trainer.set_shadow(groups, self.shadow.family, self.shadow.method)

    def reordered(self, rng: np.random.Generator) -> _Run:
        """A run that goes on from here with nearly any order of the hidden nodes.

        Weights and moments are those of this run; the optimiser of the scores begins anew.
        """
        other = copy.copy(self)
        lists = {name: copy.copy(of) for name, of in vars(self.history).items()}  # their arrays stay shared
        other.history, other.quantiser = replace(self.history, **lists), copy.copy(self.quantiser)
        other.shadow = shadow = copy.copy(self.shadow)
        other.trainer = self.trainer.reduced(np.ones(self.active.sum(), np.bool_))
        if shadow is None:
            return other
        shadow.groups = copy.deepcopy(shadow.groups)
        place = np.cumsum(self.active, dtype=np.int32) - 1
        groups = []
        for group, score in zip(shadow.groups, self.trainer.get_shadow(), strict=True):
            here = self.active[group.index]
            moved = score + apart(group.layer[here], rng)
            groups.append((place[group.index[here]], moved, None, self._rate(group)))
        other.trainer.set_shadow(groups, shadow.family, shadow.method)
        return other

    def _rate(self, group: Group) -> float:
        """Of the optimiser of its scores."""
        return group.rate * (self.settings.score_rate if group.layer.any() else 1.0)

    @property
    def x(self) -> F32:
        """Rows with the inputs that are left."""
        inputs = self.support[0] & self.active[: len(self.support[0])]
        if self.left is None or self.left.shape[1] != inputs.sum():
            self.left = self.all if inputs.all() else np.compress(inputs, self.all, axis=1)
        return self.left

    def network(self) -> Network:
        """The network as it stands."""
        network = self.layout.copy()
        network.params[:] = self.trainer.get_state()[0]
        return network

    def in_use(self, network: Network) -> Network | FixedNetwork:
        """Its network as it computes after the hard finish, on grids or not."""
        return self.quantiser.fixed(network) if self.quantiser else network

    def last_loss(self) -> float:
        """Mean training loss of the last epoch."""
        return self.history.loss[-1]

    def area(self) -> float:
        """Under the ROC curves of its classes, of the rows trained on."""
        z = self.in_use(self.network()).forward(self.x)
        self.left = None
        return area_under_curves(z, self.target, self.weight)

    def epoch(self, epoch: int, order: NDArray[np.int32]) -> None:
        """One pass over the rows, in two pieces where the hard finish falls inside it."""
        batch = self.settings.batch_size
        steps = -(-len(order) // batch)
        begin = epoch * steps
        losses = []
        while self.step < begin + steps:
            end = begin + steps
            if self.first_stage and self.step < self.finish:
                end = min(end, self.finish)
            rows = order[(self.step - begin) * batch : (end - begin) * batch]
            losses.append(self._advance(rows, np.arange(self.step, end)))
            self.step = end
            if self.step >= self.finish:
                self.end_first_stage()
        self.history.loss.append(float(np.mean(np.concatenate(losses))))
        self.history.learning_rate.append(self.last[0])
        self.history.weight_decay.append(self.last[1])
        self.history.n_nodes.append(self._open_nodes())
        if self.soft:
            self.history.gates.append(self._gates())
            self._drop_idle()

    def _advance(self, rows: NDArray[np.int32], steps: NDArray[Any]) -> NDArray[np.float64]:
        s = self.settings
        part = steps / self.n_steps
        budgets = temperatures = None
        groups = self.shadow.groups if self.soft and self.shadow else []
        if groups:
            budgets = np.stack([self._budget(g, part) for g in groups], axis=1)
            temperatures = np.stack([g.temperature(part) for g in groups], axis=1)
        wanted = self._decay(part)
        losses, rate = run_steps(
            self.trainer, s, (self.x, self.target, self.weight), rows, steps, self.n_steps, wanted, budgets,
            temperatures,
        )  # fmt: skip
        self.last = (rate, float(np.float32(wanted[-1])))
        return losses

    def _budget(self, group: Group, part: NDArray[Any]) -> NDArray[np.float64]:
        """What the group asks for; a count no more than the nodes that did not leave."""
        budget = group.kernel_budget(part)
        if group.constraint.kernel is not None:
            return budget
        capped: NDArray[np.float64] = np.minimum(budget, self.active[group.index].sum())
        return capped

    def _decay(self, part: NDArray[Any]) -> NDArray[np.float64]:
        """Weight decay at each step; if it follows the live size, every covered layer shrinks alike."""
        decay: Any = self.settings.weight_decay
        if isinstance(decay, WeightDecay):
            times = decay.by_stage(self.shadow.open_widths(1.0))[stage_of(part)] if self.shadow else 1.0
            open_widths = self.shadow.open_widths(part) if self.soft and self.shadow else self.layout.widths
            decay = times * decay(open_widths)
        return np.broadcast_to(decay, part.shape)

    def _open_nodes(self) -> float:
        if not self.soft:
            return float(self.layout.n_nodes)
        return float(self._gates()[self.layout.widths[0] :].sum())

    def _gates(self) -> F32:
        """Gates of the first layout; nodes that left have zero."""
        gates = np.zeros(len(self.active), np.float32)
        gates[self.active] = self.trainer.gates()
        return gates

    def _read_scores(self) -> None:
        """The trainer's scores into the shadow; nodes that left go below all others."""
        groups = self.shadow.groups if self.shadow else []
        for group, scores in zip(groups, self.trainer.get_shadow(), strict=True):
            here = self.active[group.index]
            group.scores[here] = scores
            group.scores[~here] = scores.min() - 1

    def _drop_idle(self) -> None:
        """Take nodes with closed gates out of the computation, which then shrinks with the budget."""
        shadow = self.shadow
        if shadow is None or shadow.method != "shadow":
            return
        self._read_scores()
        gates, stay = self._gates(), self.active.copy()
        for group in shadow.groups:
            stay[group.index] &= ~group.constraint.idle(group.scores, gates[group.index])
        if stay.sum() > 0.95 * self.active.sum():  # not worth a new layout
            return
        self.active, self.trainer = stay, self._reduced(stay)

    def _reduced(self, keep: NDArray[np.bool_]) -> _core.Trainer:
        """Trainer without the other nodes of the first layout."""
        return self.trainer.reduced(keep[self.active])

    def end_first_stage(self) -> None:
        """Gates close, grids begin; nothing to do a second time."""
        if self.soft:
            self.harden()
        if self.first_stage and self.quantiser:
            self.trainer.set_quantiser(self.quantiser.choose(self.network(), self.x))
        self.first_stage = False

    def harden(self) -> None:
        """Hard finish: keep the best nodes, move weights and moments to the reduced layout."""
        shadow = self.shadow
        if shadow is None:
            return
        self._read_scores()
        support = shadow.support()
        keep, gates = np.concatenate(support), self._gates()
        for group in shadow.groups:
            kept = group.index[keep[group.index]]
            self.history.gap = max(self.history.gap, abs(len(kept) - float(gates[kept].sum())))
        trainer = self._reduced(keep)
        trainer.set_shadow([])
        small = self.layout.reduce(support)
        # all at once and last: a Ctrl-C before this line finds the run soft, and hardens it again
        self.support, self.layout, self.trainer, self.soft = support, small, trainer, False
