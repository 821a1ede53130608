"""The command ``shadowprune``: figure1, train, scan, emit, generate, info.

A mistake of the user's ends in one line on stderr and exit code 2; ``--traceback`` shows where it was found.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from shadowprune._tables import Table

__all__ = ["main"]

EXTRAS = {
    "plot": ("matplotlib", "mplhep"),
    "generate": ("pythia8mc", "fastjet", "h5py"),
    "hls4ml": ("hls4ml",),
    "onnx": ("onnx", "qonnx"),
    "keras": ("h5py",),
    "rtl": ("da4ml",),
}


class _Parser(argparse.ArgumentParser):
    """argparse prints the whole usage with every mistake; one line is enough."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        Exit code: 0, 2 after a mistake of the user's, 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        From argparse: after ``--help`` and ``--version`` (0) and after arguments it refuses (2).
    """
    options = _parser().parse_args(argv)
    try:
        options.command(options)
    except KeyboardInterrupt:
        print("shadowprune: interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
        if options.traceback:
            raise
        line = " ".join(str(error).split()) or type(error).__name__
        print(f"shadowprune {options.name}: error: {line}", file=sys.stderr)
        return 2
    return 0


def _parser() -> _Parser:
    parser = _Parser(
        prog="shadowprune",
        description="Train a neural network and end with exactly the number of nodes asked for.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="name")

    def command(name: str, function: Any, text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(command=function)
        sub.add_argument("--traceback", action="store_true", help="show where an error comes from")
        return sub

    sub = command("figure1", _figure1, "draw the paper's figure on boosted H->bb against QCD jets")
    _figure1_options(sub)

    sub = command(
        "train", _train, "train one network on a sample and save it",
        "writes DIR/model.npz and report.json; the sample's own test part, or a draw, is kept aside",
    )  # fmt: skip
    sub.add_argument("--out", default="train", metavar="DIR", help="results (default: train)")
    _sample(sub, required=True)
    _network(sub)
    _budgets(sub, several=False)
    sub.add_argument(
        "--start", metavar="MODEL.npz",
        help="start from this trained network, in a third of the epochs; its layers replace --hidden",
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

    sub = command(
        "scan", _scan, "train several node counts with several seeds on a sample",
        "writes DIR/scan.csv, scan.png, scan.pdf and model_<nodes>.npz (first seed)",
    )  # fmt: skip
    sub.add_argument("--out", default="scan", metavar="DIR", help="results (default: scan)")
    _sample(sub, required=True)
    _network(sub)
    _budgets(sub, several=True)
    _side_by_side(sub, seeds=3, shown=3)

    sub = command("emit", _emit, "turn a saved network into an hls4ml project")
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

    sub = command("generate", _generate, "make jets with Pythia 8 and FastJet; call again to resume")
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

    sub = command("info", _info, "what this installation can do, or what a saved network is")
    _info_options(sub)
    return parser


def _figure1_options(sub: argparse.ArgumentParser) -> None:
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


def _info_options(sub: argparse.ArgumentParser) -> None:
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


def _chosen(options: argparse.Namespace, usual: Any) -> tuple[str, Any, dict[str, Any]]:
    """Kind of the budget, its amount or amounts, and the other arguments of Budget."""
    kinds = ("multiplications", "multipliers", "weights", "per_layer")
    kind = next((k for k in kinds if hasattr(options, k)), "nodes")
    amount = getattr(options, kind, usual)
    if kind == "per_layer" and len(amount) == 1:
        amount = amount[0]
    reuse = options.reuse_factor
    rest = {
        "inputs": options.inputs,
        "layers": options.layers,
        "min_nodes": options.min_nodes,
        "max_nodes": options.max_nodes,
        "multiple": options.multiple,
    }
    if kind == "multipliers":
        rest["reuse_factor"] = reuse[0] if len(reuse) == 1 else reuse
    elif reuse != [1]:
        raise ValueError("--reuse-factor is for --multipliers")
    return kind, amount, rest


def _table(options: argparse.Namespace, need_target: bool = True) -> Table:
    from shadowprune._tables import read_sample, read_table

    if options.sample is not None:
        return read_sample(options.sample)
    return read_table(options.data, options.target, need_target=need_target)


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    chosen: dict[str, Any] = {"activation": options.activation, "method": options.method}
    return chosen if options.epochs is None else chosen | {"max_iter": options.epochs}


def _figure1(options: argparse.Namespace) -> None:
    from shadowprune import figure1

    summary = figure1.run(
        options.out,
        fractions=options.fractions,
        seeds=options.seeds,
        n_jobs=options.jobs,
        path=options.path,
        quick=options.quick,
        hls4ml="auto" if options.hls4ml is None else options.hls4ml,
        progress=options.progress,
    )
    print(figure1.table(summary))
    print(f"written: {Path(options.out) / 'figure1.png'}, .pdf, .csv, summary.json, models")


def _train(options: argparse.Namespace) -> None:
    import numpy as np

    from shadowprune import Budget, Network, ShadowClassifier
    from shadowprune._files import written
    from shadowprune._tables import split
    from shadowprune.scan import given

    kind, amount, rest = _chosen(options, 0.7)
    everything = amount is None and rest["inputs"] is None
    if everything and (idle := given(rest)):
        name = next(iter(idle)).replace("_", "-")
        raise ValueError(f"--{name} is for a budget, and --{kind.replace('_', '-')} all is none")
    budget = None if everything else Budget(**{kind: amount}, **rest)
    table, network = _table(options), None
    if options.start is not None:
        network = Network.load(options.start)
        table = table._replace(X=_columns(table, network), names=network.input_names or table.names)
    train, test = split(table, options.test_fraction, options.seed)
    classifier = ShadowClassifier(
        hidden_layer_sizes=tuple(options.hidden),
        n_nodes=None,
        budget=budget,
        precision=options.precision,
        random_state=options.seed,
        verbose=options.progress,
        **_parameters(options),
    )
    directory = Path(options.out)
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"--out is {options.out}, which is no directory")
    report: dict[str, Any] = {
        "data": options.sample or str(options.data),
        "rows": {"train": len(train[1]), "test": len(test[1])},
        "classes": np.unique(train[1]).tolist(),
        "inputs": list(table.names),
        "seed": options.seed,
    }
    start = time.perf_counter()
    classifier.fit(*train, network=network)
    results = {"model": _scores(classifier, *test, time.perf_counter() - start)}
    directory.mkdir(parents=True, exist_ok=True)
    kept = list(classifier.get_feature_names_out(table.names))
    report["inputs_kept"] = kept
    report["budget"] = [
        {"name": r.name, "asked": r.asked, "used": r.used, "slack": r.slack, "next_node": r.next_node}
        for r in classifier.budget_report_
    ]
    classifier.network_.input_names = kept
    classifier.network_.save(directory / "model.npz")
    if classifier.fixed_network_ is not None:
        fixed = dataclasses.replace(classifier.fixed_network_, input_names=tuple(kept))
        fixed.save(directory / "model_fixed.npz")
    if options.retrain:
        start = time.perf_counter()
        again = classifier.retrain(*train)
        results["model_retrained"] = _scores(again, *test, time.perf_counter() - start)
        again.network_.input_names = kept
        again.network_.save(directory / "model_retrained.npz")
    with written(directory / "report.json") as path:
        path.write_text(json.dumps(report | results, indent=1) + "\n", encoding="utf-8")
    for r in classifier.budget_report_:
        print(f"{r.name}: {r.used} of {r.asked}")
    for name, found in results.items():
        print(f"{directory / name}.npz")
        for key, value in found.items():
            print(f"  {key:15} {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ("-" if all(isinstance(v, int) for v in value) else " ± ").join(_shown(v) for v in value)
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _scores(classifier: Any, X: Any, y: Any, seconds: float) -> dict[str, Any]:
    """What is learnt from the rows kept aside; rejections as [value, statistical error]."""
    from sklearn.metrics import roc_auc_score

    from shadowprune.metrics import background_rejection

    network = classifier.network_
    found: dict[str, Any] = {
        "nodes": int(network.n_nodes),
        "widths": [int(w) for w in network.widths],
        "multiplications": int(network.n_multiplications),
        "accuracy": float((classifier.predict(X) == y).mean()),
    }
    if len(classifier.classes_) == 2:
        logits = classifier.decision_function(X)
        found["auc"] = float(roc_auc_score(y, logits))
        for efficiency in (0.5, 0.7):
            pair = background_rejection(y, logits, efficiency, return_uncertainty=True)
            # JSON knows no infinity
            found[f"rejection_{100 * efficiency:.0f}"] = None if pair[0] == float("inf") else list(pair)
    return found | {"seconds": round(seconds, 3)}


def _scan(options: argparse.Namespace) -> None:
    from shadowprune._tables import split
    from shadowprune.scan import budget_table, scan

    table = _table(options)
    train, test = split(table, options.test_fraction, 0)
    kind, amounts, rest = _chosen(options, [1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05])
    entries = scan(
        train,
        test,
        [1.0 if n is None else n for n in amounts],
        options.out,
        kind=kind,
        limits=rest,
        hidden=options.hidden,
        seeds=options.seeds,
        n_jobs=options.jobs,
        progress=options.progress,
        **_parameters(options),
    )
    fractions = dict.fromkeys(e["fraction"] for e in entries)
    groups = [(f"{100 * f:.3g} %", [e for e in entries if e["fraction"] == f]) for f in fractions]
    print("\n".join(budget_table(groups)))
    of = f"of {sum(options.hidden)} hidden nodes" if kind == "nodes" else f"asked: {kind}; kept: hidden nodes"
    if kind == "nodes" and rest["inputs"] == "free":
        total = table.X.shape[1] + sum(options.hidden)
        of = f"asked: of {total} inputs and hidden nodes; kept: hidden nodes"
    print(f"{of}; ± is the standard deviation between {options.seeds} trainings")
    print(f"written: {Path(options.out) / 'scan.csv'}, .png, .pdf, models")


def _columns(table: Table, network: Any) -> Any:
    """The columns the network was trained on, by name where it kept names."""
    wanted, names = network.input_names, list(table.names)
    if wanted is None or (not set(wanted) <= set(names) and len(names) == len(wanted)):
        return table.X
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(f"the sample has no column {missing[0]!r}, which is an input of the network")
    return table.X[:, [names.index(name) for name in wanted]]


def _emit(options: argparse.Namespace) -> None:
    import contextlib
    import io
    import shutil

    import numpy as np

    from shadowprune import FixedNetwork, Network, emit
    from shadowprune.emit._hls4ml import golden

    network: FixedNetwork | Network
    try:
        network = FixedNetwork.load(options.model)
    except ValueError:
        network = Network.load(options.model)
    precision = options.precision or "auto:16"
    if isinstance(network, FixedNetwork) and options.precision is not None:
        raise ValueError(f"{options.model} has its types already: leave --precision out")
    X = None
    if options.sample is not None or options.data is not None:
        X = np.ascontiguousarray(_columns(_table(options, need_target=False), network)[:8000], np.float32)
    elif isinstance(network, Network) and precision.startswith("auto"):
        raise ValueError(
            f"precision {precision} measures ranges on a sample: add --sample or --data, "
            "or choose a type, --precision 'fixed<16,6>'"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # hls4ml reports every layer
        model = emit.hls4ml(
            network,
            options.out,
            X=X,
            precision=precision,
            backend=options.backend,
            strategy=options.strategy,
            reuse_factor=options.reuse_factor,
            overwrite=options.overwrite,
        )
    n_multiplications = sum(a * b for a, b in itertools.pairwise(network.widths))
    print(f"{options.out}: {'-'.join(map(str, network.widths))}, {n_multiplications} multiplications")
    if not options.compile:
        return
    drawn = ""
    if X is None and isinstance(network, FixedNetwork):
        X, drawn = golden(network, None)[0].astype(np.float32), "drawn "
    if X is None:
        print("not compared: add --sample or --data")
        return
    if shutil.which("g++") is None:
        print("not compiled: g++ is not installed")
        return
    with contextlib.redirect_stdout(io.StringIO()):
        model.compile()
        fixed = np.asarray(model.predict(X), dtype=np.float64).reshape(len(X), -1)
    error = fixed - np.asarray(network.forward(X), dtype=np.float64)
    if isinstance(network, FixedNetwork):
        print(f"compiled; {len(X)} {drawn}rows against integers: {int(error.any(axis=1).sum())} differ")
        return
    rms, largest = np.sqrt(np.mean(error**2)), abs(error).max()
    print(f"compiled; {len(X)} rows against float: RMS {rms:.2g}, largest {largest:.2g}")


def _generate(options: argparse.Namespace) -> None:
    from shadowprune.datasets import generate

    written = generate(
        options.out,
        n_jets=options.jets,
        seed=options.seed,
        n_workers=options.workers,
        chunk_size=options.chunk_size,
        progress=options.progress,
        detector=options.detector,
        overwrite=options.overwrite,
    )
    print(written)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"shadowprune {version('shadowprune')}"
    except PackageNotFoundError:
        return "shadowprune, not installed"


def _info(options: argparse.Namespace) -> None:
    if options.model is not None:
        _info_model(options)
        return
    for name in ("precision", "sample", "data", "target"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} is for a saved network: shadowprune info MODEL.npz --{name} ...")
    import shutil

    from shadowprune import _core
    from shadowprune.figure1 import versions
    from shadowprune.parallel import workers

    found = versions(*(package for extra in EXTRAS.values() for package in extra))
    print(f"shadowprune      {found['shadowprune']}")
    print(f"instruction set  {_core.isa()} (here: {', '.join(_core.isas())}; SHADOWPRUNE_ISA chooses)")
    print(f"threads          {workers(None)}")
    print("base             " + ", ".join(f"{n} {found[n]}" for n in ("python", "numpy", "scikit-learn")))
    for extra, packages in EXTRAS.items():
        print(f"[{extra}]".ljust(17) + ", ".join(f"{package} {found[package]}" for package in packages))
    print(f"g++              {shutil.which('g++') or 'not installed'}")


def _info_model(options: argparse.Namespace) -> None:
    from shadowprune import FixedNetwork, Network, quantize, resources

    network: Network | FixedNetwork
    try:
        network = Network.load(options.model)
    except ValueError as error:
        try:
            network = FixedNetwork.load(options.model)
        except ValueError:
            raise error from None
    if options.precision is not None:
        if isinstance(network, FixedNetwork):
            raise ValueError(f"precision {options.precision}: {options.model} is in fixed point already")
        given = options.sample is not None or options.data is not None
        if not given and options.precision.startswith("auto"):
            raise ValueError(
                f"precision {options.precision} measures ranges on a sample: add --sample or --data, "
                "or choose a type, --precision 'fixed<16,6>'"
            )
        network = quantize(
            network, options.precision, _table(options, need_target=False).X[:8000] if given else None
        )
    print(f"widths           {'-'.join(map(str, network.widths))}")
    if network.input_names is not None:
        print(f"inputs           {', '.join(network.input_names)}")
    print(f"activation       {network.activation}; outputs are logits or values")
    if isinstance(network, FixedNetwork):
        aligned = "" if network.aligned_type is None else f" -> {network.aligned_type.bare}"
        types = {"inputs": network.input_type.bare + aligned}
        types |= {layer.name: layer.weight_type.bare for layer in network.layers}
        print("bits             " + ", ".join(f"{name} {kind}" for name, kind in types.items()))
    found = resources(network, options.reuse_factor)
    print(f"hidden nodes     {found.total.nodes}")
    print(f"parameters       {found.total.weights} weights and {sum(network.widths[1:])} biases")
    print(found)
