"""The samples as scikit-learn Bunches: the embedded one, and files written by ``generate``."""

from __future__ import annotations

import importlib.resources
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ._pack import unpack
from ._split import is_test, shuffled_order
from .detector import Detector
from .variables import FEATURE_NAMES, table

__all__ = ["load_generated", "load_hbb"]

SUBSETS = ("all", "train", "test")
FLAVOURS = ("light", "c", "b", "bb")

_DESCRIPTION = """\
Boosted H -> bb jets against multijet background
------------------------------------------------

{size}

Jets of proton-proton collisions at 13 TeV without pile-up, simulated by the developers of shadowprune with
the public recipe below (``shadowprune.datasets.generate``); no numbers of any experiment or publication are
in it. Signal (target 1) are jets that hold a Higgs boson of 125 GeV and its decay to two b quarks; background
(target 0) are jets of ordinary strong interactions in their natural mixture of flavours.

**Recipe**

- Pythia {pythia8}, default tune, with initial- and final-state radiation and multiparton interactions.
  Signal: H + jet (gg -> Hg, qg -> Hq, qq -> Hg), H -> bb. Background: HardQCD:all. Both biased
  towards large pT, and used without event weights.
- Jets: FastJet {fastjet}, anti-kt with R = 1.0 on all measured particles; 250 < pT < 1000 GeV, |eta| < 2,
  soft drop mass (z_cut 0.1, beta 0) 50 to 200 GeV.
- Signal jets lie within dR = 0.6 of the Higgs boson and hold both of its b hadrons within dR = 1.0.
- Jets are thinned by a smooth function of pT, so that pT alone does not discriminate.
- Track jets: anti-kt with variable radius 30 GeV / pT, kept within 0.02 to 0.4, on the tracks of the jet; pT
  > 7 GeV.
- Secondary vertex of a track jet: common point of its tracks with a significance above 2.5 (d0 and z0
  combined), the worst track being dropped until each has chi2 <= 9; at least two tracks.
- Lifetime sign: positive when the track meets the axis of its track jet in front of the primary vertex.

**Detector** ((+) adds in quadrature; energies and momenta in GeV; every particle independent of the others)

{detector}

**Provenance**

Pythia {pythia8}, FastJet (Python) {fastjet}, NumPy {numpy}; seed {seed}, {chunk_size} jets per independent
chunk. Cut flow (events; jets in pT and eta; matched to the decay; soft drop mass; after thinning; kept):

{cut_flow}

**Split**

Fixed, by a hash of (seed, event): two jets of one event are on the same side. The test part is about
{percent} % of the events: {split}.
{stored}
**Variables** (d0 and z0 refer to the measured primary vertex; distances dR use rapidity)

{variables}

**Other entries of the Bunch**

``is_test`` marks the test part, ``event`` numbers the events (jets of one event share a number), ``flavour``
is the true content of heavy hadrons with pT > 5 GeV within dR = 1 of the jet (0 light, 1 c, 2 b, 3 at least
two b), ``mass`` and ``pt`` repeat the two columns as spectators.

**References**

C. Bierlich et al., A comprehensive guide to the physics and usage of PYTHIA 8.3, SciPost Phys. Codebases 8
(2022), arXiv:2203.11601. M. Cacciari, G. P. Salam, G. Soyez, FastJet user manual, Eur. Phys. J. C 72 (2012)
1896, arXiv:1111.6097; Phys. Lett. B 641 (2006) 57, hep-ph/0512210. Both programs are free software under the
GPL. Pythia asks to respect the MCnet guidelines for event generator authors and users, which come with it:
please cite both programs when you publish results made with these jets.
"""


def _description(target: NDArray[Any], test: NDArray[Any], facts: dict[str, Any], stored: str) -> str:
    def count(rows: NDArray[Any]) -> str:
        return f"{int(np.sum(rows))} jets ({int(np.sum(rows & (target == 1)))} signal)"

    everything = np.ones(len(target), bool)
    steps = "\n".join(
        f"{kind}: " + ", ".join(f"{cut} {n}" for cut, n in flow.items())
        for kind, flow in facts["cut_flow"].items()
    )
    return _DESCRIPTION.format(
        size=f"{count(everything)}, {len(FEATURE_NAMES)} variables.",
        detector=Detector(**facts["detector"]).formulas(),
        cut_flow=steps,
        percent=round(100 * facts["test_fraction"]),
        split=f"train {count(~test)}, test {count(test)}",
        stored=stored,
        variables=table(),
        seed=facts["seed"],
        chunk_size=facts["chunk_size"],
        **facts["versions"],
    )


def _bunch(
    data: NDArray[np.float32],
    columns: dict[str, NDArray[Any]],
    facts: dict[str, Any],
    *,
    stored: str,
    subset: str,
    return_X_y: bool,
    as_frame: bool,
) -> Any:
    target, test = columns["target"].astype(np.int64), columns["is_test"].astype(bool)
    description = _description(target, test, facts, stored)
    # Chunks number fewer than 2**16, events within one fewer than 2**32.
    event = (columns["chunk"].astype(np.int64) << 32) | columns["event"].astype(np.int64)
    flavour = columns["flavour"].astype(np.int64)
    if subset != "all":
        rows = test if subset == "test" else ~test
        data, target, test, event, flavour = (
            np.ascontiguousarray(v[rows]) for v in (data, target, test, event, flavour)
        )
    spectators = {name: data[:, FEATURE_NAMES.index(name)].copy() for name in ("mass", "pt")}
    x: Any = data
    y: Any = target
    frame = None
    if as_frame:
        import pandas as pd

        x = pd.DataFrame(data, columns=list(FEATURE_NAMES))
        y = pd.Series(target, name="target")
        frame = pd.concat([x, y], axis=1)
    if return_X_y:
        return x, y
    return Bunch(
        data=x,
        target=y,
        frame=frame,
        feature_names=list(FEATURE_NAMES),
        target_names=["background", "signal"],
        DESCR=description,
        is_test=test,
        event=event,
        flavour=flavour,
        flavour_names=list(FLAVOURS),
        provenance=facts,
        **spectators,
    )


def flavour_of(n_b: NDArray[Any], n_c: NDArray[Any]) -> NDArray[np.uint8]:
    return np.where(n_b > 0, np.minimum(n_b, 2).astype(np.int64) + 1, (n_c > 0).astype(np.int64)).astype(
        np.uint8
    )


def _check_subset(subset: str) -> None:
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {', '.join(SUBSETS)}, got {subset!r}")


def load_hbb(*, subset: str = "all", return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the embedded sample of H -> bb and multijet jets.

    The file is part of the package: nothing is fetched, and neither Pythia nor FastJet is needed.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        Part of the fixed split.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Data as pandas objects.

    Returns
    -------
    sklearn.utils.Bunch
        With the entries

        data : ndarray of shape (n, 40), float32
            The variables, C-contiguous; a DataFrame with ``as_frame=True``.
        target : ndarray of shape (n,), int64
            1 for signal, 0 for background; a Series with ``as_frame=True``.
        frame : DataFrame of shape (n, 41) or None
            Both together with ``as_frame=True``.
        feature_names : list of str
            The forty names.
        target_names : list of str
            ``["background", "signal"]``.
        DESCR : str
            Recipe, detector, provenance and the definition, unit and undefined value of every variable.
        is_test : ndarray of shape (n,), bool
            True for jets of the test part.
        event : ndarray of shape (n,), int64
            Number of the event; jets of one event share it, and their side of the split.
        flavour : ndarray of shape (n,), int64
            True heavy-flavour content, an index into `flavour_names`.
        mass, pt : ndarray of shape (n,), float32
            Ungroomed mass and transverse momentum in GeV.
        provenance : dict
            Seed, versions, detector, Pythia settings and cut flow.

    Raises
    ------
    ValueError
        If `subset` is unknown.
    ImportError
        If `as_frame` is true and pandas is missing.

    Examples
    --------
    >>> from shadowprune.datasets import load_hbb
    >>> jets = load_hbb(subset="train")
    >>> jets.data.shape[1]
    40
    """
    _check_subset(subset)
    source = importlib.resources.files(__package__) / "data" / "hbb.npz"
    with source.open("rb") as file:
        data, columns, facts = unpack(file)
    chunk = np.repeat(np.arange(len(facts["chunk_sizes"])), facts["chunk_sizes"])
    # Within a chunk events only go up: their steps are stored.
    first = np.flatnonzero(np.diff(chunk, prepend=-1))
    total = np.cumsum(columns["event_step"].astype(np.int64))
    event = total - np.repeat(total[first] - columns["event_step"][first], facts["chunk_sizes"])
    columns = {
        "chunk": chunk,
        "event": event,
        "target": 1 - chunk % 2,
        "is_test": is_test(facts["seed"], chunk, event, facts["test_fraction"]),
        "flavour": columns["flavour"],
    }
    order = shuffled_order(facts["seed"], chunk, event)
    columns = {name: values[order] for name, values in columns.items()}
    return _bunch(
        data[order],
        columns,
        facts,
        stored=facts["stored"],
        subset=subset,
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def load_generated(
    path: str | os.PathLike[str], *, subset: str = "all", return_X_y: bool = False, as_frame: bool = False
) -> Any:
    """Load a file written by :func:`shadowprune.datasets.generate`, in the form of :func:`load_hbb`.

    Parameters
    ----------
    path : path-like
        File ending in .h5, .hdf5 or .npz.
    subset, return_X_y, as_frame
        As for :func:`load_hbb`.

    Returns
    -------
    sklearn.utils.Bunch
        As from :func:`load_hbb`.

    Raises
    ------
    ValueError
        If `subset` or the suffix is unknown, or the file holds other variables.
    ImportError
        If the file is HDF5 and h5py is missing.
    """
    from .sample_io import read_sample

    _check_subset(subset)
    data, columns, facts = read_sample(path)
    columns["flavour"] = flavour_of(columns["n_b"], columns["n_c"])
    return _bunch(data, columns, facts, stored="", subset=subset, return_X_y=return_X_y, as_frame=as_frame)
