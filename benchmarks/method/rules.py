"""Tables of the page on the defaults: what the rules of the defaults were chosen by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.stats import sem

from shadowprune._defaults import (
    FADED,
    FEW,
    FEW_OF_MANY,
    LONGER,
    LONGER_CLASSES,
    LONGER_ROWS,
    LONGEST,
    PLENTY,
    SEEN,
    STEPS,
    usual_batch_size,
    usual_weight_decay,
    weights_per_target,
)
from shadowprune.scan import node_counts

from ..report import markdown
from . import samples
from .methods import RULES, Option, name_of
from .study import DEFAULTS_AT, Record


def rules_section(tables: dict[str, list[Record]]) -> list[str]:
    """What the rules of the defaults were chosen by."""
    if not tables:
        return []
    lines = [
        "Weight decay times a factor: the more weights of the whole network there are for a target (a row, "
        "of more than two classes a row and a class), the more is wanted, and on clean labels less than on "
        "noisy ones. The rule takes this number, from 1 to 5.", "",
    ]  # fmt: skip
    factors, falls, powers, parts, early, late, rates, batches, epochs = (
        RULES[m].options([]) or [] for m in RULES
    )
    rows: defaultdict[str, list[list[str]]] = defaultdict(list)
    for sample, records in tables.items():
        n, widths = _n_rows(sample), _widths(records)
        rule = usual_weight_decay(widths, n, "binary_crossentropy")
        per_target = f"{weights_per_target(widths, n):.2f}"
        rows["decay"].append([sample, per_target, f"{rule.factor:.1f}", *_gains(records, "decay", factors)])
        rows["fall"].append([sample, per_target, f"{rule.flatter:.2f}", *_gains(records, "fall", falls)])
        rows["batch"].append([sample, str(usual_batch_size(n)), *_gains(records, "batch", batches)])
        rows["early"].append(
            [sample, per_target, *_gains(records, "early", early), *_gains(records, "late", late)[1:]]
        )
        rows["rate"].append([sample, *_gains(records, "rate", rates)])
        of_part = node_counts(DEFAULTS_AT, samples.hidden(sample))
        if sample in samples.OF_CLASSES:
            gains = _gains(records, "crowd", powers, of_part[DEFAULTS_AT[-1]])
            rows["crowd"].append([sample, per_target, *gains])
            gains = _gains(records, "fade", parts, of_part[DEFAULTS_AT[-1]])
            rows["fade"].append([sample, per_target, f"{rule.fade:.2f}", *gains])
        of_epochs = [_gains(records, "epochs", epochs, n)[1:] for n in of_part.values()]
        for name, gains in zip(("half", "twice"), zip(*of_epochs, strict=True), strict=True):
            rows[name].append([sample, per_target, *gains])
    heads = ["rows", "weights per target", "rule"]
    lines += markdown([*heads, *(f"{o['factor']:g}" for o in factors)], rows["decay"])
    lines += [
        "With that factor, the weight decay of smaller networks times a power of how many times more weights "
        "the whole network has, so that it falls less with their size:", "",
        *markdown([*heads, *(f"{o['flatter']:g}" for o in falls)], rows["fall"]),
        "Where classes outnumber the nodes of a layer, it is times a power of their number per node; with "
        f"{DEFAULTS_AT[-1]:g} of the nodes:", "",
        *markdown([*heads[:2], *(f"{o['crowded']:g}" for o in powers)], rows["crowd"]),
        "There less of it is left after the hard finish, and least where rows are many: half of this number "
        "is the least, and one over it a power of the crowding. The rule takes it below one from "
        f"{PLENTY:g} weights per target on, down to {FADED:g} at {PLENTY * FADED:.2g}:", "",
        *markdown([*heads, *(f"{o['fade']:g}" for o in parts)], rows["fade"]),
        f"And it is times {early[0]['early']:g} while the budget falls and times {late[0]['late']:g} after "
        "the hard finish; where classes outnumber the nodes of a layer there is more of it first, less last. "
        "Other numbers:", "",
        *markdown(
            [*heads[:2], "so", *(f"{o['early']:g} while it falls" for o in early[1:]),
             *(f"{o['late']:g} after" for o in late[1:])],
            rows["early"],
        ),
        "Learning rate, times the default, which is the larger the fewer nodes stay, and the more classes "
        "there are for one:", "",
        *markdown(["rows", *(f"{o['rate']:g}" for o in rates)], rows["rate"]),
        "Batch, times the default:", "",
        *markdown(["rows", "batch", *(f"{o['batch']:g}" for o in batches)], rows["batch"]),
        "What half of the epochs gains, by the part of the nodes kept; the rule takes no fewer than make "
        f"{STEPS:,} steps, although some problems of few rows would gain:", "",
        *markdown([*heads[:2], *(f"{f:g}" for f in DEFAULTS_AT)], rows["half"]),
        "What twice the epochs gain. The rule takes more below "
        f"{FEW:g}, a limit that rises to {FEW_OF_MANY:g} as weights per target fall from {PLENTY:g} to "
        f"{PLENTY * FEW / FEW_OF_MANY:g}, with the root, up to twice 30, where these are not fewer than "
        f"{STEPS:,} steps anyway; with {LONGER_ROWS[0]:,} to {LONGER_ROWS[1]:,} rows of no more than "
        f"{LONGER_CLASSES:g} classes per node of the average layer with the power of {LONGER:g}, "
        f"up to {LONGEST:g} times 30 or {SEEN:,} rows seen:", "",
        *markdown([*heads[:2], *(f"{f:g}" for f in DEFAULTS_AT)], rows["twice"]),
    ]  # fmt: skip
    return lines


def _n_rows(sample: str) -> int:
    return int(sample.split(maxsplit=1)[0])


def _widths(records: Sequence[Record]) -> list[int]:
    """Of the network before pruning."""
    return max(([int(w) for w in r["widths"].split("-")] for r in records), key=sum)


def _gains(
    records: Sequence[Record], method: str, options: Sequence[Option], nodes: int | None = None
) -> list[str]:
    """Cells: each option's AUC above that of the first, at a budget or the mean over all."""
    names = [name_of(option) for option in options]
    auc = {(r["option"], r["nodes"], r["seed"]): r["auc"] for r in records if r["method"] == method}
    budgets = {n for _, n, _ in auc if nodes in (None, n)}
    seeds = sorted({s for *_, s in auc})
    if not budgets:
        return ["–"] * len(names)
    cells = ["0"]
    for name in names[1:]:
        each = [np.mean([auc[name, n, s] - auc[names[0], n, s] for n in budgets]) for s in seeds]
        spread = f" ± {1e4 * sem(each):.0f}" if len(each) > 1 else ""
        cells.append(f"{1e4 * np.mean(each):+.0f}{spread}")
    return cells
