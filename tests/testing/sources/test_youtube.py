"""YouTube's answers, prices and errors."""

from __future__ import annotations

import html
from typing import Any

import pytest

from prodkit.testing.sources.reply import Query, Reply
from prodkit.testing.sources.youtube import YouTube

API = YouTube()
ROOT = "/youtube/v3/"


def query(
    path: str, *, method: str = "GET", headers: dict[str, str] | None = None, **parameters: str
) -> Query:
    return Query(
        method=method,
        path=ROOT + path,
        parameters={"part": "snippet", "key": "k", **parameters},
        headers=headers or {},
        body=None,
        base="http://localhost",
    )


def answered(
    path: str, *, empty: bool = False, headers: dict[str, str] | None = None, **parameters: str
) -> Reply:
    return API.answer(query(path, headers=headers, **parameters), empty=empty, left=None)


def reason(reply: Reply) -> str:
    return str(reply.data["error"]["errors"][0]["reason"])


def test_the_documented_prices() -> None:
    assert [API.units(query(path)) for path in ("search", "videos", "captions", "other")] == [100, 1, 50, 0]


def test_a_search_and_its_videos_agree() -> None:
    found = answered("search", q="feira", maxResults="3").data["items"]
    assert len(found) == 3
    ids = [each["id"]["videoId"] for each in found]
    videos = answered("videos", id=",".join(ids)).data["items"]
    assert [each["id"] for each in videos] == ids
    assert [html.unescape(each["snippet"]["title"]) for each in found] == [
        each["snippet"]["title"] for each in videos
    ]
    assert "&amp;" in found[0]["snippet"]["title"]


def test_a_search_without_results() -> None:
    listing = answered("search", q="feira", empty=True).data
    assert listing["items"] == []
    assert listing["pageInfo"]["totalResults"] == 0


@pytest.mark.parametrize(
    ("path", "parameters", "status", "why"),
    [
        ("search", {"key": ""}, 403, "forbidden"),
        ("search", {"key": "invalid"}, 400, "badRequest"),
        ("search", {"part": ""}, 400, "missingRequiredParameter"),
        ("search", {"maxResults": "51"}, 400, "invalidParameter"),
        ("search", {"maxResults": "x"}, 400, "invalidParameter"),
        ("videos", {}, 400, "missingRequiredParameter"),
        ("captions", {"videoId": "v"}, 401, "required"),
        ("other", {}, 404, "notFound"),
    ],
)
def test_errors_have_googles_shape(path: str, parameters: dict[str, str], status: int, why: str) -> None:
    reply = answered(path, **parameters)
    assert (reply.status, reason(reply)) == (status, why)
    assert reply.data["error"]["code"] == status


def test_captions_need_a_token() -> None:
    bearer = {"authorization": "Bearer t"}
    assert answered("captions", headers=bearer).status == 400
    item: dict[str, Any] = answered("captions", headers=bearer, videoId="v").data["items"][0]
    assert item["snippet"]["videoId"] == "v"


def test_only_get_is_known() -> None:
    assert API.answer(query("search", method="POST"), empty=False, left=None).status == 404


def test_the_refusal_of_a_used_quota() -> None:
    reply = API.quota()
    assert (reply.status, reason(reply)) == (403, "quotaExceeded")
    assert "status" not in reply.data["error"]
    assert API.error(503).data["error"]["status"] == "UNAVAILABLE"
