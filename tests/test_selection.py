"""Feature selection as scikit-learn's users know it, and the names of the columns that stay."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.feature_selection import SelectorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import shadowprune as sp


@pytest.fixture(scope="module")
def frame():
    data = load_breast_cancer(as_frame=True)
    return data.data, data.target


@pytest.fixture(scope="module")
def selector(frame):
    return sp.ShadowClassifier((16, 16), n_nodes=12, n_inputs=6, max_iter=40, random_state=0).fit(*frame)


def test_the_support_is_the_columns_the_network_takes(frame, selector):
    X, _ = frame
    assert isinstance(selector, SelectorMixin)
    mask = selector.get_support()
    assert mask.sum() == 6 == selector.network_.widths[0]
    np.testing.assert_array_equal(np.flatnonzero(mask), selector.get_support(indices=True))
    kept = X.columns[mask]
    np.testing.assert_array_equal(selector.get_feature_names_out(), kept)
    assert selector.network_.input_names == tuple(kept)
    assert selector.retrain(*frame).network_.input_names == tuple(kept)
    reduced = selector.transform(X)
    np.testing.assert_array_equal(reduced, X[kept])
    np.testing.assert_array_equal(selector.network_.forward(reduced)[:, 0], selector.decision_function(X))
    np.testing.assert_array_equal(selector.inverse_transform(reduced)[:, mask], reduced)
    with pytest.raises(ValueError, match="feature names"):
        selector.transform(X[X.columns[::-1]])


def test_frames_in_frames_out(frame):
    X, y = frame
    selector = sp.ShadowClassifier((8,), n_nodes=None, n_inputs=4, max_iter=5, random_state=0)
    reduced = selector.set_output(transform="pandas").fit_transform(X, y)
    assert isinstance(reduced, pd.DataFrame)
    pd.testing.assert_frame_equal(reduced, X[list(selector.get_feature_names_out())])


def test_in_a_pipeline_it_hands_its_columns_on_and_at_the_end_it_classifies(frame):
    X, y = frame
    shadow = sp.ShadowClassifier((16,), n_nodes=8, n_inputs=5, max_iter=40, random_state=0)
    chain = make_pipeline(StandardScaler(), clone(shadow), LogisticRegression()).fit(X, y)
    assert chain[-1].n_features_in_ == 5
    assert chain.score(X, y) > 0.93
    assert len(chain[:-1].get_feature_names_out()) == 5
    last = make_pipeline(StandardScaler(), shadow).fit(X, y)
    assert last.predict_proba(X).shape == (len(X), 2)
    np.testing.assert_array_equal(last.get_feature_names_out(), X.columns[last[-1].get_support()])


def test_the_informative_columns_are_found():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 30))
    columns = [3, 7, 19, 28]
    y = X[:, 3] * X[:, 7] + X[:, 19] - X[:, 28] + 0.1 * rng.normal(size=4000) > 0
    clf = sp.ShadowClassifier((32, 32), n_nodes=None, n_inputs=4, max_iter=20, random_state=0).fit(X, y)
    assert clf.get_support(indices=True).tolist() == columns
    target = X[:, 3] * X[:, 7] + X[:, 19] - X[:, 28]
    reg = sp.ShadowRegressor((32, 32), n_nodes=32, n_inputs=4, max_iter=20, random_state=0).fit(X, target)
    assert reg.get_support(indices=True).tolist() == columns


# --- names of inputs


def test_names_follow_reduction_copies_and_files(tmp_path):
    net = sp.Network([4, 3, 1], random_state=0)
    assert net.input_names is None
    assert sp.Network.load(net.save(tmp_path / "a.npz")).input_names is None
    net.input_names = ["m", "pt", "τ21", "n tracks"]
    small = net.reduce([np.array([True, False, True, True]), np.array([True, True, False])])
    assert small.input_names == ("m", "τ21", "n tracks")
    assert (
        net.reduce([np.array([True, True, False])]).input_names == net.input_names == net.copy().input_names
    )
    assert sp.Network.load(small.save(tmp_path / "b.npz")).input_names == small.input_names


@pytest.mark.parametrize("names", [None, ["x", "y"]])
def test_files_without_names_or_with_unknown_entries_are_read(tmp_path, names):
    """A file of version 1 as the first release wrote it, and one that says more than this release knows."""
    header = {"format": "shadowprune network", "version": 1, "widths": [2, 1], "activation": "relu"}
    header |= {"input_names": names, "later": 1} if names else {}
    np.savez(tmp_path / "old.npz", header=np.array(json.dumps(header)), params=np.ones(3, np.float32))
    net = sp.Network.load(tmp_path / "old.npz")
    assert net.input_names == (tuple(names) if names else None)
    assert net.forward([[1, 2]]).item() == 4


def test_bad_names_are_refused(tmp_path):
    net = sp.Network([2, 1])
    with pytest.raises(ValueError, match="input_names holds 3 names; the network has 2 inputs"):
        net.input_names = ["a", "b", "c"]
    for wrong in ("ab", [1, 2]):
        with pytest.raises(TypeError, match="must be a sequence of str"):
            net.input_names = wrong
    header = {"format": "shadowprune network", "version": 1, "widths": [2, 1], "activation": "relu"}
    header["input_names"] = ["a"]
    np.savez(tmp_path / "bad.npz", header=np.array(json.dumps(header)), params=np.ones(3, np.float32))
    with pytest.raises(ValueError, match="not a whole shadowprune network: input_names holds 1 names"):
        sp.Network.load(tmp_path / "bad.npz")
