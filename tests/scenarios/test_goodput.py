"""The fault trace on the published configuration: what the benchmark shows for five seeds, held for two."""

import importlib.util
from pathlib import Path
from statistics import median

import pytest

from prodkit.testing.trace import Report, run_trace

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def stack():  # type: ignore[no-untyped-def]
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "_stacks.py"
    spec = importlib.util.spec_from_file_location("stacks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.prodkit_stack


@pytest.fixture(scope="module")
def reports(stack) -> list[Report]:  # type: ignore[no-untyped-def]
    return [run_trace(stack, seed=seed) for seed in SEEDS]


def of(reports: list[Report], phase: str, fact: str) -> float:
    return median(getattr(report[phase], fact) for report in reports)


def test_goodput_of_the_whole_trace(reports: list[Report]) -> None:
    assert median(report.goodput for report in reports) >= 0.755


def test_an_outage_is_spared_and_told_quickly(reports: list[Report]) -> None:
    assert of(reports, "outage", "amplification") <= 0.10
    assert of(reports, "outage", "p99") <= 0.10
    assert of(reports, "after outage", "recovered_after") <= 2


def test_a_brownout_is_used_to_its_capacity_and_leaves_nothing_behind(reports: list[Report]) -> None:
    assert of(reports, "brownout", "answered") >= 0.25
    assert of(reports, "after brownout", "answered") >= 0.995


def test_a_throttle_is_obeyed_and_used(reports: list[Report]) -> None:
    assert of(reports, "throttle", "answered") >= 0.47
    assert sum(report.violations for report in reports) == 0


def test_a_strict_quota_is_used(stack) -> None:  # type: ignore[no-untyped-def]
    strict = [run_trace(stack, seed=seed, strict_quota=True) for seed in SEEDS]
    assert of(strict, "throttle", "answered") >= 0.40


def test_fast_errors_are_repeated_at_a_bounded_price(reports: list[Report]) -> None:
    assert of(reports, "partial", "answered") >= 0.993
    assert of(reports, "partial", "amplification") <= 1.45


def test_the_same_seed_gives_the_same_report(stack, reports: list[Report]) -> None:  # type: ignore[no-untyped-def]
    assert repr(run_trace(stack, seed=SEEDS[0])) == repr(reports[0])  # a phase without answers has nan in it
