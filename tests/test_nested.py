"""The levels of a path: when they train, from what, and what becomes of their networks."""

import copy
from dataclasses import replace
from itertools import islice, pairwise
from operator import itemgetter

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.datasets import make_classification
from sklearn.metrics import roc_auc_score

from shadowprune import ShadowClassifier, ShadowPath, _levels, nested, training


@pytest.fixture(scope="module")
def rows():
    return make_classification(4000, 12, n_informative=8, n_clusters_per_class=3, random_state=0)


def test_ctrl_c_while_the_order_is_fixed(rows, monkeypatch):
    """Between one line and the next: whatever was done by then is done again."""
    for name in ("_best_first", "_band"):
        method, stopped = getattr(nested._Level, name), []

        def stop(self, rank, method=method, stopped=stopped):
            found = method(self, rank)
            if not stopped and rank.dtype == np.int32:  # not the scores of an epoch before
                stopped.append(1)
                raise KeyboardInterrupt
            return found

        with monkeypatch.context() as patch:
            patch.setattr(nested._Level, name, stop)
            path = ShadowPath((16, 8), n_nodes_min=3, max_iter=6, random_state=0)
            with pytest.warns(RuntimeWarning, match="training interrupted"):
                path.fit(*rows)
        assert [path.at(n).n_nodes_ for n in (3, 11, 24)] == [3, 11, 24]


@pytest.mark.parametrize(("epochs", "orders"), [(2, [2]), (12, [64, 32, 16, 8, 4])])
def test_the_better_half_of_the_orders_of_the_last_level_is_gone_on_with(rows, monkeypatch, epochs, orders):
    measured, rounds, kept = [], [], []
    loss, family, fewer = nested._Level.loss, nested._family, nested.fewer

    def spy(self, x, target, weight):
        z = self.band().at(3).forward(x, keep=False).astype(float)
        wanted = np.average(np.logaddexp(0, z) - target * z, weights=weight, axis=0)[0]
        found = loss(self, x, target, weight)
        assert found == pytest.approx(wanted, rel=1e-5)
        taught = nested._taught(
            whole[0].band().network, x, y[:, None].astype(np.float32), "binary_crossentropy"
        )
        np.testing.assert_array_equal(target, taught)
        measured.append((found, self))
        return found

    def halved(given, worse):
        measured.clear()
        left = fewer(given, worse)
        by_loss = [one for _, one in sorted(measured, key=itemgetter(0))]
        assert left == by_loss[: len(given) // 2 if len(given) > 4 else 1]
        rounds.append((given, {one.step for one in given}, left))
        return left

    monkeypatch.setattr(_levels, "FEW", 1)
    whole = []
    make = nested._Level.whole
    monkeypatch.setattr(nested._Level, "whole", lambda *of: whole.append(make(*of)) or whole[-1])
    monkeypatch.setattr(nested._Level, "loss", spy)
    monkeypatch.setattr(nested, "fewer", halved)
    monkeypatch.setattr(nested, "_family", lambda levels: kept.extend(levels) or family(levels))
    X, y = rows
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    path = ShadowPath((16, 8), n_nodes_min=3, max_iter=epochs, random_state=0, validation_fraction=0)
    path.fit(X, y, sample_weight=weight)
    assert [len(given) for given, *_ in rounds] == orders  # as many as a single run of few rows tries
    for (_, before, left), (given, after, _) in pairwise(rounds):
        assert given == left
        assert max(before) < min(after)
    given, when, (best,) = rounds[-1]
    assert kept[-1] is best
    assert best.step == best.n_steps
    assert len(when) == 1  # the same for all
    assert max(when) < best.n_steps or epochs == 2
    above = kept[-2]
    moved = above.below(np.random.default_rng(0)).group.scores - above.below().group.scores
    np.testing.assert_allclose(moved, 1.2 * np.random.default_rng(0).standard_normal(len(moved)))


@pytest.mark.parametrize("weighted", [False, True])
def test_of_several_classes_the_most_discriminating_of_the_better_half(monkeypatch, weighted):
    """By the area under the curves of its smallest network, on the labels, once the loss has halved them."""
    X, y = make_classification(600, 8, n_informative=5, n_classes=4, random_state=1)
    weight = np.random.default_rng(0).exponential(size=len(y)) if weighted else None
    outputs, fewer, seen, rounds = nested._Level.outputs, nested.fewer, {}, []

    def spy(self, x):
        network = self.band().at(3)
        seen[id(self)] = softmax(network.forward(x).astype(float), axis=1)
        return outputs(self, x)

    def halved(levels, worse):
        measured = [worse(one) for one in levels]
        areas = [roc_auc_score(y, seen[id(one)], multi_class="ovr", sample_weight=weight) for one in levels]
        left = fewer(levels, worse)
        assert left == [levels[i] for i in np.argsort(measured, kind="stable")[: len(left)]]
        rounds.append((len(levels), len(left), measured, areas))
        return left

    monkeypatch.setattr(_levels, "FEW", 1)
    monkeypatch.setattr(nested._Level, "outputs", spy)
    monkeypatch.setattr(nested, "fewer", halved)
    path = ShadowPath((16, 8), n_nodes_min=3, max_iter=12, random_state=0, validation_fraction=0)
    path.fit(X, y, sample_weight=weight)
    assert [before for before, *_ in rounds] == [64, 32, 16, 8, 4]
    assert [after for _, after, *_ in rounds] == [32, 16, 8, 4, 1]
    for *_, measured, areas in rounds[1:]:
        np.testing.assert_allclose(measured, np.negative(areas), atol=1e-6)
    *_, losses, areas = rounds[0]
    assert np.all(np.array(losses) > 0)
    assert not np.array_equal(np.argsort(losses), np.argsort(np.negative(areas)))


@pytest.mark.parametrize(("longer", "alpha", "epochs"), [(False, 0.1, 4), (True, "auto", 8)])
def test_at_last_the_smallest_trains_on_alone(rows, monkeypatch, longer, alpha, epochs):
    """As any network does, on what the other levels learn from; all other networks stay as they were."""
    laid_out, calls, families = [], [], []
    lay_out, alone, with_smallest = nested._laid_out, nested._train_alone, nested.Family.with_smallest

    def seen(data, rng):
        laid_out.append((data, rng))
        return lay_out(data, rng)

    def spy(network, below, settings, decay, journal):
        ((data, rng),) = laid_out
        calls.append((network.copy(), data, settings, decay, copy.deepcopy(rng)))
        return alone(network, below, settings, decay, journal)

    def merged(family, network):
        families.append(family)
        return with_smallest(family, network)

    monkeypatch.setattr(_levels, "FEW", 1)
    monkeypatch.setattr(nested, "SAME", 1)  # as a run of one network has it
    monkeypatch.setattr(nested, "_laid_out", seen)
    monkeypatch.setattr(nested, "_train_alone", spy)
    monkeypatch.setattr(nested.Family, "with_smallest", merged)
    if longer:
        monkeypatch.setattr("shadowprune.path.usual_epochs", lambda *of: 12 if of[4] > 0.5 else 24)
    X, y = rows
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    path = ShadowPath(
        (16, 8), n_nodes_min=3, max_iter="auto" if longer else 12, alpha=alpha, learning_rate_init=0.01,
        random_state=0, validation_fraction=0,
    ).fit(X, y, sample_weight=weight)  # fmt: skip
    ((start, (x, target, given), settings, decay, rng),) = calls
    (before,) = families
    np.testing.assert_array_equal(start.params, before.at(3).params)
    assert given == pytest.approx(weight / weight.mean())
    labels = y[:, None].astype(np.float32)
    whole = nested._taught(before.whole.network, x, labels, "binary_crossentropy")
    np.testing.assert_array_equal(target, whole)
    says = expit(before.whole.network.forward(x).astype(float))
    np.testing.assert_allclose(target, 0.3 * labels + 0.7 * says, atol=1e-6)
    assert (settings.epochs, settings.learning_rate) == (epochs, pytest.approx(0.3 * 0.01))
    history = path.history_
    assert history.weight_decay[-epochs - 1 :] == [decay] * (epochs + 1)  # that of the last level
    assert decay == 0.1 if alpha == 0.1 else 0 < decay < 0.02
    assert history.n_nodes[-epochs:] == [3] * epochs
    settings = replace(settings, weight_decay=decay)
    wanted, _, other = training.train(start, None, x, target, given, settings, rng)
    np.testing.assert_array_equal(path.family_.at(3).params, wanted.params)
    assert history.loss[-epochs:] == other.loss
    assert history.learning_rate[-epochs:] == other.learning_rate
    assert not np.array_equal(start.params, wanted.params)
    for n in range(4, 25):
        np.testing.assert_array_equal(path.family_.at(n).params, before.at(n).params)


@pytest.mark.parametrize("weighted", [False, True])
def test_levels_below_take_rows_twice_in_an_order(rng, weighted):
    """As they lie, each with its target and its weight; then in another order."""
    x = rng.normal(size=(50, 3)).astype(np.float32)
    target, weight = x[:, :1].copy(), x[:, 1].copy() if weighted else None
    laid_out = nested._laid_out((x, target, weight), np.random.default_rng(0))
    epochs = [copy.deepcopy(epoch) for epoch in islice(laid_out, 6)]  # all in the same arrays
    for (laid, y, w), order in epochs:
        np.testing.assert_array_equal(order, np.arange(50))
        np.testing.assert_array_equal(laid[np.argsort(laid[:, 0])], x[np.argsort(x[:, 0])])
        np.testing.assert_array_equal(y, laid[:, :1])
        assert w is None if weight is None else np.array_equal(w, laid[:, 1])
    xs = [rows[0] for rows, _ in epochs]
    assert [np.array_equal(*pair) for pair in pairwise([x, *xs])] == [False, True] * 3


def test_where_the_smallest_is_not_small_nothing_trains_on(rows):
    path = ShadowPath((16, 8), n_nodes_min=16, max_iter=8, random_state=0).fit(*rows)
    assert path.family_.bands[0].knots[0] == 16
    assert len(path.family_.bands[0].knots) > 1
    assert len(path.history_.loss) == _levels.count_epochs(_levels.stages_of(24, 16, lambda kept: 8, 8))


def test_ctrl_c_while_the_smallest_trains_alone(rows, monkeypatch):
    monkeypatch.setattr(_levels, "FEW", 1)
    seen = []
    total = _levels.count_epochs(_levels.stages_of(24, 3, lambda kept: 10, 8))

    def stop(self):
        seen.append(1)
        if len(seen) == total - 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(ShadowClassifier, "_after_epoch", stop)
    path = ShadowPath((16, 8), n_nodes_min=3, max_iter=10, random_state=0)
    with pytest.warns(RuntimeWarning, match=f"interrupted in epoch {total - 1} of {total}; ") as warned:
        path.fit(*rows)
    assert warned[0].filename == __file__
    assert path.family_.bands[0].knots == (3,)
    above = path.family_.bands[1].at(3)
    assert not np.array_equal(path.family_.at(3).params, above.params)  # what it has learned stays
    assert [path.at(n).n_nodes_ for n in (3, 11, 24)] == [3, 11, 24]


def test_an_order_that_diverges_is_given_up(rows, monkeypatch):
    """The first or second in its second epoch; the others are compared. In other levels it ends the run."""
    monkeypatch.setattr(_levels, "FEW", 1)
    made, measured = [], []
    below, epoch, loss = nested._Level.below, nested._Level.epoch, nested._Level.loss

    def make(self, *given):
        made.append(below(self, *given))
        return made[-1]

    def diverge(self, *given):
        if self.step and len(made) > failing and self is made[failing]:
            raise ValueError("diverged")
        return epoch(self, *given)

    def compare(self, *given):
        measured.append(self)
        return loss(self, *given)

    for name, spy in (("below", make), ("epoch", diverge), ("loss", compare)):
        monkeypatch.setattr(nested._Level, name, spy)
    path = ShadowPath((16, 8), n_nodes_min=3, max_iter=12, random_state=0)
    n_levels = len(_levels.stages_of(24, 3, lambda kept: 12, 64)) - 1
    for failing in (n_levels, n_levels - 1):  # the first of the rivals; the last of the levels, unmoved
        made.clear()
        measured.clear()
        path.fit(*rows)
        assert len(made) == n_levels + 64 - 1
        assert set(measured) == {*made[n_levels - 1 :]} - {made[failing]}
        assert [path.at(n).n_nodes_ for n in (3, 11, 24)] == [3, 11, 24]
    made.clear()
    failing = n_levels - 2
    with pytest.raises(ValueError, match="diverged"):
        path.fit(*rows)


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_laid_out_are_those_of_the_order(rng, weighted):
    x, y = rng.normal(size=(50, 3)).astype(np.float32), rng.normal(size=(50, 2)).astype(np.float32)
    weight = rng.random(50).astype(np.float32) if weighted else None
    order = training.shuffled(50, np.random.default_rng(0))
    data = np.asfortranarray(x), y, weight
    (*laid, weights), turn = next(nested._laid_out(data, np.random.default_rng(0)))
    np.testing.assert_array_equal(turn, np.arange(50))
    assert turn.dtype == np.int32
    for found, given in zip(laid, (x, y), strict=True):
        np.testing.assert_array_equal(found, given[order])
        assert found.flags.c_contiguous
    assert weights is None if weight is None else np.array_equal(weights, weight[order])


def test_one_count_a_step_once_the_order_is_fixed(rng, monkeypatch):
    """Levels of 40 and 29 nodes: how often the largest and the smallest count come, rounding included."""
    seen, run = {}, nested.run_steps

    def spy(*given):
        trainer, steps, budgets = given[0], given[4], given[7]
        seen.setdefault(trainer, []).append((steps, budgets))
        return run(*given)

    monkeypatch.setattr(nested, "run_steps", spy)
    options = {"batch_size": 8, "max_iter": 30, "random_state": 0, "validation_fraction": 0}
    X = rng.normal(size=(640, 4))
    ShadowPath((20, 20), n_nodes_min=12, **options).fit(X, X[:, 0] > 0)
    whole, below, _ = seen.values()
    for level, soft, top, low, beyond in ((whole, 4 * 80, 40, 29, 1.5), (below, 2 * 80, 29, 19, 0.25)):
        steps, budgets = (np.concatenate(part) for part in zip(*level, strict=True))
        fixed = budgets[steps >= soft]
        assert np.all(fixed[:, 1:] == top)
        counts, parts = fixed[:, 0], 1 + 0.3 + beyond
        np.testing.assert_array_equal(counts, np.rint(counts))
        assert (counts.min(), counts.max()) == (low, top)
        largest = beyond + np.log(top / (top - 0.5)) / np.log(top / low)
        smallest = 0.3 + np.log((low + 0.5) / low) / np.log(top / low)
        assert np.mean(counts == top) == pytest.approx(largest / parts, abs=0.05)
        assert np.mean(counts == low) == pytest.approx(smallest / parts, abs=0.04)
    steps, budgets = (np.concatenate(part) for part in zip(*whole, strict=True))
    first, turns = budgets[steps < 4 * 80], steps[steps < 4 * 80] % 2
    assert np.all(first[:, 0] == 40)
    assert np.all(np.diff(first[:192, 1]) < 0)  # falls in .6 of these steps
    np.testing.assert_allclose(first[192:, 1], 12)
    assert np.all(first[turns == 1, 2] == 40)
    assert np.mean(first[192:][turns[192:] == 0, 2] < 40) > 0.6
    steps, budgets = (np.concatenate(part) for part in zip(*below, strict=True))
    drawn = budgets[(steps < 2 * 80) & (steps % 2 == 1), 0]
    assert np.mean(drawn == 29) == pytest.approx(0.25 / 1.25, abs=0.1)
    assert not np.any(drawn == 12)  # while gates are soft the smallest has a pass of its own


def test_several_orders_take_one_count_a_step_from_the_start(rng, monkeypatch):
    """Of the last level while gates are soft: the smallest, and every other step one drawn above it."""
    seen, run = {}, nested.run_steps

    def spy(*given):
        trainer, steps, budgets = given[0], given[4], given[7]
        if budgets is not None:  # not of the smallest alone
            seen.setdefault(trainer, []).append((steps, budgets))
        return run(*given)

    monkeypatch.setattr(_levels, "FEW", 1)
    monkeypatch.setattr(nested, "run_steps", spy)
    X = rng.normal(size=(640, 4))
    options = {"batch_size": 8, "max_iter": 30, "random_state": 0, "validation_fraction": 0}
    ShadowPath((20, 20), n_nodes_min=12, **options).fit(X, X[:, 0] > 0)
    levels = list(seen.values())
    assert len(levels) == 2 + 64
    for level in levels[2:]:
        steps, budgets = (np.concatenate(part) for part in zip(*level, strict=True))
        soft, odd = budgets[steps < 4 * 80], steps[steps < 4 * 80] % 2 == 1
        assert np.all(soft[:, 1:] == 19)
        assert np.all(soft[~odd, 0] == 12)
        drawn = soft[odd, 0]
        assert 12 < drawn.min() < 13
        assert np.mean(drawn == 19) == pytest.approx(0.25 / 1.25, abs=0.15)


def test_ranks_have_the_best_of_every_layer_first():
    scores = np.array([5.0, 4.0, 3.0, -1.0, -2.0, 0.0])
    layer = np.array([1, 1, 1, 2, 2, 3], np.int32)
    np.testing.assert_array_equal(nested._ranks(scores, layer), [0, 3, 4, 2, 5, 1])


def test_nodes_of_every_network_come_in_the_order_of_the_support():
    """With weights that do not move, a smaller network is a part of the largest."""
    X = np.random.default_rng(0).normal(size=(400, 6))
    path = ShadowPath(
        (16, 20),
        n_nodes_min=4,
        max_iter=20,
        random_state=0,
        learning_rate_init=1e-12,
        alpha=0.0,
        standardize=False,
    ).fit(X, X[:, 0] * X[:, 1] > 0)
    first = path.at(36).network_.weights[0]
    for n_nodes in range(4, 36):
        small = path.at(n_nodes)
        np.testing.assert_allclose(small.network_.weights[0], first[:, small.support_[1]], atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "classes", "less", "power"),
    [
        (300, 2, 0.25, 0), (20, 2, 1.0, 0.2), (200, 4, 0.5, 0), (1400, 4, 0.25, 0), (8, 4, 1.0, 0.2),
        (390, 4, 0.25 + 0.25 * (416 / 390 / 4 / 0.4 - 0.2) / 0.8, 0),
    ],
)  # fmt: skip
def test_weight_decay_of_the_levels(rng, rows, classes, less, power):
    """That of a single run; of the whole times .7 to 1.3, below a quarter, or all if data are scarcest.

    With several classes half, less from 260 rows on: at 390 there are .267 weights per target.
    """
    X, y = rng.normal(size=(rows, 6)), np.arange(rows) % classes
    options = {"n_nodes_min": 12, "max_iter": 20, "random_state": 0, "validation_fraction": 0}
    path = ShadowPath((16, 16), **options).fit(X, y)
    n, n_whole = (sum(a * b for a, b in pairwise(path.at(k).network_.widths)) for k in (23, 32))
    scarce = 0.6 * min(5, max(1, n_whole / rows / (1 if classes == 2 else classes)))
    ends = 0.7 + 0.6 * (np.arange(1, 17) - 1 / -(-rows // 32)) / 16  # of its epochs, at their last steps
    assert path.history_.weight_decay[:16] == pytest.approx(ends * scarce * (n_whole / 15000) ** 0.5)
    expected = less * scarce * (n / 15000) ** 0.5 * (n_whole / n) ** power  # the first epoch of the 23 best
    assert path.history_.weight_decay[16] == pytest.approx(expected)
    constant = ShadowPath((16, 16), alpha=0.3, **options).fit(X, y)
    assert set(constant.history_.weight_decay) == {0.3}


def test_weight_decay_of_levels_where_classes_crowd(rng):
    """Six nodes in two layers, for four classes: as in a single run, not less."""
    X, y = rng.normal(size=(400, 6)), np.arange(400) % 4
    options = {"n_nodes_min": 3, "max_iter": 20, "random_state": 0, "validation_fraction": 0}
    path = ShadowPath((5, 4), **options).fit(X, y)
    n, n_whole = (sum(a * b for a, b in pairwise(path.at(k).network_.widths)) for k in (6, 9))
    whole = 0.6 * (n_whole / 15000) ** 0.5
    assert path.history_.weight_decay[16] == pytest.approx(
        min(2 * whole, (4 / 3) ** 1.5 * 0.6 * (n / 15000) ** 0.5)
    )
