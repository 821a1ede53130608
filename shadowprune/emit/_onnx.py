"""ONNX files: the float network, for whatever reads ONNX."""

from __future__ import annotations

import os
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

OPSET = 13
IR_VERSION = 8  # what onnxruntime, qonnx and hls4ml read in every version in use
ACTIVATION_NODES = {"relu": "Relu", "leaky_relu": "LeakyRelu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def onnx(network: Network, path: str | os.PathLike[str], X: ArrayLike | None = None) -> Path:
    """Write `network` as an ONNX model of MatMul, Add and activation nodes, in float32.

    Parameters
    ----------
    network : shadowprune.Network
        Takes the user's own columns and gives logits; ``clf.network_`` of a fitted classifier.
    path : path
        Ends in ``.onnx``. Written under another name, then renamed.
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
        Without the package onnx: ``pip install "shadowprune[onnx]"``.

    Notes
    -----
    Opset 13, IR version 8. The input ``x`` (batch, n_inputs) and the output ``logits`` (batch, n_outputs)
    leave the number of rows open. Node names are those of hls4ml projects, fc1, fc2 and so on; the names of
    the columns, where the network knows them, are in the metadata as JSON, ``input_names``.
    """
    check_network(network)
    target = check_file(path, ".onnx")
    rows = None if X is None else check_rows(X, network.weights[0].shape[0]).astype(np.float32)
    graph = Graph("batch", network.weights[0].shape[0])
    tensor, last = "x", len(network.weights)
    for i, (w, b) in enumerate(zip(network.weights, network.biases, strict=True), 1):
        tensor = graph.add("MatMul", f"fc{i}_matmul", [tensor, graph.constant(f"fc{i}_weight", w)])
        tensor = graph.add("Add", f"fc{i}", [tensor, graph.constant(f"fc{i}_bias", b)])
        if i < last:
            tensor = graph.activation(f"fc{i}", network.activation, tensor)
    graph.save(target, tensor, network.weights[-1].shape[1], getattr(network, "input_names", None))
    if rows is not None:
        write_golden(target, rows, network.forward(rows))
    return target


class Graph:
    """A chain of ONNX nodes from ``x`` to ``logits``; tensors are known by their names."""

    def __init__(self, batch: str | int, n_inputs: int) -> None:
        self._package = require("onnx", "onnx")
        self._helper = require("onnx.helper", "onnx")
        self._batch, self._n_inputs = batch, n_inputs
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._domains = {"": OPSET}

    @property
    def types(self) -> Any:
        """ONNX's names of types."""
        return self._package.TensorProto

    def constant(self, name: str, values: ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """An initializer."""
        array = np.ascontiguousarray(values, dtype).reshape(np.shape(values))
        self._constants.append(require("onnx.numpy_helper", "onnx").from_array(array, name))
        return name

    def add(
        self,
        kind: str,
        name: str,
        inputs: list[str],
        attributes: dict[str, Any] | None = None,
        domain: str = "",
    ) -> str:
        """A node with one output, which has the node's name."""
        self._domains.setdefault(domain, 1)
        out = f"{name}_out"
        self._nodes.append(
            self._helper.make_node(kind, inputs, [out], name=name, domain=domain, **(attributes or {}))
        )
        return out

    def activation(self, layer: str, kind: str, tensor: str) -> str:
        """The node of a hidden activation; none for linear."""
        if kind == "linear":
            return tensor
        slope = {"alpha": SLOPE} if kind == "leaky_relu" else None
        return self.add(ACTIVATION_NODES[kind], f"{layer}_{kind}", [tensor], slope)

    def save(self, path: Path, tensor: str, n_outputs: int, input_names: tuple[str, ...] | None) -> None:
        """Call `tensor` logits, check the model, write it."""
        import json

        from .. import __version__

        helper, float32 = self._helper, self.types.FLOAT
        self._nodes[-1].output[0] = "logits"
        graph = helper.make_graph(
            self._nodes,
            "shadowprune",
            [helper.make_tensor_value_info("x", float32, [self._batch, self._n_inputs])],
            [helper.make_tensor_value_info("logits", float32, [self._batch, n_outputs])],
            self._constants,
        )
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in self._domains.items()],
            producer_name="shadowprune",
            producer_version=__version__,
        )
        if input_names is not None:
            helper.set_model_props(model, {"input_names": json.dumps(list(input_names))})
        self._package.checker.check_model(model)
        with written(path) as draft:
            draft.write_bytes(model.SerializeToString(deterministic=True))
