"""Writing what was measured: CSV for people and plots, JSON with every single repetition."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shadowprune._files import written

Record = dict[str, Any]


def save(directory: Path, name: str, machine: Record, records: Sequence[Record]) -> None:
    """`name`.csv and `name`.json in `directory`, whole or not at all.

    Lists in a record (every repetition) go to the JSON only.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with written(directory / f"{name}.json") as path:
        lines = ",\n".join(json.dumps({key: rounded(value) for key, value in r.items()}) for r in records)
        path.write_text(f'{{"machine": {json.dumps(machine, indent=1)},\n"records": [\n{lines}\n]}}\n')
    columns = list(
        dict.fromkeys(key for r in records for key, value in r.items() if not isinstance(value, list))
    )
    rows = [{key: rounded(r[key]) for key in columns if key in r} for r in records]
    write_csv(directory / f"{name}.csv", columns, rows)


def write_csv(path: Path, columns: Sequence[str], records: Sequence[Record]) -> None:
    """Records as a table, complete or not at all; the directory is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as draft, open(draft, "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(records)


def rounded(value: Any) -> Any:
    """Six digits of a float, or of each in a list: more are noise."""
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def load(directory: Path, name: str) -> tuple[Record, list[Record]] | None:
    """(machine, records) as saved, or None."""
    path = directory / f"{name}.json"
    if not path.exists():
        return None
    document = json.loads(path.read_text())
    return document["machine"], document["records"]


def show(columns: dict[str, str], records: Sequence[Record]) -> None:
    """Print records as a table; columns: key -> format specification, whose width heads the column too."""
    for record in records:
        cells = []
        for key, form in columns.items():
            width = int("".join(c for c in form.partition(".")[0] if c.isdigit()))
            value = record.get(key)
            cells.append(" " * (width - 1) + "-" if value is None else format(value, form))
        print(" ".join(cells), flush=True)


def head(columns: dict[str, str], names: dict[str, str]) -> None:
    """Print the line above the table."""
    cells = []
    for key, form in columns.items():
        width = int("".join(c for c in form.partition(".")[0] if c.isdigit()))
        side = "<" if form.startswith("<") else ">"
        cells.append(format(names.get(key, key), f"{side}{width}"))
    print(" ".join(cells))
