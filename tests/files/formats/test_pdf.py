"""PDF: what scanners, print drivers and editors write passes; actions are found wherever they hide."""

import hashlib
import io
import zipfile
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


async def test_an_archive_inside_a_document_is_found_by_readers_of_archives_too() -> None:
    with io.BytesIO() as out:
        with zipfile.ZipFile(out, "w") as made:
            made.writestr("META-INF/MANIFEST.MF", "Main-Class: A")
        archive = out.getvalue()
    assert await codes(document(stream(b"/Length 1", archive))) == ["embedded_file"]


REPAIRING = files.Validator(files.PdfPolicy(), on_damage="rewrite")


async def repaired(data: bytes) -> files.CleanFile:
    return await REPAIRING.check(data, filename="a.pdf", declared_type="application/pdf")


async def test_ends_that_readers_find_pass() -> None:
    whole = document()
    assert await codes(whole.replace(b"startxref\n9\n", b"")) == []
    assert await codes(whole.replace(b"startxref\n9", b"startxref\n?")) == []
    assert await codes(whole + bytes(3000)) == []
    assert await codes(whole[:-6]) == ["truncated"]
    assert await codes(whole[: whole.index(b"startxref")]) == ["truncated"]
    assert await codes(whole + b"\r\n--boundary-7d9--\r\n") == []
    assert await codes(whole + b"\r\n--x\r\nevil\r\n") == ["trailing_data"]
    assert await codes(whole + b"the rest of an old file") == ["trailing_data"]


async def test_stray_bytes_around_a_document_are_removed() -> None:
    clean = await repaired(document() + b"the rest of an old file")
    assert clean.content == document().rstrip()
    assert clean.repairs == ("tail",)
    assert clean.repairs[0].message
    clean = await repaired(b"Some {junk} before the header\n" + document())
    assert clean.content == document()
    assert clean.repairs == ("foreign_bytes",)


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        (b"Some junk before the header\n", []),
        (b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Length: 12\r\n\r\n', []),
        (b"x" * 1100 + b"\n", ["unknown_type"]),
        (b"eval(atob('x'))\n", ["unknown_type"]),
        (b"<html><body>\n", ["unknown_type"]),
        (b"#!/bin/sh\n", ["unknown_type"]),
        (b"MZ and more\n", ["unknown_type"]),
    ],
)
async def test_lines_of_text_before_a_document(lines: bytes, verdict: list[str]) -> None:
    assert await codes(lines + document()) == verdict


async def test_a_stream_that_lost_its_end_hides_nothing() -> None:
    open_ended = b"9 0 obj\n<< /Length 5 >>\nstream\nhello\nendobj\n"
    assert await codes(document(open_ended)) == []
    action = b"8 0 obj\n<< /S /JavaScript /JS (1) >>\nendobj\n"
    assert await codes(document(open_ended + action)) == ["active_content"]
    packed = (
        b"9 0 obj\n<< /Type /ObjStm /Filter /FlateDecode >>\nstream\n" + zlib.compress(action) + b"\nendobj\n"
    )
    assert await codes(document(packed)) == ["active_content"]


@pytest.mark.parametrize(
    "guest", [b"PK\3\4" + bytes(60), b"MZ\x90\0" + bytes(60), b"<?php echo 1; ?>", b"#!/bin/sh\n"]
)
async def test_a_whole_file_around_a_document_is_refused(guest: bytes) -> None:
    for data in (document() + guest, guest + document()):
        with pytest.raises(files.InvalidFileError):
            await repaired(data)


def real(pages: int = 2) -> bytes:
    pikepdf = pytest.importorskip("pikepdf")
    with io.BytesIO() as out, pikepdf.new() as paper:
        for _ in range(pages):
            paper.add_blank_page()
        paper.save(out)
        content: bytes = out.getvalue()
    return content


async def test_a_document_without_its_end_is_written_again() -> None:
    pikepdf = pytest.importorskip("pikepdf")
    whole = real(3)
    clean = await repaired(whole[: whole.rindex(b"startxref")])
    assert clean.repairs == ("structure",)
    assert await codes(clean.content) == []
    with pikepdf.open(io.BytesIO(clean.content)) as paper:
        assert len(paper.pages) == 3
    assert clean.sha256 == hashlib.sha256(clean.content).hexdigest()


async def test_what_is_written_again_is_checked_again() -> None:
    pikepdf = pytest.importorskip("pikepdf")
    with io.BytesIO() as out, pikepdf.open(io.BytesIO(real())) as paper:
        paper.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS="app.alert(1)")
        paper.save(out, object_stream_mode=pikepdf.ObjectStreamMode.generate)
        hostile = out.getvalue()
    for end in (len(hostile), hostile.rindex(b"startxref")):
        with pytest.raises(files.InvalidFileError) as caught:
            await repaired(hostile[:end])
        assert caught.value.problems[0].code in ("active_content", "malformed")


async def test_a_document_of_which_nothing_is_left_is_refused() -> None:
    for data in (b"%PDF-1.7\n1 0 obj\n<< >>\n", b"%PDF-1.7\n" + bytes(100)):
        with pytest.raises(files.InvalidFileError):
            await repaired(data)


async def test_an_image_of_four_components_is_counted_by_its_largest_depth() -> None:
    palette = b"/DecodeParms << /BitsPerComponent 4 >> "
    image = b"/Subtype /Image /Width 500 /Height 333 /BitsPerComponent 8 /Filter /FlateDecode " + palette
    assert await codes(document(stream(image, zlib.compress(bytes(500 * 333 * 4), 1)))) == []
