"""Page and plot of the study, from its CSV files: nothing is measured here, no figure is typed by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import sem

from shadowprune import plots
from shadowprune._extras import require
from shadowprune._files import written

from ..report import markdown
from . import samples
from .methods import CHECK, DEFAULTS, METHODS, TABLES
from .rules import rules_section
from .study import Record, path_of, read

NEAR = 5e-4  # of AUC: how far defaults may be below tuned settings
FOLDER, PAGE, PLOT = "method", "method.md", "method.png"

OURS = "shadow default"
OWN = (
    "shadow default", "shadow one order", "shadow", "straight-through", "taylor in one run",
    "layout retrained", "path", "shadow default own epochs", "path own epochs",
)  # fmt: skip
TITLES = {
    "jets": "Embedded jets",
    "generated": "Generated jets",
    "flavour": "Flavour of jets, five classes",
    "digits": "Digits, ten classes",
    "breast cancer": "Breast cancer, two classes",
    samples.NOISY: "Noisy labels, two classes",
}
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

Documents = dict[tuple[str, str], list[Record]]  # by table and sample


class Results:
    """The test runs of one sample."""

    def __init__(
        self, sample: str, records: Sequence[Record], methods: Sequence[str] = tuple(METHODS),
        table: str = "methods",
    ) -> None:  # fmt: skip
        self.sample = sample
        self.tests = [r for r in records if r["stage"] == "test"]
        self.column = samples.measure(sample, table)
        self.nodes = sorted({r["nodes"] for r in self.tests}, reverse=True)
        self.methods = [m for m in methods if any(r["method"] == m for r in self.tests)]

    def values(self, method: str, nodes: int, column: str | None = None) -> dict[int, float]:
        """Seed -> what was reached."""
        return {
            r["seed"]: r[column or self.column]
            for r in self.tests
            if (r["method"], r["nodes"]) == (method, nodes) and r[column or self.column] is not None
        }

    def difference(self, method: str, nodes: int, ours: str = OURS) -> tuple[float, float] | None:
        """Ours minus the method's, seed by seed: mean and standard error."""
        a, b = self.values(ours, nodes), self.values(method, nodes)
        seeds = sorted(set(a) & set(b))
        if len(seeds) < 2:
            return None
        each = np.array([a[s] - b[s] for s in seeds])
        return float(each.mean()), float(sem(each))


def short(value: float, digits: int) -> str:
    """Without the zero before the point."""
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def mean_error(values: dict[int, float], digits: int) -> str:
    """Mean and standard error, as a cell."""
    if not values:
        return "–"
    mean = short(float(np.mean(list(values.values()))), digits)
    return mean if len(values) < 2 else f"{mean} ± {short(sem([*values.values()]), digits)}"


def main_table(found: Results) -> list[str]:
    """What is reached, method by budget."""
    digits = 5 if found.column == "auc" else 4
    heads = ["", *(str(n) for n in found.nodes)]
    rows = [[m, *(mean_error(found.values(m, n), digits) for n in found.nodes)] for m in found.methods]
    return markdown(heads, rows)


def difference_table(found: Results) -> list[str]:
    """Ours by default minus each other method, in units of 1e-4, with its standard error."""
    rows = []
    for method in found.methods:
        if method == OURS:
            continue
        cells = [found.difference(method, n) for n in found.nodes]
        rows.append([method, *("–" if c is None else f"{1e4 * c[0]:+.1f} ± {1e4 * c[1]:.1f}" for c in cells)])
    return markdown([f"10⁻⁴ of {_name(found)}", *(str(n) for n in found.nodes)], rows)


def _name(found: Results) -> str:
    return "AUC" if found.column == "auc" else "accuracy"


def verdict(found: Results, ours: str) -> list[str]:
    """Where ours loses, and where it does not win by as much as was wanted."""
    behind, close = [], []
    few = [n for n in found.nodes if n <= 0.1 * sum(samples.hidden(found.sample))]
    for method in found.methods:
        if method in OWN:
            continue
        for nodes in found.nodes:
            cell = found.difference(method, nodes, ours)
            if cell is None:
                continue
            mean, uncertainty = cell
            text = f"{method} at {nodes} ({1e4 * mean:+.1f} ± {1e4 * uncertainty:.1f})"
            if mean < -uncertainty:
                behind.append(text)
            if nodes in few and mean < 2 * uncertainty:
                close.append(text)
    lines = []
    for text, entries in (
        (f"*{ours}* is behind by more than one standard error", behind),
        (f"*{ours}* is not ahead by two standard errors at 10 and 5 %", close),
    ):
        lines += [f"{text}: {'; '.join(entries) if entries else 'nowhere'}.", ""]
    return lines


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
        seeds = len({r["seed"] for r in runs})
        extra = len((METHODS | CHECK)[name].extra)
        rows.append([name, str(seeds), hit, miss, seconds, str(extra), layout])
    heads = [
        "",
        "seeds",
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
    lines = [(Path(__file__).parent / "introduction.md").read_text(encoding="utf-8")]
    if ("methods", "jets") in documents:
        lines += [f"![Methods compared]({PLOT})", ""]
    for (table, sample), records in documents.items():
        if table != "methods":
            continue
        found = Results(sample, records)
        lines += [f"## {TITLES[sample]}", "", ABOUT[sample], ""]
        lines += [f"{_name(found)}, by hidden nodes:", "", *main_table(found)]
        lines += [f"*{OURS}* minus the other, seed by seed:", "", *difference_table(found)]
        for ours in (OURS, "shadow one order", "path"):
            if ours in found.methods:
                lines += verdict(found, ours)
        if found.column == "auc":
            lines += ["Background rejection at 50 % / 70 % signal efficiency:", "", *rejection_table(found)]
        lines += ["Counts, time and effort:", "", *cost_table(found), *time_of_path(found)]
    lines += [(Path(__file__).parent / "remarks.md").read_text(encoding="utf-8")]
    lines += [*check_section(documents), *defaults_section(documents)]
    return "\n".join([*lines, *rules_section(_samples_of(documents, "rules"))])


def _samples_of(documents: Documents, table: str) -> dict[str, list[Record]]:
    """Records of one table, by sample."""
    return {sample: records for (name, sample), records in documents.items() if name == table}


def check_section(documents: Documents) -> list[str]:
    """The same pipeline trained by PyTorch, and PQuantML."""
    records = documents.get(("torch", "jets"))
    if not records:
        return []
    found = Results("jets", records, list(CHECK))
    return [
        "## Trained by PyTorch, and PQuantML", "",
        "*L2 per layer one cut*, untuned, with our C core and with PyTorch's fused AdamW; the same initial "
        "weights, other "
        "orders of rows. And PQuantML 0.1.0: its PDP with `structured_pruning` is what takes whole nodes "
        "off. It "
        "masks rows of weights, so that biases stay and a dead node gives a constant (added here to the next "
        "layer's biases); the count is a result, not a setting; a last layer with one output must be "
        "excluded. It "
        "had two thirds of the epochs, the cut to the exact count and the last third are ours; "
        "untuned.", "",
        *main_table(found), *cost_table(found),
    ]  # fmt: skip


def _compared(found: Results, nodes: int, tuned: str = "tuned") -> tuple[float, float]:
    """Default minus tuned."""
    return found.difference(tuned, nodes, "default") or (math.nan, math.nan)


def _within(found: Results, tuned: str = "tuned") -> str:
    """At which budgets the defaults are as near to the tuned as was wanted."""
    where: dict[str, list[str]] = {"within": [], "within one standard error of that": [], "further away": []}
    for n in found.nodes:
        mean, uncertainty = _compared(found, n, tuned)
        near = mean >= -NEAR
        near_enough = mean + uncertainty >= -NEAR
        kind = "within" if near else "within one standard error of that" if near_enough else "further away"
        where[kind].append(str(n))
    told = [f"{kind} at {', '.join(nodes)} nodes" for kind, nodes in where.items() if nodes]
    return f"Not more than 5·10⁻⁴ below *{tuned}*: {'; '.join(told)}."


def defaults_section(documents: Documents) -> list[str]:
    """Defaults beside what tuning finds."""
    tables = _samples_of(documents, "defaults")
    if not tables:
        return []
    lines = [
        "## Defaults", "",
        "`ShadowClassifier` with its defaults against the same with weight decay (the rule, .02 to 2), "
        "learning rate (.3, 1, 3 times the default), batch (½, 1, 2) and epochs (½, 1, 2) chosen for each "
        "budget, one after the other, by the AUC on a quarter of the training rows (of several classes, the "
        "mean over classes of each against the others). Every seed has another quarter but on the jets. "
        "Then they are tested; *tuned in as many epochs* leaves the last choice out. Differences are "
        "taken seed by seed. With the noisy labels every seed has "
        f"{samples.NOISY_ROWS:,} training rows of its own, and {samples.NOISY_TEST:,} test rows are the "
        "same. The digits and the breast cancer rows are split anew for each seed, training and test part, "
        "so that what was chosen with the other seeds has seen some of the test rows, which favours the "
        "tuned.", "",
    ]  # fmt: skip
    for sample, records in tables.items():
        found = Results(sample, records, list(DEFAULTS), table="defaults")
        rows = []
        others = [m for m in found.methods if m != "default"]
        for n in found.nodes:
            option = next(r["option"] for r in found.tests if (r["method"], r["nodes"]) == ("tuned", n))
            cells = [mean_error(found.values(m, n), 5) for m in found.methods]
            for tuned in others:
                mean, uncertainty = _compared(found, n, tuned)
                cells.append(f"{1e4 * mean:+.1f} ± {1e4 * uncertainty:.1f}")
            rows.append([str(n), *cells, option])
        tried = len({r["seed"] for r in records if r["stage"] == "validation"})
        tested = len({r["seed"] for r in found.tests})
        lines += [f"{TITLES[sample]}, chosen with {tried} seeds, tested with {tested}:", ""]
        less = [f"default minus {tuned}, 10⁻⁴" for tuned in others]
        lines += markdown(["nodes", *found.methods, *less, "tuned"], rows)
        for tuned in others:
            lines += [_within(found, tuned), ""]
    return lines


ABOUT = {
    "jets": "40-64-64-64-64-1, 97,687 training and 52,313 test jets of the package, 30 epochs.",
    "generated": "The same network on 300,000 jets, those of `generate(a, 150_000, seed=1)`, of which the "
    "jets of the package are a copy in fewer digits, and of `generate(b, 150_000, seed=2)`: 195,032 to train "
    "on and 104,968 to test on, as the files split them, 30 epochs. Fewer methods.",
    "flavour": "40-64-32-32-5 on jets of the package: light, charm, one b, two b's, Higgs; at most 7,650 "
    "training jets "
    "of a class.",
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
        left.set_ylabel(_name(found))
        right.set_ylabel(f"{_name(found)} below that of the shadow, $10^{-4}$")
        left.legend(loc="lower right")
        figure.savefig(path, dpi=120)


def documents_in(folder: Path) -> Documents:
    """Records of every table and sample that has test runs, or is there to choose rules by."""
    every = (*samples.SAMPLES, samples.NOISY, *samples.SUBSETS)
    found = {
        (table, sample): read(path_of(folder / FOLDER, sample, table)) for table in TABLES for sample in every
    }
    stages = {name: "validation" if name[0] == "rules" else "test" for name in found}
    return {name: some for name, some in found.items() if any(r["stage"] == stages[name] for r in some)}


def run(folder: Path) -> None:
    """Write page and plot."""
    documents = documents_in(folder)
    with written(folder / PAGE) as path:
        path.write_text(page(documents), encoding="utf-8")
    if jets := documents.get(("methods", "jets")):
        with written(folder / PLOT) as path:
            draw(Results("jets", jets), path)
