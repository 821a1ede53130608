"""Threads inside one training: they share out every step and change no bit of it."""

import numpy as np
import pytest
from core_cases import bits, error, make_params, run_python

from shadowprune import _core
from shadowprune import _reference as twin

CASES = {
    "paper": ((40, 64, 64, 64, 64, 1), "relu", "binary_crossentropy", 512),
    "odd": ((7, 45, 13, 5), "tanh", "categorical_crossentropy", 300),
    "wide": ((20, 130, 257, 3), "leaky_relu", "squared_error", 1000),
    "one block": ((9, 64, 64, 1), "relu", "binary_crossentropy", 100),
}


def trained(make, case, n_rows, steps, shadow=True, **arguments):
    """State, scores and losses after some steps on the same data, for any number of threads."""
    widths, activation, loss, batch_size = case
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n_rows, widths[0])).astype(np.float32)
    target = rng.uniform(size=(n_rows, widths[-1])).astype(np.float32)
    weight = rng.uniform(0.5, 1.5, size=n_rows).astype(np.float32)
    epochs = -(-steps * batch_size // n_rows)
    order = np.concatenate([rng.permutation(n_rows) for _ in range(epochs)]).astype(np.int32)
    order = order[: steps * batch_size - 37]  # the last batch is a short one
    params = make_params(rng, widths)
    trainer = make(widths, activation, loss, batch_size=batch_size, **arguments)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    columns = [np.full(steps, 3e-3, np.float32), np.full(steps, 0.1, np.float32)]
    if shadow:
        hidden = np.arange(widths[0], sum(widths[:-1]), dtype=np.int32)
        trainer.set_shadow([(hidden, 0.1 * rng.normal(size=len(hidden)), None, 0.02)])
        columns += [np.linspace(len(hidden) - 1, len(hidden) / 2, steps)[:, None], np.full((steps, 1), 0.1)]
    losses = trainer.run(x, target, weight, order, *columns)
    return [*trainer.get_state()[:3], *trainer.get_shadow(), losses]


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_threads_change_no_bit(name, shadow):
    alone = bits(*trained(_core.Trainer, CASES[name], 1500, 6, shadow))
    for threads in (2, 3, 16):
        assert bits(*trained(_core.Trainer, CASES[name], 1500, 6, shadow, threads=threads)) == alone


def test_the_same_bits_when_the_caller_tries_to_do_without_the_others():
    """A long run is done together and alone by turns, whichever is faster."""
    case = ((7, 45, 13, 5), "tanh", "categorical_crossentropy", 300)
    alone = bits(*trained(_core.Trainer, case, 1500, 700))
    assert bits(*trained(_core.Trainer, case, 1500, 700, threads=3)) == alone


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_all_slices_is_the_twins(name):
    """After one step Adam's first moment is a tenth of the gradient."""
    found = trained(_core.Trainer, CASES[name], 1500, 1, threads=3)
    wanted = trained(twin.Trainer, CASES[name], 1500, 1)
    assert error(found[1], wanted[1]) < 1e-5
    assert error(found[-1], wanted[-1]) < 1e-6


def test_two_teams_side_by_side():
    """As in a scan on many cores: each training has threads of its own."""
    from concurrent.futures import ThreadPoolExecutor

    def job(_):
        return bits(*trained(_core.Trainer, CASES["paper"], 1500, 6, threads=2))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(job, range(8)))) == 1


def test_a_forked_process_goes_on_alone():
    """A fork takes no threads along; the child must neither wait for them nor hang on exit."""
    script = """
import os, sys, warnings
warnings.simplefilter("ignore")  # of forks beside threads
from test_core_threads import CASES, trained
from shadowprune import _core
made = []
def make(*args, **kwargs):
    made.append(_core.Trainer(*args, **kwargs)); return made[-1]
trained(make, CASES["paper"], 600, 2, threads=2)
child = os.fork()
state = made[0].get_state()
made[0].set_state(*state)
again = trained(lambda *a, **k: made[0], CASES["paper"], 600, 2)
made.clear()
if child == 0:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    run_python(script)


def test_no_threads_is_an_error():
    with pytest.raises(ValueError, match="threads is 0"):
        _core.Trainer((3, 4, 1), "relu", "squared_error", threads=0)


@pytest.mark.parametrize("batch_size", [2**63 - 1, 2**62])
def test_one_batch_of_everything(batch_size):
    """No block count overflows; the whole run is one step."""
    widths = (3, 4, 1)
    params, zeros = make_params(np.random.default_rng(0), widths), np.zeros(21, np.float32)
    trainer = _core.Trainer(widths, "relu", "squared_error", batch_size=batch_size, threads=3)
    trainer.set_state(params, zeros, zeros, 0)
    x, rate = np.ones((2000, 3), np.float32), np.full(1, 1e-3, np.float32)
    losses = trainer.run(x, x[:, :1], None, np.arange(2000, dtype=np.int32), rate, 0 * rate)
    assert losses.shape == (1,) and np.isfinite(losses).all()
