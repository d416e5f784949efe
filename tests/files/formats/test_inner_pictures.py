from __future__ import annotations

import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from prodkit.files.formats.base import RefusedError
from prodkit.files.formats.inner_pictures import check_picture


def picture(kind: str, size: tuple[int, int] = (20, 20), text: str = "") -> bytes:
    info = PngInfo()
    info.add_text("Comment", text)
    with io.BytesIO() as out:
        Image.new("RGB", size, (200, 30, 40)).save(out, kind, **({"pnginfo": info} if text else {}))
        return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("name", ["media/image1.png", "media/image1", "media/image1.bin"])
def test_a_picture_is_known_by_its_content_under_any_name(kind: str, name: str) -> None:
    assert check_picture(name, picture(kind))


def test_other_pictures_go_by_their_name() -> None:
    assert check_picture("media/image1.bmp", picture("BMP"))
    assert not check_picture("media/image1.xyz", picture("BMP"))
    assert not check_picture("media/image1.bmp", b"")
    assert not check_picture("document.xml", b"<w:document/>")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_picture_passes_since_honest_documents_hold_some(kind: str) -> None:
    assert check_picture("media/image1.png", picture(kind)[:-9])


@pytest.mark.parametrize(
    "content", [b"MZ\x90\x00" + b"\0" * 600, b"%PDF-1.7\n", b"<html><body>x", b"PK\x03\x04" + b"\0" * 60]
)
def test_something_else_under_the_name_of_a_picture_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedError, match="active_content"):
        check_picture("media/image1.emf", content)


def test_a_script_in_a_picture_is_refused_damaged_or_not() -> None:
    hidden = picture("PNG", text="<script>x</script>")
    for content in (hidden, hidden[:-9]):
        with pytest.raises(RefusedError, match="active_content"):
            check_picture("media/image1.png", content)


def test_a_picture_that_makes_a_decoder_work_without_end_is_refused() -> None:
    header = bytearray(picture("PNG"))
    header[16:20] = (50_000).to_bytes(4, "big")
    with pytest.raises(RefusedError, match=r"dimensions_too_large|malformed"):
        check_picture("media/image1.png", bytes(header))
