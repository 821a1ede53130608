"""What "auto" means, against the rules written out."""

import itertools

import numpy as np
import pytest

import shadowprune as sp
from shadowprune import _defaults
from shadowprune.nested import count_epochs


def n_weights(widths):
    return sum(a * b for a, b in itertools.pairwise(widths))


@pytest.mark.parametrize(
    ("rows", "classes", "factor"),
    [
        (60, 2, 5.0), (150, 2, 334 / 150), (400, 2, 1.0), (60, 4, 376 / 240), (150, 4, 1.0),
        (2800, 2, 334 / 2800 / 0.15), (9000, 2, 0.5), (2800, 4, 376 / 2800 / 0.15),
    ],
)  # fmt: skip
def test_weight_decay_goes_with_weights_per_target_and_row(rng, rows, classes, factor):
    """6-16-14-1 has 334 weights, 376 with four outputs; the targets are the rows times the outputs."""
    X, y = rng.normal(size=(rows, 6)), np.arange(rows) % classes
    clf = sp.ShadowClassifier((16, 14), n_nodes=None, max_iter=1, random_state=0).fit(X, y)
    usual = 0.6 * ((334 if classes == 2 else 376) / 15000) ** 0.5
    assert clf.history_.weight_decay == pytest.approx([factor * usual])


@pytest.mark.parametrize(("rows", "less"), [(300, 0), (60, 0), (40, 0.5 - 3.5 * 40 / 368), (20, 0.2)])
def test_weight_decay_falls_less_where_data_are_very_scarce(rng, rows, less):
    """6-16-16-1 has 368 weights; from seven for a row on."""
    X, y = rng.normal(size=(rows, 6)), np.arange(rows) % 2
    clf = sp.ShadowClassifier((16, 16), n_nodes=6, max_iter=20, random_state=0).fit(X, y)
    live = n_weights(clf.network_.widths)
    expected = min(5, max(1, 368 / rows)) * 0.6 * (live / 15000) ** 0.5 * (368 / live) ** less
    assert clf.history_.weight_decay[-1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("classes", "nodes", "slower"), [(5, 20, 1), (5, 8, 25 / 16), (5, 4, 25 / 4), (8, 4, None)]
)
def test_weight_decay_falls_less_where_classes_crowd(rng, classes, nodes, slower):
    """Two layers; it becomes at most twice what it is for the whole network."""
    X, y = rng.normal(size=(200, 6)), np.arange(200) % classes
    clf = sp.ShadowClassifier((16, 16), n_nodes=nodes, max_iter=20, random_state=0).fit(X, y)
    whole = 0.6 * (n_weights([6, 16, 16, classes]) / 15000) ** 0.5
    expected = 2 * whole if slower is None else slower * 0.6 * (n_weights(clf.network_.widths) / 15000) ** 0.5
    assert clf.history_.weight_decay[-1] == pytest.approx(expected)
    assert clf.history_.weight_decay[0] == pytest.approx(whole, rel=0.4)


def test_large_samples_have_the_settings_of_the_study():
    """97,687 jets: every stored table rests on these."""
    paper = (40, 64, 64, 64, 64, 1)
    rule = _defaults.usual_weight_decay(paper, 97_687, classes=False)
    assert rule(paper) == pytest.approx(0.6 * (14_912 / 15_000) ** 0.5, rel=1e-12)
    usual = _defaults.usual_batch_size
    assert usual(97_687) == usual(65_536) == 512
    assert [usual(n) for n in (2, 4095, 4096, 16_384, 32_768)] == [32, 32, 64, 128, 256]


def test_few_nodes_take_more_epochs():
    parts = (1, 0.7, 0.3, 0.2, 0.1, 0.05, 0.01)
    assert [_defaults.usual_epochs(97_687, 512, part) for part in parts] == [30, 30, 30, 37, 52, 60, 60]
    assert [_defaults.usual_epochs(426, 32, part) for part in (1, 0.1)] == [215, 215]  # 14 steps each
    assert [_defaults.usual_epochs(2000, 32, part) for part in (1, 0.05)] == [48, 60]


def test_estimators_train_for_these_epochs(rng):
    X = rng.normal(size=(6400, 4))
    y = (X[:, 0] > 0).astype(int)
    few = sp.ShadowClassifier((10, 10), n_nodes=2, random_state=0).fit(X, y)
    assert few.n_iter_ == 52  # the root of .3 over .1
    assert sp.ShadowClassifier((10, 10), n_nodes=2, max_iter=3, random_state=0).fit(X, y).n_iter_ == 3
    assert few.retrain(X, y).n_iter_ == 30
    path = sp.ShadowPath((10, 10), validation_fraction=0, random_state=0).fit(X, y)
    longest = count_epochs(20, 2, lambda kept: _defaults.usual_epochs(6400, 64, kept))
    assert len(path.history_.loss) == longest > count_epochs(20, 2, lambda kept: 30)
