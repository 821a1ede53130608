"""What "auto" means, against the rules written out."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone

import shadowprune as sp
from shadowprune import _defaults, nested, training
from shadowprune.shadow import stage_of

PAPER = (40, 64, 64, 64, 64, 1)


def n_weights(widths):
    return sum(a * b for a, b in itertools.pairwise(widths))


@pytest.mark.parametrize(
    ("rows", "classes", "factor"),
    [(60, 2, 5), (150, 2, 334 / 150), (400, 2, 1), (60, 4, 376 / 240), (150, 4, 1)],
)
def test_weight_decay_goes_with_weights_per_target(rng, rows, classes, factor):
    """6-16-14-1 has 334 weights, 376 with four outputs; the targets are the rows times the outputs."""
    X, y = rng.normal(size=(rows, 6)), np.arange(rows) % classes
    clf = sp.ShadowClassifier((16, 14), n_nodes=None, max_iter=1, random_state=0).fit(X, y)
    usual = 0.6 * ((334 if classes == 2 else 376) / 15000) ** 0.5
    assert clf.history_.weight_decay == pytest.approx([factor * usual])


@pytest.mark.parametrize(
    ("widths", "rows", "factor"),
    [
        (PAPER, 97_687, 1), (PAPER, 195_032, 14_912 / 195_032 / 0.15), (PAPER, 1_000_000, 0.5),
        ((40, 8, 8, 1), 97_687, 1), ((40, 8, 8, 1), 195_032, 14_912 / 195_032 / 0.15),
        ((40, 256, 256, 1), 300_000, 1), ((40, 256, 256, 1), 700_000, 76_032 / 700_000 / 0.15),
    ],
)  # fmt: skip
def test_weight_decay_is_smaller_for_many_rows(widths, rows, factor):
    """The embedded jets just do not have so many; narrow networks count as that of the study."""
    rule = _defaults.usual_weight_decay(widths, rows, "binary_crossentropy")
    assert rule(widths) == pytest.approx(factor * 0.6 * min(1, n_weights(widths) / 15000) ** 0.5, rel=1e-12)


@pytest.mark.parametrize(("rows", "flatter"), [(300, 0), (60, 0), (40, 0.5 - 3.5 * 40 / 368), (20, 0.2)])
def test_weight_decay_falls_less_where_data_are_very_scarce(rng, rows, flatter):
    """6-16-16-1 has 368 weights; from seven for a row on, and not of regressions; 1.5 times that at last."""
    X, y = rng.normal(size=(rows, 6)), np.arange(rows) % 2
    options = {"hidden_layer_sizes": (16, 16), "n_nodes": 6, "max_iter": 20, "random_state": 0}
    for estimator, power in ((sp.ShadowClassifier, flatter), (sp.ShadowRegressor, 0)):
        fitted = estimator(**options).fit(X, y)
        live = n_weights(fitted.network_.widths)
        expected = min(5, max(1, 368 / rows)) * 0.6 * (live / 15000) ** 0.5 * (368 / live) ** power
        expected *= 1.5 if estimator is sp.ShadowClassifier else 1
        assert fitted.history_.weight_decay[-1] == pytest.approx(expected)


def test_weight_decay_never_exceeds_that_of_the_whole_network():
    """40-512-512-1 has 283,136 weights, 40-128-128-1 has 21,632, which is still large."""
    rule = _defaults.usual_weight_decay((40, 512, 512, 1), 1000, "binary_crossentropy")
    assert rule.flatter == 0.2
    assert rule((40, 512, 512, 1)) == rule((40, 128, 128, 1)) == pytest.approx(5 * 0.6)
    assert rule((40, 8, 8, 1)) == pytest.approx(3 * (392 / 15000) ** 0.5 * (283_136 / 392) ** 0.2)


@pytest.mark.parametrize(
    ("classes", "nodes", "slower", "at_last"),
    [
        (5, 20, 1, 1.5),
        (5, 8, 1.25**1.5, 1.5),
        (5, 4, 2.5**1.5, 0.5 * 2.5**1.5),
        (12, 4, None, None),
        (5, 3, (5 / 1.5) ** 0.75, 1.5),
        (3, 2, 3**0.75, 1.5),
        (8, 3, (8 / 1.5) ** 0.75, 0.5 * (8 / 1.5) ** 0.75),
    ],
)
def test_weight_decay_falls_less_where_classes_crowd(rng, classes, nodes, slower, at_last):
    """Two layers; it becomes at most twice what it is for the whole network, and half of that at last.

    With three or two nodes they are too thin for the whole power.
    """
    n_rows = 900 // classes  # some half a weight per target, neither scarce nor plenty
    X, y = rng.normal(size=(n_rows, 6)), np.arange(n_rows) % classes
    clf = sp.ShadowClassifier((16, 16), n_nodes=nodes, max_iter=20, random_state=0).fit(X, y)
    whole = 0.6 * (n_weights([6, 16, 16, classes]) / 15000) ** 0.5
    at_finish, last = clf.history_.weight_decay[11], clf.history_.weight_decay[-1]
    final = [6, nodes / 2, nodes / 2, classes]
    usual = 0.6 * (n_weights(final) / 15000) ** 0.5
    assert at_finish == pytest.approx(2 * whole if slower is None else slower * usual)
    live = 0.6 * (n_weights(clf.network_.widths) / 15000) ** 0.5
    assert last == pytest.approx(whole if at_last is None else at_last * live)


@pytest.mark.parametrize(
    ("classes", "nodes", "stages"),
    [
        (2, 31, (0.5, 1, 1.5)), (2, 4, (0.5, 1, 1.5)), (5, 6, (1, 1, 1.5 / (5 / 3) ** 1.5)),
        (5, 9, (0.5 * (10 / 9) ** 1.5, 1, 1.5 / (10 / 9) ** 1.5)), (5, 4, (1, 1, 0.5)), (2, 32, (1, 1, 1)),
    ],
)  # fmt: skip
def test_weight_decay_by_stages(rng, classes, nodes, stages):
    """What it is times while the budget falls, while gates are soft still, and after the hard finish."""
    X, y = rng.normal(size=(200, 6)), np.arange(200) % classes
    clf = sp.ShadowClassifier((16, 16), n_nodes=nodes, max_iter=20, random_state=0).fit(X, y)
    rule = _defaults.usual_weight_decay([6, 16, 16, classes if classes > 2 else 1], 200, clf._loss())
    steps = 7 * np.arange(1, 21) - 1  # the last of each epoch
    r = np.minimum(steps / 140 / 0.3, 1)
    open_nodes = nodes + (32 - nodes) * (1 - r) ** 3
    usual = rule([6, open_nodes / 2, open_nodes / 2, rule.widths[-1]])
    usual[12:] = rule(clf.network_.widths)
    expected = usual * np.repeat(stages, (6, 6, 8))
    assert clf.history_.weight_decay == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n_rows", "kept", "late"),
    [
        (100, (4, 4), 1.5 / 1.25**1.5),  # .86 weights per target
        (432, (4, 4), 1.5 / 1.25**3),  # .2
        (2160, (4, 4), 1.5 / 1.25**7.5),  # .04
        (216, (4, 4), 1.5 / 1.25**1.5),  # .4
        (240, (4, 4), 1.5 / 1.25 ** (1.5 / 0.9)),  # .36
        (100, (2, 2), 0.5),
        (432, (2, 2), 0.25),
        (2160, (2, 2), 0.1),
        (2160, (5, 5), 1.5),
    ],
)
def test_weight_decay_ends_low_where_rows_are_many_and_classes_crowd(n_rows, kept, late):
    rule = _defaults.usual_weight_decay((6, 16, 16, 5), n_rows, "categorical_crossentropy")
    assert rule.by_stage((6, *kept, 5))[2] == pytest.approx(late)
    of_two = _defaults.usual_weight_decay((6, 16, 16, 1), n_rows, "binary_crossentropy")
    assert of_two.by_stage((6, *kept, 1))[2] == 1.5


def test_weight_decay_of_a_trained_network_takes_no_rows_for_many(rng):
    X, y = rng.normal(size=(2160, 6)), np.arange(2160) % 5
    few = sp.ShadowClassifier((16, 16), n_nodes=8, max_iter=3, random_state=0).fit(X, y)
    warm = sp.ShadowClassifier((16, 16), n_nodes=8, max_iter=3, random_state=0)
    warm.fit(X, y, network=sp.ShadowClassifier((16, 16), n_nodes=None, max_iter=1).fit(X, y).network_)
    for fitted, power in ((few, 7.5), (warm, 1.5)):
        live = 0.6 * (n_weights(fitted.network_.widths) / 15000) ** 0.5 * 1.25**1.5
        assert fitted.history_.weight_decay[-1] == pytest.approx(live * 1.5 / 1.25**power)


def test_stages_begin_at_their_bounds():
    np.testing.assert_array_equal(stage_of(np.array([0, 0.29, 0.3, 0.59, 0.6, 1])), [0, 0, 1, 1, 2, 2])


def test_the_study_may_vary_how_decay_goes_with_classes():
    rule = _defaults.WeightDecay(
        (6, 16, 16, 5), loss="categorical_crossentropy", crowded=1.0, early=0.2, late=3.0
    )
    assert rule.by_stage([6, 3, 5, 5]) == pytest.approx([0.2 * 1.25, 1, 3 / 1.25])


def test_weight_decay_for_fixed_point_goes_by_stages_too(rng):
    X = rng.normal(size=(200, 6))
    options = {"n_nodes": 8, "max_iter": 20, "random_state": 0}
    decays = [
        sp.ShadowClassifier((16, 16), precision=precision, **options)
        .fit(X, X[:, 0] > 0)
        .history_.weight_decay
        for precision in (None, "auto:8")
    ]
    assert decays[1][:12] == decays[0][:12]
    assert decays[1][-1] > 1.3 * decays[1][11]


def test_weight_decay_is_constant_where_a_budget_of_products_takes_inputs_alone(rng):
    """The widths it leaves come from a root, and are whole but for rounding."""
    X = rng.normal(size=(300, 20))
    budget = sp.Budget(inputs=1, multipliers=1.0, reuse_factor=6)
    clf = sp.ShadowClassifier((51, 52), budget=budget, max_iter=10, random_state=0).fit(X, X[:, 0] > 0)
    assert clf.widths_ == (51, 52)
    assert np.ptp(clf.history_.weight_decay[4:]) == pytest.approx(0, abs=1e-3)


def test_weight_decay_of_inputs_alone_and_of_regressions_is_the_same_in_all_stages(rng):
    X = rng.normal(size=(200, 6))
    inputs = sp.ShadowClassifier((16,), n_nodes=None, n_inputs=3, max_iter=20, random_state=0)
    inputs.fit(X, X[:, 0] > 0)
    regression = sp.ShadowRegressor((16,), n_nodes=8, max_iter=20, random_state=0).fit(X, X[:, 0])
    linear = sp.ShadowClassifier((), n_nodes=None, n_inputs=3, max_iter=20, random_state=0)
    linear.fit(X, X[:, 0] > 0)
    for fitted, widths in ((inputs, [3, 16, 1]), (linear, [3, 1]), (regression, [6, 8, 1])):
        expected = 0.6 * (n_weights(widths) / 15000) ** 0.5
        assert fitted.history_.weight_decay[6:] == pytest.approx([expected] * 14)
        assert fitted.history_.weight_decay[0] > expected


def largest_rate(estimator, X, y, at=-1, **given):
    """By the last that it takes, or another, against the same with a rate that is known."""
    known = clone(estimator).set_params(learning_rate_init=1e-4).fit(X, y, **given)
    usual = estimator.fit(X, y, **given)
    return 1e-4 * usual.history_.learning_rate[at] / known.history_.learning_rate[at]


@pytest.mark.parametrize(("classes", "nodes", "more"), [(2, 4, 1), (3, 8, 1), (5, 4, 2.5), (9, 4, 3)])
def test_learning_rate_is_larger_where_classes_crowd(rng, classes, nodes, more):
    """Single runs, networks narrow from the start, the last level of a path, its smallest network alone."""
    X, y = rng.normal(size=(200, 6)), np.arange(200) % classes
    options = {"max_iter": 20, "random_state": 0}
    few = sp.ShadowClassifier((16, 16), n_nodes=nodes, **options)
    assert largest_rate(few, X, y) == pytest.approx(5e-3 * min(3, (32 / nodes) ** 0.5) * more)
    narrow = sp.ShadowClassifier((nodes // 2, nodes // 2), n_nodes=None, **options)
    assert largest_rate(narrow, X, y) == pytest.approx(5e-3 * more)
    path = sp.ShadowPath((16, 16), n_nodes_min=3, validation_fraction=0, max_iter=40, random_state=0)
    of_level = largest_rate(path, X, y, at=-14)  # a third of 40 epochs come after it
    assert [band.knots[-1] for band in path.family_.bands[:2]] == [3, 5]
    assert of_level == pytest.approx(5e-3 * (32 / 5) ** 0.5 * min(3, max(1, classes / 2.5)))
    crowded = min(3, classes / 1.5) if classes > 2 else 1
    assert largest_rate(path, X, y) == pytest.approx(5e-3 * 3 * crowded)


def test_learning_rate_of_a_trained_network_does_not_follow_the_classes(rng):
    X, y = rng.normal(size=(200, 6)), np.arange(200) % 9
    options = {"max_iter": 20, "random_state": 0}
    whole = sp.ShadowClassifier((16, 16), n_nodes=None, **options).fit(X, y).network_
    few = sp.ShadowClassifier((16, 16), n_nodes=4, **options)
    assert largest_rate(few, X, y, network=whole) == pytest.approx(5e-3 * (1 - 4 / 32))


def test_learning_rate_follows_the_nodes_kept_not_the_inputs(rng):
    """Nor is there a part of nodes, or a number of them for a class, without hidden layers."""
    X, y = rng.normal(size=(200, 8)), np.arange(200) % 3
    options = {"max_iter": 20, "random_state": 0, "n_nodes": None}
    for clf in (sp.ShadowClassifier((4, 4), n_inputs=2, **options), sp.ShadowClassifier((), **options)):
        assert largest_rate(clf, X, y) == pytest.approx(5e-3)
    many = rng.normal(size=(12_800, 3))
    plain = sp.ShadowClassifier((), n_nodes=None, batch_size=64).fit(many, many[:, 0] > 0)
    assert plain.n_iter_ == 30


def test_learning_rate_of_a_trained_network_follows_what_is_taken_away(rng):
    X, y = rng.normal(size=(200, 8)), np.arange(200) % 2
    options = {"max_iter": 20, "random_state": 0}
    whole = sp.ShadowClassifier((4, 4), n_nodes=None, **options).fit(X, y).network_
    for more, rate in (({"n_nodes": None}, 1e-3), ({"n_nodes": None, "n_inputs": 2}, 5e-3 * 0.75)):
        clf = sp.ShadowClassifier((4, 4), **more, **options)
        assert largest_rate(clf, X, y, network=whole) == pytest.approx(rate)


def test_more_targets_than_nodes_are_no_classes(rng):
    X = rng.normal(size=(200, 3))
    reg = sp.ShadowRegressor((8, 8), n_nodes=4, max_iter=20, random_state=0).fit(X, np.tile(X, 3))
    expected = 0.6 * (n_weights(reg.network_.widths) / 15000) ** 0.5
    assert reg.history_.weight_decay[-1] == pytest.approx(expected)


def test_batches_are_powers_of_two():
    usual = _defaults.usual_batch_size
    rows = (2, 4095, 4096, 16_384, 32_768, 65_536, 97_687)
    assert [usual(n) for n in rows] == [32, 32, 64, 128, 256, 512, 512]


def test_few_rows_try_more_orders_of_few_nodes():
    rows = (1, 511, 512, 8191, 8192, 16_383, 16_384, 32_767, 32_768, 97_687)
    orders = [8, 8, 64, 64, 32, 32, 16, 16, 8, 8]
    for loss in ("binary_crossentropy", "squared_error"):
        assert [_defaults.usual_orders(n, loss) for n in rows] == orders
    rows = (1, 511, 512, 32_767, 32_768, 65_535, 65_536, 131_071, 131_072, 400_000)
    assert [_defaults.usual_orders(n, "categorical_crossentropy") for n in rows] == orders


@pytest.mark.parametrize(("n_rows", "orders"), [(8191, 64), (8192, 32)])
def test_estimators_try_so_many(rng, monkeypatch, n_rows, orders):
    """A single run with one node a layer; a path as many in its last level, for constant epochs.

    Those that it holds back count among the rows.
    """
    runs, levels, make, below = [], [], training._Run.reordered, nested._Level.below
    monkeypatch.setattr(training._Run, "reordered", lambda run, of: runs.append(of) or make(run, of))
    monkeypatch.setattr(nested._Level, "below", lambda one, *of: levels.append(of) or below(one, *of))
    X = rng.normal(size=(n_rows, 4))
    y = (X[:, 0] > 0).astype(int)
    sp.ShadowClassifier((16, 16), n_nodes=2, max_iter=3, random_state=0).fit(X, y)
    assert len(runs) == orders - 1
    sp.ShadowPath((32, 32), n_nodes_min=2, max_iter=9, random_state=0).fit(X, y)
    assert len([of for of in levels if of]) == orders - 1


@pytest.fixture
def score_rates(monkeypatch):
    """Rates of the scores, by whether hidden nodes are among them, as runs and other orders begin."""
    seen, rate = [], training._Run._rate
    monkeypatch.setattr(
        training._Run, "_rate",
        lambda run, group: seen.append((bool(group.layer.any()), rate(run, group))) or seen[-1][1],
    )  # fmt: skip
    return seen


@pytest.mark.parametrize(
    ("estimator", "n_rows", "classes", "options", "times"),
    [
        (sp.ShadowClassifier, 512, 2, {"n_nodes": 4}, 0.5), (sp.ShadowClassifier, 511, 2, {"n_nodes": 4}, 1),
        (sp.ShadowClassifier, 16_383, 2, {"n_nodes": 4}, 0.5),
        (sp.ShadowClassifier, 16_384, 2, {"n_nodes": 4}, 1), (sp.ShadowClassifier, 600, 3, {"n_nodes": 4}, 1),
        (sp.ShadowRegressor, 600, 9, {"n_nodes": 4}, 0.5), (sp.ShadowClassifier, 600, 2, {"n_nodes": 14}, 1),
        (sp.ShadowClassifier, 600, 2, {"n_nodes": 4, "n_inputs": 3}, 0.5),
        (sp.ShadowClassifier, 600, 2, {"n_nodes": None, "n_inputs": 3}, 1),
        (sp.ShadowClassifier, 600, 2, {"n_nodes": 4, "method": "taylor"}, 1),
        (sp.ShadowClassifier, 600, 2, {"budget": sp.Budget(multiplications=30)}, 1),
    ],
)  # fmt: skip
def test_scores_of_few_nodes_of_few_rows_move_slower(
    rng, score_rates, estimator, n_rows, classes, options, times
):
    """From first to last, and only of hidden nodes, of a trained network too; those under costs do not."""
    X, y = rng.normal(size=(n_rows, 6)), np.arange(n_rows) % classes
    few = estimator((8, 8), max_iter=4, random_state=0, **options).fit(X, y)
    assert score_rates and set(score_rates) <= {(True, 0.02 * times), (False, 0.05)}
    several = times < 1 or options == {"n_nodes": 4}
    assert len([hidden for hidden, _ in score_rates if hidden]) > 1 or not several
    whole = estimator((8, 8), n_nodes=None, max_iter=1, random_state=0).fit(X, y).network_
    score_rates.clear()
    few.fit(X, y, network=whole)
    assert score_rates and set(score_rates) <= {(True, 0.02 * times), (False, 0.05)}


def test_a_rate_of_the_scores_is_times_that_of_the_shadow(rng):
    """The same bits, of several orders too, as of a shadow whose hidden nodes have that rate."""
    network = sp.Network((6, 8, 8, 1), random_state=0)
    x = rng.normal(size=(64, 6)).astype(np.float32)
    target = (x[:, :1] > 0).astype(np.float32)
    found = []
    for of_shadow, of_settings in ((1, 0.25), (0.25, 1), (1, 1)):
        shadow = sp.ShadowNetwork(network, 5, inputs=4, random_state=0)
        for group in shadow.groups:
            group.rate *= of_shadow if group.layer.any() else 1
        settings = training.Settings(
            "binary_crossentropy", 12, 16, 5e-3, 0.01, tries=3, score_rate=of_settings
        )
        rngs = np.random.default_rng(1), np.random.default_rng(2)
        made = training.train(network, shadow, x, target, None, settings, rngs[0], scores=rngs[1])
        found.append(np.concatenate([made[0].params, *(group.scores for group in shadow.groups)]))
    same, slow, usual = found
    assert np.array_equal(same, slow) and not np.array_equal(slow, usual)


def epochs_of(weights, rows, part, loss="binary_crossentropy"):
    """Epochs where the whole network has so many weights and one output."""
    return _defaults.usual_epochs((weights, 1), rows, _defaults.usual_batch_size(rows), loss, part)


def test_few_nodes_take_more_epochs():
    parts = (1, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01)
    assert [epochs_of(50_000, 97_687, part) for part in parts] == [30, 30, 30, 30, 37, 52, 60, 60]
    assert [epochs_of(14_912, 97_687, part) for part in parts] == [30, 30, 33, 42, 52, 60, 60, 60]
    weights = (50_000, 40_000, 30_000, 20_000, 10_000)
    assert [epochs_of(n, 100_000, 0.3) for n in weights] == [30, 30, 35, 42, 42]
    assert [epochs_of(3000, 426, part) for part in (1, 0.1)] == [215, 215]  # 14 steps each
    assert [epochs_of(10_000, 2000, part) for part in (1, 0.05)] == [48, 60]


@pytest.mark.parametrize(
    ("rows", "epochs"),
    [
        (4095, [30, 37, 52, 60, 60]),
        (4096, [47, 50, 118, 240, 240]),  # 64 steps each
        (8000, [30, 50, 118, 240, 240]),
        (16_000, [30, 50, 118, 188, 188]),  # 3,000,000 rows
        (30_000, [30, 50, 100, 100, 100]),
        (49_999, [30, 50, 60, 60, 60]),
        (50_000, [30, 37, 52, 60, 60]),
        (60_000, [30, 37, 52, 60, 60]),
    ],
)
def test_few_nodes_of_few_rows_take_still_more(rows, epochs):
    """1.5 to the power of 1.25 is 1.66, 3 to it 3.95."""
    parts = (0.3, 0.2, 0.1, 0.05, 0.01)
    for loss in ("binary_crossentropy", "squared_error"):
        assert [epochs_of(rows, rows, part, loss) for part in parts] == epochs


@pytest.mark.parametrize(
    ("rows", "epochs"),
    [
        (4095, [42, 59, 60, 60]),
        (4096, [69, 164, 240, 240]),
        (16_000, [71, 170, 188, 188]),
        (40_000, [71, 75, 75, 75]),
    ],
)
def test_so_do_several_classes(rows, epochs):
    """The limit is .585 with 4,095 rows, of whose targets there are .205 weights each, then .6."""
    widths = (20, 40, 40, 3)
    parts = (0.3, 0.15, 0.1, 0.05)
    loss = "categorical_crossentropy"
    batch = _defaults.usual_batch_size(rows)
    assert [_defaults.usual_epochs(widths, rows, batch, loss, part) for part in parts] == epochs


def test_not_so_where_classes_are_more_than_twice_the_nodes():
    """8,000 rows, eight classes for four nodes a layer and for three; other outputs are no classes."""
    widths = (20, 40, 40, 8)
    of_classes = "categorical_crossentropy"
    several, outputs, numbers = (
        [_defaults.usual_epochs(widths, 8000, 64, loss, kept) for kept in (8 / 80, 6 / 80)]
        for loss in (of_classes, "binary_crossentropy", "squared_error")
    )
    assert several == [240, 60] and outputs == numbers == [240, 240]
    of_path = [_defaults.usual_epochs(widths, 8000, 64, of_classes, 0.2, least) for least in (0.1, 0.07)]
    assert of_path == [118, 52]
    # 2.0000000000000004 in floating point
    assert _defaults.usual_epochs((2, 50, 58), 8000, 64, of_classes, 29 / 50) == 31


def test_estimators_train_for_these_epochs(rng):
    """100 steps an epoch: 30 of them are 3,000."""
    X = rng.normal(size=(6400, 4))
    y = (X[:, 0] > 0).astype(int)
    few = sp.ShadowClassifier((10, 10), n_nodes=4, random_state=0).fit(X, y)
    assert few.n_iter_ == 118  # .6 over .2, to the power of 1.25
    assert sp.ShadowClassifier((10, 10), n_nodes=4, max_iter=3, random_state=0).fit(X, y).n_iter_ == 3
    assert few.retrain(X, y).n_iter_ == 30
    one_layer = sp.ShadowClassifier((10, 10), n_nodes=1, prune_layers=[1], random_state=0).fit(X, y)
    assert one_layer.n_iter_ == 33  # 11 of 20 nodes
    whole = sp.ShadowClassifier((10, 10), n_nodes=None, random_state=0).fit(X, y)
    assert whole.prune(X, y, n_nodes=2).n_iter_ == 10
    inputs = sp.ShadowClassifier((4,), n_nodes=None, n_inputs=1, max_iter="auto", random_state=0).fit(X, y)
    assert inputs.n_iter_ == 30


@pytest.mark.parametrize(("classes", "epochs"), [(2, 77), (4, 118)])
def test_epochs_go_with_weights_per_target(rng, classes, epochs):
    """Of 6,400 rows: 1,800 weights with two classes, .28 per target; 1,920 with four, .075."""
    X = rng.normal(size=(6400, 4))
    y = rng.integers(classes, size=6400)
    assert sp.ShadowClassifier((40, 40), n_nodes=0.2, random_state=0).fit(X, y).n_iter_ == epochs


@pytest.mark.parametrize(("smallest", "epochs"), [(4, [50, 240]), (3, [37, 60])])
def test_epochs_of_a_path_go_by_its_smallest_network(rng, monkeypatch, smallest, epochs):
    """Of four classes with two nodes a layer, or one and a half."""

    class Enough(Exception):
        pass

    def stages_of(n, least, epochs_of, orders):
        found.extend(map(epochs_of, (0.4, 0.1)))
        raise Enough

    found = []
    monkeypatch.setattr("shadowprune.path.stages_of", stages_of)
    path = sp.ShadowPath((10, 10), n_nodes_min=smallest, validation_fraction=0)
    with pytest.raises(Enough):
        path.fit(rng.normal(size=(6400, 4)), rng.integers(4, size=6400))
    assert found == epochs


def test_small_levels_of_a_path_train_for_longer(rng):
    """6,400 of 8,000 rows, 100 steps an epoch. Levels of 20, 14, 8, 4 and 3 nodes, the last for 2.

    The whole network trains for .8 of 30 epochs; with the order of each level begins the next: after 4, then
    50/15, 118/15 and 170/15. For .1 of the nodes 240 epochs are usual, which the last level has, and
    its smallest network a third of them alone.
    """
    X = rng.normal(size=(8000, 4))
    y = (X[:, 0] > 0).astype(int)
    options = {
        "hidden_layer_sizes": (10, 10),
        "n_nodes_min": 2,
        "validation_fraction": 0.2,
        "random_state": 0,
    }
    path = sp.ShadowPath(**options).fit(X, y)
    assert len(path.history_.loss) == 24 + (4 + 8 + 12 + 240) + 80
    assert len(sp.ShadowPath(**options, max_iter=30).fit(X, y).history_.loss) == 24 + (2 + 2 + 2 + 30) + 10
