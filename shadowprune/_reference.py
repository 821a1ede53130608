"""The slow twin of the C core, in float64 NumPy: what the tests believe.

Every name of :mod:`shadowprune._core` is here, with the same arguments and the same meaning, one function per
C function, written to be read beside the formulas. Nothing is fast, nothing is blocked, arguments are not
checked, and no step is shared with the C code: theta, for one, comes from bisection here, from Newton there.

Symbols
-------
n rows; a network of widths w_0 (inputs), w_1 .. w_L (outputs); a flat block of parameters: per dense layer,
W (n_in, n_out) row by row and then b (n_out,); one gate per input and hidden node, in that order.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
#: A cost C(g) that rises with every gate: None (node count), the vector c of sum c_i g_i, the tuple
#: (linear or None, layer, fixed, pair) of `cost_of`, or g -> (C, dC/dg).
Pairs = tuple[F64 | None, NDArray[np.int32], F64, F64]
Cost = F64 | Pairs | Callable[[F64], tuple[float, F64]] | None

LEAKY_SLOPE = 0.01


# --- the network


def n_params(widths: Sequence[int]) -> int:
    """Length of the flat parameter block: sum over dense layers of (n_in + 1) n_out."""
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))


def unpack(widths: Sequence[int], params: F64) -> list[tuple[F64, F64]]:
    """Views (W, b) of every dense layer: W (n_in, n_out), b (n_out,)."""
    layers, at = [], 0
    for n_in, n_out in pairwise(widths):
        weights = params[at : at + n_in * n_out].reshape(n_in, n_out)
        at += n_in * n_out
        layers.append((weights, params[at : at + n_out]))
        at += n_out
    return layers


def weight_mask(widths: Sequence[int]) -> Bools:
    """True for the entries of W in the flat block, False for those of b: what weight decay reaches."""
    mask = np.ones(n_params(widths))
    for _, bias in unpack(widths, mask):
        bias[:] = 0.0
    return mask > 0


def split_gates(widths: Sequence[int], gates: NDArray[Any]) -> list[NDArray[Any]]:
    """One flat array over inputs and hidden nodes, cut into one array (w_l,) per layer."""
    return np.split(gates, np.cumsum(widths[:-2])) if len(widths) > 2 else [gates]


def sigmoid(z: F64) -> F64:
    """1 / (1 + e^-z), without overflow: e^-|z| is at most 1."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def probabilities(z: ArrayLike) -> F64:
    """1 - sigmoid(z) and sigmoid(z), (n, 2), of logits z (n, 1)."""
    exact = np.asarray(z, dtype=np.float64)
    return np.hstack([sigmoid(-exact), sigmoid(exact)])


def activate(activation: str, z: F64) -> F64:
    """phi(z) of the hidden nodes."""
    match activation:
        case "relu":
            return np.where(z < 0, 0.0, z)
        case "leaky_relu":
            return np.where(z > 0, z, LEAKY_SLOPE * z)
        case "tanh":
            return np.tanh(z)
        case "sigmoid":
            return sigmoid(z)
        case "linear":
            return z
    raise ValueError(f"activation must be relu, leaky_relu, tanh, sigmoid or linear, got {activation!r}")


def slope(activation: str, z: F64) -> F64:
    """phi'(z); at the kink of the relus the slope of the negative side."""
    match activation:
        case "relu":
            return np.where(z > 0, 1.0, 0.0)
        case "leaky_relu":
            return np.where(z > 0, 1.0, LEAKY_SLOPE)
        case "tanh":
            return 1.0 - np.tanh(z) ** 2
        case "sigmoid":
            return sigmoid(z) * sigmoid(-z)
        case "linear":
            return np.ones_like(z)
    raise ValueError(f"activation must be relu, leaky_relu, tanh, sigmoid or linear, got {activation!r}")


def preactivations(
    widths: Sequence[int], activation: str, params: F64, x: ArrayLike, gates: F64 | None = None
) -> list[F64]:
    """z_1 .. z_L, each (n, w_l), the last one the logits.

    z_{l+1} = (g_l * a_l) W_l + b_l with a_0 = x and a_l = phi(z_l): the gate multiplies after the activation,
    so that the bias of a dead node is dead too.
    """
    a = np.asarray(x, dtype=np.float64)
    open_gates = np.ones(sum(widths[:-1])) if gates is None else np.asarray(gates, dtype=np.float64)
    z: list[F64] = []
    for g, (weights, bias) in zip(split_gates(widths, open_gates), unpack(widths, params), strict=True):
        z.append((g * a) @ weights + bias)
        a = activate(activation, z[-1])
    return z


def forward(
    widths: Sequence[int], activation: str, params: F64, x: ArrayLike, gates: F64 | None = None
) -> F64:
    """Logits (n, w_L)."""
    return preactivations(widths, activation, params, x, gates)[-1]


def backward(
    widths: Sequence[int], activation: str, params: F64, x: ArrayLike, dz: F64, gates: F64 | None = None
) -> tuple[F64, F64, F64]:
    """(dparams, dgates, dx) for the gradient dz (n, w_L) at the logits.

    With h = g * a, the values that enter a layer:
    dW = h^T dz, db = sum_rows dz, dh = dz W^T, dg = sum_rows dh * a, and on to the layer below
    dz <- (g * dh) * phi'(z).
    """
    z = preactivations(widths, activation, params, x, gates)
    a = [np.asarray(x, dtype=np.float64), *(activate(activation, zl) for zl in z[:-1])]
    open_gates = np.ones(sum(widths[:-1])) if gates is None else np.asarray(gates, dtype=np.float64)
    dparams, dgates = np.zeros(n_params(widths)), np.zeros(sum(widths[:-1]))
    per_layer = split_gates(widths, open_gates), split_gates(widths, dgates)
    dz, da = np.asarray(dz, dtype=np.float64), np.zeros_like(a[0])
    for layer in reversed(range(len(widths) - 1)):
        weights, _ = unpack(widths, params)[layer]
        dweights, dbias = unpack(widths, dparams)[layer]
        g, dg = per_layer[0][layer], per_layer[1][layer]
        dweights[:] = (g * a[layer]).T @ dz
        dbias[:] = dz.sum(axis=0)
        dh = dz @ weights.T
        dg[:] = (dh * a[layer]).sum(axis=0)
        da = g * dh
        if layer > 0:
            dz = da * slope(activation, z[layer - 1])
    return dparams, dgates, da


def reduce(widths: Sequence[int], params: F64, keep: Bools) -> F64:
    """Parameters without the dead nodes.

    A layer loses the rows of its dead inputs and the columns and biases of its dead outputs; all logits stay.
    """
    flags = [*split_gates(widths, np.asarray(keep)), np.ones(widths[-1], dtype=bool)]
    kept = []
    for rows, columns, (weights, bias) in zip(flags[:-1], flags[1:], unpack(widths, params), strict=True):
        kept += [weights[rows][:, columns].ravel(), bias[columns]]
    return np.concatenate(kept)


# --- the losses


def loss(kind: str, z: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> tuple[float, F64]:
    """Mean loss over the rows, L = 1/n sum_i weight_i l_i, weights of any sign; its gradient dz (n, n_out).

    - binary_crossentropy: l = sum_k log(1 + e^z_k) - t_k z_k, whose gradient is sigmoid(z) - t
    - categorical_crossentropy: l = sum_k t_k (log sum_j e^z_j - z_k); gradient softmax(z) sum_k t_k - t
    - squared_error: l = 1/2 sum_k (z_k - t_k)^2; gradient z - t
    """
    z, t = np.asarray(z, dtype=np.float64), np.asarray(target, dtype=np.float64)
    match kind:
        case "binary_crossentropy":
            rows, dz = np.logaddexp(0.0, z) - t * z, sigmoid(z) - t
        case "categorical_crossentropy":
            shifted = z - z.max(axis=1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            rows, dz = -t * log_p, np.exp(log_p) * t.sum(axis=1, keepdims=True) - t
        case "squared_error":
            rows, dz = 0.5 * (z - t) ** 2, z - t
        case _:
            raise ValueError(
                f"loss must be binary_crossentropy, categorical_crossentropy or squared_error, got {kind!r}"
            )
    n = len(z)
    w = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    return float(w @ rows.sum(axis=1)) / n, w[:, None] * dz / n


# --- the shadow


def cdf(family: str, x: F64) -> F64:
    """F(x): logistic 1 / (1 + e^-x); Laplace e^x / 2 below 0, 1 - e^-x / 2 above."""
    if family == "logistic":
        return sigmoid(x)
    half = 0.5 * np.exp(-np.abs(x))
    return np.where(x < 0, half, 1.0 - half)


def gate_slope(family: str, g: F64) -> F64:
    """F'(x) where F(x) = g: logistic g (1 - g); Laplace min(g, 1 - g)."""
    return g * (1 - g) if family == "logistic" else np.minimum(g, 1 - g)


def cost_of(cost: Cost, g: F64) -> tuple[float, F64]:
    """C(g) and dC/dg.

    A tuple means sum linear_i g_i + sum_l pair_l N_l N_{l+1}, N_l = fixed_l + sum of the gates of layer l.
    """
    if callable(cost):
        return cost(g)
    if isinstance(cost, tuple):
        linear, layer, fixed, pair = cost
        n = np.array([f + g[layer == one].sum() for one, f in enumerate(fixed)])
        c = np.zeros_like(g) if linear is None else np.array(linear, dtype=np.float64)
        value = float(c @ g) + sum(p * a * b for p, a, b in zip(pair, n[:-1], n[1:], strict=True))
        for i, one in enumerate(layer):
            c[i] += pair[one - 1] * n[one - 1] if one > 0 else 0.0
            c[i] += pair[one] * n[one + 1] if one + 1 < len(n) else 0.0
        return value, c
    c = np.ones_like(g) if cost is None else np.asarray(cost, dtype=np.float64)
    return float(c @ g), c


def multiplications(widths: Sequence[int], covered: Bools) -> Cost:
    """The cost C = sum_l N_{l-1} N_l, N_l the sum of layer l's gates; gates outside the shadow stay at 1.

    The cost takes the covered gates only, in their order among inputs and hidden nodes.
    """

    def cost(g: F64) -> tuple[float, F64]:
        every = np.ones(sum(widths[:-1]))
        every[covered] = g
        n = np.array([*(layer.sum() for layer in split_gates(widths, every)), widths[-1]])
        below, above = np.concatenate([[0.0], n[:-1]]), np.concatenate([n[1:], [0.0]])
        derivative = np.repeat((below + above)[:-1], widths[:-1])
        return float(n[:-1] @ n[1:]), derivative[covered]

    return cost


def gates(
    scores: F64,
    budget: float,
    temperature: float,
    family: str = "logistic",
    cost: Cost = None,
    theta: float = 0.0,
) -> tuple[F64, float]:
    """g_i = F((s_i - theta) / T) with C(g) = budget, and that theta.

    C falls from its total to 0 as theta rises, so bisection finds the one theta; it stops where two
    neighbouring doubles bracket it. The full budget has no finite theta: every gate is 1 and theta is -inf.
    The argument `theta`, where the search of the C code starts, is not used.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if budget == cost_of(cost, np.ones_like(scores))[0]:
        return np.ones_like(scores), -np.inf

    def surplus(at: float) -> float:
        return cost_of(cost, cdf(family, (scores - at) / temperature))[0] - budget

    low, high, reach = float(scores.min()), float(scores.max()), float(temperature)
    while surplus(low) < 0:
        low, reach = low - reach, 2 * reach
    while surplus(high) > 0:
        high, reach = high + reach, 2 * reach
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if surplus(middle) > 0 else (low, middle)
    best = low if abs(surplus(low)) < abs(surplus(high)) else high
    return cdf(family, (scores - best) / temperature), best


def gates_backward(
    gates: F64, temperature: float, dgates: F64, family: str = "logistic", cost: Cost = None
) -> F64:
    """dL/ds_j = d_j / T (u_j - c_j mu), mu = sum u d / sum c d, with u = dgates, d = F', c = dC/dg.

    From C(g(s)) = const: dtheta/ds_j = c_j d_j / sum c d, which is what mu carries. With unit costs the
    gradient sums to 0. Where every d is 0 (the full budget) no gate moves and the gradient is 0.
    """
    g = np.asarray(gates, dtype=np.float64)
    d = gate_slope(family, g)
    _, c = cost_of(cost, g)
    if not (c * d).sum() > 0:
        return np.zeros_like(d)
    mu = (dgates * d).sum() / (c * d).sum()
    gradient: F64 = d / temperature * (dgates - c * mu)
    return gradient


def select(
    scores: F64,
    layer: NDArray[np.int32],
    n_nodes: int,
    min_nodes: int | NDArray[np.int32],
    max_nodes: int | NDArray[np.int32] | None = None,
    multiple: int = 1,
) -> Bools:
    """The min_nodes best of each layer, then the best blocks of `multiple` nodes until n_nodes are kept.

    The nodes of a layer, best first and ties by index, make the blocks; the sum of its scores ranks a block.
    """
    keep = np.zeros(len(scores), dtype=bool)
    low, high = np.full(max(layer) + 1, min_nodes), np.full(max(layer) + 1, len(scores))
    if max_nodes is not None:
        high[:] = max_nodes
    free, room = [], {}
    for one in np.unique(layer):
        ranked = sorted(np.flatnonzero(layer == one), key=lambda i: (-scores[i], i))
        blocks = [ranked[i : i + multiple] for i in range(0, len(ranked) // multiple * multiple, multiple)]
        must = -(-min(int(low[one]), len(ranked)) // multiple)
        for block in blocks[:must]:
            keep[block] = True
        free += blocks[must:]
        room[one] = int(high[one]) // multiple - must
    for block in sorted(free, key=lambda nodes: (-sum(scores[i] for i in nodes), nodes[0])):
        if keep.sum() < n_nodes and room[layer[block[0]]] > 0:
            room[layer[block[0]]] -= 1
            keep[block] = True
    return keep


def harden(scores: F64, soft: F64, layer: NDArray[np.int32]) -> F64:
    """Hard gates: as many as the soft ones add up to, by score, and at least one in every layer."""
    n_open = max(int(np.floor(soft.sum() + 0.5)), len(np.unique(layer)))
    return select(scores, layer, n_open, 1).astype(np.float64)


def taylor_step(scores: F64, g: F64, u: F64, step: int) -> None:
    """Running mean of (g u)^2 in place: over all steps at first, then with a share of 1 % for each one."""
    share = max(1 / step, 0.01)
    scores[:] = (1 - share) * scores + share * (g * u) ** 2


def scores_step(
    scores: F64,
    grad: F64,
    velocity: F64,
    square: float,
    step: int,
    rate: float,
    n_all: int | None = None,
) -> float:
    """One step t of the score optimiser, in place; returns the new q.

    m = 0.9 m + 0.1 g;  q = 0.99 q + 0.01 mean(g^2), one number for all scores;
    s -= rate (m / (1 - 0.9^t)) / (sqrt(q / (1 - 0.99^t)) + 1e-12)

    n_all: scores the mean is over, if some were taken off (their gradient was zero).
    """
    velocity[:] = 0.9 * velocity + 0.1 * grad
    square = 0.99 * square + 0.01 * float(np.sum(grad**2)) / (n_all or len(grad))
    scores -= rate * (velocity / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-12)
    return square


# --- the optimisers


def adam_step(
    params: F64,
    grad: F64,
    m: F64,
    v: F64,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    decay: ArrayLike | None = None,
) -> None:
    """One AdamW step t in place (Loshchilov and Hutter, arXiv:1711.05101; in the order of torch.optim.AdamW).

    w *= 1 - lr decay;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
    w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
    """
    params *= 1 - learning_rate * np.asarray(0.0 if decay is None else decay)
    m[:] = beta_1 * m + (1 - beta_1) * grad
    v[:] = beta_2 * v + (1 - beta_2) * grad**2
    params -= learning_rate / (1 - beta_1**step) * m / (np.sqrt(v / (1 - beta_2**step)) + epsilon)


def sgd_step(
    params: F64,
    grad: F64,
    velocity: F64,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    decay: ArrayLike | None = None,
) -> None:
    """One step of SGD with momentum in place, in scikit-learn's form, decoupled decay first.

    w *= 1 - lr decay;  u = momentum u - lr g;  w += u, or with Nesterov w += momentum u - lr g
    """
    params *= 1 - learning_rate * np.asarray(0.0 if decay is None else decay)
    velocity[:] = momentum * velocity - learning_rate * grad
    params += momentum * velocity - learning_rate * grad if nesterov else velocity


# --- the two objects


class Model:
    """Forward and backward of one layout; see :func:`forward` and :func:`backward`."""

    def __init__(self, widths: Sequence[int], activation: str) -> None:
        self._widths, self._activation = tuple(widths), activation
        self._last: tuple[F64, F64, F64 | None] | None = None

    def forward(
        self,
        params: ArrayLike,
        x: ArrayLike,
        gates: ArrayLike | None = None,
        keep: bool = False,
        out: F64 | None = None,
    ) -> F64:
        """Logits (n, n_out); keep=True remembers what backward needs."""
        params, x = np.array(params, dtype=np.float64), np.array(x, dtype=np.float64)
        gates = None if gates is None else np.array(gates, dtype=np.float64)
        self._last = (params, x, gates) if keep else None
        out = np.empty((len(x), self._widths[-1])) if out is None else out
        out[:] = forward(self._widths, self._activation, params, x, gates)
        return out

    def backward(self, dz: ArrayLike) -> tuple[F64, F64]:
        """(dparams, dgates) of the last forward(keep=True)."""
        if self._last is None:
            raise ValueError("backward needs a forward(keep=True) before it")
        params, x, gates = self._last
        dparams, dgates, _ = backward(self._widths, self._activation, params, x, np.asarray(dz), gates)
        return dparams, dgates


@dataclass
class _Group:
    """One shadow with its own budget: the gates it covers, their scores, and the score optimiser's state."""

    where: NDArray[np.int32]
    scores: F64
    cost: Cost
    rate: float
    velocity: F64 = field(init=False)
    n_all: int = field(init=False)
    square: float = 0.0
    step: int = 0

    def __post_init__(self) -> None:
        self.scores = np.array(self.scores, dtype=np.float64)
        self.velocity = np.zeros_like(self.scores)
        self.n_all = len(self.scores)


class Trainer:
    """The training loop: batches, gates, gradients, both optimisers."""

    def __init__(
        self,
        widths: Sequence[int],
        activation: str,
        loss: str,
        optimizer: str = "adam",
        batch_size: int = 512,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        momentum: float = 0.9,
        nesterov: bool = True,
    ) -> None:
        self._widths, self._activation, self._loss = tuple(widths), activation, loss
        self._optimizer, self._batch_size = optimizer, batch_size
        self._adam, self._sgd = (beta_1, beta_2, epsilon), (momentum, nesterov)
        self._params, self._m, self._v = (np.zeros(n_params(widths)) for _ in range(3))
        self._step, self._groups, self._family, self._method = 0, list[_Group](), "logistic", "shadow"
        self._gates = np.ones(sum(widths[:-1]))

    def set_state(self, params: ArrayLike, m: ArrayLike, v: ArrayLike, step: int) -> None:
        """Weights, moments (m alone for SGD) and the steps done so far."""
        self._params, self._m, self._v = (np.array(a, dtype=np.float64) for a in (params, m, v))
        self._step = step

    def get_state(self) -> tuple[F64, F64, F64, int]:
        """Copies of weights and moments, and the steps done."""
        return self._params.copy(), self._m.copy(), self._v.copy(), self._step

    def set_shadow(
        self,
        groups: Sequence[tuple[NDArray[np.int32], F64, Cost, float]],
        family: str = "logistic",
        method: str = "shadow",
    ) -> None:
        """Lay a new shadow over the gates named; its optimiser starts afresh. [] takes the shadow off."""
        self._groups, self._family, self._method = [_Group(*group) for group in groups], family, method
        self._gates = np.ones(sum(self._widths[:-1]))

    def get_shadow(self) -> list[F64]:
        """Scores of each group."""
        return [group.scores.copy() for group in self._groups]

    def reduced(self, keep: Bools) -> "Trainer":
        """A copy that goes on without the nodes whose flag is false; costs must be vectors or None."""
        small, keep = deepcopy(self), np.asarray(keep)
        small._drop(keep)
        return small

    def _drop(self, keep: Bools) -> None:
        self._params, self._m, self._v = (
            reduce(self._widths, block, keep) for block in (self._params, self._m, self._v)
        )
        self._widths = (*(int(k.sum()) for k in split_gates(self._widths, keep)), self._widths[-1])
        self._gates = self._gates[keep]
        place = np.cumsum(keep) - 1
        for group in self._groups:
            stay = keep[group.where]
            group.where = place[group.where[stay]].astype(np.int32)
            group.scores, group.velocity = group.scores[stay], group.velocity[stay]
            group.cost = group.cost if group.cost is None else np.asarray(group.cost)[stay]

    def gates(self) -> F64:
        """Gates of the last step, one per input and hidden node."""
        return self._gates.copy()

    def run(
        self,
        x: ArrayLike,
        target: ArrayLike,
        weight: ArrayLike | None,
        order: ArrayLike,
        learning_rate: ArrayLike,
        weight_decay: ArrayLike,
        budgets: ArrayLike | None = None,
        temperatures: ArrayLike | None = None,
    ) -> F64:
        """Train on the rows of order, batch_size at a time (the last may be shorter); the loss of each step.

        Per step t: gates from the scores at (budget_t, temperature_t); gradients of the mean loss over the
        batch; one step of the weights, whose decay leaves the biases alone; one step of the scores, from the
        same gates. Theta keeps the true cost; the gradient of the scores projects with unit costs, which
        selects better. Straight-through: gates are hard, the gradient of the scores is as if they were soft.
        Taylor: gates are hard, scores a running mean of their saliency.
        """
        x, target = np.asarray(x, dtype=np.float64), np.asarray(target, dtype=np.float64)
        order, rates, decays = (np.asarray(a) for a in (order, learning_rate, weight_decay))
        losses, decayed = [], weight_mask(self._widths)
        layer = np.repeat(np.arange(len(self._widths) - 1, dtype=np.int32), self._widths[:-1])
        for t, start in enumerate(range(0, len(order), self._batch_size)):
            rows = order[start : start + self._batch_size]
            soft = []
            for k, group in enumerate(self._groups):
                at = float(np.asarray(budgets)[t, k]), float(np.asarray(temperatures)[t, k])
                g, _ = gates(group.scores, *at, self._family, group.cost)
                hard = self._method != "shadow"
                self._gates[group.where] = harden(group.scores, g, layer[group.where]) if hard else g
                soft.append((g, at[1]))
            net = self._widths, self._activation, self._params, x[rows]
            row_weights = None if weight is None else np.asarray(weight)[rows]
            value, dz = loss(self._loss, forward(*net, self._gates), target[rows], row_weights)
            dparams, dgates, _ = backward(*net, dz, self._gates)
            losses.append(value)
            self._step += 1
            rate, decay = float(rates[t]), float(decays[t]) * decayed
            if self._optimizer == "adam":
                adam_step(self._params, dparams, self._m, self._v, self._step, rate, *self._adam, decay)
            else:
                sgd_step(self._params, dparams, self._m, rate, *self._sgd, decay)
            for group, (g, temperature) in zip(self._groups, soft, strict=True):
                u = dgates[group.where]
                group.step += 1
                if self._method == "taylor":
                    taylor_step(group.scores, self._gates[group.where], u, group.step)
                    continue
                ds = gates_backward(g, temperature, u, self._family)
                group.square = scores_step(
                    group.scores, ds, group.velocity, group.square, group.step, group.rate, group.n_all
                )
        return np.array(losses)
