"""The pages of the study of methods: what they say, and that they say what the files say."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the package

from benchmarks.method import defaults, methods, report, samples  # noqa: E402
from benchmarks.method.results import Results, documents_in, mean_error  # noqa: E402


def test_what_is_said_of_the_defaults():
    def record(method, nodes, seed, auc):
        return {"stage": "test", "method": method, "nodes": nodes, "seed": seed, "auc": auc, "accuracy": None}

    records = []
    for nodes, differences in ((128, (0.0, 0.0)), (38, (-4e-4, -5e-4)), (12, (-9e-4, -8e-4))):
        for seed, difference in enumerate(differences):
            records += [
                record("default", nodes, seed, 0.9 + difference),
                record("tuned", nodes, seed, 0.9),
            ]
    found = Results("digits", records, ["default", "tuned"], table="defaults")
    *_, row, _ = defaults.nearness_table([found])
    assert row == "| Digits: tuned | +0.0 ± 0.0 | -4.5 ± 0.5 | *-8.5 ± 0.5* |"


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (
            "digits",
            "Digits, ten classes, AUC, 3 test parts, chosen for each on 5 splits, tested with 4 seeds:",
        ),
        ("flavour", "Flavour of jets, five classes, AUC, chosen with 15 seeds, tested with 4:"),
    ],
)
def test_what_is_said_of_the_choice(sample, said):
    """The setting of most test parts, and of how many, where they differ."""
    run = {"method": "tuned", "auc": 0.9}
    settings = [("decay=0.5",) * 3] + [("decay=0.2", "decay=rule", "decay=0.2")] * (sample == "digits")
    records = [run | {"stage": "validation", "seed": s, "nodes": 38, "option": ""} for s in range(15)]
    records += [
        run | {"stage": "test", "seed": seed, "nodes": nodes, "option": of_part[part]}
        for nodes, of_part in zip((38, 12), settings, strict=False)
        for part, seed in ((0, 0), (1, 1), (2, 2), (1, samples.REPEATED["digits"] + 1))
    ]
    lines = defaults.sample_section(Results(sample, records, ["tuned"], table="defaults"))
    assert lines[0] == said
    ends = [line.split(" | ")[-1] for line in lines[4:-1]]
    assert ends == ["decay=0.5 |"] + ["decay=0.2 (2 of 3 parts) |"] * (sample == "digits")


def test_what_is_said_of_the_methods():
    """The strongest of the others of each size, none with twice the epochs, and how sure the lead is."""
    levels = {"uniform": (0.0, 3e-4), "random one cut": (2e-4, 0.0), "Taylor one cut 2x epochs": (9e-4, 9e-4)}
    ahead = {25: {"shadow default": (2e-4, 4e-4), "path": (-2e-4, -4e-4)}, 12: {}}
    records = []
    for column, nodes in enumerate((25, 12)):
        for method in ("shadow default", "path", *levels):
            for seed in range(2):
                more = ahead[nodes].get(method, (0, 0))[seed] + levels.get(method, (2e-4, 3e-4))[column]
                records.append(
                    {"stage": "test", "method": method, "nodes": nodes, "seed": seed, "auc": 0.9 + more}
                )
    found = Results("jets", records)
    assert [report.strongest(found, n) for n in (25, 12)] == ["random one cut", "uniform"]
    *_, default, path, best, _ = report.summary_table([found])
    assert default.endswith(": shadow default | **+3.0 ± 1.0** | +0.0 ± 0.0 |")
    assert path.endswith(": path | *-3.0 ± 1.0* | +0.0 ± 0.0 |")
    assert best == "| which that is | random one cut | uniform |"
    ours = [r for r in records if r["method"] in report.OWN]
    assert report.summary_table([Results("jets", ours)])[-2] == "| which that is | – | – |"
    of_path = report.difference_table(found, "path")
    assert [line.split(" |")[0] for line in of_path[2:-1]] == [
        f"| {m}" for m in methods.METHODS if m in levels
    ]


def test_differences_are_paired():
    def record(method, seed, auc):
        return {"stage": "test", "method": method, "nodes": 12, "seed": seed, "auc": auc}

    found = Results(
        "jets",
        [record("shadow default", s, 0.9 + 0.1 * s) for s in range(3)]
        + [record("uniform", s, 0.89 + 0.1 * s + 0.001 * (s == 1)) for s in range(3)],
    )
    mean, uncertainty = found.difference("uniform", 12)
    assert mean == pytest.approx((0.01 + 0.009 + 0.01) / 3)
    assert uncertainty == pytest.approx(np.std([0.01, 0.009, 0.01], ddof=1) / 3**0.5)
    assert mean_error({0: 0.9, 1: 0.9002}, 5) == ".90010 ± .00010"


def test_time_of_a_path_is_beside_a_run_for_each_budget():
    def record(method, nodes, seed, seconds):
        return {
            "stage": "test", "method": method, "nodes": nodes, "seed": seed, "seconds": seconds, "auc": 0.9,
        }  # fmt: skip

    records = [record("shadow default", n, s, 1.0 + s) for n in (9, 6, 3) for s in range(3)]
    assert report.time_of_path(Results("digits", records)) == []
    records += [record("path", n, s, t) for n in (9, 6, 3) for s, t in enumerate((1.5, 2.4, 3.6))]
    (said, _) = report.time_of_path(Results("digits", records))
    assert "takes .40 of the processor time of the 3 runs of" in said and "; .40 to .50)" in said


def test_dead_networks_are_left_out_and_counted():
    def record(method, seed, auc):
        return {
            "stage": "test", "method": method, "nodes": 12, "seed": seed, "seconds": 1.0, "auc": auc,
            "own": None, "widths": "4-6-6-1",
        }  # fmt: skip

    records = [record("shadow default", s, 0.9 + 0.01 * s) for s in range(3)]
    records += [record("uniform", s, auc) for s, auc in enumerate((0.88, 0.5, 0.89))]
    found = Results("jets", records)
    assert found.values("uniform", 12) == {0: 0.88, 2: 0.89}
    assert found.difference("uniform", 12) == pytest.approx((0.025, 0.005))
    assert Results("jets", records, ("uniform",), "defaults").values("uniform", 12)[1] == 0.5
    cells = {row.split("|")[1].strip(): row.split("|")[2:4] for row in report.cost_table(found) if "-" in row}
    assert cells["shadow default"] == [" 3 ", " – "]
    assert cells["uniform"] == [" 3 ", " 1 "]


def test_published_page_is_what_was_measured():
    documents = documents_in(ROOT / "docs")
    assert ("methods", "jets") in documents
    for of in (report, defaults):
        assert (ROOT / "docs" / of.PAGE).read_text(encoding="utf-8") == of.page(documents)
    for records in documents.values():
        assert all(r["kept"] == r["nodes"] for r in records)
