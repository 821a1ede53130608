"""Slow float64 twin of csrc/path.c: one step over several budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _reference as twin

F64 = NDArray[np.float64]

SHUT = 1e-4  # a gate below it is closed


class PathTrainer:
    """As `_core.Trainer` after `set_shadow` with one group, and `set_path`; Adam.

    Attributes
    ----------
    params, m, v : ndarray of shape (n_params,)
        Weights and moments.
    scores : ndarray of shape (n,)
    gain : ndarray of shape (n_knots - 1, n_gates)
    shift : ndarray of shape (n_knots - 1, hidden nodes and outputs)
    rank : ndarray of shape (n,) or None
        Order of the nodes, once it is fixed.
    """

    def __init__(
        self, widths: Sequence[int], activation: str, loss: str, batch_size: int, params: ArrayLike,
        index: NDArray[np.int32], scores: ArrayLike, rate: float, knots: ArrayLike,
    ) -> None:  # fmt: skip
        self.widths, self.activation, self.loss = tuple(widths), activation, loss
        self.batch_size, self.index, self.rate = batch_size, index, rate
        self.params = np.array(params, np.float64)
        self.m, self.v = np.zeros_like(self.params), np.zeros_like(self.params)
        self.scores = np.array(scores, np.float64)
        self.velocity, self.square, self.step, self.score_step = np.zeros_like(self.scores), 0.0, 0, 0
        self.knots = np.log(np.asarray(knots, np.float64))
        n_gates = sum(widths[:-1])
        self.gain = np.zeros((len(self.knots) - 1, n_gates))
        self.shift = np.zeros((len(self.knots) - 1, sum(widths[1:])))
        self._moments = [(np.zeros_like(a), np.zeros_like(a)) for a in (self.gain, self.shift)]
        self.rank: NDArray[np.int32] | None = None

    def part(self, budget: float) -> F64:
        """Hat functions of the knots at a budget; the last knot has no correction."""
        hats = np.eye(len(self.knots))
        return np.array([np.interp(np.log(budget), self.knots, hat) for hat in hats])[:-1]

    def gates(self, budget: float, temperature: float) -> F64:
        """Gates of the group."""
        if self.rank is not None:
            return (self.rank < budget).astype(np.float64)
        return twin.gates(self.scores, budget, temperature)[0]

    def permute(self, order: NDArray[np.int32]) -> None:
        """Node i becomes what order[i] was, of inputs and hidden nodes; `index` covers the latter."""
        n_in, n_out = self.widths[0], self.widths[-1]
        outputs = np.arange(n_out, dtype=np.int32)
        local = [of - of.min() for of in twin.split_gates(self.widths, order)] + [outputs]
        hidden = order[n_in:] - n_in
        after_inputs = np.concatenate([hidden, len(hidden) + outputs])
        for flat in (self.params, self.m, self.v):
            layers = twin.unpack(self.widths, flat)
            for (w, b), rows, columns in zip(layers, local[:-1], local[1:], strict=True):
                w[:], b[:] = w[np.ix_(rows, columns)], b[columns]
        for values, by in ((self.gain, order), (self.shift, after_inputs)):
            values[:] = values[:, by]
        for moments, by in zip(self._moments, (order, after_inputs), strict=True):
            for values in moments:
                values[:] = values[:, by]
        self.scores, self.velocity = self.scores[hidden], self.velocity[hidden]
        if self.rank is not None:
            self.rank = self.rank[hidden]

    def one_pass(
        self, budget: float, temperature: float, x: F64, target: F64, weight: F64 | None
    ) -> tuple[float, F64, F64, F64, F64, F64]:
        """Loss, outputs, and gradients of weights, gains, shifts and scores under one budget."""
        if budget >= len(self.scores):
            net = self.widths, self.activation, self.params, x
            z = twin.forward(*net)
            value, dz = twin.loss(self.loss, z, target, weight)
            return value, z, twin.backward(*net, dz)[0], 0 * self.gain, 0 * self.shift, 0 * self.scores
        part, g = self.part(budget), self.gates(budget, temperature)
        gain, shift = part @ self.gain, part @ self.shift
        whole = 1 + gain
        whole[self.index] *= np.where(g < SHUT, 0, g)
        params = self.params.copy()
        is_bias = ~twin.weight_mask(self.widths)
        params[is_bias] += shift
        net = self.widths, self.activation, params, x
        z = twin.forward(*net, whole)
        value, dz = twin.loss(self.loss, z, target, weight)
        dparams, u, _ = twin.backward(*net, dz, whole)
        of_group = np.where(g < SHUT, 0, u[self.index])
        dgain, dscores = np.zeros_like(gain), np.zeros_like(self.scores)
        dgain[self.index] = of_group * g
        if self.rank is None:
            dscores = twin.gates_backward(g, temperature, of_group * (1 + gain[self.index]))
        return value, z, dparams, np.outer(part, dgain), np.outer(part, dparams[is_bias]), dscores

    def run(
        self, x: ArrayLike, target: ArrayLike, weight: ArrayLike | None, order: NDArray[Any],
        learning_rate: ArrayLike, weight_decay: ArrayLike, budgets: ArrayLike, temperatures: ArrayLike,
    ) -> F64:  # fmt: skip
        """Loss of the first pass at every step; then everything moves along the sum of all passes."""
        x, target, budgets = (np.asarray(a, np.float64) for a in (x, target, budgets))
        rates, decays = np.asarray(learning_rate, np.float64), np.asarray(weight_decay, np.float64)
        losses = []
        for t, start in enumerate(range(0, len(order), self.batch_size)):
            rows = order[start : start + self.batch_size]
            w = None if weight is None else np.asarray(weight, np.float64)[rows]
            temperature = float(np.asarray(temperatures)[t, 0])
            first, others = float(budgets[t, 0]), budgets[t, 1:]
            value, z, *total = self.one_pass(first, temperature, x[rows], target[rows], w)
            losses.append(value)
            # half the label, half the prediction, which is the label plus dL/dz of one row
            soft = target[rows] + 0.5 * len(rows) * twin.loss(self.loss, z, target[rows])[1]
            for budget in others[others < len(self.scores)]:
                _, _, *found = self.one_pass(float(budget), temperature, x[rows], soft, w)
                total = [a + b for a, b in zip(total, found, strict=True)]
            self.step += 1
            adam = float(rates[t]), 0.9, 0.999, 1e-8
            decay = float(decays[t]) * twin.weight_mask(self.widths)
            twin.adam_step(self.params, total[0], self.m, self.v, self.step, *adam, decay)
            for values, grad, (m, v) in zip((self.gain, self.shift), total[1:3], self._moments, strict=True):
                twin.adam_step(values, grad, m, v, self.step, *adam)
            if self.rank is None:
                self.score_step += 1
                self.square = twin.scores_step(
                    self.scores, total[3], self.velocity, self.square, self.score_step, self.rate
                )
        return np.array(losses)
