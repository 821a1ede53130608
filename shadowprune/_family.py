"""Nested networks of every node count: what the training of a path leaves, and how one is read off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .network import F32, Network

Order = NDArray[np.int32]


@dataclass(frozen=True)
class Band:
    """Nested networks of some range of node counts.

    Attributes
    ----------
    network : Network
        The largest of them, the best nodes of each layer first.
    rank : ndarray of shape (n_nodes,), int32
        Of the hidden nodes: those below K make the network of K nodes.
    knots : tuple of int
        Node counts that corrections are known for, rising to all nodes of `network`, which need none.
    gain : ndarray of shape (n_knots - 1, n_inputs + n_nodes), float32
        What the outputs of a node are multiplied with, less one.
    shift : ndarray of shape (n_knots - 1, n_nodes + n_outputs), float32
        What is added to the biases.
    """

    network: Network
    rank: Order
    knots: tuple[int, ...]
    gain: F32
    shift: F32

    def correction(self, n_nodes: int) -> tuple[F32, F32]:
        """Gain and shift at a node count: linear in its logarithm."""
        hats = np.eye(len(self.knots))[:-1]  # one at a knot, zero at the others
        part = np.array([np.interp(np.log(n_nodes), np.log(self.knots), hat) for hat in hats], np.float32)
        # no product of matrices: the last bit of BLAS depends on the processor
        return (part[:, None] * self.gain).sum(0), (part[:, None] * self.shift).sum(0)

    def corrected(self, n_nodes: int) -> Network:
        """The whole network with the corrections of a node count folded in."""
        network = self.network.copy()
        gain, shift = self.correction(n_nodes)
        gains, shifts = network.split(1 + gain), np.split(shift, np.cumsum(network.widths[1:-1]))
        for w, b, of_inputs, added in zip(network.weights, network.biases, gains, shifts, strict=True):
            np.multiply(w, of_inputs[:, None], out=w)
            np.add(b, added, out=b)
        return network

    def keep(self, n_nodes: int) -> list[NDArray[np.bool_]]:
        """Masks of the nodes of a network: inputs, then each hidden layer."""
        inputs = np.ones(self.network.widths[0], np.bool_)
        return self.network.split(np.concatenate([inputs, self.rank < n_nodes]))

    def at(self, n_nodes: int) -> Network:
        """The network of so many nodes."""
        return self.corrected(n_nodes).reduce(self.keep(n_nodes))


@dataclass(frozen=True)
class Family:
    """Networks of every node count from the smallest to all, in bands one above the other."""

    bands: tuple[Band, ...]

    @property
    def whole(self) -> Band:
        """The band that the others were copied from."""
        return self.bands[-1]

    def at(self, n_nodes: int) -> Network:
        """The network of so many nodes."""
        return next(b for b in self.bands if n_nodes <= b.knots[-1]).at(n_nodes)

    def with_smallest(self, network: Network) -> Family:
        """The same with other weights for the smallest network."""
        rank = self.bands[0].rank
        rank = rank[rank < network.n_nodes]
        n_gates, n_shifts = sum(network.widths[:-1]), sum(network.widths[1:])
        gain, shift = np.empty((0, n_gates), np.float32), np.empty((0, n_shifts), np.float32)
        return Family((Band(network, rank, (network.n_nodes,), gain, shift), *self.bands))
