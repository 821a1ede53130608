"""Instructions the C core executes for a fixed piece of work: a guard against slower code that does not
depend on how busy a machine is. ``python -m benchmarks.instructions``, with valgrind installed.

Callgrind counts inside the core's entry points only, with the AVX2 kernels (valgrind knows no AVX-512), on
the module as it is installed. The counts do not depend on the clock or the caches; they do depend a little
on the compiler, so the stored ones name theirs, and with another compiler more is tolerated. Fewer
instructions are not an error, but should be stored, so that the guard stays sharp: ``--update`` does it,
and the change is reviewed with the code that made it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from .machine import environment
from .peak import compiler

STORED = Path(__file__).with_name("instructions.json")
TOLERANCE, OTHER_COMPILER = 0.03, 0.15
ISA = "avx2"


def compiler_family() -> str:
    """Name and major version, as ``gcc 12``."""
    dump = [compiler(), "-dM", "-E", "-x", "c", os.devnull]
    lines = subprocess.run(dump, capture_output=True, text=True, check=True).stdout.splitlines()
    macros = dict(line.split(" ", 2)[1:] for line in lines if line.count(" ") >= 2)
    if "__clang_major__" in macros:
        return f"clang {macros['__clang_major__']}"
    return f"gcc {macros['__GNUC__']}"


def count() -> dict[str, int]:
    """Instructions of each call of `counted.calls`.

    Raises
    ------
    RuntimeError
        Without valgrind or a compiled module, or if a call did not enter its function exactly once.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RuntimeError("valgrind is not installed; on Debian: apt-get install valgrind")
    spec = find_spec("shadowprune._core")
    if spec is None or spec.origin is None:
        raise RuntimeError("shadowprune is not installed or not compiled")
    from . import counted
    from .counted import calls

    functions: dict[str, list[str]] = {}
    for name, (function, _) in calls(counted.load(spec.origin)).items():
        functions.setdefault(function, []).append(name)
    found: dict[str, int] = {}
    for function, names in functions.items():  # one at a time: callgrind confuses two that it toggles at
        with tempfile.TemporaryDirectory() as scratch:
            command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={scratch}/out"]
            command += [f"--toggle-collect={function}", f"--dump-after={function}"]
            command += [sys.executable, str(counted.__file__), spec.origin, function]
            variables = environment(1) | {"SHADOWPRUNE_ISA": ISA}
            done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
            numbers = [_total(path) for path in sorted(Path(scratch).glob("out.*"))]
        if len(numbers) != len(names) or 0 in numbers:
            raise RuntimeError(
                f"{function} was to be entered {len(names)} times, callgrind counted {numbers}"
            )
        found |= dict(zip(names, numbers, strict=True))
    return found


def _total(path: Path) -> int:
    """Instructions of one dump of callgrind."""
    for line in path.read_text().splitlines():
        if line.startswith("summary:"):
            return int(line.split()[1])
    raise RuntimeError(f"no summary in {path.name}")


def compare(found: dict[str, int], stored: dict[str, int], tolerance: float) -> list[str]:
    """A complaint for each call that executes more than was stored, or is not stored."""
    complaints = []
    for name, number in found.items():
        before = stored.get(name)
        if before is None:
            complaints.append(f"{name}: nothing stored")
        elif number > before * (1 + tolerance):
            complaints.append(
                f"{name}: {number:,} instructions, {number / before - 1:+.1%} against the stored {before:,}; "
                f"{tolerance:.0%} are tolerated"
            )
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--update", action="store_true", help=f"write what is counted to {STORED.name}")
    options = parser.parse_args()
    family = compiler_family()
    found = count()
    if options.update:
        STORED.write_text(
            json.dumps({"compiler": family, "isa": ISA, "instructions": found}, indent=1) + "\n"
        )
        print(f"wrote {STORED.name}")
        return 0
    stored = json.loads(STORED.read_text())
    tolerance = TOLERANCE if family == stored["compiler"] else OTHER_COMPILER
    for name, number in found.items():
        before = stored["instructions"].get(name, number)
        print(f"{name:<24}{number:>14,}{number / before - 1:>+9.2%}")
    complaints = compare(found, stored["instructions"], tolerance)
    if complaints:
        print("\n".join(complaints), file=sys.stderr)
        print(
            f"({family}; stored with {stored['compiler']}.) If the extra work is worth it, store "
            f"the new counts with "
            "python -m benchmarks.instructions --update and say why in the commit.",
            file=sys.stderr,
        )
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
