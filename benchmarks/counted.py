"""What `benchmarks.instructions` runs under valgrind: one call of the C core per entry of `CALLS`.

Loads the compiled module by its path: importing the package would take valgrind a minute and is not what is
counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import numpy as np

WIDTHS = (40, 64, 64, 64, 64, 1)
BATCH, ROWS = 256, 4096

Call = Callable[[], object]


def calls(core: Any) -> dict[str, tuple[str, Call]]:
    """Name -> (the C function it enters, once; the call)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, WIDTHS[0])).astype(np.float32)
    target = (x[:, :1] > 0).astype(np.float32)
    params = (0.1 * rng.standard_normal(core.n_params(WIDTHS))).astype(np.float32)
    order = rng.permutation(ROWS).astype(np.int32)
    steps = ROWS // BATCH
    rate, decay = np.full(steps, 1e-3, np.float32), np.zeros(steps, np.float32)
    hidden = sum(WIDTHS[1:-1])
    index = np.arange(WIDTHS[0], WIDTHS[0] + hidden, dtype=np.int32)
    scores = 0.01 * rng.standard_normal(hidden)
    budgets = np.linspace(hidden - 1, 0.3 * hidden, steps)[:, None].copy()
    temperatures = np.geomspace(0.3, 0.02, steps)[:, None].copy()

    def trainer(shadow: bool) -> Any:
        made = core.Trainer(WIDTHS, "relu", "binary_crossentropy", batch_size=BATCH)
        made.set_state(params, 0 * params, 0 * params, 0)
        if shadow:
            made.set_shadow([(index, scores, None, 0.02)])
        return made

    plain, shadow = trainer(False), trainer(True)
    predictor = core.Predictor(WIDTHS, "relu", params)
    run, predict = "sp_trainer_run", "sp_predict"
    return {
        "training": (run, lambda: plain.run(x, target, None, order, rate, decay)),
        "training with shadow": (
            run,
            lambda: shadow.run(x, target, None, order, rate, decay, budgets, temperatures),
        ),
        "prediction, 1000 rows": (predict, lambda: predictor(x[:1000])),
        "prediction, 1 row": (predict, lambda: predictor(x[:1])),
    }


def load(path: str) -> Any:
    """The compiled module in the file `path`."""
    spec = spec_from_file_location("shadowprune._core", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    for function, call in calls(load(sys.argv[1])).values():
        if function == sys.argv[2]:
            call()
