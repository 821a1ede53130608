"""Firmware held against independent tools: ``python -m benchmarks.engines verify|picture|synthesis``.

verify: the bits of FixedNetwork.forward beside qonnx's executor, da4ml's emulator, hls4ml's compiled project
and the Verilog in Verilator. picture: rejection against LUTs, over budgets and bits. synthesis: da4ml's
estimate beside yosys. Tables and figure go into --out; those of the documentation are in docs/.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import shadowprune as sp
from shadowprune._files import written
from shadowprune.emit._da4ml import trace

from .tables import write_csv

HIDDEN = (64, 64, 64, 64)
FRACTIONS = (1.0, 0.7, 0.5, 0.3, 0.1)
BITS = (4, 6, 8, 10, 12)
N_ROWS = 8000
COMPILED = 0.3  # budgets up to here go through g++ and Verilator: larger ones compile for many minutes
TARGET = "synth_xilinx -family xcup -flatten -nodsp -noiopad -noclkbuf"


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("verify", "picture", "synthesis"))
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder (default %(default)s)")
    parser.add_argument("--fractions", type=float, nargs="+", default=FRACTIONS, help="of the hidden nodes")
    parser.add_argument("--bits", type=int, nargs="+", help="verify and synthesis: 8; picture: 4 6 8 10 12")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    part = {"verify": verify, "picture": picture, "synthesis": synthesis}[options.part]
    part(options.out, options.fractions, options.bits)


def trained(fraction: float, bits: int) -> sp.FixedNetwork:
    """Trained for these bits on the embedded sample, seed 0."""
    train = sp.datasets.load_hbb(subset="train")
    budget = None if fraction == 1 else fraction
    clf = sp.ShadowClassifier(HIDDEN, n_nodes=budget, precision=f"auto:{bits}", random_state=0)
    return clf.fit(train.data, train.target).fixed_network_


def tested(network: sp.FixedNetwork) -> dict[str, Any]:
    """Rejection on the test jets, with its binomial error."""
    test = sp.datasets.load_hbb(subset="test")
    score = network.forward(test.data).ravel()
    value, error = sp.metrics.background_rejection(test.target, score, 0.5, return_uncertainty=True)
    return {"rejection_50": round(value, 1), "error_50": round(error, 1)}


def described(fraction: float, bits: int, network: sp.FixedNetwork) -> dict[str, Any]:
    widths = network.widths
    return {
        "fraction": fraction,
        "nodes": sum(widths[1:-1]),
        "widths": "-".join(map(str, widths)),
        "bits": bits,
    }


def verify(out: Path, fractions: Sequence[float], bits: Sequence[int] | None) -> None:
    """Rows of the test sample whose logits differ, by engine."""
    rows = sp.datasets.load_hbb(subset="test").data[:N_ROWS]

    def lines() -> Iterator[dict[str, Any]]:
        for n_bits in bits or (8,):
            for fraction in fractions:
                network = trained(fraction, n_bits)
                engines = ["qonnx", "da4ml"] + ["hls4ml", "verilator"] * (fraction <= COMPILED)
                for engine in engines:
                    start = time.perf_counter()
                    wrong = sp.emit.verify(network, rows, [engine])[engine]
                    yield described(fraction, n_bits, network) | {
                        "engine": engine,
                        "version": _verilator() if engine == "verilator" else version(engine),
                        "rows": len(rows),
                        "wrong": wrong,
                        "seconds": round(time.perf_counter() - start, 1),
                    }

    save(out / "verification.csv", lines())


def picture(out: Path, fractions: Sequence[float], bits: Sequence[int] | None) -> None:
    """Rejection at 50 % efficiency against estimated LUTs."""

    def lines() -> Iterator[dict[str, Any]]:
        for n_bits in bits or BITS:
            for fraction in fractions:
                network = trained(fraction, n_bits)
                logic = trace(network)
                costs = {"luts": round(sum(logic.luts)), "stages": logic.stages}
                costs |= {"flip_flops": logic.register_bits}
                yield described(fraction, n_bits, network) | costs | tested(network)

    draw(save(out / "rejection_vs_luts.csv", lines()), out / "rejection_vs_luts.png")


def draw(table: Sequence[dict[str, Any]], path: Path) -> None:
    """One line per number of bits, its points the budgets, with the error of the test sample."""
    import matplotlib

    matplotlib.use("Agg")
    entries = {
        f"{bits} bits": [
            {**row, "widths": [int(w) for w in row["widths"].split("-")]}
            for row in table
            if row["bits"] == bits
        ]
        for bits in sorted({row["bits"] for row in table})
    }
    ax = sp.plots.rejection_vs_size(entries, size="luts")
    for rows, points in zip(entries.values(), list(ax.containers), strict=True):
        bars = {"yerr": [row["error_50"] for row in rows], "ecolor": points.lines[0].get_color()}
        ax.errorbar(
            [row["luts"] for row in rows],
            [row["rejection_50"] for row in rows],
            fmt="none",
            alpha=0.5,
            **bars,
        )
    ax.set_ylim(0, 1.05 * max(row["rejection_50"] + row["error_50"] for row in table))
    with written(path) as draft:
        ax.figure.savefig(draft, dpi=150)


def synthesis(out: Path, fractions: Sequence[float], bits: Sequence[int] | None) -> None:
    """LUTs and flip-flops of yosys after mapping, beside da4ml's estimate; the largest takes an hour."""

    def lines() -> Iterator[dict[str, Any]]:
        for n_bits in bits or (8,):
            for fraction in sorted(fractions):
                network = trained(fraction, n_bits)
                logic = trace(network)
                start = time.perf_counter()
                with tempfile.TemporaryDirectory() as scratch:
                    counts = yosys(sp.emit.verilog(network, Path(scratch) / "project").directory)
                luts = sum(n for cell, n in counts.items() if cell.startswith("LUT"))
                yield described(fraction, n_bits, network) | {
                    "multiplications": sum(layer.weights.size for layer in network.layers),
                    "estimate": round(sum(logic.luts)),
                    "yosys_luts": luts,
                    "estimate_over_yosys": round(sum(logic.luts) / luts, 3),
                    "yosys_inverters": counts.get("INV", 0),
                    "yosys_flip_flops": counts.get("FDRE", 0) + counts.get("FDSE", 0),
                    "stages": logic.stages,
                    "seconds": round(time.perf_counter() - start),
                }

    save(out / "synthesis.csv", lines())


def yosys(project: Path, top: str = "tagger") -> dict[str, int]:
    """Cells after mapping."""
    sources = " ".join(str(path) for path in sorted((project / "src").glob("*.v")))
    script = f"read_verilog {sources}; {TARGET} -top {top}; tee -q -o {project}/stat.txt stat"
    subprocess.run(["nice", "-n", "19", "yosys", "-q", "-p", script], check=True, cwd=project / "src")
    text = (project / "stat.txt").read_text()
    return {cell: int(n) for cell, n in re.findall(r"^ +([A-Z0-9]+) +(\d+)$", text, re.MULTILINE)}


def save(path: Path, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A CSV table, printed as it grows."""
    found: list[dict[str, Any]] = []
    for row in rows:
        found.append(row)
        print("  ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    write_csv(path, list(found[0]), found)
    return found


def _verilator() -> str:
    if shutil.which("verilator") is None:
        raise FileNotFoundError("verilator is not installed: apt-get install verilator")
    said = subprocess.run(["verilator", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


if __name__ == "__main__":
    main()
