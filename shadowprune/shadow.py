"""The shadow network: one score per covered node, gates that meet the budget at every step.

    g_i = F((s_i - theta)/T),   theta solves  sum_i g_i = B(progress)

The idea of a shadow network laid over the nodes, trained together with the network under a constraint
on the number of nodes, is that of Mascione, Cristoforetti, Di Luca, Follega and Iuppa (Il Nuovo Cimento C,
2023; ACAT 2022). Gate, constraint, schedule and score optimiser here are our own.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .network import Network

F64 = NDArray[np.float64]

STAGE = 0.6  # part of the training during which gates are soft
RAMP = 0.75  # part of that stage during which the budget falls
TAYLOR_SHARE = 0.01  # of a new step in the running mean of saliencies
METHODS = ("shadow", "straight-through", "taylor")


@dataclass
class Group:
    """Nodes under one budget: scores, and where they stand in the network."""

    name: str
    index: NDArray[np.int32]  # among all gates, inputs first
    layer: NDArray[np.int32]  # of each node: 0 inputs, 1.. hidden
    keep: int
    rate: float  # of the score optimiser
    hot: float  # temperature at the start and at the end of the stage
    cold: float
    scores: F64
    theta: float = 0.0
    gates: F64 = field(init=False)  # the last soft ones
    used: F64 = field(init=False)  # the last ones handed out: soft, or hard
    velocity: F64 = field(init=False)
    square: float = 0.0
    steps: int = 0

    def __post_init__(self) -> None:
        self.gates = self.used = np.ones_like(self.scores)
        self.velocity = np.zeros_like(self.scores)

    @property
    def total(self) -> int:
        """Nodes covered."""
        return len(self.index)

    def budget(self, progress: ArrayLike) -> F64:
        """Open nodes at a progress (0..1) of the whole training: a cubic ramp from all to `keep`."""
        r = np.minimum(np.asarray(progress, float) / STAGE / RAMP, 1.0)
        return np.asarray(self.total - (self.total - self.keep) * (1 - (1 - r) ** 3))

    def temperature(self, progress: ArrayLike) -> F64:
        """Temperature at a progress (0..1) of the whole training: exponential from hot to cold."""
        r = np.minimum(np.asarray(progress, float) / STAGE, 1.0)
        return np.asarray(self.hot * (self.cold / self.hot) ** r)


def count(name: str, asked: object, total: int, least: int) -> int:
    """Number of nodes meant by an int (exact) or a float (fraction, rounded down).

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it is below `least`, above `total`, NaN, or a fraction above 1.
    """
    if isinstance(asked, (bool, np.bool_)) or not isinstance(asked, numbers.Real):
        raise TypeError(
            f"{name} is {asked!r}; it must be an int (a number of nodes), a float (a fraction) or None"
        )
    if isinstance(asked, numbers.Integral):
        number = int(asked)
    else:
        fraction = float(asked)
        if not 0 < fraction <= 1:
            raise ValueError(
                f"{name} is {asked!r}; a fraction must be above 0 and at most 1 (a number of nodes is an int)"
            )
        # 0.7 * 10 is 7 to a physicist, whatever the last bit of 0.7 says
        number = math.floor(fraction * total * (1 + 1e-12))
    if not least <= number <= total:
        shown = f"{asked!r}" if number == asked else f"{asked!r}, {number} of {total}"
        raise ValueError(
            f"{name} is {shown}; it must be at least {least} (one in every covered layer) and at most {total}"
        )
    return number


class ShadowNetwork:
    """One differentiable gate per covered node, under an exact budget.

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
    family : {"logistic", "laplace"}, default="logistic"
        Distribution function that turns scores into gates.
    method : {"shadow", "straight-through", "taylor"}, default="shadow"
        How nodes are chosen, on the same schedule and to the same count. "shadow": soft gates, trained by
        their gradient. "straight-through": hard gates, the best by score open, trained as if they were soft
        (Bengio, Léonard and Courville, arXiv:1308.3432). "taylor": hard gates; a score is the running mean
        of (g dL/dg)^2 (Molchanov et al., CVPR 2019).
    random_state : int, numpy.random.Generator or None, default=None
        Seed of the initial scores, normal with standard deviation 0.01.

    Raises
    ------
    ValueError, TypeError
        If a budget cannot be met, or an argument is of the wrong kind.

    Notes
    -----
    Progress runs from 0 to 1 over the whole training. During the first 60 % gates are soft: the budget
    falls from all nodes to `n_nodes` and the temperature from 0.3 to 0.02. After that gates are zero or
    one: the best `min_nodes` nodes of each covered layer and then the best overall, exactly `n_nodes`.
    """

    def __init__(
        self,
        network: Network,
        n_nodes: float | None = None,
        *,
        layers: Sequence[int] | None = None,
        inputs: float | None = None,
        min_nodes: int = 1,
        family: str = "logistic",
        method: str = "shadow",
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        if family not in ("logistic", "laplace"):
            raise ValueError(f"family is {family!r}; it must be 'logistic' or 'laplace'")
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
        if isinstance(min_nodes, bool) or not isinstance(min_nodes, (int, np.integer)) or min_nodes < 1:
            raise ValueError(f"min_nodes is {min_nodes!r}; it must be a whole number, at least 1")
        self.network = network
        self.family = family
        self.method = method
        self.min_nodes = int(min_nodes)
        self.groups: list[Group] = []
        self._hard = False
        self._progress: float | None = None
        rng = np.random.default_rng(random_state)
        widths = network.widths
        first = np.concatenate([[0], np.cumsum(widths[:-1])])
        if n_nodes is not None:
            covered = _check_layers(layers, len(widths) - 2)
            index = np.concatenate([np.arange(first[i + 1], first[i + 2]) for i in covered])
            layer = np.concatenate([np.full(widths[i + 1], i + 1) for i in covered])
            least = sum(min(self.min_nodes, widths[i + 1]) for i in covered)
            keep = count("n_nodes", n_nodes, len(index), least)
            self.groups.append(_group("nodes", index, layer, keep, 0.02, 0.3, rng))
        if inputs is not None:
            keep = count("n_inputs", inputs, widths[0], 1)
            self.groups.append(
                _group("inputs", np.arange(widths[0]), np.zeros(widths[0]), keep, 0.05, 1.0, rng)
            )

    @property
    def trivial(self) -> bool:
        """Whether every covered node stays, so that there is nothing to train."""
        return all(group.keep == group.total for group in self.groups)

    def gates(self, progress: float) -> list[NDArray[np.float32]]:
        """Gates at a progress of the training.

        Parameters
        ----------
        progress : float
            Part of the whole training done, 0 to 1.

        Returns
        -------
        list of ndarray, float32
            One array (width,) per hidden layer, or the inputs' first if the shadow covers them. The
            covered ones add up to the budget (rounded, where gates are hard); uncovered nodes have gate one.

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
                budget, temperature = float(group.budget(progress)), float(group.temperature(progress))
                group.gates, group.theta = _core.gates(
                    group.scores, budget, temperature, self.family, None, group.theta
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

    def _keep(self) -> NDArray[np.bool_]:
        keep = np.ones(sum(self.network.widths[:-1]), np.bool_)
        for group in self.groups:
            keep[group.index] = _core.select(group.scores, group.layer, group.keep, self.min_nodes)
        return keep

    def _shape(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        parts = self.network.split(flat)
        return parts if any(group.name == "inputs" for group in self.groups) else parts[1:]

    def __repr__(self) -> str:
        budgets = ", ".join(f"{group.keep} of {group.total} {group.name}" for group in self.groups)
        how = self.family if self.method == "shadow" else self.method
        return f"ShadowNetwork({budgets or 'nothing covered'}, {how})"


def _check_layers(layers: Sequence[int] | None, n_hidden: int) -> list[int]:
    if n_hidden == 0:
        raise ValueError("the network has no hidden layer: there is no node for n_nodes to count")
    if layers is None:
        return list(range(n_hidden))
    chosen = np.asarray(layers)
    if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
        raise ValueError(f"layers is {layers!r}; it must list hidden layers, 0 to {n_hidden - 1}")
    if chosen.min() < -n_hidden or chosen.max() >= n_hidden or len(set(chosen % n_hidden)) < len(chosen):
        raise ValueError(f"layers is {layers!r}; it must list hidden layers, 0 to {n_hidden - 1}, each once")
    return sorted(int(i) for i in chosen % n_hidden)


def _group(
    name: str,
    index: NDArray[Any],
    layer: NDArray[Any],
    keep: int,
    rate: float,
    hot: float,
    rng: np.random.Generator,
) -> Group:
    return Group(
        name,
        index.astype(np.int32),
        layer.astype(np.int32),
        keep,
        rate,
        hot,
        0.02,
        rng.normal(0, 0.01, len(index)),
    )
