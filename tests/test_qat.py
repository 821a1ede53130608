"""Quantisation-aware training: its arithmetic, what comes out of it, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from core_cases import error, make_params
from sklearn.metrics import roc_auc_score

import shadowprune as sp
from shadowprune import _core
from shadowprune import _reference_fixed as twin
from shadowprune.fixedpoint import FixedType
from shadowprune.network import Network
from shadowprune.qat import Quantiser, best_type

WIDTHS = (7, 70, 9, 3)  # more than one panel of columns


def on_grid(n: int, kind: FixedType) -> np.ndarray:
    return kind.cast(np.random.default_rng(5).normal(size=(n, WIDTHS[0]))).astype(np.float32)


def grids(rounding: str, bits: int = 6) -> list[tuple]:
    enters, layers = 4, []
    for integer in (1, 0, 2):
        layers.append(
            (FixedType(bits, integer).spec, enters + bits - integer, FixedType(bits, 2, False, rounding).spec)
        )
        enters = bits - 2
    return [*layers[:-1], (*layers[-1][:2], None)]


# ---- the arithmetic of csrc/quantise.c


@pytest.mark.parametrize("rounding", ["RND", "TRN", "RND_CONV"])
def test_outputs_and_straight_through_gradient_are_those_of_the_twin(rng, rounding):
    params = make_params(rng, WIDTHS)
    x = on_grid(300, FixedType(8, 4))
    target = rng.normal(size=(300, 3)).astype(np.float32)
    trainer = _core.Trainer(WIDTHS, "relu", "squared_error", "sgd", 300, momentum=0.0, nesterov=False)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    trainer.set_quantiser(grids(rounding))
    rate, still = np.ones(1, np.float32), np.zeros(1, np.float32)
    loss = trainer.run(x, target, None, np.arange(300, dtype=np.int32), rate, still)[0]

    exact = params.astype(np.float64)
    z, _ = twin.quantised_gradient(WIDTHS, exact, x, np.zeros((300, 3)), grids(rounding))
    assert loss == pytest.approx(0.5 * ((z - target) ** 2).sum(axis=1).mean(), rel=1e-6)
    _, gradient = twin.quantised_gradient(WIDTHS, exact, x, (z - target) / 300, grids(rounding))
    hidden = twin.cast(grids(rounding)[0][2], np.maximum(x @ exact[: 7 * 70].reshape(7, 70), 0))
    assert (hidden == hidden.max()).any()  # some saturate, and pass no gradient
    assert error(params - trainer.get_state()[0], gradient) < 1e-4


@pytest.mark.parametrize(
    "precision", ["auto:8", "auto:6", "fixed<8,3>", ["fixed<8,4>", "auto:7", "fixed<6,2,TRN>"]]
)
def test_the_forward_pass_of_the_training_has_the_bits_of_the_firmware(rng, precision):
    """Loss by loss, row by row: what the training minimised is what FixedNetwork computes."""
    raw = rng.normal(size=(400, 7)) * [1, 300, 0.02, 1, 5, 1, 1] + [0, 800, 0.3, 0, 0, 1, 0]
    quantiser = Quantiser(precision, 3, "relu")
    quantiser.fit(raw, raw.mean(axis=0), raw.std(axis=0))
    x = quantiser.transform(raw)
    net = Network.from_params((7, 40, 9, 1), make_params(rng, (7, 40, 9, 1)))
    trainer = _core.Trainer(net.widths, "relu", "binary_crossentropy", batch_size=1)
    trainer.set_state(net.params, np.zeros_like(net.params), np.zeros_like(net.params), 0)
    trainer.set_quantiser(quantiser.choose(net, x))
    still, y = np.zeros(400, np.float32), (raw[:, :1] > 0).astype(np.float32)
    losses = trainer.run(x, y, None, np.arange(400, dtype=np.int32), still, still)

    z = quantiser.fixed(net).forward(x)
    assert len(np.unique(z)) > 200
    wanted = [sp.losses.binary_crossentropy(z[i : i + 1], y[i : i + 1])[0] for i in range(400)]
    np.testing.assert_array_equal(losses, wanted)
    np.testing.assert_array_equal(quantiser.fixed(net, np.ones(7, bool)).forward(raw), z)


def test_columns_are_shifted_and_scaled_exactly(rng):
    raw = rng.normal(size=(5000, 3)) * [1, 300, 0.02] + [0, 800, 0.3]
    quantiser = Quantiser("fixed<8,3>", 2, "relu")
    quantiser.fit(raw, raw.mean(axis=0), raw.std(axis=0))
    x = quantiser.transform(raw)
    scaled = (raw - raw.mean(axis=0)) / quantiser.scale
    assert (np.abs(np.log2(raw.std(axis=0) / quantiser.scale)) <= 0.5).all()
    inside = np.abs(scaled) < 3.9
    assert np.abs(x - scaled)[inside].max() <= 2**-5 * 1.001  # half a step each, of value and offset
    stage = quantiser.stage(np.array([True, False, True]))
    assert stage.aligned_type == FixedType(8, 3) and stage.input_type.width == 15
    np.testing.assert_array_equal(stage.input_type.cast(stage.offset), stage.offset)


def test_integer_bits_of_least_squared_error(rng):
    values = rng.normal(size=20000)
    assert best_type(values, 8, signed=True) == FixedType(8, 3)
    values[0] = 1000.0  # one value does not cost all others their bits
    assert best_type(values[:], 4, signed=True).integer > 3
    assert best_type(np.append(values[1:], 10.0), 6, signed=True) == FixedType(6, 3)
    assert best_type(np.zeros(5), 8, signed=False).width == 8


# ---- estimators


def sample(n: int = 3000, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)) * [1, 200, 0.01, 1, 1, 5] + [0, 500, 0, 0, 10, 0]
    signal = X[:, 0] * X[:, 3] + np.abs(X[:, 1] - 500) / 200 - 50 * X[:, 2]
    return X, signal


def test_a_classifier_is_what_its_fixed_network_computes():
    X, signal = sample()
    clf = sp.ShadowClassifier((16, 16), n_nodes=0.5, precision="auto:8", max_iter=30, random_state=0)
    clf.fit(X, signal > 0.5)
    fixed = clf.fixed_network_
    assert clf.n_nodes_ == 16 and fixed.widths == clf.network_.widths
    np.testing.assert_array_equal(clf.decision_function(X), fixed.forward(X)[:, 0])
    assert all(layer.weight_type.width == 8 for layer in fixed.layers)
    assert [layer.output_type.width for layer in fixed.layers[:-1]] == [8, 8]
    # network_ has the same weights and rounds neither inputs nor activations
    assert np.corrcoef(clf.network_.forward(X)[:, 0], fixed.forward(X)[:, 0])[0, 1] > 0.995
    for w, layer in zip(clf.network_.weights[1:], fixed.layers[1:], strict=True):
        np.testing.assert_array_equal(w, layer.weights)
    again = sp.ShadowClassifier((16, 16), n_nodes=0.5, precision="auto:8", max_iter=30, random_state=0)
    np.testing.assert_array_equal(again.fit(X, signal > 0.5).fixed_network_.forward(X), fixed.forward(X))
    assert sp.ShadowClassifier((4,), n_nodes=None, max_iter=1).fit(X, signal > 0.5).fixed_network_ is None


def test_training_for_few_bits_beats_rounding_afterwards():
    jets, held = sp.datasets.load_hbb(subset="train"), sp.datasets.load_hbb(subset="test")
    X, y, X_held, y_held = jets.data[:30000], jets.target[:30000], held.data[:15000], held.target[:15000]
    options = {"hidden_layer_sizes": (32, 32), "n_nodes": 0.5, "max_iter": 12, "random_state": 0}
    plain = sp.ShadowClassifier(**options).fit(X, y)
    auc = roc_auc_score(y_held, plain.decision_function(X_held))
    rounded = sp.quantize(plain.network_, "auto:5", X[:5000])
    trained = sp.ShadowClassifier(precision="auto:5", **options).fit(X, y)
    loss_rounded = auc - roc_auc_score(y_held, rounded.forward(X_held)[:, 0])
    loss_trained = auc - roc_auc_score(y_held, trained.decision_function(X_held))
    assert loss_trained < 0.5 * loss_rounded and loss_trained < 0.004


def test_inputs_early_stopping_retraining_and_warm_starts_go_together():
    X, signal = sample()
    y = signal > 0.5
    clf = sp.ShadowClassifier(
        (12, 12),
        n_nodes=10,
        n_inputs=4,
        precision="fixed<8,3>",
        early_stopping=True,
        max_iter=40,
        random_state=1,
    ).fit(X, y)
    kept = clf.support_[0]
    assert clf.fixed_network_.n_inputs == 4 == len(clf.fixed_network_.offset)
    np.testing.assert_array_equal(clf.decision_function(X), clf.fixed_network_.forward(X[:, kept])[:, 0])
    assert clf.fixed_network_.input_names == clf.network_.input_names
    assert len(clf.history_.validation_score) > 0
    again = clf.retrain(X, y)
    assert again.fixed_network_.widths == clf.fixed_network_.widths
    smaller = clf.prune(X, y, n_nodes=6)
    assert smaller.fixed_network_.widths[1:-1] == smaller.widths_ and sum(smaller.widths_) == 6
    for fitted in (clf, again, smaller):
        assert roc_auc_score(y, fitted.decision_function(X)) > 0.8


def test_without_standardisation_the_columns_are_read_as_they_are():
    X, signal = sample()
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    clf = sp.ShadowClassifier((8,), n_nodes=4, precision="fixed<8,3>", standardize=False, max_iter=10)
    fixed = clf.fit(X, signal > 0).fixed_network_
    assert not fixed.offset.any() and not fixed.shifts.any() and fixed.aligned_type == FixedType(8, 3)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_a_regression_keeps_its_grid_at_the_outputs(n_targets):
    X, signal = sample()
    y = np.column_stack([1000 + 37 * signal, 0.002 * signal - 5])[:, :n_targets].squeeze()
    reg = sp.ShadowRegressor((24, 24), n_nodes=0.5, precision="auto:10", max_iter=60, random_state=0)
    reg.fit(X, y)
    found = reg.predict(X).reshape(len(X), -1)
    np.testing.assert_array_equal(found, reg.fixed_network_.forward(X).astype(np.float32))
    y = y.reshape(found.shape)
    assert (1 - ((found - y) ** 2).mean(axis=0) / y.var(axis=0) > 0.8).all()
    np.testing.assert_allclose(reg.network_.forward(X), found, atol=0.2 * float(y.std(axis=0).max()))


def test_three_classes():
    X, signal = sample()
    y = np.digitize(signal, [-0.5, 1.0])
    clf = sp.ShadowClassifier((16,), n_nodes=8, precision="auto:8", max_iter=30, random_state=0).fit(X, y)
    assert clf.fixed_network_.n_outputs == 3 and clf.score(X, y) > 0.6


@pytest.mark.parametrize(
    ("parameters", "wrong", "message"),
    [
        ({"precision": "auto:20"}, ValueError, "trainings take at most 16 bits, beyond which quantize"),
        ({"precision": "fixed<8,3,TRN,WRAP>"}, ValueError, "trainings saturate, WRAP has no gradient"),
        ({"precision": 8}, TypeError, "precision must be a string"),
        ({"precision": ["auto:8"] * 5}, ValueError, r"one per dense layer \(2\)"),
        ({"precision": "auto:8", "activation": "tanh"}, ValueError, 'precision needs activation="relu"; got'),
    ],
)
def test_refused(parameters, wrong, message):
    X, signal = sample(100)
    with pytest.raises(wrong, match=message):
        sp.ShadowClassifier((4,), n_nodes=2, max_iter=2, **parameters).fit(X, signal > 0)


def test_columns_too_different_for_one_input():
    X, signal = sample()
    X[:, 0] *= 1e-9
    X[:, 1] *= 1e9
    with pytest.raises(
        ValueError, match=r"X has columns up to 1.\d+e\+12 and .* down to .* more than 53; bring"
    ):
        sp.ShadowClassifier((4,), n_nodes=2, precision="auto:8", max_iter=2).fit(X, signal > 0)


def test_an_interrupted_training_has_its_types():
    X, signal = sample()
    clf = sp.ShadowClassifier((8, 8), n_nodes=8, precision="auto:8", max_iter=50, random_state=0)
    epochs = iter(range(3))

    def stop() -> None:
        if next(epochs, None) is None:
            raise KeyboardInterrupt

    clf._after_epoch = stop
    with pytest.warns(RuntimeWarning, match="training interrupted"):
        clf.fit(X, signal > 0)
    assert clf.n_nodes_ == 8 and clf.fixed_network_.widths == clf.network_.widths
