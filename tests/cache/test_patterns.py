"""Patterns as Redis' MATCH reads them; the integration tests compare them with a real server."""

from __future__ import annotations

import pytest

from prodkit.cache.patterns import Patterns, compiled, escape


@pytest.mark.parametrize(
    ("pattern", "key", "found"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("*", "a\nb", True),
        ("user:*", "user:17", True),
        ("user:*", "user:", True),
        ("user:*", "xuser:17", False),
        ("user:*:cart", "user:1:2:cart", True),
        ("***a", "bba", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("?", "é", False),  # two bytes
        ("??", "é", True),
        ("[a-c]x", "bx", True),
        ("[c-a]x", "bx", True),  # Redis turns it round
        ("[a-c]x", "dx", False),
        ("[^a-c]x", "dx", True),
        ("[^a-c]x", "ax", False),
        ("[a-]", "_", True),  # Redis reads a range from ] to a, which is not closed
        ("[a-]", "-", False),
        (r"[\]]", "]", True),
        ("[]", "a", False),
        ("[^]", "a", True),
        ("[abc", "b", True),  # not closed: up to the end
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a\\", "a\\", True),
        ("a.c", "abc", False),  # no regular expression
        ("(a+)+$", "aaaa", False),
    ],
)
def test_the_grammar(pattern: str, key: str, found: bool) -> None:
    assert (compiled(pattern).fullmatch(key.encode()) is not None) is found
    assert Patterns([pattern]).match(key) is found


@pytest.mark.parametrize("text", ["*", "a?b", "[x]", "^", "\\", "user:é*", "plain", ""])
def test_an_escaped_text_matches_only_itself(text: str) -> None:
    one = Patterns([escape(text)])
    assert one.match(text)
    assert not one.match(text + "x")
    assert not one.match("x" + text)


def test_a_class_beyond_ascii_is_refused() -> None:
    with pytest.raises(ValueError, match="ASCII"):
        compiled("[é]")


def test_many_patterns_with_beginnings_of_different_lengths() -> None:
    many = Patterns([*(f"user:{number}:*" for number in range(500)), "*:admin", "x"])
    assert many.match("user:17:cart")
    assert many.match("user:499:")
    assert many.match("any:admin")
    assert many.match("x")
    assert not many.match("user:500:cart")
    assert not many.match("user:17")
    assert not many.match("xx")
    assert not Patterns([]).match("x")


def test_half_a_surrogate_pair_is_a_key_like_another() -> None:
    assert Patterns(["\ud800*"]).match("\ud800x")
    assert Patterns(["a*"]).match_bytes(b"a\xff")
