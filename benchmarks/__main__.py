"""``python -m benchmarks``: measure, print, save, and write the page. See ``--help``."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

PARTS = ("training", "inference", "whole", "footprint", "report")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and size beside the peers. Missing packages are left out; "
        "benchmarks/requirements.txt names all of them.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="every peer, little statistics: no result")
    parser.add_argument("--repetitions", type=int, help="default 9, with --quick 2")
    parser.add_argument("--prototype", type=Path, metavar="FILE.so", help="an external C loop to measure too")
    parser.add_argument("--remark", help="a sentence for the page, about the circumstances")
    parser.add_argument("--add", action="store_true", help="to the training cases measured before")
    parser.add_argument("--peers", nargs="+", help="of the training part, by name")
    parser.add_argument("--cases", nargs="+", help="of the training part, by name")
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="of the training part")
    parser.add_argument("--threads", type=int, nargs="+", help="of the training part")
    options = parser.parse_args()
    if options.repetitions is None:
        options.repetitions = 2 if options.quick else 9
    if options.repetitions < 1:
        parser.error(f"--repetitions is {options.repetitions}; it must be at least 1")
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    options.parts = options.parts or list(PARTS)
    return options


def main() -> None:
    options = arguments()
    from . import footprint, inference, machine, peak, report, tables, training, whole

    about = machine.describe()
    if options.remark:
        about["remark"] = options.remark
    print(
        f"{about['processor']} ({about['processor_family']}), {about['processors']} processors, "
        f"{about['instruction_set']}, {about['compiler']}"
    )
    print(", ".join(f"{package} {number}" for package, number in about["versions"].items()))
    if os.getloadavg()[0] > machine.BUSY:
        print(
            f"The load average is {os.getloadavg()[0]:.1f}: somebody else is at work, the figures are noisy"
        )
    folder = options.out / report.FOLDER
    usual = {"repetitions": options.repetitions, "quick": options.quick}
    with tempfile.TemporaryDirectory() as scratch:
        library = peak.build(Path(scratch))
        for part in options.parts:
            print(f"\n{part}", flush=True)
            begin = time.perf_counter()
            if part == "training":
                before = tables.load(folder, part) if options.add else None
                records = before[1] if before else []
                for found in training.run(
                    library,
                    **usual,
                    prototype=options.prototype,
                    cases=options.cases,
                    batches=options.batch_sizes,
                    threads=options.threads,
                    names=options.peers,
                ):
                    again = {(r["case"], r["batch_size"]) for r in found}
                    records = [r for r in records if (r["case"], r["batch_size"]) not in again] + found
                    tables.save(folder, part, about, records)  # all so far: it takes long
            elif part == "inference":
                records = inference.run(library, **usual)
            elif part == "whole":
                records = whole.run(**usual)
            elif part == "footprint":
                records = footprint.run(**usual)
            else:
                report.run(options.out)
                continue
            tables.save(folder, part, about, records)
            print(f"wrote {folder / part}.csv and .json after {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
