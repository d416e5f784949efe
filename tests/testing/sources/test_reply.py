"""The words of the simulated sources."""

from __future__ import annotations

from datetime import date

from prodkit.testing.sources.reply import chance_of, day_of, opinion_of


def test_the_same_text_has_the_same_answer() -> None:
    assert chance_of("a").random() == chance_of("a").random() != chance_of("b").random()


def test_days_lie_in_the_last_years() -> None:
    days = [day_of(chance_of(str(number))) for number in range(200)]
    assert date(2023, 11, 1) < min(days) < max(days) <= date(2026, 11, 20)
    assert all(day > date(2025, 11, 1) for day in (day_of(chance_of(str(n)), years=1) for n in range(50)))


def test_opinions_do_not_repeat_themselves() -> None:
    found = opinion_of(chance_of("x"), 5)
    assert len(set(found)) == 5
