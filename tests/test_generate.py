"""The generator against brute force, analytic cases and itself; needs the extra ``generate``."""

from __future__ import annotations

import itertools
import json

import h5py
import numpy as np
import pytest

from shadowprune._files import written
from shadowprune.datasets import (
    FEATURE_NAMES,
    VARIABLES,
    Detector,
    clustering,
    events,
    flavour,
    generate,
    generation,
    load_generated,
    load_hbb,
    substructure,
)
from shadowprune.datasets._pack import round_bits
from shadowprune.datasets.detector import Measured, Particles, perigee
from shadowprune.datasets.sample_io import read_sample, write_sample


def massless(pt, y, phi):
    """Four-momenta of massless particles."""
    pt, y, phi = (np.asarray(v, dtype=float) for v in (pt, y, phi))
    return pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(y), pt * np.cosh(y)


def jet(rng, n):
    """A jet-like spray of n massless particles around (0.3, 3.0): azimuths wrap around pi."""
    pt = rng.exponential(12.0, n) + 0.5
    return massless(pt, 0.3 + rng.normal(0, 0.3, n), 3.0 + rng.normal(0, 0.3, n))


def distance(y1, phi1, y2, phi2):
    dphi = abs(phi1 - phi2)
    return np.hypot(y1 - y2, min(dphi, 2 * np.pi - dphi))


# --- two particles, where everything is known


@pytest.mark.parametrize(("pt1", "pt2", "y", "phi"), [(300.0, 100.0, 0.3, 0.4), (200.0, 150.0, -0.5, 3.0)])
def test_two_particles(pt1, pt2, y, phi):
    p4 = massless([pt1, pt2], [0.1, 0.1 + y], [0.2, 0.2 + phi])
    offsets = np.array([0, 2])
    jets = substructure.shape_variables(p4, offsets) | substructure.groomed_variables(p4, offsets)
    jets = {name: float(values[0]) for name, values in jets.items()}
    r, z = distance(0.1, 0.2, 0.1 + y, 0.2 + phi), pt2 / (pt1 + pt2)
    m = np.sqrt(2 * pt1 * pt2 * (np.cosh(y) - np.cos(phi)))
    assert jets["mass"] == pytest.approx(m, rel=1e-9)
    assert jets["msd"] == pytest.approx(m, rel=1e-9)
    assert jets["zg"] == pytest.approx(z, rel=1e-9)
    assert jets["rg"] == pytest.approx(r, rel=1e-9)
    assert jets["kt_dr"] == pytest.approx(r, rel=1e-9)
    assert jets["sqrt_d12"] == pytest.approx(pt2 * r, rel=1e-9)
    assert jets["ptd"] == pytest.approx(np.hypot(pt1, pt2) / (pt1 + pt2), rel=1e-12)
    # The winner takes all: the one axis lies along the harder particle.
    assert jets["tau1"] == pytest.approx(z * r, rel=1e-9)
    assert jets["fw_r2"] == pytest.approx(1.0, abs=1e-6)
    assert jets["planar_flow"] == pytest.approx(0.0, abs=1e-9)
    for name in ("tau21", "tau32", "c2", "d2", "sqrt_d23"):
        assert jets[name] == 0.0
    # A subjet of one particle pulls nowhere.
    assert jets["pull_angle"] == pytest.approx(np.pi / 2)


def test_width_of_two_equal_particles():
    p4 = massless([100.0, 100.0], [0.0, 0.0], [-0.2, 0.2])
    width = substructure.shape_variables(p4, np.array([0, 2]))["width"]
    assert width[0] == pytest.approx(0.2, rel=1e-9)


def test_soft_drop_removes_exactly_the_soft_branch():
    # Cambridge/Aachen first joins the pair at 0.1, then the lonely one: 9 % of pT fails z > 0.1, 20 % passes.
    for soft, n_left in ((9.0, 2), (25.0, 3)):
        pt = np.array([60.0, 40.0, soft]) * 100.0 / (100.0 + soft)
        p4 = massless(pt, [0.0, 0.1, 0.0], [0.0, 0.0, 0.8])
        offsets = np.array([0, 3])
        result = clustering.cluster(p4, offsets, "cambridge", clustering.EVERYTHING)
        groomed, limits, zg, rg = clustering.soft_drop(result)
        assert list(limits) == [0, n_left]
        assert np.sum(np.hypot(*groomed[:2])) == pytest.approx(np.sum(pt[:n_left]), rel=1e-9)
        if n_left == 2:
            assert zg[0] == pytest.approx(0.4, rel=1e-3)
            assert rg[0] == pytest.approx(0.1, rel=1e-9)


def test_one_particle_has_the_undefined_values():
    p4 = massless([100.0], [0.3], [1.0])
    jets = substructure.shape_variables(p4, np.array([0, 1])) | substructure.groomed_variables(
        p4, np.array([0, 1])
    )
    table = {v.name: v.undefined for v in VARIABLES}
    for name in (
        "tau21",
        "tau32",
        "c2",
        "d2",
        "sqrt_d12",
        "sqrt_d23",
        "kt_dr",
        "zg",
        "rg",
        "planar_flow",
        "fw_r2",
    ):
        assert jets[name][0] == table[name]
    assert np.float32(jets["pull_angle"][0]) == np.float32(table["pull_angle"])


# --- against brute force


def brute_correlators(pt, y, phi):
    z, n = pt / pt.sum(), len(pt)
    r = [[distance(y[i], phi[i], y[j], phi[j]) for j in range(n)] for i in range(n)]
    e2 = sum(z[i] * z[j] * r[i][j] for i, j in itertools.combinations(range(n), 2))
    e3 = sum(
        z[i] * z[j] * z[k] * r[i][j] * r[j][k] * r[i][k] for i, j, k in itertools.combinations(range(n), 3)
    )
    return e2, e3


@pytest.mark.parametrize("n", [3, 4, 12])
def test_correlators(n):
    pt, y, phi = clustering.angles(*jet(np.random.default_rng(n), n))
    assert substructure.correlators(pt, y, phi) == pytest.approx(brute_correlators(pt, y, phi), rel=1e-10)


def test_fox_wolfram_against_the_double_sum():
    px, py, pz, e = p4 = jet(np.random.default_rng(5), 15)
    total = np.array([v.sum() for v in p4])
    m = np.sqrt(total[3] ** 2 - total[:3] @ total[:3])
    # Boost by matrix, as a textbook writes it.
    beta, gamma = total[:3] / total[3], total[3] / m
    boost = np.eye(4)
    boost[3, 3] = gamma
    boost[3, :3] = boost[:3, 3] = -gamma * beta
    boost[:3, :3] += (gamma - 1) * np.outer(beta, beta) / (beta @ beta)
    p = (boost @ np.stack([px, py, pz, e]))[:3].T
    size = np.linalg.norm(p, axis=1)
    h0 = h2 = 0.0
    for i, j in itertools.product(range(15), repeat=2):
        cos = p[i] @ p[j] / (size[i] * size[j])
        h0 += size[i] * size[j]
        h2 += size[i] * size[j] * (3 * cos**2 - 1) / 2
    assert substructure.fox_wolfram(p4, np.array([0, 15]))[0] == pytest.approx(h2 / h0, rel=1e-9)


def test_fox_wolfram_and_planar_flow_do_not_feel_rotations_about_the_beam():
    px, py, pz, e = p4 = jet(np.random.default_rng(6), 20)
    turned = (px * np.cos(1.1) - py * np.sin(1.1), px * np.sin(1.1) + py * np.cos(1.1), pz, e)
    both = tuple(np.concatenate(pair) for pair in zip(p4, turned, strict=True))
    offsets = np.array([0, 20, 40])
    for values in (substructure.fox_wolfram(both, offsets), substructure.planar_flow(both, offsets)):
        assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_planar_flow_of_a_ring_is_one():
    angle = np.arange(8) * np.pi / 4
    # Around the x axis, all with the same energy.
    px, py, pz = np.full(8, 100.0), 20 * np.cos(angle), 20 * np.sin(angle)
    p4 = (px, py, pz, np.sqrt(px**2 + py**2 + pz**2))
    assert substructure.planar_flow(p4, np.array([0, 8]))[0] == pytest.approx(1.0, rel=1e-9)


def test_three_groups_have_three_axes():
    # Three tight pairs: tau3 is the tiny spread within them, tau2 the distance of the weakest group.
    y = np.array([0.0, 0.001, 0.6, 0.601, 0.0, 0.001])
    phi = np.array([0.0, 0.0, 0.0, 0.0, 0.5, 0.5])
    pt = np.array([100.0, 50.0, 90.0, 45.0, 60.0, 30.0])
    p4 = massless(pt, y, phi)
    offsets = np.array([0, 6])
    jets = substructure.groomed_variables(p4, offsets)
    tau3 = (50 * 0.001 + 45 * 0.001 + 30 * 0.001) / 375
    tau2 = (50 * 0.001 + 45 * 0.001 + 60 * 0.5 + 30 * np.hypot(0.001, 0.5)) / 375
    tau1 = (50 * 0.001 + 90 * 0.6 + 45 * 0.601 + 60 * 0.5 + 30 * np.hypot(0.001, 0.5)) / 375
    assert jets["tau1"][0] == pytest.approx(tau1, rel=1e-6)
    assert jets["tau21"][0] == pytest.approx(tau2 / tau1, rel=1e-6)
    assert jets["tau32"][0] == pytest.approx(tau3 / tau2, rel=1e-6)


def test_pull_angle():
    y, phi, pt = np.array([0.0, 0.1]), np.array([0.0, 0.1]), np.array([10.0, 1.0])
    for other, angle in (((1.0, 1.0), 0.0), ((-1.0, -1.0), np.pi), ((1.0, -1.0), np.pi / 2)):
        assert substructure.pull_angle(pt, y, phi, (0.0, 0.0), other) == pytest.approx(angle, abs=1e-6)


def test_batches_equal_single_jets():
    rng = np.random.default_rng(1)
    sizes = [1, 2, 3, 9, 40, 2]
    parts = [jet(rng, n) for n in sizes]
    p4 = tuple(np.concatenate([part[k] for part in parts]) for k in range(4))
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    together = substructure.shape_variables(p4, offsets) | substructure.groomed_variables(p4, offsets)
    for i, part in enumerate(parts):
        limits = np.array([0, sizes[i]])
        alone = substructure.shape_variables(part, limits) | substructure.groomed_variables(part, limits)
        for name, values in alone.items():
            assert together[name][i] == pytest.approx(values[0], rel=1e-9, abs=1e-12), name


def test_constituents_are_those_whose_momenta_add_up():
    rng = np.random.default_rng(2)
    parts = [jet(rng, n) for n in (30, 50)]
    p4 = tuple(np.concatenate([part[k] for part in parts]) for k in range(4))
    offsets = np.array([0, 30, 80])
    result = clustering.cluster(p4, offsets, "antikt", 0.4)
    rows, limits, segment = clustering.constituents(result, offsets, pt_min=20.0)
    px, py, _, _ = substructure.sums(tuple(p[rows] for p in p4), limits)
    # FastJet's own momenta of the same jets.
    assert np.hypot(px, py) == pytest.approx(np.hypot(*result.to_numpy(20.0)[:2]), rel=1e-9)
    assert len(np.unique(rows)) == len(rows)
    for k in range(len(segment)):
        inside = rows[limits[k] : limits[k + 1]]
        assert np.all((inside >= offsets[segment[k]]) & (inside < offsets[segment[k] + 1]))


def brute_variable_r(pt, y, phi):
    """Anti-kt with R = 30/pT in plain Python."""
    left = {i: (pt[i], y[i], phi[i], [i]) for i in range(len(pt))}
    jets = []
    while left:
        best = None
        for i in left:
            radius = min(max(30.0 / left[i][0], 0.02), 0.4)
            options = [(radius**2 / left[i][0] ** 2, i, i)]
            for j in left:
                if j > i:
                    r = distance(left[i][1], left[i][2], left[j][1], left[j][2])
                    options.append((r**2 / max(left[i][0], left[j][0]) ** 2, i, j))
            best = min(options + ([best] if best else []))
        _, i, j = best
        if i == j:
            if left[i][0] > 7.0:
                jets.append((left[i][0], sorted(left[i][3])))
            del left[i]
        else:
            (p, a, f, m), (q, b, g, n) = left[i], left.pop(j)
            left[i] = (p + q, (p * a + q * b) / (p + q), (p * f + q * g) / (p + q), m + n)
    return [members for _, members in sorted(jets, reverse=True)]


def test_track_jets_against_brute_force():
    rng = np.random.default_rng(3)
    for n in (1, 2, 25):
        # Azimuths away from pi: the brute force averages them plainly.
        pt, y, phi = rng.exponential(8.0, n) + 0.5, rng.normal(0, 0.3, n), rng.normal(0, 0.3, n)
        found = [list(rows) for rows in flavour.variable_r_jets(pt, y, phi)]
        assert found == brute_variable_r(pt, y, phi)
    assert flavour.variable_r_jets(*np.empty((3, 0))) == []


# --- detector


def test_perigee_against_steps_along_the_helix():
    rng = np.random.default_rng(4)
    for charge in (1, -1):
        pt, phi, cot = rng.uniform(0.5, 20), rng.uniform(-3, 3), rng.uniform(-2, 2)
        x, y, z = rng.normal(0, 5, 3)
        momentum = (pt * np.cos(phi), pt * np.sin(phi), pt * cot)
        d0, z0, phi0 = perigee(
            tuple(np.array([v]) for v in (x, y, z)),
            tuple(np.array([v]) for v in momentum),
            np.array([charge]),
            2.0,
        )
        # Follow the Lorentz force both ways: dphi/ds = -q / R.
        radius = pt / (0.299792458e-3 * 2.0)
        s = np.linspace(-60, 60, 240_001)
        turn = phi - charge * s / radius
        step = s[1] - s[0]
        here = len(s) // 2
        path = np.stack([np.cumsum(np.cos(turn)), np.cumsum(np.sin(turn))]) * step
        path += np.array([[x], [y]]) - path[:, [here]]
        nearest = int(np.argmin(np.hypot(*path)))
        assert abs(d0[0]) == pytest.approx(np.hypot(*path[:, nearest]), abs=2e-3)
        assert z0[0] == pytest.approx(z + s[nearest] * cot, abs=5e-3)
        # Positive to the left of the flight.
        left = -np.sin(turn[nearest]) * path[0, nearest] + np.cos(turn[nearest]) * path[1, nearest]
        assert np.sign(left) == np.sign(d0[0])
        assert np.cos(phi0[0] - turn[nearest]) == pytest.approx(1.0, abs=1e-6)


def beam(n, code, charge, pt, eta, radius=0.0):
    """n equal particles from the beam line, or from `radius` along their flight."""
    phi = np.linspace(-3, 3, n)
    p = massless(np.full(n, pt), np.full(n, eta), phi)
    vertex = tuple(radius * v / pt for v in p[:3])
    # Every particle in its own event: the vertex resolution enters each independently.
    return Particles(np.full(n, code), np.full(n, charge), p, vertex, np.arange(n))


@pytest.mark.parametrize("detector", [Detector.offline(), Detector.trigger()], ids=["offline", "trigger"])
@pytest.mark.parametrize(("pt", "eta"), [(1.5, 0.0), (5.0, 1.2), (50.0, -2.0)])
def test_tracks_have_the_stated_resolution_and_efficiency(detector, pt, eta):
    n = 40_000
    seen = detector.measure(beam(n, 211, 1, pt, eta), np.random.default_rng(7))
    tracks = seen.take(seen.is_track)
    share = len(tracks.e) / n
    expected = detector.efficiency - detector.efficiency_slope * abs(eta)
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))
    sin = 1 / np.cosh(eta)
    core_d0 = np.hypot(detector.d0_a, detector.d0_b / (pt * np.sqrt(sin)))
    core_z0 = np.hypot(detector.z0_a, detector.z0_b / (pt * np.sqrt(sin)))
    assert np.median(tracks.sigma_d0) * 1e3 == pytest.approx(core_d0, rel=0.01)
    assert np.median(tracks.sigma_z0) * 1e3 * sin == pytest.approx(core_z0, rel=0.01)
    # Variance of two Gaussians around a vertex that is itself smeared.
    widen = 1 + detector.tail_fraction * (detector.tail_factor**2 - 1)
    width_d0 = np.sqrt(core_d0**2 * widen + detector.vertex_xy**2)
    assert np.std(tracks.d0) * 1e3 == pytest.approx(width_d0, rel=0.03)
    # Along a slope the transverse vertex error moves z0, too.
    cot = np.sinh(eta)
    width_z0 = np.sqrt((core_z0 / sin) ** 2 * widen + detector.vertex_z**2 + (cot * detector.vertex_xy) ** 2)
    assert np.std(tracks.z0) * 1e3 == pytest.approx(width_z0, rel=0.03)
    assert abs(np.mean(tracks.d0)) < 5 * np.std(tracks.d0) / np.sqrt(len(tracks.d0))
    measured = np.hypot(tracks.px, tracks.py)
    assert np.mean(measured) == pytest.approx(pt, rel=1e-3)
    assert np.std(measured) / pt == pytest.approx(np.hypot(0.01, 0.0004 * pt), rel=0.03)


def test_tails_are_tails():
    def pulls(**change):
        detector = Detector(vertex_xy=0.0, **change)
        tracks = detector.measure(beam(100_000, 211, -1, 20.0, 0.0), np.random.default_rng(8))
        return np.abs(tracks.d0[tracks.is_track] / tracks.sigma_d0[tracks.is_track])

    # Beyond five sigma a Gaussian has nothing, and one three times as wide P(|g| > 5/3) = 9.56 %.
    assert np.mean(pulls() > 5) == pytest.approx(0.05 * 0.0956, rel=0.2)
    assert not np.any(pulls(tail_fraction=0.0) > 6)


@pytest.mark.parametrize(("code", "a", "b"), [(22, 0.10, 0.01), (130, 0.50, 0.03)])
@pytest.mark.parametrize("energy", [20.0, 200.0])
def test_calorimeter_has_the_stated_resolution(code, a, b, energy):
    seen = Detector().measure(beam(40_000, code, 0, energy, 0.0), np.random.default_rng(9))
    assert not seen.is_track.any()
    assert np.mean(seen.e) == pytest.approx(energy, rel=5e-3)
    assert np.std(seen.e) / energy == pytest.approx(np.hypot(a / np.sqrt(energy), b), rel=0.03)
    assert np.allclose(seen.e**2, seen.px**2 + seen.py**2 + seen.pz**2, rtol=1e-12)


def test_efficiency_falls_with_the_radius_of_production():
    for radius, factor in ((0.0, 1.0), (29.0, 1.0), (75.0, 0.5), (121.0, 0.0)):
        seen = Detector().measure(beam(20_000, 211, 1, 5.0, 0.0, radius), np.random.default_rng(10))
        assert seen.is_track.mean() * len(seen.e) / 20_000 == pytest.approx(0.94 * factor, abs=0.015)


def test_what_is_not_seen():
    rng = np.random.default_rng(11)
    detector = Detector()
    for code in (12, -14, 16):
        assert len(detector.measure(beam(100, code, 0, 50.0, 0.0), rng).e) == 0
    # Muons leave tracks or nothing; beyond the tracker and the calorimeter there is nothing.
    assert detector.measure(beam(1000, 13, -1, 50.0, 0.0), rng).is_track.all()
    assert len(detector.measure(beam(1000, 13, -1, 50.0, 3.0), rng).e) == 0
    assert not detector.measure(beam(1000, 211, 1, 50.0, 3.0), rng).is_track.any()
    assert len(detector.measure(beam(1000, 211, 1, 50.0, 4.1), rng).e) == 0
    # A track needs 0.5 GeV, or 1 GeV in the trigger.
    assert not detector.measure(beam(1000, 211, 1, 0.49, 0.0), rng).is_track.any()
    assert not Detector.trigger().measure(beam(1000, 211, 1, 0.99, 0.0), rng).is_track.any()


# --- lifetime


def tracks_from(point, phis, pts, sigma=1e-6, cots=None):
    """Perfect, almost straight tracks of given azimuths from one point (mm)."""
    phis, pts = np.asarray(phis, dtype=float), np.asarray(pts, dtype=float)
    cots = np.zeros(len(phis)) if cots is None else np.asarray(cots, dtype=float)
    momentum = (pts * np.cos(phis), pts * np.sin(phis), pts * cots)
    d0, z0, phi0 = perigee(
        tuple(np.full(len(phis), float(v)) for v in point), momentum, np.ones(len(phis)), bfield=1e-6
    )
    e = np.sqrt(sum(p**2 for p in momentum) + 0.13957**2)
    s = np.full(len(phis), sigma)
    return Measured(*momentum, e, np.ones(len(phis), bool), d0, z0, phi0, s, s, np.zeros(len(phis), np.int64))


def test_vertex_is_found_and_the_stranger_dropped():
    tracks = tracks_from((3.0, 0.4, 1.0), [0.0, 0.3, -0.2, 0.5], [10, 8, 6, 5], 0.01, [0.2, 0.5, 0.1, 0.4])
    vertex, covariance, used = flavour.fit_vertex(tracks)
    assert vertex == pytest.approx([3.0, 0.4, 1.0], abs=1e-3)
    assert list(used) == [0, 1, 2, 3]
    assert np.all(np.linalg.eigvalsh(covariance) > 0)
    tracks.d0[2] += 1.0
    vertex, _, used = flavour.fit_vertex(tracks)
    assert list(used) == [0, 1, 3]
    assert vertex == pytest.approx([3.0, 0.4, 1.0], abs=1e-3)
    tracks.z0[:] = [0.0, 30.0, 60.0, 90.0]
    assert flavour.fit_vertex(tracks) is None


def test_vertex_covariance_is_that_of_the_scatter():
    rng = np.random.default_rng(12)
    phis, pts, cots = [0.0, 0.3, -0.2, 0.5], [10, 8, 6, 5], [0.2, 0.5, 0.1, 0.4]
    exact = tracks_from((3.0, 0.4, 1.0), phis, pts, 0.02, cots)
    found = []
    for _ in range(2000):
        scattered = exact.take(np.arange(4))
        scattered.d0 += rng.normal(0, 0.02, 4)
        scattered.z0 += rng.normal(0, 0.02, 4)
        found.append(flavour.fit_vertex(scattered, chi2_max=1e9)[0])
    _, covariance, _ = flavour.fit_vertex(exact)
    assert np.sqrt(np.diag(np.cov(np.transpose(found)))) == pytest.approx(
        np.sqrt(np.diag(covariance)), rel=0.1
    )


def test_lifetime_sign_and_vertex_variables():
    # A decay 3 mm down the axis; then the same behind the primary vertex.
    phis, pts = [0.05, -0.06, 0.1], [20.0, 15.0, 10.0]
    for direction in (1.0, -1.0):
        tracks = tracks_from((3.0 * direction, 0.0, 0.0), phis, pts, 0.02)
        out = flavour.track_jet_variables(tracks, np.array([0, 3]), np.array([100.0]))
        assert out["n_trk"][0] == out["sj1_ntrk"][0] == 3
        significances = np.sort(3.0 * np.abs(np.sin(phis)) / 0.02)[::-1]
        found = [out[f"sj1_sd0_{i}"][0] for i in (1, 2, 3)]
        # The axis, the sum of the tracks, is a little off zero: no track lies between the two.
        if direction > 0:
            assert found == pytest.approx(significances, rel=1e-3)
        else:
            assert found == pytest.approx(np.maximum(-significances[::-1], -10.0), rel=1e-3)
        assert np.sign(out["sj1_sv_lsig"][0]) == direction
        assert out["sj1_sv_efrac"][0] == pytest.approx(1.0)
        px, py, e = tracks.px.sum(), tracks.py.sum(), tracks.e.sum()
        assert out["sj1_sv_mass"][0] == pytest.approx(np.sqrt(e**2 - px**2 - py**2), rel=1e-6)
        for name, value in (("ntrk", 0), ("sd0_1", -10), ("sz0", -10), ("sv_mass", 0), ("sv_lsig", 0)):
            assert out[f"sj2_{name}"][0] == value
        assert out["sj_dr"][0] == out["sj2_ptfrac"][0] == 0.0


# --- the whole

# Two chunks of signal, one of background.
SMALL = {"n_jets": 15, "seed": 5, "chunk_size": 7, "progress": False}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A small sample made by one process."""
    return generate(tmp_path_factory.mktemp("sample") / "one.h5", n_workers=1, **SMALL)


def test_two_processes_make_the_same_bits(sample, tmp_path):
    again = generate(tmp_path / "two.h5", n_workers=2, **SMALL)
    assert again.read_bytes() == sample.read_bytes()
    assert list(tmp_path.iterdir()) == [again]


def test_npz_holds_the_same(sample, tmp_path):
    data, columns, provenance = read_sample(sample)
    texts = {name: (values, "") for name, values in columns.items()}
    write_sample(tmp_path / "same.npz", data, texts, provenance)
    copy, same, facts = read_sample(tmp_path / "same.npz")
    assert np.array_equal(copy, data)
    assert copy.flags.c_contiguous
    assert copy.dtype == np.float32
    assert facts == provenance
    assert all(np.array_equal(same[name], columns[name]) for name in columns)


def test_content(sample):
    jets = load_generated(sample)
    assert jets.data.shape == (15, 40)
    assert jets.target.sum() == 8
    for i, variable in enumerate(VARIABLES):
        assert np.all(jets.data[:, i] >= variable.low), variable.name
        assert np.all(jets.data[:, i] <= variable.high), variable.name
    # Signal jets hold both b hadrons, by selection.
    assert np.all(jets.flavour[jets.target == 1] >= 2)
    assert "15 jets (8 signal)" in jets.DESCR
    for kind, kept in (("signal", 8), ("background", 7)):
        flow = [jets.provenance["cut_flow"][kind][cut] for cut in events.CUTS[1:]]
        assert flow == sorted(flow, reverse=True)
        assert flow[-1] == kept
    parts = [load_generated(sample, subset=subset) for subset in ("train", "test")]
    assert sum(len(part.data) for part in parts) == 15
    with pytest.raises(ValueError, match="subset"):
        load_generated(sample, subset="both")


def test_hdf5_documents_itself(sample):
    with h5py.File(sample) as file:
        assert list(file.attrs["feature_names"]) == list(FEATURE_NAMES)
        for variable in VARIABLES:
            column = file["variables"][variable.name]
            assert column.attrs["unit"] == variable.unit
            assert column.attrs["definition"] == variable.definition
            assert column.dtype == np.float32
        facts = json.loads(file.attrs["provenance"])
        assert file["is_test"].dtype == bool
    assert facts["seed"] == 5
    assert facts["versions"]["pythia8"].startswith("8.3")
    assert set(facts["cut_flow"]["signal"]) == set(events.CUTS)


class Interrupted(Exception):
    pass


def test_an_interrupted_run_goes_on_where_it_stopped(sample, tmp_path, monkeypatch):
    made = []
    make = generation._make

    def fails_at_the_third(task, *args, **kwargs):
        if len(made) == 2:
            raise Interrupted
        made.append(task.number)
        make(task, *args, **kwargs)

    out = tmp_path / "one.h5"
    monkeypatch.setattr(generation, "_make", fails_at_the_third)
    with pytest.raises(Interrupted):
        generate(out, n_workers=1, **SMALL)
    assert not out.exists()
    parts = sorted((tmp_path / "one.h5.parts").iterdir())
    assert [p.name for p in parts] == ["00000-signal.npz", "00001-background.npz"]
    # One of the two is cut short, as by a full disk.
    parts[1].write_bytes(parts[1].read_bytes()[:-700])

    made.clear()
    monkeypatch.setattr(
        generation, "_make", lambda task, *a, **k: (made.append(task.number), make(task, *a, **k))
    )
    generate(out, n_workers=1, **SMALL)
    assert made == [1, 2]
    assert out.read_bytes() == sample.read_bytes()


def test_chunks_of_another_recipe_are_not_used(tmp_path):
    def tasks(**change):
        arguments = {"seed": 1, "detector": Detector(), "chunk_size": 3, "versions": (("x", "1"),)}
        return generation._tasks(6, parts=tmp_path, **(arguments | change))

    def store(task):
        np.savez(task.path, recipe=np.array(task.recipe()), data=np.zeros((3, 40), np.float32))

    first, second = tasks()
    store(first)
    assert generation._stored(first) is not None
    assert generation._stored(second) is None
    for change in ({"seed": 2}, {"detector": Detector.trigger()}, {"versions": (("x", "2"),)}):
        assert generation._stored(tasks(**change)[0]) is None
    damaged = bytearray(first.path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    first.path.write_bytes(damaged)
    assert generation._stored(first) is None


def test_a_failing_write_leaves_nothing(tmp_path):
    def fail():
        with written(tmp_path / "file.npz") as temporary:
            temporary.write_bytes(b"half")
            raise Interrupted

    with pytest.raises(Interrupted):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_sample_comes_from_this_code():
    jets = load_hbb()
    facts = jets.provenance
    if facts["versions"]["pythia8"] != events.versions()["pythia8"]:
        # Other versions make other events; then only distributions can be compared.
        chunk = events.run_chunk("signal", 200, np.random.SeedSequence(facts["seed"]))
        for name in ("msd", "tau21", "n_trk"):
            i = FEATURE_NAMES.index(name)
            old, new = jets.data[jets.target == 1, i], chunk.data[:, i]
            assert abs(new.mean() - old.mean()) < 5 * old.std() / np.sqrt(200)
        return
    for number, kind in enumerate(("signal", "background")):
        seed = np.random.SeedSequence(facts["seed"], spawn_key=(number,))
        chunk = events.run_chunk(kind, 20, seed, detector=Detector(**facts["detector"]))
        wanted = chunk.data[chunk.extras["event"] < chunk.extras["event"][-1]]
        rows = np.flatnonzero(jets.event >> 32 == number)
        rows = rows[np.argsort(jets.event[rows], kind="stable")][: len(wanted)]
        assert np.allclose(jets.data[rows], round_bits(wanted, facts["bits"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"n_jets": 0}, ValueError, "n_jets"),
        ({"n_jets": 2.5}, TypeError, "n_jets"),
        ({"n_jets": True}, TypeError, "n_jets"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": "x"}, TypeError, "seed"),
        ({"chunk_size": 0}, ValueError, "chunk_size"),
        ({"n_jets": 10**6, "chunk_size": 1}, ValueError, "chunk_size"),
        ({"n_workers": 0}, ValueError, "n_workers"),
        ({"detector": "toy"}, ValueError, "detector"),
        ({"detector": 3}, TypeError, "detector"),
        ({"out": "jets.root"}, ValueError, "out"),
        ({"out": "missing/jets.h5"}, FileNotFoundError, "directory of out"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, change, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        generate(**({"out": "jets.h5", "n_jets": 10, "progress": False} | change))
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_not_overwritten(tmp_path):
    out = tmp_path / "jets.h5"
    out.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="overwrite"):
        generate(out, 10, progress=False)
    assert out.read_bytes() == b"precious"


def test_missing_dependency_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pythia8mc", None)
    with pytest.raises(ImportError, match=r"shadowprune\[generate\]"):
        generate(tmp_path / "jets.npz", 10, progress=False)
