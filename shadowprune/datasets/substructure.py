"""Jet variables computed from the constituents alone.

Notation: constituent i has transverse momentum pT_i, rapidity y_i, azimuth phi_i; z_i = pT_i / sum(pT);
R_ij^2 = (y_i - y_j)^2 + (phi_i - phi_j)^2. The jets of a batch lie one after the other in flat arrays.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .clustering import (
    EVERYTHING,
    P4,
    Floats,
    Ints,
    angles,
    cluster,
    constituents,
    delta_phi,
    exclusive_momenta,
    segment_sum,
    soft_drop,
)

__all__ = [
    "correlators",
    "fox_wolfram",
    "groomed_variables",
    "mass",
    "planar_flow",
    "pull_angle",
    "shape_variables",
    "sums",
]

D2_MAX = 20.0


def sums(p4: P4, offsets: Ints) -> P4:
    """Four-momentum of each jet: tuple of four float64 arrays of shape (m,), GeV."""
    return tuple(segment_sum(p, offsets) for p in p4)


def mass(p4: P4) -> Floats:
    """Invariant mass, GeV; rounding below zero counts as zero."""
    px, py, pz, e = p4
    return np.sqrt(np.maximum(e**2 - px**2 - py**2 - pz**2, 0.0))


def correlators(pt: Floats, y: Floats, phi: Floats) -> tuple[float, float]:
    """Energy correlation functions of one jet, beta = 1.

    e2 = sum_{i<j} z_i z_j R_ij and e3 = sum_{i<j<k} z_i z_j z_k R_ij R_jk R_ki. With M_ij = sqrt(z_i z_j)
    R_ij the second is trace(M^3)/6, since the diagonal of M is zero.

    Parameters
    ----------
    pt, y, phi : ndarray of shape (n,), float64
        Constituents.

    Returns
    -------
    e2, e3 : float
        The correlators.
    """
    z = pt / pt.sum()
    r = np.hypot(y[:, None] - y, delta_phi(phi[:, None], phi))
    root = np.sqrt(z)
    m = root[:, None] * r * root
    return 0.5 * float(z @ r @ z), float(np.sum((m @ m) * m)) / 6.0


def planar_flow(p4: P4, offsets: Ints) -> Floats:
    """Planar flow of each jet.

    I_kl = sum_i p_ik p_il / E_i over the two directions across the jet axis; 4 det(I)/tr(I)^2, which is 0
    when the constituents lie in a plane with the axis and 1 when they are spread evenly around it.

    Parameters
    ----------
    p4 : tuple of four ndarray of shape (n,), float64
        Constituents, GeV.
    offsets : ndarray of shape (m + 1,), int64
        Limits of the jets.

    Returns
    -------
    ndarray of shape (m,), float64
        In 0..1; 0 where the trace vanishes.
    """
    px, py, pz, e = p4
    jx, jy, jz, _ = sums(p4, offsets)
    jt = np.hypot(jx, jy)
    p = np.sqrt(jt**2 + jz**2)
    n = np.diff(offsets)

    def across(ax: Floats, ay: Floats, az: Floats) -> Floats:
        along: Floats = px * np.repeat(ax, n) + py * np.repeat(ay, n) + pz * np.repeat(az, n)
        return along

    a = across(-jy / jt, jx / jt, np.zeros_like(jt))
    b = across(-jx * jz / (jt * p), -jy * jz / (jt * p), jt / p)
    aa, ab, bb = (segment_sum(v / e, offsets) for v in (a * a, a * b, b * b))
    trace = aa + bb
    return np.where(
        trace > 0, np.clip(4 * (aa * bb - ab**2), 0, None) / np.where(trace > 0, trace, 1) ** 2, 0.0
    )


def fox_wolfram(p4: P4, offsets: Ints) -> Floats:
    """Fox-Wolfram ratio H2/H0 of each jet in its rest frame.

    H_l = sum_ij |p_i||p_j| P_l(cos theta_ij). With T_ab = sum_i p_ia p_ib/|p_i| the second moment is
    (3 sum_ab T_ab^2 - H0)/2 and H0 = (sum |p|)^2, so that no pair is ever formed.

    Parameters
    ----------
    p4 : tuple of four ndarray of shape (n,), float64
        Constituents, GeV.
    offsets : ndarray of shape (m + 1,), int64
        Limits of the jets.

    Returns
    -------
    ndarray of shape (m,), float64
        In 0..1; 0 for jets without mass.
    """
    px, py, pz, e = p4
    jets = sums(p4, offsets)
    n = np.diff(offsets)
    m = mass(jets)
    defined = m > 1e-6 * jets[3]
    m = np.where(defined, m, 1.0)
    ux, uy, uz, gamma = (np.repeat(v / m, n) for v in jets)
    along = (ux * px + uy * py + uz * pz) / (1 + gamma) - e
    p = [px + ux * along, py + uy * along, pz + uz * along]
    size = np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2)
    inverse = 1 / np.where(size > 0, size, 1.0)
    total = np.zeros(len(n))
    for a in range(3):
        for b in range(a, 3):
            total += (1 if a == b else 2) * segment_sum(p[a] * p[b] * inverse, offsets) ** 2
    h0 = segment_sum(size, offsets) ** 2
    ratio = (3 * total / np.where(h0 > 0, h0, 1.0) - 1) / 2
    return np.where(defined, np.clip(ratio, 0.0, 1.0), 0.0)


def pull_angle(
    pt: Floats, y: Floats, phi: Floats, axis: tuple[float, float], other: tuple[float, float]
) -> float:
    """Angle between the pull vector of a subjet and the direction to another one.

    The pull vector is sum_i pT_i |r_i| r_i with r_i = (y_i - y, phi_i - phi) from the axis of the subjet.

    Parameters
    ----------
    pt, y, phi : ndarray of shape (n,), float64
        Constituents of the subjet.
    axis, other : tuple of two floats
        Rapidity and azimuth of the subjet and of its partner.

    Returns
    -------
    float
        In 0..pi; pi/2 where one of the two directions does not exist.
    """
    dy, dphi = y - axis[0], delta_phi(phi, axis[1])
    r = np.hypot(dy, dphi)
    tx, ty = float(np.sum(pt * r * dy)), float(np.sum(pt * r * dphi))
    ox, oy = float(other[0] - axis[0]), float(delta_phi(other[1], axis[1]))
    scale = np.hypot(tx, ty) * np.hypot(ox, oy)
    if scale < 1e-12:
        return np.pi / 2
    return float(np.arccos(np.clip((tx * ox + ty * oy) / scale, -1.0, 1.0)))


def _only(jets: Ints, offsets: Ints) -> tuple[Ints, Ints]:
    """Rows and limits of some of the jets."""
    rows = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in jets])
    return rows, np.concatenate(([0], np.cumsum(np.diff(offsets)[jets])))


def shape_variables(p4: P4, offsets: Ints) -> dict[str, Floats]:
    """Variables of the ungroomed jets.

    Parameters
    ----------
    p4 : tuple of four ndarray of shape (n,), float64
        Constituents, GeV.
    offsets : ndarray of shape (m + 1,), int64
        Limits of the jets.

    Returns
    -------
    dict of str to ndarray of shape (m,)
        pt, eta, mass, sqrt_d12, sqrt_d23, kt_dr, width, ptd, planar_flow, fw_r2, n_const and pull_angle.
    """
    jets = sums(p4, offsets)
    jet_pt, jet_y, jet_phi = angles(*jets)
    pt, y, phi = angles(*p4)
    n = np.diff(offsets)
    pt_sum = segment_sum(pt, offsets)
    r = np.hypot(y - np.repeat(jet_y, n), delta_phi(phi, np.repeat(jet_phi, n)))
    out: dict[str, Floats] = {
        "pt": jet_pt,
        "eta": np.arcsinh(jets[2] / jet_pt),
        "mass": mass(jets),
        "width": segment_sum(pt * r, offsets) / pt_sum,
        "ptd": np.sqrt(segment_sum(pt**2, offsets)) / pt_sum,
        "planar_flow": planar_flow(p4, offsets),
        "fw_r2": fox_wolfram(p4, offsets),
        "n_const": n.astype(np.float64),
    }
    for name in ("sqrt_d12", "sqrt_d23", "kt_dr"):
        out[name] = np.zeros(len(n))
    out["pull_angle"] = np.full(len(n), np.pi / 2)

    # A single constituent has no splitting, and FastJet refuses to make two jets of it.
    (split,) = np.nonzero(n >= 2)
    if len(split) == 0:
        return out
    rows, limits = _only(split, offsets)
    kt = cluster(tuple(p[rows] for p in p4), limits, "kt", EVERYTHING)
    for name, k in (("sqrt_d12", 1), ("sqrt_d23", 2)):
        out[name][split] = EVERYTHING * np.sqrt(np.maximum(kt.to_numpy_exclusive_dmerge(k)[0], 0.0))
    members, member_limits, _ = constituents(kt, limits, exclusive=2)
    axes_pt, axes_y, axes_phi = angles(*exclusive_momenta(kt, 2))
    out["kt_dr"][split] = np.hypot(axes_y[:, 0] - axes_y[:, 1], delta_phi(axes_phi[:, 0], axes_phi[:, 1]))
    for i, jet in enumerate(split):
        lead = int(axes_pt[i, 1] > axes_pt[i, 0])
        inside = rows[members[member_limits[2 * i + lead] : member_limits[2 * i + lead + 1]]]
        axis, other = ((float(axes_y[i, k]), float(axes_phi[i, k])) for k in (lead, 1 - lead))
        out["pull_angle"][jet] = pull_angle(pt[inside], y[inside], phi[inside], axis, other)
    return out


def _subjettiness(p4: P4, offsets: Ints) -> Floats:
    """tau_N for N = 1, 2, 3: ndarray of shape (m, 3); 0 where a jet has no more than N constituents."""
    pt, y, phi = angles(*p4)
    n = np.diff(offsets)
    pt_sum = segment_sum(pt, offsets)
    tau = np.zeros((len(n), 3))
    everything = cluster(p4, offsets, "kt", EVERYTHING, winner_take_all=True)
    for k in (1, 2, 3):
        jets = np.flatnonzero(n > k)
        if len(jets) == 0:
            continue
        rows, limits = _only(jets, offsets)
        result = everything
        if len(jets) < len(n):
            result = cluster(tuple(p[rows] for p in p4), limits, "kt", EVERYTHING, winner_take_all=True)
        _, axes_y, axes_phi = angles(*exclusive_momenta(result, k))
        nearest = np.full(limits[-1], np.inf)
        for axis in range(k):
            dy = y[rows] - np.repeat(axes_y[:, axis], n[jets])
            dphi = delta_phi(phi[rows], np.repeat(axes_phi[:, axis], n[jets]))
            nearest = np.minimum(nearest, np.hypot(dy, dphi))
        tau[jets, k - 1] = segment_sum(pt[rows] * nearest, limits) / pt_sum[jets]
    return tau


def groomed_variables(p4: P4, offsets: Ints, dropped: Any = None) -> dict[str, Floats]:
    """Variables of the jets after soft drop.

    Parameters
    ----------
    p4 : tuple of four ndarray of shape (n,), float64
        Constituents of the ungroomed jets, GeV.
    offsets : ndarray of shape (m + 1,), int64
        Limits of the jets.
    dropped : tuple, optional
        What :func:`shadowprune.datasets.clustering.soft_drop` returned for these jets, when at hand.

    Returns
    -------
    dict of str to ndarray of shape (m,)
        msd, zg, rg, tau1, tau21, tau32, c2 and d2.
    """
    if dropped is None:
        dropped = soft_drop(cluster(p4, offsets, "cambridge", EVERYTHING))
    groomed, limits, zg, rg = dropped
    pt, y, phi = angles(*groomed)
    tau = _subjettiness(groomed, limits)
    pairs = [correlators(pt[a:b], y[a:b], phi[a:b]) for a, b in pairwise(limits)]
    e2, e3 = np.array(pairs).reshape(-1, 2).T

    def ratio(a: Floats, b: Floats) -> Floats:
        return np.divide(a, b, out=np.zeros_like(a), where=b > 0)

    return {
        "msd": mass(sums(groomed, limits)),
        "zg": zg,
        "rg": rg,
        "tau1": tau[:, 0],
        "tau21": ratio(tau[:, 1], tau[:, 0]),
        "tau32": ratio(tau[:, 2], tau[:, 1]),
        "c2": ratio(e3, e2**2),
        "d2": np.minimum(ratio(e3, e2**3), D2_MAX),
    }
