"""The embedded jets as the studies use them."""

from __future__ import annotations

from typing import Any

from shadowprune.datasets import load_hbb


def samples(validation: bool) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """(X, y) to train on and to test on: the sample's own parts, or the training part cut 3 : 1."""
    train = load_hbb(subset="train")
    if not validation:
        test = load_hbb(subset="test")
        return (train.data, train.target), (test.data, test.target)
    cut = 3 * len(train.target) // 4
    return (train.data[:cut], train.target[:cut]), (train.data[cut:], train.target[cut:])
