"""Names in the SQL of soft deletion."""

from __future__ import annotations

import pytest

from prodkit import postgres
from prodkit.postgres.softdelete import quoted


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("expert", '"expert"'),
        ("shop.Order", '"shop"."Order"'),
        ('"a.b".c', '"a.b"."c"'),
        ('"a""b"', '"a""b"'),
        ("select", '"select"'),
    ],
)
def test_quoted(name: str, sql: str) -> None:
    assert quoted(name) == sql


@pytest.mark.parametrize("name", ["", "a.b.c.d", "x\0y", "x" * 64, ".a", "a.", '"a', '""'])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        postgres.SoftDelete(name)


@pytest.mark.parametrize(
    ("table", "view"),
    [
        ("expert", '"expert_live"'),
        ("shop.Order", '"shop"."Order_live"'),
        ('"Shop"."Order"', '"Shop"."Order_live"'),
        ('"a.b"', '"a.b_live"'),
        ('"a""b"', '"a""b_live"'),
        ("x" * 63, f'"{"x" * 58}_live"'),
    ],
)
def test_the_view_stands_beside_its_table(table: str, view: str) -> None:
    soft = postgres.SoftDelete(table, children=[postgres.SoftDelete("kid", parent="up")])
    assert soft.view == view
    assert f"VIEW {view} AS" in soft.migration()
    schema = view.partition('"."')[0] + '".' if '"."' in view else ""
    assert f'FUNCTION {schema}"kid_live_parent"' in soft.migration()


def test_a_child_needs_the_column_of_its_parent() -> None:
    with pytest.raises(ValueError, match="a child needs parent="):
        postgres.SoftDelete("a", children=[postgres.SoftDelete("b")])
