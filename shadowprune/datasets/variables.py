"""The forty variables of a jet: one table, from which everything else follows.

The description of the embedded sample, the attributes of a generated HDF5 file and the tests all read this
table, so that a definition is written down once.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import numpy as np

__all__ = ["FEATURE_NAMES", "UNDEFINED", "VARIABLES", "Variable", "table"]


class Variable(NamedTuple):
    """One column of the sample.

    Attributes
    ----------
    name : str
        Name of the column.
    unit : str
        Unit; ``"1"`` for a pure number.
    definition : str
        What is computed, in one sentence.
    undefined : float or None
        Value when the variable has no meaning for a jet; None when that cannot happen.
    low, high : float
        Range that no jet leaves.
    """

    name: str
    unit: str
    definition: str
    undefined: float | None
    low: float
    high: float


def _track_jet_variables(k: int) -> tuple[Variable, ...]:
    which = {1: "leading", 2: "second"}[k]
    order = {1: "largest", 2: "second largest", 3: "third largest"}
    impact = tuple(
        Variable(
            f"sj{k}_sd0_{i}",
            "1",
            f"{order[i]} lifetime-signed significance d0/sigma(d0) among the tracks of the {which} track "
            f"jet with "
            "|d0| < 2 mm and |z0 sin(theta)| < 3 mm, clipped to -10..50",
            -10.0,
            -10.0,
            50.0,
        )
        for i in (1, 2, 3)
    )
    return (
        Variable(f"sj{k}_ntrk", "1", f"number of tracks of the {which} track jet", 0.0, 0.0, 100.0),
        *impact,
        Variable(
            f"sj{k}_sz0",
            "1",
            f"largest lifetime-signed significance of z0 sin(theta) among the same tracks of the {which} "
            f"track jet, "
            "clipped to -10..50",
            -10.0,
            -10.0,
            50.0,
        ),
        Variable(
            f"sj{k}_sv_mass",
            "GeV",
            f"invariant mass of the tracks (pion hypothesis) of the secondary vertex of the {which} track "
            f"jet, at most 10",
            0.0,
            0.0,
            10.0,
        ),
        Variable(
            f"sj{k}_sv_efrac",
            "1",
            f"energy of the tracks of that vertex divided by the energy of all tracks of the {which} track "
            f"jet",
            0.0,
            0.0,
            1.0,
        ),
        Variable(
            f"sj{k}_sv_lsig",
            "1",
            f"distance of that vertex from the primary vertex along the axis of the {which} track jet, "
            f"divided by its "
            "uncertainty, clipped to -10..100",
            0.0,
            -10.0,
            100.0,
        ),
    )


VARIABLES: tuple[Variable, ...] = (
    Variable("pt", "GeV", "transverse momentum of the ungroomed jet", None, 250.0, 1000.0),
    Variable("eta", "1", "pseudorapidity of the ungroomed jet", None, -2.0, 2.0),
    Variable("mass", "GeV", "invariant mass of the ungroomed jet", None, 45.0, 1000.0),
    Variable("msd", "GeV", "soft drop mass (z_cut 0.1, beta 0, Cambridge/Aachen)", None, 50.0, 200.0),
    Variable(
        "tau1",
        "1",
        "1-subjettiness of the groomed jet, sum of pT dR to the nearest axis divided by the sum of pT "
        "(beta 1, R0 = 1, "
        "winner-take-all exclusive kt axes)",
        None,
        0.0,
        1.5,
    ),
    Variable("tau21", "1", "tau2/tau1 of the groomed jet", 0.0, 0.0, 1.5),
    Variable("tau32", "1", "tau3/tau2 of the groomed jet", 0.0, 0.0, 1.5),
    Variable("c2", "1", "energy correlation ratio e3/e2^2 (beta 1) of the groomed jet", 0.0, 0.0, 1.5),
    Variable(
        "d2", "1", "energy correlation ratio e3/e2^3 (beta 1) of the groomed jet, at most 20", 0.0, 0.0, 20.0
    ),
    Variable(
        "sqrt_d12",
        "GeV",
        "kt splitting scale min(pT) dR of the last merging of the ungroomed jet",
        0.0,
        0.0,
        1000.0,
    ),
    Variable("sqrt_d23", "GeV", "kt splitting scale of the last merging but one", 0.0, 0.0, 1000.0),
    Variable("kt_dr", "1", "distance dR (rapidity, phi) of the two exclusive kt subjets", 0.0, 0.0, 3.5),
    Variable("zg", "1", "momentum sharing of the soft drop splitting", 0.0, 0.0, 0.501),
    Variable("rg", "1", "opening distance dR (rapidity, phi) of the soft drop splitting", 0.0, 0.0, 2.5),
    Variable(
        "width",
        "1",
        "sum of pT dR to the jet axis divided by the sum of pT, all constituents",
        None,
        0.0,
        1.5,
    ),
    Variable(
        "ptd",
        "1",
        "square root of the sum of pT^2 divided by the sum of pT, all constituents",
        None,
        0.0,
        1.0,
    ),
    Variable(
        "planar_flow",
        "1",
        "4 det(I)/tr(I)^2 of I_kl = sum of p_k p_l/E over the two directions across the jet axis: 0 on a "
        "line, 1 on a disc",
        0.0,
        0.0,
        1.0001,
    ),
    Variable(
        "fw_r2",
        "1",
        "Fox-Wolfram ratio H2/H0 of all constituents in the rest frame of the jet: 1 back to back, 0 "
        "isotropic",
        0.0,
        0.0,
        1.0001,
    ),
    Variable("n_const", "1", "number of constituents", None, 2.0, 1000.0),
    Variable("n_trk", "1", "number of constituents measured as tracks", None, 0.0, 500.0),
    Variable("sj1_ptfrac", "1", "pT of the leading track jet divided by pT of the jet", 0.0, 0.0, 1.5),
    Variable("sj2_ptfrac", "1", "pT of the second track jet divided by pT of the jet", 0.0, 0.0, 1.5),
    Variable("sj_dr", "1", "distance dR (rapidity, phi) of the two leading track jets", 0.0, 0.0, 3.5),
    Variable(
        "pull_angle",
        "rad",
        "angle between the pull vector of the leading exclusive kt subjet and the direction to the other "
        "subjet",
        float(np.float32(np.pi / 2)),
        0.0,
        3.1417,
    ),
    *_track_jet_variables(1),
    *_track_jet_variables(2),
)

FEATURE_NAMES: tuple[str, ...] = tuple(v.name for v in VARIABLES)
"""The forty names, in the order of the columns."""

UNDEFINED = np.array([np.nan if v.undefined is None else v.undefined for v in VARIABLES], dtype=np.float32)
"""Value of each column when undefined, float32 of shape (40,); NaN where a column is always defined."""


def table() -> str:
    """The variables as text, one paragraph each, for a description.

    Returns
    -------
    str
        Name, unit, value when undefined and definition of each variable.
    """
    lines = []
    for v in VARIABLES:
        when = "always defined" if v.undefined is None else f"{v.undefined:.4g} when undefined"
        unit = "no unit" if v.unit == "1" else v.unit
        definition = textwrap.fill(v.definition, 104, initial_indent="    ", subsequent_indent="    ")
        lines.append(f"{v.name} [{unit}; {when}]\n{definition}")
    return "\n".join(lines)
