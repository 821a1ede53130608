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
from typing import TYPE_CHECKING, Any

from . import _cli_options
from ._cli_options import Parser

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


def _parser() -> Parser:
    parser = Parser(
        prog="shadowprune",
        description="Train a neural network and end with exactly the number of nodes asked for.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="name")
    for function, options, text, epilog in (
        (_figure1, _cli_options.figure1, "draw the paper's figure on boosted H->bb against QCD jets", None),
        (
            _train,
            _cli_options.train,
            "train one network on a sample and save it",
            "writes DIR/model.npz and report.json; the sample's own test part, or a draw, is kept aside",
        ),
        (
            _scan,
            _cli_options.scan,
            "train several node counts with several seeds on a sample",
            "writes DIR/scan.csv, scan.png, scan.pdf and model_<nodes>.npz (first seed)",
        ),
        (_emit, _cli_options.emit, "turn a saved network into an hls4ml project", None),
        (_generate, _cli_options.generate, "make jets with Pythia 8 and FastJet; call again to resume", None),
        (_info, _cli_options.info, "what this installation can do, or what a saved network is", None),
    ):
        sub = commands.add_parser(
            options.__name__, help=text, description=text[0].upper() + text[1:] + ".", epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(command=function)
        sub.add_argument("--traceback", action="store_true", help="show where an error comes from")
        options(sub)
    return parser


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
