import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from prodkit.llm.failures import VERDICTS, Failure, of_error_object, of_exception, of_response

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

#: signal → code, retry the same model, ask the next one, counts for the breaker, alert an operator
STATUSES = [
    (529, "overloaded_error", "", "overloaded", True, True, True, False),
    (500, "api_error", "", "server_error", True, True, True, False),
    (501, "", "", "server_error", True, True, True, False),
    (502, "", "", "server_error", True, True, True, False),
    (503, "", "", "server_error", True, True, True, False),
    (503, "overloaded_error", "", "overloaded", True, True, True, False),
    (504, "timeout_error", "", "server_error", True, True, True, False),
    (429, "rate_limit_error", "", "rate_limited", True, True, False, False),
    (429, "rate_limit_error", "ramp_limit_exceeded", "rate_limited", True, True, False, False),
    (429, "rate_limit_error", "enforced_spend_limit_reached", "spend_limit", False, False, False, True),
    (429, "rate_limit_error", "contract_spend_limit_reached", "spend_limit", False, False, False, True),
    (402, "billing_error", "", "billing", False, False, False, True),
    (408, "timeout_error", "", "request_timeout", True, False, False, False),
    (409, "conflict_error", "", "conflict", True, False, False, False),
    (400, "invalid_request_error", "", "invalid_request", False, False, False, False),
    (413, "request_too_large", "", "too_large", False, False, False, False),
    (422, "invalid_request_error", "", "invalid_request", False, False, False, False),
    (418, "", "", "invalid_request", False, False, False, False),
    (401, "authentication_error", "", "authentication", False, False, False, True),
    (403, "permission_error", "", "permission", False, False, False, True),
    (404, "not_found_error", "", "not_found", False, True, False, True),
    # inside a stream: status 200
    (200, "overloaded_error", "", "overloaded", True, True, True, False),
    (200, "api_error", "", "server_error", True, True, True, False),
    (200, "timeout_error", "", "server_error", True, True, True, False),
    (200, "rate_limit_error", "", "rate_limited", True, True, False, False),
    (200, "invalid_request_error", "", "invalid_request", False, False, False, False),
    (200, "an_error_of_the_future", "", "bad_response", True, True, True, False),
    (200, "", "", "bad_response", True, True, True, False),
]


@pytest.mark.parametrize(
    ("status", "kind", "code", "ours", "retry", "fall_back", "counts", "alert"), STATUSES
)
def test_statuses(
    status: int, kind: str, code: str, ours: str, retry: bool, fall_back: bool, counts: bool, alert: bool
) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "m", "details": {"error_code": code}}}
    failure = of_response(status, {"request-id": "req_7"}, json.dumps(body).encode(), NOW)
    verdict = failure.verdict
    assert failure.code == ours
    assert (verdict.retry, verdict.fall_back, verdict.counts, verdict.alert) == (
        retry,
        fall_back,
        counts,
        alert,
    )
    assert (failure.status, failure.error_type, failure.request_id) == (status, kind, "req_7")


@pytest.mark.parametrize(
    ("code", "retry", "fall_back", "counts"),
    [
        ("connection", True, True, True),
        ("truncated", True, True, True),
        ("bad_response", True, True, True),
        ("first_content_timeout", True, True, True),
        ("stall_timeout", True, True, True),
        ("attempt_timeout", True, True, True),
        ("pool", False, False, False),
        ("closed", False, False, False),
        ("local", False, False, False),
        ("refusal", False, False, False),
        ("cancelled", False, False, False),
        ("deadline", False, False, False),
        ("timeout", False, False, True),
    ],
)
def test_signals_without_a_status(code: str, retry: bool, fall_back: bool, counts: bool) -> None:
    verdict = VERDICTS[code]
    assert (verdict.retry, verdict.fall_back, verdict.counts) == (retry, fall_back, counts)


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"[]", b'{"error": "no"}', b'{"error": {"type": 7}}', b"\xff"]
)
def test_a_body_of_any_form_is_understood_by_its_status(body: bytes) -> None:
    assert of_response(502, {}, body, NOW).code == "server_error"
    assert of_response(400, {}, body, NOW).code == "invalid_request"


def test_an_empty_account_is_a_matter_of_billing_though_the_api_calls_it_an_invalid_request() -> None:
    error = {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."}
    failure = of_error_object({"error": error}, status=400, headers={}, now=NOW)
    assert failure.code == "billing"
    assert failure.verdict.alert


def test_the_longest_detail_is_short() -> None:
    failure = of_error_object({"error": {"message": "x" * 9999}}, status=400, headers={}, now=NOW)
    assert len(failure.detail) == 300


def _raised(name: str, *bases: str, cause: BaseException | None = None) -> BaseException:
    kinds: tuple[type, ...] = (Exception,)
    for base in reversed(bases):
        kinds = (type(base, kinds, {}),)
    error: BaseException = type(name, kinds, {})("said")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_raised("ReadError", "NetworkError", "TransportError"), "connection"),
        (_raised("RemoteProtocolError", "ProtocolError", "TransportError"), "connection"),
        (_raised("ReadTimeout", "TimeoutException", "TransportError"), "connection"),
        (_raised("PoolTimeout", "TimeoutException", "TransportError"), "pool"),
        (_raised("StreamClosed", "StreamError"), "closed"),
        (_raised("DecodingError", "RequestError"), "bad_response"),
        (_raised("APIConnectionError", "APIError"), "connection"),
        (
            _raised(
                "APITimeoutError", "APIConnectionError", cause=_raised("PoolTimeout", "TimeoutException")
            ),
            "pool",
        ),
        (_raised("APIConnectionError", "APIError", cause=RuntimeError("closed")), "closed"),
        (_raised("APIConnectionError", "APIError", cause=ConnectionResetError()), "connection"),
        (json.JSONDecodeError("m", "d", 0), "bad_response"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "r"), "bad_response"),
        (OSError("no route"), "connection"),
        (TypeError("not serialisable"), "local"),
        (ValueError("bad"), "local"),
    ],
)
def test_exceptions(error: BaseException, code: str) -> None:
    assert of_exception(error).code == code


def test_the_real_exceptions_have_the_names_that_the_table_knows() -> None:
    import anthropic
    import httpx2

    request = httpx2.Request("POST", "http://x")
    real: list[tuple[BaseException, str]] = [
        (httpx2.ReadError("m"), "connection"),
        (httpx2.RemoteProtocolError("m"), "connection"),
        (httpx2.ReadTimeout("m"), "connection"),
        (httpx2.ConnectTimeout("m"), "connection"),
        (httpx2.PoolTimeout("m"), "pool"),
        (httpx2.DecodingError("m"), "bad_response"),
        (httpx2.TooManyRedirects("m"), "bad_response"),
        (httpx2.StreamClosed(), "closed"),
        (anthropic.APIConnectionError(request=request), "connection"),
        (anthropic.APITimeoutError(request=request), "connection"),
    ]
    for error, code in real:
        assert of_exception(error).code == code, error


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert of_response(429, headers, b"", NOW).retry_after == seconds


def test_every_code_has_a_row() -> None:
    with pytest.raises(KeyError):
        _ = Failure("unheard_of").verdict


def test_a_record_of_any_shape_makes_a_failure() -> None:
    shapes: list[Any] = [None, [], "x", {}, {"error": None}, {"error": {"details": []}}]
    for body in shapes:
        assert of_error_object(body, status=200, headers={}, now=NOW).code == "bad_response"
