"""A parametric detector: which particles are seen, and how well.

Every number is a field of :class:`Detector`, every formula one short method; ``a (+) b`` below means
``sqrt(a^2 + b^2)``. Lengths are in millimetres (resolutions in micrometres, as one quotes them), energies and
momenta in GeV.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Detector", "Measured", "Particles", "perigee"]

Floats = NDArray[np.float64]
PION_MASS = 0.13957
GEV_PER_TESLA_MM = 0.299792458e-3
ELECTRON, MUON, PHOTON, NEUTRINOS = 11, 13, 22, (12, 14, 16)


@dataclasses.dataclass
class Particles:
    """Stable particles before the detector.

    Attributes
    ----------
    pdg_id : ndarray of shape (n,), int
        Particle codes (PDG numbering).
    charge : ndarray of shape (n,), int
        Sign of the charge, -1, 0 or +1.
    p : tuple of four ndarray of shape (n,), float64
        px, py, pz and energy, GeV.
    vertex : tuple of three ndarray of shape (n,), float64
        Point of production, mm, with the true primary vertex at the origin.
    event : ndarray of shape (n,), int64
        Event of each particle, not decreasing.
    """

    pdg_id: NDArray[Any]
    charge: NDArray[Any]
    p: tuple[Floats, ...]
    vertex: tuple[Floats, ...]
    event: NDArray[np.int64]


@dataclasses.dataclass
class Measured:
    """What the detector saw: one row per measured particle, events one after the other.

    Attributes
    ----------
    px, py, pz, e : ndarray of shape (n,), float64
        Momentum and energy in GeV; tracks carry the pion mass, the others none.
    is_track : ndarray of shape (n,), bool
        True where the momentum is that of a track; the following are NaN elsewhere.
    d0, z0 : ndarray of shape (n,), float64
        Impact parameters in mm with respect to the measured primary vertex; `d0` is positive to the left of
        the direction of flight.
    phi0 : ndarray of shape (n,), float64
        Azimuth of the track at its point of closest approach.
    sigma_d0, sigma_z0 : ndarray of shape (n,), float64
        Quoted uncertainties in mm (core resolution; `sigma_z0` is that of z0 itself, not of z0 sin(theta)).
    event : ndarray of shape (n,), int64
        Event of each row, not decreasing.
    """

    px: Floats
    py: Floats
    pz: Floats
    e: Floats
    is_track: NDArray[np.bool_]
    d0: Floats
    z0: Floats
    phi0: Floats
    sigma_d0: Floats
    sigma_z0: Floats
    event: NDArray[np.int64]

    @property
    def p4(self) -> tuple[Floats, ...]:
        """The four arrays px, py, pz and e."""
        return self.px, self.py, self.pz, self.e

    def take(self, rows: NDArray[Any]) -> Measured:
        """The given rows, in the given order."""
        return Measured(*(getattr(self, f.name)[rows] for f in dataclasses.fields(self)))


def perigee(
    position: tuple[Floats, ...], momentum: tuple[Floats, ...], charge: NDArray[Any], bfield: float
) -> tuple[Floats, Floats, Floats]:
    r"""Impact parameters of helices with respect to the origin.

    A particle of charge q flies along a circle of radius R = pT/(0.2998 |q| B) (m, GeV, T), clockwise for q >
    0, with centre c = r + q R (sin phi, -cos phi). Then d0 = -q (\|c\| - R), and z0 follows from the arc back
    to that point.

    Parameters
    ----------
    position : tuple of three ndarray of shape (n,), float64
        x, y and z of a point of the trajectory, mm.
    momentum : tuple of three ndarray of shape (n,), float64
        px, py and pz at that point, GeV.
    charge : ndarray of shape (n,)
        Sign of the charge, +1 or -1.
    bfield : float
        Field along z, tesla.

    Returns
    -------
    d0, z0, phi0 : ndarray of shape (n,), float64
        Signed transverse and longitudinal impact parameters (mm), azimuth of the flight there.
    """
    x, y, z = position
    px, py, pz = momentum
    radius = np.hypot(px, py) / (GEV_PER_TESLA_MM * bfield)
    phi = np.arctan2(py, px)
    cx = x + charge * radius * np.sin(phi)
    cy = y - charge * radius * np.cos(phi)
    phi0 = np.arctan2(charge * cx, -charge * cy)
    d0 = -charge * (np.hypot(cx, cy) - radius)
    turned = np.remainder(phi - phi0 + np.pi, 2 * np.pi) - np.pi
    arc = -charge * radius * turned
    return d0, z - arc * pz / np.hypot(px, py), phi0


@dataclasses.dataclass(frozen=True)
class Detector:
    """Configuration of the parametric detector; the defaults are those of an offline reconstruction.

    Parameters
    ----------
    bfield : float
        Solenoidal field, tesla.
    track_pt_min, track_eta_max : float
        A charged particle is a track candidate above this pT (GeV) and within this abs(eta).
    efficiency, efficiency_slope, radius_full, radius_none : float
        See :meth:`track_efficiency`.
    d0_a, d0_b, z0_a, z0_b : float
        See :meth:`sigma_d0` and :meth:`sigma_z0`, micrometres.
    tail_fraction, tail_factor : float
        This share of the tracks has residuals of d0 and z0 larger by this factor, the quoted uncertainty
        staying the same.
    vertex_xy, vertex_z : float
        Resolution of the primary vertex, micrometres; every impact parameter refers to the measured vertex.
    pt_a, pt_b : float
        See :meth:`sigma_pt`.
    em_a, em_b, had_a, had_b : float
        See :meth:`sigma_energy`.
    calo_eta_max, calo_energy_min : float
        A particle without track is measured by the calorimeter within this abs(eta), if the measured energy
        exceeds this (GeV).

    Raises
    ------
    TypeError
        If a field is no number.
    ValueError
        If a field is negative or not finite, or contradicts another one.
    """

    bfield: float = 2.0
    track_pt_min: float = 0.5
    track_eta_max: float = 2.5
    efficiency: float = 0.94
    efficiency_slope: float = 0.03
    radius_full: float = 30.0
    radius_none: float = 120.0
    d0_a: float = 12.0
    d0_b: float = 90.0
    z0_a: float = 50.0
    z0_b: float = 110.0
    tail_fraction: float = 0.05
    tail_factor: float = 3.0
    vertex_xy: float = 10.0
    vertex_z: float = 25.0
    pt_a: float = 0.01
    pt_b: float = 0.0004
    em_a: float = 0.10
    em_b: float = 0.01
    had_a: float = 0.50
    had_b: float = 0.03
    calo_eta_max: float = 4.0
    calo_energy_min: float = 0.2

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise TypeError(f"Detector: {field.name} must be a number, got {value!r}")
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"Detector: {field.name} must be finite and not negative, got {value!r}")
        for name in ("efficiency", "tail_fraction"):
            if getattr(self, name) > 1:
                raise ValueError(f"Detector: {name} must lie between 0 and 1, got {getattr(self, name)!r}")
        if self.radius_none <= self.radius_full:
            raise ValueError(
                f"Detector: radius_none must exceed radius_full, got {self.radius_none!r} and "
                f"{self.radius_full!r}"
            )
        if self.bfield == 0:
            raise ValueError("Detector: bfield must be positive, got 0")

    @classmethod
    def offline(cls) -> Detector:
        """The detector of an offline reconstruction, which made the embedded sample."""
        return cls()

    @classmethod
    def trigger(cls) -> Detector:
        """A trigger-like detector: tracks above 1 GeV only, fewer of them, measured less well."""
        return cls(
            track_pt_min=1.0,
            efficiency=0.90,
            d0_a=20.0,
            d0_b=120.0,
            z0_a=80.0,
            z0_b=160.0,
            tail_fraction=0.08,
        )

    def track_efficiency(self, pt: Floats, eta: Floats, radius: Floats) -> Floats:
        """(efficiency - slope abs(eta)) f(r), f falling linearly from 1 at `radius_full` to 0 at
        `radius_none`.

        Parameters
        ----------
        pt, eta, radius : ndarray of shape (n,), float64
            Transverse momentum (GeV), pseudorapidity, transverse radius of the point of production (mm).

        Returns
        -------
        ndarray of shape (n,), float64
            Probability of a track; 0 below `track_pt_min` and outside `track_eta_max`.
        """
        falling = np.clip((self.radius_none - radius) / (self.radius_none - self.radius_full), 0.0, 1.0)
        inside = (pt > self.track_pt_min) & (np.abs(eta) < self.track_eta_max)
        plateau = np.clip(self.efficiency - self.efficiency_slope * np.abs(eta), 0, 1)
        return np.where(inside, plateau * falling, 0.0)

    def sigma_d0(self, pt: Floats, sin_theta: Floats) -> Floats:
        """sigma(d0) = d0_a (+) d0_b/(pT sqrt(sin theta)).

        Parameters
        ----------
        pt : float or ndarray
            Transverse momentum, GeV.
        sin_theta : float or ndarray
            Sine of the polar angle.

        Returns
        -------
        float or ndarray
            Micrometres.
        """
        return np.hypot(self.d0_a, self.d0_b / (pt * np.sqrt(sin_theta)))

    def sigma_z0(self, pt: Floats, sin_theta: Floats) -> Floats:
        """sigma(z0 sin theta) = z0_a (+) z0_b/(pT sqrt(sin theta)).

        Parameters
        ----------
        pt : float or ndarray
            Transverse momentum, GeV.
        sin_theta : float or ndarray
            Sine of the polar angle.

        Returns
        -------
        float or ndarray
            Micrometres.
        """
        return np.hypot(self.z0_a, self.z0_b / (pt * np.sqrt(sin_theta)))

    def sigma_pt(self, pt: Floats) -> Floats:
        """sigma(pT)/pT = pt_a (+) pt_b pT.

        Parameters
        ----------
        pt : float or ndarray
            Transverse momentum, GeV.

        Returns
        -------
        float or ndarray
            Relative.
        """
        return np.hypot(self.pt_a, self.pt_b * pt)

    def sigma_energy(self, energy: Floats, electromagnetic: NDArray[np.bool_]) -> Floats:
        """sigma(E)/E = a/sqrt(E) (+) b.

        Parameters
        ----------
        energy : float or ndarray
            GeV.
        electromagnetic : ndarray of bool
            Where a, b are em_a, em_b; elsewhere they are had_a, had_b.

        Returns
        -------
        float or ndarray
            Relative.
        """
        a = np.where(electromagnetic, self.em_a, self.had_a)
        b = np.where(electromagnetic, self.em_b, self.had_b)
        return np.hypot(a / np.sqrt(energy), b)

    def formulas(self) -> str:
        """Every formula with its numbers, as text for a description."""
        em = f"{100 * self.em_a:g} %/sqrt(E) (+) {100 * self.em_b:g} %"
        had = f"{100 * self.had_a:g} %/sqrt(E) (+) {100 * self.had_b:g} %"
        return f"""\
tracks: charged, pT > {self.track_pt_min:g} GeV, |eta| < {self.track_eta_max:g}
track efficiency: ({self.efficiency:g} - {self.efficiency_slope:g} |eta|) f(r); f falls linearly from 1 at
    {self.radius_full:g} mm radius of the point of production to 0 at {self.radius_none:g} mm
d0, z0: helix in {self.bfield:g} T, with respect to the measured primary vertex
sigma(d0) = {self.d0_a:g} (+) {self.d0_b:g}/(pT sqrt(sin theta)) um
sigma(z0 sin theta) = {self.z0_a:g} (+) {self.z0_b:g}/(pT sqrt(sin theta)) um
tails: {100 * self.tail_fraction:g} % of the tracks have d0 and z0 residuals {self.tail_factor:g} times
    as large, the quoted uncertainty staying the same
primary vertex: {self.vertex_xy:g} um in x and y, {self.vertex_z:g} um in z
sigma(pT)/pT = {100 * self.pt_a:g} % (+) {100 * self.pt_b:g} % pT
photons and electrons without track: sigma(E)/E = {em}
hadrons without track: sigma(E)/E = {had}
calorimeter: |eta| < {self.calo_eta_max:g}, measured E > {self.calo_energy_min:g} GeV
neutrinos, and muons without track, are not seen; directions are not smeared; tracks get the pion mass,
    everything else none"""

    def measure(self, particles: Particles, rng: np.random.Generator) -> Measured:
        """Measure stable particles.

        Parameters
        ----------
        particles : Particles
            The particles of one or more events.
        rng : numpy.random.Generator
            Source of all chance.

        Returns
        -------
        Measured
            The particles that were seen, in the order given.
        """
        px, py, pz, e = particles.p
        x, y, z = particles.vertex
        charge, event = particles.charge, particles.event
        n, code = len(e), np.abs(particles.pdg_id)
        pt = np.hypot(px, py)
        with np.errstate(divide="ignore", invalid="ignore"):
            eta = np.arcsinh(pz / pt)
        visible = (pt > 0) & ~np.isin(code, NEUTRINOS)
        chance = rng.random(n)
        tracked = visible & (charge != 0) & (chance < self.track_efficiency(pt, eta, np.hypot(x, y)))

        # Calorimeter, for all that made no track.
        em = (code == PHOTON) | (code == ELECTRON)
        stretch = 1 + self.sigma_energy(e, em) * rng.standard_normal(n)
        calo = visible & ~tracked & (code != MUON)
        calo &= (np.abs(eta) < self.calo_eta_max) & (e * stretch > self.calo_energy_min)

        # Tracks.
        pt_scale = np.maximum(1 + self.sigma_pt(pt) * rng.standard_normal(n), 0.1)
        n_events = int(event[-1]) + 1 if len(event) else 0
        vertex = rng.standard_normal((n_events, 3))
        vertex *= 1e-3 * np.array([self.vertex_xy, self.vertex_xy, self.vertex_z])
        residual = rng.standard_normal((2, n))
        residual *= np.where(rng.random(n) < self.tail_fraction, self.tail_factor, 1.0)

        keep = np.flatnonzero(tracked | calo)
        is_track = tracked[keep]
        t = keep[is_track]
        seen = vertex[event[t]]
        position = (x[t] - seen[:, 0], y[t] - seen[:, 1], z[t] - seen[:, 2])
        d0, z0, phi0 = perigee(position, (px[t], py[t], pz[t]), charge[t], self.bfield)
        sin_theta = pt[t] / np.sqrt(pt[t] ** 2 + pz[t] ** 2)
        sigma_d0 = 1e-3 * self.sigma_d0(pt[t] * pt_scale[t], sin_theta)
        sigma_z0 = 1e-3 * self.sigma_z0(pt[t] * pt_scale[t], sin_theta) / sin_theta
        d0 = d0 + sigma_d0 * residual[0, t]
        z0 = z0 + sigma_z0 * residual[1, t]

        momentum = np.sqrt(px**2 + py**2 + pz**2)
        scale = np.where(tracked, pt_scale, e * stretch / np.where(momentum > 0, momentum, 1.0))[keep]
        qx, qy, qz = px[keep] * scale, py[keep] * scale, pz[keep] * scale
        energy = np.sqrt(qx**2 + qy**2 + qz**2 + np.where(is_track, PION_MASS**2, 0.0))

        def spread(values: Floats) -> Floats:
            full = np.full(len(keep), np.nan)
            full[is_track] = values
            return full

        return Measured(
            px=qx,
            py=qy,
            pz=qz,
            e=energy,
            is_track=is_track,
            d0=spread(d0),
            z0=spread(z0),
            phi0=spread(phi0),
            sigma_d0=spread(sigma_d0),
            sigma_z0=spread(sigma_z0),
            event=event[keep],
        )
