"""The estimators: scikit-learn's contract, exact counts, weights, bad input."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

import shadowprune as sp
from shadowprune import training

RANDOM_ORDER = (
    "rows are shuffled into batches, so a weight of two is not, bit for bit, the row twice "
    "(scikit-learn's MLPClassifier and SGDClassifier have the same exception)"
)


@parametrize_with_checks(
    [sp.ShadowClassifier((8, 8), 0.5), sp.ShadowRegressor((8, 8), 0.5)],
    expected_failed_checks=lambda _: {"check_sample_weight_equivalence_on_dense_data": RANDOM_ORDER},
)
@pytest.mark.filterwarnings("default")  # the checks provoke warnings on purpose
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def narrow():
    """With seven of ten columns kept."""
    X, y = np.random.default_rng(0).normal(size=(300, 10)), np.arange(300) % 3
    return sp.ShadowClassifier((6, 6), 8, n_inputs=7, max_iter=2, random_state=0).fit(X, y), X


def test_arrays_that_need_no_check_are_predicted_as_others(narrow):
    """Those take the short way round scikit-learn's validation; lists, integers and other orders do not."""
    model, X = narrow
    single, whole = X.astype(np.float32), np.rint(4 * X)
    wanted = model.predict_proba(single.tolist())
    np.testing.assert_allclose(wanted.sum(axis=1), 1)
    for same in (single, single.astype(float), np.asfortranarray(single), single.astype(">f4")):
        np.testing.assert_array_equal(model.predict_proba(same), wanted)
    np.testing.assert_array_equal(model.predict_proba(whole), model.predict_proba(whole.astype(int)))
    large = np.full((20, 10), 3e38, np.float32)  # finite, though the sum is not
    assert model.predict(large).shape == (20,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_that_are_wrong_are_still_refused(narrow, dtype):
    model, X = narrow
    X = X.astype(dtype)
    for value in (np.nan, np.inf, -np.inf):
        spoilt = X.copy()
        spoilt[5, 3] = value
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            model.predict_proba(spoilt)
    for wrong in (spoilt, X[:, :7], X[:0], X[0], X[None], np.hstack([X, X])):
        with pytest.raises(ValueError, match=r"infinity|features|sample|dim"):
            model.predict(wrong)
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return train_test_split(X, y, random_state=0, stratify=y)


@pytest.fixture(scope="module")
def fitted(cancer):
    X, _, y, _ = cancer
    return sp.ShadowClassifier((32, 32), n_nodes=20, random_state=0).fit(X, y)


def test_count_widths_and_support_agree(fitted):
    assert fitted.n_nodes_ == fitted.network_.n_nodes == sum(fitted.widths_) == 20
    assert [len(m) for m in fitted.support_] == [30, 32, 32]
    assert tuple(int(m.sum()) for m in fitted.support_[1:]) == fitted.widths_
    assert fitted.support_[0].all()
    assert len(fitted.loss_curve_) == fitted.n_iter_ == len(fitted.history_.n_nodes)
    assert fitted.history_.n_nodes[-1] == 20


def test_it_learns(cancer, fitted):
    _, X, _, y = cancer
    assert fitted.score(X, y) > 0.94


def test_logits_probabilities_and_labels_agree(cancer, fitted):
    X = cancer[1]
    z, p = fitted.decision_function(X), fitted.predict_proba(X)
    assert z.shape == (len(X),)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-z.astype(float))))
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(fitted.predict(X), (z > 0).astype(int))


def test_the_network_takes_the_users_own_columns(cancer, fitted):
    X = cancer[1]
    np.testing.assert_array_equal(fitted.network_.forward(X)[:, 0], fitted.decision_function(X))


def test_standardisation_is_only_folded_in(cancer):
    X, X_test, y, _ = cancer
    mean, scale = X.mean(0), X.std(0)
    raw = sp.ShadowClassifier((16,), n_nodes=6, random_state=0).fit(X, y)
    scaled = sp.ShadowClassifier((16,), n_nodes=6, standardize=False, random_state=0).fit(
        (X - mean) / scale, y
    )
    np.testing.assert_allclose(
        raw.decision_function(X_test), scaled.decision_function((X_test - mean) / scale), rtol=1e-3, atol=1e-3
    )


def test_retrain_is_a_new_network_of_that_layout(cancer, fitted):
    X, X_test, y, y_test = cancer
    again = fitted.retrain(X, y)
    assert type(again) is sp.ShadowClassifier
    assert again.widths_ == fitted.widths_
    assert (again.network_.params != fitted.network_.params).any()
    assert again.score(X_test, y_test) > 0.9


def test_input_selection(cancer):
    X, X_test, y, y_test = cancer
    clf = sp.ShadowClassifier((16, 16), n_nodes=12, n_inputs=7, random_state=0).fit(X, y)
    assert clf.support_[0].sum() == 7
    assert clf.network_.widths[0] == 7
    assert clf.n_nodes_ == 12
    kept = X_test[:, clf.support_[0]]
    np.testing.assert_array_equal(clf.network_.forward(kept)[:, 0], clf.decision_function(X_test))
    assert clf.score(X_test, y_test) > 0.9
    again = clf.set_params(early_stopping=True).retrain(X, y)
    np.testing.assert_array_equal(again.support_[0], clf.support_[0])
    assert again.score(X_test, y_test) > 0.9


def test_a_portion_of_the_layers(cancer):
    X, _, y, _ = cancer
    clf = sp.ShadowClassifier((16, 12, 16), n_nodes=8, prune_layers=[0, 2], max_iter=3, random_state=0).fit(
        X, y
    )
    assert clf.widths_[1] == 12
    assert clf.widths_[0] + clf.widths_[2] == 8


@pytest.mark.parametrize("n_nodes", [2, 5, 17, 31, 32])
def test_exact_counts(cancer, n_nodes):
    X, _, y, _ = cancer
    assert sp.ShadowClassifier((16, 16), n_nodes=n_nodes, max_iter=5).fit(X, y).n_nodes_ == n_nodes


def test_all_nodes_is_ordinary_training_bit_for_bit(cancer):
    X, _, y, _ = cancer
    nets = [
        sp.ShadowClassifier((16, 16), n_nodes=n, alpha=0.1, max_iter=10, random_state=3).fit(X, y).network_
        for n in (None, 1.0, 32)
    ]
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    np.testing.assert_array_equal(nets[0].params, nets[2].params)


def test_same_seed_same_bits(cancer):
    X, _, y, _ = cancer
    a, b = (
        sp.ShadowClassifier((16, 16), 0.5, max_iter=10, random_state=1).fit(X, y).network_ for _ in range(2)
    )
    np.testing.assert_array_equal(a.params, b.params)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid"])
def test_several_classes_and_activations(activation):
    X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    names = np.array([f"digit {d}" for d in range(10)])
    clf = sp.ShadowClassifier((64, 64), n_nodes=60, activation=activation, random_state=0).fit(X, names[y])
    assert clf.n_nodes_ == 60
    assert clf.predict_proba(X_test).shape == (len(X_test), 10)
    assert clf.score(X_test, names[y_test]) > 0.93


def test_labels_need_not_be_0_and_1(cancer):
    X, _, y, _ = cancer
    clf = sp.ShadowClassifier((8,), n_nodes=4, max_iter=20, random_state=0).fit(X, np.where(y, 7, -3))
    np.testing.assert_array_equal(clf.classes_, [-3, 7])
    assert set(clf.predict(X)) == {-3, 7}


def test_regression_in_the_targets_own_units():
    X, y = make_regression(2000, 10, noise=5, random_state=0)
    y = 1000 * y + 5e5
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    reg = sp.ShadowRegressor((32, 32), n_nodes=16, random_state=0).fit(X, y)
    assert reg.n_nodes_ == 16
    assert reg.score(X_test, y_test) > 0.95
    both = sp.ShadowRegressor((32, 32), n_nodes=16, random_state=0).fit(X, np.column_stack([y, -y]))
    assert both.predict(X_test).shape == (len(X_test), 2)


def test_early_stopping_stops_and_keeps_the_count(cancer):
    X, X_test, y, y_test = cancer
    clf = sp.ShadowClassifier(
        (32,), n_nodes=8, early_stopping=True, n_iter_no_change=3, max_iter=200, random_state=0
    )
    clf.fit(X, y)
    assert clf.n_iter_ < 200
    assert clf.n_nodes_ == 8
    assert len(clf.history_.validation_score) > 0
    assert clf.score(X_test, y_test) > 0.9


def test_negative_weights_cancel_rows():
    """Rows with weights +1 and -1 at the same place carry no information, as in Monte Carlo samples."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 4))
    y = (X[:, 0] > 0).astype(int)
    noise = rng.normal(size=(1000, 4))
    X_all = np.vstack([X, noise, noise])
    y_all = np.concatenate([y, 1 - (noise[:, 0] > 0), 1 - (noise[:, 0] > 0)])
    weight = np.concatenate([np.ones(4000), np.ones(1000), -np.ones(1000)])
    clf = sp.ShadowClassifier((16,), n_nodes=8, random_state=0).fit(X_all, y_all, sample_weight=weight)
    assert clf.score(X, y) > 0.95


def test_weights_move_the_decision(cancer):
    X, _, y, _ = cancer
    heavy = np.where(y == 1, 20.0, 1.0)
    plain, weighted = (
        sp.ShadowClassifier((8,), n_nodes=4, random_state=0, alpha=1.0).fit(X, y, w) for w in (None, heavy)
    )
    assert weighted.decision_function(X).mean() > plain.decision_function(X).mean()


def test_interrupted_training_leaves_a_usable_model(cancer, monkeypatch):
    X, _, y, _ = cancer
    epoch = training._Run.epoch

    def interrupted(self, number, order):
        if number == 2:
            raise KeyboardInterrupt
        epoch(self, number, order)

    monkeypatch.setattr(training._Run, "epoch", interrupted)
    clf = sp.ShadowClassifier((16, 16), n_nodes=10, random_state=0)
    with pytest.warns(RuntimeWarning, match="interrupted in epoch 3") as caught:
        clf.fit(X, y)
    assert caught[0].filename == __file__
    assert clf.n_nodes_ == 10
    assert np.isfinite(clf.decision_function(X)).all()


def test_clone_and_pickle(cancer, fitted):
    X = cancer[1]
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.decision_function(X), fitted.decision_function(X))


def test_verbose_shows_a_bar(cancer, capsys):
    X, _, y, _ = cancer
    sp.ShadowClassifier((8,), n_nodes=4, max_iter=3, verbose=True).fit(X, y)
    assert "3/3" in capsys.readouterr().err


GOOD = dict(X=np.random.default_rng(0).normal(size=(40, 3)), y=np.arange(40) % 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(X=np.where(np.eye(40, 3) > 0, np.nan, 1.0)), "contains NaN"),
        (dict(X=np.where(np.eye(40, 3) > 0, np.inf, 1.0)), "infinity"),
        (dict(y=np.where(np.arange(40) == 3, np.nan, 1.0)), "NaN"),
        (dict(y=np.zeros(40)), "only one class"),
        (dict(y=np.linspace(0, 1, 40)), "Unknown label type: continuous"),
        (dict(y=np.zeros(39)), "inconsistent numbers of samples"),
        (dict(X=np.zeros((0, 3)), y=np.zeros(0)), r"Found array with 0 sample"),
        (dict(X=np.zeros(40)), "Expected 2D array"),
        (dict(X=np.full((40, 3), "a")), "could not convert string"),
        (dict(sample_weight=np.full(40, np.nan)), "sample_weight holds NaN"),
        (dict(sample_weight=np.ones(39)), r"sample_weight has shape \(39,\)"),
        (dict(sample_weight=-np.ones(40)), "the sum must be positive"),
        (dict(X=np.full((40, 3), 1e300)), "beyond the range of float32"),
    ],
)
def test_bad_data(change, message):
    data = GOOD | change
    clf = sp.ShadowClassifier((4,), n_nodes=2, max_iter=2)
    with pytest.raises(ValueError, match=message):
        clf.fit(**data)
    assert not hasattr(clf, "network_")


def test_sparse_matrices_are_refused():
    with pytest.raises(TypeError, match="Sparse data was passed"):
        sp.ShadowClassifier((4,), n_nodes=2).fit(scipy.sparse.csr_matrix(GOOD["X"]), GOOD["y"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (dict(n_nodes=1, hidden_layer_sizes=(4, 4)), "at least 2 .one in every covered layer."),
        (dict(n_nodes=9, hidden_layer_sizes=(4, 4)), "at most 8"),
        (dict(n_nodes=-1), "n_nodes is -1"),
        (dict(n_nodes=float("nan")), "n_nodes is nan"),
        (dict(n_nodes=1.2), "a fraction must be above 0 and at most 1"),
        (dict(n_inputs=4), "n_inputs is 4"),
        (dict(hidden_layer_sizes=(4, 0)), "hidden_layer_sizes"),
        (dict(hidden_layer_sizes=(4.5,)), "hidden_layer_sizes"),
        (dict(activation="gelu"), "activation is 'gelu'"),
        (dict(alpha=-1), "alpha is -1"),
        (dict(alpha="small"), "alpha is 'small'"),
        (dict(batch_size=0), "batch_size is 0"),
        (dict(max_iter=0), "max_iter is 0"),
        (dict(learning_rate_init=0), "learning_rate_init is 0"),
        (dict(early_stopping=True, validation_fraction=2), "validation_fraction is 2"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        sp.ShadowClassifier(**(dict(hidden_layer_sizes=(4,), n_nodes=2) | parameters)).fit(**GOOD)


def test_wrong_number_of_columns(fitted):
    with pytest.raises(ValueError, match="X has 29 features, but ShadowClassifier is expecting 30"):
        fitted.predict(np.zeros((3, 29)))
    with pytest.raises(ValueError, match="X has 29 features, but ShadowClassifier is expecting 30"):
        fitted.retrain(np.zeros((40, 29)), np.arange(40) % 2)


def test_a_diverging_training_says_so():
    X = np.random.default_rng(0).normal(size=(200, 3))
    with pytest.raises(ValueError, match=r"diverged near step .* lower learning_rate_init"):
        sp.ShadowRegressor((8,), n_nodes=4, learning_rate_init=1e30).fit(X, X[:, 0])


def test_columns_far_from_zero_are_called_out():
    X = np.random.default_rng(0).normal((0, 1e6, 0), size=(200, 3))
    with pytest.warns(UserWarning, match="1 columns of X lie far from zero.* subtract a constant"):
        sp.ShadowClassifier((4,), n_nodes=2, max_iter=2).fit(X, X[:, 0] > 0)


def test_fewer_rows_than_a_batch():
    clf = sp.ShadowClassifier((4,), n_nodes=2, batch_size=512, max_iter=3).fit(**GOOD)
    assert clf.n_nodes_ == 2


@pytest.mark.parametrize("kind", ["float32", "fortran", "strided", "big-endian", "read-only", "integers"])
def test_any_real_array_is_accepted_and_left_alone(kind):
    X = np.random.default_rng(0).integers(-9, 9, (60, 4)).astype(float)
    y = (X[:, 0] > 0).astype(int)
    given_x = {
        "float32": X.astype(np.float32),
        "fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=0)[::2],
        "big-endian": X.astype(">f8"),
        "read-only": X.copy(),
        "integers": X.astype(int),
    }[kind]
    given_x.flags.writeable = kind != "read-only"
    before = given_x.copy()
    a, b = (sp.ShadowClassifier((8,), n_nodes=4, max_iter=5, random_state=0).fit(x, y) for x in (X, given_x))
    np.testing.assert_allclose(b.decision_function(given_x), a.decision_function(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(given_x, before)
