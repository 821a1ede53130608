"""What the estimators take and have: the texts of their docstrings, and checks of what is given."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

from .budget import Budget
from .network import ACTIVATIONS
from .shadow import METHODS

N_NODES = 0.7  # by default


PARAMETERS = """hidden_layer_sizes : int or sequence of int, default=(64, 64, 64, 64)
        Nodes of each hidden layer before pruning.
    n_nodes : int, float or None, default=0.7
        Hidden nodes to keep: an int is the exact number, a float the fraction (rounded down) of the
        nodes in the covered layers. None trains without shadow.
        Where six nodes or fewer are left in the average hidden layer, eight orders of them are tried, which
        takes two to three times as long; from 512 rows on sixty-four, which takes up to thirty times as long,
        and half as many from each of 8,192, 16,384 and 32,768 rows on, of several classes from each of
        32,768, 65,536 and 131,072. The one of least loss is kept; of several classes, of the half of them
        with the least loss, that with the largest area under its ROC curves (the mean of each class against
        the others; weighted, unless a weight is negative). See `ShadowNetwork`. So it is for counts in
        `budget` and in `prune`. Of 512 to 16,383 rows, but not of several classes, scores then move half as
        fast.
    n_inputs : int, float or None, default=None
        Input features to keep, in the same way. None keeps all.
    prune_layers : sequence of int, optional
        Hidden layers under the shadow, counted from 0; all by default.
    budget : Budget, optional
        What may remain, in any unit: nodes per layer, multiplications, multipliers at a reuse factor, weights
        and more, with limits per layer. In place of `n_nodes`, `n_inputs` and `prune_layers`, which are a
        shorthand for it.
    method : {"shadow", "straight-through", "taylor"}, default="shadow"
        How nodes and inputs are chosen; see `ShadowNetwork`.
    activation : {"relu", "leaky_relu", "tanh", "sigmoid", "linear"}, default="relu"
        Activation of the hidden layers.
    alpha : float or "auto", default="auto"
        Decoupled weight decay. "auto" follows the live size of the network, which is less decay
        for smaller networks; where the network before pruning has more weights than there are targets
        (rows times outputs), it is times the weights per target, up to five; of classifiers it falls less
        with the size from seven on. With more than 100,000 rows (in large networks .15 weights per row) it
        is smaller, down to half. Of classifiers that lose nodes it is half while the budget falls and 1.5
        times after the hard finish. Where hidden layers have, on average, fewer nodes than there are classes
        it is larger, up to twice that of the whole network; then more of it comes first, less at last,
        and least, down to a tenth, where there are less than .4 weights per target.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is 32, and 64, 128, 256 and 512 from 4,096, 16,384, 32,768 and 65,536 rows on.
    learning_rate_init : float or "auto", default="auto"
        Largest learning rate; it rises over the first 3 % of the steps and falls to zero as a cosine.
        "auto" is 0.005, more with the square root of a batch above 512 rows, and goes against that of the
        part of the nodes that is kept, up to three times as much. Where hidden layers have, on average, fewer
        nodes than there are classes it is times classes per node, again up to three.
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 30, or as many as make 3,000 steps. Where less of the nodes is kept than .3 (a limit
        that rises to .6 as the weights per target before the pruning fall from .4 to .2), it grows
        with the root of the limit over what is kept, up to 60. With 4,096 to 50,000 rows it grows
        with the power of 1.25, up to 240 or to 3,000,000 rows seen, but not where classes are more than
        twice the nodes of the average hidden layer.
    early_stopping : bool, default=False
        Hold rows back, return the best network since the hard finish (since one order of the nodes is left,
        where several are tried) by its score on them, and stop when that has not improved for
        `n_iter_no_change` epochs.
    validation_fraction : float, default=0.1
        Part of the rows held back for early stopping.
    n_iter_no_change : int, default=10
        Patience of early stopping, in epochs.
    standardize : bool, default=True
        Scale every column to mean 0 and variance 1 for the training, and fold this into `network_`.
    precision : str or sequence of str, optional
        Train for this fixed point, as in `quantize`: ``"auto:8"``, ``"fixed<8,3>"``, or one per dense layer
        (the inputs' may come first). Columns are then standardised by powers of two; from the hard finish
        on weights and activations are seen as fixed point holds them. Needs relu; at most 16 bits.
    random_state : int, numpy.random.RandomState or None, default=None
        Seed of weights, scores and the order of rows.
    n_jobs : int or None, default=None
        Threads inside one training: None is one, -1 all cores this process may use. They change no bit of
        the result. Many trainings are better run side by side, see `fit_many`.
    verbose : bool, default=False
        Show a progress bar."""

ATTRIBUTES = """network_ : Network
        The reduced network. It takes the user's own columns (those kept, if `n_inputs` is given).
    support_ : list of ndarray of bool
        Nodes kept: inputs, then each hidden layer of `hidden_layer_sizes`.
    n_nodes_ : int
        Hidden nodes of `network_`.
    widths_ : tuple of int
        Width of each hidden layer of `network_`.
    budget_report_ : tuple of BudgetReport
        Per budget: what was asked, what is used, and the slack between them.
    history_ : History
        Loss, open nodes, gates and more, per epoch.
    fixed_network_ : FixedNetwork or None
        With `precision`: the network in fixed point, which is what predictions are made with and what
        the emitters take; `network_` has its weights and no other rounding.
    loss_curve_ : list of float
        Mean training loss per epoch.
    n_iter_ : int
        Epochs done."""


def checked_layers(estimator: Any) -> list[int]:
    """Hidden layers before pruning, once every parameter of the estimator was found to be usable."""
    sizes = estimator.hidden_layer_sizes
    hidden: list[Any] = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    if any(isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1 for n in hidden):
        raise ValueError(f"hidden_layer_sizes is {sizes!r}; it must hold whole numbers, at least 1")
    if not (estimator.prune_layers is None or np.ndim(estimator.prune_layers) == 1):
        raise ValueError(
            f"prune_layers is {estimator.prune_layers!r}; it must list hidden layers, from 0, or be None"
        )
    if estimator.activation not in ACTIVATIONS:
        raise ValueError(
            f"activation is {estimator.activation!r}; it must be one of {', '.join(ACTIVATIONS)}"
        )
    if estimator.method not in METHODS:
        raise ValueError(f"method is {estimator.method!r}; it must be one of {', '.join(METHODS)}")
    bounds: tuple[tuple[str, float, Any], ...] = (
        ("alpha", 0, numbers.Real),
        ("batch_size", 1, numbers.Integral),
        ("learning_rate_init", 1e-12, numbers.Real),
        ("max_iter", 1, numbers.Integral),
        ("n_iter_no_change", 1, numbers.Integral),
    )
    for name, low, kind in bounds:
        value: Any = getattr(estimator, name)
        if isinstance(value, str) and value == "auto" and name != "n_iter_no_change":
            continue
        if isinstance(value, bool) or not isinstance(value, kind) or not low <= value < math.inf:
            what = "a whole number" if kind is numbers.Integral else "a finite number"
            auto = "" if name == "n_iter_no_change" else ' or "auto"'
            raise ValueError(f"{name} is {value!r}; it must be {what}, at least {low}{auto}")
    if estimator.early_stopping and not 0 < estimator.validation_fraction < 1:
        raise ValueError(
            f"validation_fraction is {estimator.validation_fraction!r}; it must be between 0 and 1"
        )
    return [int(n) for n in hidden]


def check_shorthand(estimator: Any) -> None:
    """A budget takes the place of n_nodes, whose default gives way; anything else must say the same."""
    budget: Any = estimator.budget
    if not isinstance(budget, Budget):
        raise TypeError(f"budget is {budget!r}; it must be a shadowprune.Budget")
    layers = None if estimator.prune_layers is None else tuple(estimator.prune_layers)
    for name, value, usual, stated in (
        ("n_nodes", estimator.n_nodes, N_NODES, budget.nodes),
        ("n_inputs", estimator.n_inputs, None, budget.inputs),
        ("prune_layers", layers, None, budget.layers),
    ):
        # 1 is a node, 1.0 is all of them
        same = value == stated and isinstance(value, numbers.Integral) == isinstance(stated, numbers.Integral)
        if not (value is None or value == usual or same):
            raise ValueError(f"{name} is {value!r}, but budget is {budget!r}; state it in the budget only")
