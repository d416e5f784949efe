"""Long lists have pages, a search keeps its words, and what is not there says so."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest
from starlette.requests import Request

from advisory.pages.paging import SIZE, Paging, number_of


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 1), ("2", 2), ("0", 1), ("-1", 1), ("x", 1), ("²", 1), ("9" * 30, 1), ("5000", 1000)],
)
def test_any_address_names_a_page(text, number):
    assert number_of(Request({"type": "http", "query_string": f"pagina={text}".encode()})) == number


@pytest.mark.parametrize(
    ("number", "count", "entries", "more", "results"),
    [
        (1, 1, 1, False, "1 resultado"),
        (1, SIZE, SIZE, False, f"{SIZE} resultados"),
        (1, SIZE + 1, SIZE, True, f"Mais de {SIZE} resultados"),
        (3, 2, 2, False, f"{2 * SIZE + 2} resultados"),
    ],
)
def test_a_page_knows_whether_there_is_another(number, count, entries, more, results):
    paging = Paging(number, range(count))
    assert (len(paging.entries), paging.more, paging.results) == (entries, more, results)


@pytest.mark.integration
def test_every_council_and_conversation_is_reached_page_by_page(ana, bruno, app):
    async def fill() -> None:
        connection = await asyncpg.connect(app.settings.database_url.reveal())
        try:
            owner = await connection.fetchval("select id from users where email = $1", ana.email)
            await connection.execute(
                """insert into runs (owner_id, question, status, created_at)
                   select $1, 'Pergunta número ' || n || ' sobre a Padária?', 'done', now() - n * interval '1 minute'
                   from generate_series(1, $2) as n""",
                owner,
                2 * SIZE + 5,
            )
            await connection.execute(
                """insert into chats (owner_id, name, role, system, changed_at)
                   select $1, 'Conversa ' || n, 'papel', '', now() - n * interval '1 minute'
                   from generate_series(1, $2) as n""",
                owner,
                SIZE + 1,
            )
            await connection.execute(
                """insert into chats (owner_id, name, role, system, changed_at, deleted_at, deletion_id)
                   select $1, 'Apagada ' || n, 'papel', '', now() - n * interval '1 minute', now(), gen_random_uuid()
                   from generate_series(1, $2) as n""",
                owner,
                SIZE + 1,
            )
        finally:
            await connection.close()

    asyncio.run(fill())

    def all_of(path: str, entry: str) -> list[str]:
        found, pages = [], 0
        while path:
            page = ana.get(path).text
            found += re.findall(entry, page)
            pages += 1
            following = re.search(r'rel="next" href="([^"]+)"', page)
            path = path.partition("?")[0] + following[1].replace("&amp;", "&") if following else ""
            assert pages < 9
        return found

    def numbers(path: str) -> list[int]:
        page = ana.get(path).text
        return [int(each) for each in re.findall(r"Pergunta número (\d+) sobre[^<]*</a>", page)]

    def link(path: str, way: str) -> str:
        found = re.search(rf'rel="{way}" href="([^"]+)"', ana.get(path).text)
        return path.partition("?")[0] + found[1].replace("&amp;", "&")

    second = link("/historico", "next")
    third = link(second, "next")
    assert numbers(second) == list(range(SIZE + 1, 2 * SIZE + 1))
    assert numbers(third) == list(range(2 * SIZE + 1, 2 * SIZE + 6))
    path = ana.ask("Uma pergunta feita enquanto se lê?", experts=1)
    ana.post(f"{path}/parar")
    assert numbers(second) == list(range(SIZE + 1, 2 * SIZE + 1))  # by number, the page would show 30 again
    assert numbers(link(third, "prev")) == numbers(second)
    assert numbers(link(link(third, "prev"), "next")) == numbers(third)
    assert "feita enquanto se lê" in ana.get(link(link(third, "prev"), "prev")).text
    ana.post(f"{path}/apagar")

    expected = [str(n) for n in range(1, 2 * SIZE + 6)]
    assert all_of("/historico", r"Pergunta número (\d+) sobre[^<]*</a>") == expected
    assert all_of("/historico?busca=PADARIA", r"Pergunta número (\d+) sobre[^<]*</a>") == expected
    assert all_of("/conversas", r"com Conversa (\d+)") == [str(n) for n in range(1, SIZE + 2)]
    assert all_of("/conversas/apagadas", r"com Apagada (\d+)") == [str(n) for n in range(1, SIZE + 2)]
    listed = ana.get("/conversas").text
    assert f"Apagadas (mais de {SIZE})" in listed
    assert 'href="/conversas/apagadas"' in listed
    assert "com Apagada" not in bruno.get("/conversas/apagadas").text
    first = ana.get("/historico?busca=padaria").text
    assert f"Mais de {SIZE} resultados para “padaria”." in first
    assert 'rel="prev"' not in first
    last = ana.get("/historico?busca=padaria&pagina=3").text
    assert f"{2 * SIZE + 5} resultados" in last
    assert 'rel="next"' not in last
    assert "Não há mais nada aqui." in ana.get("/historico?pagina=4").text
    assert ana.get("/historico?pagina=x").status_code == ana.get("/lixeira?pagina=2").status_code == 200
