"""Training speed beside the peers of `benchmarks.peers`, on one processor: ``python -m benchmarks.training``.

Repetitions are interleaved (A B C A B C), because the machine's speed drifts; a ratio compares times of one
repetition. All peers start from the same weights and see the same batches, and before the clock starts their
losses after some steps must agree: a peer that did other work would be no peer.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

WIDTHS = (40, 64, 64, 64, 64, 1)
BATCHES = (128, 256, 1024, 4096)
N_AGREE, AGREE = 30, 1e-4  # steps after which the losses are compared, relative; float32 parts ways slowly
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
SLOWS_NUMPY = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # NumPy shall run the kernel it would choose itself


def fair_environment() -> None:
    """Start again, if need be, with one thread per library and OpenBLAS free to choose its kernel."""
    wanted = {name: "1" for name in ONE_THREAD}
    environment = {k: v for k, v in os.environ.items() if k not in SLOWS_NUMPY} | wanted
    if environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.training", *sys.argv[1:]], environment)


def pin() -> int | None:
    """Stay on one processor where the system can do that; its number."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return cpu


def processor() -> str:
    """Model name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def measure(batch_size: int, rows: int, repetitions: int) -> dict[str, list[float]]:
    """Seconds of every repetition of every peer at one batch size."""
    import numpy as np

    from .peers import PEERS, Task, installed

    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, WIDTHS[0])).astype(np.float32)
    y = (x @ rng.normal(size=(WIDTHS[0], 1)) + rng.normal(size=(rows, 1)) > 0).astype(np.float32)
    shapes = pairwise(WIDTHS)
    blocks = [(rng.normal(size=n_in * n_out) * np.sqrt(2 / n_in), np.zeros(n_out)) for n_in, n_out in shapes]
    params = np.concatenate([part for block in blocks for part in block]).astype(np.float32)
    task = Task(WIDTHS, params, x, y, batch_size, learning_rate=1e-3)
    orders = [rng.permutation(rows).astype(np.int32) for _ in range(repetitions + 1)]

    here = installed()
    peers = [peer() for peer in PEERS if peer.package in here]
    losses = {}
    for peer in peers:
        peer.start(task)
        losses[peer.name] = peer.train(orders[0][: N_AGREE * batch_size])
        peer.train(orders[0])  # warm caches, pages, lazy imports
    reference = losses[peers[0].name]
    for peer in peers:
        loss = losses[peer.name]
        if peer.same_work and not abs(loss - reference) <= AGREE * reference:
            raise RuntimeError(f"{peer.name} has loss {loss:.7g}, {peers[0].name} {reference:.7g}")
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for order in orders[1:]:
        for peer in peers:
            begin = time.perf_counter()
            peer.train(order)
            seconds[peer.name].append(time.perf_counter() - begin)
    return seconds


def summarise(batch_size: int, rows: int, seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """One record per peer; the first peer is the one the ratios are to."""
    import numpy as np

    n_products = sum(a * b for a, b in pairwise(WIDTHS))
    ours = np.array(next(iter(seconds.values())))
    return [
        {
            "batch_size": batch_size,
            "peer": name,
            "seconds_min": float(min(times)),
            "seconds_median": float(np.median(times)),
            "mrow_per_s": rows / min(times) / 1e6,
            "gflop_per_s": 6 * n_products * rows / min(times) / 1e9,
            "ratio_min": float(min(times) / ours.min()),
            "ratio_median": float(np.median(np.array(times) / ours)),
        }
        for name, times in seconds.items()
    ]


def show(records: Sequence[dict[str, Any]]) -> None:
    """Print one batch size as a table."""
    for r in records:
        numbers = (r["mrow_per_s"], r["gflop_per_s"], 1e3 * r["seconds_min"], 1e3 * r["seconds_median"])
        ratios = (r["ratio_min"], r["ratio_median"])
        columns = [f"{x:9.3f}" for x in numbers[:1]] + [f"{x:9.1f}" for x in numbers[1:]]
        columns += [f"{x:9.2f}" for x in ratios]
        print(f"{r['batch_size']:>6} {r['peer']:<24} {' '.join(columns)}", flush=True)


def write(out: Path, document: dict[str, Any]) -> None:
    """training.json and training.csv, whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    part = out / "training.json.part"
    part.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(part, out / "training.json")
    part = out / "training.csv.part"
    with part.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(document["results"][0]))
        table.writeheader()
        table.writerows(document["results"])
    os.replace(part, out / "training.csv")


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for training.json and training.csv")
    parser.add_argument("--rows", type=int, default=65536, help="of one repetition (default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=9, help="default %(default)s")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCHES)
    options = parser.parse_args()
    if options.rows < max(options.batch_sizes) or options.repetitions < 1:
        parser.error("--rows must hold the largest batch, --repetitions be at least 1")
    fair_environment()
    cpu = pin()

    import shadowprune._core as core

    from .peers import installed

    versions = installed()
    if "torch" not in versions:
        print("PyTorch is not installed: its columns are left out")
    print(f"{processor()}, pinned to {cpu}, {core.isa()}")
    print(", ".join(f"{package} {number}" for package, number in versions.items()))
    heads = ("Mrow/s", "GFLOP/s", "min/ms", "median/ms", "x (min)", "x (med)")
    print(f"{'batch':>6} {'':<24} " + " ".join(f"{head:>9}" for head in heads))
    results = []
    for batch_size in options.batch_sizes:
        rows = options.rows - options.rows % batch_size
        records = summarise(batch_size, rows, measure(batch_size, rows, options.repetitions))
        show(records)
        results += records
    print("x: how many times as long as shadowprune needs")
    if options.out:
        document = {
            "processor": processor(),
            "python": platform.python_version(),
            "instruction_set": core.isa(),
            "versions": versions,
            "widths": WIDTHS,
            "rows": options.rows,
            "repetitions": options.repetitions,
            "results": results,
        }
        write(options.out, document)
        print(f"wrote {options.out / 'training.json'} and {options.out / 'training.csv'}")


if __name__ == "__main__":
    main()
