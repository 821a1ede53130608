"""What the tests of the C core share: measures, networks, rows away from kinks, one seeded training."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import settings

from shadowprune import _reference as twin

ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "linear"]
LOSSES = ["binary_crossentropy", "categorical_crossentropy", "squared_error"]
FAMILIES = ["logistic", "laplace"]

FORWARD_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
TRAINING_TOLERANCE = 1e-5


def examples(n):
    """Settings for n examples of hypothesis, or as many as a profile other than the usual one asks for."""
    profile = settings.default.max_examples
    return settings(max_examples=n if profile == 100 else profile)


def error(found, wanted):
    """Largest difference over the largest entry wanted."""
    wanted, found = np.asarray(wanted, dtype=np.float64), np.asarray(found, dtype=np.float64)
    assert found.shape == wanted.shape
    assert np.isfinite(found).all()
    return np.abs(found - wanted).max() / (np.abs(wanted).max() or 1.0)


def bits(*arrays):
    """What two results share when they agree bit for bit."""
    return b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)


def make_params(rng, widths):
    """He-sized weights and biases that are not zero."""
    params = np.empty(twin.n_params(widths), dtype=np.float32)
    for weights, bias in twin.unpack(widths, params):
        weights[:] = rng.normal(size=weights.shape) * np.sqrt(2.0 / len(weights))
        bias[:] = rng.normal(size=bias.shape) * 0.3
    return params


def make_rows(rng, widths, activation, params, n, gates=None, margin=1e-5):
    """n rows that keep every hidden node so far from a relu's kink that float32 finds the same side."""
    x = rng.normal(size=(3 * n + 20, widths[0])).astype(np.float32)
    if activation not in ("relu", "leaky_relu") or len(widths) == 2:
        return x[:n]
    exact = params.astype(np.float64)
    z = twin.preactivations(widths, activation, exact, x, gates)[:-1]
    clear = np.min([np.abs(zl).min(axis=1) for zl in z], axis=0) > margin
    assert clear.sum() >= n
    return x[clear][:n]


def make_targets(rng, kind, n, n_out):
    if kind == "squared_error":
        target = rng.normal(size=(n, n_out))
    elif kind == "binary_crossentropy":
        target = rng.integers(0, 2, size=(n, n_out))
    else:
        target = np.eye(n_out)[rng.integers(n_out, size=n)]
    return target.astype(np.float32)


def training_data(seed=0, n=400, n_in=6, n_out=1):
    """Inputs and 0/1 targets (one column) or one-hot targets that depend on the inputs, not linearly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_in)).astype(np.float32)
    signal = np.stack(
        [x[:, k % n_in] * x[:, (k + 1) % n_in] + x[:, k % n_in] for k in range(max(n_out, 2))], axis=1
    )
    label = signal.argmax(axis=1)
    target = label[:, None] if n_out == 1 else np.eye(n_out)[label]
    return x, target.astype(np.float32)


def make_order(seed, n, steps, batch_size):
    """Rows of whole epochs, shuffled, cut to `steps` full batches."""
    rng = np.random.default_rng(seed)
    epochs = -(-steps * batch_size // n)
    return np.concatenate([rng.permutation(n) for _ in range(epochs)])[: steps * batch_size].astype(np.int32)


def schedule(steps, total, kept, first_temperature=0.3):
    """Budgets (steps, 1) and temperatures (steps, 1) as METHOD has them."""
    r = np.arange(steps)[:, None] / steps
    budgets = np.maximum(kept, total - (total - kept) * (1 - (1 - np.minimum(r / 0.75, 1)) ** 3))
    return budgets, first_temperature * (0.02 / first_temperature) ** r


def seeded_training(core, activation="relu", steps=200, batch_size=64, family="logistic"):
    """A whole training with a shadow on inputs and hidden nodes, on either implementation.

    Returns the losses of all steps, the final weights, the final scores of both groups, and the gates.
    """
    widths = (10, 32, 24, 17, 3)
    rng = np.random.default_rng(7)
    x, target = training_data(3, 1500, widths[0], widths[-1])
    trainer = core.Trainer(widths, activation, "categorical_crossentropy", batch_size=batch_size)
    params = make_params(rng, widths)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    groups = []
    for first, n, rate in ((0, 10, 0.05), (10, 73, 0.02)):
        groups.append((np.arange(first, first + n, dtype=np.int32), 0.01 * rng.normal(size=n), None, rate))
    trainer.set_shadow(groups, family)
    (b0, t0), (b1, t1) = schedule(steps, 10, 4, 1.0), schedule(steps, 73, 20)
    rate = (5e-3 * (0.5 + 0.5 * np.cos(np.pi * np.arange(steps) / steps))).astype(np.float32)
    weight = np.random.default_rng(4).uniform(-0.2, 2, size=len(x)).astype(np.float32)
    losses = trainer.run(
        x,
        target,
        weight,
        make_order(5, len(x), steps, batch_size),
        rate,
        np.full(steps, 0.3, dtype=np.float32),
        np.hstack([b0, b1]),
        np.hstack([t0, t1]),
    )
    return losses, trainer.get_state()[0], np.concatenate(trainer.get_shadow()), trainer.gates()


def fingerprint(core):
    """Digest of the bits of a seeded training of every activation, and of a forward pass."""
    digest = hashlib.sha256()
    for activation in ACTIVATIONS:
        for array in seeded_training(core, activation, steps=40):
            digest.update(bits(array))
    return digest.hexdigest()


def run_python(code, **environment):
    """Standard output of a fresh interpreter that can import shadowprune and this file."""
    paths = [str(Path(__file__).parent), str(Path(twin.__file__).parents[1])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
