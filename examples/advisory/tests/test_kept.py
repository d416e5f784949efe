"""A question that could not be asked is on the error page, and goes back to its composer."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from urllib.parse import urlencode

import pytest

from advisory.pages.kept import BACK, CarryQuestion, carried
from advisory.tests.test_ask import experts_of
from prodkit.testing import virtual_time

FORM = {"question": ["Devo abrir uma segunda loja?"], "experts": ["1", "2"]}
BODY = urlencode(FORM, doseq=True).encode()


class App:
    """Notes what reaches it; reads its body to the end."""

    def __init__(self) -> None:
        self.body = b""
        self.fields: object = None

    async def __call__(self, scope, receive, send) -> None:
        self.fields = carried(scope)
        while (message := await receive())["type"] == "http.request":
            self.body += message["body"]
            if not message["more_body"]:
                return


def scope(path: str = "/conselhos", method: str = "POST", site: str = "same-origin") -> dict:
    headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"sec-fetch-site", site.encode())]
    return {"type": "http", "method": method, "path": path, "headers": headers}


async def send(app: App, asked: dict, *parts: bytes | float) -> None:
    """Bytes are parts of the body; numbers are pauses. The last part ends the body."""
    messages = iter(parts)

    async def receive() -> dict:
        nonlocal left
        for part in messages:
            left -= 1
            if isinstance(part, float):
                await asyncio.sleep(part)
            else:
                return {"type": "http.request", "body": part, "more_body": left > 0}
        return {"type": "http.disconnect"}

    left = len(parts)
    await CarryQuestion(app)(asked, receive, None)  # type: ignore[arg-type]


@virtual_time
async def test_the_body_is_read_once_and_handed_on():
    app = App()
    await send(app, scope(), BODY[:10], BODY[10:])
    assert (app.body, app.fields) == (BODY, FORM)


@virtual_time
@pytest.mark.parametrize(
    "asked",
    [scope("/personas"), scope(method="GET"), scope(site="cross-site"), scope("/conversas/1")],
    ids=["no question", "GET", "another site", "no conversation"],
)
async def test_other_requests_are_left_alone(asked):
    app = App()
    await send(app, asked, BODY)
    assert (app.body, app.fields) == (BODY, None)


@virtual_time
async def test_a_body_that_is_late_too_large_or_no_form_still_reaches_the_app():
    for parts in ((b"question=", 20.0, b"tarde"), (b"question=" + b"a" * 70_000,), (b"a=1&" * 50,)):
        app = App()
        await send(app, scope(), *parts)
        assert app.fields is None
        assert app.body == b"".join(part for part in parts if isinstance(part, bytes))


@virtual_time
async def test_a_visitor_who_leaves_is_no_question():
    app = App()

    async def gone() -> dict:
        return {"type": "http.disconnect"}

    await CarryQuestion(app)(scope(), gone, None)  # type: ignore[arg-type]
    assert (app.body, app.fields) == (b"", None)


def send_back(visitor, origin: dict[str, str], page: str):
    """Presses "Voltar à pergunta" on an error page."""
    form: dict[str, list[str]] = {}
    page = page.partition("<main")[2]
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page):
        form.setdefault(name, []).append(value)
    action = re.search(r'<form method="post" action="(/con[^"]+)" data-once>', page)
    form["question"] = [unescape(re.search(r'name="question"[^>]*>([^<]*)</textarea>', page)[1])]
    return visitor.http.post(action[1], data=form, headers=origin, follow_redirects=True)


@pytest.mark.integration
def test_beyond_the_limit_the_question_goes_back_to_its_composer(app, ana):
    origin = {"origin": app.url, "sec-fetch-site": "same-origin"}
    experts = experts_of(ana)
    for n in range(10):
        made = ana.post("/conselhos", {"question": f"Pergunta número {n} do dia?", "experts": experts[:1]})
        ana.post(f"{made.headers['location']}/parar")
    asked = {"question": "E esta <aqui>, se perde?", "experts": experts, "reviewed": "1"}
    refused = ana.post("/conselhos", asked, headers=origin)
    assert refused.status_code == 429
    assert "E esta &lt;aqui&gt;, se perde?" in refused.text
    assert 'name="csrf_token" value="' not in refused.text.partition("<main")[2]
    page = send_back(ana, origin, refused.text).text
    assert "Confira e envie" in page
    assert "E esta &lt;aqui&gt;, se perde?</textarea>" in page
    assert re.findall(r'name="experts" value="(\d+)" checked', page) == experts
    assert re.search(r'name="reviewed" value="1" checked', page)


@pytest.mark.integration
def test_a_question_of_a_conversation_goes_back_there(app, ana, simulator):
    origin = {"origin": app.url, "sec-fetch-site": "same-origin"}
    speaker = re.search(r'name="speaker" value="([^"]+)"', ana.get("/conversas/nova").text)[1]
    refused = ana.http.post(  # the page was open for too long: its token is another session's
        "/conversas", data={"question": "Como começo?", "speaker": speaker, "csrf_token": "x"}, headers=origin
    )
    assert refused.status_code == 403
    page = send_back(ana, origin, refused.text)
    assert (page.status_code, page.url.path) == (200, "/conversas/nova")
    assert "Como começo?</textarea>" in page.text


@pytest.mark.integration
def test_only_our_own_pages_send_a_question_back(ana):
    form = {"question": "Compre isto agora mesmo!", "experts": "1", BACK: "1"}
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {}):
        answer = ana.http.post("/conselhos", data=form, headers=headers)
        assert answer.status_code == 403
        assert "Compre isto" not in answer.text
    assert "Compre isto" not in ana.get("/").text
