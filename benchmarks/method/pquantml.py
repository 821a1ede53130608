"""Whole nodes by PQuantML: its PDP (Cho, Adya and Naik, NeurIPS 2023) with structured pruning.

Its masks take rows off the weights of a layer, in proportion to the layer's share of the smallest weights
of all; biases stay, and the node count is what comes out. A dead node's constant output is added to the
next layer's biases; then the count is made exact by the norms of the rows, and the last third of the epochs
is ours.
"""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np

from shadowprune.network import Network
from shadowprune.training import learning_rates

from .dense import RULE, best, decay_of, fit, fresh, rng_of
from .pruning import to_torch
from .samples import Data


def pdp(data: Data, count: int, seed: int) -> tuple[Network, float, int]:
    """Pretrain, prune with PQuantML, cut to exactly `count`, fine-tune; network, seconds, nodes it left."""
    import pquant
    import torch

    torch.set_num_threads(1)
    third = data.epochs // 3
    network = fresh(data.widths, seed)
    model = to_torch(network)
    last = str(len(model) - 1)
    config = pquant.pdp_config()
    config.pruning_parameters.sparsity = 1 - count / network.n_nodes
    config.pruning_parameters.structured_pruning = True
    config.pruning_parameters.epsilon = 1.5 / third  # all of it after two thirds of the epochs
    config.pruning_parameters.disable_pruning_for_layers = [last]  # it fails on a layer with one output
    config.quantization_parameters.enable_quantization = False
    training = config.training_parameters
    training.pretraining_epochs, training.epochs, training.fine_tuning_epochs = third, third, 0
    model = pquant.add_compression_layers(model, config, (1, data.widths[0]))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=decay_of(RULE, network, data))
    loss_of = torch.nn.BCEWithLogitsLoss() if data.target.shape[1] == 1 else torch.nn.CrossEntropyLoss()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.target)
    steps = 2 * third * math.ceil(len(x) / data.batch)
    rates = learning_rates(data.rate, np.arange(steps), steps).tolist()
    generator = torch.Generator().manual_seed(seed)
    done = 0

    def train_epoch(model: torch.nn.Module, **_: object) -> None:
        nonlocal done
        for rows in torch.randperm(len(x), generator=generator).split(data.batch):
            for group in optimizer.param_groups:
                group["lr"] = rates[done]
            optimizer.zero_grad()
            penalty = pquant.get_model_losses(model, torch.tensor(0.0))
            (loss_of(model(x[rows]), y[rows]) + penalty).backward()
            optimizer.step()
            done += 1

    begin = time.thread_time()
    model = pquant.train_model(model, config, train_epoch, lambda model, **_: None)
    seconds = time.thread_time() - begin
    layers = [layer for layer in model.modules() if hasattr(layer, "pruning_layer")]
    masks = []
    for layer, w, b in zip(layers, network.weights, network.biases, strict=True):
        mask = layer.pruning_layer.get_hard_mask(layer._weight).detach().numpy().reshape(len(b), -1)
        w[:] = (layer._weight.detach().numpy() * mask).T
        b[:] = layer.bias.detach().numpy()
        masks.append((mask != 0).any(1))
    for mask, (b, following), w in zip(masks, pairwise(network.biases), network.weights[1:], strict=False):
        following[:] += np.maximum(b, 0)[~mask] @ w[~mask]
        b[~mask] = 0
    norms = np.concatenate([np.linalg.norm(w, axis=0) for w in network.weights[:-1]])
    support = best(norms, network.widths[1:-1], count)
    network, more = fit(network.reduce(support), data, data.epochs - 2 * third, RULE, rng_of(seed, 3))
    return network, seconds + more, int(sum(mask.sum() for mask in masks[:-1]))
