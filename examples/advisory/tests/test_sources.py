"""The sources' answers as they are read, without servers: what is sent, what is kept, and each way to fail."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from advisory.research.model import Item
from advisory.sources import perplexity, unsplash, youtube
from advisory.sources.client import Guarded, _may_pass
from advisory.sources.errors import SourceError, source_reason
from advisory.sources.sources import Sources, tidy
from prodkit import Runtime
from prodkit.errors import BulkheadFullError, CallTimeoutError, CircuitOpenError, RateLimitedError


class Client:
    """Gives its answers in order, and notes what it was asked for. An answer that is an error is raised."""

    def __init__(self, *answers: Any, ours: tuple[str, ...] = ()) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, str, Any, float]] = []
        self.ours = ours

    def _next(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def search(self, path: str, body: dict[str, Any], *, within: float) -> Any:
        self.calls.append(("POST", path, body, within))
        return self._next()

    async def json(self, method: str, path: str, *, within: float, params: Any = None) -> Any:
        self.calls.append((method, path, params, within))
        return self._next()

    async def content(self, method: str, url: str, *, within: float, most: int) -> Any:
        self.calls.append((method, url, most, within))
        return self._next()

    def is_ours(self, url: str, *hosts: str) -> bool:
        return url.startswith(self.ours) or any(url.startswith(f"https://{each}/") for each in hosts)


def said(content: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}}], **more}


async def test_a_web_search_asks_in_portuguese_and_cites_pages():
    results = [{"title": "T", "url": "https://a.example", "date": "2026-01-02"}, {"title": 3, "url": 4}]
    client = Client(said("Texto [1].", search_results=results, citations=["https://outra.example"]))
    found = await perplexity.search_web(client, "pão na padaria")  # type: ignore[arg-type]
    items = [Item(title="T", url="https://a.example", date="2026-01-02"), Item(title="3", url="4")]
    assert found == {"text": "Texto [1].", "items": items}
    [(method, path, body, within)] = client.calls
    assert (method, path, within) == ("POST", "/chat/completions", 60.0)
    assert (body["model"], body["max_tokens"]) == ("sonar", 700)
    assert [each["role"] for each in body["messages"]] == ["system", "user"]
    assert "Nada de vida privada" in body["messages"][0]["content"]
    assert body["messages"][1]["content"] == "O que as fontes públicas dizem sobre: pão na padaria"


async def test_addresses_alone_are_citations_too():
    client = Client(said("x", citations=["https://a.example"]))
    found = await perplexity.search_web(client, "q")  # type: ignore[arg-type]
    assert found["items"] == [Item(title="https://a.example", url="https://a.example")]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (said("sem fontes"), "nothing"),
        (said(None, citations=["u"]), "shape"),
        ({"choices": []}, "shape"),
        ({"choices": None}, "shape"),
        ({}, "shape"),
        (said("x", search_results=["odd"]), "shape"),
        (said("x", search_results=[{"title": "without an address"}]), "shape"),
        (said("x", search_results=[{"title": "t", "url": "u"}], choices=3), "shape"),
    ],
)
async def test_a_web_search_without_use_says_which(answer, code):
    with pytest.raises(SourceError) as caught:
        await perplexity.search_web(Client(answer), "q")  # type: ignore[arg-type]
    assert caught.value.code == code


def video(key: Any, title: Any = "T", **more: Any) -> dict[str, Any]:
    return {"id": key, "snippet": {"title": title, **more}}


async def test_videos_come_with_whole_descriptions_and_plain_titles():
    client = Client(
        {
            "items": [
                video({"videoId": "a-b_1"}, "P&amp;B", publishedAt="2026-03-04T05:06:07Z"),
                video({"videoId": "c"}),
            ]
        },
        {
            "items": [
                video("c", "C &amp; D", description="d" * 900, channelTitle="Canal"),
                video("zz", "not asked for"),
            ]
        },
    )
    found = await youtube.search_videos(client, "padarias")  # type: ignore[arg-type]
    assert found["items"] == [
        Item(title="P&B", url="https://www.youtube.com/watch?v=a-b_1", date="2026-03-04"),
        Item(title="C &amp; D", url="https://www.youtube.com/watch?v=c", note="Canal"),
    ]
    assert found["text"] == f"P&B: \nC &amp; D: {'d' * 800}"
    first, second = client.calls
    assert first[:2] == ("GET", "/youtube/v3/search")
    asked = {
        "part": "snippet",
        "type": "video",
        "maxResults": "5",
        "relevanceLanguage": "pt",
        "q": "padarias",
    }
    assert (first[2], first[3]) == (asked, 20.0)
    assert second == ("GET", "/youtube/v3/videos", {"part": "snippet", "id": "a-b_1,c"}, 20.0)


@pytest.mark.parametrize("error", [SourceError("down"), CallTimeoutError("x", timeout=1.0)])
async def test_without_details_the_search_is_enough(error):
    client = Client({"items": [video({"videoId": "a"}, "T", description="curta")]}, error)
    assert (await youtube.search_videos(client, "q"))["text"] == "T: curta"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"items": []}, "nothing"),
        ({}, "shape"),
        ({"items": 3}, "shape"),
        ({"items": [{"id": {"videoId": "a"}}]}, "shape"),
        ({"items": [video("a")]}, "shape"),
        ({"items": [video({"videoId": "a/b"})]}, "shape"),
        ({"items": [video({"videoId": 7})]}, "shape"),
        ({"items": [video({"videoId": "a"}, 7)]}, "shape"),
        ({"items": [{"id": {"videoId": "a"}, "snippet": "odd"}]}, "shape"),
    ],
)
async def test_a_video_search_without_use_says_which(answer, code):
    client = Client(answer)
    with pytest.raises(SourceError) as caught:
        await youtube.search_videos(client, "q")  # type: ignore[arg-type]
    assert caught.value.code == code
    assert len(client.calls) == 1


def picture(**more: Any) -> dict[str, Any]:
    return {
        "user": {"name": "Bia"},
        "links": {"html": "https://u.example/f", "download_location": "https://api.example/d"},
        "urls": {"small": "https://images.unsplash.com/p"},
        **more,
    }


async def test_a_photo_names_its_author():
    client = Client(
        {"results": [picture(created_at="2026-05-06T07:08:09Z", alt_description="pão"), "another"]}
    )
    found = await unsplash.search_photo(client, "padaria")  # type: ignore[arg-type]
    credit = Item(
        title="Foto de Bia no Unsplash",
        url="https://u.example/f?utm_source=conselho&utm_medium=referral",
        date="2026-05-06",
        note="pão",
    )
    image, download = "https://images.unsplash.com/p", "https://api.example/d"
    assert found == {"text": "", "items": [credit], "image": image, "download": download}
    asked = {"query": "padaria", "per_page": "1", "orientation": "squarish", "content_filter": "high"}
    assert client.calls == [("GET", "/search/photos", asked, 20.0)]
    plain = await unsplash.search_photo(Client({"results": [picture(alt_description=None)]}), "q")  # type: ignore[arg-type]
    assert (plain["items"][0].date, plain["items"][0].note) == ("", "")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"results": []}, "nothing"),
        ({}, "shape"),
        ({"results": 3}, "shape"),
        ({"results": [picture(user=None)]}, "shape"),
        ({"results": [picture(urls={})]}, "shape"),
        ({"results": {"a": 1}}, "shape"),
    ],
)
async def test_a_photo_search_without_use_says_which(answer, code):
    with pytest.raises(SourceError) as caught:
        await unsplash.search_photo(Client(answer), "q")  # type: ignore[arg-type]
    assert caught.value.code == code


IMAGE, REPORT = "https://images.unsplash.com/p", "https://api.example/d"


@pytest.mark.parametrize("reported", [{}, SourceError("down"), CallTimeoutError("x", timeout=1.0)])
async def test_the_use_of_a_photo_is_reported_before_it_is_fetched(reported):
    client = Client(reported, (b"jpeg", "image/jpeg"), ours=("https://api.example/",))
    photo = await unsplash.fetch_photo(client, IMAGE, REPORT)  # type: ignore[arg-type]
    assert (photo.content, photo.media_type) == (b"jpeg", "image/jpeg")
    assert client.calls == [("GET", REPORT, None, 20.0), ("GET", IMAGE, 5 * 2**20, 20.0)]


async def test_only_the_sources_own_hosts_are_called():
    client = Client((b"jpeg", "image/jpeg"))
    await unsplash.fetch_photo(client, IMAGE, "https://evil.example/d")  # type: ignore[arg-type]
    assert [each[1] for each in client.calls] == [IMAGE]
    with pytest.raises(SourceError) as caught:
        await unsplash.fetch_photo(Client(), "https://evil.example/p", REPORT)  # type: ignore[arg-type]
    assert caught.value.code == "shape"


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("https://api.example/x", True),
        ("https://api.example:8443/x", False),
        ("http://api.example/x", False),
        ("https://api.example.evil/x", False),
        ("https://images.example/x", True),
        ("http://images.example/x", False),
        ("https://images.example:444/x", False),
        ("https://\x00", False),
    ],
)
async def test_an_answer_does_not_choose_whom_we_call(url, ours):
    client = Guarded(
        "probe",
        base_url="https://api.example",
        headers={},
        attempt_timeout=1.0,
        judge=unsplash.judge,
        open_for=1.0,
        shared=None,
        runtime=Runtime(),
    )
    try:
        assert client.is_ours(url, "images.example") is ours
    finally:
        await client.aclose()


def test_only_a_source_that_is_away_is_asked_again():
    assert _may_pass(SourceError("down"))
    assert not _may_pass(SourceError("busy"))
    assert not _may_pass(OSError("down"))


@pytest.mark.parametrize(
    ("judge", "status", "headers", "body", "wait"),
    [
        (perplexity.judge, 429, {"retry-after": "9"}, b"", 9.0),
        (perplexity.judge, 429, {}, b"", None),
        (youtube.judge, 429, {"retry-after": "9"}, b"", 9.0),
        (unsplash.judge, 429, {"retry-after": "9"}, b"", 9.0),
        (unsplash.judge, 403, {"x-ratelimit-remaining": "0", "retry-after": "9"}, b"", 9.0),
        (unsplash.judge, 403, {"x-ratelimit-remaining": "0"}, b"", 3600.0),
        (unsplash.judge, 403, {}, b"Rate Limit Exceeded", 3600.0),
    ],
)
def test_a_busy_source_says_when(judge, status, headers, body, wait):
    error = judge(httpx.Response(status, headers=headers), body)
    assert (error.code, error.retry_after) == ("busy", wait)


@pytest.mark.parametrize(
    ("judge", "status", "body", "code"),
    [
        (perplexity.judge, 403, b"{}", "credential"),
        (perplexity.judge, 499, b"", "refused"),
        (perplexity.judge, 500, b"", "down"),
        (perplexity.judge, 401, b'{"error": 3}', "credential"),
        (youtube.judge, 401, b"", "credential"),
        (youtube.judge, 403, b'{"error": {"errors": [3]}}', "credential"),
        (youtube.judge, 499, b"", "refused"),
        (
            youtube.judge,
            403,
            json.dumps({"error": {"errors": [{"reason": "dailyLimitExceeded"}]}}).encode(),
            "quota",
        ),
        (
            youtube.judge,
            403,
            json.dumps({"error": {"errors": [{"reason": "userRateLimitExceeded"}]}}).encode(),
            "busy",
        ),
        (unsplash.judge, 403, b"x" * 300 + b"Rate Limit Exceeded", "credential"),
        (unsplash.judge, 499, b"", "refused"),
    ],
)
def test_the_edges_of_each_refusal(judge, status, body, code):
    assert judge(httpx.Response(status), body).code == code


def test_each_reason_has_its_words_and_its_time():
    assert source_reason(SourceError("down")) == "a fonte está fora do ar"
    assert source_reason(SourceError("busy", retry_after=59.2)).endswith("; tente em 1 minuto")
    assert source_reason(RateLimitedError("x", retry_after=5.0)).endswith("demais; tente em 5 segundos")
    assert source_reason(BulkheadFullError("x")).startswith("a fonte está com pedidos demais")
    assert source_reason(TimeoutError()) == "a fonte demorou mais que o limite"
    assert source_reason(CircuitOpenError("x")) == "a fonte está em pausa depois de várias falhas seguidas"
    assert str(SourceError("quota")) == "quota"


def test_the_time_of_the_next_try_is_that_of_brasilia():
    def clock() -> str:
        return (datetime.now(UTC) - timedelta(hours=2)).strftime(
            "%H:%M"
        )  # three hours behind, one hour ahead

    before = clock()
    said = source_reason(CircuitOpenError("x", retry_after=3600.0))
    assert said.rpartition(" às ")[2] in (before, clock())


def test_a_text_is_cut_and_made_storable():
    assert tidy("a\x00\ud800b") == "a?b"
    assert (len(tidy("x" * 900)), len(tidy("x" * 900, most=7))) == (500, 7)


@pytest.mark.parametrize(
    ("breakers", "wait"),
    [
        ([], None),
        ([("closed", None)], None),
        ([("open", 9.0), ("half_open", None)], None),
        ([("open", 9.0), ("open", 4.0)], 4.0),
        ([("open", 0.2)], 1.0),
        ([("open", None)], 1.0),  # it ends at this very moment
    ],
)
def test_research_waits_while_every_source_is_paused(breakers, wait):
    sources = object.__new__(Sources)
    found = [
        SimpleNamespace(breaker=SimpleNamespace(state=state, retry_after=left)) for state, left in breakers
    ]
    sources._clients = {"unset": None, **{str(n): each for n, each in enumerate(found)}}  # type: ignore[dict-item]
    assert sources.paused() == wait
