"""Track jets inside a jet, and what their tracks tell about lifetime.

Lengths in millimetres, momenta in GeV, everything relative to the measured primary vertex.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .clustering import Floats, Ints, angles, delta_phi
from .detector import Measured

__all__ = ["fit_vertex", "track_jet_variables", "variable_r_jets"]

RHO, R_MIN, R_MAX, TRACK_JET_PT_MIN = 30.0, 0.02, 0.4, 7.0
D0_MAX, Z0_MAX = 2.0, 3.0
SEED_SIGNIFICANCE, SEED_RANGE, VERTEX_CHI2_MAX = 2.5, 10.0, 9.0
VERTEX_RANGE = 100.0
LOWEST, HIGHEST_SIGNIFICANCE, HIGHEST_FLIGHT, HIGHEST_MASS = -10.0, 50.0, 100.0, 10.0


def variable_r_jets(
    pt: Floats,
    y: Floats,
    phi: Floats,
    *,
    pt_min: float = TRACK_JET_PT_MIN,
    rho: float = RHO,
    r_min: float = R_MIN,
    r_max: float = R_MAX,
) -> list[Ints]:
    """Anti-kt clustering with radius R(pT) = rho/pT, kept within r_min..r_max.

    d_ij = min(pT_i^-2, pT_j^-2) R_ij^2 and d_iB = pT_i^-2 R(pT_i)^2; the smallest decides. Partners merge by
    adding pT and averaging directions with weight pT, which for jets so narrow is adding momenta.

    Parameters
    ----------
    pt, y, phi : ndarray of shape (n,), float64
        Tracks.
    pt_min : float, default=7.0
        Jets below are dropped, GeV.
    rho, r_min, r_max : float
        Parameters of the radius.

    Returns
    -------
    list of ndarray of int64
        Rows of the tracks of each jet, by falling pT.
    """
    n = len(pt)
    if n == 0:
        return []
    pt, y, phi = (np.array(v, dtype=np.float64) for v in (pt, y, phi))
    members = [[i] for i in range(n)]
    weight = pt**-2.0
    beam = weight * np.clip(rho / pt, r_min, r_max) ** 2
    d = np.minimum(weight[:, None], weight) * ((y[:, None] - y) ** 2 + delta_phi(phi[:, None], phi) ** 2)
    # The beam distance lives on the diagonal, so that one argmin finds the next step.
    d[np.arange(n), np.arange(n)] = beam
    jets = []
    for _ in range(n):
        i, j = divmod(int(np.argmin(d)), n)
        if i == j:
            if pt[i] > pt_min:
                jets.append((pt[i], members[i]))
            d[i] = d[:, i] = np.inf
            continue
        share = pt[j] / (pt[i] + pt[j])
        y[i] += share * (y[j] - y[i])
        phi[i] = delta_phi(phi[i] + share * delta_phi(phi[j], phi[i]), 0.0)
        pt[i] += pt[j]
        weight[i] = pt[i] ** -2.0
        members[i] = members[i] + members[j]
        new = np.minimum(weight[i], weight) * ((y[i] - y) ** 2 + delta_phi(phi[i], phi) ** 2)
        # Finished rows stay at infinity.
        new[np.isinf(d[i])] = np.inf
        new[i] = weight[i] * min(max(rho / pt[i], r_min), r_max) ** 2
        d[i] = d[:, i] = new
        d[j] = d[:, j] = np.inf
    jets.sort(key=lambda jet: -jet[0])
    return [np.sort(np.array(rows, dtype=np.int64)) for _, rows in jets]


def fit_vertex(tracks: Measured, chi2_max: float = VERTEX_CHI2_MAX) -> tuple[Floats, Floats, Ints] | None:
    """Common point of straight tracks, dropping the worst track until all fit.

    A track passes at d0 n + z0 e_z along t, with t = (cos phi0, sin phi0) and n = (-sin phi0, cos phi0). A
    point v misses it by v.n - d0 across and by v_z - z0 - cot(theta) v.t along the beam; the weighted sum of
    the squares is minimal at the vertex.

    Parameters
    ----------
    tracks : Measured
        n tracks.
    chi2_max : float, default=9.0
        Largest chi2 (two residuals) that a track may have.

    Returns
    -------
    tuple of (ndarray of shape (3,), ndarray of shape (3, 3), ndarray of int64) or None
        Vertex, its covariance, and the tracks used; None with fewer than two tracks left.
    """
    cos, sin = np.cos(tracks.phi0), np.sin(tracks.phi0)
    cot = tracks.pz / np.hypot(tracks.px, tracks.py)
    sigma = np.stack((tracks.sigma_d0, tracks.sigma_z0))
    rows = np.empty((2, len(cos), 3))
    rows[0] = np.stack((-sin, cos, np.zeros_like(cos)), axis=1) / sigma[0][:, None]
    rows[1] = np.stack((-cot * cos, -cot * sin, np.ones_like(cos)), axis=1) / sigma[1][:, None]
    target = np.stack((tracks.d0, tracks.z0)) / sigma
    used: Ints = np.arange(len(cos))
    while len(used) >= 2:
        a = rows[:, used].reshape(-1, 3)
        b = target[:, used].reshape(-1)
        # A very weak pull to the origin keeps parallel tracks from making the matrix singular.
        covariance = np.linalg.inv(a.T @ a + np.eye(3) / VERTEX_RANGE**2).astype(np.float64)
        vertex = covariance @ (a.T @ b)
        chi2 = np.sum(((a @ vertex - b) ** 2).reshape(2, -1), axis=0)
        worst = int(np.argmax(chi2))
        if chi2[worst] <= chi2_max:
            return vertex, covariance, used
        used = np.delete(used, worst)
    return None


def _largest(values: NDArray[np.float64], count: int) -> Floats:
    """The `count` largest values, clipped, filled up with the lowest one."""
    out = np.full(count, LOWEST)
    best = np.sort(values)[::-1][:count]
    out[: len(best)] = np.clip(best, LOWEST, HIGHEST_SIGNIFICANCE)
    return out


def _lifetime(prefix: str, tracks: Measured, axis: Floats) -> dict[str, float]:
    """Variables of one track jet with direction `axis` (px, py, pz)."""
    direction = axis / np.sqrt(axis @ axis)
    phi = np.arctan2(axis[1], axis[0])
    cot = tracks.pz / np.hypot(tracks.px, tracks.py)
    sin_theta = 1 / np.sqrt(1 + cot**2)
    # Positive when the track meets the axis in front of the primary vertex.
    sign = np.sign(np.sin(delta_phi(phi, tracks.phi0)) * tracks.d0)
    signed_d0 = sign * np.abs(tracks.d0) / tracks.sigma_d0
    eta_gap = np.arcsinh(axis[2] / np.hypot(axis[0], axis[1])) - np.arcsinh(cot)
    signed_z0 = np.sign(eta_gap * tracks.z0) * np.abs(tracks.z0) / tracks.sigma_z0
    good = (np.abs(tracks.d0) < D0_MAX) & (np.abs(tracks.z0) * sin_theta < Z0_MAX)
    sd0 = _largest(signed_d0[good], 3)
    out = {
        f"{prefix}_ntrk": float(len(cot)),
        f"{prefix}_sd0_1": sd0[0],
        f"{prefix}_sd0_2": sd0[1],
        f"{prefix}_sd0_3": sd0[2],
        f"{prefix}_sz0": _largest(signed_z0[good], 1)[0],
    }
    displaced = np.hypot(signed_d0, signed_z0) > SEED_SIGNIFICANCE
    seeds = np.flatnonzero(displaced & (np.abs(tracks.d0) < SEED_RANGE) & (np.abs(tracks.z0) < SEED_RANGE))
    fit = fit_vertex(tracks.take(seeds)) if len(seeds) >= 2 else None
    if fit is None:
        return out
    vertex, covariance, used = fit
    px, py, pz, e = (float(np.sum(p[seeds[used]])) for p in tracks.p4)
    out[f"{prefix}_sv_mass"] = min(np.sqrt(max(e**2 - px**2 - py**2 - pz**2, 0.0)), HIGHEST_MASS)
    out[f"{prefix}_sv_efrac"] = e / float(np.sum(tracks.e))
    flight = float(vertex @ direction) / np.sqrt(float(direction @ covariance @ direction))
    out[f"{prefix}_sv_lsig"] = float(np.clip(flight, LOWEST, HIGHEST_FLIGHT))
    return out


def track_jet_variables(constituents: Measured, offsets: Ints, jet_pt: Floats) -> dict[str, Floats]:
    """Variables of the two leading variable-R track jets of every jet.

    Parameters
    ----------
    constituents : Measured
        Constituents of the jets, one jet after the other.
    offsets : ndarray of shape (m + 1,), int64
        Limits of the jets.
    jet_pt : ndarray of shape (m,), float64
        Transverse momenta of the jets, GeV.

    Returns
    -------
    dict of str to ndarray of shape (m,)
        n_trk, sj1_ptfrac, sj2_ptfrac, sj_dr and the sixteen lifetime variables; those that do not exist keep
        the value of the table of variables.
    """
    m = len(offsets) - 1
    undefined = dict.fromkeys(("n_trk", "sj1_ptfrac", "sj2_ptfrac", "sj_dr"), 0.0)
    for prefix in ("sj1", "sj2"):
        undefined |= dict.fromkeys((f"{prefix}_{v}" for v in ("ntrk", "sv_mass", "sv_efrac", "sv_lsig")), 0.0)
        undefined |= dict.fromkeys((f"{prefix}_{v}" for v in ("sd0_1", "sd0_2", "sd0_3", "sz0")), LOWEST)
    out = {name: np.full(m, value) for name, value in undefined.items()}
    for jet in range(m):
        inside = np.arange(offsets[jet], offsets[jet + 1])
        tracks = constituents.take(inside[constituents.is_track[inside]])
        out["n_trk"][jet] = len(tracks.e)
        axes = []
        for prefix, rows in zip(("sj1", "sj2"), variable_r_jets(*angles(*tracks.p4)), strict=False):
            own = tracks.take(rows)
            p4 = np.array([np.sum(p) for p in own.p4])
            axes.append(angles(*p4))
            out[f"{prefix}_ptfrac"][jet] = axes[-1][0] / jet_pt[jet]
            for name, value in _lifetime(prefix, own, p4[:3]).items():
                out[name][jet] = value
        if len(axes) == 2:
            out["sj_dr"][jet] = np.hypot(axes[0][1] - axes[1][1], delta_phi(axes[0][2], axes[1][2]))
    return out
