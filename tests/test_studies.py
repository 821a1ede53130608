"""The parts of the studies in benchmarks/ that can be wrong without anybody noticing."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import sem
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the package

from benchmarks import inputs, jets, tables, variants, warm_start  # noqa: E402
from shadowprune.datasets import load_hbb  # noqa: E402


def records_of(name):
    return list(csv.DictReader((DOCS / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("digits", [1, 8])
def test_auc_and_its_error(rng, digits):
    """Against scikit-learn, with ties and without, and against a bootstrap of both classes."""
    y = np.arange(900) % 3 == 0
    score = np.round(rng.normal(size=900) + y, digits)
    auc, won, lost = warm_start.auc_components(y, score)
    assert auc == pytest.approx(roc_auc_score(y, score), abs=1e-12)
    assert lost.mean() == pytest.approx(auc)
    signal, background = score[y], score[~y]
    again = [
        warm_start.auc_components(
            np.sort(y)[::-1], np.concatenate([rng.choice(signal, 300), rng.choice(background, 600)])
        )[0]
        for _ in range(400)
    ]
    assert warm_start.auc_error(won, lost) == pytest.approx(np.std(again), rel=0.15)


@pytest.mark.parametrize("name", inputs.RANKINGS)
def test_rankings_put_what_matters_first(rng, name):
    X = rng.normal(size=(3000, 8)).astype(np.float32)
    y = (X[:, 2] - 0.8 * X[:, 5] + 0.3 * rng.normal(size=3000) > 0).astype(int)
    ranking = inputs.RANKINGS[name](X, y, 0)
    assert set(np.argsort(-ranking)[:2]) == {2, 5}


def test_l1_path_orders_by_entry(rng):
    X = rng.normal(size=(4000, 4)).astype(np.float32)
    y = (2 * X[:, 1] + X[:, 3] + 0.4 * X[:, 0] + rng.normal(size=4000) > 0).astype(int)
    assert np.argsort(-inputs.l1_path(X, y, 0)).tolist()[:3] == [1, 3, 0]


def test_samples_of_the_validation_never_hold_a_test_jet():
    (X, y), (X_held, y_held) = jets.samples(validation=True)
    train = load_hbb(subset="train")
    assert len(y) == 3 * len(train.target) // 4
    np.testing.assert_array_equal(np.concatenate([y, y_held]), train.target)
    np.testing.assert_array_equal(np.concatenate([X[:, 3], X_held[:, 3]]), train.data[:, 3])


def test_tables_and_figure(tmp_path):
    records = [
        {
            "method": m,
            "inputs": n,
            "seed": s,
            "auc": 0.9 + 0.001 * s,
            "rejection_50": 90.0,
            "rejection_70": 50.0,
        }
        for m, sizes in (("all inputs", [40]), *((m, [20, 5]) for m in ("shadow", *inputs.RANKINGS)))
        for n in sizes
        for s in range(2)
    ]
    lines = inputs.table(records)
    assert len(lines) == 1 + 1 + 2 * 4
    assert "0.90050 ± 0.00071" in lines[1]
    inputs.draw(records, tmp_path / "inputs.png")
    assert (tmp_path / "inputs.png").read_bytes()[:4] == b"\x89PNG"
    pruned = {"nodes": 128, "auc_start": 0.91, "auc": 0.9, "auc_error": 4e-4, "difference_error": 1e-4}
    pruned |= dict.fromkeys(
        ("rejection_50_start", "rejection_50", "rejection_70_start", "rejection_70"), 100.0
    )
    start, half = warm_start.table([pruned, pruned | {"auc": 0.902}])[1:]
    assert start.split()[:4] == ["256", "0.91000", "±", "0.00000"]
    assert half.split()[:7] == ["128", "0.90100", "±", "0.00141", "0.00900", "±", "0.00141"]
    runs = [
        {
            "method": m,
            "nodes_kept": n,
            "widths": [9, n, 1],
            "auc": 0.9,
            "rejection_50": 9.0 * n,
            "rejection_70": 5.0,
        }
        for n in (40, 8)
        for m in variants.METHODS
    ]
    assert [line.split()[:3] for line in variants.table(runs)[3:5]] == [
        ["40", "taylor", "0.90000"],
        ["8", "shadow", "0.90000"],
    ]
    variants.draw(runs, tmp_path / "variants.png")
    assert (tmp_path / "variants.png").read_bytes()[:4] == b"\x89PNG"
    tables.write_csv(tmp_path / "new" / "a.csv", ["nodes", "auc"], [{"nodes": 3, "auc": 0.5}])
    assert (tmp_path / "new" / "a.csv").read_text().split() == ["nodes,auc", "3,0.5"]


@pytest.mark.parametrize(
    ("study", "name", "heading"),
    [
        (inputs, "inputs", "Which inputs to keep"),
        (warm_start, "warm_start", "Pruning a network that PyTorch trained"),
        (variants, "variants", "Three ways to choose nodes"),
    ],
)
def test_the_page_has_the_numbers_of_the_csv_file(study, name, heading):
    records = [
        {
            key: float(value) if re.fullmatch(r"\d+(\.\d+)?(e-\d+)?", value) else value
            for key, value in row.items()
        }
        for row in records_of(name)
    ]

    def numbers(lines):
        found = re.findall(r"-?[\d.]+ ± [\d.]+", "\n".join(lines))
        return [re.sub(r"\b0\.(?=\d{5})", ".", one) for one in found]

    section = (
        (DOCS / "studies.md").read_text(encoding="utf-8").partition(f"## {heading}")[2].partition("\n## ")[0]
    )
    page = numbers(line for line in section.splitlines() if line.startswith("|"))
    assert page == numbers(study.table(records))


def lines_of_numbers(page):
    """Lines of its tables that begin with a number."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return text, [line for line in text.splitlines() if re.match(r"\| \d", line)]


def test_the_page_of_fixed_point_has_the_numbers_of_its_csv_files():
    page, found = lines_of_numbers("fixed_point.md")
    trained = {}
    for row in records_of("fixed_point_trained"):
        for column in ("auc", "rejection_50"):
            trained.setdefault((column, row["nodes"], row["precision"]), []).append(float(row[column]))
    assert {len(values) for values in trained.values()} == {5}
    precisions = ["auto:12", "auto:8", "fixed<8,3>", "auto:6"]
    lines = []
    for column, unit, digits in (("auc", 1e4, 1), ("rejection_50", 1, 0)):
        for nodes in ("256", "179", "128", "76", "25"):
            usual = np.array(trained[column, nodes, "float"])
            differences = [unit * (np.array(trained[column, nodes, other]) - usual) for other in precisions]
            cells = [f"{d.mean():+.{digits}f} ± {sem(d):.{digits}f}" for d in differences]
            first = f"{usual.mean():.5f}"[1:] if column == "auc" else f"{usual.mean():.0f}"
            lines.append(f"| {nodes} | {first} | {' | '.join(cells)} |")
    assert found == lines

    projects = records_of("fixed_point_bits")
    logits = sum(int(row["jets"]) for row in projects)
    assert f"{len(projects)} projects, **no logit of\n{logits:,} differs in any bit**" in page
    assert {row["mismatches"] for row in projects} == {"0"}


def test_the_page_of_firmware_has_the_numbers_of_its_csv_files():
    page, found = lines_of_numbers("firmware.md")
    lines = []
    for row in reversed(records_of("synthesis")):
        counts = [f"{int(row[c]):,}" for c in ("multiplications", "estimate", "yosys_luts")]
        more = [f"{int(row[c]):,}" for c in ("yosys_inverters", "yosys_flip_flops", "stages", "seconds")]
        cells = [
            f"{row['nodes']} ({100 * float(row['fraction']):.0f} %)",
            row["widths"][3:-2], *counts, row["estimate_over_yosys"], *more,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} s |")
    assert found == lines
    assert "0 everywhere" in page and {row["wrong"] for row in records_of("verification")} == {"0"}
