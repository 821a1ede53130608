"""The FMA peak of this machine, measured and not looked up: what the percentages of the tables refer to."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("peak.c")
CHAINS = 12
WIDTHS = {"avx512": 64, "avx2": 32, "baseline": 16}  # bytes of a vector
BURST, BURSTS = 0.003, 3  # seconds of one burst, bursts of which the best counts


def compiler() -> str:
    """The C compiler: $CC, else cc.

    Raises
    ------
    RuntimeError
        If there is none.
    """
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        raise RuntimeError("the FMA peak is measured by a C loop: install a C compiler or set CC")
    return found


def build(directory: Path) -> Path:
    """Compile peak.c into `directory`; the shared library."""
    library = directory / "peak.so"
    command = [compiler(), "-std=gnu11", "-O3", "-march=native", "-shared", "-fPIC", "-Wno-psabi"]
    subprocess.run([*command, "-o", str(library), str(SOURCE)], check=True)
    return library


class Peak:
    """GFLOP/s of a processor that does nothing but multiply and add vectors of `width` bytes."""

    def __init__(self, library: Path, width: int) -> None:
        self.loop = getattr(ctypes.CDLL(str(library)), f"peak_{width}")
        self.loop.restype = ctypes.c_float
        start = ctypes.c_float * CHAINS
        self.loop.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float, start]
        self.start = start(*range(CHAINS))
        self.flop = 2 * CHAINS * width / 4  # of one turn
        self.turns = 100_000
        self.turns = max(1000, int(BURST * 1e9 * self._burst() / self.flop))

    def _burst(self) -> float:
        begin = time.perf_counter()
        self.loop(self.turns, 0.999, 1e-3, self.start)
        return self.turns * self.flop / (time.perf_counter() - begin) / 1e9

    def measure(self) -> float:
        """The best of a few short bursts, in GFLOP/s."""
        return max(self._burst() for _ in range(BURSTS))
