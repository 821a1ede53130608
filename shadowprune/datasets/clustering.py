"""FastJet on flat arrays: many events, or many jets, clustered in one call.

A four-momentum `p4` is a tuple of four flat arrays px, py, pz, e in GeV; `offsets` cuts it into segments:
segment i are the rows ``offsets[i]:offsets[i + 1]``. Distances are dR = sqrt(dy^2 + dphi^2) with rapidity y.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import require

fastjet: ModuleType = require("fastjet", "generate")

__all__ = ["angles", "cluster", "constituents", "delta_phi", "exclusive_momenta", "segment_sum", "soft_drop"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
P4 = tuple[Floats, ...]

EVERYTHING = 10.0
"""Radius so large that all constituents of a jet end in one jet."""


def angles(px: Any, py: Any, pz: Any, e: Any) -> tuple[Floats, Floats, Floats]:
    """Transverse momentum, rapidity and azimuth.

    Parameters
    ----------
    px, py, pz, e : array_like of shape (n,)
        Momenta and energies, GeV.

    Returns
    -------
    pt, rapidity, phi : ndarray of shape (n,), float64
        phi in -pi..pi.
    """
    # E + |pz| over the transverse mass: log((E + pz)/(E - pz)) loses digits in the forward direction.
    mt2 = np.maximum(e**2 - pz**2, 1e-20)
    rapidity = np.copysign(np.log((e + np.abs(pz)) / np.sqrt(mt2)), pz)
    return np.hypot(px, py), rapidity, np.arctan2(py, px)


def delta_phi(a: Any, b: Any) -> Any:
    """Difference a - b of two azimuths, wrapped into -pi..pi."""
    return np.remainder(np.asarray(a) - b + np.pi, 2 * np.pi) - np.pi


def segment_sum(values: Floats, offsets: Ints) -> Floats:
    """Sum of each segment, float64 of shape (len(offsets) - 1,); no segment may be empty."""
    sums: Floats = np.add.reduceat(values, offsets[:-1])
    return sums


def cluster(p4: P4, offsets: Ints, algorithm: str, radius: float, winner_take_all: bool = False) -> Any:
    """Cluster every segment on its own.

    Parameters
    ----------
    p4 : tuple of four ndarray of shape (n,), float64
        Momenta, GeV.
    offsets : ndarray of shape (m + 1,), int64
        Limits of the segments, none of them empty.
    algorithm : {"antikt", "cambridge", "kt"}
        Sequential recombination algorithm.
    radius : float
        Its radius.
    winner_take_all : bool, default=False
        Merge by the direction of the harder partner instead of adding momenta.

    Returns
    -------
    object
        FastJet's result.
    """
    kind = {
        "antikt": fastjet.antikt_algorithm,
        "cambridge": fastjet.cambridge_algorithm,
        "kt": fastjet.kt_algorithm,
    }[algorithm]
    scheme = fastjet.WTA_pt_scheme if winner_take_all else fastjet.E_scheme
    definition = fastjet.JetDefinition(kind, radius, scheme)
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    momenta = (np.ascontiguousarray(p) for p in p4)
    return fastjet._ext.interfacemulti(*momenta, offsets[:-1], offsets[1:], definition)


def constituents(
    result: Any, offsets: Ints, pt_min: float = 0.0, exclusive: int = 0
) -> tuple[Ints, Ints, Ints]:
    """Rows of the constituents of each jet.

    Parameters
    ----------
    result : object
        What :func:`cluster` returned.
    offsets : ndarray of shape (m + 1,), int64
        The segments that were clustered.
    pt_min : float, default=0.0
        Threshold of the inclusive jets, GeV.
    exclusive : int, default=0
        If positive, that many exclusive jets of each segment instead.

    Returns
    -------
    rows : ndarray of int64
        Rows of the constituents, jet after jet.
    jet_offsets : ndarray of shape (n_jets + 1,), int64
        Limits of the jets within `rows`.
    segment : ndarray of shape (n_jets,), int64
        Segment each jet comes from.
    """
    if exclusive:
        found = result.to_numpy_exclusive_njet_with_constituents(exclusive)
    else:
        found = result.to_numpy_with_constituents(pt_min)
    # FastJet counts constituents within their segment, and its array is longer than it is filled.
    jet_offsets = np.asarray(found[0], dtype=np.int64)
    local = np.asarray(found[1], dtype=np.int64)[: jet_offsets[-1]]
    segment = np.repeat(np.arange(len(offsets) - 1), np.diff(found[2]))
    return local + np.repeat(offsets[segment], np.diff(jet_offsets)), jet_offsets, segment


def exclusive_momenta(result: Any, n_jets: int) -> P4:
    """Momenta of exactly `n_jets` exclusive jets of each segment.

    Returns
    -------
    px, py, pz, e : ndarray of shape (m, n_jets), float64
        Momenta, GeV; every segment needs at least `n_jets` constituents.
    """
    return tuple(np.reshape(p, (-1, n_jets)) for p in result.to_numpy_exclusive_njet(n_jets)[:4])


def soft_drop(result: Any, z_cut: float = 0.1, beta: float = 0.0) -> tuple[P4, Ints, Floats, Floats]:
    """Soft drop of segments that were clustered with Cambridge/Aachen and the radius :data:`EVERYTHING`.

    Parameters
    ----------
    result : object
        What :func:`cluster` returned.
    z_cut, beta : float
        Condition z > z_cut (dR/1.0)^beta, z = min(pT)/sum(pT).

    Returns
    -------
    p4 : tuple of four ndarray of shape (k,), float64
        The constituents left, GeV.
    offsets : ndarray of shape (m + 1,), int64
        Limits of the segments within them.
    zg, rg : ndarray of shape (m,), float64
        Sharing and opening of the splitting that stopped the grooming, 0 where there is none.
    """
    found = result.to_numpy_softdrop_grooming(1, beta, z_cut, "scalar_z", 1.0, "larger_pt", float("inf"))
    offsets = np.concatenate(([0], np.cumsum(found[4], dtype=np.int64)))
    p4 = tuple(p[: offsets[-1]] for p in found[:4])
    rg, zg = (np.where(np.isfinite(v) & (v > 0), v, 0.0) for v in found[11:13])
    return p4, offsets, zg, rg
