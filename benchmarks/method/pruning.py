"""Train, prune, fine-tune: the networks of a training rated by torch-pruning's criteria."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shadowprune.network import Network

from ..torch_training import descend
from .dense import RULE, best, decay_of, fit, fresh, narrow, rng_of
from .samples import Data

F64 = NDArray[np.float64]

TAYLOR_BATCHES = 32
CRITERIA = ("L1", "L2", "Taylor", "random")


def to_torch(network: Network) -> Any:
    """The same network as a `torch.nn.Sequential` of Linear and ReLU."""
    import torch

    modules: list[Any] = []
    for layer, (n_in, n_out) in enumerate(pairwise(network.widths)):
        linear = torch.nn.Linear(n_in, n_out)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(network.weights[layer].T.copy()))
            linear.bias.copy_(torch.from_numpy(network.biases[layer].copy()))
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def from_torch(model: Any) -> Network:
    """And back."""
    linear = [module for module in model if hasattr(module, "weight")]
    network = Network([linear[0].in_features, *(module.out_features for module in linear)])
    for module, w, b in zip(linear, network.weights, network.biases, strict=True):
        w[:], b[:] = module.weight.detach().numpy().T, module.bias.detach().numpy()
    return network


def fit_torch(
    network: Network, data: Data, epochs: int, decay: float | str, rng: np.random.Generator, rate: float = 1.0
) -> tuple[Network, float]:
    """As `dense.fit`, by PyTorch."""
    import torch

    torch.set_num_threads(1)
    model = to_torch(network)
    begin = time.thread_time()
    descend(
        model, torch.from_numpy(data.x), torch.from_numpy(data.target), epochs, int(rng.integers(2**31)),
        batch=data.batch, rate=rate * data.rate, decay=decay_of(decay, network, data),
    )  # fmt: skip
    return from_torch(model), time.thread_time() - begin


def importances(
    network: Network, criterion: str, normalise: bool, data: Data, rng: np.random.Generator
) -> F64:
    """torch-pruning's importance of every hidden node; Taylor's is the mean over batches of training rows.

    Parameters
    ----------
    network : Network
    criterion : str
        One of `CRITERIA`.
    normalise : bool
        Divide by the mean of the layer, torch-pruning's default, before layers are compared.
    data : Data
        The rows and the loss for Taylor.
    rng : numpy.random.Generator
        Which rows; the values of "random".
    """
    if criterion == "random":
        return rng.random(network.n_nodes)
    import torch
    import torch_pruning

    torch.set_num_threads(1)  # the trainings have the processors
    usual = {"normalizer": "mean" if normalise else None}
    rate = {
        "L1": partial(torch_pruning.importance.MagnitudeImportance, p=1),
        "L2": partial(torch_pruning.importance.MagnitudeImportance, p=2),
        "Taylor": torch_pruning.importance.TaylorImportance,
    }[criterion](**usual)
    model = to_torch(network)
    graph = torch_pruning.DependencyGraph().build_dependency(model, torch.zeros(1, network.widths[0]))
    linear = [module for module in model if isinstance(module, torch.nn.Linear)]

    def rated() -> F64:
        groups = [
            graph.get_pruning_group(
                one, torch_pruning.prune_linear_out_channels, list(range(one.out_features))
            )
            for one in linear[:-1]
        ]
        return np.concatenate([rate(group).detach().numpy().astype(np.float64) for group in groups])

    if criterion != "Taylor":
        return rated()
    binary = data.target.shape[1] == 1
    loss = torch.nn.BCEWithLogitsLoss() if binary else torch.nn.CrossEntropyLoss()
    rows = rng.permutation(len(data.x))
    total = np.zeros(network.n_nodes)
    for part in np.array_split(rows, max(1, len(rows) // 512))[:TAYLOR_BATCHES]:
        model.zero_grad()
        loss(model(torch.from_numpy(data.x[part])), torch.from_numpy(data.target[part])).backward()
        total += rated()
    return total


def own_count(network: Network, scores: F64, count: int) -> int:
    """Nodes that torch-pruning's own global pruner leaves when asked for `count` by these importances."""
    import torch
    import torch_pruning

    model = to_torch(network)
    linear = [module for module in model if isinstance(module, torch.nn.Linear)]
    parts = np.split(scores, np.cumsum([one.out_features for one in linear[:-1]])[:-1])
    by_layer = {id(one): torch.from_numpy(part) for one, part in zip(linear, parts, strict=False)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.BasePruner(
            model,
            torch.zeros(1, network.widths[0]),
            lambda group: by_layer[id(group[0].dep.target.module)],
            global_pruning=True,
            pruning_ratio=1 - count / network.n_nodes,
            ignored_layers=[linear[-1]],
        )
        pruner.step()
    return sum(one.out_features for one in linear[:-1])


@lru_cache(maxsize=64)
def original(
    data: Data, epochs: int, seed: int, fit: Callable[..., tuple[Network, float]]
) -> tuple[Network, float]:
    """The unpruned network and the seconds it took; shared by the budgets and methods of a seed."""
    return fit(fresh(data.widths, seed), data, epochs, RULE, rng_of(seed, 1))


def steps_down(start: int, count: int, steps: int) -> list[int]:
    """Node counts on the way, in equal ratios, the last one `count`."""
    return [math.ceil(start * (count / start) ** (step / steps)) for step in range(1, steps)] + [count]


def train_prune_finetune(
    data: Data, count: int, seed: int, *, criterion: str, cuts: int = 1, longer: int = 1,
    per_layer: bool = False, decay: float | str = RULE, rate: float = 1.0, split: float = 0.5,
    normalise: bool = True, fit: Callable[..., tuple[Network, float]] = fit,
) -> tuple[Network, float, int | None]:  # fmt: skip
    """Train the original, take nodes off in one or several steps, fine-tune after each.

    Parameters
    ----------
    data, count, seed
        Rows, nodes to keep, seed.
    criterion : str
        One of `CRITERIA`.
    cuts : int
        The epochs after the first training are shared out evenly among them, the last has what is left over.
    longer : int
        Times the usual epochs.
    per_layer : bool
        The same part of every layer instead of the best nodes over all layers.
    decay : float or "rule"
        Weight decay of the fine-tuning; the original's follows the rule, which suits it best.
    rate : float
        Learning rate of the fine-tuning, times the usual one.
    split : float
        Part of the epochs that the original gets.
    normalise : bool
        See `importances`.
    fit : callable
        What trains, as `dense.fit`.

    Returns
    -------
    network : Network
        With exactly `count` nodes.
    seconds : float
        Processor time, original included.
    own : int or None
        Nodes that torch-pruning's own pruner would have left at the last cut; None where it is not asked.
    """
    epochs = longer * data.epochs
    first = round(split * epochs)
    network, seconds = original(data, first, seed, fit)
    own = None
    rest = epochs - first
    for step, nodes in enumerate(steps_down(network.n_nodes, count, cuts)):
        begin = time.thread_time()
        scores = importances(network, criterion, normalise, data, rng_of(seed, 2, step))
        hidden = network.widths[1:-1]
        if per_layer:
            parts = np.split(scores, np.cumsum(hidden)[:-1])
            support = [
                best(part, [len(part)], n)[0] for part, n in zip(parts, narrow(hidden, nodes), strict=True)
            ]
        else:
            support = best(scores, hidden, nodes)
        seconds += time.thread_time() - begin
        if nodes == count and not per_layer and criterion != "random":
            own = own_count(network, scores, count)
        each = rest // cuts
        length = each if step < cuts - 1 else rest - each * (cuts - 1)
        network, more = fit(network.reduce(support), data, length, decay, rng_of(seed, 3, step), rate)
        seconds += more
    return network, seconds, own
