"""``python -m benchmarks.method``: run what is missing, write tables, pages and the plot. See ``--help``."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from shadowprune.parallel import workers

from . import report, results, samples, study
from .methods import TABLES

# samples, budgets, and those of them that options are tuned at
PARTS = {
    "methods": (samples.SAMPLES, study.FRACTIONS, study.TUNED),
    "defaults": (tuple(study.DEFAULTS_SEEDS), *2 * (study.DEFAULTS_AT,)),
    "rules": (samples.SUBSETS, *2 * (study.DEFAULTS_AT,)),
    "torch": (("jets",), *2 * ((0.3, 0.1),)),
}


def available(method: str, sample: str) -> bool:
    """Whether what it needs is installed, and the sample has what it varies."""
    if method in ("crowd", "fade"):
        return sample in samples.OF_CLASSES
    return "PQuantML" not in method or find_spec("pquant") is not None


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.method", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"of {', '.join(TABLES)}; all by default")
    add("--samples", nargs="+", metavar="SAMPLE", help="by default all, generated with --sample")
    add("--sample", nargs="+", default=[], metavar="FILE", help="of generated jets, taken together")
    add("--methods", nargs="+", metavar="METHOD", help="by name")
    add("--fractions", type=float, nargs="+", help="of the hidden nodes, to keep")
    add("--seeds", type=int, help="to test with")
    add("--jobs", type=int, help="processes (default: one per core)")
    add("--out", type=Path, default=Path("docs"), help="folder of method/, the pages and the plot")
    add("--quick", action="store_true", help="few rows: no result, but everything runs")
    add("--no-page", action="store_true", help="only train")
    options = parser.parse_args()
    if options.quick and options.out == Path("docs"):
        parser.error("--quick is no result: give another --out than docs")
    for given, known in (
        (options.parts, TABLES),
        (options.samples or [], (*samples.SAMPLES, samples.NOISY, *samples.SUBSETS)),
        (options.methods or [], [name for table in TABLES.values() for name in table]),
    ):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"nothing is called {', '.join(unknown)}; there are {', '.join(known)}")
    return options


def main() -> None:
    """Train, test, write."""
    options = arguments()
    for table in options.parts or TABLES:
        usual, fractions, tuned = PARTS[table]
        for sample in options.samples or [s for s in usual if s != "generated" or options.sample]:
            if sample not in usual:
                continue
            plan = study.Plan(
                sample,
                [m for m in options.methods or TABLES[table] if m in TABLES[table] and available(m, sample)],
                options.fractions or fractions, options.seeds, table, tuned,
                options.quick, tuple(options.sample) if sample == "generated" else (),
            )  # fmt: skip
            study.study(plan, options.out / results.FOLDER, workers(options.jobs))
    if not options.no_page:
        report.run(options.out)


if __name__ == "__main__":
    main()
