"""benchmarks/README.md lists every benchmark, and only those that exist."""

import re
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_list_is_complete() -> None:
    runnable = {path.stem for path in BENCHMARKS.glob("[!_]*.py") if "__main__" in path.read_text()} - {
        "harness"
    }
    rows = [
        line.split("|")[1]
        for line in (BENCHMARKS / "README.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == runnable
