"""Training with PyTorch as one would write it: fused AdamW, a warm-up and a cosine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from shadowprune.training import learning_rates


def descend(
    model: Any,
    x: Any,
    y: Any,
    epochs: int,
    seed: int,
    *,
    batch: int,
    rate: float,
    decay: float,
) -> None:
    """Train a `torch.nn.Sequential`, in place.

    Parameters
    ----------
    model : torch.nn.Sequential
        Gives logits.
    x, y : torch.Tensor
        Rows and targets (n, n_outputs), one column for two classes, else one per class.
    epochs, seed, batch : int
        Passes over the rows, seed of their order, rows per step.
    rate : float
        Largest learning rate, on shadowprune's schedule.
    decay : float
        Decoupled weight decay, of the weights and not of the biases.
    """
    import torch

    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, rate, fused=True)
    loss_of = torch.nn.BCEWithLogitsLoss() if y.shape[1] == 1 else torch.nn.CrossEntropyLoss()
    steps = epochs * math.ceil(len(x) / batch)
    rates = learning_rates(rate, np.arange(steps), steps)
    next_rate = iter(rates.tolist())  # set by hand, which is cheaper than a scheduler
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            now = next(next_rate)
            for group in optimizer.param_groups:
                group["lr"] = now
            optimizer.zero_grad()
            loss_of(model(x.index_select(0, rows)), y.index_select(0, rows)).backward()
            optimizer.step()
