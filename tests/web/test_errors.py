"""Exceptions as responses: JSON or a page, what is raised again, and what comes too late."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

from prodkit import Runtime, errors
from prodkit.testing.events import EventLog
from prodkit.web.errors import ErrorMiddleware, Problems, RequestFailed


class Answer:
    """One request whose handler raises, and its response."""

    def __init__(self, **headers: str) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()],
            "state": {"request_id": "r-1"},
        }
        self.begun = False
        self.sent: list[Any] = []

    async def to(self, error: Exception, **options: Any) -> Answer:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if self.begun:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            raise error

        async def send(message: Any) -> None:
            self.sent.append(message)

        await ErrorMiddleware(app, problems=Problems(**options))(self.scope, send, send)
        return self

    @property
    def fields(self) -> dict[str, str]:
        return {name.decode(): text.decode() for name, text in self.sent[0]["headers"]}

    @property
    def text(self) -> str:
        return b"".join(each.get("body", b"") for each in self.sent[1:]).decode()


async def test_an_error_of_the_kit_is_a_problem_with_the_id_and_the_wait() -> None:
    runtime = Runtime()
    with EventLog(runtime.events) as log:
        answer = await Answer().to(errors.DatabaseError("host db-1 is away"), runtime=runtime)
    assert answer.sent[0]["status"] == 503
    assert answer.fields["content-type"] == "application/problem+json"
    assert answer.fields["cache-control"] == "no-store"
    assert answer.fields["retry-after"] == "5"
    body = json.loads(answer.text)
    assert (body["code"], body["request_id"], body["retry_after"]) == ("unavailable", "r-1", 5)
    assert "db-1" not in answer.text
    assert log.only(RequestFailed) == RequestFailed(status=503, code="unavailable", error="DatabaseError")


async def test_the_language_is_the_readers_or_ours() -> None:
    wanted = await Answer(accept_language="pt-BR").to(errors.CsrfError("x"))
    assert json.loads(wanted.text)["title"] == "Pedido recusado"
    ours = await Answer(accept_language="de").to(errors.CsrfError("x"), language="pt-BR")
    assert ours.fields["content-language"] == "pt-BR"


async def page(problem: Any, scope: Any) -> str:
    return f"<h1>{problem.status}</h1>"


@pytest.mark.parametrize(
    ("html", "accept", "kind", "failed"),
    [
        (page, "text/html,*/*", "text/html; charset=utf-8", False),
        (page, "application/json", "application/problem+json", False),
        (None, "text/html", "application/problem+json", False),
        (
            lambda problem, scope: 1 / 0,
            "text/html",
            "application/problem+json",
            True,
        ),
    ],
)
async def test_people_get_a_page(html: Callable[..., Any], accept: str, kind: str, failed: bool) -> None:
    answer = await Answer(accept=accept).to(errors.CsrfError("x"), html=html)
    assert answer.sent[0]["status"] == 403
    assert answer.fields["content-type"] == kind
    assert ("x-error-page" in answer.fields) is failed


async def test_an_http_exception_keeps_its_headers_and_its_own_text() -> None:
    answer = await Answer().to(HTTPException(401, "Bad token.", headers={"WWW-Authenticate": "Bearer"}))
    assert answer.sent[0]["status"] == 401
    assert answer.fields["www-authenticate"] == "Bearer"
    assert json.loads(answer.text)["detail"] == "Bad token."
    standard = await Answer(accept_language="pt").to(HTTPException(404))
    assert json.loads(standard.text)["detail"] == "O endereço não existe ou foi removido."
    assert (await Answer().to(HTTPException(304))).text == ""


async def test_a_bug_is_a_bare_500_and_reaches_the_server() -> None:
    answer = Answer()
    with pytest.raises(LookupError):
        await answer.to(LookupError("password=hunter2"))
    assert answer.sent[0]["status"] == 500
    assert "hunter2" not in answer.text


async def test_the_apps_own_handler_answers_bugs_and_no_error_of_the_kit() -> None:
    async def own(request: Any, error: Exception) -> Any:
        return PlainTextResponse("own", 500)

    bug, known = Answer(), Answer()
    bug.scope["app"] = known.scope["app"] = SimpleNamespace(exception_handlers={Exception: own})
    with pytest.raises(LookupError):
        await bug.to(LookupError())
    assert bug.text == "own"
    await known.to(errors.DatabaseError("x"))
    assert json.loads(known.text)["code"] == "unavailable"


async def test_after_the_response_began_an_error_only_reaches_the_server() -> None:
    answer = Answer()
    answer.begun = True
    with pytest.raises(errors.DatabaseError):
        await answer.to(errors.DatabaseError("x"))
    assert [each["type"] for each in answer.sent] == ["http.response.start"]


async def test_a_client_that_left_and_other_scopes_get_no_answer() -> None:
    answer = Answer()
    assert (await answer.to(ClientDisconnect())).sent == []
    answer.scope["type"] = "websocket"
    with pytest.raises(errors.CsrfError):
        await answer.to(errors.CsrfError("x"))
    assert answer.sent == []


def test_all_bad_options_are_in_one_error() -> None:
    with pytest.raises((TypeError, ValueError), match=r"language.*html"):
        Problems(language="de", html="page")  # type: ignore[arg-type]
