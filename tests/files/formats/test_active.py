from __future__ import annotations

import io
import random
import zipfile

import pytest

from prodkit.files.formats.active import find_active, find_archive, find_signature, refuse_active
from prodkit.files.formats.base import RefusedError

PIXELS = random.Random(5).randbytes(300_000)


def archive() -> bytes:
    with io.BytesIO() as out:
        with zipfile.ZipFile(out, "w") as file:
            file.writestr("a.txt", "hello")
        return out.getvalue()


def test_pixels_alone_hold_nothing() -> None:
    assert find_active(PIXELS) == ""
    assert not find_archive(PIXELS)
    refuse_active(PIXELS, [(0, 0)], [b""])
    refuse_active(b"", (), ())


@pytest.mark.parametrize(
    "page", [b"<?php", b"<?=$_GET", b"<SCRIPT", b"<html", b"<iFrame", b"<svg onload", b"<%@page"]
)
@pytest.mark.parametrize("at", [0, 2**18 - 3, len(PIXELS)])
def test_a_page_is_found_anywhere_in_any_case_across_windows(page: bytes, at: int) -> None:
    data = PIXELS[:at] + page + b" x" + PIXELS[at:]
    assert page.lower().startswith(find_active(data).encode()[:5])
    with pytest.raises(RefusedError, match="active_content"):
        refuse_active(data, (), ())


@pytest.mark.parametrize(
    "text", [b"javascript:x", b"eval(x)", b"${JNDI:ldap", b"powershell -enc", b"document.cookie"]
)
def test_short_signatures_count_in_metadata_only(text: bytes) -> None:
    refuse_active(PIXELS[:5000] + text, (), ())
    with pytest.raises(RefusedError, match="active_content"):
        refuse_active(PIXELS[:5000] + text, [(4000, 5000 + len(text))], ())
    with pytest.raises(RefusedError, match="active_content"):
        refuse_active(PIXELS[:5000], (), [b"comment " + text])


def test_words_of_a_caption_are_no_signature() -> None:
    refuse_active(PIXELS, (), [b"Evaluation of the system (alert level 2), made with wget < 3 & cmd"])


@pytest.mark.parametrize(
    "data",
    [PIXELS + archive(), archive() + b"x" * 40, PIXELS + archive() + b"\0" * 1000],
    ids=["behind", "before", "padded"],
)
def test_a_picture_that_is_an_archive_too_is_refused(data: bytes) -> None:
    assert find_archive(data)
    with pytest.raises(RefusedError, match="embedded_file"):
        refuse_active(data, (), ())


def test_the_end_mark_of_an_archive_alone_makes_none() -> None:
    assert not find_archive(b"PK\x05\x06")
    assert not find_archive(PIXELS + b"PK\x05\x06" + b"\x01" * 18)


def test_archives_that_readers_search_for_are_named() -> None:
    assert find_signature(PIXELS + b"Rar!\x1a\x07\x00") == "a RAR archive"
    assert find_signature(PIXELS + b"7z\xbc\xaf\x27\x1c") == "a 7z archive"
    assert find_signature(PIXELS) == ""
