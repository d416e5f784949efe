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
