"""The page on the defaults, from the CSV files: beside tuned settings, and what they were chosen by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from shadowprune._defaults import (
    usual_batch_size,
    usual_epochs,
    usual_learning_rate,
    usual_score_rate,
    usual_tries,
    usual_weight_decay,
)

from ..report import markdown
from . import samples
from .methods import DEFAULTS
from .results import TITLES, Documents, Results, difference_cell, filled, mean_error, parts_of, tables_of
from .rules import rules_section

PAGE = "defaults.md"
NEAR = 5e-4  # of AUC: how far defaults may be below tuned settings
ROWS = (400, 2000, 8000, 30_000, 100_000, 1_000_000)  # of the table of settings
PART = 0.05  # of the nodes that stay, there


def page(documents: Documents) -> str:
    """The page."""
    of = [
        Results(sample, records, list(DEFAULTS), table="defaults")
        for sample, records in tables_of(documents, "defaults").items()
    ]
    return filled(PAGE, {
        "few": [f"{100 * PART:g}"],
        "near": [f"{1e4 * NEAR:g}"],
        "settings": settings_table(),
        "noisy_rows": [f"{samples.NOISY_ROWS:,}"],
        "noisy_test": [f"{samples.NOISY_TEST:,}"],
        "splits": [str(samples.SPLITS)],
        "scored_rows": [f"{samples.SCORED_ROWS:,}"],
        "nearness": nearness_table(of),
        "samples": [line for found in of for line in sample_section(found)],
        "rules": rules_section(tables_of(documents, "rules")),
    })  # fmt: skip


def settings_table() -> list[str]:
    """What the rules give the usual network, whole and with a twentieth of its nodes."""
    rows = []
    whole = (40, *samples.PAPER, 1)
    few = (40, *(round(w * PART) for w in samples.PAPER), 1)
    loss = "binary_crossentropy"
    for n in ROWS:
        batch = usual_batch_size(n)
        decay = usual_weight_decay(whole, n, loss)
        last = decay(few) * decay.by_stage(few)[-1]
        rates = [usual_learning_rate(batch, kept) for kept in (1, PART)]
        epochs = [usual_epochs(whole, n, batch, loss, kept) for kept in (1, PART)]
        rows.append([
            f"{n:,}", str(batch), " → ".join(f"{rate:.2g}" for rate in rates), " → ".join(map(str, epochs)),
            f"{decay(whole):.2g} → {last:.2g}", str(usual_tries(whole, few, n, loss)),
            f"{usual_score_rate(n, loss):g}",
        ])  # fmt: skip
    heads = [
        "rows",
        "batch",
        "learning rate",
        "epochs",
        "weight decay at last",
        "orders of the nodes",
        "rate of their scores",
    ]
    return markdown(heads, rows)


def nearness_table(of: Sequence[Results]) -> list[str]:
    """Default minus tuned, all samples."""
    parts, rows = parts_of(of), []
    for found in of:
        for tuned in ("tuned in as many epochs", "tuned"):
            cells = [difference_cell(found.difference_at(tuned, part, "default"), how_far) for part in parts]
            rows.append([f"{found.title}: {tuned}", *cells])
    return markdown(["", *parts], rows) if rows else []


def how_far(mean: float, error: float) -> str:
    """Mark of what is further below than was wanted."""
    return "*" if mean < -NEAR else ""


def sample_section(found: Results) -> list[str]:
    """All about one sample."""
    rows = []
    for n in found.nodes:
        of_part = {
            samples.tested_on(found.sample, r["seed"]): r["option"]
            for r in found.tests
            if (r["method"], r["nodes"]) == ("tuned", n)
        }
        option, times = Counter(of_part.values()).most_common(1)[0] if of_part else ("–", 0)
        if times < len(of_part):
            option += f" ({times} of {len(of_part)} parts)"
        rows.append([str(n), *(mean_error(found.values(m, n), 5) for m in found.methods), option])
    tested = len({r["seed"] for r in found.tests})
    choice = f"chosen with {found.tried} seeds, tested with {tested}"
    if found.sample in samples.REPEATED:
        parts = len({samples.tested_on(found.sample, r["seed"]) for r in found.tests})
        choice = f"{parts} test parts, chosen for each on {found.tried} splits, tested with {tested} seeds"
    return [
        f"{TITLES[found.sample]}, AUC, {choice}:", "",
        *markdown(["nodes", *found.methods, "the tuned settings"], rows),
    ]  # fmt: skip
