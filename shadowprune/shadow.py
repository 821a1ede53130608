"""The shadow network: one score per covered node, gates that meet the budget at every step.

    g_i = F((s_i - theta)/T),   theta solves  sum_i g_i = B(progress)

The idea of a shadow network laid over the nodes, trained together with the network under a constraint
on the number of nodes, is that of Mascione, Cristoforetti, Di Luca, Follega and Iuppa (Il Nuovo Cimento C,
2023; ACAT 2022). Gate, constraint, schedule and score optimiser here are our own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._constraints import BudgetReport, Constraint
from ._costs import Weighted
from .budget import Budget, check_amount
from .network import Network

F64 = NDArray[np.float64]

STAGE = 0.6  # part of the training during which gates are soft
RAMP = 0.5  # part of that stage during which the budget falls
TAYLOR_SHARE = 0.01  # of a new step in the running mean of saliencies
METHODS = ("shadow", "straight-through", "taylor")


def stage_of(progress: F64) -> NDArray[np.intp]:
    """0 while the budget falls, 1 while gates are soft still, 2 from the hard finish on, to a step."""
    return np.digitize(progress, (RAMP * STAGE, STAGE))


@dataclass
class Group:
    """Nodes under one budget: what it asks, their scores, and where the score optimiser stands."""

    constraint: Constraint
    scores: F64
    rate: float  # of the score optimiser
    hot: float  # temperature at the start of the stage
    cold: float = 0.02  # and at its end
    theta: float = 0.0
    gates: F64 = field(init=False)  # the last soft ones
    used: F64 = field(init=False)  # the last ones handed out: soft, or hard
    velocity: F64 = field(init=False)
    square: float = 0.0
    steps: int = 0
    short: float = 0.0  # of the last selection: bound on the summed score it missed

    def __post_init__(self) -> None:
        self.gates = self.used = np.ones_like(self.scores)
        self.velocity = np.zeros_like(self.scores)

    @property
    def name(self) -> str:
        """Which budget."""
        return self.constraint.name

    @property
    def index(self) -> NDArray[np.int32]:
        """Places of the nodes among all gates, inputs first."""
        return self.constraint.index

    @property
    def layer(self) -> NDArray[np.int32]:
        """Layer of each node: 0 inputs, 1.. hidden."""
        return self.constraint.layer

    @property
    def total(self) -> int:
        """Nodes covered."""
        return len(self.index)

    def budget(self, progress: ArrayLike) -> F64:
        """Cost of the open nodes at a progress (0..1) of the whole training: from all to the goal, cubic."""
        r = np.minimum(np.asarray(progress, float) / STAGE / RAMP, 1.0)
        full, goal = self.constraint.full, self.constraint.goal
        return np.asarray(full - (full - goal) * (1 - (1 - r) ** 3))

    def kernel_budget(self, progress: ArrayLike) -> F64:
        """The same without what no gate has a share in: what the C core solves for."""
        return np.asarray(self.budget(progress) - self.constraint.offset)

    def open_part(self, progress: ArrayLike) -> F64:
        """Part of each covered layer that is open, were all of them cut alike."""
        return self.constraint.open_part(self.budget(progress))

    def temperature(self, progress: ArrayLike) -> F64:
        """Temperature at a progress (0..1) of the whole training: exponential from hot to cold."""
        r = np.minimum(np.asarray(progress, float) / STAGE, 1.0)
        return np.asarray(self.hot * (self.cold / self.hot) ** r)

    def select(self) -> NDArray[np.bool_]:
        """Nodes that remain at the hard finish."""
        keep, self.short = self.constraint.select(self.scores)
        return keep


class ShadowNetwork:
    """One differentiable gate per covered node, under an exact budget.

    `n_nodes`, `layers`, `inputs` and `min_nodes` are a shorthand for `budget`, for node counts.

    Parameters
    ----------
    network : Network
        Network under the shadow.
    n_nodes : int, float or None, default=None
        Hidden nodes to keep of the covered layers: an int is exact, a float a fraction (rounded down).
        None leaves the hidden layers alone.
    layers : sequence of int, optional
        Hidden layers under the shadow, counted from 0; all by default.
    inputs : int, float or None, default=None
        Input features to keep, in the same way. None leaves the inputs alone.
    min_nodes : int, default=1
        Every covered layer keeps at least this many nodes.
    budget : Budget, optional
        What may remain, in any unit; instead of the above.
    family : {"logistic", "laplace"}, default="logistic"
        Distribution function that turns scores into gates.
    method : {"shadow", "straight-through", "taylor"}, default="shadow"
        How nodes are chosen, on the same schedule and to the same count. "shadow": soft gates, trained by
        their gradient. "straight-through": hard gates, the best by score open, trained as if they were soft
        (Bengio, Léonard and Courville, arXiv:1308.3432). "taylor": hard gates; a score is the running mean
        of (g dL/dg)^2 (Molchanov et al., CVPR 2019). The last two open so many nodes, whatever each costs,
        and are refused for `weighted` budgets: the finish would choose other numbers per layer.
    random_state : int, numpy.random.Generator or None, default=None
        Seed of the initial scores, normal with standard deviation 0.01.

    Raises
    ------
    ValueError, TypeError
        If a budget cannot be met, or an argument is of the wrong kind.

    Notes
    -----
    Progress runs from 0 to 1 over the whole training. During the first 60 % gates are soft: the budget
    falls from all nodes to `n_nodes` (from the full cost to that of the budget) and the temperature from 0.3
    to 0.02. After that gates are zero or one. For a count: the best `min_nodes` nodes of each covered layer
    and then the best overall, exactly `n_nodes`. For a cost: the likeliest outcome of the gates that does not
    exceed it, filled up with the best nodes that still fit.

    The estimators go on under eight orders of the nodes (from 512 rows on up to sixty-four, fewer again of
    many rows) where six or fewer are left in the average hidden layer: which layer has one more decides
    there. At progress 0.3, where the budget is reached, copies of the training get normal deviates of 1.2
    added to the scores of their hidden nodes. The best stays, soon after the hard finish: that of least
    training loss; of several classes that of the largest area under its ROC curves, among the half with the
    least loss. Not so under costs, multiples and maxima, under which closed nodes stay in the computation
    until the finish, nor for other methods than "shadow".

    Scores move along the gradient projected on a constant sum of gates, as for a count, under every budget;
    theta then restores the cost.
    """

    def __init__(
        self,
        network: Network,
        n_nodes: float | None = None,
        *,
        layers: Sequence[int] | None = None,
        inputs: float | None = None,
        min_nodes: int = 1,
        budget: Budget | None = None,
        family: str = "logistic",
        method: str = "shadow",
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        if family not in ("logistic", "laplace"):
            raise ValueError(f"family is {family!r}; it must be 'logistic' or 'laplace'")
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
        self.network = network
        self.family = family
        self.method = method
        self._hard = False
        self._progress: float | None = None
        rng = np.random.default_rng(random_state)
        self.groups = [
            # a feature weighs more than a node, and few are kept: slower to close, quicker to move
            Group(
                one, rng.normal(0, 0.01, len(one.index)), *((0.02, 0.3) if one.layer.any() else (0.05, 1.0))
            )
            for one in _constraints(network, budget, n_nodes, layers, inputs, min_nodes)
        ]
        if method != "shadow" and any(isinstance(group.constraint, Weighted) for group in self.groups):
            raise ValueError(
                f"method is {method!r}, which opens nodes by their number; a weighted budget needs 'shadow'"
            )
        self._kept: tuple[list[F64], NDArray[np.bool_]] | None = None

    @property
    def trivial(self) -> bool:
        """Whether every covered node stays, so that there is nothing to train."""
        return all(group.constraint.trivial for group in self.groups)

    @property
    def may_shrink(self) -> bool:
        """Whether nodes whose gates have closed may leave the computation, under every budget."""
        return self.method == "shadow" and all(group.constraint.may_shrink for group in self.groups)

    def open_widths(self, progress: ArrayLike) -> list[Any]:
        """Widths of all layers, were every covered one cut alike.

        Parameters
        ----------
        progress : float or ndarray
            Part of the whole training done, 0 to 1.

        Returns
        -------
        list of int, float or ndarray
            Inputs, hidden layers, outputs; covered ones in the shape of `progress`.
        """
        widths: list[Any] = list(self.network.widths)
        for group in self.groups:
            if group.constraint.trivial:  # a budget of products would say so through a root
                continue
            part = group.open_part(progress)
            for layer in np.unique(group.layer):
                widths[layer] = widths[layer] * part
        return widths

    def gates(self, progress: float) -> list[NDArray[np.float32]]:
        """Gates at a progress of the training.

        Parameters
        ----------
        progress : float
            Part of the whole training done, 0 to 1.

        Returns
        -------
        list of ndarray, float32
            One array (width,) per hidden layer, or the inputs' first if the shadow covers them. Soft ones
            meet the budget of that progress: they add up to a count, or cost what a cost budget allows.
            Those of "straight-through" and "taylor" are zero or one, as many open as the soft ones add up
            to, rounded. From progress 0.6 on they are what `support` keeps. Uncovered nodes have gate one.

        Raises
        ------
        ValueError
            If progress is not between 0 and 1.
        """
        if not 0 <= progress <= 1:
            raise ValueError(f"progress is {progress!r}; it must be between 0 and 1")
        self._progress = float(progress)
        self._hard = progress >= STAGE
        flat = np.ones(sum(self.network.widths[:-1]), np.float32)
        if self._hard:
            flat[:] = self._keep()
        else:
            for group in self.groups:
                budget, temperature = float(group.kernel_budget(progress)), float(group.temperature(progress))
                group.gates, group.theta = _core.gates(
                    group.scores, budget, temperature, self.family, group.constraint.kernel, group.theta
                )
                flat[group.index] = group.gates
                if self.method != "shadow":
                    n_open = max(math.floor(group.gates.sum() + 0.5), len(np.unique(group.layer)))
                    flat[group.index] = _core.select(group.scores, group.layer, n_open, 1)
                group.used = flat[group.index].astype(np.float64)
        return self._shape(flat)

    def step(self, dgates: Sequence[ArrayLike]) -> None:
        """Move the scores along the gradient of the last gates; does nothing once these are hard.

        Parameters
        ----------
        dgates : list of ndarray
            As `Network.backward` returns it for the gates of `gates`.

        Raises
        ------
        ValueError
            If the shapes are not those of the gates, or there were no gates yet.
        """
        if self._progress is None:
            raise ValueError("step needs the gates it is to move: call gates(progress) first")
        if self._hard:
            return
        flat = self.network.join(list(dgates), np.float64, 0.0, "dgates")
        for group in self.groups:
            group.steps += 1
            if self.method == "taylor":
                share = max(1 / group.steps, TAYLOR_SHARE)
                group.scores += share * ((group.used * flat[group.index]) ** 2 - group.scores)
                continue
            temperature = float(group.temperature(self._progress))
            grad = _core.gates_backward(group.gates, temperature, flat[group.index], self.family)
            group.square = _core.scores_step(
                group.scores, grad, group.velocity, group.square, group.steps, group.rate
            )

    def support(self) -> list[NDArray[np.bool_]]:
        """Nodes kept by the scores as they stand: boolean masks, the inputs' and one per hidden layer."""
        return self.network.split(self._keep())

    def report(self, support: Sequence[ArrayLike] | None = None) -> tuple[BudgetReport, ...]:
        """What each budget allows and what is used of it.

        Parameters
        ----------
        support : list of ndarray of bool, optional
            The nodes kept; those of `support` by default.

        Returns
        -------
        tuple of BudgetReport
            One per budget, with what was asked, what is used and the slack between them.
        """
        masks = self.support() if support is None else support
        keep = self.network.join(list(masks), np.bool_, True, "support")
        return tuple(g.constraint.report(keep[g.index], g.short) for g in self.groups)

    def _keep(self) -> NDArray[np.bool_]:
        """What remains by the scores as they stand, solved for once."""
        scores = [group.scores for group in self.groups]
        if self._kept is None or not all(map(np.array_equal, scores, self._kept[0])):
            keep = np.ones(sum(self.network.widths[:-1]), np.bool_)
            for group in self.groups:
                keep[group.index] = group.select()
            self._kept = [s.copy() for s in scores], keep
        return self._kept[1].copy()

    def _shape(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        parts = self.network.split(flat)
        return parts if any((group.layer == 0).any() for group in self.groups) else parts[1:]

    def __repr__(self) -> str:
        budgets = ", ".join(str(group.constraint) for group in self.groups)
        how = self.family if self.method == "shadow" else self.method
        return f"ShadowNetwork({budgets or 'nothing covered'}, {how})"


def _constraints(
    network: Network,
    budget: Budget | None,
    n_nodes: float | None,
    layers: Sequence[int] | None,
    inputs: float | None,
    min_nodes: int,
) -> list[Constraint]:
    if budget is not None:
        if not isinstance(budget, Budget):
            raise TypeError(f"budget is {budget!r}; it must be a shadowprune.Budget")
        shorthand = {"n_nodes": n_nodes, "layers": layers, "inputs": inputs}
        for name, value in shorthand.items() if min_nodes == 1 else [("min_nodes", min_nodes)]:
            if value is not None:
                raise ValueError(f"{name} is {value!r} beside budget; state it in the budget")
        return budget.constraints(network.widths)
    for name, value in (("n_nodes", n_nodes), ("n_inputs", inputs)):
        if value is not None:
            check_amount(name, value)
    if n_nodes is None and inputs is None:
        for name, value in (("layers", layers), ("min_nodes", None if min_nodes == 1 else min_nodes)):
            if value is not None:
                raise ValueError(f"{name} is {value!r}, but n_nodes is None: no layer is covered")
        return []
    budget = Budget(nodes=n_nodes, inputs=inputs, layers=layers, min_nodes=min_nodes)
    return budget.constraints(network.widths, "n_")
