"""PDF: what scanners, print drivers and editors write passes; actions are found wherever they hide."""

import zlib

import pytest

from prodkit import files

PAPERS = files.Validator(files.PdfPolicy())


def document(*objects: bytes, header: bytes = b"%PDF-1.7\n") -> bytes:
    body = header + b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    body += b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n"
    body += b"3 0 obj\n<< /Type /Page /Parent 2 0 R >>\nendobj\n"
    body += b"".join(objects)
    return body + b"trailer\n<< /Root 1 0 R >>\nstartxref\n9\n%%EOF\n"


def stream(dictionary: bytes, content: bytes) -> bytes:
    return b"9 0 obj\n<< " + dictionary + b" >>\nstream\n" + content + b"\nendstream\nendobj\n"


async def codes(data: bytes) -> list[str]:
    try:
        await PAPERS.check(data, filename="a.pdf", declared_type="application/pdf")
    except files.InvalidFileError as error:
        return [each.code for each in error.problems]
    return []


@pytest.mark.parametrize(
    "header",
    [
        b"%PDF-1.4\n",
        b"%PDF-2.0\r\n",
        b"%PDF-1.4\0\n",
        b"%PDF-1.4 %\xe2\xe3\n",
        b"\xef\xbb\xbf%PDF-1.4\n",
        b"\r\n%PDF-1.4\n",
        b"\x1b%-12345X@PJL JOB\r\n@PJL SET RESOLUTION=600\r\n%PDF-1.4\n",
    ],
)
async def test_headers_of_print_drivers_pass(header: bytes) -> None:
    assert await codes(document(header=header)) == []


async def test_headers_that_are_none() -> None:
    assert await codes(document(header=b"%PDF-9.9\n")) == ["malformed"]
    assert await codes(b"GIF89a" + document()) != []
    assert await codes(document(b"%PDF-1.4\n")) == ["embedded_file"]


def scan(pages: int, width: int, height: int) -> bytes:
    image = b"/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8 /Filter /FlateDecode"
    content = zlib.compress(bytes(width * height), 1)
    return document(*[stream(image % (width, height), content) for _ in range(pages)])


async def test_scans_are_bounded_by_their_pages_and_resolution() -> None:
    assert await codes(scan(9, 5000, 5000)) == []  # 225 MB of pixels: more than max_unpacked_bytes
    liar = stream(b"/Subtype /Image /Width 10 /Height 10 /Filter /FlateDecode", zlib.compress(bytes(10**6)))
    assert await codes(document(liar)) == ["inflates_too_much"]
    huge = stream(b"/Subtype /Image /Width 99999 /Height 99999 /Filter /FlateDecode", zlib.compress(b""))
    assert await codes(document(huge)) == ["inflates_too_much"]
    bomb = stream(b"/Filter /FlateDecode", zlib.compress(bytes(210 * 2**20), 1))
    assert await codes(document(bomb)) == ["inflates_too_much"]


async def test_a_string_that_looks_like_a_stream_hides_nothing() -> None:
    action = b"<< /S /JavaScript /JS (app.alert(1)) >>"
    for bait in (
        b"(stream\n) ",
        b"(>> stream\n) ",
        b"(>> /Filter /FlateDecode >> stream\n) ",
        b"(<< /Filter /DCTDecode >> stream\n) ",
    ):
        hidden = (
            b"8 0 obj\n<< /Title " + bait + b"/OpenAction " + action + b" >>\nendobj\n" + stream(b"", b"x")
        )
        assert await codes(document(hidden)) == ["active_content"], bait


async def test_every_revision_counts_and_is_reported() -> None:
    first = document(b"8 0 obj\n<< /S /JavaScript /JS (1) >>\nendobj\n")
    update = b"8 0 obj\n<< >>\nendobj\ntrailer\n<< /Root 1 0 R /Prev 9 >>\nstartxref\n99\n%%EOF\n"
    assert await codes(first + update) == ["active_content"]
    clean = await PAPERS.check(document() + update, filename=None, declared_type=None)
    assert clean.notes == ("updated",)
    form = document(b"8 0 obj\n<< /AcroForm << >> /ByteRange [0 1 2 3] >>\nendobj\n")
    assert (await PAPERS.check(form, filename=None, declared_type=None)).notes == ("signed", "form")
