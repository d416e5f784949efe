"""The comparison of a restored copy with the original."""

from __future__ import annotations

import pytest

from prodkit.backup.census import Census, take

ORIGINAL = Census({"public.users": 3, "public.runs": 0}, {"indexes": 2, "views": 1})


@pytest.mark.parametrize(
    ("copy", "found"),
    [
        (ORIGINAL, []),
        (Census({"public.users": 2, "public.runs": 0}), ["public.users has 2, not 3 rows"]),
        (Census({"public.users": 3}), ["public.runs has no table, not 0 rows"]),
        (
            Census({"public.users": 3, "public.runs": 0}, {"indexes": 1, "views": 1, "triggers": 5}),
            ["1 indexes, not 2"],  # kinds that an older record does not count are not compared
        ),
    ],
)
def test_each_difference_is_a_sentence(copy: Census, found: list[str]) -> None:
    assert ORIGINAL.differences(copy) == found


def test_a_table_that_only_the_copy_has() -> None:
    (found,) = ORIGINAL.differences(Census({**ORIGINAL.tables, "public.extra": 1}, ORIGINAL.objects))
    assert found.startswith("public.extra has 1")


async def test_every_table_is_counted_under_its_quoted_name() -> None:
    asked: list[str] = []

    class Connection:
        async def fetch(self, query: str, timeout: float) -> list[object]:
            if "relkind = 'r'" in query:
                return [{"schema": "public", "name": "Odd Name", "quoted": 'public."Odd Name"'}]
            return [("indexes", 2)]

        async def fetchval(self, query: str, timeout: float) -> int:
            asked.append(query)
            return 7

    assert await take(Connection()) == Census({"public.Odd Name": 7}, {"indexes": 2})
    assert asked == ['select count(*) from public."Odd Name"']
