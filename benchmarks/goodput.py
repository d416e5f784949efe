"""Goodput under fault: one trace, every stack, five seeds, virtual time.

    python -m benchmarks.goodput                 # all stacks that are installed
    python -m benchmarks.goodput prodkit --seeds 1
    python -m benchmarks.goodput --variants      # prodkit without its parts, and with peers' settings

The trace is prodkit.testing.trace: 195 s of an upstream that refuses, slows down, throttles and fails. A share of
answered wishes is goodput; the ceiling of the trace is about 78 %. The stacks: benchmarks/_stacks.py.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import warnings
from collections.abc import Iterable

from benchmarks._stacks import STACKS, VARIANTS, patch_clocks
from prodkit.testing.trace import Report, run_trace

# --- the table ------------------------------------------------------------------------------------------------------

COLUMNS = (
    ("goodput %", lambda r: 100 * r.goodput),
    ("amplification", lambda r: r.amplification),
    ("outage ampl.", lambda r: r["outage"].amplification),
    ("outage fail p99 s", lambda r: r["outage"].p99),
    ("recovery s", lambda r: _number(r["after outage"].recovered_after)),
    ("brownout %", lambda r: 100 * r["brownout"].answered),
    ("after it %", lambda r: 100 * r["after brownout"].answered),
    ("429 %", lambda r: 100 * r["throttle"].answered),
    ("violations", lambda r: r.violations),
    ("30 % errors %", lambda r: 100 * r["partial"].answered),
    ("its ampl.", lambda r: r["partial"].amplification),
    ("wasted", lambda r: r.wasted),
)


def _number(value: float | None) -> float:
    return float("inf") if value is None else value


def row(name: str, reports: Iterable[Report], strict: Iterable[Report]) -> str:
    cells = [f"{statistics.median(get(r) for r in reports):.4g}" for _, get in COLUMNS]
    cells.append(f"{100 * statistics.median(r['throttle'].answered for r in strict):.1f}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stacks", nargs="*", help="parts of the names to run (default: all)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--variants", action="store_true", help="prodkit without its parts, and with peers' settings"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    patch_clocks()
    print(
        f"| stack (median of {options.seeds} seeds) | {' | '.join(n for n, _ in COLUMNS)} | strict quota 429 % |"
    )
    print("|---" * (len(COLUMNS) + 2) + "|")
    for name, stack in (VARIANTS if options.variants else STACKS).items():
        if options.stacks and not any(part in name for part in options.stacks):
            continue
        seeds = range(1, options.seeds + 1)
        try:
            reports = [run_trace(stack, seed=seed) for seed in seeds]
            strict = [run_trace(stack, seed=seed, strict_quota=True) for seed in seeds]
        except ImportError as missing:
            print(f"| {name} | not installed: {missing.name} |")
            continue
        print(row(name, reports, strict), flush=True)


if __name__ == "__main__":
    main()
