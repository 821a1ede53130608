"""Dense networks: widths, parameter views, forward and backward, reduction, files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._files import load_npz, save_npz

F32 = NDArray[np.float32]
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "linear")
FORMAT = "shadowprune network"
KEEP_ROWS = 65536  # forward passes up to this many rows remember what backward needs


class Network:
    """A dense network with one flat block of parameters.

    Hidden layers share one activation; the output layer is linear, so outputs are logits (or the
    predicted values of a regression).

    Parameters
    ----------
    widths : sequence of int
        Nodes per layer: inputs, hidden layers, outputs. 2 to 33 entries, each at least 1.
    activation : {"relu", "leaky_relu", "tanh", "sigmoid", "linear"}, default="relu"
        Activation of the hidden layers. The slope of leaky_relu is 0.01.
    random_state : int, numpy.random.Generator or None, default=None
        Seed of the initial weights: normal with variance 2/n_in for relu and leaky_relu (He et al.,
        ICCV 2015), 2/(n_in + n_out) for the others and the last layer (Glorot and Bengio, AISTATS
        2010). Biases start at zero.

    Attributes
    ----------
    params : ndarray of shape (n_params,), float32
        All parameters; per layer W (n_in, n_out) row by row, then b (n_out,). Change it in place.
    weights, biases : list of ndarray
        Views of `params`, one per dense layer: (n_in, n_out) and (n_out,), float32.
    input_names : tuple of str or None
        Names of the columns it takes, in order; may be set, is kept by `reduce`, `copy`, `save`.

    Raises
    ------
    ValueError
        If a width is below 1, there are too few or too many layers, or the activation is unknown.

    Examples
    --------
    >>> net = Network([40, 64, 64, 1], random_state=0)
    >>> net.n_nodes, net.n_multiplications
    (128, 6720)
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str = "relu",
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self._lay_out(widths, activation)
        self.params: F32 = np.zeros(_core.n_params(self.widths), np.float32)
        rng = np.random.default_rng(random_state)
        for layer, w in enumerate(self.weights):
            n_in, n_out = w.shape
            he = activation in ("relu", "leaky_relu") and layer < len(self.widths) - 2
            w[:] = rng.normal(0, np.sqrt(2 / n_in if he else 2 / (n_in + n_out)), w.shape)

    @classmethod
    def from_params(cls, widths: Sequence[int], params: ArrayLike, activation: str = "relu") -> Network:
        """Network with given parameters, copied.

        Parameters
        ----------
        widths : sequence of int
            As for the class.
        params : array_like of shape (n_params,)
            Flat block of parameters.
        activation : str, default="relu"
            As for the class.

        Returns
        -------
        Network

        Raises
        ------
        ValueError
            If the block has another length than the widths need.
        """
        net = cls.__new__(cls)
        net._lay_out(widths, activation)
        net.params = np.array(params, np.float32)
        wanted = _core.n_params(net.widths)
        if net.params.shape != (wanted,):
            raise ValueError(f"params has shape {net.params.shape}; widths {net.widths} need ({wanted},)")
        return net

    def _lay_out(self, widths: Sequence[int], activation: str) -> None:
        self.widths = _check_widths(widths)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; it must be one of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self._input_names: tuple[str, ...] | None = None
        self._model: _core.Model | None = None

    @property
    def input_names(self) -> tuple[str, ...] | None:
        """Names of the columns it takes, in order, or None."""
        return self._input_names

    @input_names.setter
    def input_names(self, names: Sequence[str] | None) -> None:
        if names is None:
            self._input_names = None
            return
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"input_names is {names!r}; it must be a sequence of str, or None")
        if len(names) != self.widths[0]:
            raise ValueError(f"input_names holds {len(names)} names; the network has {self.widths[0]} inputs")
        self._input_names = tuple(str(name) for name in names)

    @property
    def n_nodes(self) -> int:
        """Hidden nodes in all."""
        return sum(self.widths[1:-1])

    @property
    def n_multiplications(self) -> int:
        """Multiplications of one evaluation, which is also the number of weights."""
        return sum(a * b for a, b in pairwise(self.widths))

    @property
    def weights(self) -> list[F32]:
        """Views of the weights, (n_in, n_out) per dense layer."""
        return [w for w, _ in self._views()]

    @property
    def biases(self) -> list[F32]:
        """Views of the biases, (n_out,) per dense layer."""
        return [b for _, b in self._views()]

    def _views(self) -> list[tuple[F32, F32]]:
        views, at = [], 0
        for n_in, n_out in pairwise(self.widths):
            w = self.params[at : at + n_in * n_out].reshape(n_in, n_out)
            at += n_in * n_out
            views.append((w, self.params[at : at + n_out]))
            at += n_out
        return views

    def forward(
        self, x: ArrayLike, gates: Sequence[ArrayLike] | None = None, *, keep: bool | None = None
    ) -> F32:
        """Logits of a batch.

        Parameters
        ----------
        x : array_like of shape (n, n_inputs)
            Any real dtype and memory order; converted to float32, never changed.
        gates : list of array_like, optional
            One array per hidden layer, or the inputs' first and then one per hidden layer; each of
            shape (width,). The gate of a node multiplies its output after the activation.
        keep : bool, optional
            Remember the activations for `backward`. By default up to 65,536 rows, and not while another
            thread uses this network.

        Returns
        -------
        ndarray of shape (n, n_outputs), float32

        Raises
        ------
        ValueError, TypeError
            If x or a gate has the wrong shape or holds no real numbers.
        """
        asked = bool(keep)
        if keep is None:
            keep = len(np.shape(x)) == 2 and len(x) <= KEEP_ROWS  # type: ignore[arg-type]
        flat = None
        if gates is not None:
            flat = self.join(gates, np.float32, 1.0, "gates")
            self._gated_inputs = len(gates) == len(self.widths) - 1
        else:
            self._gated_inputs = False
        try:
            return self._compiled().forward(self.params, x, flat, keep)
        except RuntimeError:  # another thread is inside; it keeps its activations, this one needs none
            if asked:
                raise
            return self._compiled().forward(self.params, x, flat, False)

    def predictor(self) -> _core.Predictor:
        """The network as it stands, frozen for inference.

        Returns
        -------
        callable
            ``predictor(x, out=None)``: logits (n, n_outputs), float32, of the rows x (n, n_inputs), the same
            bits as `forward` gives; written to `out` and without an allocation if that is given and x is a
            C-ordered float32 array. Safe to call from several threads. ``predictor.latency(x)``: seconds the
            core needs for x, without the call from Python. Later changes of `params` do not reach it.

        Examples
        --------
        >>> predictor = Network([3, 8, 1], random_state=0).predictor()
        >>> predictor(np.zeros((2, 3), np.float32)).shape
        (2, 1)
        """
        return _core.Predictor(self.widths, self.activation, self.params)

    def backward(self, dz: ArrayLike) -> tuple[F32, list[F32]]:
        """Gradients of the last forward pass, once.

        Parameters
        ----------
        dz : array_like of shape (n, n_outputs)
            Gradient of the loss with respect to the logits.

        Returns
        -------
        dparams : ndarray of shape (n_params,), float32
            Gradient with respect to `params`.
        dgates : list of ndarray
            Gradient with respect to the gates, one array per array of gates passed to `forward`
            (per hidden layer if none was).

        Raises
        ------
        ValueError
            Without a forward pass that kept its activations, or if dz has another shape.
        """
        dparams, flat = self._compiled().backward(np.asarray(dz))
        parts = self.split(flat)
        return dparams, parts if self._gated_inputs else parts[1:]

    def reduce(self, support: Sequence[ArrayLike]) -> Network:
        """The network without its dead nodes.

        Its outputs equal, bit for bit, those of this network with the dead nodes' gates at zero and
        the others at one.

        Parameters
        ----------
        support : list of array_like of bool
            Nodes to keep: one mask per hidden layer, or the inputs' first and then one per hidden
            layer.

        Returns
        -------
        Network
            Independent of this one.

        Raises
        ------
        ValueError
            If a mask has another length than its layer, or leaves a layer without nodes.
        """
        keep = self.join(support, np.bool_, True, "support")
        for layer, mask in enumerate(self.split(keep)):
            if not mask.any():
                name = f"hidden layer {layer - 1}" if layer else "the inputs"
                raise ValueError(f"support keeps no node of {name}; every layer needs at least one")
        widths = [int(mask.sum()) for mask in self.split(keep)] + [self.widths[-1]]
        small = Network.from_params(widths, _core.reduce(self.widths, self.params, keep), self.activation)
        if self.input_names is not None:
            small.input_names = [name for name, kept in zip(self.input_names, keep, strict=False) if kept]
        return small

    def join(self, parts: Sequence[ArrayLike], dtype: type, fill: Any, name: str) -> NDArray[Any]:
        """One flat array over inputs and hidden nodes from a list per layer.

        Parameters
        ----------
        parts : list of array_like
            One array per hidden layer, or the inputs' first.
        dtype : type
            Of the result.
        fill : object
            Value for the inputs where they are left out.
        name : str
            What to call `parts` in an error.

        Returns
        -------
        ndarray of shape (n_gates,)

        Raises
        ------
        ValueError, TypeError
            If a length or type does not fit.
        """
        layers = self.widths[:-1]
        hidden = len(layers) - 1
        if not isinstance(parts, (list, tuple)) or len(parts) not in (hidden, hidden + 1):
            got = len(parts) if isinstance(parts, (list, tuple)) else type(parts).__name__
            raise ValueError(
                f"{name} must be a list of {hidden} arrays (hidden layers) or {hidden + 1} (inputs first); "
                f"got {got}"
            )
        if len(parts) < len(layers):
            parts = [np.full(layers[0], fill, dtype), *parts]
        arrays: list[NDArray[Any]] = []
        for i, (width, part) in enumerate(zip(layers, parts, strict=True)):
            array = np.asarray(part)
            if array.shape != (width,):
                raise ValueError(
                    f"{name}: array {i} (0 = inputs) has shape {array.shape}; it needs ({width},)"
                )
            if dtype is np.bool_ and array.dtype != np.bool_:
                raise TypeError(f"{name}: array {i} (0 = inputs) has dtype {array.dtype}; it needs bool")
            arrays.append(array.astype(dtype))
        return np.concatenate(arrays)

    def split(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        """A flat array over inputs and hidden nodes as a list.

        Parameters
        ----------
        flat : ndarray of shape (n_gates,)
            Anything with one entry per input and hidden node.

        Returns
        -------
        list of ndarray
            Views: inputs, then each hidden layer.
        """
        return np.split(flat, np.cumsum(self.widths[:-2]))

    def copy(self) -> Network:
        """An independent copy."""
        net = Network.from_params(self.widths, self.params, self.activation)
        net.input_names = self.input_names
        return net

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the network to a file (npz with a JSON header, no pickle).

        The file appears whole or not at all.

        Parameters
        ----------
        path : path-like
            Name of the file, taken as it is.

        Returns
        -------
        pathlib.Path
        """
        header: dict[str, Any] = {"widths": self.widths, "activation": self.activation}
        if self.input_names is not None:  # readers of version 1 pass over what they do not know
            header["input_names"] = self.input_names
        return save_npz(path, FORMAT, header, {"params": self.params})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network written by `save`.

        Parameters
        ----------
        path : path-like
            Name of the file.

        Returns
        -------
        Network

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is truncated or holds something else.
        """
        try:
            header, arrays = load_npz(path, FORMAT)
            params = arrays["params"]
            if params.dtype != np.float32 or not np.isfinite(params).all():
                raise ValueError("its parameters are not finite float32 numbers")
            net = cls.from_params(header["widths"], params, header["activation"])
            net.input_names = header.get("input_names")
            return net
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} is not a whole shadowprune network: {error}") from error

    def _compiled(self) -> _core.Model:
        if self._model is None:
            self._model = _core.Model(self.widths, self.activation)
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}

    def __repr__(self) -> str:
        return (
            f"Network({'-'.join(map(str, self.widths))}, {self.activation}: {self.n_nodes} nodes, "
            f"{self.n_multiplications} multiplications)"
        )


def _check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    array = np.asarray(widths)
    if array.ndim != 1 or not 2 <= len(array) <= _core.MAX_LAYERS + 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"widths is {widths!r}; it must hold 2 to {_core.MAX_LAYERS + 1} whole numbers: inputs, hidden "
            "layers, outputs"
        )
    if array.min() < 1:
        raise ValueError(f"widths is {widths!r}; every layer needs at least one node")
    return tuple(int(w) for w in array)
