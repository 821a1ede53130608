"""Budgets: what may remain, in the unit the user thinks in, and which nodes that leaves.

A :class:`Budget` is what the user states. Over a network it becomes one constraint C(g) = B per group of
gates, all of them solved by the same kernel (``csrc/shadow.c``), and a hard finish that meets a count
exactly and never exceeds a cost:

==================  ==========================================================================
nodes, per_layer    C = sum_i g_i
weighted            C = sum_i c_i g_i
multiplications     C = sum_l N_{l-1} N_l, N_l the sum of the gates of layer l
multipliers         C = sum_l N_{l-1} N_l / R_l; at the finish sum_l ceil(N_{l-1} N_l / R_l)
weights             C = sum_l (N_{l-1} + 1) N_l, biases included
==================  ==========================================================================

How the finish chooses is told in :mod:`shadowprune._constraints` and :mod:`shadowprune._costs`.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._constraints import Amount, Constraint, Count, Limits
from ._costs import Products, Weighted

F64 = NDArray[np.float64]

KINDS = ("nodes", "per_layer", "weighted", "multiplications", "multipliers", "weights")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may remain of a network: a count met exactly, or a cost never exceeded.

    One of the first six is given, or only `inputs`; amounts are an int (that number) or a float (that
    fraction of the whole network's, rounded down; beside a number of `inputs`, a cost's is of the network
    with the inputs that remain).

    Parameters
    ----------
    nodes : int or float, optional
        Hidden nodes of the covered layers, exactly.
    per_layer : int, float or sequence, optional
        Nodes of each covered layer, exactly: one amount for all, or one per hidden layer of the network, with
        None for a layer left alone.
    weighted : int or float, optional
        Bound on the sum of the `costs` of the nodes kept; for `method` "shadow" only.
    multiplications : int or float, optional
        Bound on sum n_in n_out over all dense layers, those left alone included: the total work of one
        evaluation.
    multipliers : int or float, optional
        Bound on sum ceil(n_in n_out / R) over all dense layers: the hardware that works in parallel at
        `reuse_factor` R, multipliers as hls4ml makes them, or DSPs where a multiplication takes one.
    weights : int or float, optional
        Bound on sum (n_in + 1) n_out, the number of weights and biases: the memory they take.
    inputs : int, float or "free", optional
        Input features to keep, exactly, alone or beside one of the above. "free": the inputs are under that
        budget too and their number is found; `nodes` then counts inputs and hidden nodes together.
    costs : sequence, optional
        Of `weighted`: one number, or one number per node, for each hidden layer; the inputs' first if they
        are "free". At least 0. Sums of costs that are no whole numbers are compared to 1e-9 of the budget.
    reuse_factor : int or sequence of int, default=1
        Of `multipliers`: R, how often a multiplier is used, for all dense layers or for each.
    layers : sequence of int, optional
        Hidden layers covered, counted from 0; all by default. The others keep their width.
    min_nodes, max_nodes : int or sequence of int, default=1 and None
        Every covered layer keeps at least and at most so many nodes; one number for all or one per hidden
        layer. A layer narrower than `min_nodes` keeps all it has. Limits are met at the hard finish.
    multiple : int, default=1
        Widths of covered layers are multiples of this; inputs too where they are "free". A count that no such
        widths add up to is refused, a fraction is rounded down to one that they do.

    Raises
    ------
    ValueError, TypeError
        For values that cannot be meant. What cannot be met by a given network is found when it is known: by
        `ShadowNetwork` or `fit`, before anything is trained.

    Notes
    -----
    An empty hidden layer would make the outputs constants: nothing passes it, and there is no connection
    around it. So `min_nodes` is at least 1; to drop a layer, leave it out of the network.

    Beside a cost budget a number of `inputs` is met by gates of its own, and the cost is reckoned with the
    number of inputs that will remain. "free" inputs pay where inputs are most of the cost: on the embedded
    jets, with 40-64-64-64-64-1 and four seeds, at 193 multiplications (AUC .9799 against .9787 with all
    inputs), no longer at 1026 (.9830 against .9836).

    Examples
    --------
    >>> Budget(multipliers=500, reuse_factor=4, multiple=4)
    Budget(multipliers=500, reuse_factor=4, multiple=4)
    >>> Budget(nodes=60, inputs=20)
    Budget(nodes=60, inputs=20)
    """

    nodes: Amount | None = None
    per_layer: Amount | Sequence[Amount | None] | None = None
    weighted: Amount | None = None
    multiplications: Amount | None = None
    multipliers: Amount | None = None
    weights: Amount | None = None
    inputs: Amount | str | None = None
    costs: Sequence[Any] | None = None
    reuse_factor: int | Sequence[int] = 1
    layers: Sequence[int] | None = None
    min_nodes: int | Sequence[int] = 1
    max_nodes: int | Sequence[int] | None = None
    multiple: int = 1

    def __post_init__(self) -> None:
        for name in ("per_layer", "costs", "reuse_factor", "layers", "min_nodes", "max_nodes"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given; hidden nodes obey one budget")
        if not given and self.inputs in (None, "free"):
            raise ValueError(f"a Budget needs one of {', '.join(KINDS)}, or a number of inputs")
        if (self.costs is None) != (self.weighted is None):
            raise ValueError("weighted and costs belong together; one of them is missing")
        if self.costs is not None and not isinstance(self.costs, tuple):
            raise TypeError(f"costs is {self.costs!r}; it must be a sequence, one entry per hidden layer")
        if not (self.layers is None or isinstance(self.layers, tuple)):
            raise TypeError(f"layers is {self.layers!r}; it must be a sequence of hidden layers, from 0")
        self._check_amounts()
        self._check_numbers()
        self._check_idle()

    def _check_idle(self) -> None:
        """Refuse what would change nothing."""
        if self.reuse_factor != 1 and self.multipliers is None:
            raise ValueError(f"reuse_factor is {self.reuse_factor!r}, but only multipliers has one")
        for name in () if self.kind else ("layers", "min_nodes", "max_nodes", "multiple"):
            value = getattr(self, name)
            if value is not None and value != 1:
                raise ValueError(
                    f"{name} is {value!r}, but no hidden layer is covered; it needs one of {', '.join(KINDS)}"
                )

    def _check_amounts(self) -> None:
        for name in KINDS:
            value = getattr(self, name)
            for amount in value if isinstance(value, tuple) and name == "per_layer" else (value,):
                if amount is not None:
                    check_amount(name, amount)
        if isinstance(self.inputs, str):
            if self.inputs != "free":
                raise ValueError(f"inputs is {self.inputs!r}; it must be an int, a float, 'free' or None")
            if self.per_layer is not None:
                raise ValueError("inputs is 'free' beside per_layer; give a number of inputs")
        elif self.inputs is not None:
            check_amount("inputs", self.inputs)

    def _check_numbers(self) -> None:
        _whole("multiple", self.multiple, 1)
        for name in ("reuse_factor", "min_nodes", "max_nodes"):
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if name == "min_nodes" and one == 0:
                    raise ValueError(
                        "min_nodes is 0; it must be a whole number, at least 1: nothing passes an empty "
                        "layer, so the outputs would be constants; to drop it, leave it out of the network"
                    )
                if not (name == "max_nodes" and one is None):
                    _whole(name, one, 1)

    def __repr__(self) -> str:
        given = (
            f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default
        )
        return f"Budget({', '.join(given)})"

    @property
    def kind(self) -> str | None:
        """Which budget governs the hidden nodes; None if only the inputs have one."""
        return next((name for name in KINDS if getattr(self, name) is not None), None)

    def constraints(self, widths: Sequence[int], prefix: str = "") -> list[Constraint]:
        """The budget in numbers, over a network of these widths.

        Parameters
        ----------
        widths : sequence of int
            Inputs, hidden layers, outputs.
        prefix : str, default=""
            Before the names of `nodes` and `inputs` in messages.

        Returns
        -------
        list of Constraint
            One per group of gates, that of the inputs last.

        Raises
        ------
        ValueError
            If the network cannot meet it, with the smallest it can meet.
        """
        widths = tuple(int(w) for w in widths)
        n_hidden, free, kind = len(widths) - 2, self.inputs == "free", self.kind
        n_inputs, found = widths[0], list[Constraint]()
        if self.inputs is not None and not free:
            n_inputs = count(f"{prefix}inputs", self.inputs, widths[0], 1)
            only = (np.arange(n_hidden + 1) == 0).astype(np.int32)
            limits = Limits(only, only * widths[0], 1, np.array(widths[:-1]))
            found.append(Count("inputs", *_gates(widths, [0]), limits, n_inputs))
        if kind is None:
            return found
        covered = check_layers(self.layers, n_hidden, empty=free)
        amounts = self._per_layer(covered, n_hidden) if kind == "per_layer" else {}
        if amounts:
            covered = list(amounts)
        limits = self._limits(widths, covered, free)
        if kind == "per_layer":
            one = [
                Count(f"per_layer[{i}]", *_gates(widths, [i + 1]), limits, self._count(i, amounts, limits))
                for i in covered
            ]
            return [*one, *found]
        where = _gates(widths, [0] * free + [i + 1 for i in covered])
        if kind == "nodes":
            least, most = int(limits.low.sum()), int(limits.high.sum())
            why = self._why("every covered layer")
            keep = count(f"{prefix}nodes", self.nodes, len(where[0]), least, most, self.multiple, why)
            return [Count("nodes", *where, limits, keep), *found]
        asked, reckoned = getattr(self, kind), (n_inputs, *widths[1:])  # with the inputs that will remain
        if kind == "weighted":
            costs = self._node_costs(widths, free)[where[0]]
            return [Weighted(kind, *where, limits, asked, costs), *found]
        reuse = self._reuse(len(widths) - 1) if kind == "multipliers" else (1,) * (len(widths) - 1)
        return [Products(kind, *where, limits, asked, reckoned, reuse, int(kind == "weights")), *found]

    def _per_layer(self, covered: list[int], n_hidden: int) -> dict[int, Amount]:
        asked: Any = self.per_layer
        if not isinstance(asked, tuple):
            return dict.fromkeys(covered, asked)
        if len(asked) != n_hidden:
            raise ValueError(f"per_layer has {len(asked)} entries; the network has {n_hidden} hidden layers")
        amounts = {i: asked[i] for i in covered if asked[i] is not None}
        others = [i for i in range(n_hidden) if i not in covered and asked[i] is not None]
        if others or not amounts:
            where = f"layer {others[0]} is not in layers" if others else "every entry is None"
            raise ValueError(f"per_layer is {asked!r}, but {where}")
        return amounts

    def _count(self, i: int, amounts: dict[int, Amount], limits: Limits) -> int:
        low, high, width = int(limits.low[i + 1]), int(limits.high[i + 1]), int(limits.width[i + 1])
        why = self._why("the layer") if low > 1 else ""
        return count(f"per_layer[{i}]", amounts[i], width, low, high, self.multiple, why)

    def _why(self, where: str) -> str:
        """What the least number of nodes comes from."""
        if self.min_nodes == 1:
            return f"{'one' if self.multiple == 1 else self.multiple} in {where}"
        return f"min_nodes is {self.min_nodes!r}" + f", multiple {self.multiple}" * (self.multiple > 1)

    def _limits(self, widths: tuple[int, ...], covered: list[int], free: bool) -> Limits:
        n_hidden, m = len(widths) - 2, self.multiple
        each = {}
        for name in ("min_nodes", "max_nodes"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != n_hidden:
                raise ValueError(f"{name} has {len(value)} entries; the network has {n_hidden} hidden layers")
            each[name] = value if isinstance(value, tuple) else (value,) * n_hidden
        low, high = np.zeros(n_hidden + 1, np.int32), np.zeros(n_hidden + 1, np.int32)
        if free:
            low[0], high[0] = m, widths[0] // m * m
        for i in covered:
            w, least, most = widths[i + 1], each["min_nodes"][i], each["max_nodes"][i]
            if most is not None and most < least:
                raise ValueError(f"max_nodes is {most} and min_nodes is {least} for hidden layer {i}")
            low[i + 1] = -(-min(least, w) // m) * m
            high[i + 1] = (w if most is None else min(w, most)) // m * m
        for layer in np.flatnonzero(low > high):
            what = "the inputs" if layer == 0 else f"hidden layer {layer - 1}"
            raise ValueError(
                f"multiple is {m}; {what} of {widths[layer]} nodes cannot have a multiple of that within its "
                "min_nodes and max_nodes"
            )
        return Limits(low, high, m, np.array(widths[:-1]))

    def _node_costs(self, widths: tuple[int, ...], free: bool) -> F64:
        entries: Any = self.costs
        layers = widths[:-1] if free else widths[1:-1]
        if len(entries) != len(layers):
            first = "the inputs and " if free else ""
            raise ValueError(
                f"costs has {len(entries)} entries; it needs {len(layers)}, for {first}each hidden layer"
            )
        flat = [np.zeros(0 if free else widths[0])]
        for i, (entry, width) in enumerate(zip(entries, layers, strict=True)):
            try:
                one = np.broadcast_to(np.asarray(entry, float), (width,))
            except (TypeError, ValueError):
                raise ValueError(
                    f"costs[{i}] must be a number or {width} numbers, one per node; it is {entry!r}"
                ) from None
            if not (np.isfinite(one).all() and (one >= 0).all()):
                raise ValueError(f"costs[{i}] is {entry!r}; costs must be finite and at least 0")
            flat.append(one)
        return np.concatenate(flat)

    def _reuse(self, n_dense: int) -> tuple[int, ...]:
        if not isinstance(self.reuse_factor, tuple):
            return (int(self.reuse_factor),) * n_dense  # type: ignore[arg-type]
        if len(self.reuse_factor) != n_dense:
            raise ValueError(
                f"reuse_factor has {len(self.reuse_factor)} entries; the network has {n_dense} dense layers"
            )
        return self.reuse_factor


def check_amount(name: str, asked: object) -> None:
    """An int or a float that is a fraction.

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    if isinstance(asked, (bool, np.bool_)) or not isinstance(asked, numbers.Real):
        raise TypeError(f"{name} is {asked!r}; it must be an int (that number), a float (a fraction) or None")
    if not isinstance(asked, numbers.Integral) and not 0 < float(asked) <= 1:
        raise ValueError(
            f"{name} is {asked!r}; a fraction must be above 0 and at most 1 (a number is an int)"
        )


def count(
    name: str,
    asked: object,
    total: int,
    least: int,
    most: int | None = None,
    multiple: int = 1,
    why: str = "",
) -> int:
    """Number of nodes meant by an int (exact) or a float (fraction, rounded down).

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it is below `least` (`why` says what that comes from), above `most` (`total` by default), no
        multiple, NaN, or a fraction above 1.
    """
    check_amount(name, asked)
    most = total if most is None else most
    if isinstance(asked, numbers.Integral):
        number = int(asked)
    else:
        number = fraction_of(float(asked), total)  # type: ignore[arg-type]
        number = min(number, most)
        number -= number % multiple
    shown = f"{asked!r}" if number == asked else f"{asked!r}, {number} of {total}"
    if not least <= number <= most:
        reason = f" ({why})" if why else ""
        raise ValueError(f"{name} is {shown}; it must be at least {least}{reason} and at most {most}")
    if number % multiple:
        below = number - number % multiple
        near = " or ".join(str(n) for n in (below, below + multiple) if least <= n <= most)
        raise ValueError(
            f"{name} is {shown}; widths in multiples of {multiple} never add up to that; nearest: {near}"
        )
    return number


def fraction_of(fraction: float, total: float) -> int:
    """Rounded down, but 0.7 * 10 is 7 to a physicist, whatever the last bit of 0.7 says."""
    return math.floor(fraction * total * (1 + 1e-12))


def check_layers(layers: Sequence[int] | None, n_hidden: int, empty: bool = False) -> list[int]:
    """Hidden layers covered, in order; `empty` allows none.

    Raises
    ------
    ValueError
        If they are not distinct hidden layers of the network.
    """
    if empty and (n_hidden == 0 or (layers is not None and len(layers) == 0)):
        return []
    if n_hidden == 0:
        raise ValueError("the network has no hidden layer: there is no node for a budget to count")
    if layers is None:
        return list(range(n_hidden))
    chosen, layers = np.asarray(layers), list(layers)
    if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
        raise ValueError(f"layers is {layers!r}; it must list hidden layers, 0 to {n_hidden - 1}")
    if chosen.min() < -n_hidden or chosen.max() >= n_hidden or len(set(chosen % n_hidden)) < len(chosen):
        raise ValueError(f"layers is {layers!r}; it must list hidden layers, 0 to {n_hidden - 1}, each once")
    return sorted(int(i) for i in chosen % n_hidden)


def _frozen(value: Any) -> Any:
    """Tuples all the way, so that a Budget can be compared, hashed and copied."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple, range)) else value


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, at least {least}")


def _gates(widths: Sequence[int], layers: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Places among all gates, and layers, of the nodes of some layers (0: the inputs)."""
    layer = np.repeat(np.arange(len(widths) - 1, dtype=np.int32), widths[:-1])
    index = np.flatnonzero(np.isin(layer, layers)).astype(np.int32)
    return index, layer[index]
