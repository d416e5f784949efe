"""Errors as problems: status, code, text in two languages, and nothing of the error's own message."""

from __future__ import annotations

import re
from typing import Any

import pytest

from prodkit import errors
from prodkit.ratelimit import Decision, Limit
from prodkit.sessions import StepUpRequiredError
from prodkit.web.problem import (
    ConflictError,
    LimitReachedError,
    Problem,
    describe,
    language_of,
    of_detail,
    of_error,
    of_status,
)


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("de, fr;q=0.8", "en"),
        ("pt", "pt-BR"),
        ("PT-pt", "pt-BR"),
        ("en;q=0.5, pt;q=0.9", "pt-BR"),
        ("pt;q=0.3, en-GB;q=0.4", "en"),
        ("pt;q=0", "en"),
        ("pt;q=nonsense", "en"),
        ("pt, en", "pt-BR"),  # equal weights: the first one
        ("x" * 300 + ", pt", "en"),  # read up to 200 characters
    ],
)
def test_the_language_that_a_reader_prefers(accept: str, language: str) -> None:
    assert language_of(accept, "en") == language


@pytest.mark.parametrize(
    ("error", "status", "code", "wait"),
    [
        (errors.CsrfError("x"), 403, "csrf", None),
        (StepUpRequiredError("x"), 401, "confirm", None),
        (errors.InvalidSessionError("x"), 401, "signed_out", None),
        (ConflictError("x"), 409, "conflict", None),
        (errors.InvalidError("x"), 422, "invalid", None),
        (errors.RateLimitedError("x", retry_after=2.1, limit="upload"), 429, "rate_limited", 3),
        (errors.DrainingError("x"), 503, "restarting", 5),
        (errors.PoolExhaustedError("x"), 503, "busy", 5),
        (errors.DatabaseError("x"), 503, "unavailable", 5),
        (errors.DeadlineExceededError("x"), 504, "timeout", None),
        (KeyError("x"), 500, "internal", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_the_class_of_an_error_decides(error: Exception, status: int, code: str, wait: int | None) -> None:
    problem = of_error(error, "en")
    assert (problem.status, problem.code, problem.retry_after) == (status, code, wait)
    assert ("Try again in" in problem.detail) is (wait is not None)


def test_the_message_of_an_error_stays_inside() -> None:
    for kind in (errors.DatabaseError, errors.InvalidError, RuntimeError):
        body = str(of_error(kind("postgresql://app:secret@db/x"), "en").body())
        assert "secret" not in body


def test_a_wait_is_never_rounded_down() -> None:
    assert describe("busy", "en", retry_after=0.01).retry_after == 1
    assert describe("busy", "en", retry_after=59.2).retry_after == 60
    assert describe("busy", "pt-BR", retry_after=90).detail.endswith("Tente novamente em 2 minutos.")


def test_a_refused_limit_brings_its_fields_and_its_own_text() -> None:
    limit = Limit("1/hour", name="upload")
    refused = Decision([limit], [(0, 3_599_000_001, 1, 1)], "memory", 1, ())
    problem = of_error(LimitReachedError.of(refused), "pt-BR")
    assert problem.status == 429
    assert problem.retry_after == 3600
    assert problem.detail == "Muitos envios de arquivos. Tente novamente em 1 hora."
    assert problem.body()["violated-policies"] == ["upload"]
    assert problem.headers["retry-after"] == "3600"


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (418, "bad_request"), (502, "unavailable"), (599, "unavailable")]
)
def test_a_bare_status_keeps_its_number(status: int, code: str) -> None:
    problem = of_status(status, "en")
    assert (problem.status, problem.code) == (status, code)
    assert describe(code, "en").title == problem.title
    assert of_status(status, "en", detail="No teapot.").detail == "No teapot."


@pytest.mark.parametrize(
    ("detail", "text", "extra"),
    [
        (None, "The address does not exist or was removed.", {}),
        ("gone", "gone", {}),
        (7, "7", {}),
        (
            {"message": "gone", "id": 3, "status": 200},
            "gone",
            {"id": 3},
        ),  # the status is not the app's to forge
        ({"detail": ["x"]}, "The address does not exist or was removed.", {}),
        ([1, 2], "The address does not exist or was removed.", {"errors": [1, 2]}),
    ],
)
def test_details_of_any_json_type(detail: Any, text: str, extra: dict[str, Any]) -> None:
    problem = of_detail(404, "en", detail)
    assert (problem.status, problem.detail, problem.extra) == (404, text, extra)


def test_the_document() -> None:
    problem = Problem(429, "rate_limited", "t", "d", 7, {"limit": "x"})
    assert problem.body("abc") == {
        "type": "about:blank", "title": "t", "status": 429, "detail": "d", "code": "rate_limited", "limit": "x",
        "retry_after": 7, "request_id": "abc",
    }  # fmt: skip
    assert not {"retry_after", "request_id"} & Problem(500, "internal", "t", "d").body().keys()


@pytest.mark.parametrize("language", ["en", "pt-BR"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 429, 500, 503, 504])
def test_every_text_is_a_sentence(status: int, language: Any) -> None:
    problem = of_status(status, language)
    assert problem.title
    assert re.match(r"[A-Z].*\.\Z", problem.detail)
    assert describe(problem.code, language).status == status
    assert of_status(status, language, detail="Own text.").title == problem.title
