"""OpenDocument is looked at as deeply as Office Open XML, and so are the pictures inside of both."""

import io
import zipfile

import pytest
from upload_corpus.base import bases, encoded, payloads

from prodkit import files

PAPERS = files.Validator(files.OfficePolicy())
SPACES = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
)


def packed(parts: dict[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in parts.items():
            method = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            made.writestr(name, content, method)
    return out.getvalue()


def odt(body: str = "", **parts: bytes | str) -> bytes:
    return packed(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:document-content {SPACES}>{body}</office:document-content>",
            "META-INF/manifest.xml": "<manifest:manifest/>",
            **{name.replace("__", "/").replace("_DOT_", "."): content for name, content in parts.items()},
        }
    )


def docx(**parts: bytes | str) -> bytes:
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    return packed(
        {
            "[Content_Types].xml": f'<Types><Override ContentType="{main}"/></Types>',
            "word/document.xml": "<w:document/>",
            **{name.replace("__", "/").replace("_DOT_", "."): content for name, content in parts.items()},
        }
    )


async def codes(data: bytes) -> list[str]:
    try:
        await PAPERS.check(data, filename=None, declared_type=None)
    except files.InvalidFileError as error:
        return [each.code for each in error.problems]
    return []


@pytest.mark.parametrize(
    "body",
    [
        "<text:p>plain</text:p>",
        '<draw:image xlink:href="Pictures/1.png" xlink:actuate="onLoad"/>',
        '<draw:object xlink:href="./Object 1"/>',
        '<text:a xlink:href="https://example.org/">a link</text:a>',
        '<text:a xlink:href="../other.odt">a link</text:a>',
        '<draw:a xlink:href="mailto:a@example.org"/>',
        '<draw:image xlink:href="#anchor"/>',
    ],
)
async def test_what_stays_inside_the_package_passes(body: str) -> None:
    assert await codes(odt(body)) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('<draw:image xlink:href="http://evil.example/x.png" xlink:actuate="onLoad"/>', "external_links"),
        ('<draw:image xlink:href="HTTPS://evil.example/x.png"/>', "external_links"),
        ('<draw:image xlink:href="&#104;ttp://evil.example/x.png"/>', "external_links"),
        ('<draw:image xlink:href="//evil.example/x.png"/>', "external_links"),
        ('<draw:image xlink:href="file:///etc/passwd"/>', "external_links"),
        ('<draw:image xlink:href="../outside.png"/>', "external_links"),
        ("<draw:image xlink:href = '\\\\evil\\share\\x.png'/>", "external_links"),
        ('<text:section-source xlink:href="http://evil.example/x.odt"/>', "external_links"),
        ('<draw:plugin xlink:href="http://evil.example/x"/>', "external_links"),
        ('<meta:auto-reload xlink:href="http://evil.example/" meta:delay="PT1S"/>', "external_links"),
        (
            '<draw:image xmlns:l="http://www.w3.org/1999/xlink" l:href="http://evil.example/x"/>',
            "external_links",
        ),
        ('<text:a xlink:href="vnd.sun.star.script:a?language=Basic">x</text:a>', "macros"),
        ('<script:event-listener script:event-name="dom:load"/>', "macros"),
        ('<text:dde-connection-decl/><text:dde-connection office:name="a"/>', "active_content"),
        ('<text:a xlink:href="javascript:alert(1)">x</text:a>', "active_content"),
        ("<script>alert(1)</script>", "active_content"),
    ],
)
async def test_what_loads_or_runs_is_refused(body: str, code: str) -> None:
    assert await codes(odt(body)) == [code]


async def test_a_password_is_reported_as_such() -> None:
    manifest = "<manifest:manifest><manifest:encryption-data/></manifest:manifest>"
    assert await codes(odt(**{"META-INF/manifest.xml": manifest})) == ["encrypted"]
    ole = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(600)
    )
    assert await codes(ole) == ["encrypted"]
    assert await codes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)) == ["unknown_type"]


async def test_macros_of_libreoffice() -> None:
    empty = '<library:library xmlns:library="x" library:name="Standard"/>'
    module = '<library:library xmlns:library="x"><library:element library:name="Module1"/></library:library>'
    assert await codes(odt(**{"Basic/Standard/script-lb.xml": empty, "Basic/script-lc.xml": empty})) == []
    assert await codes(odt(**{"Basic/Standard/script-lb.xml": module})) == ["macros"]
    assert await codes(odt(**{"Basic/Standard/Module1.xml": "<script:module>Sub A</script:module>"})) == [
        "macros"
    ]
    assert await codes(odt(**{"Scripts/python/a.py": "import os"})) == ["macros"]


@pytest.mark.parametrize(
    "make",
    [lambda part: odt(**{"Pictures/1.png": part}), lambda part: docx(word__media__image1_DOT_png=part)],
)
async def test_pictures_inside_documents_are_walked(make) -> None:  # type: ignore[no-untyped-def]
    png = bases()["png"][1]
    for honest in (png, png[:-20], bases()["jpeg"][1], bases()["gif"][1], b"\x01\0\0\0 an EMF", b""):
        assert await codes(make(honest)) == []
    for name in ("php", "script", "exe", "zip", "shell", "svg"):
        assert await codes(make(payloads()[name])) != [], name
        assert await codes(make(bases()["jpeg"][1] + payloads()[name])) != [], name
    from PIL import Image

    assert await codes(make(encoded("PNG", Image.new("1", (30_000, 10))))) == ["dimensions_too_large"]


async def test_svg_inside_documents() -> None:
    plain = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x.dtd" [<!ENTITY ns "http://x">]><svg><path d=""/></svg>'
    assert await codes(odt(**{"Pictures/1.svg": plain})) == []
    for active in (
        "<svg onload='alert(1)'/>",
        "<svg><script>1</script></svg>",
        "<svg><foreignObject/></svg>",
        '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg/>',
        '<!DOCTYPE svg [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><svg/>',
    ):
        assert await codes(odt(**{"Pictures/1.svg": active})) == ["active_content"], active


async def test_links_to_files() -> None:
    def linked(target: str) -> bytes:
        return docx(
            word___rels__document_DOT_xml_DOT_rels=f'<Relationship Type="http://x/hyperlink" Target="{target}" '
            'TargetMode="External"/>'
        )

    assert await codes(linked("https://example.org/")) == []
    assert await codes(linked("file:///C:\\Users\\Ana\\a.docx")) == []
    assert await codes(linked("file:///C:\\Windows\\System32\\calc.exe")) == ["active_content"]
    for server in (
        "file://evil/share/a.docx",
        "file:///\\\\evil\\share\\a.docx",
        "\\\\evil\\share",
        "file:////evil/a",
    ):
        assert await codes(linked(server)) == ["external_links"], server
    assert await codes(linked("ms-msdt:/id PCWDiagnostic")) == ["active_content"]


async def test_blanks_after_the_archive_and_backslashes_inside_pass() -> None:
    assert await codes(docx() + b"\n") == []
    assert await codes(docx() + b"\r\n\0\0") == []
    assert await codes(docx() + b"x") == ["trailing_data"]
    assert await codes(docx(word__styles_DOT_xml="<a/>").replace(b"word/styles", b"word\\styles")) == []
    assert await codes(docx(word__styles_DOT_xml="<a/>").replace(b"word/styles", b"..\\x\\styles")) == [
        "unsafe_archive"
    ]


async def test_signatures_are_reported() -> None:
    signed = await PAPERS.check(
        docx(_xmlsignatures__sig1_DOT_xml="<Signature/>"), filename=None, declared_type=None
    )
    assert signed.notes == ("signed",)
    signed = await PAPERS.check(
        odt(**{"META-INF/documentsignatures.xml": "<x/>"}), filename=None, declared_type=None
    )
    assert signed.notes == ("signed",)
