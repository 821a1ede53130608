"""Background rejection against counting by hand, scikit-learn, and its own sampling distribution."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from shadowprune import metrics


def sample(n=4000, seed=0, separation=1.5, decimals=None):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.5).astype(int)
    score = rng.normal(size=n) + separation * y
    return y, score if decimals is None else score.round(decimals)


def by_hand(y, score, efficiency, weight=None):
    """Counting above every threshold; between two of them the mean over random tie-breaking."""
    weight = np.ones(len(y)) if weight is None else weight
    signal, background = weight[y == 1].sum(), weight[y == 0].sum()
    before = (0.0, 0.0)
    for threshold in np.unique(score)[::-1]:
        above = score >= threshold
        after = (weight[above & (y == 1)].sum() / signal, weight[above & (y == 0)].sum() / background)
        if after[0] >= efficiency:
            part = (efficiency - before[0]) / (after[0] - before[0])
            eps_b = before[1] + part * (after[1] - before[1])
            return 1 / eps_b if eps_b > 0 else np.inf
        before = after
    raise AssertionError("unreachable: the loosest cut keeps everything")


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("efficiency", [0.013, 0.25, 0.5, 0.777, 1.0])
def test_rejection_is_what_counting_gives(efficiency, decimals):
    y, score = sample(301, decimals=decimals)
    assert metrics.background_rejection(y, score, efficiency) == pytest.approx(by_hand(y, score, efficiency))


@pytest.mark.parametrize("decimals", [None, 1])
def test_weighted_rejection_is_what_weighted_counting_gives(decimals):
    y, score = sample(301, decimals=decimals)
    weight = np.random.default_rng(1).exponential(size=len(y)) ** 2
    for efficiency in (0.1, 0.5, 0.9):
        found = metrics.background_rejection(y, score, efficiency, sample_weight=weight)
        assert found == pytest.approx(by_hand(y, score, efficiency, weight))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(1, 4)), min_size=2, max_size=40),
    efficiency=st.floats(0.01, 1),
)
def test_integer_weights_repeat_jets(rows, efficiency):
    y, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    y = y.astype(int)
    y[:2] = 0, 1
    weighted = metrics.background_rejection(
        y, score, efficiency, sample_weight=weight, return_uncertainty=True
    )
    repeated = metrics.background_rejection(
        np.repeat(y, weight), np.repeat(score, weight), efficiency, return_uncertainty=False
    )
    assert weighted[0] == pytest.approx(repeated, rel=1e-9)
    assert weighted[0] == pytest.approx(by_hand(y, score, efficiency, weight.astype(float)), rel=1e-9)


def test_array_of_efficiencies_keeps_its_shape_and_inputs_stay_as_they_were():
    y, score = sample()
    wanted = np.array([[0.2, 0.5], [0.7, 1.0]])
    kept = y.copy(), score.copy(), wanted.copy()
    rejection, sigma = metrics.background_rejection(y, score, wanted, return_uncertainty=True)
    assert rejection.shape == sigma.shape == (2, 2)
    assert (np.diff(rejection.ravel()) < 0).all()
    assert rejection[0, 1] == metrics.background_rejection(y, score)
    for before, after in zip(kept, (y, score, wanted), strict=True):
        np.testing.assert_array_equal(before, after)
    assert isinstance(metrics.background_rejection(y, score, 0.5), float)


@pytest.mark.parametrize(
    "kind", ["bool", "strings", "minus one and one", "lists", "big-endian float32", "strided"]
)
def test_labels_and_scores_of_any_kind(kind):
    y, score = sample(500)
    expected = metrics.background_rejection(y, score.astype(np.float32), 0.6)
    given_y, given_score = {
        "bool": (y == 1, score.astype(np.float32)),
        "strings": (np.array(["QCD", "signal"])[y], score.astype(np.float32)),
        "minus one and one": (2 * y - 1, score.astype(np.float32)),
        "lists": (y.tolist(), score.astype(np.float32).tolist()),
        "big-endian float32": (y.astype(">i4"), score.astype(">f4")),
        "strided": (np.stack([y, y], 1)[:, 0], np.stack([score, score], 1).astype(np.float32)[:, 1]),
    }[kind]
    assert metrics.background_rejection(given_y, given_score, 0.6) == expected


def test_no_passing_background_is_infinite_and_silent():
    y = np.array([0, 0, 1, 1])
    score = np.array([0.0, 1.0, 2.0, 3.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics.background_rejection(y, score, [0.5, 1.0], return_uncertainty=True)
    assert np.isinf(found).all()


def test_the_lowest_background_is_taken_where_the_efficiency_is_reached_exactly():
    # signal, background, signal: at 50 % the cut sits above the background jet
    assert metrics.background_rejection([1, 0, 1, 0], [3.0, 2.0, 1.0, 0.0], 0.5) == np.inf
    assert metrics.background_rejection([1, 0, 1, 0], [3.0, 2.0, 1.0, 0.0], 0.500001) == 2.0


def test_uncertainty_is_binomial_in_the_passing_background():
    y, score = sample()
    rejection, sigma = metrics.background_rejection(y, score, 0.5, return_uncertainty=True)
    n = (y == 0).sum()
    passing = n / rejection
    assert sigma / rejection == pytest.approx(np.sqrt((1 - passing / n) / passing), rel=1e-6)
    everything_passes = metrics.background_rejection([0, 0, 1], [2.0, 1.0, 0.0], 1.0, return_uncertainty=True)
    assert everything_passes == (1.0, 0.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_uncertainty_is_the_scatter_of_repeated_experiments(weighted):
    # the uncertainty takes the cut as known: give it a signal large enough
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        y = np.repeat([1, 0], [6000, 1500])
        score = rng.normal(size=len(y)) + 2 * y
        weight = np.where(y == 1, 1.0, rng.choice([0.2, 1.0, 3.0], len(y))) if weighted else None
        found.append(
            metrics.background_rejection(y, score, 0.8, sample_weight=weight, return_uncertainty=True)
        )
    rejection, sigma = np.array(found).T
    assert sigma.mean() == pytest.approx(rejection.std(), rel=0.2)


def test_negative_weights_count_against_and_a_negative_sum_is_refused():
    y = np.array([1, 1, 0, 0, 0, 0])
    score = np.array([5.0, 3.0, 4.5, 4.0, 2.0, 1.0])
    weight = np.array([1.0, 1.0, 2.0, -1.0, 2.0, 1.0])
    assert metrics.background_rejection(y, score, 1.0, sample_weight=weight) == pytest.approx(4.0)
    with pytest.raises(ValueError, match=r"sample_weight must sum to more than 0 .* for the background"):
        metrics.background_rejection(y, score, 0.5, sample_weight=[1, 1, 1, 1, -2, -1])


def test_curve_is_the_roc_curve_down_to_ten_jets():
    y, score = sample()
    efficiency, rejection = metrics.rejection_curve(y, score)
    eps_b, eps_s, _ = roc_curve(y, score, drop_intermediate=False)
    n = (y == 0).sum()
    assert (np.diff(efficiency) > 0).all() and efficiency[-1] == 1 and rejection[-1] >= 1
    np.testing.assert_allclose(metrics.background_rejection(y, score, efficiency), rejection, rtol=1e-12)
    points = {(a, round(b * n)) for a, b in zip(eps_s, eps_b, strict=True)}
    assert {(a, round(n / r)) for a, r in zip(efficiency, rejection, strict=True)} <= points
    passing = n / rejection
    assert passing.min() == pytest.approx(10)
    # the next tighter signal jet has fewer
    tighter = eps_s[eps_s < efficiency[0]].max()
    assert n / metrics.background_rejection(y, score, tighter) < 10


def test_curve_with_weights_counts_effective_jets():
    y, score = sample()
    _, all_equal = metrics.rejection_curve(y, score, 20, sample_weight=np.full(len(y), 0.01))
    _, plain = metrics.rejection_curve(y, score, 20)
    np.testing.assert_allclose(all_equal, plain)
    weight = np.where(
        np.arange(len(y)) % 10 == 0, 100.0, 1.0
    )  # a tenth of the jets carries almost everything
    efficiency, _ = metrics.rejection_curve(y, score, 20, sample_weight=weight)
    assert efficiency[0] > metrics.rejection_curve(y, score, 20)[0][0]


def test_curve_without_enough_background_is_empty():
    efficiency, rejection = metrics.rejection_curve([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])
    assert len(efficiency) == len(rejection) == 0


def test_mean_over_trainings():
    y, score = sample()
    other = score + np.random.default_rng(5).normal(scale=0.4, size=len(y))
    curve = metrics.mean_rejection([(y, score), (y, other)], [0.3, 0.5, 0.9])
    each = np.array([metrics.background_rejection(y, s, [0.3, 0.5, 0.9]) for s in (score, other)])
    np.testing.assert_allclose(curve.rejection, each.mean(axis=0))
    np.testing.assert_allclose(curve.spread, np.abs(each[0] - each[1]) / np.sqrt(2))
    assert curve.n_runs == 2 and (curve.statistical > 0).all()
    start = max(metrics.rejection_curve(y, s)[0][0] for s in (score, other))
    grid = metrics.mean_rejection([(y, score), (y, other)]).efficiency
    assert start <= grid[0] < start + 0.005 and grid[-1] == 1
    assert np.isnan(metrics.mean_rejection([(y, score)]).spread).all()
    assert len(metrics.mean_rejection([([0, 1], [0.0, 1.0])]).efficiency) == 0


def test_ratio_of_equal_taggers_is_one_without_error_and_of_others_smaller_than_unpaired():
    y, score = sample(8000)
    ratio, error = metrics.rejection_ratio(y, score, 3 * score + 1, [0.5, 0.7], n_resamples=20)
    np.testing.assert_array_equal(ratio, 1)
    np.testing.assert_array_equal(error, 0)
    alike = score + np.random.default_rng(2).normal(scale=0.1, size=len(y))
    ratio, error = metrics.rejection_ratio(y, [alike, alike], [score], 0.5)
    values = [metrics.background_rejection(y, s, 0.5, return_uncertainty=True) for s in (alike, score)]
    assert ratio == pytest.approx(values[0][0] / values[1][0])
    unpaired = float(ratio) * np.hypot(*(sigma / value for value, sigma in values))
    assert 0 < error < 0.7 * unpaired


def test_ratio_error_is_the_scatter_of_repeated_experiments():
    ratios, errors = [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        y = np.arange(4000) % 2
        score = rng.normal(size=4000) + 1.5 * y
        other = (score + rng.normal(scale=0.5, size=4000)).round(2)  # with ties
        ratio, error = metrics.rejection_ratio(y, other, score, 0.6, n_resamples=40, random_state=seed)
        ratios.append(ratio)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.25)


def test_ratio_is_reproducible_and_nan_without_background():
    y, score = sample(1000)
    other = score[::-1].copy() + 2 * y
    first = metrics.rejection_ratio(y, other, score, 0.6, n_resamples=10, random_state=3)
    assert first == metrics.rejection_ratio(y, other, score, 0.6, n_resamples=10, random_state=3)
    assert first[1] != metrics.rejection_ratio(y, other, score, 0.6, n_resamples=10, random_state=4)[1]
    assert np.isnan(metrics.rejection_ratio(y, 100.0 * y, score, 0.5, n_resamples=5)).all()
    _, lost = metrics.rejection_ratio([0, 1], [1.0, 0.0], [1.0, 0.0], 0.5, n_resamples=20)
    assert np.isnan(lost)  # some resample holds no signal


Y, S = [0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Y, [0.1, np.nan, 0.3, 0.4]), ValueError, "score must be finite, got nan at index 1"),
        ((Y, [0.1, np.inf, 0.3, 0.4]), ValueError, "score must be finite, got inf at index 1"),
        ((Y, S[:3]), ValueError, r"score must have shape \(4,\), .* got \(3,\)"),
        ((Y, np.ones((4, 2))), ValueError, r"got \(4, 2\); of predict_proba take column 1"),
        ((Y, ["a", "b", "c", "d"]), TypeError, "score must hold numbers"),
        (([1, 1, 1, 1], S), ValueError, "y must hold two classes, background and signal, got 1: 1"),
        (([0, 1, 2, 1], S), ValueError, "got 3: 0, 1, 2"),
        ((np.array([0, 1, np.nan, 1]), S), ValueError, "y must not hold NaN, got 1"),
        (([], []), ValueError, r"y must be a non-empty one-dimensional array of labels, got shape \(0,\)"),
        (([[0], [1]], [1, 2]), ValueError, r"y must be .* got shape \(2, 1\)"),
        ((Y, S, 0.0), ValueError, r"efficiency must lie in \(0, 1\], got 0.0"),
        ((Y, S, [0.5, 1.01]), ValueError, r"efficiency must lie in \(0, 1\], got 1.01"),
        ((Y, S, np.nan), ValueError, r"efficiency must lie in \(0, 1\], got nan"),
        ((Y, S, "half"), TypeError, "efficiency must be a number or an array, got 'half'"),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        metrics.background_rejection(*arguments)


def test_mistakes_in_weights_and_settings_are_named():
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(4,\)"):
        metrics.background_rejection(Y, S, sample_weight=[1.0])
    with pytest.raises(ValueError, match="sample_weight must be finite, got nan at index 3"):
        metrics.rejection_curve(Y, S, sample_weight=[1, 1, 1, np.nan])
    with pytest.raises(ValueError, match="min_background must be at least 1, got 0"):
        metrics.rejection_curve(Y, S, min_background=0)
    with pytest.raises(ValueError, match="n_resamples must be at least 2, got 1"):
        metrics.rejection_ratio(Y, S, S, n_resamples=1)
    with pytest.raises(ValueError, match=r"reference must have shape \(4,\)"):
        metrics.rejection_ratio(Y, S, [1.0, 2.0])
    with pytest.raises(ValueError, match="runs must hold at least one pair"):
        metrics.mean_rejection([])
