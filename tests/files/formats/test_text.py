from __future__ import annotations

from typing import Any

import pytest

from prodkit.files.formats.base import RefusedError
from prodkit.files.formats.text import walk_text


def walk(data: bytes, **changes: Any) -> str:
    options = {"table": False, "formulas": False, "max_line_bytes": 100, "max_lines": 10} | changes
    return walk_text(data, **options)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("ação\n".encode(), "utf-8"),
        ("\ufeffação".encode(), "utf-8"),
        ("ação".encode("utf-16"), "utf-16"),
        ("ação".encode("cp1252"), "cp1252"),
    ],
)
def test_the_encoding_is_returned(data: bytes, encoding: str) -> None:
    assert walk(data) == encoding


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"a\0b", "not_text"),
        (b"a\x1b[2J", "not_text"),
        (b"\x81\x8d", "not_text"),
        (b"#!/bin/sh\n", "active_content"),
        (b" <?php echo 1;", "active_content"),
        (b"a\n" * 11, "too_many_chunks"),
        (b"a" * 101, "too_many_chunks"),
    ],
)
def test_what_is_no_plain_text_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        walk(data)
    assert caught.value.code == code


@pytest.mark.parametrize("cell", ["=1+1", '"=cmd|x"', "+SUM(A1)", "@SUM(1)", "-2+cmd|' /C calc'!A0"])
def test_cells_that_a_spreadsheet_computes(cell: str) -> None:
    data = f"nome,valor\nana,{cell}\n".encode()
    assert walk(data) == walk(data, table=True, formulas=True) == "utf-8"
    with pytest.raises(RefusedError, match="formula"):
        walk(data, table=True)


@pytest.mark.parametrize("cell", ["-5", "+55 11 99999-0000", "@ana", "a=b", "1-2"])
def test_honest_cells_pass(cell: str) -> None:
    assert walk(f"nome,{cell}\n".encode(), table=True) == "utf-8"


def test_a_page_behind_a_comment_is_no_text() -> None:
    assert walk(b"<!-- table of contents -->\n# Title\n") == "utf-8"
    with pytest.raises(RefusedError, match="active_content"):
        walk(b"<!-- a -->\n<!-- b --><script>alert(1)</script>")
