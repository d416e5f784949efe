"""The order and the conditions of a purge, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit import postgres

TREE = postgres.SoftDelete(
    "user",
    children=[postgres.SoftDelete("chat", parent="u", children=[postgres.SoftDelete("line", parent="c")])],
)


class Database:
    """Has no holds and no rows, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def fetchval(self, query: str, *_: Any) -> Any:
        self.asked.append(query)
        return 0

    async def execute(self, query: str, *_: Any) -> str:
        self.asked.append(query)
        return "DELETE 0"


async def test_children_come_before_their_parents() -> None:
    db = Database()
    report = await postgres.Purge(TREE, postgres.SoftDelete("chat")).run(db)
    assert list(report.rows) == ["line", "chat", "user"]
    deletes = [query for query in db.asked if query.startswith("delete")]
    assert [query.split()[2] for query in deletes] == ['"line"', '"chat"', '"user"']
    assert 'from "line" c' in deletes[1], "a chat is asked for its lines under whatever root it stands"


async def test_a_dry_run_deletes_nothing() -> None:
    db = Database()
    assert (await postgres.Purge(TREE).run(db, dry_run=True)).dry_run
    assert not [query for query in db.asked if "delete" in query.split()[0]]


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ValueError, match=r"at least one SoftDelete.*days.*batch.*pause"):
        postgres.Purge(days=-1, batch=0, pause=-1.0)
