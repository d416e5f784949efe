from __future__ import annotations

import time
from contextlib import suppress

import pytest

from prodkit.files.formats.base import RefusedError
from prodkit.files.formats.markup import check_markup, check_odf, decoded

XLINK = b'<x xmlns:xlink="http://www.w3.org/1999/xlink">'


def relationship(target: str, kind: str = "hyperlink") -> bytes:
    return f'<Relationship Type="http://x/{kind}" Target="{target}" TargetMode="External"/>'.encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_no_encoding_hides_a_script(encoding: str) -> None:
    text = decoded("<a><SCRIPT>x</SCRIPT></a>".encode(encoding))
    with pytest.raises(RefusedError, match="active_content"):
        check_markup(text)


def test_honest_markup_passes() -> None:
    check_markup(b"<w:p><w:t>javascript: and script are words</w:t></w:p>")
    check_markup(
        b'<!DOCTYPE office:document PUBLIC "-//OpenOffice.org//DTD OfficeDocument 1.0//EN" "office.dtd">'
    )
    check_markup(b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY ns "http://x">]><svg/>', svg=True)
    check_markup(relationship("https://example.org") + relationship("mailto:ana@loja.example"))
    check_markup(b'<w:instrText>INCLUDEPICTURE "http://x.example/a.png" \\* MERGEFORMATINET</w:instrText>')
    check_markup(
        b'<w:instrText>HYPERLINK "https://x.example/dde"</w:instrText><w:instrText>PAGE</w:instrText>'
    )
    check_markup(relationship("file:///C:/Users/ana/plan.docx"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", "active_content"),
        (b'<w:instrText xml:space="preserve"> DDEAUTO c:\\x', "active_content"),
        (b"<w:instrText>DD</w:instrText></w:r><w:r><w:instrText>EAUTO c:\\x</w:instrText>", "active_content"),
        (b'<w:fldSimple w:instr=" DDE excel "/>', "active_content"),
        (b'<w:instrText>INCLUDEPICTURE "\\\\evil\\a.png"</w:instrText>', "external_links"),
        (b'<w:instrText>INCLUDEPICTURE "http://x.example/a.png" \\d</w:instrText>', "external_links"),
        (
            b'<w:instrText>INCLUDEPICTURE "http://x.example/a" \\* MERGEFORMAT \\d</w:instrText>',
            "external_links",
        ),
        (b'<w:instrText>INCLUDEPICTURE \\d "http://x.example/a.png"</w:instrText>', "external_links"),
        (b'<w:instrText>INCLUDEPICTURE \\* MERGEFORMAT "\\\\evil\\a"</w:instrText>', "external_links"),
        (b'<w:fldSimple w:instr="INCLUDETEXT &quot;file://evil/a.docx&quot;"/>', "external_links"),
        (relationship("https://example.org/x.dotm", "attachedTemplate"), "external_links"),
        (relationship("javascript:x"), "active_content"),
        (relationship("file://server/share/a.docx"), "external_links"),
        (relationship("\\\\server\\share"), "external_links"),
        (relationship("file:///C:/x/setup.exe"), "active_content"),
    ],
)
def test_what_runs_or_is_loaded_from_elsewhere_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(RefusedError) as why:
        check_markup(text)
    assert why.value.code == code


@pytest.mark.parametrize("text", [b'<g onclick="x()"/>', b"<foreignObject/>", b'<a href="javascript:x"/>'])
def test_handlers_are_refused_in_pictures_only(text: bytes) -> None:
    check_markup(text)
    with pytest.raises(RefusedError, match="active_content"):
        check_markup(text, svg=True)


@pytest.mark.parametrize(
    ("element", "code"),
    [
        (b'<draw:image xlink:href="https://example.org/1"/>', "external_links"),
        (b'<draw:image xlink:href="../../etc/passwd"/>', "external_links"),
        (b'<draw:image xlink:href="&#104;ttps://example.org"/>', "external_links"),
        (b'<draw:image xlink:href="&#x68;ttps://example.org"/>', "external_links"),
        (b'<text:a xlink:href="javascript:x"/>', "active_content"),
        (b'<text:a xlink:href="vnd.sun.star.script:x"/>', "macros"),
        (b"<office:script>", "macros"),
        (b'<text:dde-connection office:name="x"/>', "active_content"),
        (b'<meta:auto-reload xlink:href="https://example.org"/>', "external_links"),
        (b'<y xmlns:z="http://www.w3.org/1999/xlink" z:href="https://example.org"/>', "external_links"),
    ],
)
def test_an_open_document_that_loads_or_runs_something_is_refused(element: bytes, code: str) -> None:
    with pytest.raises(RefusedError) as why:
        check_odf(XLINK + element, "content.xml")
    assert why.value.code == code


@pytest.mark.parametrize(
    ("element", "name"),
    [
        (b'<draw:image xlink:href="Pictures/1.png"/>', "content.xml"),
        (b'<text:a xlink:href="https://example.org"/>', "content.xml"),
        (b'<ds:sig xlink:href="https://example.org"/>', "meta-inf/documentsignatures.xml"),
        (b"<meta:auto-reload/>", "meta.xml"),
    ],
)
def test_hyperlinks_and_parts_of_the_package_pass(element: bytes, name: str) -> None:
    check_odf(XLINK + element, name)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"", b"<w:instrText "),
        (b"", b"<w:fldSimple w:instr "),
        (b"", b"<w:instrText a='"),
        (b"<w:instrText>", b" "),
        (b"<w:instrText>LINK", b" "),
        (b"<w:instrText>", b"LINK http:"),
        (b"<w:instrText>", b"LINK Excel.Sheet http:"),
        (b"<w:instrText>", b"RD \\d "),
        (b"", b"<Relationship "),
        (b"<Relationship ", b'TargetMode="External" '),
    ],
)
def test_hostile_markup_takes_no_quadratic_time(begin: bytes, more: bytes) -> None:
    begun = time.process_time()
    with suppress(RefusedError):
        check_markup(begin + more * (300_000 // len(more)))
    assert time.process_time() - begun < 10


def test_an_unclosed_document_type_is_refused() -> None:
    with pytest.raises(RefusedError, match="active_content"):
        check_markup(b"<!DOCTYPE " * 100_000)


@pytest.mark.parametrize(
    "text",
    [
        b'<Relationship Type="http://x/oleObject" Target="http://x.example/a>b" TargetMode="External"/>',
        b'<p:Relationship Type="http://x/oleObject" Target="http://x.example/" TargetMode="External"/>',
        b'<w:instrText w:a=">">INCLUDETEXT "\\\\server\\a.docx"</w:instrText>',
        b'<x:instrText>INCLUDETEXT "\\\\server\\a.docx"</x:instrText>',
        b'<x:fldSimple a=">" x:instr=\'INCLUDETEXT "\\\\server\\a.docx"\'/>',
    ],
)
def test_brackets_in_values_and_other_prefixes_hide_nothing(text: bytes) -> None:
    with pytest.raises(RefusedError, match="external_links"):
        check_markup(text)
