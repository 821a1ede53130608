"""The benchmarks: peers do equal work, a peer that does not is found out, the page says what was measured."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the package

from benchmarks import inference, instructions, machine, peak, report, tables, training, whole  # noqa: E402
from benchmarks.peers import Entry, by_hand, make_task, mean_loss, ours, scikit  # noqa: E402
from benchmarks.predictors import Line  # noqa: E402
from benchmarks.trainee import Sample  # noqa: E402
from benchmarks.workers import Unavailable, Worker  # noqa: E402
from shadowprune import Network, losses  # noqa: E402

BINARY, CLASSES = (6, 9, 5, 1), (6, 9, 5, 4)


@pytest.mark.parametrize("widths", [BINARY, CLASSES])
def test_mean_loss_is_that_of_the_losses_module(widths):
    task = make_task(widths, 16, 300)
    z = Network.from_params(widths, task.params).forward(task.x)
    loss = losses.binary_crossentropy if widths[-1] == 1 else losses.categorical_crossentropy
    assert mean_loss(task, task.params) == pytest.approx(loss(z, task.target())[0], rel=1e-6)


@pytest.mark.parametrize("widths", [BINARY, CLASSES])
@pytest.mark.parametrize("peer", [by_hand.ByHand, scikit.MLP])
def test_peers_do_equal_work(widths, peer):
    task = make_task(widths, 16, 480)
    order = np.random.default_rng(3).permutation(480).astype(np.int32)
    found = []
    for one in (ours.Plain(1), peer(1)):
        one.start(task)
        one.train(order)
        found.append(one.params())
    assert np.abs(found[0] - task.params).max() > 0.01  # something was learnt
    np.testing.assert_allclose(found[1], found[0], atol=2e-4)


class Playback:
    """In place of a worker: says what it was told to say."""

    def __init__(self, loss, seconds):
        self.loss, self.seconds = loss, iter(seconds)

    def ask(self, method, *arguments):
        if method == "start":
            return self.loss
        return None if method == "warm" else Sample(next(self.seconds), peak=100.0, idle=0.0)


def test_other_work_is_no_peer():
    task = make_task(BINARY, 16, 64)
    honest, lazy = Entry("shadowprune", "-"), Entry("lazy", "-")
    workers = {(honest, 1): Playback(0.5, [1.0]), (lazy, 1): Playback(0.501, [0.1])}
    with pytest.raises(RuntimeError, match=r"lazy with 1 threads has loss 0\.501"):
        training.measure(task, workers, 64, 1)


def test_ratios_and_percentages_by_hand():
    task = make_task(BINARY, 16, 64)  # 6*9+9 + 9*5+5 + 5*1+1 = 119 parameters
    ours_, theirs = Entry("shadowprune", "-"), Entry("theirs", "-", trainings=2)
    workers = {
        (ours_, 1): Playback(0.5, [1e-6, 2e-6, 4e-6]),
        (theirs, 1): Playback(0.5, [6e-6, 16e-6, 4e-6]),
    }
    case = training.Case("paper", BINARY, (16,))
    first, second = training.summarise(case, task, 64, training.measure(task, workers, 64, 3))
    assert first["gflop_per_s"] == pytest.approx(6 * 119 * 64 / 1e-6 / 1e9)
    assert first["percent_of_peak"] == pytest.approx(6 * 119 * 64 / 1e-6 / 1e9)  # the peak is 100 GFLOP/s
    assert first["percent_of_peak_median"] == pytest.approx(6 * 119 * 64 / 2e-6 / 1e9)
    assert second["seconds_min"] == pytest.approx(2e-6)  # two trainings at a time
    assert (second["ours_faster_min"], second["ours_faster_median"]) == pytest.approx((2.0, 3.0))


class Probe:
    """What a worker's process looks like from inside."""

    def __init__(self, refuse=None):
        if refuse:
            raise Unavailable(refuse)

    def surroundings(self):
        return (
            os.getpid(),
            sorted(os.sched_getaffinity(0)),
            {name: os.environ.get(name) for name in machine.THREADS},
        )

    def fail(self):
        raise ZeroDivisionError("on purpose")


def test_worker_is_pinned_and_keeps_the_environment(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    with Worker(f"{__name__}:Probe", threads=1, variables={"OMP_NUM_THREADS": "7"}) as worker:
        pid, cpus, variables = worker.ask("surroundings")
        assert pid != os.getpid()
        assert cpus == machine.processors()[-1:]
        assert variables == dict.fromkeys(machine.THREADS, "1") | {"OMP_NUM_THREADS": "7"}
        with pytest.raises(RuntimeError, match="on purpose"):
            worker.ask("fail")
        assert worker.ask("surroundings")[0] == pid  # an error does not end it
    assert not worker.process.is_alive()
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"
    assert "OPENBLAS_CORETYPE" not in machine.environment(1)


def test_worker_says_what_is_missing():
    with pytest.raises(Unavailable, match="no such thing"):
        Worker(f"{__name__}:Probe", "no such thing", threads=1)
    with pytest.raises(Unavailable, match="nowhere_to_be_found"):
        Worker("nowhere_to_be_found:Probe", threads=1)
    with pytest.raises(Unavailable, match="9999 threads"):
        Worker(f"{__name__}:Probe", threads=9999)


@pytest.mark.parametrize("width", [16, 32, 64])
def test_peak_loop_computes_every_chain(tmp_path, width):
    loop = peak.Peak(peak.build(tmp_path), width)
    expected = width / 4 * sum(0.5 * k + 0.25 for k in range(peak.CHAINS))
    assert loop.loop(1, 0.5, 0.25, loop.start) == pytest.approx(expected)
    assert loop.measure() > 0


def test_guard_complains_of_more_instructions_only():
    stored = {"training": 1000, "forward": 1000}
    assert instructions.compare({"training": 1030, "forward": 500}, stored, 0.03) == []
    (complaint,) = instructions.compare({"training": 1031, "forward": 1000}, stored, 0.03)
    assert complaint.startswith("training: 1,031 instructions, +3.1%")
    assert instructions.compare({"new": 1}, stored, 0.03) == ["new: nothing stored"]


def test_guard_covers_what_is_stored():
    from benchmarks.counted import calls
    from shadowprune import _core

    assert list(calls(_core)) == list(json.loads(instructions.STORED.read_text())["instructions"])


def test_tables_are_whole(tmp_path):
    records = [{"peer": "a", "x": 1 / 3, "seconds": [0.1, 0.2]}, {"peer": "b", "x": None, "seconds": [0.3]}]
    tables.save(tmp_path, "training", {"processor": "p"}, records)
    rounded = [records[0] | {"x": 0.333333}, records[1]]
    assert tables.load(tmp_path, "training") == ({"processor": "p"}, rounded)
    with open(tmp_path / "training.csv", newline="") as stream:
        assert list(csv.DictReader(stream)) == [{"peer": "a", "x": "0.333333"}, {"peer": "b", "x": ""}]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["training.csv", "training.json"]


def test_inference_is_against_the_first_predictor():
    task = make_task(BINARY, 1, 10)
    samples = {
        Line("ours", "-"): [(1e-6, 100.0), (2e-6, 50.0)],
        Line("theirs", "-"): [(4e-6, 100.0), (4e-6, 50.0)],
    }
    first, second = inference.summarise("original", task, "logits", 10, samples)
    assert first["us_per_call"] == pytest.approx(1.0)
    assert first["mrow_per_s"] == pytest.approx(10.0)
    assert first["percent_of_peak"] == pytest.approx(2 * 119 * 10 / 1e-6 / 1e9)
    assert (second["ours_faster_min"], second["ours_faster_median"]) == pytest.approx((4.0, 3.0))


def test_whole_compares_times_of_one_repetition():
    ours_ = whole.summarise("p", "ours", 0.3, 76, [whole.Outcome(s, 76, 0.9) for s in (1.0, 2.0, 4.0)])
    theirs = whole.summarise(
        "p", "theirs", 0.3, 76, [whole.Outcome(s, n, 0.8) for s, n in ((3.0, 90), (8.0, 76), (20.0, 90))]
    )
    whole.against(ours_, theirs)
    assert theirs["ratio"] == pytest.approx(4.0)
    assert (ours_["nodes_kept"], theirs["nodes_kept"]) == ("76", "76/90")
    assert theirs["seconds_median"] == 8.0


def test_whole_names_the_budget_it_misses():
    """The page shows asked and kept side by side, whatever a pruner arrives at."""
    machine_ = {
        "processor": "p",
        "processor_family": "f",
        "processors": 1,
        "instruction_set": "i",
        "system": "s",
        "python": "3",
        "compiler": "c",
        "versions": {"numpy": "2"},
        "kernels": {},
        "date": "d",
        "command": "python -m benchmarks",
        "load_at_start": 0.0,
    }
    records = [whole.summarise("one training", "theirs", 0.3, 76, [whole.Outcome(1.0, 90, 0.8)])]
    assert "| 76 (30 %) | theirs | 90 | 1.00 | 0.80000 | – | – |" in report.page(
        {"whole": (machine_, records)}
    )


def test_published_page_is_what_was_measured():
    found = {part: tables.load(ROOT / "docs" / report.FOLDER, part) for part in report.PARTS}
    assert found["training"] and found["inference"] and found["whole"]
    documents = {part: document for part, document in found.items() if document is not None}
    assert (ROOT / "docs" / report.PAGE).read_text(encoding="utf-8") == report.page(documents)
