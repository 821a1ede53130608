"""Page and plot of the study, from its CSV files: nothing is measured here, no table is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import sem

from shadowprune import plots
from shadowprune._extras import require
from shadowprune._files import written

from ..report import markdown
from . import defaults
from .methods import CHECK, METHODS
from .results import (
    OURS,
    TITLES,
    Documents,
    Results,
    difference_cell,
    documents_in,
    filled,
    mean_error,
    parts_of,
    short,
    tables_of,
)
from .study import has_died

PAGE, PLOT = "method.md", "method.png"

OWN = (
    "shadow default", "shadow one order", "shadow", "straight-through", "taylor in one run",
    "layout retrained", "path", "shadow default own epochs", "path own epochs",
)  # fmt: skip
COMPARED = (OURS, "shadow one order", "path")  # untuned, in as many epochs; with the others, one by one
DRAWN = {  # label, colour, line
    "shadow default": ("shadow, defaults", 0, "-"),
    "path": ("one path for all sizes", 0, "--"),
    "layout retrained": ("the shadow's layout retrained", 0, ":"),
    "uniform": ("uniform narrow network", 1, "-"),
    "L2 per layer one cut": ("L2 per layer, fine-tuned", 2, "-"),
    "Taylor one cut": ("Taylor, fine-tuned", 3, "-"),
    "Taylor 5 cuts": ("Taylor in 5 cuts, fine-tuned", 4, "-"),
    "hard concrete": ("hard concrete, cut to the count", 5, "-"),
}


def main_table(found: Results) -> list[str]:
    """What is reached, method by budget."""
    digits = 5 if found.column == "auc" else 4
    heads = ["", *(str(n) for n in found.nodes)]
    rows = [[m, *(mean_error(found.values(m, n), digits) for n in found.nodes)] for m in found.methods]
    return markdown(heads, rows)


def difference_table(found: Results, ours: str = OURS) -> list[str]:
    """Ours minus each other method, in units of 1e-4, with its standard error.

    Of the methods of others, bold is what ours is ahead of by two errors, italic what it is behind by one.
    """
    rows = []
    for method in found.methods:
        if method == ours or (ours != OURS and method in OWN):
            continue
        mark = how_sure if method not in OWN else lambda *_: ""
        cells = [difference_cell(found.difference(method, n, ours), mark) for n in found.nodes]
        rows.append([method, *cells])
    return markdown([f"10⁻⁴ of {found.label}", *(str(n) for n in found.nodes)], rows)


def how_sure(mean: float, error: float) -> str:
    """Mark of a difference."""
    return "**" if mean >= 2 * error and mean > 0 else "*" if mean < -error else ""


def strongest(found: Results, nodes: int) -> str | None:
    """Of the methods of others in as many epochs, that which reaches most on the test rows."""
    others = [m for m in found.methods if m not in OWN and "2x epochs" not in m and found.values(m, nodes)]
    return max(others, key=lambda m: float(np.mean(list(found.values(m, nodes).values()))), default=None)


def summary_table(of: Sequence[Results]) -> list[str]:
    """Ours against the strongest of the others, sample by sample and size by size."""
    parts, rows = parts_of(of), []
    for found in of:
        best = {part: strongest(found, n) for part, n in found.parts().items()}
        for ours in COMPARED:
            if ours not in found.methods:
                continue
            cells = [
                difference_cell(found.difference_at(best.get(part), part, ours), how_sure) for part in parts
            ]
            rows.append([f"{found.title}, {found.label}: {ours}", *cells])
        rows.append(["which that is", *(best.get(part) or "–" for part in parts)])
    return markdown(["10⁻⁴ of AUC or accuracy", *parts], rows) if rows else []


def rejection_table(found: Results) -> list[str]:
    """Background rejection at signal efficiencies of 50 and 70 %."""
    rows = []
    for m in found.methods:
        cells = []
        for n in found.nodes:
            at = [found.values(m, n, column) for column in ("rejection_50", "rejection_70")]
            means = ["–" if not v else f"{np.mean(list(v.values())):.0f}" for v in at]
            errors = ["–" if len(v) < 2 else f"{sem([*v.values()]):.0f}" for v in at]
            whole = f"{means[0]} ± {errors[0]} / {means[1]} ± {errors[1]}"
            cells.append(whole if any(at) else "–")
        rows.append([m, *cells])
    return markdown(["", *(str(n) for n in found.nodes)], rows)


def cost_table(found: Results) -> list[str]:
    """Whether the count was hit, processor time, and what there is to tune."""
    rows = []
    for name in found.methods:
        runs = [r for r in found.tests if r["method"] == name]
        own = [r for r in runs if r["own"] is not None]
        hit = f"{sum(r['own'] == r['nodes'] for r in own)} of {len(own)}" if own else "–"
        worst = max(own, key=lambda r: abs(r["own"] - r["nodes"]), default=None)
        miss = (
            "–" if worst is None or worst["own"] == worst["nodes"] else f"{worst['nodes']} → {worst['own']}"
        )
        times = [[r["seconds"] for r in runs if r["nodes"] == n] for n in (found.nodes[0], found.nodes[-1])]
        seconds = " – ".join(f"{np.median(t):.1f}" for t in times if t)
        layout = runs[-1]["widths"].split("-", 1)[1].rpartition("-")[0]
        seeds, dead = len({r["seed"] for r in runs}), sum(has_died(r, found.table) for r in runs)
        extra = len((METHODS | CHECK)[name].extra)
        rows.append([name, str(seeds), str(dead or "–"), hit, miss, seconds, str(extra), layout])
    heads = [
        "",
        "seeds",
        "dead networks",
        "count hit by itself",
        "largest miss",
        "seconds, most to fewest nodes",
        "settings more",
        "a layout of the fewest",
    ]
    return markdown(heads, rows)


def time_of_path(found: Results) -> list[str]:
    """Of one path beside a run for each budget, seed by seed."""
    runs = [found.values(OURS, n, "seconds") for n in found.nodes]
    of_path = found.values("path", found.nodes[0], "seconds") if found.nodes else {}
    seeds = sorted(set(of_path).intersection(*runs))
    if not seeds:
        return []
    parts = [of_path[s] / sum(run[s] for run in runs) for s in seeds]
    low, high = (short(f(parts), 2) for f in (min, max))
    return [
        f"One *path* takes {short(float(np.median(parts)), 2)} of the processor time of the {len(runs)} runs "
        f"of *{OURS}* (median over the seeds; {low} to {high}).", "",
    ]  # fmt: skip


def page(documents: Documents) -> str:
    """The page."""
    of = [Results(sample, records) for sample, records in tables_of(documents, "methods").items()]
    return filled(PAGE, {
        "summary": summary_table(of),
        "plot": [f"![Methods compared]({PLOT})"] if of and of[0].sample == "jets" else [],
        "samples": [line for found in of for line in sample_section(found)],
        "check": check_section(documents),
    })  # fmt: skip


def sample_section(found: Results) -> list[str]:
    """All about one sample."""
    lines = [f"## {TITLES[found.sample]}", "", ABOUT[found.sample], ""]
    lines += [f"{found.label}, by hidden nodes:", "", *main_table(found)]
    lines += [
        f"*{OURS}* minus the other, seed by seed; of the others, bold is what it is ahead of by two standard "
        "errors, italic what it is behind by one:", "", *difference_table(found),
    ]  # fmt: skip
    for ours in COMPARED[1:]:
        if ours in found.methods:
            lines += _folded(f"{ours} minus the other", difference_table(found, ours))
    if found.column == "auc":
        heading = "Background rejection at 50 % / 70 % signal efficiency"
        lines += _folded(heading, rejection_table(found))
    return [*lines, "Counts, time and effort:", "", *cost_table(found), *time_of_path(found)]


def _folded(heading: str, table: Sequence[str]) -> list[str]:
    """A table behind its heading."""
    return ["<details>", f"<summary>{heading}</summary>", "", *table, "</details>", ""]


def check_section(documents: Documents) -> list[str]:
    """The same pipeline trained by PyTorch, and PQuantML."""
    records = documents.get(("torch", "jets"))
    if not records:
        return []
    found = Results("jets", records, list(CHECK))
    return [
        "## Trained by PyTorch, and PQuantML", "",
        "*L2 per layer one cut*, untuned, with our C core and with PyTorch's fused AdamW; the same initial "
        "weights, other orders of rows. And PQuantML 0.1.0: its PDP with `structured_pruning` is what takes "
        "whole nodes off. It masks rows of weights, so that biases stay and a dead node gives a constant "
        "(added here to the next layer's biases); the count is a result, not a setting; a last layer with "
        "one output must be excluded. It had two thirds of the epochs, the cut to the exact count and the "
        "last third are ours; untuned.", "",
        *main_table(found), *cost_table(found),
    ]  # fmt: skip


ABOUT = {
    "jets": "40-64-64-64-64-1, 97,687 training and 52,313 test jets of the package, 30 epochs.",
    "generated": "The same network on 300,000 jets, those of `generate(a, 150_000, seed=1)`, of which the "
    "jets of the package are a copy in fewer digits, and of `generate(b, 150_000, seed=2)`: 195,032 to train "
    "on and 104,968 to test on, as the files split them, 30 epochs. Fewer methods.",
    "flavour": "40-64-32-32-5 on jets of the package: light, charm, one b, two b's, Higgs; at most 7,650 "
    "jets of a class, in training and in test.",
    "digits": "64-64-64-10, scikit-learn's digits; five stratified splits 3 : 1, one for each seed.",
    "breast cancer": "30-64-64-1, scikit-learn's; five stratified splits 3 : 1, one for each seed.",
}


def draw(found: Results, path: Path) -> None:
    """What is reached against the nodes, and how far the others are from ours."""
    with plots.style():
        figure = require("matplotlib.figure", "plot").Figure(figsize=(12, 5), layout="constrained")
        left, right = figure.subplots(1, 2)
        for i, (method, (label, color, line)) in enumerate(DRAWN.items()):
            if method not in found.methods:
                continue
            shift = 1.01 ** (i - 3)
            points = [(n, found.values(method, n)) for n in found.nodes]
            points = [(n, v) for n, v in points if len(v) > 1]
            look = {"fmt": "o" + line, "markersize": 4, "capsize": 2, "label": label}
            look["color"] = plots.DISTINCT[color]
            left.errorbar(
                [n * shift for n, _ in points], [np.mean(list(v.values())) for _, v in points],
                [sem([*v.values()]) for _, v in points], **look,
            )  # fmt: skip
            others = [(n, d) for n in found.nodes if (d := found.difference(method, n)) and method != OURS]
            if others:
                right.errorbar(
                    [n * shift for n, _ in others], [-1e4 * d[0] for _, d in others],
                    [1e4 * d[1] for _, d in others], **look,
                )  # fmt: skip
        right.axhline(0, color=plots.DISTINCT[0], linewidth=1)
        right.set_yscale("symlog", linthresh=10)
        right.set_yticks([-300, -100, -30, -10, -5, 0, 5], ["300", "100", "30", "10", "5", "0", "-5"])
        right.set_yticks([], minor=True)
        for ax in (left, right):
            ax.set_xscale("log")
            ax.set_xticks(found.nodes, map(str, found.nodes))
            ax.set_xticks([], minor=True)
            ax.set_xlim(0.9 * min(found.nodes), 1.1 * max(found.nodes))
            ax.set_xlabel("Hidden nodes")
        best = [np.mean(list(found.values(OURS, n).values())) for n in found.nodes]
        left.set_ylim(min(best) - 0.6 * (max(best) - min(best)) - 0.002, max(best) + 0.0005)
        left.set_ylabel(found.label)
        right.set_ylabel(f"{found.label} below that of the shadow, $10^{-4}$")
        left.legend(loc="lower right")
        figure.savefig(path, dpi=120)


def run(folder: Path) -> None:
    """Write pages and plot."""
    documents = documents_in(folder)
    for name, text in ((PAGE, page(documents)), (defaults.PAGE, defaults.page(documents))):
        with written(folder / name) as path:
            path.write_text(text, encoding="utf-8")
    if jets := documents.get(("methods", "jets")):
        with written(folder / PLOT) as path:
            draw(Results("jets", jets), path)
