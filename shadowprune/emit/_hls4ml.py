"""hls4ml projects, by hls4ml's layer list: no Keras, ONNX or PyTorch in between."""

from __future__ import annotations

import contextlib
import io
import math
import numbers
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import check_name, check_rows
from .._extras import require
from ..fixedpoint import SLOPE, FixedLayer, FixedNetwork, FixedType, integer_bits
from ..quantization import F64, quantize, warn, warn_of_idle
from ._files import check_directory, project

if TYPE_CHECKING:
    from ..network import Network

BACKENDS = ("Vitis", "Vivado", "Quartus", "Catapult")
STRATEGIES = ("Latency", "Resource")
IO_TYPES = ("io_parallel", "io_stream")
CONFIG = "hls4ml_config.yml"  # what makes a directory an hls4ml project
MAX_UNROLLED = 4096  # array elements the Xilinx tools partition; beyond it they give up
N_VECTORS = 1000  # rows of the test bench

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
    network: Network | FixedNetwork,
    directory: str | os.PathLike[str],
    X: ArrayLike | None = None,
    *,
    precision: str | Sequence[str] = "auto:16",
    backend: str = "Vitis",
    strategy: str = "Latency",
    reuse_factor: int | Sequence[int] = 1,
    io_type: str = "io_parallel",
    part: str | None = None,
    clock_period: float | None = None,
    project_name: str = "myproject",
    overwrite: bool = False,
) -> Any:
    """Write a network as an hls4ml project and return its ``ModelGraph``.

    Parameters
    ----------
    network : FixedNetwork or Network
        A `Network` takes the user's own columns and gives logits, ``clf.network_`` of a fitted classifier; it
        goes through `shadowprune.quantize` first.
    directory : path
        Where the project goes. It is written beside and then renamed: complete, or not there.
    X : array-like (n, n_inputs), optional
        Sample in the columns and units of the network, a few thousand rows like those the firmware will
        see. Required by ``"auto:<bits>"`` for a `Network`. Its first 1000 rows become the test vectors in
        ``tb_data``; without it they are drawn from all that the input type holds.
    precision : str or sequence of str
        For a `Network`: as in `shadowprune.quantize`.
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
        If an argument is not as above, or a layer is too large to be unrolled (more than 4096 weights,
        strategy "Latency" of Vitis and Vivado); what `quantize` raises.
    FileExistsError
        If `directory` holds something that would be lost.
    ImportError
        If hls4ml is not installed.

    Warns
    -----
    UserWarning
        If the back-end has tables of its own (tanh and sigmoid with Quartus and Catapult); what `quantize`
        warns of.

    Notes
    -----
    ``predict`` gives the bits of `FixedNetwork.forward`, tanh and sigmoid with Quartus and Catapult
    excepted. It wants a C-contiguous float32 or float64 array, ``np.ascontiguousarray(X, np.float32)``, and
    drops the first axis of its result for a single row.

    The alignment of columns of different size is a first layer ``align`` that multiplies by powers of two
    and adds a constant: it should cost an addition at most, wires where the constant is zero; no vendor tool
    was asked.

    ``tb_data/tb_input_features.dat`` and ``tb_output_predictions.dat`` hold inputs and the logits that
    `FixedNetwork.forward` gives for them: the project's test bench reads both.
    """
    backend = _choice("backend", backend, BACKENDS)
    strategy = _choice("strategy", strategy, STRATEGIES)
    io_type = _choice("io_type", io_type, IO_TYPES)
    check_name("project_name", project_name, _CPP, "C++")
    target = check_directory(directory)
    _check_device(part, clock_period)
    if isinstance(network, FixedNetwork):
        fixed = network
        warn_of_idle([layer.weights for layer in fixed.layers])
    else:
        fixed = quantize(network, precision, X)
    vectors = golden(fixed, X)
    require("hls4ml", "hls4ml")
    reuse = _check_reuse(fixed, backend, strategy, reuse_factor)
    if backend not in _XILINX and fixed.activation in ("tanh", "sigmoid"):
        warn(
            f"{backend} makes its own tables of {fixed.activation}: what it computes differs from "
            "FixedNetwork.forward; relu and Vitis or Vivado agree bit for bit"
        )

    options = {"part": part, "clock_period": clock_period, "io_type": io_type}
    config = require("hls4ml.utils.config", "hls4ml").create_config(
        output_dir=str(target),
        project_name=project_name,
        backend=backend,
        **{key: value for key, value in options.items() if value is not None},
    )
    config["HLSConfig"] = _hls_config(fixed, backend, strategy, reuse)
    with _quiet():
        model = require("hls4ml.model", "hls4ml").ModelGraph.from_layer_list(config, _layer_list(fixed))
        _write(model, target, overwrite, vectors)
    return model


# ---- what hls4ml is told


def _layer_list(fixed: FixedNetwork) -> list[dict[str, Any]]:
    n = fixed.n_inputs
    layers: list[dict[str, Any]] = [{"class_name": "Input", "name": "x", "input_shape": [n]}]
    if fixed.shifts is not None and fixed.offset is not None:
        scale, bias = np.ldexp(1.0, fixed.shifts), np.ldexp(-fixed.offset, fixed.shifts)
        data = {"scale_data": scale, "bias_data": bias}
        layers.append({"class_name": "BatchNormalization", "name": "align", "n_in": n, "n_filt": -1, **data})
    for layer in fixed.layers:
        n_in, n_out = layer.weights.shape
        data = {"weight_data": layer.weights, "bias_data": layer.bias}
        layers.append({"class_name": "Dense", "name": layer.name, "n_in": n_in, "n_out": n_out, **data})
        act: dict[str, Any] = {"name": _act(layer), "n_in": n_out}
        if layer.activation == "leaky_relu":
            layers.append(act | {"class_name": "LeakyReLU", "activation": "LeakyReLU", "activ_param": SLOPE})
        elif layer.activation != "linear":
            layers.append(act | {"class_name": "Activation", "activation": layer.activation})
    return layers


def _hls_config(fixed: FixedNetwork, backend: str, strategy: str, reuse: Sequence[int]) -> dict[str, Any]:
    names: dict[str, dict[str, Any]] = {"x": {"Precision": {"result": str(fixed.input_type)}}}
    if fixed.shifts is not None and fixed.offset is not None:
        low, high = int(fixed.shifts.min()), int(fixed.shifts.max())
        moved = np.ldexp(fixed.offset, fixed.shifts)
        bias = FixedType(2, 2)
        if moved.any():
            fractional = fixed.input_type.fractional - low
            integer = 1 + integer_bits(float(np.abs(moved).max()))
            bias = FixedType(max(integer + fractional, 2), max(integer, 2 - fractional))
        types = {
            "scale": FixedType(high - low + 2, high + 2).bare,
            "bias": bias.bare,
            "result": str(fixed.aligned_type),
        }
        names["align"] = {"Precision": types, "Strategy": "Latency", "ReuseFactor": 1}
    for layer, factor in zip(fixed.layers, reuse, strict=True):
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
            types["param"] = str(layer.slope_type)
        # every activation has a table type, used or not
        names[_act(layer)] = {"Precision": types, "ReuseFactor": 1, "table_t": str(layer.output_type)}
        # in Quartus projects the table of tanh has 1024 entries even where another number is asked for
        if layer.table is not None and (backend, layer.activation) != ("Quartus", "tanh"):
            names[_act(layer)]["TableSize"] = len(layer.table)
    # hls4ml wants defaults; nothing is left to them
    fallback = {"Precision": {"default": "fixed<16,6,RND,SAT>"}, "ReuseFactor": 1, "Strategy": strategy}
    return {"Model": fallback, "LayerName": names}


def _act(layer: FixedLayer) -> str:
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


def _check_reuse(fixed: FixedNetwork, backend: str, strategy: str, reuse_factor: object) -> list[int]:
    """One reuse factor per dense layer, valid for its widths."""
    shapes = [(int(layer.weights.shape[0]), int(layer.weights.shape[1])) for layer in fixed.layers]
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
                f"({some} are); nearest for the whole network: reuse_factor={near}, "
                f"{_multipliers(shapes, near)} multipliers at once, where widths that allowed {r} everywhere "
                f"would need {_multipliers(shapes, [r] * len(shapes))}: Budget(nodes=..., multiple={r}) "
                "trains such"
            )
    return reuse


def _multipliers(shapes: Sequence[tuple[int, int]], reuse: Sequence[int]) -> int:
    return sum(-(-math.prod(shape) // r) for shape, r in zip(shapes, reuse, strict=True))


# ---- files


def golden(fixed: FixedNetwork, X: ArrayLike | None) -> tuple[F64, F64]:
    """Inputs, in the single precision of the test bench, and the logits they must give."""
    if X is None:
        kind, rng = fixed.input_type, np.random.default_rng(0)
        X = rng.uniform(kind.low, kind.high, (N_VECTORS, fixed.n_inputs))
    else:
        check_rows(X, fixed.n_inputs)
    rows = np.asarray(X)[:N_VECTORS].astype(np.float32).astype(np.float64)
    return rows, fixed.forward(rows)


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
                warn(f"hls4ml: {line.strip()}")


def _write(model: Any, target: Path, overwrite: bool, vectors: tuple[F64, F64]) -> None:
    """Write the project beside `target`, then put it in place."""
    settings = model.config.config
    try:
        with project(target, CONFIG, "an hls4ml project", overwrite) as draft:
            settings["OutputDir"] = str(draft)
            model.write()
            settings["OutputDir"] = str(target)
            with open(draft / CONFIG, "w", encoding="utf-8") as file:  # the only file that says where it is
                require("yaml", "hls4ml").dump(settings, file)
            (draft / "tb_data").mkdir(exist_ok=True)
            for name, rows in zip(("tb_input_features", "tb_output_predictions"), vectors, strict=True):
                np.savetxt(draft / "tb_data" / f"{name}.dat", rows, fmt="%.17g")
    finally:
        settings["OutputDir"] = str(target)
