"""History of our own speed, kept by pytest-benchmark; not part of `make test`.

    python -m pytest benchmarks/test_speed.py --benchmark-autosave     # measure; keep it under .benchmarks/
    python -m pytest benchmarks/test_speed.py --benchmark-compare      # measure; compare with the last kept
    python -m pytest benchmarks/test_speed.py --benchmark-compare --benchmark-compare-fail=min:10%
    pytest-benchmark compare --sort=name --columns=min,median          # every run kept

The files carry commit, processor and time, and lie apart by operating system and Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.peers import make_task, ours
from benchmarks.predictors import Ours

PAPER = (40, 64, 64, 64, 64, 1)
ROWS = 32768


@pytest.mark.parametrize("peer", [ours.Plain, ours.Shadow])
@pytest.mark.parametrize("batch_size", [128, 1024])
def test_training(benchmark: Any, peer: type[ours.Plain], batch_size: int) -> None:
    trainee = peer(1)
    trainee.start(make_task(PAPER, batch_size, ROWS))
    order = np.random.default_rng(0).permutation(ROWS).astype(np.int32)
    benchmark.extra_info["rows"] = ROWS
    benchmark.pedantic(trainee.train, (order,), rounds=20, warmup_rounds=2)


@pytest.mark.parametrize(
    "widths", [(40, 13, 13, 13, 13, 1), (16, 64, 32, 32, 5), (40, 512, 512, 512, 512, 1)], ids=str
)
def test_other_widths(benchmark: Any, widths: tuple[int, ...]) -> None:
    trainee = ours.Plain(1)
    trainee.start(make_task(widths, 1024, 4096))
    order = np.arange(4096, dtype=np.int32)
    benchmark.pedantic(trainee.train, (order,), rounds=20, warmup_rounds=2)


@pytest.mark.parametrize("rows", [1, 1000, 100_000])
def test_forward(benchmark: Any, rows: int) -> None:
    predictor = Ours(1)
    task = make_task(PAPER, 1, max(rows, 1000))
    predictor.start(task)
    benchmark(predictor.logits, task.x[:rows])


def test_one_shot(benchmark: Any) -> None:
    from shadowprune import ShadowClassifier

    task = make_task(PAPER, 512, ROWS)
    model = ShadowClassifier(PAPER[1:-1], n_nodes=0.3, random_state=0, max_iter=10, batch_size=512)
    benchmark.pedantic(model.fit, (task.x, task.label), rounds=3, warmup_rounds=1)
