"""What the figures depend on besides the code: processor, versions, environment, load."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "shadowprune", "numpy", "scikit-learn", "torch", "torch-pruning", "jax", "jaxlib", "keras", "onnxruntime",
)  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
SLOWS_NUMPY = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # NumPy shall run the kernel it would choose itself
BUSY = 0.5  # load average from which the figures are called noisy


def processors() -> list[int]:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def environment(threads: int) -> dict[str, str]:
    """Variables of a process in which every library shall use so many threads."""
    kept = {name: value for name, value in os.environ.items() if name not in SLOWS_NUMPY}
    return kept | {name: str(threads) for name in THREADS}


def processor() -> str:
    """Model name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def processor_family() -> str:
    """Family, model and stepping, which say more than the name a hypervisor gives."""
    wanted = {"cpu family": "family", "model": "model", "stepping": "stepping"}
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = (part.strip() for part in line.partition(":"))
            if name in wanted:
                found.setdefault(wanted[name], value)
    except OSError:
        pass
    return ", ".join(f"{name} {value}" for name, value in found.items())


def versions() -> dict[str, str]:
    """Of every package measured that is installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            if package == "shadowprune":  # run from a source tree
                import shadowprune

                found[package] = shadowprune.__version__
    return found


KERNELS = """
import json
found = {}
import numpy, threadpoolctl
for library in threadpoolctl.threadpool_info():
    if library["user_api"] == "blas":
        found["OpenBLAS of NumPy"] = library.get("architecture", "unknown")
try:
    import torch
    found["PyTorch"] = torch.backends.cpu.get_cpu_capability()
except ImportError:
    pass
print(json.dumps(found))
"""


def kernels() -> dict[str, str]:
    """What instruction sets the libraries chose, as far as they say."""
    done = subprocess.run(
        [sys.executable, "-c", KERNELS], capture_output=True, text=True, check=True, env=environment(1)
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def describe() -> dict[str, Any]:
    """The machine as the saved documents state it."""
    import shadowprune._core as core

    from .peak import compiler

    cc = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "-m", "benchmarks", *(Path(a).name for a in sys.argv[1:])]),
        "processor": processor(),
        "processor_family": processor_family(),
        "processors": len(processors()),
        "instruction_set": core.isa(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": cc.splitlines()[0],
        "load_at_start": round(os.getloadavg()[0], 2),
        "versions": versions(),
        "kernels": kernels(),
    }
