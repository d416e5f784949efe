"""Office documents in ZIP archives (docx, xlsx, pptx, odt, ods, odp): identify them, refuse active content."""

from __future__ import annotations

import re
from typing import Final

from prodkit.files.formats.archive import Entry, unpack, walk_archive
from prodkit.files.formats.base import RefusedError
from prodkit.files.formats.inner_pictures import check_picture
from prodkit.files.formats.markup import check_markup, check_odf, decoded
from prodkit.files.formats.pdf import walk_pdf
from prodkit.files.names import DANGEROUS

__all__ = ["walk_office"]

_MAIN: Final = (
    (b"wordprocessingml.document.main+xml", "docx"),
    (b"spreadsheetml.sheet.main+xml", "xlsx"),
    (b"presentationml.presentation.main+xml", "pptx"),
)
_ODF: Final = {
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/vnd.oasis.opendocument.spreadsheet": "ods",
    b"application/vnd.oasis.opendocument.presentation": "odp",
}
_MACROS: Final = re.compile(
    r"(?:^|/)(?:vba(?:project|data)[^/]*|macrosheets/.+|activex/.+|customui/.+|scripts/.+)", re.IGNORECASE
)
_BASIC: Final = re.compile(r"(?:^|/)(?:basic|dialogs)/(.+)", re.IGNORECASE)
# LibreOffice writes the lists of an empty macro library into documents without macros.
_LIBRARY: Final = re.compile(r"(?:^|/)(?:script|dialog)-l[bc]\.xml$", re.IGNORECASE)
_OLE: Final = re.compile(
    r"(?:^|/)(?:embeddings/[^/]*\.bin|oleobject[^/]*\.bin|objectreplacements/.*\.(?:exe|dll))$", re.IGNORECASE
)
_SIGNATURES: Final = re.compile(
    r"^(?:_xmlsignatures/.*\.xml|META-INF/(?:document|macro)signatures\.xml)$", re.IGNORECASE
)
_ENCRYPTED: Final = re.compile(rb"<(?:[\w-]+:)?encryption-data\b")
_PACKAGES: Final = (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp")
_MARKUP: Final = (".xml", ".rels", ".svg", ".rdf", ".xhtml")
_PROGRAMS: Final = (
    b"MZ",
    b"\x7fELF",
    b"\xd0\xcf\x11\xe0",
    b"PK\x03\x04",
    b"#!",
    b"Rar!",
    b"7z\xbc\xaf",
)
_ALLOWED_EXTENSIONS: Final = frozenset(("xml", "svg", "config", "action", "inf", "application"))
_MAX_DEPTH: Final = 2
_MAX_OBJECTS: Final = 20_000


def walk_office(
    data: bytes, *, max_entries: int, max_unpacked_bytes: int, max_ratio: int, depth: int = 0
) -> tuple[str, tuple[str, ...]]:
    """Return the kind of document and notes; refuse macros, OLE objects, content from elsewhere, bad archives.

    Args:
        data: the whole file.
        max_entries: files in the archive.
        max_unpacked_bytes: unpacked size of all files together.
        max_ratio: unpacked size divided by packed size.
        depth: nesting level of this document.
    """
    entries = walk_archive(
        data, max_entries=max_entries, max_unpacked_bytes=max_unpacked_bytes, max_ratio=max_ratio
    )
    kind = _kind(data, entries)
    signed = False
    for name, entry in entries.items():
        content = _part(data, name, entry)
        lowered = name.lower()
        signed = signed or _SIGNATURES.match(name) is not None
        if lowered.endswith(_PACKAGES):
            if depth + 1 >= _MAX_DEPTH:
                raise RefusedError("embedded_file", "document in a document in a document")
            walk_office(
                content,
                max_entries=max_entries,
                max_unpacked_bytes=max_unpacked_bytes,
                max_ratio=max_ratio,
                depth=depth + 1,
            )
        elif lowered.endswith(_MARKUP) and content:
            text = decoded(content)
            check_markup(text, svg=lowered.endswith(".svg"))
            if kind.startswith("od"):
                check_odf(text, lowered)
        elif content.startswith(b"%PDF-"):  # LibreOffice keeps a picture that was a PDF page as it was
            walk_pdf(content, max_unpacked_bytes=max_unpacked_bytes, max_objects=_MAX_OBJECTS)
        elif not check_picture(lowered, content) and content.startswith(_PROGRAMS):
            raise RefusedError("embedded_file", "program or archive in the document")
    return kind, ("signed",) if signed else ()


def _part(data: bytes, name: str, entry: Entry) -> bytes:
    """Return the content of one part, unless its name alone decides."""
    if _MACROS.search(name):
        raise RefusedError("macros", "macro part")
    if _OLE.search(name):
        raise RefusedError("embedded_file", "OLE object")
    extension = name.lower().rpartition(".")[2] if "." in name else ""
    if extension in DANGEROUS - _ALLOWED_EXTENSIONS:
        raise RefusedError("unsafe_archive", "program in the document")
    content = unpack(data, entry)
    if (found := _BASIC.search(name)) and found.group(1):
        library = _LIBRARY.search(name) is not None
        listed = b"<library:element" in content or not library
        if listed:
            raise RefusedError("macros", "macro library")
    return content


def _kind(data: bytes, entries: dict[str, Entry]) -> str:
    if "mimetype" in entries:
        entry = entries["mimetype"]
        kind = _ODF.get(unpack(data, entry).strip()) if entry.size < 100 else None
        if kind is None or "content.xml" not in entries:
            raise RefusedError("unknown_type", "an OpenDocument of another kind")
        manifest = entries.get("META-INF/manifest.xml")
        if manifest is not None and _ENCRYPTED.search(decoded(unpack(data, manifest))):
            raise RefusedError("encrypted", "OpenDocument with a password")
        return kind
    if "[Content_Types].xml" not in entries:
        raise RefusedError("unknown_type", "a ZIP archive")
    types = unpack(data, entries["[Content_Types].xml"])
    if b"macroEnabled" in types or b"vbaProject" in types:
        raise RefusedError("macros", "content types")
    kinds = [kind for name, kind in _MAIN if name in types]
    if not kinds:
        raise RefusedError("unknown_type", "an Office document of another kind")
    return kinds[0]
