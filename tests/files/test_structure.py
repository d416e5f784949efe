from __future__ import annotations

import io

import pytest
from PIL import Image

from prodkit.files import ImagePolicy, OfficePolicy, PdfPolicy, TextPolicy
from prodkit.files.formats.base import RefusedError
from prodkit.files.structure import inspect, reinspect


def png() -> bytes:
    with io.BytesIO() as out:
        Image.new("RGB", (6, 4), "teal").save(out, "PNG")
        return out.getvalue()


def code_of(data: bytes, *policies: ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy) -> str:
    with pytest.raises(RefusedError) as caught:
        inspect(data, policies)
    return caught.value.code


def test_the_content_chooses_the_policy() -> None:
    text, pictures = TextPolicy(), ImagePolicy()
    assert inspect(png(), (text, pictures)).policy is pictures
    assert inspect(b"a,b\n", (pictures, text), "csv").kind == "csv"
    assert inspect(b"a,b\n", (pictures, text)).kind == "text"
    assert inspect(b"a,b\n", (TextPolicy(formats=frozenset(("csv",))),)).kind == "csv"


def test_what_no_policy_accepts_is_named() -> None:
    assert code_of(png(), PdfPolicy()) == "type_not_allowed"
    assert code_of(b"MZ\x90\0", ImagePolicy()) == "unknown_type"
    locked = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le")
    assert code_of(locked, OfficePolicy()) == "encrypted"
    assert code_of(png(), ImagePolicy(max_bytes=10)) == "too_large"


def test_an_svg_picture_is_refused_with_the_way_out_where_text_is_accepted_too() -> None:
    for data in (b"<svg onload=x>", b"<!-- a --><svg onload=x>", b'<?xml version="1.0"?><svg/>'):
        for policies in ((TextPolicy(),), (ImagePolicy(), TextPolicy())):
            with pytest.raises(RefusedError) as caught:
                inspect(data, policies, "svg")
            assert (caught.value.code, caught.value.facts["text"]) == ("active_content", "svg")


def test_a_tail_is_refused_noted_or_an_attachment() -> None:
    pictures = (ImagePolicy(),)
    assert code_of(png() + b"the rest of an old file", *pictures) == "trailing_data"
    found = inspect(png() + b"the rest of an old file", pictures, drop_tail=True)
    assert found.image is not None
    assert found.image.repairs == ["tail"]
    with pytest.raises(RefusedError, match="trailing_data"):
        inspect(png() + b"MZ\x90\0" + bytes(60), pictures, drop_tail=True)


def test_re_encoded_bytes_are_walked_again() -> None:
    policy = ImagePolicy()
    facts = reinspect("png", png(), policy)
    assert (facts.width, facts.height, facts.frames) == (6, 4, 1)
    for kind, data in (("jpeg", png()), ("png", png() + b"x")):
        with pytest.raises(RefusedError, match="undecodable"):
            reinspect(kind, data, policy)
