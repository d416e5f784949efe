"""Markup inside office documents: no document types, scripts, data exchange, or content loaded from elsewhere."""

from __future__ import annotations

import re
from typing import Final

from prodkit.files.formats.base import RefusedError
from prodkit.files.names import DANGEROUS

__all__ = ["check_markup", "check_odf", "decoded"]

# No pattern may run past the next "<" looking for an end that never comes: a hostile part holds "<" by the million.
_DOCTYPE: Final = re.compile(rb"<!(?:DOCTYPE\b[^<>\[]*[>\[]?|ENTITY\b)", re.IGNORECASE)
_PREFIX: Final = rb"<(?:[\w.-]{1,64}:)?"
_ATTRIBUTES: Final = rb"(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*"  # a quoted value may hold ">"
# OpenOffice 1 to 3 named their own document types. Without an internal subset they define nothing.
_OWN_DOCTYPE: Final = re.compile(
    rb"<!DOCTYPE\s+[\w:.-]+\s+PUBLIC\s+\"-//OpenOffice\.org//DTD [^\"<>]{1,80}\"\s*(?:\"[\w./-]{1,80}\"\s*)?>",
    re.IGNORECASE,
)
# Fields of Word that fetch something by themselves, as "INCLUDEPICTURE http://…" does. The instruction may be cut into
# any number of runs: they are joined before they are read.
_INSTRUCTION: Final = re.compile(
    _PREFIX + rb"(?:instrText\b" + _ATTRIBUTES + rb">([^<]*)|fldSimple\b(" + _ATTRIBUTES + rb"))"
)
_INSTR: Final = re.compile(rb"\b(?:[\w.-]{1,64}:)?instr\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_BLANKS: Final = re.compile(rb"\s+")
_FIELD_DDE: Final = re.compile(rb"\bDDE(?:AUTO)?\s", re.IGNORECASE)
# \d asks for the picture each time the document opens; a file server gets the reader's password hash.
_FIELD_LOADS: Final = re.compile(
    rb"\b(?:INCLUDEPICTURE|INCLUDETEXT|IMPORT|LINK|RD) (?:[\w.]+ )?((?:\\[\w*@#!]{1,2} (?:\w{1,20} )?){0,4})[\" ]*"
    rb"(?:(https?:)|\\\\|file:[/\\]{2,5}[^/\\:]{2,255}[/\\])",
    re.IGNORECASE,
)
_ADDRESS: Final = 2048
_EACH_TIME: Final = rb"\d"
# Other switches may stand before it: INCLUDEPICTURE "http://…" \* MERGEFORMAT \d. Word takes switches before the
# address as well.
_AFTER_ADDRESS: Final = re.compile(rb"[^\"\\]{0,20}(?:\\(?!d)[^\"\\]{0,24}){0,4}\\d")
_DDE: Final = re.compile(_PREFIX + rb"(?:ddeLink|oleLink)\b", re.IGNORECASE)
_STARTS_DDE: Final = re.compile(rb"\s*(?:\"\s*)?DDE(?:AUTO)?\b", re.IGNORECASE)
# Drawing programs write short entities for the names of their namespaces: text only, no reference in them.
_SVG_DOCTYPE: Final = re.compile(
    rb"<!DOCTYPE\s+svg\b[^<>\[\]]{0,300}(?:\[(?:\s*<!ENTITY\s+[\w.-]+\s+\"[^\"&%<>]{0,200}\">){0,64}\s*\]\s*)?>"
)
_SCRIPT: Final = re.compile(
    rb"<[sS][cC][rR][iI][pP][tT](?!:)"
)  # the OpenDocument namespace script: is judged apart
_SVG_ACTIVE: Final = re.compile(
    rb"\son[a-z]{3,20}\s*=\s*[\"']|javascript:|<foreignObject\b|<iframe\b|<embed\b", re.IGNORECASE
)

# --- Office Open XML: relationships ---
_RELATIONSHIP: Final = re.compile(_PREFIX + rb"Relationship\b" + _ATTRIBUTES, re.IGNORECASE)
_EXTERNAL: Final = re.compile(rb"TargetMode\s*=\s*[\"']External[\"']", re.IGNORECASE)
_HARMLESS: Final = re.compile(rb"Type\s*=\s*[\"'][^\"']*/(?:hyperlink|linkedstyles)[\"']", re.IGNORECASE)
_TARGET: Final = re.compile(rb"\bTarget\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_SCRIPTED: Final = re.compile(
    rb"\s*(?:javascript|vbscript|data|mhtml|ms-[a-z-]+|search-ms|shell):", re.IGNORECASE
)
# A link into the folders of its author is dead elsewhere; one to a server hands the reader's password hash to it.
_LOCAL: Final = re.compile(rb"\s*file:///(?![/\\])(?!%5c)(?!%2f)", re.IGNORECASE)
_FILE: Final = re.compile(rb"\s*(?:file:|\\\\)", re.IGNORECASE)

# --- OpenDocument: XLink ---
_HREF: Final = re.compile(rb"xlink:href\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_ELEMENT: Final = re.compile(rb"<([\w.-]+:[\w.-]+)[\s/>]")
_XLINK: Final = re.compile(rb"xmlns:([\w.-]+)\s*=\s*[\"']http://www\.w3\.org/1999/xlink[\"']")
_LINKS: Final = frozenset(
    (
        b"text:a",
        b"draw:a",
        b"meta:template",
        b"text:bibliography-mark",
        b"form:form",
        b"form:button",
        b"presentation:event-listener",
        b"draw:area-rectangle",
        b"draw:area-polygon",
        b"draw:area-circle",
    )
)
_OUTSIDE: Final = re.compile(rb"\s*(?:[a-z][a-z0-9+.-]*:|//|\\\\|/|(?:\./)*\.\./)", re.IGNORECASE)
_ODF_MACROS: Final = (
    b"vnd.sun.star.script",
    b"vnd.sun.star.expand",
    b"vnd.sun.star.cmd",
    b"<script:event-listener",
    b"<script:module",
    b"<office:script>",
    b"<office:script ",
    b"macro:///",
)
_ODF_DDE: Final = (b"<text:dde-connection ", b"<office:dde-source", b"<table:dde-link")
_RELOAD: Final = re.compile(rb"<meta:auto-reload\b[^<>]*xlink:href\s*=\s*[\"'][^\"']", re.IGNORECASE)


def decoded(content: bytes) -> bytes:
    """Return markup as UTF-8, so that no encoding hides a name."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace").encode()
    if content.startswith((b"<\0", b"\0<")):
        encoding = "utf-16-le" if content[:1] == b"<" else "utf-16-be"
        return content.decode(encoding, "replace").encode()
    return content


def check_markup(text: bytes, *, svg: bool = False) -> None:
    """Refuse what no part of a document may hold.

    Args:
        text: from :func:`decoded`.
        svg: the part is a picture: handlers of events are refused as well.
    """
    if svg:
        text = _SVG_DOCTYPE.sub(b"", text, count=1)
    for found in _DOCTYPE.finditer(text):
        if not _OWN_DOCTYPE.fullmatch(found.group()):
            raise RefusedError("active_content", "document type in markup")
    if _DDE.search(text):
        raise RefusedError("active_content", "dynamic data exchange")
    if b"instr" in text:
        _fields(text)
    if _SCRIPT.search(text):
        raise RefusedError("active_content", "script in markup")
    if svg and _SVG_ACTIVE.search(text):
        raise RefusedError("active_content", "active SVG picture")
    for found in _RELATIONSHIP.finditer(text):
        if _EXTERNAL.search(found.group()):
            _relationship(found.group())


def _fields(text: bytes) -> None:
    parts = list[bytes]()
    for content, attributes in _INSTRUCTION.findall(text):
        parts.append(content)
        if found := _INSTR.search(attributes):
            parts.append(found.group(1) or found.group(2) or b"")
    joined = _BLANKS.sub(b" ", _unescaped(b"".join(parts)))
    if _FIELD_DDE.search(joined) or any(map(_STARTS_DDE.match, parts)):
        raise RefusedError("active_content", "dynamic data exchange")
    if any(_loads(joined, found) for found in _FIELD_LOADS.finditer(joined)):
        raise RefusedError("external_links", "field that loads content from elsewhere")


def _loads(fields: bytes, found: re.Match[bytes]) -> bool:
    """Return True for a field that fetches by itself: from a file server, or from the web with the switch ``\\d``."""
    switches, web = found.groups()
    if not web or _EACH_TIME in switches.lower():
        return True
    address = fields[found.end() : found.end() + _ADDRESS].lower()
    address, quote, _ = address.partition(b'"')
    if address.find(_EACH_TIME, 1) > 0:
        return True
    behind = found.end() + len(address) + 1
    return bool(quote and address) and _AFTER_ADDRESS.match(fields[behind : behind + 128].lower()) is not None


def _relationship(element: bytes) -> None:
    if not _HARMLESS.search(element):
        raise RefusedError("external_links", "part that is loaded from elsewhere")
    found = _TARGET.search(element)
    target = (found.group(1) or found.group(2) or b"") if found else b""
    if _SCRIPTED.match(target):
        raise RefusedError("active_content", "link that runs something")
    if _FILE.match(target) and not _LOCAL.match(target):
        raise RefusedError("external_links", "link to a file server")
    if _FILE.match(target) and _runs(target):
        raise RefusedError("active_content", "link to a program")


def _runs(target: bytes) -> bool:
    extension = target.split(b"#")[0].split(b"?")[0].rpartition(b".")[2].strip().lower().decode("latin-1")
    return extension in DANGEROUS - {"htm", "html", "xml", "mht", "mhtml", "svg"}


def check_odf(text: bytes, name: str) -> None:
    """Refuse macros, data exchange and external content in a part of an OpenDocument.

    Every ``xlink:href`` outside a hyperlink is content: it has to stay inside the package::

        <draw:image xlink:href="Pictures/1.png"/>          inside
        <draw:image xlink:href="https://example.org/1"/>   loads when the document opens
        <text:a xlink:href="https://example.org"/>         a hyperlink: the reader decides

    Args:
        text: from :func:`decoded`.
        name: of the part, in lower case.
    """
    lowered = text.lower()
    if any(sign in lowered for sign in _ODF_MACROS):
        raise RefusedError("macros", "script or event")
    if any(sign in lowered for sign in _ODF_DDE):
        raise RefusedError("active_content", "dynamic data exchange")
    if b"meta:auto-reload" in lowered and _RELOAD.search(text):
        raise RefusedError("external_links", "document that reloads from elsewhere")
    if b":href" in text and b"http://www.w3.org/1999/xlink" in text:
        _unusual_prefix(text)
    for found in _HREF.finditer(text):
        target = _unescaped(found.group(1) or found.group(2) or b"")
        if not _OUTSIDE.match(target):
            continue
        tag = _ELEMENT.match(text, text.rfind(b"<", 0, found.start()))
        element = tag.group(1) if tag else b""
        if element in _LINKS:
            if _SCRIPTED.match(target):
                raise RefusedError("active_content", "link that runs something")
        elif not name.startswith("meta-inf/"):  # signatures name their algorithms and certificates
            raise RefusedError("external_links", f"{element.decode('ascii', 'replace')[:40]} from elsewhere")


def _unusual_prefix(text: bytes) -> None:
    """Refuse a second name for the namespace of links: writers call it xlink, and the check looks for that."""
    if any(prefix != b"xlink" for prefix in _XLINK.findall(text)):
        raise RefusedError("external_links", "links under an unusual prefix")


def _unescaped(target: bytes) -> bytes:
    """Undo the numeric and named references that could hide a scheme."""
    if b"&" not in target:
        return target
    text = re.sub(rb"&#x([0-9a-fA-F]{1,6});", lambda code: _character(int(code.group(1), 16)), target)
    text = re.sub(rb"&#([0-9]{1,7});", lambda code: _character(int(code.group(1))), text)
    return text.replace(b"&amp;", b"&").replace(b"&quot;", b'"').replace(b"&apos;", b"'")


def _character(code: int) -> bytes:
    return chr(code).encode("utf-8", "replace") if code < 0x110000 else b"?"
