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
import sys
import warnings

from benchmarks._stacks import STACKS, VARIANTS, patch_clocks
from benchmarks.harness import Table, run
from prodkit.testing.trace import run_trace

# --- the table ------------------------------------------------------------------------------------------------------

FLOOR = 76.5  # % of the calls answered, median of unseen seeds
GOODPUT, STRICT = "goodput %", "strict quota 429 %"
COLUMNS = (
    (GOODPUT, lambda r: 100 * r.goodput),
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


def main(options: argparse.Namespace) -> Table:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    patch_clocks()
    seeds = range(options.first, options.first + options.seeds)
    table = Table("goodput", f"goodput under fault, median of seeds {seeds[0]} to {seeds[-1]}")
    found: dict[str, dict[str, float]] = {}
    for name, stack in (VARIANTS if options.variants else STACKS).items():
        if options.stacks and not any(part in name for part in options.stacks):
            continue
        try:
            reports = [run_trace(stack, seed=seed) for seed in seeds]
            strict = [run_trace(stack, seed=seed, strict_quota=True) for seed in seeds]
        except ImportError as missing:
            table.note(f"{name}: {missing.name} is not installed")
            continue
        found[name] = {title: statistics.median(get(each) for each in reports) for title, get in COLUMNS}
        found[name][STRICT] = 100 * statistics.median(each["throttle"].answered for each in strict)
        print(f"  {name}: {found[name][GOODPUT]:.1f} %", file=sys.stderr, flush=True)
    if not found:
        return table
    ours = found.pop("prodkit", None) or found.pop(next(iter(found)))
    for title, value in ours.items():
        peers = {name: figures[title] for name, figures in found.items()}
        table.add(title, value, floor=FLOOR if title == GOODPUT else None, peers=peers, unit="")
    return table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stacks", nargs="*", help="parts of the names to run (default: all)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument(
        "--variants", action="store_true", help="prodkit without its parts, and with peers' settings"
    )


if __name__ == "__main__":
    run(main, arguments)
