"""Names that a red team made: nothing but marks left over, and letters that only look like ASCII."""

from __future__ import annotations

import random
import unicodedata

import pytest

from prodkit.files import safe_filename


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("\uff43\uff4f\uff4e.jpg", "_\uff43\uff4f\uff4e.jpg"),
        ("a.p\uff48p.jpg", "a_p\uff48p.jpg"),
        ("$.-;.jpg", "file.jpg"),
        ("-;;-", "file"),
        ("conference.jpg", "conference.jpg"),
        ("写真.v2.jpg", "写真.v2.jpg"),
    ],
)
def test_names(raw: str, safe: str) -> None:
    assert safe_filename(raw) == safe


def test_any_heap_of_marks_becomes_a_name() -> None:
    rng = random.Random(20261123)
    pieces = [
        *"ab.-/\\ ;:$~\0\n\x85\u202e\u200b\u0301é写／．․\ud800%`'\u00a0\u1680",
        "con",
        ".php",
        ".jpg",
        "nul",
        "¹",
    ]
    for _ in range(5_000):
        raw = "".join(rng.choice(pieces) for _ in range(rng.randrange(14))) * rng.choice((1, 1, 30))
        name = safe_filename(raw)
        assert name.strip("._- "), ascii(raw)
        assert safe_filename(name) == name == unicodedata.normalize("NFC", name), ascii(raw)
        assert len(name.encode()) <= 200, ascii(raw)
        assert name[0] not in ".- ", ascii(raw)
        assert name[-1] not in ". ", ascii(raw)
