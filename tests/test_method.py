"""The study of methods: counts, conversions, gradients, choices, samples; and the quick mode."""

import dataclasses
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the package

from benchmarks.method import __main__ as command  # noqa: E402
from benchmarks.method import defaults, dense, gates, methods, pruning, report, samples, study  # noqa: E402
from benchmarks.method.results import Results  # noqa: E402
from shadowprune import Network, training  # noqa: E402
from shadowprune._defaults import WeightDecay  # noqa: E402
from shadowprune.datasets import load_hbb  # noqa: E402

LAYOUTS = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@pytest.fixture
def network(rng):
    found = Network([6, 9, 5, 7, 3], random_state=1)
    for b in found.biases:
        b[:] = rng.normal(size=b.shape)
    return found


@pytest.fixture
def data(rng):
    x = rng.normal(size=(300, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)
    rule = WeightDecay((6, 9, 5, 7, 3))
    return samples.Data(x, np.eye(3, dtype=np.float32)[y], x, y, (9, 5, 7), 3, 32, 0.005, rule)


@given(LAYOUTS, st.data())
@settings(max_examples=60, deadline=None)
def test_counts_are_exact(hidden, draw):
    count = draw.draw(st.integers(len(hidden), sum(hidden)))
    widths = dense.narrow(hidden, count)
    assert sum(widths) == count
    assert all(1 <= narrow <= width for narrow, width in zip(widths, hidden, strict=True))
    scores = np.random.default_rng(count).normal(size=sum(hidden))
    support = dense.best(scores, hidden, count)
    assert [len(mask) for mask in support] == hidden
    assert sum(mask.sum() for mask in support) == count
    assert min(mask.sum() for mask in support) >= 1
    # whatever is left out is worse than all that was taken for more than a layer's first node
    parts = np.split(scores, np.cumsum(hidden)[:-1])
    spare = [np.sort(part[mask])[:-1] for part, mask in zip(parts, support, strict=True)]
    out = np.concatenate([part[~mask] for part, mask in zip(parts, support, strict=True)])
    spare = np.concatenate(spare)
    assert not len(spare) or not len(out) or spare.min() >= out.max()


def test_narrow_keeps_proportions():
    assert dense.narrow((64, 64, 64, 64), 76) == [19, 19, 19, 19]
    assert dense.narrow((64, 32, 32), 8) == [4, 2, 2]
    assert dense.narrow((64, 2), 12) == [11, 1]


def test_steps_down_end_at_the_count():
    assert pruning.steps_down(256, 16, 4) == [128, 64, 32, 16]
    assert pruning.steps_down(256, 230, 5)[-1] == 230
    assert pruning.steps_down(10, 10, 3) == [10, 10, 10]


def test_to_torch_and_back(network, rng):
    import torch

    x = rng.normal(size=(50, 6)).astype(np.float32)
    model = pruning.to_torch(network)
    with torch.inference_mode():
        z = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(z, network.forward(x), rtol=1e-5, atol=1e-6)
    back = pruning.from_torch(model)
    assert back.widths == network.widths
    np.testing.assert_array_equal(back.params, network.params)


@pytest.mark.parametrize("p", [1, 2])
def test_magnitudes_are_those_of_torch_pruning(network, data, rng, p):
    """Its importance of a node: the mean over incoming and outgoing weights' sums of |w|^p."""
    wanted = [
        ((np.abs(into) ** p).sum(0) + (np.abs(out) ** p).sum(1)) / 2
        for into, out in pairwise(network.weights)
    ]
    found = pruning.importances(network, f"L{p}", False, data, rng)
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-5)
    found = pruning.importances(network, f"L{p}", True, data, rng)
    np.testing.assert_allclose(found, np.concatenate([w / w.mean() for w in wanted]), rtol=1e-5)


def test_taylor_is_weight_times_gradient(network, data):
    """300 rows are one batch: against this package's own backward pass."""
    from shadowprune import losses

    z = network.forward(data.x)
    _, dz = losses.categorical_crossentropy(z, data.target)
    gradient = Network.from_params(network.widths, network.backward(dz)[0])
    product = [np.abs(w * g) for w, g in zip(network.weights, gradient.weights, strict=True)]
    wanted = [(into.sum(0) + out.sum(1)) / 2 for into, out in pairwise(product)]
    found = pruning.importances(network, "Taylor", False, data, np.random.default_rng(0))
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-3, atol=1e-7)


def test_own_count_tells_what_torch_pruning_leaves(network):
    spread = np.arange(network.n_nodes, dtype=float) % 5 + np.arange(network.n_nodes) / 100
    assert pruning.own_count(network, spread, 11) == 11
    layer = np.repeat(np.arange(3.0), (9, 5, 7))  # all of a layer below the others: it cannot be taken off
    assert pruning.own_count(network, layer + np.arange(21) / 100, 7) > 7


def captured(found, dgates):
    """The gradient that a set of gates would step along."""
    seen = []
    found.moments.step = lambda x, gradient, rate: seen.append(gradient.copy())
    found.learn(dgates, 0.01)
    return seen[0]


def test_hard_concrete_gradient(rng):
    """Against finite differences of loss plus Lagrangian, with the same random numbers."""
    n, count = 12, 5
    found = gates.HardConcrete(n, count, rng)
    found.log_alpha = rng.normal(0, 1, n)
    found.multipliers = np.array([0.7, 2.0])
    towards = rng.normal(size=n)

    def value(log_alpha):
        found.log_alpha = log_alpha
        loss = towards @ found.open(1.0, np.random.default_rng(3))
        miss = found.probability().mean() - count / n
        return loss + found.multipliers @ np.array([miss, miss**2])

    at = found.log_alpha.copy()
    wanted = [
        (value(at + h) - value(at - h)) / 2e-6 for h in 1e-6 * np.eye(n)
    ]  # the clip's corners have probability zero
    value(at)
    np.testing.assert_allclose(captured(found, towards), wanted, rtol=1e-4, atol=1e-7)


def test_hard_concrete_comes_to_its_target(rng):
    """Without a loss the Lagrangian alone brings the expected number to the count."""
    found = gates.HardConcrete(40, 10, rng)
    for step in range(4000):
        found.open(step / 4000, rng)
        found.learn(np.zeros(40), 0.05)
    assert found.probability().sum() == pytest.approx(10, abs=2)


@pytest.mark.parametrize("progress", [0.0, 0.4])
def test_chipnet_gradient(rng, progress):
    n, count = 12, 5
    found = gates.ChipNet(n, count, rng, crispness=0.3, budget=30.0)
    found.psi = rng.normal(0, 0.5, n)
    towards = rng.normal(size=n)

    def value(psi):
        found.psi = psi
        z = found.open(progress, rng)
        t = 1 / (1 + np.exp(-found.sharp * psi))
        return towards @ z + 0.3 * ((t - z) ** 2).sum() + 30 * (z.mean() - count / n) ** 2

    at = found.psi.copy()
    wanted = [(value(at + h) - value(at - h)) / 2e-6 for h in 1e-6 * np.eye(n)]
    value(at)
    np.testing.assert_allclose(captured(found, towards), wanted, rtol=1e-4, atol=1e-6)


def test_options_are_chosen_round_by_round():
    method = methods.Method(None, ({"a": (1.0, 2.0), "b": (True, False)}, {"decay": (dense.RULE, 0.2)}))
    first = method.options([])
    assert first[0] == {"a": 1.0, "b": True, "decay": dense.RULE} and len(first) == 4
    second = method.options([{"a": 2.0, "b": False, "decay": dense.RULE}])
    assert second == [{"a": 2.0, "b": False, "decay": d} for d in (dense.RULE, 0.2)]
    assert method.options([first[0], second[1]]) is None
    for one in methods.METHODS.values():
        for option in one.options([]) or []:
            assert methods.option_of(methods.name_of(option)) == option


def test_the_best_on_the_validation_rows_is_tested(monkeypatch):
    monkeypatch.setitem(methods.METHODS, "m", methods.Method(None, ({"decay": (dense.RULE, 0.2)},)))
    plan = study.Plan("jets", ["m"], (0.3,), seeds=2)

    def record(decay, seed, auc, stage="validation"):
        return {
            "stage": stage,
            "method": "m",
            "nodes": 76,
            "option": f"decay={decay}",
            "seed": seed,
            "auc": auc,
        }

    records = [record("rule", 0, 0.9), record("rule", 1, 0.9), record("0.2", 0, 0.95)]
    assert study.jobs(plan, "validation", records) == [study.Job("validation", "m", 1, ((76, "decay=0.2"),))]
    assert study.jobs(plan, "test", records) == []
    records += [record("0.2", 1, 0.84), record("0.2", 0, 0.99, stage="test")]
    assert study.jobs(plan, "validation", records) == []
    assert study.jobs(plan, "test", records) == [
        study.Job("test", "m", seed, ((76, "decay=rule"),)) for seed in (0, 1)
    ]


def test_seeds_with_test_rows_of_their_own_choose_alone(monkeypatch):
    monkeypatch.setitem(methods.METHODS, "m", methods.Method(None, ({"decay": (dense.RULE, 0.2)},)))
    plan = study.Plan("digits", ["m"], (0.3,), seeds=2)
    splits = [range(3), range(5, 8)]
    assert plan.choices() == splits == [plan.tuning_seeds(seed) for seed in (0, 1)]
    assert dataclasses.replace(plan, sample="flavour").choices() == [range(2)]
    assert dataclasses.replace(plan, table="defaults", seeds=None).choices()[-1] == range(115, 120)
    run = {"method": "m", "nodes": 38, "stage": "validation"}
    records = [
        run | {"option": f"decay={decay}", "seed": seed, "accuracy": 0.9, "auc": 0.9}
        for decay in ("rule", 0.2)
        for choice in splits
        for seed in choice
    ]
    for r in records:  # what the first seed likes the second does not; its last split is yet to come
        r["accuracy"] += 0.01 if (r["seed"] < 5) == (r["option"] == "decay=0.2") else 0.0
    (last,) = study.jobs(plan, "validation", records[:-1])
    assert last == study.Job("validation", "m", 7, ((38, "decay=0.2"),))
    first, second = (study.Job("test", "m", s, ((38, f"decay={d}"),)) for s, d in enumerate((0.2, "rule")))
    assert study.jobs(plan, "test", records[:-1]) == [first]
    assert study.jobs(plan, "validation", records) == []
    assert study.jobs(plan, "test", records) == [first, second]


def test_test_parts_come_again_with_other_first_weights():
    """Their seeds choose alike, and count as one; elsewhere every seed counts."""
    parts = samples.REPEATED["digits"]
    first, again = (samples.load("digits", seed, validation=False) for seed in (1, parts + 1))
    assert again is first and samples.load("digits", 2, validation=False) is not first
    plan = study.Plan("digits", [], table="defaults")
    assert plan.tuning_seeds(parts + 1) == plan.tuning_seeds(1) and len(plan.choices()) == parts
    run = {"stage": "test", "method": "default", "nodes": 6}
    aucs = {0: 0.9, 1: 0.8, parts: 0.92, parts + 1: 0.86}
    records = [run | {"seed": seed, "auc": auc} for seed, auc in aucs.items()]
    of_digits = Results("digits", records, ["default"], table="defaults")
    assert of_digits.values("default", 6) == pytest.approx({0: 0.91, 1: 0.83})
    assert Results("flavour", records, ["default"], table="defaults").values("default", 6) == aucs


@pytest.mark.parametrize("sample", samples.REPEATED)
def test_splits_to_choose_by_hold_no_test_row_of_their_seed(sample, monkeypatch):
    class Same:  # rows as they come, to tell which they are
        def fit(self, X):
            return self

        def transform(self, X):
            return X

    monkeypatch.setattr(samples, "StandardScaler", Same)
    monkeypatch.setattr(samples, "_load", samples._load.__wrapped__)  # keeps none of them

    def rows(*parts):
        return sorted(row.tobytes() for part in parts for row in part)

    scored = set()
    for tested in (0, 3):
        test = samples.load(sample, tested, validation=False)
        for seed in range(samples.SPLITS * tested, samples.SPLITS * (tested + 1)):
            split = samples.load(sample, seed, validation=True)
            assert rows(split.x, split.x_score) == rows(test.x)
            scored.add(b"".join(rows(split.x_score)))
    assert len(scored) == 2 * samples.SPLITS


def test_a_dead_network_speaks_against_nothing(monkeypatch):
    """As long as one with the same option lives; not so for the defaults, which must not die."""
    method = methods.Method(None, ({"decay": (dense.RULE, 0.2, 0.5)},))
    aucs = {dense.RULE: (0.98, 0.5), 0.2: (0.97, 0.97), 0.5: (0.5, 0.5)}
    for table, best in (("methods", dense.RULE), ("defaults", 0.2)):
        monkeypatch.setitem(methods.TABLES[table], "m", method)
        plan = study.Plan("jets", ["m"], (0.3,), table=table)
        seeds = plan.tuning_seeds()
        run = {"stage": "validation", "method": "m", "nodes": 76}
        records = [
            run | {"option": f"decay={decay}", "seed": seed, "auc": auc[seed > 0]}
            for decay, auc in aucs.items()
            for seed in seeds
        ]
        scores = study.scores_of(plan, records)
        assert study.chosen(plan, scores, "m", 76, seeds) == ([{"decay": best}], True)


def test_no_test_row_chooses_anything():
    found = samples.load("jets", 0, validation=True)
    train = load_hbb(subset="train")
    assert len(found.x) + len(found.y_score) == len(train.target)
    # the third column, scaled alike, of all rows together: the training part's and nothing else
    rows = np.sort(np.concatenate([found.x[:, 2], found.x_score[:, 2]]))
    column = np.sort(train.data[:, 2].astype(float))
    slope = (rows[-1] - rows[0]) / (column[-1] - column[0])
    np.testing.assert_allclose(rows, rows[0] + slope * (column - column[0]), atol=1e-4)
    assert samples.load("jets", 3, validation=True) is found
    assert samples.load("digits", 3, False) is not samples.load("digits", 4, False)


def test_rows_of_subsets_and_of_the_noisy_sample():
    """Rules are chosen by rows of the training part; the noisy sample changes those it trains on."""
    train = load_hbb(subset="train").data[:, 2].astype(float)
    one, other = (samples.load("2000 jets", seed, validation=True) for seed in (0, 1))
    assert (len(one.x), len(one.y_score)) == (2000, samples.SCORED_ROWS)
    assert not np.array_equal(one.y_score, other.y_score)
    X, scored, *_ = samples._subset("2000 jets", 0)
    rows = np.concatenate([X, scored])[:, 2]
    assert np.isin(rows, train.astype(X.dtype)).all()
    assert len(np.unique(np.concatenate([X, scored]), axis=0)) == len(rows)

    found = [samples.load(samples.NOISY, seed, validation=False) for seed in (0, 1)]
    assert all(len(d.x) == samples.NOISY_ROWS and len(d.y_score) == samples.NOISY_TEST for d in found)
    np.testing.assert_array_equal(found[0].y_score, found[1].y_score)
    assert not np.array_equal(found[0].target, found[1].target)


def test_auc_of_several_classes(data):
    """Mean over classes of how often a row of it has a larger probability than one of the others."""
    network = Network(data.widths, random_state=3)
    z = network.forward(data.x_score).astype(float)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    each = []
    for c in range(3):
        a, b = p[data.y_score == c, c], p[data.y_score != c, c]
        each.append((a[:, None] > b).mean() + (a[:, None] == b).mean() / 2)
    assert data.outcome(network)["auc"] == pytest.approx(np.mean(each), abs=1e-12)


def test_other_rules_of_the_weight_decay(data):
    """300 rows of three classes are enough for 6-9-5-7-3: the usual factor is one, and it falls as usual."""
    usual, same, many, steady = (
        methods.shadow(data, 9, 0, **rule)[0].params
        for rule in ({}, {"factor": 1.0, "flatter": 0.0}, {"factor": 100.0}, {"flatter": 3.0})
    )
    np.testing.assert_array_equal(usual, same)
    assert np.abs(many).sum() < np.abs(usual).sum()
    assert np.abs(steady).sum() < np.abs(usual).sum()
    less, more = (methods.shadow(data, 6, 0, one_order=True, fade=part)[0].params for part in (0.2, 1.0))
    assert np.abs(less).sum() > np.abs(more).sum()  # of the decay at last, of two nodes a layer


def test_one_order_is_tried_where_the_table_says_so(data, monkeypatch):
    """All rules were chosen so, and one row has the epochs of the others to the letter."""
    begun, make = [], training._Run.reordered
    monkeypatch.setattr(training._Run, "reordered", lambda run, rng: begun.append(run) or make(run, rng))
    data = dataclasses.replace(data, epochs=8)
    for method in (methods.METHODS["shadow one order"], *methods.RULES.values()):
        (option, *_) = method.options([]) or [{}]
        method.train(data, 9, 0, **option)
    assert not begun
    methods.METHODS["shadow default"].train(data, 9, 0)
    assert len(begun) == 7  # 300 rows


def test_own_epochs(data):
    """Of 300 rows no training has less than 3,000 steps; of 6,000 with 6 of 21 nodes 30 times 2.53.

    One of 21 has three classes for a third of a node a layer.
    """
    assert [methods._own_epochs(data, part) for part in (1, 6 / 21, 1 / 21)] == [3, 3, 3]
    more = dataclasses.replace(data, x=np.repeat(data.x, 20, axis=0), epochs=30)
    assert [methods._own_epochs(more, part) for part in (1, 6 / 21, 1 / 21)] == [30, 76, 60]


def test_nothing_missing_writes_nothing(tmp_path):
    assert study.study(study.Plan("digits", []), tmp_path, 1) == [] and not any(tmp_path.iterdir())


QUICK = [
    "--quick",
    "--jobs",
    "1",
    "--fractions",
    "0.3",
    "0.05",
    "--seeds",
    "2",
    "--samples",
    "jets",
    "digits",
    "1000 of 4 classes",
]


def test_quick_mode_runs_everything_once(tmp_path, monkeypatch, capsys):
    """The command, every method, exact counts; a second call trains nothing, a third only what is missing."""
    monkeypatch.setattr(sys, "argv", ["method", *QUICK, "--out", str(tmp_path)])
    command.main()
    files = {name: tmp_path / "method" / f"{name}.csv" for name in ("jets", "digits")}
    for path in files.values():
        records = study.read(path)
        assert {r["method"] for r in records if r["stage"] == "test"} == set(methods.METHODS)
        assert all(r["kept"] == r["nodes"] == sum(map(int, r["widths"].split("-")[1:-1])) for r in records)
        tests = [r for r in records if r["stage"] == "test"]
        assert len(tests) == 2 * 2 * len(methods.METHODS)
        own = [r for r in tests if r["method"] in ("shadow", "path", "straight-through")]
        assert all(r["own"] == r["nodes"] for r in own)
        assert all(0 < r["auc"] < 1 for r in tests)
    assert (tmp_path / report.PLOT).read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / report.PAGE).read_text(encoding="utf-8")
    as_many = [r for r in study.read(tmp_path / "method" / "defaults_digits.csv") if "as many" in r["method"]]
    assert len(as_many) == 4 and all("epochs=1.0" in r["option"] for r in as_many)
    alone = [r for r in study.read(files["digits"]) if r["stage"] == "validation"]
    assert {r["seed"] for r in alone} == {0, samples.SPLITS}
    chosen_by = study.read(tmp_path / "method" / "rules_1000_of_4_classes.csv")
    of_defaults = (tmp_path / defaults.PAGE).read_text(encoding="utf-8")
    assert {r["stage"] for r in chosen_by} == {"validation"} and "| 1000 of 4 classes |" in of_defaults
    assert page.count("shadow default") > 4 and "Digits, ten classes" in page

    before = files["jets"].read_text()
    monkeypatch.setattr(study, "run", lambda plan, job: pytest.fail(f"trained {job} again"))
    command.main()
    assert files["jets"].read_text() == before
    monkeypatch.undo()

    monkeypatch.setattr(sys, "argv", ["method", *QUICK, "--no-page", "--out", str(tmp_path)])
    kept = [line for line in before.splitlines() if not line.startswith("test,uniform,76")]
    assert len(kept) == len(before.splitlines()) - 2
    files["jets"].write_text("\n".join(kept) + "\n")
    capsys.readouterr()
    command.main()
    assert capsys.readouterr().out.count("jets") == 2  # a job for each seed
    numbers = [line.split(",")[:8] for line in before.splitlines()]
    assert [
        line.split(",")[:8] for line in files["jets"].read_text().splitlines()
    ] == numbers  # and the same again


def test_quick_is_no_result(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["method", "--quick"])
    with pytest.raises(SystemExit):
        command.main()
