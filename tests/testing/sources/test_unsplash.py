"""Unsplash's answers, photos and errors."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from prodkit.testing.sources.reply import Query, Reply
from prodkit.testing.sources.unsplash import Unsplash

API = Unsplash()
BASE = "http://localhost:9"


def query(path: str, *, method: str = "GET", key: str = "Client-ID k", **parameters: str) -> Query:
    return Query(
        method=method, path=path, parameters=parameters, headers={"authorization": key}, body=None, base=BASE
    )


def answered(
    path: str, *, method: str = "GET", key: str = "Client-ID k", empty: bool = False, **parameters: str
) -> Reply:
    asked = query(path, method=method, key=key, **parameters)
    return API.answer(asked, empty=empty, left=None)


def test_a_search_its_photos_and_their_downloads() -> None:
    reply = answered("/search/photos", query="loja", per_page="2")
    assert (reply.data["total"], reply.headers["x-total"]) == (2, "2")
    photo = reply.data["results"][0]
    own = answered(f"/photos/{photo['id']}").data
    assert own["urls"] == photo["urls"]
    download = answered(f"/photos/{photo['id']}/download").data["url"]
    picture = answered(download.removeprefix(BASE).partition("?")[0], key="")
    assert picture.media_type == "image/png"
    assert picture.content is not None
    with Image.open(io.BytesIO(picture.content)) as image:
        image.load()
        assert image.size == (320, 240)


def test_photos_are_free() -> None:
    assert API.units(query("/photo-abc")) == 0
    assert API.units(query("/search/photos")) == 1


def test_the_key_may_be_a_parameter() -> None:
    assert answered("/search/photos", key="", query="loja", client_id="k").status == 200


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/search/photos", {"key": ""}, 401),
        ("/search/photos", {"key": "Client-ID invalid"}, 401),
        ("/search/photos", {"key": "Bearer k"}, 401),
        ("/search/photos", {}, 400),
        ("/search/photos", {"method": "POST"}, 404),
        ("/other", {}, 404),
    ],
)
def test_errors_are_lists(path: str, more: dict[str, str], status: int) -> None:
    reply = answered(path, **more)
    assert reply.status == status
    assert len(reply.data["errors"]) == 1


def test_nothing_found() -> None:
    assert answered("/search/photos", query="loja", empty=True).data["results"] == []


def test_the_hourly_limit_is_plain_text() -> None:
    reply = API.quota()
    assert (reply.status, reply.content, reply.headers["x-ratelimit-remaining"]) == (
        403,
        b"Rate Limit Exceeded",
        "0",
    )


def test_what_is_left_stands_in_the_headers() -> None:
    reply = API.answer(query("/photos/a"), empty=False, left=7)
    assert reply.headers["x-ratelimit-remaining"] == "7"
