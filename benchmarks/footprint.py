"""What a library costs before it has done anything: time to import, memory, size on disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from zipfile import ZipFile

from . import tables
from .machine import environment

ROOT = Path(__file__).parent.parent
IMPORTS = {
    "numpy": ("numpy", "import numpy", None),
    "shadowprune": ("shadowprune", "import shadowprune", "ours:Plain"),
    "scikit-learn": ("scikit-learn", "import sklearn.neural_network", "scikit:MLP"),
    "JAX": ("jax", "import jax, jax.numpy", "jax_scan:JaxScan"),
    "PyTorch": ("torch", "import torch", "pytorch:Fused"),
    "Keras 3 on JAX": ("keras", "import keras", "keras_jax:KerasOnJax"),
    "onnxruntime": ("onnxruntime", "import onnxruntime", None),
}

# ru_maxrss begins with what the parent had; VmHWM does not
MEMORY = """
def memory():
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) / 1024 for line in stream if line.startswith("VmHWM"))
"""
IMPORT = """
import json, time
begin = time.perf_counter()
{statement}
seconds = time.perf_counter() - begin
print(json.dumps([seconds, memory()]))
"""
TRAIN = """
import json
import numpy as np
from benchmarks.peers import make_task
from benchmarks.peers.{module} import {name}
task = make_task((40, 64, 64, 64, 64, 1), 256, 16384)
peer = {name}(1)
peer.start(task)
peer.train(np.arange(16384, dtype=np.int32))
print(json.dumps(memory()))
"""

COLUMNS = {
    "library": "<15",
    "import_seconds_min": ">11.3f",
    "import_seconds_median": ">11.3f",
    "import_mib": ">11.0f",
    "training_mib": ">11.0f",
    "own_mb": ">9.1f",
    "with_requirements_mb": ">9.0f",
    "wheel_mb": ">9.2f",
}
NAMES = {
    "import_seconds_min": "import (min)",
    "import_seconds_median": "(median)",
    "import_mib": "MiB then",
    "training_mib": "training",
    "own_mb": "MB on disk",
    "with_requirements_mb": "+ needed",
    "wheel_mb": "wheel MB",
}


def ask(code: str) -> object:
    """Run code in a new interpreter, one thread; the JSON it prints last."""
    variables = environment(1) | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY + code],
        capture_output=True,
        text=True,
        env=variables,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{done.stderr}\nin\n{code}")
    return json.loads(done.stdout.splitlines()[-1])


def own_size(package: str) -> int:
    """Bytes of the files a distribution installed."""
    files = distribution(package).files or []
    return sum(path.stat().st_size for f in files if (path := Path(str(f.locate()))).is_file())


def requirements(package: str, found: set[str]) -> set[str]:
    """A distribution and, without extras, all it needs; normalised names."""
    name = re.sub(r"[-_.]+", "-", package).lower()
    if name in found:
        return found
    try:
        wanted = distribution(name).requires or []
    except PackageNotFoundError:  # for another system or Python
        return found
    found.add(name)
    for line in wanted:
        if "extra ==" not in line:
            requirements(re.match(r"[\w.-]+", line)[0], found)  # type: ignore[index]
    return found


def our_wheel(directory: Path) -> tuple[int, int]:
    """Bytes of our wheel, and of what it unpacks to."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
    ]
    subprocess.run([*command, str(directory), str(ROOT)], check=True)
    (wheel,) = directory.glob("shadowprune-*.whl")
    with ZipFile(wheel) as archive:
        return wheel.stat().st_size, sum(item.file_size for item in archive.infolist())


def their_wheel(package: str, directory: Path) -> int | None:
    """Bytes of the wheel of the version installed, or None where the index cannot be asked."""
    wanted = f"{package}=={distribution(package).version}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
    ]
    done = subprocess.run([*command, str(directory), wanted], capture_output=True, check=False)
    wheels = list(directory.glob("*.whl"))
    return wheels[0].stat().st_size if done.returncode == 0 and wheels else None


def run(*, repetitions: int, quick: bool = False) -> list[tables.Record]:
    """Measure and print; imports are interleaved, and the first of each, which fills caches, is dropped."""
    here = {}
    for library, (package, statement, peer) in IMPORTS.items():
        try:
            distribution(package)
            here[library] = (package, statement, peer)
        except PackageNotFoundError:
            print(f"{library} is left out: {package} is not installed")
    imports: dict[str, list[list[float]]] = {library: [] for library in here}
    for turn in range(1 if quick else repetitions + 1):
        for library, (_, statement, _) in here.items():
            seconds, mib = ask(IMPORT.format(statement=statement))  # type: ignore[misc]
            if turn or quick:
                imports[library].append([seconds, mib])
    records: list[tables.Record] = []
    tables.head(COLUMNS, NAMES)
    for library, (package, _, peer) in here.items():
        times = [seconds for seconds, _ in imports[library]]
        record: tables.Record = {
            "library": library,
            "import_seconds_min": min(times),
            "import_seconds_median": median(times),
            "import_mib": median(mib for _, mib in imports[library]),
            "training_mib": None,
            "own_mb": None,
            "with_requirements_mb": None,
            "wheel_mb": None,
            "seconds": times,
        }
        if peer:
            module, _, name = peer.partition(":")
            record["training_mib"] = ask(TRAIN.format(module=module, name=name))
        with tempfile.TemporaryDirectory() as scratch:
            needed = requirements(package, set())
            if package == "shadowprune":  # an editable install has no files of its own
                wheel, own = our_wheel(Path(scratch))
                record["wheel_mb"] = wheel / 1e6
                needed.discard(package)
            else:
                own = own_size(package)
                if not quick and (size := their_wheel(package, Path(scratch))):
                    record["wheel_mb"] = size / 1e6
                needed.discard(package)
        record["own_mb"] = own / 1e6
        record["with_requirements_mb"] = (own + sum(map(own_size, needed))) / 1e6
        tables.show(COLUMNS, [record])
        records.append(record)
    return records
