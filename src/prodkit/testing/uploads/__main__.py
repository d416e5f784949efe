"""Score folders of files: ``python -m prodkit.testing.uploads DIR... [--json]``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from prodkit.testing.uploads.score import Score, score

DESCRIPTION = """Check every file below the folders with both settings of on_damage, and list what was refused and why.
Judge the list yourself: an honest file in it is a finding."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m prodkit.testing.uploads", description=DESCRIPTION)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--max-side", type=int, default=12_000, help="pixels of the longer side (12000)")
    parser.add_argument("--max-mib", type=int, default=50, help="size of a file in MiB (50)")
    parser.add_argument("--json", action="store_true", help="one JSON object a file instead of the table")
    chosen = parser.parse_args()
    missing = [str(each) for each in chosen.folders if not each.is_dir()]
    if missing:
        parser.error(f"no such folder: {', '.join(missing)}")
    scores = asyncio.run(score(chosen.folders, max_side=chosen.max_side, max_bytes=chosen.max_mib * 2**20))
    lines = (json.dumps(each.as_dict()) for each in scores) if chosen.json else _table(scores)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _table(scores: list[Score]) -> Iterator[str]:
    kinds = sorted({each.kind for each in scores})
    yield f"{'kind':<10}{'files':>8}{'as sent':>10}{'rewritten':>11}{'refused':>9}{'slowest':>10}"
    for kind in [*kinds, ""]:
        some = [each for each in scores if kind in ("", each.kind)]
        kept = sum(not each.refuse for each in some)
        lost = sum(bool(each.rewrite) for each in some)
        slowest = max((each.seconds for each in some), default=0.0)
        yield f"{kind or 'all':<10}{len(some):>8}{kept:>10}{len(some) - kept - lost:>11}{lost:>9}{slowest:>9.2f}s"
    for each in scores:
        if each.refuse:
            verdict = f"refused: {each.rewrite}" if each.rewrite else f"rewritten: {', '.join(each.repairs)}"
            yield f"  {each.path}  {verdict}  ({each.detail})"


if __name__ == "__main__":
    main()
