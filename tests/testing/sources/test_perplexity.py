"""Perplexity's answers and errors."""

from __future__ import annotations

import re
from typing import Any

import pytest

from prodkit.testing.sources.perplexity import Perplexity
from prodkit.testing.sources.reply import Query, Reply

API = Perplexity()
ASKED = {"model": "sonar", "messages": [{"role": "user", "content": "Quem compra na feira?"}]}


def answered(
    path: str, body: Any, *, method: str = "POST", key: str = "Bearer k", empty: bool = False
) -> Reply:
    query = Query(
        method=method,
        path=path,
        parameters={},
        headers={"authorization": key},
        body=body,
        base="http://localhost",
    )
    return API.answer(query, empty=empty, left=None)


def test_a_completion_cites_what_it_found() -> None:
    data = answered("/chat/completions", ASKED).data
    text = data["choices"][0]["message"]["content"]
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", text)}
    assert cited <= set(range(1, len(data["citations"]) + 1))
    assert [each["url"] for each in data["search_results"]] == data["citations"]
    usage = data["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert data == answered("/v1/chat/completions", ASKED).data


def test_nothing_found_cites_nothing() -> None:
    data = answered("/chat/completions", ASKED, empty=True).data
    assert data["citations"] == []
    assert "[1]" not in data["choices"][0]["message"]["content"]


def test_a_search() -> None:
    assert len(answered("/search", {"query": "feira", "max_results": 2}).data["results"]) == 2
    assert answered("/search", {"query": ["feira", "bairro"]}, empty=True).data["results"] == []


@pytest.mark.parametrize(
    ("path", "body", "more", "status"),
    [
        ("/other", ASKED, {}, 404),
        ("/search", ASKED, {"method": "GET"}, 405),
        ("/search", ASKED, {"key": ""}, 401),
        ("/search", ASKED, {"key": "Bearer invalid"}, 401),
        ("/search", ASKED, {"key": "Basic k"}, 401),
        ("/chat/completions", None, {}, 400),
        ("/chat/completions", {"model": "sonar", "messages": []}, {}, 400),
        ("/chat/completions", {**ASKED, "stream": True}, {}, 400),
        ("/search", {}, {}, 422),
        ("/search", {"query": "x", "max_results": 21}, {}, 422),
    ],
)
def test_errors_have_the_shape_of_the_api(path: str, body: Any, more: dict[str, str], status: int) -> None:
    reply = answered(path, body, **more)
    assert reply.status == status
    assert reply.data["error"]["code"] == status
    assert reply.data["error"]["message"]


def test_the_refusal_of_used_credits() -> None:
    assert API.quota().data["error"]["type"] == "insufficient_quota"
    assert API.error(429).data["error"]["type"] == "rate_limit_exceeded"
