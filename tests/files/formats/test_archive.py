from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from prodkit.files.formats.archive import unpack, walk_archive
from prodkit.files.formats.base import RefusedError


def archive(**entries: bytes) -> bytes:
    with io.BytesIO() as out:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in entries.items():
                made.writestr(name, content)
        return out.getvalue()


def walk(data: bytes, **changes: int) -> dict[str, Any]:
    options = {"max_entries": 10, "max_unpacked_bytes": 10**6, "max_ratio": 200} | changes
    return walk_archive(data, **options)


def code_of(data: bytes, **changes: int) -> str:
    with pytest.raises(RefusedError) as caught:
        walk(data, **changes)
    return caught.value.code


def test_entries_are_found_and_unpack_to_their_content() -> None:
    data = archive(a=b"one " * 50, b=b"")
    entries = walk(data)
    assert list(entries) == ["a", "b"]
    assert unpack(data, entries["a"]) == b"one " * 50
    assert walk(data + b"\n") == entries


def test_limits() -> None:
    assert code_of(archive(a=b"", b=b""), max_entries=1) == "too_many_chunks"
    assert code_of(archive(a=bytes(2000)), max_unpacked_bytes=1000) == "inflates_too_much"


def test_both_ends_see_the_same_archive() -> None:
    data = archive(a=b"one", b=b"two")
    assert code_of(b"before" + data) == "malformed"
    assert code_of(data + b"behind") == "trailing_data"
    assert code_of(data[:-30]) == "truncated"
    renamed = data.replace(b"a", b"c", 1)  # the local header contradicts the directory
    assert code_of(renamed) == "malformed"


def test_a_local_header_that_contradicts_the_directory() -> None:
    data = archive(a=b"one " * 50)
    for field in (14, 18, 22):  # checksum, packed size, size
        wrong = bytearray(data)
        wrong[field] ^= 1
        assert code_of(bytes(wrong)) == "malformed"
    streamed = bytearray(data)
    streamed[6] |= 8
    streamed[14:22] = bytes(8)  # LibreOffice writes the size alone, and the rest into the descriptor
    assert list(walk(bytes(streamed))) == ["a"]


def test_sizes_of_64_bits_in_a_local_header_count() -> None:
    with io.BytesIO() as out:
        with zipfile.ZipFile(out, "w") as made, made.open("a", "w", force_zip64=True) as entry:
            entry.write(b"one")
        data = out.getvalue()
    # Python before 3.11.4 repeats the sizes in the 32-bit fields, where the format wants them saturated
    data = data[:18] + b"\xff" * 8 + data[26:]
    assert list(walk(data)) == ["a"]
    at = data.index(b"\1\0\x10\0")
    assert code_of(data[: at + 4] + b"\2" + data[at + 5 :]) == "malformed"
