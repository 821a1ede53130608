"""Options of the command ``shadowprune``: a function for each command adds its own to a parser."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """argparse prints the whole usage with every mistake; one line is enough."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def figure1(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--out", default="figure1", metavar="DIR", help="results (default: figure1)")
    sub.add_argument(
        "--fractions", nargs="+", type=float, metavar="F",
        help="of the 256 hidden nodes (default: 1 .9 .7 .5 .3 .2 .1 .05; 1 and .7 are always drawn)",
    )  # fmt: skip
    _side_by_side(sub, seeds=None, shown=5)
    sub.add_argument(
        "--path", action="store_true", help="every budget of a seed from one training (ShadowPath)"
    )
    sub.add_argument(
        "--quick", action="store_true", help="three budgets, two seeds, three epochs on few jets"
    )
    sub.add_argument(
        "--hls4ml", action=argparse.BooleanOptionalAction, default=None,
        help="compile the 70 %% network with hls4ml (default: if it is installed)",
    )  # fmt: skip


def train(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--out", default="train", metavar="DIR", help="results (default: train)")
    _sample(sub, required=True)
    _network(sub)
    _budgets(sub, several=False)
    sub.add_argument(
        "--start", metavar="MODEL.npz",
        help="start from this trained network, in a third of the usual epochs; its layers replace --hidden",
    )  # fmt: skip
    sub.add_argument("--seed", type=int, default=0, help="(default: 0)")
    sub.add_argument(
        "--precision", metavar="P",
        help="train for fixed point, auto:BITS or fixed<W,I>; also writes DIR/model_fixed.npz",
    )  # fmt: skip
    _quiet(sub)
    sub.add_argument(
        "--retrain",
        action="store_true",
        help="also train the layout found as a new network: model_retrained.npz",
    )


def scan(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--out", default="scan", metavar="DIR", help="results (default: scan)")
    _sample(sub, required=True)
    _network(sub)
    _budgets(sub, several=True)
    _side_by_side(sub, seeds=3, shown=3)


def emit(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", metavar="MODEL.npz", help="as written by train, scan, figure1 or Network.save")
    sub.add_argument("--out", required=True, metavar="DIR", help="directory of the project")
    _sample(sub, required=False)
    sub.add_argument(
        "--precision",
        help="auto:BITS, ranges from the sample, or fixed<W,I> (default: auto:16); not for model_fixed.npz",
    )
    sub.add_argument("--backend", default="Vitis", help="Vitis, Vivado, Quartus or Catapult (default: Vitis)")
    sub.add_argument("--strategy", default="Latency", help="Latency or Resource (default: Latency)")
    sub.add_argument("--reuse-factor", type=int, default=1, metavar="R", help="(default: 1)")
    sub.add_argument(
        "--overwrite", action="store_true", help="replace a project that holds other files as well"
    )
    sub.add_argument("--no-compile", dest="compile", action="store_false", help="do not compile and compare")


def generate(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--out", required=True, metavar="FILE", help="file to write, .h5 or .npz")
    sub.add_argument(
        "--jets", type=int, default=100_000, metavar="N", help="half of them signal (default: 100000)"
    )
    sub.add_argument("--seed", type=int, default=1, help="(default: 1)")
    sub.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    sub.add_argument(
        "--chunk-size", type=int, default=5000, metavar="N", help="jets per chunk (default: 5000)"
    )
    sub.add_argument("--detector", default="offline", help="offline or trigger (default: offline)")
    sub.add_argument("--overwrite", action="store_true", help="replace FILE")
    _quiet(sub)


def info(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", nargs="?", metavar="MODEL.npz", help="a saved network, float or in fixed point")
    sub.add_argument(
        "--reuse-factor", type=int, default=1, metavar="R", help="of the multipliers (default: 1)"
    )
    sub.add_argument(
        "--precision", metavar="P", help="put a float network into fixed point first: auto:BITS, fixed<W,I>"
    )
    _sample(sub, required=False)


def _quiet(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")


def _side_by_side(sub: argparse.ArgumentParser, seeds: int | None, shown: int) -> None:
    sub.add_argument(
        "--seeds", type=int, default=seeds, metavar="N", help=f"trainings of each (default: {shown})"
    )
    sub.add_argument("--jobs", type=int, metavar="N", help="trainings side by side (default: one per core)")
    _quiet(sub)


def _sample(sub: argparse.ArgumentParser, required: bool) -> None:
    group = sub.add_mutually_exclusive_group(required=required)
    group.add_argument("--sample", metavar="NAME", help="an embedded sample: hbb")
    group.add_argument("--data", metavar="FILE", help="a .csv, .npz or .h5 file of numbers")
    sub.add_argument(
        "--target", metavar="NAME", help="target column of FILE (default: target, y, label or labels)"
    )


def _network(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--hidden", type=int, nargs="+", default=[64, 64, 64, 64], metavar="W",
        help="hidden widths of the open network (default: 64 64 64 64)",
    )  # fmt: skip
    sub.add_argument("--activation", default="relu", help="(default: relu)")
    sub.add_argument(
        "--method", default="shadow", help="shadow, straight-through or taylor (default: shadow)"
    )
    sub.add_argument("--epochs", type=int, metavar="N", help="(default: the estimator's own choice)")
    sub.add_argument(
        "--test-fraction", type=float, default=0.25, metavar="F",
        help="of a sample without a split of its own (default: 0.25)",
    )  # fmt: skip


def _budgets(sub: argparse.ArgumentParser, several: bool) -> None:
    """What may remain: one amount, or for a scan several, and what goes with it."""
    one: dict[str, Any] = {"nargs": "+"} if several else {}
    group = sub.add_mutually_exclusive_group()
    group.add_argument(
        "--nodes", type=_amount, default=argparse.SUPPRESS, metavar="N", **one,
        help="hidden nodes to keep: counts, or fractions with a point (default: 1. .7 .5 .3 .2 .1 .05)"
        if several
        else "hidden nodes to keep: a count, a fraction with a point in it, or 'all' (default: 0.7)",
    )  # fmt: skip
    for name, text in (
        ("multiplications", "multiplications"),
        ("multipliers", "parallel multipliers at --reuse-factor"),
        ("weights", "weights and biases"),
    ):
        group.add_argument(
            f"--{name}", type=_amount, default=argparse.SUPPRESS, metavar="N", **one,
            help=f"instead: {text} never to exceed",
        )  # fmt: skip
    if not several:
        group.add_argument(
            "--per-layer", type=_amount, nargs="+", default=argparse.SUPPRESS, metavar="N",
            help="instead: nodes of each hidden layer, one number for all or for each ('all': left alone)",
        )  # fmt: skip
    sub.add_argument(
        "--reuse-factor", type=int, nargs="+", default=[1], metavar="R",
        help="of --multipliers: how often one is used, for all dense layers or for each (default: 1)",
    )  # fmt: skip
    sub.add_argument(
        "--inputs", type=_amount, metavar="N",
        help="input columns to keep: a count, a fraction, 'all' or 'free', which puts them under the budget "
        "of the nodes (default: all)",
    )  # fmt: skip
    sub.add_argument(
        "--layers", type=int, nargs="+", metavar="L",
        help="hidden layers the budget covers, from 0; the others keep their width (default: all)",
    )  # fmt: skip
    sub.add_argument("--min-nodes", type=int, default=1, metavar="N", help="in every layer (default: 1)")
    sub.add_argument("--max-nodes", type=int, metavar="N", help="in every layer")
    sub.add_argument("--multiple", type=int, default=1, metavar="M", help="of all widths (default: 1)")


def _amount(text: str) -> float | int | str | None:
    """'26' is a count, '0.1' and '1.' are fractions, 'all' is no budget, 'free' is for Budget."""
    if text == "all":
        return None
    if text == "free":
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a count, a fraction or 'all', got {text!r}") from None
