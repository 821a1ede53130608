"""ShadowPath: every node count from one training."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from shadowprune import ShadowClassifier, ShadowPath, _levels
from shadowprune._family import Band
from shadowprune.metrics import background_rejection


@pytest.fixture(scope="module")
def rows():
    return make_classification(4000, 12, n_informative=8, n_clusters_per_class=3, random_state=0)


@pytest.fixture(scope="module")
def path(rows):
    return ShadowPath((20, 15, 9), n_nodes_min=4, max_iter=30, random_state=0).fit(*rows)


def test_every_count_is_exact_and_nested(path):
    assert path.n_nodes_range_ == (4, 44)
    before = None
    for n in range(4, 45):
        clf = path.at(n)
        assert clf.n_nodes_ == clf.network_.n_nodes == sum(clf.widths_) == n
        assert [int(mask.sum()) for mask in clf.support_[1:]] == list(clf.widths_)
        assert min(clf.widths_) >= 1
        assert clf.budget_report_[0].used == clf.budget_report_[0].asked == n
        kept = np.concatenate(clf.support_)
        assert before is None or (kept >= before).all()
        before = kept


def test_small_networks_come_from_levels_of_their_own(path):
    bands = path.family_.bands
    assert [band.knots[-1] for band in bands] == [4, 6, 10, 18, 32, 44]
    for below, above in pairwise(bands):
        assert not np.array_equal(below.network.params, above.at(below.knots[-1]).params)
        widths = path.at(below.knots[-1]).widths_
        assert widths == above.at(below.knots[-1]).widths[1:-1]  # nested all the same


def test_the_order_is_one_over_all_levels(path):
    """Which nodes of the whole network the small ones are, against following them down the levels."""
    family = path.family_
    for n in (4, 9, 25):
        masks = [band.keep(n) for band in family.bands if n <= band.knots[-1]]
        widths = [tuple(int(mask.sum()) for mask in of) for of in masks]
        assert len(set(widths)) == 1
        assert widths[0][1:] == path.at(n).widths_


@pytest.mark.parametrize("n", [4, 6, 9, 22, 23, 37, 44])
def test_reduced_network_is_the_gated_one_bit_for_bit(path, rows, n):
    family = path.family_
    band = next(b for b in family.bands if n <= b.knots[-1])
    x = rows[0][:300].astype(np.float32)
    gates = [mask.astype(np.float32) for mask in band.keep(n)]
    np.testing.assert_array_equal(band.corrected(n).forward(x, gates), family.at(n).forward(x))


def test_corrections_are_linear_in_the_logarithm(path):
    band = path.family_.whole
    for n in (4, 7, 13, 30, 43, 44):
        for found, at_knots in zip(band.correction(n), (band.gain, band.shift), strict=True):
            table = np.vstack([at_knots, np.zeros(at_knots.shape[1])])
            wanted = [np.interp(np.log(n), np.log(band.knots), column) for column in table.T]
            np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert not np.any(band.correction(44)[0])
    assert np.abs(band.gain).max() > 0.01


def test_corrections_are_the_same_bits_on_every_processor(rng):
    """A product, then a sum, each rounded: other than BLAS, whose kernels differ."""
    knots = (4, 9, 20, 44)
    gain, shift = (rng.normal(size=(3, 200)).astype(np.float32) for _ in range(2))
    band = Band(None, np.empty(0, np.int32), knots, gain, shift)
    for n in (4, 7, 13, 43):
        hats = np.eye(4)[:3]
        part = [np.float32(np.interp(np.log(n), np.log(knots), hat)) for hat in hats]
        for found, rows in zip(band.correction(n), (gain, shift), strict=True):
            wanted = np.zeros(200, np.float32)
            for p, row in zip(part, rows, strict=True):
                wanted = wanted + p * row
            np.testing.assert_array_equal(found, wanted)


def test_as_good_as_a_training_for_one_size(path, rows):
    X, y = make_classification(12000, 12, n_informative=8, n_clusters_per_class=3, random_state=0)
    X, y = X[4000:], y[4000:]  # not those the fixture was trained on
    rng = np.random.default_rng(0)
    train, test = np.split(rng.permutation(len(X)), 2)
    family = ShadowPath((20, 15, 9), n_nodes_min=4, max_iter=60, random_state=0, validation_fraction=0)
    family.fit(X[train], y[train])
    for n in (6, 10, 22, 44):
        one = ShadowClassifier((20, 15, 9), n_nodes=n, max_iter=60, random_state=0).fit(X[train], y[train])
        ours, theirs = (roc_auc_score(y[test], c.decision_function(X[test])) for c in (family.at(n), one))
        assert ours > theirs - 0.02
        assert ours > 0.85


def test_same_seed_same_bits_for_any_number_of_threads(rows, monkeypatch):
    monkeypatch.setattr(_levels, "FEW", 1)  # the last level tries its orders
    X, y = rows
    made = [
        ShadowPath((16, 8), n_nodes_min=3, max_iter=6, batch_size=400, random_state=3, n_jobs=n).fit(X, y)
        for n in (1, 1, 3)
    ]
    for n in (3, 8, 24):
        outputs = [path.at(n).decision_function(X) for path in made]
        np.testing.assert_array_equal(outputs[0], outputs[1])
        np.testing.assert_array_equal(outputs[0], outputs[2])


def test_several_classes_weights_and_names():
    pd = pytest.importorskip("pandas")
    X, y = load_digits(return_X_y=True)
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(64)])
    names = np.array(list("abcdefghij"))[y]
    path = ShadowPath((24, 16), n_nodes_min=6, max_iter=40, random_state=1)
    path.fit(frame, names, sample_weight=np.linspace(0.5, 1.5, len(y)))
    clf = path.at(0.6)
    assert clf.n_nodes_ == 24
    assert clf.network_.input_names == tuple(frame.columns)
    assert list(clf.classes_) == list("abcdefghij")
    assert clf.score(frame, names) > 0.9
    smallest = path.smallest(accuracy=0.8)
    assert 6 <= smallest.n_nodes_ < 40
    with pytest.raises(ValueError, match="rejection is for two classes, y had 10"):
        path.smallest(rejection=10)


def test_smallest_against_a_scan(path, rows):
    X, y = rows
    sizes = np.arange(4, 45)
    passing = [1 / background_rejection(y, path.at(int(n)).decision_function(X), 0.9) for n in sizes]
    smooth = IsotonicRegression(increasing=False).fit_transform(sizes, passing)
    target = 1 / smooth[20]
    wanted = int(sizes[np.argmax(smooth <= smooth[20])])
    assert path.smallest(rejection=target * (1 - 1e-9), efficiency=0.9, X=X, y=y).n_nodes_ == wanted
    accuracy = [path.at(int(n)).score(X, y) for n in sizes]
    smooth = IsotonicRegression().fit_transform(sizes, accuracy)
    wanted = int(sizes[np.argmax(smooth >= smooth[15])])
    assert path.smallest(accuracy=smooth[15] - 1e-9, X=X, y=y).n_nodes_ == wanted


def test_smallest_measures_on_rows_that_were_not_trained_on(rows):
    X, y = rows
    path = ShadowPath((16, 8), n_nodes_min=3, max_iter=10, random_state=0).fit(X, y)
    held = path._held[0] * path._rows.scale + path._rows.mean
    distance, aside = NearestNeighbors(n_neighbors=1).fit(X).kneighbors(held)
    assert len(np.unique(aside)) == 400
    assert distance.max() < 1e-5
    same = {"X": X[aside[:, 0]], "y": y[aside[:, 0]]}
    largest = path.at(24)  # what it reaches can be asked for
    logits = largest.decision_function(same["X"])
    rejection = background_rejection(same["y"], logits, 0.9) * (1 - 1e-9)
    for asked in ({"accuracy": largest.score(**same)}, {"rejection": rejection, "efficiency": 0.9}):
        assert path.smallest(**asked).n_nodes_ == path.smallest(**asked, **same).n_nodes_ > 3
    kept = [array for array in vars(path._rows).values() if isinstance(array, np.ndarray)]
    assert max(array.size for array in kept if array.base is None) <= X.shape[1]  # no row it was trained on
    assert not any(array.base is not None for array in kept)
    bare = ShadowPath((16, 8), n_nodes_min=3, max_iter=10, random_state=0, validation_fraction=0).fit(X, y)
    with pytest.raises(ValueError, match="validation_fraction was 0"):
        bare.smallest(accuracy=0.5)
    assert bare.smallest(accuracy=0.5, X=X, y=y).n_nodes_ == 3
    with pytest.warns(UserWarning, match="too few to tell"):
        path.smallest(rejection=1.0 + 1e3, efficiency=0.001)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give rejection= or accuracy="),
        ({"rejection": 5, "accuracy": 0.5}, "give rejection= or accuracy="),
        ({"rejection": -1}, "rejection is -1"),
        ({"accuracy": 1.5}, "accuracy is 1.5; it must be a number above 0, at most 1"),
        ({"rejection": float("nan")}, "rejection is nan"),
        ({"rejection": 5, "efficiency": 0}, "efficiency is 0; it must be a number above 0, at most 1"),
        (
            {"rejection": 5, "efficiency": [0.5, 0.6]},
            r"efficiency is \[0.5, 0.6\]; it must be a number",
        ),
        ({"accuracy": 0.5, "X": [[1.0]]}, "X and y go together"),
        ({"accuracy": 0.5, "X": np.zeros((3, 12)), "y": [0, 1]}, "inconsistent numbers of samples"),
        ({"accuracy": 0.5, "X": np.zeros((2, 12)), "y": [0, 2]}, "y holds 2, which it did not in fit"),
        ({"accuracy": 0.5, "X": np.zeros((2, 12)), "y": ["a", "a"]}, "y holds 'a', which it did not in fit"),
        ({"accuracy": 0.5, "X": np.zeros((2, 11)), "y": [0, 1]}, "X has 11 features"),
        (
            {"accuracy": 1.0},
            "no network of this path reaches it on 400 rows; the largest, with 44 nodes, has 0",
        ),
    ],
)
def test_what_smallest_refuses(path, arguments, message):
    with pytest.raises(ValueError, match=message):
        path.smallest(**arguments)


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (3, ValueError, r"n_nodes is 3; it must be at least 4 \(n_nodes_min\) and at most 44"),
        (45, ValueError, "at most 44"),
        (0.01, ValueError, "n_nodes is 0.01, 0 of 44"),
        (True, TypeError, "n_nodes is True"),
        ("ten", TypeError, "n_nodes is 'ten'"),
    ],
)
def test_what_at_refuses(path, n, error, message):
    with pytest.raises(error, match=message):
        path.at(n)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_nodes_min": 1}, r"n_nodes_min is 1; it must be at least 3 \(one per hidden layer\)"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0; it must be at least 0 and below 1"),
        ({"hidden_layer_sizes": ()}, "a path needs a hidden layer"),
        ({"activation": "cube"}, "activation is 'cube'"),
        ({"n_nodes_min": 44}, "it must be at least 3 .* and at most 43"),
        ({"hidden_layer_sizes": (1, 1)}, "a path needs layers that can be pruned"),
        ({"learning_rate_init": 1e9}, "diverged"),
    ],
)
def test_what_fit_refuses(rows, parameters, message):
    with pytest.raises(ValueError, match=message):
        ShadowPath(**{"hidden_layer_sizes": (20, 15, 9), "max_iter": 3, "random_state": 0} | parameters).fit(
            *rows
        )


def test_rows_that_cannot_be_kept_aside(rows):
    X, y = rows[0][:12], np.r_[2, rows[1][1:12]]
    with pytest.raises(ValueError, match=r"validation_fraction is 0.1, for 12 rows: .* only 1 member"):
        ShadowPath((6, 4), random_state=0).fit(X, y)
    path = ShadowPath((6, 4), max_iter=2, random_state=0, validation_fraction=0).fit(X, y, sample_weight=3)
    assert path.at(4).n_nodes_ == 4


def test_what_comes_out_is_an_ordinary_classifier(path, rows):
    X, y = rows
    clf = path.at(10)
    assert clf.retrain(X, y).widths_ == clf.widths_
    assert clf.prune(X, y, n_nodes=6, max_iter=5).n_nodes_ == 6
    assert clf.predict_proba(X).shape == (len(X), 2)
    clf.network_.params[:] = 0  # the path does not notice
    assert np.abs(path.at(10).decision_function(X)).max() > 0.1


def test_pickle_clone_and_unfitted(path, rows):
    X = rows[0]
    again = pickle.loads(pickle.dumps(path))
    np.testing.assert_array_equal(again.at(9).decision_function(X), path.at(9).decision_function(X))
    with pytest.raises(ValueError, match="not fitted"):
        clone(path).at(9)
    assert clone(path).get_params() == path.get_params()


def test_ctrl_c_leaves_usable_networks(rows, monkeypatch):
    X, y = rows
    monkeypatch.setattr(_levels, "FEW", 1)
    for epoch in (2, 6, 9, 12):  # while gates are soft, in the bands, and while orders are tried
        seen = []

        def stop(self, seen=seen, epoch=epoch):
            seen.append(1)
            if len(seen) == epoch:
                raise KeyboardInterrupt

        monkeypatch.setattr(ShadowClassifier, "_after_epoch", stop)
        path = ShadowPath((16, 8), n_nodes_min=3, max_iter=10, random_state=0)
        with pytest.warns(RuntimeWarning, match="training interrupted in epoch") as warned:
            path.fit(X, y)
        assert warned[0].filename == __file__
        assert [path.at(n).n_nodes_ for n in (3, 11, 24)] == [3, 11, 24]


def test_history_has_every_epoch(rows):
    for epochs in (1, 4, 13):
        path = ShadowPath((16, 8), n_nodes_min=3, max_iter=epochs, random_state=0).fit(*rows)
        history = path.history_
        assert len(history.loss) == _levels.count_epochs(
            _levels.stages_of(24, 3, lambda kept, n=epochs: n, 8)
        )
        assert len(history.learning_rate) == len(history.weight_decay) == len(history.n_nodes)
        assert np.isfinite(history.loss).all()
        assert min(history.n_nodes) == 3


def test_one_epoch_and_few_counts(rows):
    X, y = rows
    path = ShadowPath((6, 4), n_nodes_min=9, max_iter=1, random_state=0).fit(X, y)
    assert [path.at(n).n_nodes_ for n in (9, 10)] == [9, 10]
    X, y = load_breast_cancer(return_X_y=True)
    path = ShadowPath((6,), max_iter=4, random_state=0).fit(X, y)
    assert [path.at(n).n_nodes_ for n in range(1, 7)] == list(range(1, 7))


def test_all_of_two_nodes_is_the_whole(rng):
    X = rng.normal(size=(60, 3))
    path = ShadowPath((2,), max_iter=3, random_state=0, validation_fraction=0).fit(X, X[:, 0] > 0)
    assert [band.knots[-1] for band in path.family_.bands] == [2]
