"""The page and the plots, from what was saved: nothing is measured here, and no figure is typed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from shadowprune._files import written

from . import tables
from .peers import OURS
from .tables import Record

FOLDER = "benchmarks"  # of the CSV and JSON files, beside the page
PLOT, CURVE, PAGE = "benchmark.png", "benchmark_widths.png", "benchmarks.md"
PARTS = ("training", "inference", "whole", "footprint")
AVX2 = f"{OURS}, AVX2"

STYLES = {  # peer -> colour (Okabe and Ito), marker
    OURS: ("#000000", "o"),
    AVX2: ("#000000", "s"),
    "JAX jit + scan": ("#0072B2", "^"),
    "Keras 3 on JAX": ("#56B4E9", "v"),
    "PyTorch eager": ("#E69F00", "<"),
    "PyTorch fused Adam": ("#D55E00", "D"),
    "PyTorch compile, fused": ("#CC79A7", ">"),
    "NumPy by hand": ("#009E73", "P"),
    "scikit-learn": ("#888888", "X"),
}
TORCH = STYLES["PyTorch fused Adam"][0]


def cell(value: float | None, digits: int = 2) -> str:
    """A number for a table; "–" where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def pivot(records: Sequence[Record], row: str, column: str, show: Callable[[Record], str]) -> list[str]:
    """A table of one column per value of `column`, in the order they come in."""
    columns = list(dict.fromkeys(r[column] for r in records))
    rows: dict[str, dict[Any, str]] = {}
    for r in records:
        rows.setdefault(r[row], {})[r[column]] = show(r)
    body = ([name, *(cells.get(c, "–") for c in columns)] for name, cells in rows.items())
    return markdown([f"{column.replace('_', ' ')}", *map(str, columns)], body)


def _machine(about: Record) -> list[str]:
    packages = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    chosen = ", ".join(f"{name} {kernel}" for name, kernel in about["kernels"].items())
    return [
        f"{about['processor']} ({about['processor_family']}), {about['processors']} processors, kernels for "
        f"{about['instruction_set']}; {about['system']}, Python {about['python']}, "
        f"{about['compiler']}; {packages}. "
        f"Kernels chosen by the libraries: {chosen}. "
        f"Measured {about['date']} with `{about['command']}`, load average "
        f"{about['load_at_start']} at the start. {about.get('remark', '')}".rstrip(),
        "",
    ]


def _training(records: Sequence[Record]) -> list[str]:
    lines = [
        "## Training",
        "",
        "Float32, ReLU, cross-entropy from logits, Adam. All peers begin with the same weights "
        "and see the same "
        "batches, and before the clock starts their weights after some steps must give the same loss.",
        "",
    ]
    paper = [r for r in records if r["case"] == "paper"]
    for threads in (1, 2):
        every = [r for r in paper if r["threads"] == threads]
        if not every:
            continue
        some = [r for r in every if r["ours_faster_median"] is not None]  # not: two trainings at once
        count = "one thread" if threads == 1 else f"{threads} threads"
        lines += [f"### 40-64-64-64-64-1, {count}", "", "Millions of rows per second (best repetition):", ""]
        lines += pivot(every, "peer", "batch_size", lambda r: cell(r["mrow_per_s"]))
        lines += [
            "How many times as long as shadowprune takes (median over repetitions, each against "
            "ours of the same one):",
            "",
        ]
        lines += pivot(some, "peer", "batch_size", lambda r: cell(r["ours_faster_median"]))
        lines += ["Percent of the FMA peak (median; best repetition over best peak in brackets):", ""]
        share = [
            r for r in some if r["peer"].startswith(OURS) or r["peer"].startswith(("JAX", "PyTorch fused"))
        ]
        lines += pivot(
            share,
            "peer",
            "batch_size",
            lambda r: f"{r['percent_of_peak_median']:.0f} ({r['percent_of_peak']:.0f})",
        )
    one = {r["batch_size"]: r for r in paper if r["threads"] == 1 and r["peer"] == OURS}
    two = {r["batch_size"]: r for r in paper if r["threads"] == 2 and r["peer"] == OURS}
    pair = {r["batch_size"]: r for r in paper if r["threads"] == 2 and r["peer"].endswith("side by side")}
    if pair:
        lines += ["### Two processors", "", "Speed as a multiple of one training with one thread:", ""]
        rows = []
        for name, which in (("two threads in one training", two), ("two trainings side by side", pair)):
            if which:
                rows.append(
                    [name, *(cell(which[b]["mrow_per_s"] / one[b]["mrow_per_s"]) for b in one if b in which)]
                )
        lines += markdown(["batch size", *map(str, one)], rows)
    busy = [r for r in records if r["case"] == "paper, busy processors"]
    if busy:
        lines += [
            "The same while another process keeps each processor busy, millions of rows per second (median):",
            "",
            *pivot(
                [r | {"by": f"{r['threads']} thread{'s' * (r['threads'] > 1)}"} for r in busy],
                "by",
                "batch_size",
                lambda r: cell(r["rows"] / r["seconds_median"] / 1e6),
            ),
        ]
    wider = [r for r in records if r["case"] in ("4x256", "4x512", "jet tagger")]
    if wider:
        lines += [
            "### Other networks",
            "",
            "The jet tagger is 16-64-32-32-5 with a softmax.",
            "",
            *markdown(
                ["network", "batch", "threads", "peer", "Mrow/s", "% of peak", "x ours"],
                (
                    [
                        r["case"],
                        str(r["batch_size"]),
                        str(r["threads"]),
                        r["peer"],
                        cell(r["mrow_per_s"], 3),
                        cell(r["percent_of_peak_median"], 0),
                        cell(r["ours_faster_median"]),
                    ]
                    for r in wider
                ),
            ),
        ]
    if any(r["case"].startswith("width ") for r in records):
        lines += [
            "### Width",
            "",
            "Four hidden layers of equal width, odd ones among them, batch 1024, one thread; "
            "each against the peak of "
            "the instruction set it uses (libraries: of the machine).",
            "",
            f"![Percent of the FMA peak against layer width]({CURVE})",
            "",
        ]
    return lines


def _inference(records: Sequence[Record]) -> list[str]:
    lines = [
        "## Inference",
        "",
        "One thread. A NumPy array goes in and one comes out. The 30 % network is "
        + next((r["widths"] for r in records if r["model"] != "original"), "")
        + ".",
        "",
    ]
    for what in dict.fromkeys(r["what"] for r in records):
        some = [r for r in records if r["what"] == what]
        lines += [
            f"### {what.capitalize()}",
            "",
            *markdown(
                ["network", "rows", "who", "µs per call", "(median)", "% of peak", "x ours"],
                (
                    [
                        r["model"],
                        f"{r['rows']:,}",
                        r["peer"],
                        cell(r["us_per_call"]),
                        cell(r["us_per_call_median"]),
                        cell(r["percent_of_peak_median"], 0),
                        cell(r["ours_faster_median"]),
                    ]
                    for r in some
                ),
            ),
        ]
    return lines


def _whole(records: Sequence[Record]) -> list[str]:
    def rows(part: str) -> list[Record]:
        return [r for r in records if r["part"] == part]

    lines = [
        "## The whole method",
        "",
        "On the embedded jets, 30 epochs altogether for everybody, batch 512, AdamW, the same "
        "learning-rate and "
        "weight-decay rules, one thread. PyTorch trains for 15 epochs, prunes by magnitude over "
        "all layers with "
        "torch-pruning, and fine-tunes for 15; the nodes it keeps are those it arrived at.",
        "",
        *markdown(
            ["nodes asked", "who", "nodes kept", "seconds", "AUC", "± between seeds", "x ours"],
            (
                [
                    f"{r['nodes_asked']} ({100 * r['fraction']:.0f} %)",
                    r["who"],
                    r["nodes_kept"],
                    cell(r["seconds_median"]),
                    cell(r["auc"], 5),
                    cell(r["auc_spread"], 5),
                    cell(r["ratio"]),
                ]
                for r in rows("one training")
            ),
        ),
    ]
    for r in rows("against the original"):
        if r["fraction"] != 1:
            lines += [
                f"Our one-shot training to {100 * r['fraction']:.0f} % takes {r['ratio']:.2f} of "
                f"the time of our "
                "training of the original network for as many epochs: what is closed is no longer computed.",
                "",
            ]
    if rows("figure 1"):
        lines += [
            "### Figure 1",
            "",
            "Eight budgets with five seeds and the retrained layouts, their tests included, every network "
            "by a training of its own or all below the original from one path a seed (`figure1 --path`), "
            "against PyTorch training the five original networks only; all processors both.",
            "",
            *markdown(
                ["who", "seconds (best)", "(median)", "x ours"],
                (
                    [r["who"], cell(r["seconds_min"], 1), cell(r["seconds_median"], 1), cell(r["ratio"])]
                    for r in rows("figure 1")
                ),
            ),
        ]
    return lines


def _footprint(records: Sequence[Record]) -> list[str]:
    return [
        "## Footprint",
        "",
        "In a new interpreter. Memory is the greatest resident size so far: after the import, "
        "and after an epoch over "
        "16,384 rows with the paper network. On disk: the package, and with all it requires. "
        "shadowprune imports scikit-learn only when an estimator is first used, which then costs what "
        "the line of scikit-learn says; the training here is that of the core.",
        "",
        *markdown(
            [
                "library",
                "import, s",
                "MiB after it",
                "MiB, training",
                "MB on disk",
                "with requirements",
                "wheel, MB",
            ],
            (
                [
                    r["library"],
                    cell(r["import_seconds_median"]),
                    cell(r["import_mib"], 0),
                    cell(r["training_mib"], 0),
                    cell(r["own_mb"], 1),
                    cell(r["with_requirements_mb"], 0),
                    cell(r["wheel_mb"], 1),
                ]
                for r in records
            ),
        ),
    ]


SECTIONS = {"training": _training, "inference": _inference, "whole": _whole, "footprint": _footprint}

INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks --out docs` from the files in [{folder}]({folder}): the CSV files hold these
numbers, the JSON files every single repetition. `make bench` measures on your machine.

How it is measured. Each library and each number of threads has a process of its own, pinned to as many
processors as it has threads; one works at a time. Repetitions are interleaved (A B C A B C), for the clock
drifts, and a ratio compares times of one repetition; both minimum and median are stored. The FMA peak is
measured by a C loop of twelve independent multiply-add chains ([peak.c](../benchmarks/peak.c)) before and
after each repetition, in the same process; that of two threads is twice as much. A training step is counted
as six operations per parameter and row, inference as two; the gradient of the inputs, which nobody
computes, is among them by custom, so of the 40-64-64-64-64-1 network's counted operations 93 % are done.

What flatters whom. NumPy's and PyTorch's BLAS choose their kernels by the processor they recognise; which
ones, stands below. PyTorch eager pays for Python at every step, which is how it is used; `torch.compile`
and JAX's `jit` pay once, before the clock starts. Keras gets the rows in order, shuffled within the clock,
as everybody. The time JAX and `torch.compile` need to compile is not counted.
"""

CLOSING = """## Keeping it so

`make guard` counts the instructions the C core executes for fixed pieces of work (callgrind, AVX2 kernels)
and fails if one grew by more than 3 % over [instructions.json](../benchmarks/instructions.json); such a
count does not depend on how busy the machine is, and runs in CI.
`python -m benchmarks.instructions --update` stores new ones.
[test_speed.py](../benchmarks/test_speed.py) keeps a history of times with pytest-benchmark; its first lines
say how.
"""


def page(documents: dict[str, tuple[Record, list[Record]]]) -> str:
    """The page, from the documents by name."""
    lines = [INTRODUCTION.format(folder=FOLDER)]
    about: Record | None = None
    for part in PARTS:
        if part not in documents:
            continue
        machine, records = documents[part]
        section = SECTIONS[part](records)
        if machine != about:
            section[1:1] = ["", *_machine(machine)[:-1]]
            about = machine
        lines += section
    lines.append(CLOSING)
    if "training" in documents:
        lines.insert(1, f"![Training speed and time of the whole method]({PLOT})\n")
    return "\n".join(lines).rstrip() + "\n"


def _lines(ax: Any, points: Callable[[str], list[tuple[float, float]]]) -> None:
    """One line per peer that has points."""
    for peer, (colour, marker) in STYLES.items():
        found = sorted(points(peer))
        if found:
            x, y = zip(*found, strict=True)
            dash = "--" if peer == AVX2 else "-"
            ax.plot(x, y, dash, marker=marker, color=colour, markersize=5, clip_on=False, label=peer)
    ax.grid(alpha=0.3)


def _speed(ax: Any, records: Sequence[Record]) -> None:
    some = [r for r in records if r["case"] == "paper" and r["threads"] == 1]
    _lines(ax, lambda peer: [(r["batch_size"], r["mrow_per_s"]) for r in some if r["peer"] == peer])
    batches = sorted({r["batch_size"] for r in some})
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlim(batches[0] / 1.3, batches[-1] * 1.3)
    ax.set_xticks(batches, [str(b) for b in batches], fontsize=11)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    low, high = ax.get_ylim()
    ax.set_yticks([t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if low < t < high])
    ax.set_xlabel("Batch size")
    ax.set_ylabel("Million rows per second")
    ax.set_title("Training 40-64-64-64-64-1, one thread", fontsize=12)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.17), ncols=3, fontsize=10, columnspacing=1)


def _bars(ax: Any, groups: Sequence[tuple[str, float | None, float | None]]) -> None:
    """Seconds of shadowprune and PyTorch, group by group."""
    for column, (colour, shift) in enumerate(((STYLES[OURS][0], -0.2), (TORCH, 0.2))):
        for place, group in enumerate(groups):
            seconds, at = group[1 + column], place + (0 if None in group else shift)
            if seconds is not None:
                ax.bar(at, seconds, 0.37, color=colour)
                ax.annotate(
                    f"{seconds:.3g}", (at, seconds), (0, 2), textcoords="offset points", ha="center",
                    fontsize=10,
                )  # fmt: skip
    ax.set_xticks(range(len(groups)), [name for name, _, _ in groups], fontsize=10)
    ax.tick_params(axis="x", which="both", length=0)
    ax.set_ylim(0, 1.12 * ax.get_ylim()[1])
    ax.set_xlim(-0.5, len(groups) - 0.5)


def _whole_axes(axes: Sequence[Any], records: Sequence[Record]) -> None:
    def seconds(who: str, part: str, fraction: float | None) -> float | None:
        found = [r for r in records if r["part"] == part and r["fraction"] == fraction]
        return min((r["seconds_median"] for r in found if r["who"].startswith(who)), default=None)

    def group(name: str, part: str, fraction: float | None) -> tuple[str, float | None, float | None]:
        return name, seconds(OURS, part, fraction), seconds("PyTorch", part, fraction)

    _bars(axes[0], [group(f"{100 * f:.0f} %", "one training", f) for f in (0.7, 0.3, 0.1)])
    axes[0].set_xlabel("Nodes to keep")
    axes[0].set_ylabel("Seconds")
    axes[0].set_title("30 epochs, one thread", fontsize=12)
    if len(axes) > 1:
        ours = [r["seconds_median"] for r in records if r["part"] == "figure 1" and r["who"].startswith(OURS)]
        theirs = seconds("PyTorch", "figure 1", None)
        names = ["all\nof it", "from\npaths"][: len(ours)]
        _bars(
            axes[1],
            [
                *((name, s, None) for name, s in zip(names, ours, strict=True)),
                ("originals\nonly", None, theirs),
            ],
        )
        axes[1].set_title("Figure 1, all cores", fontsize=12)
    axes[0].bar(0, 0, color=STYLES[OURS][0], label="shadowprune: one training")
    axes[0].bar(0, 0, color=TORCH, label="PyTorch: train, prune, fine-tune")
    axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=10)


def draw(directory: Path, documents: dict[str, tuple[Record, list[Record]]]) -> None:
    """The plots, as far as there are figures for them."""
    import matplotlib.figure

    from shadowprune.plots import style

    if "training" not in documents:
        return
    _, records = documents["training"]
    whole = documents.get("whole")
    with style():
        figure = matplotlib.figure.Figure(figsize=(12.5 if whole else 6.5, 5.2), layout="constrained")
        ratios = [5.0, 2.8] if whole else [5.0]
        if whole and any(r["part"] == "figure 1" for r in whole[1]):
            ratios.append(2.0)
        axes = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)
        _speed(axes[0, 0], records)
        if whole:
            _whole_axes(axes[0, 1:], whole[1])
        with written(directory / PLOT) as path:
            figure.savefig(path, dpi=150)

        widths = [r for r in records if r["case"].startswith("width ")]
        if len({r["case"] for r in widths}) < 3:
            return
        figure = matplotlib.figure.Figure(figsize=(7, 4.5), layout="constrained")
        ax = figure.subplots()
        _lines(
            ax,
            lambda peer: [
                (int(r["case"].split()[1]), r["percent_of_peak_median"]) for r in widths if r["peer"] == peer
            ],
        )
        ax.set_xlabel("Nodes in each of four hidden layers")
        ax.set_ylabel("% of the FMA peak")
        ax.set_xlim(0, None)
        ax.set_ylim(0, 100)
        ax.legend(fontsize=10)
        with written(directory / CURVE) as path:
            figure.savefig(path, dpi=150)


def run(out: Path) -> None:
    """Read what is in `out`, write the page and the plots there."""
    found = {part: tables.load(out / FOLDER, part) for part in PARTS}
    documents = {part: document for part, document in found.items() if document is not None}
    if not documents:
        raise FileNotFoundError(f"nothing was measured into {out / FOLDER} yet")
    with written(out / PAGE) as path:
        path.write_text(page(documents), encoding="utf-8")
    draw(out, documents)
    print(f"wrote {out / PAGE} and the plots beside it")
