"""The embedded jets as the studies use them, and the files they write."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shadowprune.datasets import load_hbb
from shadowprune.scan import written


def samples(validation: bool) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """(X, y) to train on and to test on: the sample's own parts, or the training part cut 3 : 1."""
    train = load_hbb(subset="train")
    if not validation:
        test = load_hbb(subset="test")
        return (train.data, train.target), (test.data, test.target)
    cut = 3 * len(train.target) // 4
    return (train.data[:cut], train.target[:cut]), (train.data[cut:], train.target[cut:])


def write_csv(path: Path, columns: Sequence[str], records: Sequence[dict[str, Any]]) -> None:
    """Records as a table, complete or not at all; the directory is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(records)
