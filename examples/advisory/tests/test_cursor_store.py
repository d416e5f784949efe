"""A cursor in an address names one entry exactly, and nothing else is a cursor."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from advisory.store.cursor import Cursor, keyset

ID = UUID("0199e2a1-7b1c-7d7e-8000-000000000001")
AT = datetime(2026, 11, 25, 13, 5, 7, 123457, tzinfo=UTC)


def test_a_cursor_is_read_as_it_was_written():
    text = str(Cursor(AT, ID))
    assert text == f"1795611907123457-{ID.hex}"
    assert Cursor.read(text) == Cursor(AT, ID)
    assert Cursor.read(text, newer=True) == Cursor(AT, ID, newer=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "12",
        f"-{ID.hex}",
        f"x-{ID.hex}",
        f"²-{ID.hex}",
        f"{10**16}-{ID.hex}0",
        "1-zz",
        f"{10**17}-{ID.hex}",
    ],
)
def test_nothing_else_is_a_cursor(text):
    assert Cursor.read(text) is None


def test_the_largest_number_is_a_time():
    assert Cursor.read(f"{10**16 - 1}-{ID.hex}").at.year == 2286


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        (None, ("<", "desc", (None, None))),
        (Cursor(AT, ID), ("<", "desc", (AT, ID))),
        (Cursor(AT, ID, newer=True), (">", "asc", (AT, ID))),
    ],
)
def test_a_page_is_behind_its_cursor_or_before_it(cursor, expected):
    sign, way, values = expected
    condition = f"($5::timestamptz is null or (changed_at, id) {sign} ($5, $6::uuid))"
    assert keyset("changed_at", cursor, 5) == (condition, f"changed_at {way}, id {way}", values)
