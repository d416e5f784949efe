"""Office documents in ZIP archives (docx, xlsx, pptx, odt, ods, odp): identify them, refuse active content."""

from __future__ import annotations

import re
from typing import Final

from prodkit.files.formats.archive import Entry, unpack, walk_archive
from prodkit.files.formats.base import RefusedError
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
    r"(?:^|/)(?:vba(?:project|data)[^/]*|macrosheets/|activex/|customui/|basic/|scripts/)", re.IGNORECASE
)
_OLE: Final = re.compile(
    r"(?:^|/)(?:embeddings/[^/]*\.bin|oleobject[^/]*\.bin|objectreplacements/.*\.(?:exe|dll))$", re.IGNORECASE
)
_PACKAGES: Final = (".docx", ".xlsx", ".pptx")
_EXTERNAL: Final = re.compile(
    rb"<Relationship\b[^>]*TargetMode\s*=\s*[\"']External[\"'][^>]*>", re.IGNORECASE
)
_HARMLESS: Final = re.compile(rb"Type\s*=\s*[\"'][^\"']*/(?:hyperlink|linkedstyles)[\"']", re.IGNORECASE)
_SCRIPTED: Final = re.compile(
    rb"Target\s*=\s*[\"']\s*(?:javascript|vbscript|data|file|mhtml|ms-[a-z]+):", re.IGNORECASE
)
_DDE: Final = re.compile(rb"<w:instrText[^>]*>\s*\"?\s*DDE(?:AUTO)?\b|<ddeLink\b|<oleLink\b", re.IGNORECASE)
_DTD: Final = re.compile(rb"<!(?:DOCTYPE|ENTITY)\b", re.IGNORECASE)
_ALLOWED_EXTENSIONS: Final = frozenset(("xml", "svg", "config", "action", "inf", "application"))
_MAX_DEPTH: Final = 2


def walk_office(
    data: bytes, *, max_entries: int, max_unpacked_bytes: int, max_ratio: int, depth: int = 0
) -> str:
    """Return the kind of document; refuse macros, OLE objects, links that load by themselves, and bad archives.

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
    for name, entry in entries.items():
        if _MACROS.search(name):
            raise RefusedError("macros", "macro part")
        if _OLE.search(name):
            raise RefusedError("embedded_file", "OLE object")
        lowered = name.lower()
        extension = lowered.rpartition(".")[2] if "." in lowered else ""
        if extension in DANGEROUS - _ALLOWED_EXTENSIONS:
            raise RefusedError("unsafe_archive", "program in the document")
        content = unpack(data, entry)
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
        elif lowered.endswith((".xml", ".rels", ".svg")) and content:
            _markup(content)
        elif content.startswith((b"MZ", b"\x7fELF", b"\xd0\xcf\x11\xe0", b"PK\x03\x04", b"#!")):
            raise RefusedError("embedded_file", "program or archive in the document")
    return kind


def _kind(data: bytes, entries: dict[str, Entry]) -> str:
    if "mimetype" in entries:
        entry = entries["mimetype"]
        kind = _ODF.get(unpack(data, entry)) if entry.stored and entry.size < 100 else None
        if kind is None or "content.xml" not in entries:
            raise RefusedError("unknown_type", "an OpenDocument of another kind")
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


def _markup(content: bytes) -> None:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = content.decode("utf-16", "replace").encode()
    if _DTD.search(content):
        raise RefusedError("active_content", "document type in markup")
    if _DDE.search(content):
        raise RefusedError("active_content", "dynamic data exchange")
    if b"<script" in content.lower():
        raise RefusedError("active_content", "script in markup")
    for found in _EXTERNAL.finditer(content):
        if not _HARMLESS.search(found.group()):
            raise RefusedError("external_links", "part that is loaded from elsewhere")
        if _SCRIPTED.search(found.group()):
            raise RefusedError("active_content", "link that runs something")
