"""Long comments and private segments leave a picture with on_damage="rewrite", and only then."""

import io
from collections.abc import Callable

import pytest
from PIL import Image, PngImagePlugin

from prodkit import files

STRICT = files.Validator(files.ImagePolicy())
REWRITING = files.Validator(files.ImagePolicy(), on_damage="rewrite")
LONG, SHORT = b"a plist, a protobuf or a table of a maker. " * 10, b"CREATOR: gd-jpeg v1.0"


def jpeg(comment: bytes) -> bytes:
    with io.BytesIO() as out:
        Image.linear_gradient("L").resize((64, 64)).save(out, "JPEG", comment=comment)
        return out.getvalue()


def jpeg_of_a_maker(content: bytes) -> bytes:
    plain = jpeg(b"")
    return plain[:2] + b"\xff\xea" + (len(content) + 2).to_bytes(2, "big") + content + plain[2:]


def gif(comment: bytes) -> bytes:
    with io.BytesIO() as out:
        Image.linear_gradient("L").resize((64, 64)).save(out, "GIF", comment=comment)
        return out.getvalue()


def png(comment: bytes) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", comment.decode())
    with io.BytesIO() as out:
        Image.linear_gradient("L").resize((64, 64)).save(out, "PNG", pnginfo=texts)
        return out.getvalue()


@pytest.mark.parametrize("made", [jpeg, jpeg_of_a_maker, gif, png])
async def test_a_long_comment_is_removed_by_a_rewrite(made: Callable[[bytes], bytes]) -> None:
    data = made(LONG)
    kept = await STRICT.check(data, filename=None, declared_type=None)
    assert kept.content == data
    clean = await REWRITING.check(data, filename=None, declared_type=None)
    assert clean.repairs == ("comment",)
    assert clean.repairs[0].message
    assert LONG[:40] not in clean.content
    assert (clean.width, clean.height) == (64, 64)


@pytest.mark.parametrize("made", [jpeg, jpeg_of_a_maker, gif, png])
async def test_a_short_comment_is_no_reason_to_encode_again(made: Callable[[bytes], bytes]) -> None:
    clean = await REWRITING.check(made(SHORT), filename=None, declared_type=None)
    assert clean.content == made(SHORT)
    assert clean.repairs == ()


@pytest.mark.parametrize("made", [jpeg, gif])
@pytest.mark.parametrize(
    "guest",
    [
        b"\x08\x01",
        b"\xc2\x01\x21\x08\x01\x08\x96\x01\x1d\xc3\xf5H@E\xff\xff\xff\xff\x21\xfe\xff\xff\xff\xff\xfa\x01\x06Hello!",
        b'<plist version="1.0">\n  <integer>255</integer>\n</plist>',
        b"<?xml version='1.0'?><dict/>",
        b"\0\1\0\0\0\x0e\0\x80\0\3\0`FFTM\x97\xbckx" + bytes(40),
    ],
)
async def test_a_comment_that_is_a_file_of_its_own(made: Callable[[bytes], bytes], guest: bytes) -> None:
    with pytest.raises(files.InvalidFileError) as caught:
        await STRICT.check(made(guest), filename=None, declared_type=None)
    assert [each.code for each in caught.value.problems] == ["embedded_file"]
    clean = await REWRITING.check(made(guest), filename=None, declared_type=None)
    assert clean.repairs == ("comment",)
    assert len(guest) == 2 or guest not in clean.content  # two bytes stand in any table


@pytest.mark.parametrize("made", [jpeg, gif])
@pytest.mark.parametrize(
    "text",
    [
        "Férias em Búzios ☀".encode(),
        "Férias".encode("latin-1"),
        "фото".encode("utf-16"),
        b"Handmade Software, Inc. Image Alchemy v1.8\r\n\x1a",
        b"AppleMark\n\0\0\0",
        bytes(64),
        b"<Digimax S500>",
        b"a < b and c > d",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf/></x:xmpmeta>",
        b"\x1b$B<L??\x1b(B",
    ],
)
async def test_comments_that_people_and_cameras_write_pass(
    made: Callable[[bytes], bytes], text: bytes
) -> None:
    clean = await STRICT.check(made(text), filename=None, declared_type=None)
    assert clean.content == made(text)


@pytest.mark.parametrize("tail", [b"\x14", b"\0\0\x14", b"\xff\xd9", b"\n\n"])
async def test_a_stray_byte_behind_a_picture_passes(tail: bytes) -> None:
    assert (await STRICT.check(jpeg(b"") + tail, filename=None, declared_type=None)).size


async def test_two_bytes_behind_a_picture_may_be_a_message() -> None:
    for made in (jpeg, gif):
        with pytest.raises(files.InvalidFileError):
            await STRICT.check(made(b"a") + b"\x08\x01", filename=None, declared_type=None)
        clean = await REWRITING.check(made(b"a") + b"\x08\x01", filename=None, declared_type=None)
        assert clean.repairs == ("tail",)
