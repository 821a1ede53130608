"""Who predicts: each takes the same weights, gets a NumPy array and returns one.

`logits` is the network alone; `probabilities` is what a user of the library asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .peers import F32, Task

Outputs = NDArray[Any]


class Predictor(Protocol):
    """One way to predict. A method may be missing; then the benchmark leaves it out."""

    def __init__(self, threads: int) -> None: ...

    def start(self, task: Task) -> None:
        """Take widths and weights."""

    def logits(self, x: F32) -> Outputs:
        """(n, 1) or (n,)."""

    def probabilities(self, x: F32) -> Outputs:
        """Of class 1, (n, 1) or (n,); or of both, (n, 2)."""


class Ours:
    """`Network.predictor()` and `ShadowClassifier.predict_proba`, with all their checks."""

    def __init__(self, threads: int) -> None:
        """One thread per call."""

    def start(self, task: Task) -> None:
        from shadowprune import Network, ShadowClassifier

        self.network = Network.from_params(task.widths, task.params)
        self.classifier = ShadowClassifier(task.widths[1:-1], n_nodes=None, max_iter=1, batch_size=512)
        self.classifier.fit(task.x[:1000], np.arange(1000) % 2)
        self.classifier.network_ = self.network
        self.predictor = self.network.predictor()

    def logits(self, x: F32) -> Outputs:
        return self.predictor(x)

    def probabilities(self, x: F32) -> Outputs:
        return self.classifier.predict_proba(x)


class Forward:
    """`Network.forward`, which packs the weights each time, for they may have changed."""

    def __init__(self, threads: int) -> None:
        """One thread per call."""

    def start(self, task: Task) -> None:
        from shadowprune import Network

        self.network = Network.from_params(task.widths, task.params)

    def logits(self, x: F32) -> Outputs:
        return self.network.forward(x, keep=False)


class InPlace(Forward):
    """The predictor writing into an array of the caller's."""

    def start(self, task: Task) -> None:
        super().start(task)
        self.predictor = self.network.predictor()
        self.out = np.empty((len(task.x), task.n_outputs), np.float32)

    def logits(self, x: F32) -> Outputs:
        return self.predictor(x, self.out[: len(x)])


class Core(InPlace):
    """The predictor's C function repeated in C: what is left without the call from Python."""

    def latency(self, x: F32, repeats: int) -> float:
        """Seconds per call."""
        return float(self.predictor.latency(x, repeats))


class Jax:
    """A jitted function."""

    def __init__(self, threads: int) -> None:
        import jax

        jax.config.update("jax_platforms", "cpu")

    def start(self, task: Task) -> None:
        import jax

        from .peers.jax_scan import forward

        layers = [(jax.device_put(w), jax.device_put(b)) for w, b in task.layers()]
        self._logits = jax.jit(lambda x: forward(layers, x))
        self._probabilities = jax.jit(lambda x: jax.nn.sigmoid(forward(layers, x)))

    def logits(self, x: F32) -> Outputs:
        return np.asarray(self._logits(x))

    def probabilities(self, x: F32) -> Outputs:
        return np.asarray(self._probabilities(x))


class Torch:
    """`nn.Sequential` in inference mode."""

    def __init__(self, threads: int) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(threads)

    def start(self, task: Task) -> None:
        from .peers.pytorch import sequential

        self.model = sequential(task).eval()

    def logits(self, x: F32) -> Outputs:
        with self.torch.inference_mode():
            return np.asarray(self.model(self.torch.from_numpy(x)).numpy())

    def probabilities(self, x: F32) -> Outputs:
        with self.torch.inference_mode():
            return np.asarray(self.model(self.torch.from_numpy(x)).sigmoid_().numpy())


class OnnxRuntime:
    """The same layers as an ONNX graph of Gemm and Relu."""

    def __init__(self, threads: int) -> None:
        import onnx
        import onnxruntime

        self.onnx, self.runtime, self.threads = onnx, onnxruntime, threads

    def start(self, task: Task) -> None:
        self._logits, self._probabilities = (self._session(task, sigmoid) for sigmoid in (False, True))

    def _session(self, task: Task, sigmoid: bool) -> Any:
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        nodes, weights, name = [], [], "x"
        last = len(task.widths) - 2
        for place, (w, b) in enumerate(task.layers()):
            parts = (w, f"w{place}"), (b, f"b{place}")
            weights += [self.onnx.numpy_helper.from_array(array, label) for array, label in parts]
            nodes.append(helper.make_node("Gemm", [name, f"w{place}", f"b{place}"], [f"z{place}"]))
            name = f"z{place}"
            if place < last or sigmoid:
                nodes.append(helper.make_node("Relu" if place < last else "Sigmoid", [name], [f"h{place}"]))
                name = f"h{place}"
        inputs = [helper.make_tensor_value_info("x", kind, [None, task.widths[0]])]
        outputs = [helper.make_tensor_value_info(name, kind, [None, task.n_outputs])]
        model = helper.make_model(
            helper.make_graph(nodes, "network", inputs, outputs, weights),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=9,
        )
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = self.threads
        return self.runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def logits(self, x: F32) -> Outputs:
        return np.asarray(self._logits.run(None, {"x": x})[0])

    def probabilities(self, x: F32) -> Outputs:
        return np.asarray(self._probabilities.run(None, {"x": x})[0])


class ScikitLearn:
    """`MLPClassifier.predict_proba`; it shows no logits."""

    def __init__(self, threads: int) -> None:
        import sklearn.neural_network  # noqa: F401  the time of the import is not that of `start`

    def start(self, task: Task) -> None:
        from .peers.scikit import MLP

        peer = MLP(1)
        peer.start(task)
        self.model = peer.model

    def probabilities(self, x: F32) -> Outputs:
        return np.asarray(self.model.predict_proba(x))


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    target: str
    isa: str | None = None


HERE = __name__
PREDICTORS = (
    Line("shadowprune", f"{HERE}:Ours"),
    Line("shadowprune, out=", f"{HERE}:InPlace"),
    Line("shadowprune, C alone", f"{HERE}:Core"),
    Line("shadowprune, forward()", f"{HERE}:Forward"),
    Line("onnxruntime", f"{HERE}:OnnxRuntime"),
    Line("JAX jit", f"{HERE}:Jax"),
    Line("PyTorch", f"{HERE}:Torch"),
    Line("scikit-learn", f"{HERE}:ScikitLearn"),
)
