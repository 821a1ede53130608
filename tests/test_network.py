"""Networks: views, reduction bit for bit, files, bad input."""

import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shadowprune as sp
from shadowprune import _reference as reference

ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "linear"]


def random_network(widths, activation="relu", seed=0):
    net = sp.Network(widths, activation, random_state=seed)
    for b in net.biases:
        b[:] = np.random.default_rng(seed).normal(0, 0.3, b.shape)
    return net


layouts = st.lists(st.integers(1, 100), min_size=3, max_size=8)


@settings(deadline=None, max_examples=60)
@given(layouts, st.sampled_from(ACTIVATIONS), st.integers(0, 2**32 - 1))
def test_reduced_network_equals_the_gated_one_bit_for_bit(widths, activation, seed):
    rng = np.random.default_rng(seed)
    net = random_network(widths, activation, seed)
    support = [rng.random(w) < 0.5 for w in widths[:-1]]
    for mask in support:
        mask[rng.integers(len(mask))] = True
    x = rng.normal(size=(37, widths[0])).astype(np.float32)
    gated = net.forward(x, gates=[m.astype(np.float32) for m in support])
    small = net.reduce(support)
    assert small.widths[:-1] == tuple(m.sum() for m in support)
    np.testing.assert_array_equal(small.forward(x[:, support[0]]), gated)


def test_views_share_the_flat_block():
    net = sp.Network([3, 5, 2], random_state=0)
    assert [w.shape for w in net.weights] == [(3, 5), (5, 2)]
    net.weights[0][1, 2] = 7
    net.biases[1][0] = 9
    assert net.params[1 * 5 + 2] == 7
    assert net.params[3 * 5 + 5 + 5 * 2] == 9
    assert net.n_nodes == 5
    assert net.n_multiplications == 25


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_and_backward_are_the_twins(activation):
    net = random_network([7, 13, 5, 3], activation)
    rng = np.random.default_rng(1)
    x, dz = rng.normal(size=(200, 7)), rng.normal(size=(200, 3))
    gates = [rng.random(13), rng.random(5)]
    flat = np.concatenate([np.ones(7), *gates])
    z = net.forward(x, gates)
    dparams, dgates = net.backward(dz)
    params = net.params.astype(float)
    np.testing.assert_allclose(
        z, reference.forward(net.widths, activation, params, x, flat), rtol=1e-5, atol=1e-5
    )
    wanted, wanted_gates, _dx = reference.backward(net.widths, activation, params, x, dz, flat)
    np.testing.assert_allclose(dparams, wanted, atol=1e-4 * abs(wanted).max())
    np.testing.assert_allclose(np.concatenate(dgates), wanted_gates[7:], atol=1e-4 * abs(wanted_gates).max())


def test_initial_weights_follow_the_seed():
    a, b, c = (sp.Network([4, 8, 1], random_state=s).params for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_save_and_load(tmp_path):
    net = random_network([4, 8, 3], "tanh")
    again = sp.Network.load(net.save(tmp_path / "tagger.npz"))
    assert (again.widths, again.activation) == (net.widths, net.activation)
    np.testing.assert_array_equal(again.params, net.params)
    assert [p.name for p in tmp_path.iterdir()] == ["tagger.npz"]


def test_pickle_keeps_the_network():
    net = random_network([4, 8, 3])
    net.forward(np.ones((2, 4)))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(net)).forward(np.ones((2, 4))), net.forward(np.ones((2, 4)))
    )


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    net = random_network([4, 8, 3])
    path = net.save(tmp_path / "tagger.npz")
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        random_network([2, 2, 1]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.99])
def test_truncated_file(tmp_path, part):
    path = random_network([4, 8, 3]).save(tmp_path / "tagger.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"tagger\.npz is not a whole shadowprune network"):
        sp.Network.load(path)


def test_foreign_files(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    np.save(tmp_path / "array.npy", np.arange(3))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("other.npz", "array.npy", "text.npz"):
        with pytest.raises(ValueError, match=f"{name} is not a whole shadowprune network"):
            sp.Network.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        sp.Network.load(tmp_path / "absent.npz")


def test_a_pickle_inside_a_file_is_not_run(tmp_path):
    np.savez(tmp_path / "evil.npz", header=np.array([{"format": "x"}], dtype=object), params=np.zeros(1))
    with pytest.raises(ValueError, match="is not a whole shadowprune network"):
        sp.Network.load(tmp_path / "evil.npz")


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([4], "2 to 33 whole numbers"),
        ([4, 0, 1], "at least one node"),
        ([4, -2, 1], "at least one node"),
        ([4, 2.5, 1], "2 to 33 whole numbers"),
        ([3] * 40, "2 to 33 whole numbers"),
        ("44", "2 to 33 whole numbers"),
    ],
)
def test_bad_widths(widths, message):
    with pytest.raises(ValueError, match=message):
        sp.Network(widths)


def test_bad_arguments_name_themselves():
    net = sp.Network([4, 8, 3])
    with pytest.raises(ValueError, match="activation is 'gelu'"):
        sp.Network([4, 8, 3], "gelu")
    with pytest.raises(ValueError, match="x has length 5 along axis 1; it needs 4"):
        net.forward(np.ones((2, 5)))
    with pytest.raises(ValueError, match="x has 1 dimensions; it needs 2"):
        net.forward(np.ones(4))
    with pytest.raises(TypeError, match="x must be an array of float32"):
        net.forward(np.array([["a"] * 4]))
    with pytest.raises(ValueError, match="gates must be a list of 1 arrays"):
        net.forward(np.ones((2, 4)), gates=[np.ones(8)] * 3)
    with pytest.raises(ValueError, match=r"gates: array 1 .* needs \(8,\)"):
        net.forward(np.ones((2, 4)), gates=[np.ones(7)])
    with pytest.raises(TypeError, match="needs bool"):
        net.reduce([np.ones(8)])
    with pytest.raises(ValueError, match="keeps no node of hidden layer 0"):
        net.reduce([np.zeros(8, bool)])
    with pytest.raises(ValueError, match="forward pass"):
        sp.Network([4, 8, 3]).backward(np.ones((2, 3)))


def test_backward_works_once():
    net = sp.Network([4, 8, 3])
    net.forward(np.ones((2, 4)))
    net.backward(np.ones((2, 3)))
    with pytest.raises(ValueError, match="once"):
        net.backward(np.ones((2, 3)))


@pytest.mark.parametrize("kind", ["float64", "fortran", "strided", "big-endian", "read-only", "integers"])
def test_any_real_array_is_accepted_and_left_alone(kind):
    net = random_network([4, 8, 3])
    x = np.random.default_rng(0).integers(-5, 5, (20, 4)).astype(np.float32)
    given_x = {
        "float64": x.astype(float),
        "fortran": np.asfortranarray(x),
        "strided": np.repeat(x, 2, axis=1)[:, ::2],
        "big-endian": x.astype(">f4"),
        "read-only": x.copy(),
        "integers": x.astype(int),
    }[kind]
    if kind == "read-only":
        given_x.flags.writeable = False
    before = given_x.copy()
    np.testing.assert_array_equal(net.forward(given_x), net.forward(x))
    np.testing.assert_array_equal(given_x, before)


def test_threads_share_a_network():
    net = random_network([20, 64, 64, 1])
    x = np.random.default_rng(0).normal(size=(20000, 20)).astype(np.float32)
    wanted = net.forward(x)
    with ThreadPoolExecutor(4) as pool:
        for z in pool.map(lambda _: net.forward(x), range(20)):
            np.testing.assert_array_equal(z, wanted)


def test_saved_files_follow_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        path = random_network([2, 2, 1]).save(tmp_path / "net.npz")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_backward_counts_the_rows_of_the_last_forward_pass():
    """A conversion of dz that runs code, a forward pass among it, must not let backward read past dz."""
    net = random_network([3, 4, 2])
    net.forward(np.ones((2, 3)))

    class Late:
        def __array__(self, dtype=None, copy=None):
            net.forward(np.ones((5000, 3)))
            return np.ones((2, 2), np.float32)

    with pytest.raises(ValueError, match="dz has length 2 along axis 0; it needs 5000"):
        net._compiled().backward(Late())


def test_predictor_gives_the_bits_of_forward():
    net, x = (
        sp.Network([5, 70, 13, 2], "tanh", random_state=0),
        np.random.default_rng(0).normal(size=(300, 5)),
    )
    predictor, x = net.predictor(), x.astype(np.float32)
    wanted, out = net.forward(x), np.empty((300, 2), np.float32)
    assert predictor(x, out) is out
    np.testing.assert_array_equal(out, wanted)
    np.testing.assert_array_equal(predictor(x.astype(float)[::-1]), wanted[::-1])
    net.params[:] = 0
    np.testing.assert_array_equal(predictor(x), wanted)  # frozen
    assert predictor(x[:0]).shape == (0, 2)
    assert 0 < predictor.latency(x[:1], repeats=10) < 1


def test_threads_share_a_predictor():
    net = sp.Network([20, 64, 64, 3], random_state=0)
    predictor, x = net.predictor(), np.random.default_rng(0).normal(size=(20000, 20)).astype(np.float32)
    wanted = net.forward(x, keep=False)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(predictor, [x] * 16):
            np.testing.assert_array_equal(found, wanted)


def test_predictor_refuses_memory_it_would_overwrite():
    buffer = np.zeros((11, 4), np.float32)
    predictor = sp.Network([4, 8, 4], random_state=0).predictor()
    with pytest.raises(ValueError, match="out overlaps x"):
        predictor(buffer[:-1], out=buffer[1:])
    with pytest.raises(ValueError, match="out has length 10 along axis 0; it needs 11"):
        predictor(buffer, out=buffer[1:].copy())
    with pytest.raises(ValueError, match="x has length 3 along axis 1; it needs 4"):
        predictor(buffer[:, :3])
    with pytest.raises(ValueError, match="repeats is 0"):
        predictor.latency(buffer, repeats=0)
