"""Share links: only reading, only for a while, nothing of the owner, and gone at once when they are ended."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import httpx
import pytest

pytestmark = pytest.mark.integration


def link_of(visitor, path: str, **data: str) -> str:
    answer = visitor.post(f"{path}/compartilhar", data, page=path)
    assert answer.status_code == 200
    return re.search(r'id="link" href="http://[^/]+(/c/[\w-]{40,})"', answer.text)[1]


def test_a_link_shows_the_council_and_nothing_of_its_owner(ana, visitor, app, a_visitor, simulator):
    path = ana.ask("Devo contar isto a quem tem o link?", experts=3, reviewed="1")
    ana.finished(path)
    link = link_of(ana, path)
    with httpx.Client(base_url=app.url, timeout=20) as stranger:
        answer = stranger.get(link)
        assert answer.status_code == 200
        page = answer.text
        for text in (
            "Devo contar isto a quem tem o link?",
            "Síntese do conselho",
            "Onde concordam e onde divergem",
            "Ninguém avaliou o próprio.",
            "Ler o parecer",
            '<meta name="robots" content="noindex',
        ):
            assert text in page
        assert "noindex" in answer.headers["x-robots-tag"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        main = page.partition("<main")[2].partition("</main>")[0]
        for text in ("Ana Lima", ana.email, "<form", "US$", "/conselhos/", "/avatares/"):
            assert text not in main
        # nothing else opens with it
        for private in (path, f"{path}/exportar"):
            assert (
                stranger.get(private, headers={"accept": "text/html"})
                .headers["location"]
                .startswith("/entrar")
            )


def test_only_the_hash_of_a_link_is_kept_and_the_page_shows_it_once(ana, app):
    path = ana.ask(experts=1)
    ana.finished(path)
    link = link_of(ana, path)
    token = link.rpartition("/")[2]
    assert token not in ana.get(path).text
    assert "Link criado em" in ana.get(path).text

    async def rows() -> list[str]:
        connection = await asyncpg.connect(app.services.settings.database_url.reveal())
        try:
            return [row[0] for row in await connection.fetch("select shares::text from shares")]
        finally:
            await connection.close()

    kept = asyncio.run(rows())
    assert kept
    assert all(token not in row for row in kept)


def test_a_link_ends_when_it_is_ended_when_its_time_is_over_and_with_its_council(ana, bruno, app, visitor):
    path = ana.ask(experts=1)
    ana.finished(path)
    first, second = link_of(ana, path, dias="1"), link_of(ana, path, dias="999")
    assert first != second
    page = ana.get(path).text
    shares = re.findall(rf"{path}/compartilhar/([^/]+)/encerrar", page)
    assert len(shares) == 2
    assert bruno.post(f"{path}/compartilhar/{shares[0]}/encerrar").status_code == 404
    assert bruno.post(f"{path}/compartilhar").status_code == 404
    assert ana.post(f"{path}/compartilhar/{shares[0]}/encerrar", page=path).status_code == 303
    assert bruno.get(first).status_code == 404
    assert bruno.get(second).status_code == 200
    ana.post(f"{path}/apagar", page=path)
    assert bruno.get(second).status_code == 404
    ana.post(f"{path}/restaurar", page=path)
    assert bruno.get(second).status_code == 200
    for wrong in ("/c/x", "/c/" + "a" * 43, "/c/" + "a" * 500, second + "x", "/c/%ff%00"):
        assert bruno.get(wrong).status_code == 404


def test_a_running_council_is_not_shared_and_ten_links_are_enough(ana, simulator):
    simulator.script("slow-20")
    path = ana.ask(experts=1)
    assert ana.post(f"{path}/compartilhar", page=path).status_code == 303
    ana.post(f"{path}/parar", page=path)
    for _ in range(10):
        link_of(ana, path)
    answer = ana.post(f"{path}/compartilhar", page=path)
    assert answer.status_code == 303
    assert "até 10 links" in ana.get(path).text
