"""One chunk of the sample: Pythia events, through the detector, to selected jets and their variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from numpy.typing import NDArray

from .._extras import require
from . import clustering
from .clustering import P4, Floats, Ints
from .detector import Detector, Measured, Particles
from .flavour import track_jet_variables
from .substructure import groomed_variables, mass, shape_variables, sums
from .variables import FEATURE_NAMES

require("awkward", "generate")
pythia8mc: ModuleType = require("pythia8mc", "generate")

__all__ = ["CUTS", "Chunk", "acceptance", "run_chunk", "versions"]

BATCH = 100
"""Events simulated before the detector sees them; part of what fixes the bits of a sample."""

HIGGS, WHOLE_EVENT, DECAYING = 25, 90, 62
"""Codes of Pythia: particle, whole event, status of the last copy of a resonance before it decays."""

HADRON_PT_MIN = 5.0
JET_RADIUS, PT_MIN, PT_MAX, ETA_MAX = 1.0, 250.0, 1000.0, 2.0
MSD_MIN, MSD_MAX, HIGGS_DR = 50.0, 200.0, 0.6

CUTS = ("events", "jets", "matched", "msd", "thinned", "kept")
"""Cut flow of a chunk: events; jets in pT and eta; matched to the decay (background: all); soft drop mass;
thinned in pT; written (the last batch may hold more jets than were asked for)."""

RECIPE = 1
"""Raised whenever the same seed would give other numbers: chunks of another recipe are not reused."""

EXTRAS = {
    "event": ("uint32", "number of the event within its chunk"),
    "n_b": ("uint8", "weakly decaying b hadrons with pT > 5 GeV within dR < 1 of the jet (truth)"),
    "n_c": (
        "uint8",
        "weakly decaying c hadrons with pT > 5 GeV within dR < 1 of the jet, those from b decays included "
        "(truth)",
    ),
}
"""Columns beside the variables: name to (dtype, meaning)."""

COMMON = (
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "PhaseSpace:bias2Selection = on",
    "Print:quiet = on",
)
PROCESSES = {
    "signal": (
        "PhaseSpace:bias2SelectionPow = 1.75",
        "HiggsSM:gg2Hg(l:t) = on",
        "HiggsSM:qg2Hq(l:t) = on",
        "HiggsSM:qqbar2Hg(l:t) = on",
        "25:m0 = 125.",
        "25:onMode = off",
        "25:onIfMatch = 5 -5",
        "PhaseSpace:pTHatMin = 200.",
        "PhaseSpace:pTHatMax = 1300.",
    ),
    "background": (
        "PhaseSpace:bias2SelectionPow = 4.",
        "HardQCD:all = on",
        "PhaseSpace:pTHatMin = 200.",
        "PhaseSpace:pTHatMax = 1300.",
    ),
}
"""Pythia settings of the two classes; everything else (ISR, FSR, MPI, tune) is Pythia's default."""

# Signal over background density in pT of 12,000 pilot jets each without thinning, each normalised: a cubic
# polynomial in log(pT) fitted to the logarithm of the ratio, read off at the knots. The class in excess is
# thinned to the other.
_PT_KNOTS = np.array([250.0, 300.0, 350.0, 400.0, 500.0, 600.0, 700.0, 800.0, 1000.0])
_RATIO = np.array([0.82, 0.945, 1.015, 1.05, 1.06, 1.04, 1.015, 0.995, 0.98])
_ACCEPT = {"signal": np.minimum(1.0, 1.0 / _RATIO), "background": np.minimum(1.0, _RATIO)}


def acceptance(pt: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Probability with which a selected jet is kept, so that pT alone does not discriminate.

    Parameters
    ----------
    pt : ndarray of shape (n,), float64
        Transverse momentum, GeV.
    kind : {"signal", "background"}
        Class.

    Returns
    -------
    ndarray of shape (n,), float64
        In 0..1, linear between knots.
    """
    probability: Floats = np.interp(pt, _PT_KNOTS, _ACCEPT[kind])
    return probability


@dataclasses.dataclass
class Chunk:
    """Selected jets of one class and one seed.

    Attributes
    ----------
    data : ndarray of shape (n, 40), float32
        The variables.
    extras : dict of str to ndarray of shape (n,)
        The columns of :data:`EXTRAS`.
    cut_flow : dict of str to int
        Counts after each of :data:`CUTS`.
    """

    data: NDArray[np.float32]
    extras: dict[str, NDArray[Any]]
    cut_flow: dict[str, int]


def versions() -> dict[str, str]:
    """Versions of everything that decides the numbers: dict of str to str."""
    info = pythia8mc.Pythia("", False)
    info.readString("Print:quiet = on")
    return {
        "pythia8": f"{info.parm('Pythia:versionNumber'):.3f}",
        "fastjet": str(clustering.fastjet.__version__),
        "numpy": np.__version__,
    }


def _pythia(kind: str, seed: int, banner: bool) -> Any:
    try:
        pythia = pythia8mc.Pythia("", banner)
    except Exception as error:
        raise RuntimeError(
            f"Pythia does not start ({error}); if it misses its xml files, set PYTHIA8DATA to "
            f"<prefix>/share/Pythia8/xmldoc"
        ) from error
    for line in (*COMMON, *PROCESSES[kind], "Random:setSeed = on", f"Random:seed = {seed}"):
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not accept the setting {line!r}")
    if not pythia.init():
        raise RuntimeError(
            "Pythia does not initialise; if it misses its xml files, set PYTHIA8DATA to "
            "<prefix>/share/Pythia8/xmldoc"
        )
    return pythia


@dataclasses.dataclass
class _Record:
    """Event records as flat arrays; `mother` counts over the whole batch, `event` is that of each row."""

    pdg_id: NDArray[np.int32]
    status: NDArray[np.int32]
    mother: Ints
    p: tuple[Floats, ...]
    vertex: tuple[Floats, ...]
    event: Ints
    n_events: int


def _next_batch(pythia: Any) -> _Record:
    batch = pythia.nextBatch(BATCH)
    particles = batch.prt.layout
    offsets = np.asarray(particles.offsets.data, dtype=np.int64)
    content = particles.content
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    rows = slice(int(offsets[0]), int(offsets[-1]))

    def column(name: str) -> NDArray[Any]:
        return np.asarray(content[name].data)[rows]

    p, produced = content["p"], content["vProd"]
    index = np.asarray(produced.index.data)[rows]

    def coordinate(name: str) -> Floats:
        # No vertex is stored for what is produced at the origin.
        values = np.append(np.asarray(produced.content[name].data), 0.0)
        return values[np.where(index >= 0, index, len(values) - 1)]

    return _Record(
        column("id"),
        column("status"),
        column("mother1").astype(np.int64) + (offsets[:-1] - offsets[0])[event],
        tuple(np.asarray(p[k].data)[rows] for k in ("px", "py", "pz", "e")),
        tuple(coordinate(k) for k in ("px", "py", "pz")),
        event,
        len(offsets) - 1,
    )


def _stable(pythia: Any, record: _Record) -> Particles:
    """The stable particles of the events."""
    final = np.flatnonzero(record.status > 0)
    pdg_id = record.pdg_id[final]
    codes, inverse = np.unique(pdg_id, return_inverse=True)
    charges = np.array([np.sign(pythia.particleData.charge(int(c))) for c in codes], dtype=np.int64)
    return Particles(
        pdg_id,
        charges[inverse],
        tuple(p[final] for p in record.p),
        tuple(v[final] for v in record.vertex),
        record.event[final],
    )


def _heavy_hadrons(record: _Record, flavour: int) -> Ints:
    """Rows of the hadrons with the given quark (5 or 4) that do not decay to such a hadron."""
    code = np.abs(record.pdg_id)
    hadron = (code > 100) & (code < 10**7)
    hadron &= ((code // 1000) % 10 == flavour) | ((code // 100) % 10 == flavour)
    # Quarkonia end in strong or electromagnetic decays; diquarks (tens digit 0) are no hadrons.
    hadron &= (code // 10) % 10 != flavour
    hadron &= (code // 10) % 10 != 0
    last = hadron.copy()
    last[record.mother[hadron]] = False
    return np.flatnonzero(last)


def _from_higgs(record: _Record, rows: Ints) -> NDArray[np.bool_]:
    """Which of the rows descend from the Higgs boson, following first mothers: bool of shape (len(rows),)."""
    ancestor, found = rows.copy(), np.zeros(len(rows), dtype=bool)
    for _ in range(1000):
        mother = record.mother[ancestor]
        stop = mother == ancestor
        found |= record.pdg_id[ancestor] == HIGGS
        if np.all(found | stop | (record.pdg_id[ancestor] == WHOLE_EVENT)):
            break
        ancestor = mother
    return found


@dataclasses.dataclass
class _Jets:
    """Jets of a batch: constituents (`rows` of what was measured, cut by `offsets`), kinematics and event."""

    rows: Ints
    offsets: Ints
    p4: P4
    pt: Floats
    y: Floats
    phi: Floats
    event: Ints

    def take(self, flags: NDArray[np.bool_]) -> _Jets:
        """The flagged jets."""
        n = np.diff(self.offsets)
        return _Jets(
            self.rows[np.repeat(flags, n)],
            np.concatenate(([0], np.cumsum(n[flags]))),
            tuple(p[flags] for p in self.p4),
            self.pt[flags],
            self.y[flags],
            self.phi[flags],
            self.event[flags],
        )

    def count_near(self, record: _Record, rows: Ints, radius: float) -> Ints:
        """How many of the given particles lie within `radius` of each jet: int64 of shape (n,)."""
        _, y, phi = clustering.angles(*(p[rows] for p in record.p))
        distance = np.hypot(self.y[:, None] - y, clustering.delta_phi(self.phi[:, None], phi))
        near: NDArray[np.bool_] = (self.event[:, None] == record.event[rows]) & (distance < radius)
        count: Ints = np.count_nonzero(near, axis=1)
        return count


def _find_jets(seen: Measured) -> _Jets:
    """All jets above the threshold in pT."""
    present, first = np.unique(seen.event, return_index=True)
    limits = np.append(first, len(seen.event))
    result = clustering.cluster(seen.p4, limits, "antikt", JET_RADIUS)
    rows, offsets, segment = clustering.constituents(result, limits, pt_min=PT_MIN)
    if len(segment) == 0:
        nothing = np.empty(0)
        return _Jets(rows, offsets, (nothing,) * 4, nothing, nothing, nothing, np.empty(0, np.int64))
    p4 = sums(tuple(p[rows] for p in seen.p4), offsets)
    return _Jets(rows, offsets, p4, *clustering.angles(*p4), present[segment])


def _matched(jets: _Jets, record: _Record) -> NDArray[np.bool_]:
    """Signal jets: near the Higgs boson, with both b hadrons of its decay inside."""
    higgs = np.flatnonzero((record.pdg_id == HIGGS) & (np.abs(record.status) == DECAYING))
    b = _heavy_hadrons(record, 5)
    own = b[_from_higgs(record, b)]
    near = jets.count_near(record, higgs, HIGGS_DR) > 0
    return near & (jets.count_near(record, own, JET_RADIUS) >= 2)


def _batch_jets(
    pythia: Any, kind: str, detector: Detector, rng: np.random.Generator, counts: dict[str, int]
) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Selected jets of one batch of events: variables (n, 40) float32 and the extra columns."""
    record = _next_batch(pythia)
    seen = detector.measure(_stable(pythia, record), rng)
    counts["events"] += record.n_events

    jets = _find_jets(seen)
    jets = jets.take((jets.pt > PT_MIN) & (jets.pt < PT_MAX) & (np.abs(_eta(jets)) < ETA_MAX))
    counts["jets"] += len(jets.pt)
    if kind == "signal":
        jets = jets.take(_matched(jets, record))
    counts["matched"] += len(jets.pt)
    # Dropping constituents only lowers a mass, and the grooming is slow.
    jets = jets.take(mass(jets.p4) > MSD_MIN)
    if len(jets.pt) == 0:
        return np.empty((0, len(FEATURE_NAMES)), np.float32), {
            k: np.empty(0, t) for k, (t, _) in EXTRAS.items()
        }

    p4 = tuple(p[jets.rows] for p in seen.p4)
    groomed, limits, zg, rg = clustering.soft_drop(
        clustering.cluster(p4, jets.offsets, "cambridge", clustering.EVERYTHING)
    )
    msd = mass(sums(groomed, limits))
    chosen = (msd > MSD_MIN) & (msd < MSD_MAX)
    counts["msd"] += int(chosen.sum())
    # Thrown for every jet, so that the chance of one does not depend on the fate of another.
    chosen &= rng.random(len(jets.pt)) < acceptance(jets.pt, kind)
    counts["thinned"] += int(chosen.sum())
    n_groomed = np.diff(limits)
    groomed = tuple(p[np.repeat(chosen, n_groomed)] for p in groomed)
    dropped = (groomed, np.concatenate(([0], np.cumsum(n_groomed[chosen]))), zg[chosen], rg[chosen])
    jets = jets.take(chosen)
    return _variables(seen.take(jets.rows), jets, dropped), _extras(jets, record)


def _eta(jets: _Jets) -> Floats:
    return np.arcsinh(jets.p4[2] / jets.pt)


def _variables(constituents: Measured, jets: _Jets, dropped: Any) -> NDArray[np.float32]:
    """The forty variables: float32 of shape (n, 40)."""
    if len(jets.pt) == 0:
        return np.empty((0, len(FEATURE_NAMES)), np.float32)
    values = shape_variables(constituents.p4, jets.offsets)
    values |= groomed_variables(constituents.p4, jets.offsets, dropped)
    values |= track_jet_variables(constituents, jets.offsets, jets.pt)
    return np.stack([values[name] for name in FEATURE_NAMES], axis=1).astype(np.float32)


def _extras(jets: _Jets, record: _Record) -> dict[str, NDArray[Any]]:
    """The columns of EXTRAS."""
    extras: dict[str, NDArray[Any]] = {"event": jets.event.astype(np.uint32)}
    for name, flavour in (("n_b", 5), ("n_c", 4)):
        hadrons = _heavy_hadrons(record, flavour)
        hard = hadrons[np.hypot(record.p[0][hadrons], record.p[1][hadrons]) > HADRON_PT_MIN]
        extras[name] = np.minimum(jets.count_near(record, hard, JET_RADIUS), 255).astype(np.uint8)
    return extras


def run_chunk(
    kind: str,
    n_jets: int,
    seed: np.random.SeedSequence,
    *,
    detector: Detector | None = None,
    on_jets: Callable[[int], Any] | None = None,
    banner: bool = False,
) -> Chunk:
    """Generate jets of one class until enough are selected.

    Parameters
    ----------
    kind : {"signal", "background"}
        Class.
    n_jets : int
        Number of jets.
    seed : numpy.random.SeedSequence
        Source of the seeds of Pythia and of the detector.
    detector : Detector, optional
        Configuration; default :meth:`Detector.offline`.
    on_jets : callable, optional
        Called with the number of new jets after each batch.
    banner : bool, default=False
        Let Pythia show its banner.

    Returns
    -------
    Chunk
        Exactly `n_jets` jets in the order of generation.

    Raises
    ------
    RuntimeError
        If Pythia does not start, or makes no event any more.
    """
    detector = Detector.offline() if detector is None else detector
    for_pythia, for_detector = seed.spawn(2)
    rng = np.random.Generator(np.random.PCG64(for_detector))
    # Pythia takes 1 to 900,000,000.
    pythia = _pythia(kind, 1 + int(for_pythia.generate_state(1)[0]) % 900_000_000, banner)
    counts = dict.fromkeys(CUTS, 0)
    data, extras, total = [], [], 0
    # One thread: the same bits on every machine of a kind, and no fight between the processes.
    with threadpoolctl.threadpool_limits(1):
        while total < n_jets:
            before = counts["events"]
            new, columns = _batch_jets(pythia, kind, detector, rng, counts)
            if counts["events"] == before:
                raise RuntimeError(f"Pythia makes no {kind} event any more after {before}")
            columns["event"] += np.uint32(before)
            new = new[: n_jets - total]
            data.append(new)
            extras.append({name: column[: len(new)] for name, column in columns.items()})
            total += len(new)
            if on_jets is not None:
                on_jets(len(new))
    counts["kept"] = total
    merged = {name: np.concatenate([part[name] for part in extras]) for name in EXTRAS}
    return Chunk(np.concatenate(data), merged, counts)
