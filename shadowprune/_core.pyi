"""The compiled part. Arrays are checked and converted here once; float32 data, float64 decisions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
#: C(g): None is sum g, a vector c is sum c_i g_i, and a tuple (linear or None, layer, fixed, pair) is
#: sum linear_i g_i + sum_l pair_l N_l N_{l+1} with N_l = fixed_l + the gates of layer l.
Cost = F64 | tuple[F64 | None, NDArray[np.int32], F64, F64] | None

MAX_LAYERS: int

def isa() -> str:
    """Instruction set in use: "baseline", "avx2" or "avx512"."""

def isas() -> tuple[str, ...]:
    """Instruction sets this build holds and this processor can run, slowest first."""

def n_params(widths: Sequence[int]) -> int:
    """Length of the flat parameter block: per layer W (n_in, n_out) row by row, then b (n_out,)."""

def gates(
    scores: F64,
    budget: float,
    temperature: float,
    family: str = "logistic",
    cost: Cost = None,
    theta: float = 0.0,
) -> tuple[F64, float]:
    """Gates g_i = F((s_i - theta)/T) with C(g) == budget, and the theta that solves it.

    family: "logistic" or "laplace"; theta: where the search starts; RuntimeError if it fails to converge.
    """

def gates_backward(
    gates: F64,
    temperature: float,
    dgates: F64,
    family: str = "logistic",
    cost: Cost = None,
) -> F64:
    """dL/ds = d/T (u - c mu) of METHOD: u = dgates, mu keeps the constraint."""

def select(
    scores: F64,
    layer: NDArray[np.int32],
    n_nodes: int,
    min_nodes: int | NDArray[np.int32],
    max_nodes: int | NDArray[np.int32] | None = None,
    multiple: int = 1,
) -> Bools:
    """Hard finish: min_nodes best of each layer, then the best overall to exactly n_nodes; ties by index.

    min_nodes, max_nodes: for all layers, or one for each number in layer up to the largest; a layer narrower
    than min_nodes keeps all it has. multiple: of every layer's nodes; those beyond the minimum then come in
    blocks of so many of one layer, ranked by the sum of their scores.
    """

def scores_step(scores: F64, grad: F64, velocity: F64, square: float, step: int, rate: float) -> float:
    """One step of the score optimiser, in place on scores and velocity; returns the new running square."""

def reduce(widths: Sequence[int], params: F32, keep: Bools) -> F32:
    """Parameters of the network without its dead nodes. keep: one flag per input and hidden node."""

def loss(kind: str, z: F32, target: F32, weight: F32 | None = None) -> tuple[float, F32]:
    """Mean loss over the rows, and dL/dz. z, target: (n, n_out).

    kind: "binary_crossentropy", "categorical_crossentropy" (targets are probabilities) or "squared_error"
    (0.5 |z - t|^2 summed over outputs); weight (n,) multiplies each row's loss, the mean divides by n.
    """

def probabilities(z: F32) -> F64:
    """1 - sigmoid(z) and sigmoid(z), (n, 2), of logits z (n, 1)."""

def adam_step(
    params: F32,
    grad: F32,
    m: F32,
    v: F32,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    decay: F32 | None = None,
) -> None:
    """One AdamW step in place (step counts from 1). decay: per-parameter decoupled decay, or None."""

def sgd_step(
    params: F32,
    grad: F32,
    velocity: F32,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    decay: F32 | None = None,
) -> None: ...

class Model:
    """Forward and backward of one layout, with the memory they need."""

    def __init__(self, widths: Sequence[int], activation: str) -> None: ...
    def forward(
        self, params: F32, x: ArrayLike, gates: F32 | None = None, keep: bool = False, out: F32 | None = None
    ) -> F32:
        """Logits (n, n_out). gates: one per input and hidden node. keep=True stores what backward needs."""
    def backward(self, dz: F32) -> tuple[F32, F32]:
        """(dparams, dgates) of the last forward(keep=True), or ValueError. dgates: inputs, then hidden."""

class Predictor:
    """A frozen network; any number of threads may call it at once."""

    def __init__(self, widths: Sequence[int], activation: str, params: F32) -> None: ...
    def __call__(self, x: ArrayLike, out: F32 | None = None) -> F32:
        """Logits (n, n_out) of rows (n, n_in), written to out if given."""
    def latency(self, x: ArrayLike, repeats: int = 1000) -> float:
        """Seconds the core needs for these rows, the mean of some repeats: without the call from Python."""

class Trainer:
    """Weights, moments, scores and scratch memory of one training."""

    def __init__(
        self,
        widths: Sequence[int],
        activation: str,
        loss: str,
        optimizer: str = "adam",
        batch_size: int = 512,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        momentum: float = 0.9,
        nesterov: bool = True,
        threads: int = 1,
    ) -> None:
        """threads share out each step; their number changes no bit of the result."""
    def set_state(self, params: F32, m: F32, v: F32, step: int) -> None: ...
    def get_state(self) -> tuple[F32, F32, F32, int]: ...
    def set_shadow(
        self,
        groups: Sequence[tuple[NDArray[np.int32], F64, Cost, float]],
        family: str = "logistic",
        method: str = "shadow",
    ) -> None:
        """groups: (indices among all gates, scores, cost, rate); replaces the shadow, [] ends it.

        method: "shadow", "straight-through" or "taylor".
        """
    def get_shadow(self) -> list[F64]:
        """Scores of each group."""
    def set_quantiser(self, layers: Sequence[tuple[FixedSpec, int, FixedSpec | None]]) -> None:
        """From now on weights, biases and outputs are seen in fixed point: per layer the type of the weights,
        the fractional bits of the biases, the type of the outputs (None in the last)."""
    def run(
        self,
        x: F32,
        target: F32,
        weight: F32 | None,
        order: NDArray[np.int32],
        learning_rate: F32,
        weight_decay: F32,
        budgets: F64 | None = None,
        temperatures: F64 | None = None,
    ) -> F64:
        """Train over the rows named in order, batch_size at a time, without the GIL; mean loss of every step.
        Consecutive rows are read where they lie.

        learning_rate, weight_decay: (n_steps,). budgets, temperatures: (n_steps, n_groups).
        """
    def reduced(self, keep: Bools) -> Trainer:
        """One that goes on from here without the nodes whose flag (one per input and hidden node) is false.

        Weights, moments, scores and the state of their optimiser go along; x must then have the kept columns.
        """
    def set_path(self, knots: F64, passes: int) -> None:
        """From now on each step passes so often over its rows, under budgets of their own on the one group of
        the shadow; the first teaches the others. One of all nodes leaves a pass out that is not the first.
        Corrections stand on the knots, node counts that rise to all nodes, where they are zero. `run` then
        takes budgets (n_steps, passes).
        """
    def set_corrections(self, gain: F32, shift: F32) -> None:
        """gain (n_knots - 1, n_gates), shift (n_knots - 1, hidden nodes and outputs)."""
    def get_corrections(self) -> tuple[F32, F32]: ...
    def freeze(self, rank: NDArray[np.int32]) -> None:
        """Gates are hard from now on: under a budget K the nodes of the group with rank below K are open."""
    def permute(self, order: NDArray[np.int32]) -> None:
        """Nodes of each hidden layer in another order: node i is what order[i] was, among all gates.

        A pass is the cheaper the further back the nodes are that it closes.
        """
    def gates(self) -> F32:
        """Gates of the last step, one per input and hidden node."""

#: A fixed-point type: width, integer bits, signed, saturates, rounding ("TRN", "RND" or "RND_CONV").
FixedSpec = tuple[int, int, bool, bool, str]

def fixed_cast(kind: FixedSpec, x: ArrayLike) -> NDArray[np.int64]:
    """Multiples of the type's step that it holds for x, finite, of any shape."""

def fixed_table(activation: str, n: int) -> F32:
    """Entries of the table of "tanh" on [-4, 4) or "sigmoid" on [-8, 8), before they are rounded."""

class Fixed:
    """A network in integers.

    offset (n_inputs) in steps of `input`, shift (n_inputs): the first layer takes (x - offset) 2^shift cast
    to `aligned`; all three None: x as `input` holds it. A layer: weights (n_in, n_out), bias (n_out,), their
    fractional bits, types of the sum, of what is activated and of the result, the activation, the slope of
    leaky_relu and its fractional bits, the table of tanh or sigmoid in steps of the result or None.
    ValueError, naming the layer, if a number could leave 62 bits.
    """

    def __init__(
        self,
        input: FixedSpec,
        offset: NDArray[np.int64] | None,
        shift: NDArray[np.int32] | None,
        aligned: FixedSpec | None,
        layers: Sequence[
            tuple[
                NDArray[np.int64], NDArray[np.int64], int, int,
                FixedSpec, FixedSpec, FixedSpec, str, int, int, NDArray[np.int64] | None,
            ]
        ],
    ) -> None: ...  # fmt: skip
    def forward(self, x: ArrayLike) -> F64:
        """Outputs (n, n_out) of x (n, n_inputs); without the GIL, threads may share it."""
