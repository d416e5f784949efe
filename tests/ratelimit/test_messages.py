"""Texts for the user: durations that are never too short, titles by limit, both languages."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.ratelimit import Decision, Limit, message
from prodkit.ratelimit.decision import Source
from prodkit.ratelimit.messages import Language, duration, title

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 second"),
        (0.2, "1 second"),
        (1.01, "2 seconds"),
        (59, "59 seconds"),
        (59.5, "1 minute"),
        (60, "1 minute"),
        (61, "2 minutes"),
        (HOUR - 1, "1 hour"),
        (HOUR + 1, "2 hours"),
        (2 * DAY, "48 hours"),
        (2 * DAY + 1, "3 days"),
        (30 * DAY, "30 days"),
    ],
)
def test_durations_are_rounded_up(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1 segundo"), (90, "2 minutos"), (HOUR, "1 hora"), (9 * DAY, "9 dias")]
)
def test_durations_in_portuguese(seconds: float, text: str) -> None:
    assert duration(seconds, "pt-BR") == text


def refused(*limits: Limit, waits: Any = (60,), source: Source = "memory") -> Decision:
    outlooks = [(0, wait * 1_000_000, wait * 1_000_000, wait * 1_000_000) for wait in waits]
    return Decision(limits, outlooks, source, 1, ())


@pytest.mark.parametrize(
    ("name", "language", "text"),
    [
        ("login", "en", "Too many login attempts. Try again in 1 minute."),
        ("login-ip", "pt-BR", "Muitas tentativas de login. Tente novamente em 1 minuto."),
        ("register", "pt-BR", "Muitos cadastros a partir desta conexão. Tente novamente em 1 minuto."),
        ("upload", "en", "Too many file uploads. Try again in 1 minute."),
        ("anything", "en", "Too many attempts. Try again in 1 minute."),
    ],
)
def test_the_reason_and_the_wait(name: str, language: Language, text: str) -> None:
    assert message(refused(Limit("1/hour", name=name)), language) == text


def test_a_limit_may_have_a_text_of_its_own_in_one_language() -> None:
    decision = refused(Limit("1/hour", name="upload", texts={"pt-BR": "Chega por hoje."}))
    assert title(decision, "pt-BR") == "Chega por hoje."
    assert title(decision, "en") == "Too many file uploads."


def test_the_limit_with_the_longest_wait_names_the_reason() -> None:
    limits = Limit("1/hour", name="login"), Limit("1/day", name="upload")
    assert message(refused(*limits, waits=(60, 7200))) == "Too many file uploads. Try again in 2 hours."


def test_an_outage_is_not_the_users_fault() -> None:
    decision = refused(Limit("1/hour", name="login"), source="outage")
    assert title(decision) == "The service is temporarily unavailable."


def test_an_admission_still_has_a_title() -> None:
    assert title(refused(Limit("1/hour", name="login"), waits=(0,))) == "Too many attempts."
