"""hls4ml projects, by hls4ml's layer list: no Keras, ONNX or PyTorch in between."""

from __future__ import annotations

import contextlib
import io
import math
import numbers
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from ._checks import check_name, check_network
from ._files import check_directory, project
from ._fixed import FixedType, parse_precision
from ._plan import SLOPE, DenseLayer, Plan, make_plan, measure

if TYPE_CHECKING:
    from ..network import Network

BACKENDS = ("Vitis", "Vivado", "Quartus", "Catapult")
STRATEGIES = ("Latency", "Resource")
IO_TYPES = ("io_parallel", "io_stream")
CONFIG = "hls4ml_config.yml"  # what makes a directory an hls4ml project
MAX_UNROLLED = 4096  # array elements the Xilinx tools partition; beyond it they give up
FEW_ROWS = 256

_XILINX = ("Vitis", "Vivado")
_CPP = (
    "alignas alignof and asm auto bool break case catch char class compl concept const constexpr continue "
    "decltype default delete do double else enum explicit export extern false float for friend goto if "
    "inline int long main mutable namespace new noexcept not nullptr operator or private protected public "
    "register requires return short signed sizeof static struct switch template this throw true try typedef "
    "typeid typename union unsigned using virtual void volatile while xor hls nnet std"
)
_CHATTER = ("Writing HLS project", "Done", "Copying NNET", "... copying")


def hls4ml(
    network: Network,
    directory: str | os.PathLike[str],
    X: ArrayLike | None = None,
    *,
    precision: str = "auto:16",
    backend: str = "Vitis",
    strategy: str = "Latency",
    reuse_factor: int | Sequence[int] = 1,
    io_type: str = "io_parallel",
    part: str | None = None,
    clock_period: float | None = None,
    project_name: str = "myproject",
    overwrite: bool = False,
) -> Any:
    """Write `network` as an hls4ml project and return its ``ModelGraph``.

    Parameters
    ----------
    network : shadowprune.Network
        Takes the user's own columns and gives logits; ``clf.network_`` of a fitted classifier.
    directory : path
        Where the project goes. It is written beside and then renamed: complete, or not there.
    X : array-like (n, n_inputs), optional
        Sample in the columns and units of the network, a few thousand rows like those the firmware will
        see; jets of the training will do. The range of every number in the network is measured on it, in
        float64. Required for ``"auto:<bits>"``.
    precision : str
        ``"auto:16"``: 16 bits for weights and for results, integer bits from the ranges, results rounded
        (RND) and saturating (SAT). ``"fixed<16,6>"``: this one type for inputs, weights and results, also
        rounded and saturating unless it says ``"fixed<16,6,TRN,WRAP>"``; without `X` nothing checks that it
        holds them.
    backend : {"Vitis", "Vivado", "Quartus", "Catapult"}
    strategy : {"Latency", "Resource"}
    reuse_factor : int or sequence of int
        How often one multiplier is used per jet, in all dense layers or in each. With "Resource", and always
        with Quartus, it must be one that the widths allow; hls4ml would silently take another.
    io_type : {"io_parallel", "io_stream"}
    part : str, optional
        Device; by default the back-end's.
    clock_period : float, optional
        In ns; by default the back-end's, 5.
    project_name : str
        Name of the top function: a C identifier.
    overwrite : bool
        Replace an hls4ml project in `directory` even if it holds files that were not written here, such as
        synthesis reports. A directory that holds anything but an hls4ml project is never replaced.

    Returns
    -------
    hls4ml.model.ModelGraph
        Ready for ``compile()`` (bit-accurate simulation, needs g++ only), ``predict()`` and ``build()``
        (needs the vendor's tool). Its types: ``model.config.config["HLSConfig"]["LayerName"]``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, a width is zero, a weight is not finite, or a layer is too large to be
        unrolled (more than 4096 weights, strategy "Latency" of Vitis and Vivado).
    FileExistsError
        If `directory` holds something that would be lost.
    ImportError
        If hls4ml is not installed.

    Warns
    -----
    UserWarning
        If nodes have only zero weights behind them, `X` has few rows, or a given type is too small.

    Notes
    -----
    ``ModelGraph.predict`` wants a C-contiguous float32 or float64 array,
    ``np.ascontiguousarray(X, np.float32)``, and drops the first axis of its result for a single row.

    *Columns of different size.* hls4ml has one type for all inputs. If the ranges of the columns differ by
    less than about a factor 8, that is all, and the project is dense layers and activations. Otherwise (pT of
    600 GeV beside ratios of 0.5) the input type is wide enough for the largest column and fine enough for
    the smallest, and a first layer ``align`` multiplies column i by a power of two and rounds it to the bits
    asked for, while row i of the first weights is divided by that power: exact, and neither inputs nor
    weights waste bits in the multipliers. The price is a wide input port (27 bits for jets at ``"auto:16"``;
    bits a column does not use may be tied to zero) and one rounding and saturation per column before the
    first layer. Products with constant powers of two should cost wires only; no vendor tool was asked.

    *Sums* neither saturate nor wrap: their integer bits follow from the largest values the types can hold. By
    how much rounded weights shift the mean of a sum is taken off its bias.

    *Bits.* With H->bb jets and networks of 12 to 256 nodes the logits, which spread by 4, differ from float
    by (RMS) 0.001 at 16 bits, 0.003 at 14, 0.012 at 12 and 0.05 at 10.

    *tanh and sigmoid* are looked up in tables of up to 4096 entries (1024 for tanh with Quartus), which the
    tool repeats for nodes evaluated at once, or are piecewise linear (Catapult, with errors that no number of
    bits reduces). relu costs next to nothing.
    """
    backend = _choice("backend", backend, BACKENDS)
    strategy = _choice("strategy", strategy, STRATEGIES)
    io_type = _choice("io_type", io_type, IO_TYPES)
    check_network(network)
    check_name("project_name", project_name, _CPP, "C++")
    kind = parse_precision(precision)
    target = check_directory(directory)
    _check_device(part, clock_period)
    n_inputs = network.weights[0].shape[0]
    if X is None and not isinstance(kind, FixedType):
        raise ValueError(
            f'X is missing: precision "{precision}" takes integer bits from a sample. Pass a few thousand '
            f"rows of the network's own columns, X (n, {n_inputs}), or a type such as "
            'precision="fixed<16,6>"'
        )
    sample = None if X is None else _check_sample(X, n_inputs)
    require("hls4ml", "hls4ml")
    reuse = _check_reuse(network, backend, strategy, reuse_factor)

    ranges = None if sample is None else measure(network, sample)
    plan = make_plan(network, ranges, kind, addressed=backend in _XILINX)
    options = {"part": part, "clock_period": clock_period, "io_type": io_type}
    config = require("hls4ml.utils.config", "hls4ml").create_config(
        output_dir=str(target),
        project_name=project_name,
        backend=backend,
        **{key: value for key, value in options.items() if value is not None},
    )
    config["HLSConfig"] = _hls_config(plan, strategy, reuse)
    with _quiet():
        model = require("hls4ml.model", "hls4ml").ModelGraph.from_layer_list(config, _layer_list(plan))
        _write(model, target, overwrite)
    return model


# ---- what hls4ml is told


def _layer_list(plan: Plan) -> list[dict[str, Any]]:
    n = plan.n_inputs
    layers: list[dict[str, Any]] = [{"class_name": "Input", "name": "x", "input_shape": [n]}]
    if plan.shifts is not None:
        scale = {"scale_data": np.ldexp(1.0, plan.shifts), "bias_data": np.zeros(n)}
        layers.append({"class_name": "BatchNormalization", "name": "align", "n_in": n, "n_filt": -1, **scale})
    for layer in plan.layers:
        n_in, n_out = layer.weights.shape
        data = {"weight_data": layer.weights, "bias_data": layer.bias}
        layers.append({"class_name": "Dense", "name": layer.name, "n_in": n_in, "n_out": n_out, **data})
        act: dict[str, Any] = {"name": _act(layer), "n_in": n_out}
        if layer.activation == "leaky_relu":
            layers.append(act | {"class_name": "LeakyReLU", "activation": "LeakyReLU", "activ_param": SLOPE})
        elif layer.activation != "linear":
            layers.append(act | {"class_name": "Activation", "activation": layer.activation})
    return layers


def _hls_config(plan: Plan, strategy: str, reuse: Sequence[int]) -> dict[str, Any]:
    names: dict[str, dict[str, Any]] = {"x": {"Precision": {"result": str(plan.input_type)}}}
    if plan.shifts is not None:
        low, high = int(plan.shifts.min()), int(plan.shifts.max())
        types = {
            "scale": FixedType(high - low + 2, high + 2).bare,
            "bias": FixedType(2, 2).bare,
            "result": str(plan.aligned_type),
        }
        names["align"] = {"Precision": types, "Strategy": "Latency", "ReuseFactor": 1}
    for layer, factor in zip(plan.layers, reuse, strict=True):
        types = {
            "weight": layer.weight_type.bare,
            "bias": layer.bias_type.bare,
            "accum": str(layer.accum_type),
            "result": str(layer.result_type),
        }
        names[layer.name] = {"Precision": types, "Strategy": strategy, "ReuseFactor": factor}
        if layer.activation == "linear":
            continue
        types = {"result": str(layer.output_type)}
        if layer.activation == "leaky_relu":
            types["param"] = str(FixedType(layer.output_type.width, -6, signed=False))
        # every activation has a table type, used or not
        names[_act(layer)] = {"Precision": types, "ReuseFactor": 1, "table_t": str(layer.output_type)}
        if layer.table_size is not None:
            names[_act(layer)]["TableSize"] = layer.table_size
    # hls4ml wants defaults; nothing is left to them
    fallback = {"Precision": {"default": "fixed<16,6,RND,SAT>"}, "ReuseFactor": 1, "Strategy": strategy}
    return {"Model": fallback, "LayerName": names}


def _act(layer: DenseLayer) -> str:
    return f"{layer.name}_{layer.activation}"


# ---- checks


def _choice(name: str, value: object, choices: Sequence[str]) -> str:
    for choice in choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def _check_device(part: object, clock_period: object) -> None:
    if part is not None and not (isinstance(part, str) and part.strip()):
        raise ValueError(f'part must be the name of a device, such as "xcvu13p-flga2577-2-e"; got {part!r}')
    if clock_period is None:
        return
    number = isinstance(clock_period, numbers.Real) and not isinstance(clock_period, bool)
    if not (number and 0 < clock_period < math.inf):  # type: ignore[operator]
        raise ValueError(f"clock_period must be a positive number of ns; got {clock_period!r}")


def _check_sample(X: ArrayLike, n_inputs: int) -> NDArray[np.float64]:
    wanted = f"X must hold numbers, shape (n, {n_inputs})"
    if hasattr(X, "tocsr"):
        raise TypeError(f"{wanted}; got a sparse {type(X).__name__}: pass X.toarray()")
    raw = np.asarray(X)
    try:
        if raw.dtype.kind not in "biufO" or any(isinstance(v, str) for v in raw.flat if raw.dtype == object):
            raise TypeError(f"dtype {raw.dtype}")
        sample = raw.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{wanted}; got {type(X).__name__}: {error}") from error
    if sample.ndim != 2 or sample.shape[1] != n_inputs:
        raise ValueError(f"X must have shape (n, {n_inputs}), the network's inputs; got {sample.shape}")
    if len(sample) == 0:
        raise ValueError("X has no rows; ranges need a few thousand")
    if not np.isfinite(sample).all():
        row, column = np.argwhere(~np.isfinite(sample))[0]
        raise ValueError(f"X must be finite; got {sample[row, column]} in row {row}, column {column}")
    if len(sample) < FEW_ROWS:
        warnings.warn(
            f"X has {len(sample)} rows; other jets may exceed ranges from so few, and saturate: pass some "
            "thousand",
            UserWarning,
            stacklevel=3,
        )
    return sample


def _check_reuse(network: Network, backend: str, strategy: str, reuse_factor: object) -> list[int]:
    """One reuse factor per dense layer, valid for its widths."""
    shapes = [(int(w.shape[0]), int(w.shape[1])) for w in network.weights]
    given: list[Any] = (
        list(reuse_factor) if isinstance(reuse_factor, (Sequence, np.ndarray)) else [reuse_factor]
    )
    if len(given) == 1:
        given *= len(shapes)
    if len(given) != len(shapes):
        raise ValueError(
            f"reuse_factor must be one number or one per dense layer, {len(shapes)}; got {reuse_factor!r}"
        )
    if not all(isinstance(r, numbers.Integral) and not isinstance(r, bool) and int(r) >= 1 for r in given):
        raise ValueError(f"reuse_factor must be a whole number from 1; got {reuse_factor!r}")
    reuse = [int(r) for r in given]
    rules = require("hls4ml.backends", "hls4ml").get_backend(backend)
    valid: list[list[int]] = [rules.get_valid_reuse_factors(*shape) for shape in shapes]

    largest = max(shapes, key=math.prod)
    if backend in _XILINX and strategy == "Latency" and math.prod(largest) > MAX_UNROLLED:
        fit = [
            next(r for r in v if math.prod(shape) <= MAX_UNROLLED * r)
            for shape, v in zip(shapes, valid, strict=True)
        ]
        raise ValueError(
            f'strategy "Latency" unrolls every layer, and one has {largest[0]} x {largest[1]} = '
            f"{math.prod(largest)} weights, more than the {MAX_UNROLLED} that {backend} takes: use "
            f'strategy="Resource", reuse_factor={fit}, or a smaller network'
        )
    for i, (shape, r, v) in enumerate(zip(shapes, reuse, valid, strict=True)):
        if r not in v if strategy == "Resource" or backend == "Quartus" else r > math.prod(shape):
            near = [min(v, key=lambda f, r=r: (abs(f - r), f)) for r, v in zip(reuse, valid, strict=True)]  # type: ignore[misc]
            some = ", ".join(map(str, v[:12])) + (", ..." if len(v) > 12 else "")
            raise ValueError(
                f"reuse_factor {r} is not possible for layer fc{i + 1} of {shape[0]} x {shape[1]} weights "
                f"({some} are); nearest for the whole network: reuse_factor={near}"
            )
    return reuse


# ---- files


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """hls4ml prints progress and problems alike: drop the one, turn the other into warnings."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            if line.strip() and not line.startswith(_CHATTER):
                warnings.warn(f"hls4ml: {line.strip()}", UserWarning, stacklevel=4)


def _write(model: Any, target: Path, overwrite: bool) -> None:
    """Write the project beside `target`, then put it in place."""
    settings = model.config.config
    try:
        with project(target, CONFIG, "an hls4ml project", overwrite) as draft:
            settings["OutputDir"] = str(draft)
            model.write()
            settings["OutputDir"] = str(target)
            with open(draft / CONFIG, "w", encoding="utf-8") as file:  # the only file that says where it is
                require("yaml", "hls4ml").dump(settings, file)
    finally:
        settings["OutputDir"] = str(target)
