"""One process per peer and number of threads, so that no thread pool disturbs another.

The parent asks one worker at a time and waits: what is measured has the processors to itself, and
repetitions can be interleaved (A B C A B C) although the libraries live in different processes.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Mapping
from importlib import import_module
from multiprocessing import connection
from typing import Any

from .machine import environment, processors

SETTLE = 0.02  # seconds in which the pools of the worker before stop spinning


class Unavailable(Exception):
    """A peer that cannot run here: its package is missing, or it does not know this number of threads."""


class Failed(RuntimeError):
    """An error in a worker, with its traceback."""


class Worker:
    """An object of `module:class` in a process of its own, which runs on `threads` processors.

    Parameters
    ----------
    target : str
        ``"module:class"``, imported in the child after its environment and processors are settled.
    *arguments
        Of the constructor.
    threads : int
        Processors, and threads of every library.
    library_threads : int, optional
        Threads of every library, if it is another number.
    cpus : list of int, optional
        The processors, if they matter.
    variables : mapping of str to str, optional
        More environment.

    Raises
    ------
    Unavailable
        If the constructor raises it or ImportError, or there are too few processors.
    """

    def __init__(
        self,
        target: str,
        *arguments: Any,
        threads: int,
        library_threads: int | None = None,
        cpus: list[int] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        usable = cpus or processors()
        if len(usable) < threads:
            raise Unavailable(f"{threads} threads need as many processors, {len(usable)} may be used")
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(
            target=_serve, args=(theirs, usable[-threads:], target, arguments), daemon=True
        )
        before = dict(os.environ)
        wanted = environment(library_threads or threads) | dict(variables or {})
        os.environ.clear()
        os.environ.update(wanted)
        try:
            self.process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object and wait for what it returns."""
        self.begin(method, *arguments)
        answer = self.finish()
        time.sleep(SETTLE)
        return answer

    def begin(self, method: str, *arguments: Any) -> None:
        """Call a method of the object and do not wait."""
        self.pipe.send((method, arguments))

    def finish(self) -> Any:
        """Wait for what the method called returns."""
        return self._answer()

    @staticmethod
    def first_done(running: list[Worker]) -> Worker:
        """Wait until one of those called has an answer."""
        ready = connection.wait([worker.pipe for worker in running])
        return next(worker for worker in running if worker.pipe in ready)

    def _answer(self) -> Any:
        try:
            kind, value = self.pipe.recv()
        except EOFError:
            raise RuntimeError("a worker died; its message stands above") from None
        if kind == "unavailable":
            raise Unavailable(value)
        if kind == "failed":
            raise Failed(f"in a worker:\n{value}")
        return value

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(pipe: connection.Connection, cpus: list[int], target: str, arguments: tuple[Any, ...]) -> None:
    """The child: make the object, then answer until the parent hangs up."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    module, _, name = target.partition(":")
    subject: Any = None
    request: tuple[str, tuple[Any, ...]] | None = None
    while True:
        try:
            if request is None:
                subject = getattr(import_module(module), name)(*arguments)
                answer: tuple[str, Any] = ("done", None)
            else:
                answer = ("done", getattr(subject, request[0])(*request[1]))
        except (ImportError, Unavailable) as error:
            answer = ("unavailable", str(error))
        except Exception:
            answer = ("failed", traceback.format_exc())
        try:
            pipe.send(answer)
            request = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
