"""Keras models of float networks, written without Keras: a model file is JSON and HDF5.

Keras 2 (``.h5``): attribute ``model_config`` (JSON) and the group ``model_weights``, one group per layer.
Keras 3 (``.keras``): a zip of ``config.json``, ``metadata.json`` and ``model.weights.h5``, where layers are
numbered per class.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import check_network, check_rows
from .._extras import require
from ..fixedpoint import SLOPE
from ._files import check_file, write_golden, written

if TYPE_CHECKING:
    from ..network import Network

KERAS2 = "2.15.0"  # the formats written are those of these versions
KERAS3 = "3.0.0"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip's own: the same network gives the same bytes


def keras(network: Network, path: str | os.PathLike[str], X: ArrayLike | None = None) -> Path:
    """Write `network` as a Keras ``Sequential`` model of Dense layers, in float32; Keras is not needed.

    Parameters
    ----------
    network : shadowprune.Network
        Takes the user's own columns and gives logits; ``clf.network_`` of a fitted classifier.
    path : path
        ``name.keras``: Keras 3. ``name.h5``: Keras 2, architecture and weights; the architecture alone is
        written beside it as ``name.json``, for tools that want both files. Written under another name,
        then renamed.
    X : array-like (n, n_inputs), optional
        Rows in the network's columns. They and their logits are written beside the model as golden
        vectors: ``<name>_golden.npz`` with ``x`` and ``y``, float32.

    Returns
    -------
    pathlib.Path
        The file, absolute.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, a layer has no nodes, or a weight is not finite.
    ImportError
        Without h5py: ``pip install "shadowprune[keras]"``.

    Notes
    -----
    Layers are called fc1, fc2 and so on, the model is not compiled (it has neither loss nor optimiser).
    ``keras.models.load_model`` reads both files; hls4ml reads the Keras 2 pair with
    ``hls4ml.converters.keras_v2_to_hls`` and its keys ``KerasJson`` and ``KerasH5``.
    """
    check_network(network)
    target = check_file(path, ".keras", ".h5")
    rows = None if X is None else check_rows(X, network.weights[0].shape[0]).astype(np.float32)
    h5py = require("h5py", "keras")
    if target.suffix.lower() == ".keras":
        _keras3(h5py, network, target)
    else:
        _keras2(h5py, network, target)
    if rows is not None:
        write_golden(target, rows, network.forward(rows))
    return target


def _layers(network: Network, version: int) -> list[tuple[str, dict[str, Any], tuple[Any, ...]]]:
    """Class, configuration and arrays of every layer after the input."""
    layers: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = []
    last = len(network.weights)
    for i, (w, b) in enumerate(zip(network.weights, network.biases, strict=True), 1):
        kind = "linear" if i == last else network.activation
        leaky = kind == "leaky_relu"  # Keras 3 knows it as an activation of another slope
        config = {
            "name": f"fc{i}",
            "trainable": True,
            "dtype": "float32",
            "units": int(w.shape[1]),
            "activation": "linear" if leaky else kind,
            "use_bias": True,
        }
        layers.append(("Dense", config, (w, b)))
        if leaky:
            slope = "alpha" if version == 2 else "negative_slope"
            name = {"name": f"fc{i}_leaky_relu", "trainable": True, "dtype": "float32"}
            layers.append(("LeakyReLU", name | {slope: SLOPE}, ()))
    return layers


def _input(network: Network, shape: str) -> dict[str, Any]:
    n_inputs = int(network.weights[0].shape[0])
    return {shape: [None, n_inputs], "dtype": "float32", "sparse": False, "ragged": False, "name": "x"}


def _keras2(h5py: Any, network: Network, target: Path) -> None:
    layers = _layers(network, version=2)
    described = [{"class_name": "InputLayer", "config": _input(network, "batch_input_shape")}]
    described += [{"class_name": kind, "config": config} for kind, config, _ in layers]
    architecture = {"class_name": "Sequential", "config": {"name": "shadowprune", "layers": described}}
    header = {"keras_version": KERAS2, "backend": "tensorflow"}
    with written(target) as draft:
        with h5py.File(draft, "w") as file:
            file.attrs.update(header | {"model_config": json.dumps(architecture)})
            group = file.create_group("model_weights")
            group.attrs.update(header | {"layer_names": [config["name"].encode() for _, config, _ in layers]})
            for _, config, arrays in layers:
                layer = group.create_group(config["name"])
                names = [f"{config['name']}/{part}:0" for part in ("kernel", "bias")][: len(arrays)]
                layer.attrs["weight_names"] = np.array(names, "S")
                for name, array in zip(names, arrays, strict=True):
                    layer.create_dataset(name, data=array)
        with written(target.with_suffix(".json")) as text:
            text.write_text(json.dumps(architecture | header, indent=1) + "\n", encoding="utf-8")


def _keras3(h5py: Any, network: Network, target: Path) -> None:
    layers = _layers(network, version=3)
    described = [_described("InputLayer", _input(network, "batch_shape"))]
    described += [_described(kind, config) for kind, config, _ in layers]
    shape = {"build_input_shape": [None, int(network.weights[0].shape[0])]}
    config = {"name": "shadowprune", "trainable": True, "dtype": "float32", "layers": described} | shape
    model = _described("Sequential", config, module="keras") | {"compile_config": {}}

    weights, numbered = io.BytesIO(), Counter[str]()
    with h5py.File(weights, "w") as file:
        file.create_group("vars").attrs["name"] = "shadowprune"
        for kind, described_by, arrays in layers:
            stem = {"Dense": "dense", "LeakyReLU": "leaky_re_lu"}[kind]
            number = f"_{numbered[stem]}" if numbered[stem] else ""
            numbered[stem] += 1
            group = file.create_group(f"layers/{stem}{number}/vars")
            group.attrs["name"] = described_by["name"]
            for i, array in enumerate(arrays):
                group.create_dataset(str(i), data=array)
    parts = {
        "metadata.json": json.dumps({"keras_version": KERAS3, "date_saved": "1980-01-01@00:00:00"}).encode(),
        "config.json": json.dumps(model).encode(),
        "model.weights.h5": weights.getvalue(),
    }
    with written(target) as draft, zipfile.ZipFile(draft, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)


def _described(kind: str, config: dict[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}
