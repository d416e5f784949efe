from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest

from prodkit.core.encodings import spellings

VALUE = 'Tr0ub4dor/&"é+ 3\\x'


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        repr([VALUE]),
        json.dumps({"a": VALUE}),
        json.dumps({"a": VALUE}, ensure_ascii=False),
        json.dumps({"a": VALUE}).replace("/", "\\/"),
        json.dumps({"a": VALUE}).replace("\\u00e9", "\\u00E9"),
        html.escape(VALUE),
        html.escape(VALUE, quote=False),
        quote(VALUE),
        quote(VALUE, safe=""),
        quote(quote(VALUE, safe=""), safe=""),
        quote_plus(VALUE),
        urlencode({"a": VALUE}),
        "Tr0ub4dor%2f%26%22%c3%a9%2b%203%5cx",
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
    ],
)
def test_a_text_that_holds_the_value_in_a_usual_encoding_holds_one_of_its_spellings(text: str) -> None:
    assert any(form in text for form in spellings(VALUE).literal)


@pytest.mark.parametrize("before", [b"", b"u", b"us", b"user:"])
@pytest.mark.parametrize("after", [b"", b"x", b"xy", b"\xff\xff\xff"])
def test_base64_around_the_value_holds_a_spelling_at_every_offset(before: bytes, after: bytes) -> None:
    raw = before + VALUE.encode() + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(raw).decode()
        assert any(form in text for form in spellings(VALUE).base64)


def test_another_text_in_base64_holds_none() -> None:
    text = base64.b64encode(b"user:" + VALUE.encode().swapcase()).decode()
    assert not any(form in text for form in spellings(VALUE).base64)


def test_short_values_have_no_base64_form_since_any_text_would_hold_it() -> None:
    assert spellings("abc").base64 == frozenset()
    assert "abc" in spellings("abc").literal


def test_a_value_without_special_characters_has_few_literal_forms() -> None:
    assert spellings("abcdefgh").literal == {"abcdefgh", "6162636465666768"}


def test_a_lone_surrogate_is_no_error() -> None:
    assert "bad\udc80value" in spellings("bad\udc80value").literal
