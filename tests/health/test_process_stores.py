from __future__ import annotations

from typing import Any

from prodkit.health import PostgresReports


async def test_a_row_is_a_report_and_its_age_is_never_negative() -> None:
    class Database:
        async def fetch(self, query: str, *args: Any) -> Any:
            assert args == ("council",)
            return [
                {"process": "a:1", "report": "{}", "age": -0.001},
                {"process": "b:2", "report": "{}", "age": 3.0},
            ]

        async def execute(self, query: str, *args: Any) -> None: ...

    found = await PostgresReports(Database()).list("council")
    assert [(each.process, each.age) for each in found] == [("a:1", 0.0), ("b:2", 3.0)]
