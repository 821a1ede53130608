"""One fixed-point network in several engines: the same bits, or how many rows differ."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_rows
from .._extras import require
from ..fixedpoint import FixedNetwork
from ..quantization import warn
from ._da4ml import trace
from ._exact import check_fixed
from ._hls4ml import hls4ml
from ._qonnx import qonnx
from ._verilog import verilog

Rows = NDArray[np.float32]


def verify(network: FixedNetwork, X: ArrayLike, engines: Sequence[str] | None = None) -> dict[str, int]:
    """Compare ``network.forward`` with engines that share no code with it, bit by bit.

    Parameters
    ----------
    network : shadowprune.FixedNetwork
        From `shadowprune.quantize`.
    X : array_like (n, n_inputs)
        Rows of the user's columns, taken as float32.
    engines : sequence of str, optional
        Any of ``"hls4ml"``, the project compiled by g++; ``"qonnx"``, the emitted file in qonnx's executor;
        ``"da4ml"``, the emulator of the logic; ``"verilator"``, the emitted Verilog, clock by clock. By
        default those that are installed.

    Returns
    -------
    dict of str to int
        For every engine, how many rows have a logit that differs in any bit. An engine that fails, while
        others do not, is left out.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, or no engine can take the network's types.
    ImportError, FileNotFoundError
        If an engine that was named is not installed.

    Warns
    -----
    UserWarning
        Which engine gave no result, and why.
    """
    check_fixed(network)
    rows = check_rows(X, network.n_inputs).astype(np.float32)
    if engines is None:
        engines = [name for name, (_, installed) in ENGINES.items() if installed()]
    if isinstance(engines, str) or not set(engines) <= ENGINES.keys():
        raise ValueError(f"engines must be a sequence of {', '.join(ENGINES)}; got {engines!r}")
    found: dict[str, int] = {}
    failed: dict[str, Exception] = {}
    for name in engines:
        try:
            found[name] = ENGINES[name][0](network, rows)
        except (ImportError, FileNotFoundError):
            raise
        except Exception as error:  # whatever the engine raises, the others have their say
            failed[name] = error
    if failed and not found:
        raise next(iter(failed.values()))
    for name, why in failed.items():
        warn(f"engine {name} gave no result and compares nothing: {type(why).__name__}: {why}")
    return found


def _wrong(network: FixedNetwork, rows: Rows, found: ArrayLike) -> int:
    wanted = network.forward(rows)
    return int((np.asarray(found, np.float64).reshape(wanted.shape) != wanted).any(axis=1).sum())


def _hls4ml(network: FixedNetwork, rows: Rows) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        model = hls4ml(network, Path(scratch) / "project")
        model.compile()
        return _wrong(network, rows, model.predict(np.ascontiguousarray(rows)))


def _qonnx(network: FixedNetwork, rows: Rows) -> int:
    def load(module: str, name: str) -> Any:
        return getattr(require(f"qonnx.{module}", "onnx"), name)

    execute = load("core.onnx_exec", "execute_onnx")
    with tempfile.TemporaryDirectory() as scratch:
        path = qonnx(network, Path(scratch) / "network.onnx")
        model = load("core.modelwrapper", "ModelWrapper")(str(path))
    model = model.transform(load("transformation.change_batchsize", "ChangeBatchSize")(len(rows)))
    model = model.transform(load("transformation.infer_shapes", "InferShapes")())
    return _wrong(network, rows, execute(model, {"x": rows})["logits"])


def _da4ml(network: FixedNetwork, rows: Rows) -> int:
    return _wrong(network, rows, trace(network).predict(rows))


def _verilator(network: FixedNetwork, rows: Rows) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        return verilog(network, Path(scratch) / "project").simulate(rows)


Engine = Callable[[FixedNetwork, Rows], int]
ENGINES: dict[str, tuple[Engine, Callable[[], bool]]] = {
    "hls4ml": (_hls4ml, lambda: bool(find_spec("hls4ml") and shutil.which("g++"))),
    "qonnx": (_qonnx, lambda: find_spec("qonnx") is not None),
    "da4ml": (_da4ml, lambda: find_spec("da4ml") is not None),
    "verilator": (
        _verilator,
        lambda: find_spec("da4ml") is not None and shutil.which("verilator") is not None,
    ),
}
