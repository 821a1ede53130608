"""Where few nodes are left several orders of them are begun, and the best is gone on with."""

import math
import tracemalloc

import numpy as np
import pytest
from core_cases import bits
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

import shadowprune as sp
from shadowprune import _defaults, _orders, training
from shadowprune.qat import Quantiser
from shadowprune.training import History, Settings


@pytest.fixture(scope="module")
def rows():
    return make_classification(600, 8, n_informative=5, random_state=1)


@pytest.fixture(autouse=True)
def eight(monkeypatch):
    """Eight orders, as of many rows."""
    monkeypatch.setattr(_defaults, "ORDERS", len(_defaults.ORDERS) * (8,))


@pytest.fixture
def seen(monkeypatch):
    """Every run of a training in the order in which they begin, and which was kept among which."""
    runs, kept = [], []
    make, best = training._Run.reordered, training.best

    def made(self, rng):
        runs.extend([self] * (not runs))
        runs.append(make(self, rng))
        return runs[-1]

    def chosen(given, *by):
        kept.append((given, best(given, *by)))
        return kept[-1][1]

    monkeypatch.setattr(training._Run, "reordered", made)
    monkeypatch.setattr(training, "best", chosen)
    return runs, kept


@pytest.mark.parametrize(
    ("widths", "final", "several"),
    [
        ([40, 64, 64, 64, 64, 1], [40, 6, 6, 6, 6, 1], True),
        ([40, 64, 64, 64, 64, 1], [40, 6, 6, 6, 7, 1], False),
        ([40, 64, 64, 1], [40, 11.0, 1.0, 1], True), ([40, 3, 3, 1], [40, 3, 3, 1], False),
        ([40, 3, 3, 1], [10, 3, 3, 1], False), ([40, 3, 3, 1], [40, 3, 2, 1], True),
        ([40, 1], [3, 1], False),
    ],
)  # fmt: skip
def test_orders_are_tried_where_six_nodes_of_a_layer_or_fewer_are_left(widths, final, several):
    assert _defaults.usual_tries(widths, final, 1000, "") == (8 if several else 1)


def test_layers_cut_alike_add_up_to_the_count():
    """But for rounding."""
    for hidden, n_nodes in (((187,), 6), ((85, 75, 77, 122), 24)):
        net = sp.Network([4, *hidden, 1])
        final = sp.ShadowNetwork(net, n_nodes).open_widths(1.0)
        assert sum(final[1:-1]) > n_nodes
        assert _defaults.usual_tries(net.widths, final, 1000, "") == 8


def test_from_where_the_budget_is_reached_until_after_the_hard_finish():
    """Of 30 epochs nine pass before; twelve of 20 are soft, then one more."""

    def orders(epochs, tries=8):
        settings = Settings("", epochs, 1, 0.0, 0.0, tries=tries)
        return [training._n_orders(epoch, settings) for epoch in range(epochs)]

    assert orders(30) == [1] * 9 + [8] * 11 + [1] * 10
    assert orders(20) == [1] * 6 + [8] * 7 + [1] * 7
    assert orders(20, 3) == [1] * 6 + [3] * 7 + [1] * 7
    assert orders(20, 1) == [1] * 20
    assert orders(7) == [1, 1, 8, 8, 8, 8, 1]  # the finish falls into the fifth
    assert [orders(epochs) for epochs in (1, 2, 3)] == [[1], [1, 1], [1, 8, 1]]
    for epochs in range(4, 200):
        assert orders(epochs)[-1] == 1
        assert orders(epochs)[math.ceil(0.6 * epochs - 1e-9) - 1] == 8  # that of the finish


def test_the_order_of_least_loss_is_gone_on_with(rows, seen):
    clf = sp.ShadowClassifier((16, 16), n_nodes=5, max_iter=20, random_state=0).fit(*rows)
    runs, ((given, last),) = seen
    assert len(runs) == 8
    assert set(given) == set(runs)
    assert not any(run.soft for run in runs)
    losses = [run.history.loss[12] for run in given]
    assert last is given[np.argmin(losses)]
    assert clf.history_ is last.history
    assert [len(clf.history_.loss), len(clf.history_.gates)] == [20, 11]
    for mine, theirs in zip(clf.support_, last.support, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert clf.n_nodes_ == sum(mask.sum() for mask in clf.support_[1:]) == 5


def test_the_best_has_the_least_loss_or_of_several_classes_the_largest_area_of_the_better_half():
    """A loss or an area that is not finite comes last."""

    def best(losses, areas, learnt="categorical_crossentropy"):
        return _orders.best(range(len(losses)), learnt, losses.__getitem__, areas.__getitem__)

    losses, areas = [0.4, 0.3, math.nan, 0.1, 0.2, math.inf], [0.99, 0.7, 0.99, 0.6, 0.8, 0.99]
    assert best(losses, areas, "binary_crossentropy") == best(losses, areas, "squared_error") == 3
    assert best(losses, areas) == 4
    assert best(losses[:5], areas) == 4  # a half of five are three
    assert best(losses, [-math.inf, -math.inf, 1, 0.6, -math.inf, 1]) == 3
    assert best([math.nan, 0.5], [1, 0]) == 1
    assert best([0.3, 0.3], [0.1, 0.2]) == 0  # the first of equals
    assert best([0.5], [0.1]) == 0


def test_area_is_the_mean_over_classes_of_rows_that_count():
    """Not those of no weight; outputs that are not finite have the least there is."""
    z = np.array([[3.0, 0, 0], [0, 1, 0], [0, 2, 0], [1, 0, 1], [9, 9, 0]], np.float32)
    target = np.eye(3, dtype=np.float32)[[0, 1, 1, 2, 0]]
    area = _orders.area_under_curves
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    curves = [roc_auc_score(target[:4, c], p[:4, c]) for c in range(3)]
    assert area(z[:4], target[:4], None) == pytest.approx(np.mean(curves))
    assert area(z, target, np.float32([1, 1, 1, 1, 0])) == area(z[:4], target[:4], None)
    assert area(z, target, np.float32([1, -1, 1, 1, 0])) == area(z[:4], target[:4], None)
    assert area(z, target, np.float32([1, 0, 0, 0, 1])) == 0
    z[2, 1] = np.nan
    assert area(z, target, None) == -math.inf


@pytest.mark.parametrize(
    "weights", ["none", "positive", "zero", "two classes", "one class", "negative", "negative and zero"]
)
@pytest.mark.parametrize("precision", [None, "auto:6"])
def test_of_several_classes_the_most_discriminating_of_the_better_half(weights, precision, monkeypatch):
    """By the mean area of each class against the others, of rows that have some weight."""
    X, y = make_classification(600, 8, n_informative=5, n_classes=4, random_state=1)
    rng, weight = np.random.default_rng(0), None
    if weights != "none":
        weight = rng.exponential(size=len(y)).astype(np.float32)
        weight[::5] *= {"zero": 0, "negative": -1, "negative and zero": -1}.get(weights, 1)
        weight[1::5] *= weights != "negative and zero"
        weight[(y > 1) & (weights == "two classes") | (y > 0) & (weights == "one class")] = 0
    best, kept = training.best, []

    def chosen(runs, *by):
        losses = [run.history.loss[-1] for run in runs]
        better, areas = sorted(range(8), key=losses.__getitem__)[:4], []
        rows = np.ones(len(y), bool) if weight is None else weight != 0
        classes = np.unique(y[rows])
        for run in runs:
            net = run.quantiser.fixed(run.network()) if precision else run.network()
            z = net.forward(run.all[:, run.support[0]])
            p = np.exp(np.float64(z)) / np.exp(np.float64(z)).sum(1, keepdims=True)
            of_rows = None if weight is None or weights.startswith("negative") else weight[rows]
            areas.append(np.mean([
                roc_auc_score(y[rows] == c, p[rows, c], sample_weight=of_rows)
                for c in (classes if len(classes) > 1 else ())
            ] or [0.0]))  # fmt: skip
        kept.append((better, areas, runs.index(best(runs, *by))))
        return runs[kept[-1][-1]]

    monkeypatch.setattr(training, "best", chosen)
    clf = sp.ShadowClassifier(
        (16, 16), n_nodes=5, n_inputs=6, max_iter=20, precision=precision, random_state=0
    )
    assert clf.fit(X, y, sample_weight=weight).n_nodes_ == 5
    ((better, areas, mine),) = kept
    assert mine in better
    assert areas[mine] == pytest.approx(max(areas[i] for i in better), abs=1e-12)


def test_a_new_order_moves_hidden_scores_only(rows, monkeypatch):
    """By 1.2 normal deviates; weights and moments are those of the run it comes from, which stays."""
    made = []
    make = training._Run.reordered

    def reordered(self, rng):
        before = self.trainer.get_shadow(), self.trainer.get_state()
        other = make(self, np.random.default_rng(7))
        made.append((self, before, other.trainer.get_shadow(), other.trainer.get_state()))
        assert bits(*self.trainer.get_shadow()) == bits(*before[0])
        return other

    monkeypatch.setattr(training._Run, "reordered", reordered)
    clf = sp.ShadowClassifier((16, 16), n_nodes=5, n_inputs=4, max_iter=10, random_state=0).fit(*rows)
    assert clf.network_.widths[0] == 4
    assert len(made) == 7
    run, (scores, state), moved, same = made[0]
    assert bits(*same[:3]) == bits(*state[:3])
    assert same[3] == state[3]
    sizes = [len(one) for one in scores]
    assert sum(sizes) < 8 + 32  # closed nodes have left by then
    rng = np.random.default_rng(7)
    for group, before, after in zip(run.shadow.groups, scores, moved, strict=True):
        drawn = 1.2 * rng.standard_normal(len(before))
        np.testing.assert_allclose(after - before, drawn * bool(group.layer.any()), atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"n_nodes": 13}, {"n_nodes": 5, "method": "straight-through"}, {"n_nodes": 5, "method": "taylor"},
        {"budget": sp.Budget(multiplications=60)}, {"budget": sp.Budget(nodes=4, multiple=2)},
        {"budget": sp.Budget(nodes=5, max_nodes=4)}, {"n_nodes": None}, {"n_nodes": None, "n_inputs": 4},
    ],
)  # fmt: skip
def test_no_other_orders(rows, seen, options):
    """Many nodes, none lost, other methods, and budgets under which nodes do not leave before the finish."""
    sp.ShadowClassifier((16, 16), max_iter=6, random_state=0, **options).fit(*rows)
    assert seen == ([], [])


@pytest.mark.parametrize(
    "options",
    [
        {"n_nodes": 12}, {"budget": sp.Budget(per_layer=(3, 2))}, {"n_nodes": 5, "n_inputs": 4},
        {"n_nodes": 5, "precision": "auto:8"}, {"n_nodes": 5, "early_stopping": True},
        {"n_nodes": 5, "max_iter": 3}, {"n_nodes": 5, "alpha": 0.1},
    ],
)  # fmt: skip
def test_the_same_bits_again_and_for_any_number_of_threads(rows, seen, options):
    made = [
        sp.ShadowClassifier((16, 16), random_state=3, n_jobs=n, **{"max_iter": 8} | options).fit(*rows)
        for n in (1, 1, 3)
    ]
    assert len(seen[0]) == 1 + 3 * 7
    outputs = [clf.decision_function(rows[0]) for clf in made]
    assert bits(outputs[0]) == bits(outputs[1]) == bits(outputs[2])
    (report, *_), support = made[0].budget_report_, made[0].support_
    assert report.used == report.asked
    assert made[0].n_nodes_ == sum(mask.sum() for mask in support[1:])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_fixed_point_takes_the_types_of_the_order_gone_on_with(rows, seen, monkeypatch, early_stopping):
    """Whose weights then lie on their grids: the two networks agree."""
    types, choose, differed = {}, Quantiser.choose, 0

    def chosen(self, network, x):
        grids = choose(self, network, x)
        types[id(self)] = self.types
        return grids

    monkeypatch.setattr(Quantiser, "choose", chosen)
    for seed in range(4):
        types.clear()
        clf = sp.ShadowClassifier(
            (16, 16), n_nodes=5, max_iter=20, precision="auto:6", early_stopping=early_stopping,
            random_state=seed,
        ).fit(*rows)  # fmt: skip
        (*_, (_, last)) = seen[1]
        wanted = [(one.weight.width, one.weight.integer) for one in types[id(last.quantiser)]]
        found = [(layer.weight_type.width, layer.weight_type.integer) for layer in clf.fixed_network_.layers]
        assert found == wanted
        differed += any(one != types[id(last.quantiser)] for one in types.values())
        for layer, weights in zip(clf.fixed_network_.layers[1:], clf.network_.weights[1:], strict=True):
            np.testing.assert_array_equal(layer.weights, weights)
    assert differed


@pytest.mark.parametrize("n_rows", [20, 65, 600])
@pytest.mark.parametrize("max_iter", range(1, 7))
@pytest.mark.parametrize("early_stopping", [False, True])
def test_few_epochs_of_few_batches(rows, n_rows, max_iter, early_stopping):
    """The hard finish may come before the epoch in which orders would begin."""
    X, y = rows[0][:n_rows], rows[1][:n_rows]
    clf = sp.ShadowClassifier(
        (16, 16), n_nodes=5, max_iter=max_iter, early_stopping=early_stopping, random_state=0
    )
    assert clf.fit(X, y).n_nodes_ == 5
    assert len(clf.history_.loss) == max_iter
    assert bool(clf.history_.validation_score) == early_stopping


def test_a_warm_start_tries_orders_too(rows, seen):
    whole = sp.ShadowClassifier((16, 16), n_nodes=None, max_iter=5, random_state=0).fit(*rows)
    assert whole.prune(*rows, n_nodes=5, max_iter=8).n_nodes_ == 5
    assert len(seen[0]) == 8


def test_all_orders_take_the_rows_as_one_does(rows, monkeypatch):
    """The same in an epoch, whatever the number of orders; progress is told once."""
    taken, epoch = {}, training._Run.epoch
    monkeypatch.setattr(
        training._Run, "epoch", lambda run, n, order: taken[n].append(order) or epoch(run, n, order)
    )
    orders, told = [], []
    monkeypatch.setattr(training, "History", lambda: told.append([]) or History())
    monkeypatch.setattr(sp.ShadowClassifier, "_after_epoch", lambda self: told[-1].append(self.verbose))
    for tries in (1, 8):
        monkeypatch.setattr(_defaults, "ORDERS", len(_defaults.ORDERS) * (tries,))
        taken.update({n: [] for n in range(20)})
        sp.ShadowClassifier((16, 16), n_nodes=5, max_iter=20, random_state=0).fit(*rows)
        assert [len(taken[n]) for n in (5, 6, 12, 13)] == [1, tries, tries, 1]
        for found in taken.values():
            assert all(np.array_equal(one, found[0]) for one in found)
        orders.append([found[0] for found in taken.values()])
    np.testing.assert_array_equal(*orders)
    assert [len(one) for one in told] == [20, 20]


@pytest.mark.parametrize("family", ["logistic", "laplace"])
def test_the_shadow_is_left_as_the_order_gone_on_with_has_it(rows, monkeypatch, family):
    """Its support is what is returned; other orders solve for the gates as the first does."""
    told, make = [], training._core.Trainer

    class Spy:
        def __init__(self, *arguments, trainer=None, **options):
            self.trainer = trainer or make(*arguments, **options)

        def __getattr__(self, name):
            return getattr(self.trainer, name)

        def reduced(self, keep):
            return Spy(trainer=self.trainer.reduced(keep))

        def set_shadow(self, groups, *how):
            if groups:
                told.append(([rate for *_, rate in groups], how))
            self.trainer.set_shadow(groups, *how)

    monkeypatch.setattr(training._core, "Trainer", Spy)
    x, target = rows[0].astype(np.float32), rows[1][:, None].astype(np.float32)
    for seed in range(3):
        net = sp.Network([8, 16, 16, 1], random_state=seed)
        shadow = sp.ShadowNetwork(net, 5, inputs=4, family=family, random_state=seed)
        settings = Settings("binary_crossentropy", 10, 50, 5e-3, 0.01, tries=8)
        rng = np.random.default_rng(seed)
        _, support, _ = training.train(net, shadow, x, target, None, settings, rng, scores=rng)
        for mine, theirs in zip(shadow.support(), support, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert len(told) == 3 * 8
    assert all(one == told[0] for one in told)
    assert told[0][1] == (family, "shadow")


def test_of_several_orders_one_at_a_time_has_rows_of_its_own():
    """Half of the inputs leave; copies for eight orders would be nine times the rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 300)).astype(np.float32)
    tracemalloc.start()
    try:
        clf = sp.ShadowClassifier((16, 16), n_nodes=5, n_inputs=150, max_iter=10, random_state=0)
        clf.fit(X, X[:, 0] > 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert clf.network_.widths[0] == 150
    assert peak < 6 * X.nbytes


def test_thirty_two_orders_with_all_the_rest(rows, monkeypatch):
    """Inputs, fixed point, early stopping; the same bits for any number of threads."""
    monkeypatch.setattr(_defaults, "ORDERS", len(_defaults.ORDERS) * (32,))
    begun, make = [], training._Run.reordered
    monkeypatch.setattr(training._Run, "reordered", lambda run, of: begun.append(run) or make(run, of))
    made = [
        sp.ShadowClassifier(
            (16, 16), n_nodes=5, n_inputs=4, precision="auto:8", early_stopping=True, max_iter=12, n_jobs=n,
            random_state=0,
        ).fit(*rows)
        for n in (1, 3)
    ]  # fmt: skip
    assert len(begun) == 2 * 31
    assert bits(made[0].decision_function(rows[0])) == bits(made[1].decision_function(rows[0]))
    assert (made[0].n_nodes_, made[0].fixed_network_.widths[0]) == (5, 4)


def test_early_stopping_begins_with_the_last_order(rows):
    clf = sp.ShadowClassifier(
        (16, 16), n_nodes=5, max_iter=20, early_stopping=True, n_iter_no_change=20, random_state=0
    ).fit(*rows)
    assert len(clf.history_.validation_score) == 7
    assert len(clf.history_.loss) == 20


@pytest.mark.parametrize("diverged", [False, True])
def test_interrupted_among_several_orders(rows, monkeypatch, diverged):
    """The count is kept, and the first order, or the next if that one has diverged."""
    epoch, done = training._Run.epoch, []

    def interrupted(self, number, order):
        done.append(self)
        if len(done) == 6 + 8 * 3 + 3:
            raise KeyboardInterrupt
        if len(done) == 6 + 8 * 3 + 1 and diverged:
            raise ValueError("the training diverged")
        return epoch(self, number, order)

    monkeypatch.setattr(training._Run, "epoch", interrupted)
    clf = sp.ShadowClassifier((16, 16), n_nodes=5, max_iter=20, random_state=0)
    with pytest.warns(RuntimeWarning, match="interrupted in epoch 10 of 20"):
        clf.fit(*rows)
    assert clf.n_nodes_ == 5
    assert clf.history_ is done[7 if diverged else 0].history
    assert np.isfinite(clf.decision_function(rows[0])).all()


@pytest.mark.parametrize("diverging", [[0], [3], [7], range(1, 8), range(8)])
def test_an_order_that_diverges_is_given_up(rows, seen, monkeypatch, diverging):
    """Unless all do."""
    epoch = training._Run.epoch

    def failing(run, number, order):
        if number == 7 and seen[0].index(run) in diverging:
            raise ValueError("the training diverged")
        return epoch(run, number, order)

    monkeypatch.setattr(training._Run, "epoch", failing)
    clf = sp.ShadowClassifier((16, 16), n_nodes=5, max_iter=20, random_state=0)
    if len(diverging) == 8:
        with pytest.raises(ValueError, match="diverged"):
            clf.fit(*rows)
        return
    assert clf.fit(*rows).n_nodes_ == 5
    assert len(clf.history_.loss) == 20
    assert not any(clf.history_ is seen[0][i].history for i in diverging)


@pytest.mark.parametrize("kind", ["digits", "regression"])
def test_several_orders_find_better_networks(kind, monkeypatch):
    """Mean over seeds of what scikit-learn measures on rows not trained on, beside a single order."""
    if kind == "digits":
        X, y = load_digits(return_X_y=True)
        estimator, better = sp.ShadowClassifier((64, 64), n_nodes=6, max_iter=60), 0.005
    else:
        X, y = make_friedman1(4000, noise=1.0, random_state=0)
        estimator, better = sp.ShadowRegressor((64, 64, 64), n_nodes=9, max_iter=40), 0.005
    scores = {}
    for tries in (1, 8):
        monkeypatch.setattr(_defaults, "ORDERS", len(_defaults.ORDERS) * (tries,))
        for seed in range(6):
            train, test, wanted, truth = train_test_split(X, y, test_size=0.5, random_state=seed)
            fitted = estimator.set_params(random_state=seed).fit(train, wanted)
            found = (
                roc_auc_score(truth, fitted.predict_proba(test), multi_class="ovr")
                if kind == "digits"
                else fitted.score(test, truth)
            )
            scores.setdefault(tries, []).append(found)
    assert np.mean(scores[8]) > np.mean(scores[1]) + better


def test_of_many_the_better_half_stays_and_of_four_the_best():
    """A loss that is not finite comes last; of equals the first are better."""
    losses = [0.4, math.nan, 0.1, 0.3, math.inf, 0.3, 0.2]
    assert _orders.fewer(range(7), losses.__getitem__) == [2, 6, 3, 5]
    assert _orders.fewer(range(5), losses.__getitem__) == [2, 3, 0]
    assert _orders.fewer(range(4), losses.__getitem__) == [2]
    assert _orders.fewer([1], losses.__getitem__) == [1]
