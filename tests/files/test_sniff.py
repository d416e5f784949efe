from __future__ import annotations

import pytest

from prodkit.files.sniff import KINDS, OLD_OFFICE, SVG, disguise, kind_of_extension, kind_of_media_type, sniff


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF89a", "gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", ""),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1avif", "avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0heic", "heic"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41", ""),
        (b"%PDF-1.7", "pdf"),
        (b"\xef\xbb\xbf\n%PDF-1.7", "pdf"),
        (b"PK\x03\x04", "zip"),
        (b"plain text", ""),
        (b"", ""),
    ],
)
def test_the_first_bytes_decide(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


def test_extensions_and_media_types_name_their_kind() -> None:
    for kind in KINDS.values():
        assert all(kind_of_extension(each.upper()) is kind for each in kind.extensions)
        assert kind_of_media_type(f" {kind.media_type.upper()}; charset=x") is kind
        assert all(kind_of_media_type(each) is kind for each in kind.aliases)
    assert kind_of_extension("exe") is kind_of_media_type("text/html") is None


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"MZ\x90", "a Windows program"),
        (b"\x7fELF", "a Linux program"),
        (b"\xd0\xcf\x11\xe0\xa1", OLD_OFFICE),
        (b"\xef\xbb\xbf <svg xmlns=", SVG),
        (b'<?xml version="1.0"?>\n<!-- <html> --><svg width="1">', SVG),
        (b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN">', SVG),
        (b"<svg:svg>", SVG),
        (b"<html><svg>", "an HTML page"),
        (b'<?xml version="1.0"?><note/>', "an XML document"),
        (b"<?php echo 1;", "a PHP script"),
        (b"  <!doctype html>", "an HTML page"),
        (bytes(40), "only zeros"),
        (b"\0\0\0\x18ftypisom", "a video or an image of another kind"),
        (b"plain text", ""),
    ],
)
def test_what_an_event_calls_a_file_of_no_accepted_kind(head: bytes, name: str) -> None:
    assert disguise(head) == name
