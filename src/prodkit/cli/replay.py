"""``prodkit replay [TRACE]``: run a fault trace on a configuration; a table, and an SVG timeline of the outcomes."""

from __future__ import annotations

import importlib
import json
import random
import statistics
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from prodkit.core.recording import read
from prodkit.core.runtime import Runtime
from prodkit.core.timeline import Band, Chart, Line, Row
from prodkit.errors import ProdkitError
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.backoff import full_jitter
from prodkit.policies.base import Policy
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.budget import RetryBudget
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.pipeline import Pipeline
from prodkit.policies.policy_set import PolicySet
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout
from prodkit.testing.trace import TRACE, Call, Phase, Report, Stack, Upstream, UpstreamError, run_trace
from prodkit.testing.trace_recording import trace_from

__all__ = ["app", "chart", "recommended", "table"]

app: typer.Typer = typer.Typer(add_completion=False, help="Run a fault trace on your policies.")

_COLOURS = {"none": "ok", "refused": "bad", "slow": "warn", "throttled": "info", "failing": "other"}


@app.command()
def replay(
    trace: Annotated[
        str, typer.Argument(help='"goodput", the built-in trace, or a file of recorded events (JSON lines).')
    ] = "goodput",
    stack: Annotated[
        str,
        typer.Option(
            help="MODULE:NAME of a policy, of a function of a Runtime that returns one, or of stack(client, upstream)."
        ),
    ] = "",
    policies: Annotated[Path | None, typer.Option(exists=True, help="A TOML file for a PolicySet.")] = None,
    pipeline: Annotated[
        str, typer.Option(help="The pipeline of the TOML file; its only one by default.")
    ] = "",
    name: Annotated[str, typer.Option(help="Only recorded faults of this breaker, gate or call.")] = "",
    calls: Annotated[
        str,
        typer.Option(
            help="The recorded event that ends each call, for the number of calls; by default llm.finished or "
            "pool.acquired, where there are any."
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Runs; the table shows their median.")] = 1,
    svg: Annotated[Path | None, typer.Option(help="Write the timeline of the first run here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
) -> None:
    """Print goodput, amplification and recovery of a configuration under a fault trace, in virtual time.

    Without --stack and --policies it is the recommended pipeline: retry on a budget, breaker, gate, adaptive limit and
    attempt timeout.
    """
    try:
        phases = _trace(trace, name, calls)
        made = _stack(stack, policies, pipeline)
        _check_directory(svg)
    except (ValueError, OSError, ImportError, AttributeError, TypeError, KeyError, ProdkitError) as error:
        print(f"prodkit replay: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    reports = [run_trace(made, seed=seed, trace=phases) for seed in range(1, seeds + 1)]
    if svg is not None:
        try:
            svg.write_text(chart(reports[0], phases).svg(), encoding="utf-8")
        except OSError as error:
            print(f"prodkit replay: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
    if as_json:
        for report in reports:
            print(json.dumps(asdict(report)))
    else:
        print(table(reports, phases))


def recommended(client: int, upstream: Upstream) -> Call:
    """Return the guarded call of one client under the recommended pipeline.

    Args:
        client: its number.
        upstream: the dependency.
    """
    runtime = Runtime(rng=random.Random(client))
    guarded = Pipeline(
        Retry(
            5,
            on=(ConnectionError, UpstreamError, TimeoutError),
            wait=full_jitter(0.1),
            budget=RetryBudget(runtime=runtime),
        ),
        CircuitBreaker(
            "upstream",
            failures=10,
            window_seconds=5,
            open_for=0.5,
            open_growth=2,
            max_open_for=1.5,
            open_jitter=0.3,
        ),
        RetryAfterGate("upstream"),
        AdaptiveLimit(),
        Timeout(1.0),
        runtime=runtime,
    )
    return cast("Call", partial(guarded.run, upstream.request, client))


def _trace(given: str, name: str, calls: str) -> tuple[Phase, ...]:
    if given == "goodput":
        return TRACE
    path = Path(given)
    if not path.is_file():
        raise ValueError(f'no trace {given!r}: "goodput", or a file of recorded events')
    skipped: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as lines:  # a line that is no text is no event
        phases = trace_from(read(lines, skipped), name=name, calls=calls)
    if skipped:
        print(f"{len(skipped)} lines of {given} are no recorded events and were skipped", file=sys.stderr)
    return phases


def _check_directory(svg: Path | None) -> None:
    if svg is not None and not svg.parent.is_dir():
        raise ValueError(f"--svg: there is no directory {svg.parent}")


def _stack(stack: str, policies: Path | None, pipeline: str) -> Stack:
    if stack and policies is not None:
        raise ValueError("give --stack or --policies, not both")
    if policies is not None:
        try:
            data = tomllib.loads(policies.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{policies} is no TOML file: {error}") from None
        data = data.get("policies", data)
        if not data:
            raise ValueError(f"{policies} holds no pipeline")
        if not pipeline and len(data) != 1:
            raise ValueError(f"--pipeline names one of {', '.join(data)}")
        chosen = pipeline or next(iter(data))
        if chosen not in data:
            raise ValueError(f"no pipeline {chosen!r} in {policies}: {', '.join(data)}")
        PolicySet({chosen: data[chosen]})  # refused now, if it is
        return _each_client(lambda runtime: PolicySet({chosen: data[chosen]}, runtime=runtime)[chosen])
    if not stack:
        return recommended
    module, _, attribute = stack.partition(":")
    if not attribute:
        raise ValueError(f"--stack is MODULE:NAME, got {stack!r}")
    sys.path.insert(0, str(Path.cwd()))
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return _as_stack(found, stack)


def _as_stack(found: Any, name: str) -> Stack:
    """Return the stack that a user's object means: a policy, a maker of policies, or a stack."""
    if isinstance(found, Policy):
        return lambda client, upstream: cast("Call", partial(found.run, upstream.request, client))
    if not callable(found):
        raise TypeError(f"{name} must be a policy or a function, got {found!r}")
    parameters = getattr(getattr(found, "__code__", None), "co_argcount", 2)
    return (
        _each_client(cast("Callable[[Runtime], Policy]", found)) if parameters == 1 else cast("Stack", found)
    )


def _each_client(make: Callable[[Runtime], Policy]) -> Stack:
    """Return the stack in which every client has policies of its own, as processes have."""

    def stack(client: int, upstream: Upstream) -> Call:
        policy = make(Runtime(rng=random.Random(client)))
        return cast("Call", partial(policy.run, upstream.request, client))

    return stack


def table(reports: list[Report], phases: tuple[Phase, ...]) -> str:
    """Return the medians of `reports` as a Markdown table, one row a phase, and the totals under it.

    Args:
        reports: of the same trace.
        phases: of the trace.
    """
    lines = [
        "| phase | fault | seconds | answered % | requests per call | p99 s | recovered after s |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for phase in phases:
        each = [report[phase.name] for report in reports]
        recovered = _median([one.recovered_after for one in each if one.recovered_after is not None])
        lines.append(
            f"| {phase.name} | {phase.fault} | {phase.seconds:g} | {_median([100 * one.answered for one in each]):.1f} "
            f"| {_median([one.amplification for one in each]):.2f} | {_median([one.p99 for one in each]):.2f} "
            f"| {'never' if recovered != recovered else f'{recovered:g}'} |"
        )
    goodput = _median([100 * report.goodput for report in reports])
    sent = _median([report.amplification for report in reports])
    violations = _median([report.violations for report in reports])
    wasted = _median([report.wasted for report in reports])
    runs = f"{len(reports)} seed{'s' if len(reports) > 1 else ''}"
    lines.append(
        f"\ngoodput {goodput:.1f} %, {sent:.2f} requests per call, "
        f"{violations:g} requests within a Retry-After window, {wasted:g} answers wasted (median of {runs})"
    )
    return "\n".join(lines)


def chart(report: Report, phases: tuple[Phase, ...]) -> Chart:
    """Return the timeline of one run: the faults, and the answered, refused, failed and wasted calls of each second.

    Args:
        report: of the run.
        phases: of its trace.
    """
    bands: list[Band] = []
    at = 0.0
    for phase in phases:
        bands.append(Band(at, at + phase.seconds, _COLOURS[phase.fault], f"{phase.name}: {phase.fault}"))
        at += phase.seconds
    curves = (("answered", "ok"), ("refused", "idle"), ("failed", "bad"), ("wasted", "warn"))
    lines = [
        Line(
            name,
            [(each.at + 0.5, getattr(each, name)) for each in report.seconds],
            colour,
            name == "answered",
        )
        for name, colour in curves
    ]
    return Chart("Fault trace", [Row("fault", bands)], lines, 0.0, at, width=960, unit="calls/s")


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")
