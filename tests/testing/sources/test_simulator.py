"""The simulated sources, driven with httpx and bare sockets."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from prodkit.testing.sources import Behaviour, Simulator, Source

pytestmark = pytest.mark.integration

ASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "perplexity": (
        "POST",
        "/chat/completions",
        {
            "json": {"model": "sonar", "messages": [{"role": "user", "content": "pão"}]},
            "headers": {"authorization": "Bearer any"},
        },
    ),
    "youtube": ("GET", "/youtube/v3/search", {"params": {"part": "snippet", "q": "pão", "key": "any"}}),
    "unsplash": (
        "GET",
        "/search/photos",
        {"params": {"query": "pão"}, "headers": {"authorization": "Client-ID any"}},
    ),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def web(running: Simulator) -> Simulator:
    running.reset()
    return running


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5) as client:
        yield client


def call(http: httpx.Client, source: Source, **changes: Any) -> httpx.Response:
    method, path, options = ASKED[source.name]
    return http.request(method, source.url + path, **{**options, **changes})


@pytest.fixture(params=tuple(ASKED))
def source(web: Simulator, request: pytest.FixtureRequest) -> Source:
    found: Source = getattr(web, request.param)
    return found


def test_perplexity_cites_pages_with_dates(web: Simulator, http: httpx.Client) -> None:
    body = call(http, web.perplexity).json()
    message = body["choices"][0]["message"]
    assert (body["object"], body["model"], message["role"]) == ("chat.completion", "sonar", "assistant")
    assert (
        body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    )
    assert body["citations"] == [each["url"] for each in body["search_results"]]
    assert all(each["date"].startswith("20") and each["title"] for each in body["search_results"])
    assert "[1]" in message["content"]
    assert call(http, web.perplexity).json() == body  # the same question, the same answer
    found = http.post(
        f"{web.perplexity.url}/search",
        json={"query": "pão", "max_results": 2},
        headers={"authorization": "Bearer any"},
    ).json()
    assert [set(each) >= {"title", "url", "date", "snippet"} for each in found["results"]] == [True, True]


def test_youtube_finds_videos_whose_details_agree(web: Simulator, http: httpx.Client) -> None:
    found = call(http, web.youtube).json()
    assert found["kind"] == "youtube#searchListResponse"
    first = found["items"][0]
    assert first["id"]["kind"] == "youtube#video"
    assert "&amp;" in first["snippet"]["title"]  # escaped by the search, as the real ones are
    video = first["id"]["videoId"]
    details = http.get(
        f"{web.youtube.url}/youtube/v3/videos",
        params={"part": "snippet,contentDetails,statistics", "id": video},
        headers={"x-goog-api-key": "any"},
    ).json()["items"][0]
    assert details["id"] == video
    assert " & " in details["snippet"]["title"]
    assert details["snippet"]["publishedAt"] == first["snippet"]["publishedAt"]
    assert details["contentDetails"]["duration"].startswith("PT")
    assert int(details["statistics"]["viewCount"]) > 0
    captions = f"{web.youtube.url}/youtube/v3/captions"
    asked = {"part": "snippet", "videoId": video, "key": "any"}
    assert http.get(captions, params=asked).status_code == 401  # only with OAuth
    listed = http.get(captions, params=asked, headers={"authorization": "Bearer any"}).json()
    assert listed["items"][0]["snippet"]["videoId"] == video
    assert web.youtube.counters.units == 100 + 1 + 50 + 50


def test_unsplash_finds_photos_and_serves_them(web: Simulator, http: httpx.Client) -> None:
    answer = call(http, web.unsplash)
    photo = answer.json()["results"][0]
    assert answer.headers["x-ratelimit-remaining"] == "50"
    assert {"raw", "regular", "small", "thumb"} <= set(photo["urls"])
    assert photo["user"]["links"]["html"].startswith("https://unsplash.com/@")
    key = {"authorization": "Client-ID any"}
    tracked = http.get(photo["links"]["download_location"], headers=key).json()
    assert photo["id"] in tracked["url"]
    picture = http.get(photo["urls"]["small"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    import io

    from PIL import Image

    with Image.open(io.BytesIO(picture.content)) as opened:
        opened.load()
        assert opened.size == (320, 240)
    one = http.get(f"{web.unsplash.url}/photos/{photo['id']}", headers=key).json()
    assert one == photo


def test_each_source_refuses_in_its_own_shape(web: Simulator, http: httpx.Client) -> None:
    for each in web.sources:
        each.always("503")
    assert call(http, web.perplexity).json()["error"]["code"] == 503
    google = call(http, web.youtube).json()["error"]
    assert (google["code"], google["status"], google["errors"][0]["domain"]) == (503, "UNAVAILABLE", "global")
    assert isinstance(call(http, web.unsplash).json()["errors"][0], str)


def test_used_up_quotas(web: Simulator, http: httpx.Client) -> None:
    web.youtube.quota(150)
    assert call(http, web.youtube).status_code == 200
    refused = call(http, web.youtube)
    assert refused.status_code == 403
    assert refused.json()["error"]["errors"][0]["reason"] == "quotaExceeded"
    assert refused.json()["error"]["errors"][0]["domain"] == "youtube.quota"
    assert web.youtube.counters.units == 100  # what was refused costs nothing
    web.unsplash.quota(1)
    assert call(http, web.unsplash).headers["x-ratelimit-remaining"] == "0"
    limited = call(http, web.unsplash)
    assert (limited.status_code, limited.text) == (403, "Rate Limit Exceeded")
    web.perplexity.script("quota")
    broke = call(http, web.perplexity)
    assert (broke.status_code, broke.json()["error"]["type"]) == (401, "insufficient_quota")
    web.youtube.quota(None)
    assert call(http, web.youtube).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"headers": {}, "params": {}}, None), ({"headers": {"authorization": "Bearer invalid"}}, 401)],
)
def test_keys_are_asked_for(
    web: Simulator, http: httpx.Client, changes: dict[str, Any], status: int | None
) -> None:
    assert call(http, web.perplexity, headers=changes["headers"]).status_code == 401
    if status is None:
        missing = call(http, web.youtube, params={"part": "snippet", "q": "x"})
        assert (missing.status_code, missing.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
        assert call(http, web.unsplash, headers={}).status_code == 401
    else:
        wrong = call(http, web.youtube, params={"part": "snippet", "q": "x", "key": "invalid"})
        assert wrong.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
        assert wrong.status_code == 400
        assert call(http, web.unsplash, headers={"authorization": "Client-ID invalid"}).status_code == 401


def test_what_the_api_refuses_the_simulator_refuses(web: Simulator, http: httpx.Client) -> None:
    bearer = {"authorization": "Bearer any"}
    pplx, tube = web.perplexity.url, web.youtube.url
    for json_body, path, status in (
        ({"model": "sonar"}, "/chat/completions", 400),
        (
            {"model": "sonar", "messages": [{"role": "user", "content": "x"}], "stream": True},
            "/chat/completions",
            400,
        ),
        ([1], "/chat/completions", 400),
        ({}, "/search", 422),
        ({"query": "x", "max_results": 99}, "/search", 422),
        ({}, "/elsewhere", 404),
    ):
        assert http.post(pplx + path, json=json_body, headers=bearer).status_code == status
    assert http.get(f"{pplx}/search", headers=bearer).status_code == 405
    for parameters, path, status in (
        ({"key": "any"}, "/youtube/v3/search", 400),
        ({"key": "any", "part": "snippet", "maxResults": "51"}, "/youtube/v3/search", 400),
        ({"key": "any", "part": "snippet"}, "/youtube/v3/videos", 400),
        ({"key": "any", "part": "snippet"}, "/youtube/v3/elsewhere", 404),
    ):
        assert http.get(tube + path, params=parameters).status_code == status
    assert http.get(f"{web.unsplash.url}/search/photos", params={"client_id": "any"}).status_code == 400
    assert http.get(f"{web.unsplash.url}/elsewhere", params={"client_id": "any"}).status_code == 404


def test_a_script_is_followed_and_then_the_default(source: Source, http: httpx.Client) -> None:
    source.script("503", "ra-7")
    source.always("404")
    answers = [call(http, source) for _ in range(3)]
    assert [each.status_code for each in answers] == [503, 429, 404]
    assert answers[1].headers["retry-after"] == "7"
    source.storm("502", 0.4)
    source.script("ok")
    assert call(http, source).status_code == 502
    time.sleep(0.45)
    assert call(http, source).status_code == 200  # the storm took nothing from the script
    assert source.counters.by_status == {"503": 1, "429": 1, "404": 1, "502": 1, "200": 1}


def test_bodies_that_are_wrong(source: Source, http: httpx.Client) -> None:
    source.script("badjson", "othershape", "html200", "html502", "shortbody", "midrst", "rst0")
    with pytest.raises(ValueError, match="Expecting"):
        call(http, source).json()
    assert call(http, source).json() == {"unexpected": [1, 2, None]}
    page = call(http, source)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html")
    assert call(http, source).status_code == 502
    for _ in range(3):
        with pytest.raises(httpx.TransportError):
            call(http, source)
    assert source.counters.broken == 3


def test_slowness_and_silence(source: Source, http: httpx.Client) -> None:
    source.script("slow-0.3", "drip-0.05", "hang")
    began = time.monotonic()
    assert call(http, source).status_code == 200
    assert time.monotonic() - began >= 0.3
    method, path, options = ASKED[source.name]
    with http.stream(method, source.url + path, **options) as answer:
        chunks = [chunk for chunk in answer.iter_raw() if chunk]
    assert len(chunks) > 5
    with pytest.raises(httpx.ReadTimeout):
        call(http, source, timeout=0.2)
    assert source.wait_until_idle().aborted == 1


def test_a_body_goes_out_as_it_is(source: Source, http: httpx.Client) -> None:
    source.script({"kind": "body", "body": '{"title": "a\\u0000b"}'})
    assert call(http, source).json() == {"title": "a\0b"}


def test_empty_finds_nothing(web: Simulator, http: httpx.Client) -> None:
    for each in web.sources:
        each.always("empty")
    assert call(http, web.perplexity).json()["search_results"] == []
    assert call(http, web.youtube).json()["items"] == []
    assert call(http, web.unsplash).json()["results"] == []


def test_requests_are_recorded(web: Simulator, http: httpx.Client) -> None:
    call(http, web.perplexity)
    call(http, web.youtube)
    (asked,), (searched,) = web.perplexity.requests, web.youtube.requests
    assert asked.body["messages"][0]["content"] == "pão"
    assert (asked.method, asked.path, asked.status, asked.outcome) == (
        "POST",
        "/chat/completions",
        200,
        "done",
    )
    assert searched.query["q"] == "pão"
    assert web.unsplash.counters.requests == 0
    assert web.youtube.counters.by_path == {"/youtube/v3/search": 1}
    web.reset()
    assert web.perplexity.requests == []


def test_wrong_use_is_said(web: Simulator) -> None:
    with pytest.raises(ValueError, match="unknown behaviour 'nonsense'"):
        web.youtube.script("nonsense")
    with pytest.raises(ValueError, match="error status"):
        Behaviour(kind="status", status=200)
    with pytest.raises(ValueError, match="must not be negative"):
        Behaviour(seconds=-1)
    with pytest.raises(ValueError, match="must not be negative"):
        web.youtube.quota(-1)
    with pytest.raises(ValueError, match="port"):
        Simulator(port=70000)
    with pytest.raises(RuntimeError, match="not running"):
        _ = Simulator().youtube.url
    with pytest.raises(RuntimeError, match="already running"):
        web.start()
    assert repr(Simulator()) == "Simulator(stopped)"
    assert repr(web.youtube) == "Source('youtube')"


def test_nonsense_on_the_socket_ends_that_connection_alone(web: Simulator, http: httpx.Client) -> None:
    parts = urlsplit(web.unsplash.url)
    for content in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n"):
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as connection:
            connection.sendall(content)
            assert connection.recv(100) == b""
    assert call(http, web.unsplash).status_code == 200


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from prodkit.testing.sources import Simulator\n"
        "simulator = Simulator().start()\n"
        "print(simulator.pid, simulator.youtube.url, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, url = owner.stdout.readline().split()
        assert httpx.get(f"{url}/nothing").status_code == 404
        owner.send_signal(signal.SIGKILL)
    for _ in range(100):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{pid}/stat")
        if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the simulator outlived its owner")
