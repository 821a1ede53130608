"""Starting from a trained network, the user's own or one of ours, and going on to a smaller one."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import shadowprune as sp

STILL = dict(learning_rate_init=1e-12, alpha=0, max_iter=1)


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return train_test_split(X, y, random_state=0, stratify=y)


def foreign(X, y, hidden=(32, 16), **parameters):
    """A network trained by scikit-learn on standardised columns, as a Network of the columns as they are."""
    scaler = StandardScaler().fit(X)
    mlp = MLPClassifier(hidden, random_state=0, max_iter=60, **parameters)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        mlp.fit(scaler.transform(X), y)
    weights, biases = [w.copy() for w in mlp.coefs_], [b.copy() for b in mlp.intercepts_]
    biases[0] -= (scaler.mean_ / scaler.scale_) @ weights[0]
    weights[0] /= scaler.scale_[:, None]
    widths = [len(weights[0]), *(len(b) for b in biases)]
    params = np.concatenate([part for w, b in zip(weights, biases, strict=True) for part in (w.ravel(), b)])
    network = sp.Network.from_params(widths, params, mlp.activation)
    return network, mlp.predict_proba(scaler.transform(X))


def test_a_network_trained_elsewhere_keeps_its_outputs(cancer):
    X, _, y, _ = cancer
    network, probabilities = foreign(X, y, activation="tanh")
    np.testing.assert_allclose(1 / (1 + np.exp(-network.forward(X)[:, 0])), probabilities[:, 1], atol=1e-5)
    before = network.params.copy()
    clf = sp.ShadowClassifier(n_nodes=None, **STILL).fit(X, y, network=network)
    assert clf.network_.activation == "tanh" and clf.widths_ == (32, 16)
    np.testing.assert_allclose(clf.predict_proba(X), probabilities, atol=1e-5)
    np.testing.assert_array_equal(network.params, before)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_a_regression_starts_in_its_own_units(standardize, n_targets):
    rng = np.random.default_rng(0)
    X = rng.normal(3, [1, 20, 0.1], size=(500, 3))
    y = 1000 * X @ rng.normal(size=(3, n_targets)) + 5e4
    network = sp.Network([3, 12, n_targets], random_state=0)
    network.weights[-1][:] *= 1e3
    network.biases[-1][:] = 5e4
    reg = sp.ShadowRegressor(n_nodes=None, standardize=standardize, **STILL).fit(
        X, y[:, 0] if n_targets == 1 else y, network=network
    )
    wanted = network.forward(X)
    np.testing.assert_allclose(reg.predict(X).reshape(wanted.shape), wanted, rtol=1e-4)


def test_half_of_a_trained_network_in_a_third_of_the_epochs(cancer):
    X, X_test, y, y_test = cancer
    network, _ = foreign(X, y)
    clf = sp.ShadowClassifier(n_nodes=0.5, random_state=0).fit(X, y, network=network)
    fresh = sp.ShadowClassifier((32, 16), n_nodes=0.5, max_iter="auto", random_state=0).fit(X, y)
    assert clf.n_nodes_ == 24
    assert clf.n_iter_ == -(-fresh.n_iter_ // 3)
    assert max(clf.history_.learning_rate) < 0.7 * max(fresh.history_.learning_rate)
    was = ((network.forward(X_test)[:, 0] > 0) == y_test).mean()
    assert clf.score(X_test, y_test) > was - 0.02


def test_several_classes_early_stopping_and_inputs():
    X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    network, _ = foreign(X, y, hidden=(48,))
    assert network.widths[-1] == 10
    clf = sp.ShadowClassifier(n_nodes=30, n_inputs=40, early_stopping=True, random_state=0)
    clf.fit(X, y, network=network)
    assert clf.network_.widths == (40, 30, 10)
    assert clf.score(X_test, y_test) > 0.93


def test_a_search_over_budgets_hands_the_network_on(cancer):
    X, _, y, _ = cancer
    network, _ = foreign(X, y)
    search = GridSearchCV(
        sp.ShadowClassifier(max_iter=3, random_state=0),
        {"n_nodes": [6, 20], "method": ["shadow", "taylor"]},
        cv=2,
    )
    best = search.fit(X, y, network=network).best_estimator_
    assert best.n_nodes_ == search.best_params_["n_nodes"]
    assert search.best_score_ > 0.9


# --- prune


@pytest.fixture(scope="module")
def frame():
    data = load_breast_cancer(as_frame=True)
    return data.data, data.target


@pytest.fixture(scope="module")
def fitted(frame):
    return sp.ShadowClassifier((16, 16), n_nodes=24, n_inputs=12, max_iter=20, random_state=0).fit(*frame)


def test_pruning_on_and_on(frame, fitted):
    X, y = frame
    first = fitted.network_.params.copy()
    small = fitted.prune(X, y, n_nodes=9, n_inputs=5)
    assert type(small) is sp.ShadowClassifier
    assert small.n_nodes_ == 9 and small.network_.widths[0] == 5
    assert [len(m) for m in small.support_] == [30, *fitted.widths_]
    inputs = small.get_support()
    assert not (inputs & ~fitted.get_support()).any()
    assert small.network_.input_names == tuple(X.columns[inputs])
    np.testing.assert_array_equal(
        small.network_.forward(X.to_numpy()[:, inputs])[:, 0], small.decision_function(X)
    )
    assert small.score(X, y) > 0.93
    np.testing.assert_array_equal(fitted.network_.params, first)
    tiny = small.prune(X, y, n_nodes=0.5)
    assert tiny.n_nodes_ == 4
    np.testing.assert_array_equal(tiny.get_support(), inputs)
    assert [len(m) for m in tiny.support_] == [30, *small.widths_]


def test_pruning_starts_where_the_network_stands(frame, fitted):
    X, y = frame
    same = fitted.prune(X, y, n_nodes=1.0, **STILL)
    np.testing.assert_allclose(same.decision_function(X), fitted.decision_function(X), rtol=1e-3, atol=1e-3)
    shorter = fitted.set_params(max_iter=20).prune(X, y, n_nodes=8, max_iter=3, method="taylor")
    assert (shorter.n_iter_, shorter.n_nodes_, shorter.method) == (3, 8, "taylor")


def test_layers_of_before_do_not_stand_in_the_way(frame):
    clf = sp.ShadowClassifier((8, 8), n_nodes=6, prune_layers=[0], max_iter=2, random_state=0).fit(*frame)
    assert clf.prune(*frame, n_inputs=5, max_iter=2).network_.widths == (5, 6, 8, 1)
    assert clf.prune(*frame, n_nodes=4, max_iter=2).network_.widths == (30, 4, 8, 1)


def test_regressors_are_pruned_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 6))
    y = 100 * (X[:, 0] * X[:, 1] + X[:, 2])
    reg = sp.ShadowRegressor((32, 32), n_nodes=None, random_state=0).fit(X, y)
    half = reg.prune(X, y, n_nodes=0.5)
    assert half.n_nodes_ == 32
    assert half.score(X, y) > 0.95


def test_columns_go_to_the_inputs_of_their_names(frame, fitted):
    X, y = frame
    network = sp.Network([30, 8, 1], random_state=0)
    clf = sp.ShadowClassifier(n_nodes=4, max_iter=2)
    assert clf.fit(X, y, network=network).network_.input_names == tuple(X.columns)
    network.input_names = list(X.columns)
    assert clf.fit(X.to_numpy(), y, network=network).network_.input_names == network.input_names
    assert clf.fit(X, y, network=network).network_.input_names == network.input_names
    others = X[[*X.columns[:3], X.columns[4], X.columns[3], *X.columns[5:]]]
    with pytest.raises(ValueError, match=r"takes 'mean area' where X has column 'mean smoothness' .input 3"):
        clf.fit(others, y, network=network)
    for again in (fitted.retrain, lambda X, y: fitted.prune(X, y, n_nodes=9)):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            again(others, y)
        with pytest.raises(ValueError, match="Feature names unseen at fit time"):
            again(X.rename(columns={"mean area": "area"}), y)


def test_what_cannot_be_a_start(cancer, frame, fitted):
    X, _, y, _ = cancer
    clf = sp.ShadowClassifier(n_nodes=4, max_iter=2)
    with pytest.raises(TypeError, match=r"network is a dict; it must be a Network .Network\.from_params"):
        clf.fit(X, y, network={})
    with pytest.raises(ValueError, match="network has 29 inputs; X has 30 columns"):
        clf.fit(X, y, network=sp.Network([29, 8, 1]))
    with pytest.raises(ValueError, match="network has 2 outputs; y needs 1; two classes have one logit"):
        clf.fit(X, y, network=sp.Network([30, 8, 2]))
    broken = sp.Network([30, 8, 1])
    broken.params[3] = np.nan
    with pytest.raises(ValueError, match="network holds NaN"):
        clf.fit(X, y, network=broken)
    with pytest.raises(ValueError, match=r"n_nodes is 9; it must be at least 1 .* and at most 8"):
        sp.ShadowClassifier(n_nodes=9).fit(X, y, network=sp.Network([30, 8, 1]))
    with pytest.raises(ValueError, match="prune needs to know what to: give n_nodes="):
        fitted.prune(*frame)
    for name, value in (("hidden_layer_sizes", (4, 4)), ("activation", "tanh")):
        with pytest.raises(ValueError, match=f"{name} is .*; prune goes on from network_"):
            fitted.prune(*frame, n_nodes=9, **{name: value})
    with pytest.raises(ValueError, match=r"n_nodes is 25; it must be at least 2 .* and at most 24"):
        fitted.prune(*frame, n_nodes=25)
