"""The embedded sample, its file format and its split; needs none of the optional dependencies but pandas."""

from __future__ import annotations

import dataclasses
import importlib.resources
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch

from shadowprune.datasets import FEATURE_NAMES, VARIABLES, Detector, _pack, _split, load_hbb
from shadowprune.datasets.variables import UNDEFINED


@pytest.fixture(scope="module")
def jets():
    return load_hbb()


def column(jets, name):
    return jets.data[:, FEATURE_NAMES.index(name)]


def test_shapes_and_types(jets):
    n = len(jets.target)
    assert isinstance(jets, Bunch)
    assert n >= 100_000
    assert jets.data.shape == (n, 40)
    assert jets.data.dtype == np.float32
    assert jets.data.flags.c_contiguous
    assert jets.target.dtype == np.int64
    assert set(np.unique(jets.target)) == {0, 1}
    assert jets.target.mean() == pytest.approx(0.5, abs=0.001)
    assert jets.feature_names == list(FEATURE_NAMES)
    assert len(set(FEATURE_NAMES)) == 40
    assert jets.target_names == ["background", "signal"]
    assert jets.frame is None
    for name in ("is_test", "event", "flavour", "mass", "pt"):
        assert jets[name].shape == (n,)


def test_every_value_lies_in_the_range_of_the_table(jets):
    assert np.isfinite(jets.data).all()
    for i, variable in enumerate(VARIABLES):
        # Rounding may carry a value over the edge by half a step.
        slack = 0.003 * max(abs(variable.low), abs(variable.high))
        assert jets.data[:, i].min() >= variable.low - slack, variable.name
        assert jets.data[:, i].max() <= variable.high + slack, variable.name
        assert jets.data[:, i].std() > 0, variable.name


def test_counts_are_whole_numbers(jets):
    for name in ("n_const", "n_trk", "sj1_ntrk", "sj2_ntrk"):
        assert np.array_equal(column(jets, name), np.round(column(jets, name))), name


def test_undefined_values_come_together(jets):
    # Without a second track jet all its variables, and the distance, have the value of the table.
    missing = column(jets, "sj2_ptfrac") == 0
    assert 0.001 < missing.mean() < 0.2
    for i, variable in enumerate(VARIABLES):
        if variable.name.startswith("sj2_") or variable.name == "sj_dr":
            assert np.all(jets.data[missing, i] == UNDEFINED[i]), variable.name
    # A vertex has two tracks at least, hence a mass; without vertex there is neither energy nor flight.
    for k in (1, 2):
        none = column(jets, f"sj{k}_sv_mass") == 0
        assert np.array_equal(none, column(jets, f"sj{k}_sv_efrac") == 0)
        assert np.all(column(jets, f"sj{k}_sv_lsig")[none] == 0)


def test_order_relations(jets):
    slack = 1.005
    assert np.all(column(jets, "msd") <= slack * column(jets, "mass"))
    # Recombination moves axes, so that rarely the last but one merging is at the larger scale.
    assert np.mean(column(jets, "sqrt_d23") <= slack * column(jets, "sqrt_d12")) > 0.999
    # Track jets are ordered by the scalar sum of pT of their tracks.
    assert np.mean(column(jets, "sj2_ptfrac") <= slack * column(jets, "sj1_ptfrac")) > 0.999
    assert np.all(column(jets, "n_trk") <= column(jets, "n_const"))
    for k in (1, 2):
        first, second, third = (column(jets, f"sj{k}_sd0_{i}") for i in (1, 2, 3))
        assert np.all(first >= second)
        assert np.all(second >= third)
    # The decay products of the Higgs boson make its mass.
    assert np.median(column(jets, "msd")[jets.target == 1]) == pytest.approx(121, abs=4)
    # Both b hadrons by selection, though not always both above the 5 GeV that `flavour` asks for.
    assert np.mean(jets.flavour[jets.target == 1] == 3) > 0.995
    assert jets.flavour[jets.target == 1].min() >= 2
    assert np.bincount(jets.flavour[jets.target == 0]) / np.sum(jets.target == 0) == pytest.approx(
        [0.76, 0.16, 0.03, 0.05], abs=0.02
    )


def test_split(jets):
    train, test = load_hbb(subset="train"), load_hbb(subset="test")
    assert len(train.target) + len(test.target) == len(jets.target)
    assert len(test.target) / len(jets.target) == pytest.approx(0.35, abs=0.01)
    assert np.array_equal(test.data, jets.data[jets.is_test])
    assert np.array_equal(train.target, jets.target[~jets.is_test])
    assert test.is_test.all()
    assert not train.is_test.any()
    assert train.data.flags.c_contiguous
    # Two jets of one event never meet on different sides, and such events exist.
    assert not set(train.event) & set(test.event)
    assert len(np.unique(jets.event)) < len(jets.event)
    for part in (train, test):
        assert part.target.mean() == pytest.approx(0.5, abs=0.01)
        # The classes are mixed: no long run of one of them.
        edges = np.flatnonzero(np.diff(part.target, prepend=-1, append=-1))
        assert np.diff(edges).max() < 60


def test_no_jet_appears_twice(jets):
    assert len(np.unique(jets.data, axis=0)) == len(jets.data)


def test_pt_does_not_discriminate_but_the_variables_do(jets):
    assert roc_auc_score(jets.target, jets.pt) == pytest.approx(0.5, abs=0.01)
    # A linear model is quick; boosted trees and networks reach 0.983.
    squeezed = np.sign(jets.data) * np.log1p(np.abs(jets.data))
    train, test = ~jets.is_test, jets.is_test
    model = LinearDiscriminantAnalysis().fit(squeezed[train], jets.target[train])
    score = model.decision_function(squeezed[test])
    assert roc_auc_score(jets.target[test], score) == pytest.approx(0.968, abs=0.003)


def test_spectators(jets):
    assert np.array_equal(jets.mass, column(jets, "mass"))
    assert np.array_equal(jets.pt, column(jets, "pt"))


def test_description_tells_everything(jets):
    text = " ".join(jets.DESCR.split())
    for variable in VARIABLES:
        assert f"{variable.name} [" in text
        assert variable.definition in text
    for line in Detector(**jets.provenance["detector"]).formulas().splitlines():
        assert " ".join(line.split()) in text
    for words in ("Pythia", "FastJet", "MCnet", "arXiv:2203.11601", "arXiv:1111.6097", "seed", "float16"):
        assert words in text
    assert f"{len(jets.target)} jets ({jets.target.sum()} signal)" in text
    assert f"test {jets.is_test.sum()} jets" in text
    for flow in jets.provenance["cut_flow"].values():
        for number in flow.values():
            assert str(number) in text
    assert sum(flow["kept"] for flow in jets.provenance["cut_flow"].values()) == len(jets.target)


def test_return_X_y_and_frame(jets):
    data, target = load_hbb(return_X_y=True, subset="test")
    assert np.array_equal(data, jets.data[jets.is_test])
    assert np.array_equal(target, jets.target[jets.is_test])
    table = load_hbb(as_frame=True, subset="test")
    assert list(table.frame.columns) == [*FEATURE_NAMES, "target"]
    assert np.array_equal(table.frame["msd"], column(jets, "msd")[jets.is_test])
    assert np.array_equal(table.target, target)
    assert table.data.shape == data.shape
    x, y = load_hbb(as_frame=True, return_X_y=True, subset="test")
    assert x.equals(table.data)
    assert y.equals(table.target)


def test_the_caller_owns_the_arrays(jets):
    first = load_hbb(subset="test")
    first.data[:] = 0
    assert np.array_equal(load_hbb(subset="test").data, jets.data[jets.is_test])


@pytest.mark.parametrize("subset", ["validation", "", None, 1])
def test_unknown_subset(subset):
    with pytest.raises(ValueError, match="subset must be one of all, train, test"):
        load_hbb(subset=subset)


def test_size_and_speed():
    folder = importlib.resources.files("shadowprune.datasets") / "data"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) <= 6_900_000
    start = time.process_time()
    load_hbb()
    assert time.process_time() - start < 2.0


def test_loading_needs_no_optional_dependency():
    # A None in sys.modules makes every import of that name fail.
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pythia8mc', 'fastjet', 'awkward', 'h5py'])); "
        "from shadowprune import datasets; print(datasets.load_hbb().data.shape[1]); "
        "datasets.generate('jets.npz', 10)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "40"
    assert "ImportError" in result.stderr
    assert 'pip install "shadowprune[generate]"' in result.stderr


# --- the file format


@pytest.mark.parametrize("bits", [8, 9, 11])
def test_rounding(bits):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=20_000) * 10.0 ** rng.integers(-3, 4, 20_000)).astype(np.float32)
    rounded = _pack.round_bits(values, bits)
    assert np.all(np.abs(rounded - values) <= np.maximum(np.abs(values) * 2.0**-bits, 2.0**-25))
    # No finer than stated: as many significant bits and no more.
    fraction = np.frexp(rounded)[0] * 2.0**bits
    assert np.array_equal(fraction, np.round(fraction))
    assert np.array_equal(_pack.round_bits(rounded, bits), rounded)
    assert np.array_equal(
        _pack.round_bits(np.float32([0, -10, 50, 200]), bits), np.float32([0, -10, 50, 200])
    )


def test_packing_returns_what_was_rounded(tmp_path):
    rng = np.random.default_rng(1)
    data = np.float32(rng.normal(100, 30, (500, 3)) * 10.0 ** rng.integers(-9, 2, (500, 3)))
    columns = {
        "a": rng.integers(0, 9, 500).astype(np.uint8),
        "b": rng.integers(0, 60_000, 500).astype(np.uint16),
    }
    _pack.pack(tmp_path / "x.npz", data, [8, 9, 11], columns, {"seed": 3})
    again, same, facts = _pack.unpack(tmp_path / "x.npz")
    assert np.array_equal(again, _pack.round_bits(data, [8, 9, 11]))
    assert again.flags.c_contiguous
    assert all(
        np.array_equal(same[name], columns[name]) and same[name].dtype == columns[name].dtype for name in same
    )
    assert facts == {"seed": 3}
    with pytest.raises(ValueError, match="float16"):
        _pack.pack(tmp_path / "y.npz", data * 1e6, 8, {}, {})


def test_hash_is_the_same_for_ever():
    # Values written down once: another hash would move jets between train and test.
    chunk, event = np.array([0, 0, 1, 29]), np.array([0, 1, 0, 12345])
    assert [hex(h) for h in _split.event_hash(1, chunk, event, 1)] == EXPECTED
    assert np.array_equal(_split.event_hash(1, chunk, event, 1), _split.event_hash(1, chunk, event, 1))


EXPECTED = ["0x685964cd58e9ae17", "0x16d597ed21fa1325", "0xc8604643f6ad3bf", "0x3f72fce3699b58c9"]


def test_hash_looks_random():
    chunk, event = np.repeat(np.arange(30), 4000), np.tile(np.arange(4000), 30)
    for seed in (0, 1, 2**40):
        test = _split.is_test(seed, chunk, event)
        assert test.mean() == pytest.approx(0.35, abs=0.005)
        # Neither neighbours nor the order know of the split.
        assert np.corrcoef(test[1:], test[:-1])[0, 1] == pytest.approx(0, abs=0.01)
        order = _split.shuffled_order(seed, chunk, event)
        assert np.array_equal(np.sort(order), np.arange(len(chunk)))
        assert np.corrcoef(order, np.arange(len(chunk)))[0, 1] == pytest.approx(0, abs=0.01)
        assert test[order[:5000]].mean() == pytest.approx(0.35, abs=0.03)
    assert not np.array_equal(_split.is_test(0, chunk, event), _split.is_test(1, chunk, event))


# --- the configuration of the detector, without any particle


def test_detector_checks_its_numbers():
    for name in (field.name for field in dataclasses.fields(Detector)):
        for wrong, error in ((-1.0, ValueError), (np.nan, ValueError), ("1", TypeError), (True, TypeError)):
            with pytest.raises(error, match=name):
                Detector(**{name: wrong})
    for change in ({"efficiency": 1.1}, {"tail_fraction": 2}, {"bfield": 0}, {"radius_none": 30.0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            Detector(**change)


def test_trigger_is_worse_everywhere():
    offline, trigger = Detector.offline(), Detector.trigger()
    pt, sin = np.array([1.0, 5.0, 100.0]), np.array([1.0, 0.5, 0.2])
    assert np.all(trigger.sigma_d0(pt, sin) > offline.sigma_d0(pt, sin))
    assert np.all(trigger.sigma_z0(pt, sin) > offline.sigma_z0(pt, sin))
    assert trigger.tail_fraction > offline.tail_fraction
    low = trigger.track_efficiency(np.array([0.7, 1.5]), np.zeros(2), np.zeros(2))
    assert list(low) == [0.0, 0.9]
