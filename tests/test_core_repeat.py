"""The same bits again, in one process, in two and in threads; and Ctrl-C."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from core_cases import bits, fingerprint, make_params, run_python, seeded_training
from test_core_training import N_GATES, WIDTHS, make_trainer

from shadowprune import _core

# --- the same bits again


def test_same_bits_in_one_process():
    first, second = seeded_training(_core), seeded_training(_core)
    assert bits(*first) == bits(*second)


def test_same_bits_in_two_processes():
    code = "from core_cases import fingerprint; from shadowprune import _core; print(fingerprint(_core))"
    assert run_python(code, SHADOWPRUNE_ISA=_core.isa()).strip() == fingerprint(_core)


# --- threads and signals


def test_trainers_in_threads_do_not_disturb_each_other():
    wanted, results = bits(*seeded_training(_core)), [None] * 4

    def work(i):
        results[i] = bits(*seeded_training(_core))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [wanted] * 4


def test_one_trainer_in_two_threads_is_safe():
    """Either the second call waits its turn or it is refused; the process lives and the state is whole."""
    trainer, data, columns, order = make_trainer()
    model, problems = _core.Model(WIDTHS, "relu"), []

    def work():
        try:
            for _ in range(20):
                trainer.run(*data, order, *columns)
                params, *_ = trainer.get_state()
                trainer.set_shadow([(np.arange(6, N_GATES, dtype=np.int32), np.zeros(35), None, 0.02)])
                model.backward(model.forward(params, data[0], keep=True))
        except (RuntimeError, ValueError) as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    losses = trainer.run(*data, order, *columns)
    assert np.isfinite(losses).all()


def test_ctrl_c_stops_a_long_run_within_a_second():
    """A second of computing, that is, however busy the machine."""
    widths = (64, 256, 256, 1)
    rng = np.random.default_rng(0)
    x, params = rng.normal(size=(2048, 64)).astype(np.float32), make_params(rng, widths)
    trainer = _core.Trainer(widths, "relu", "binary_crossentropy", batch_size=512)
    trainer.set_state(params, np.zeros_like(params), np.zeros_like(params), 0)
    order = np.tile(np.arange(2048, dtype=np.int32), 2000)  # about a minute
    column, sent = np.full(8000, 1e-3, dtype=np.float32), []

    def interrupt():
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)
    timer.start()  # that it fires at all shows that the interpreter lock was given up
    with pytest.raises(KeyboardInterrupt):
        trainer.run(x, x[:, :1], None, order, column, column)
    assert time.process_time() - sent[0] < 1
    step = trainer.get_state()[3]
    assert 0 < step < 8000
    losses = trainer.run(x, x[:, :1], None, order[:1024], column[:2], column[:2])
    assert len(losses) == 2
    assert trainer.get_state()[3] == step + 2
