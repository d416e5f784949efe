"""Identify a file by its first bytes: a table of prefixes, the only authority on the type of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = [
    "KINDS",
    "OLD_OFFICE",
    "SVG",
    "Kind",
    "disguise",
    "kind_of_extension",
    "kind_of_media_type",
    "sniff",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """A file type that a policy can allow. The first extension is the one that a stored file gets."""

    name: str
    media_type: str
    extensions: tuple[str, ...]
    aliases: tuple[str, ...] = ()


_WORD: Final = "application/vnd.openxmlformats-officedocument."
_ODF: Final = "application/vnd.oasis.opendocument."
KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            "jpeg",
            "image/jpeg",
            ("jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp"),
            ("image/jpg", "image/pjpeg", "image/jpe", "image/jfif", "image/mpo"),
        ),
        Kind("png", "image/png", ("png", "apng"), ("image/x-png", "image/apng", "image/vnd.mozilla.apng")),
        Kind("webp", "image/webp", ("webp",), ("image/x-webp",)),
        Kind("gif", "image/gif", ("gif",), ("image/x-gif",)),
        Kind("avif", "image/avif", ("avif", "avifs"), ("image/avif-sequence",)),
        Kind(
            "heic",
            "image/heic",
            ("heic", "heif"),
            ("image/heif", "image/heic-sequence", "image/heif-sequence"),
        ),
        Kind("pdf", "application/pdf", ("pdf",), ("application/x-pdf",)),
        Kind("docx", _WORD + "wordprocessingml.document", ("docx",)),
        Kind("xlsx", _WORD + "spreadsheetml.sheet", ("xlsx",)),
        Kind("pptx", _WORD + "presentationml.presentation", ("pptx",)),
        Kind("odt", _ODF + "text", ("odt",)),
        Kind("ods", _ODF + "spreadsheet", ("ods",)),
        Kind("odp", _ODF + "presentation", ("odp",)),
        Kind(
            "csv",
            "text/csv",
            ("csv", "tsv"),
            ("application/csv", "text/tab-separated-values", "application/vnd.ms-excel"),
        ),
        Kind("text", "text/plain", ("txt", "text", "md", "log"), ("text/markdown",)),
    )
}
_BY_EXTENSION: Final = {extension: kind for kind in KINDS.values() for extension in kind.extensions}
_BY_MEDIA_TYPE: Final = {
    **{alias: kind for kind in KINDS.values() for alias in kind.aliases},
    **{kind.media_type: kind for kind in KINDS.values()},
}
_AVIF: Final = frozenset((b"avif", b"avis"))
_HEIC: Final = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"))


def kind_of_extension(extension: str) -> Kind | None:
    """Return the kind that `extension` (without the dot) promises, or None for an unknown one."""
    return _BY_EXTENSION.get(extension.lower())


def kind_of_media_type(media_type: str) -> Kind | None:
    """Return the kind that a declared media type names; parameters and case do not matter."""
    return _BY_MEDIA_TYPE.get(media_type.partition(";")[0].strip().lower())


# Byte order mark, blanks, or the wrapper of a printer's job language before the header: old print drivers write them.
_PDF: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?[\s\0]{0,64}(?:\x1b%-12345X(?:@PJL[ -~]{0,200}\r?\n){0,16})?[\s\0]{0,16}%PDF-"
)


def sniff(head: bytes) -> str:
    """Return the kind of the file that begins with `head`, "zip" for any archive, "" for an unknown one."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _isobmff(head)
    if _PDF.match(head):
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    return ""


def _isobmff(head: bytes) -> str:
    brands = {
        head[8:12],
        *(head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4], "big"), 128), 4)),
    }
    if head[8:12] in _AVIF or (head[8:12] in (b"mif1", b"msf1") and brands & _AVIF):
        return "avif"
    if head[8:12] in _HEIC or (head[8:12] in (b"mif1", b"msf1") and brands & _HEIC):
        return "heic"
    return ""


OLD_OFFICE: Final = "an old Office document"
SVG: Final = "an SVG image"
_DISGUISES: Final = (
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"\xca\xfe\xba\xbe", "a Java or macOS program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xfe\xed\xfa", "a macOS program"),
    (b"#!", "a script"),
    (b"\0asm", "a WebAssembly program"),
    (b"%!PS", "PostScript"),
    (b"%PDF-", "a PDF document"),
    (b"PK", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"\xd0\xcf\x11\xe0", OLD_OFFICE),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "a Windows icon"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"RIFF", "a RIFF file"),
    (b"OggS", "Ogg media"),
    (b"ID3", "MP3 audio"),
    (b"SQLite format 3", "a SQLite database"),
)
_MARKUP: Final = re.compile(
    rb"\s*<(?:(\?php|\?=)|(svg)|(\?xml)|(!doctype html|html|head|body|script|!--|[a-z]))", re.IGNORECASE
)
_COMMENT: Final = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_FIRST_ELEMENT: Final = re.compile(rb"<(?:!doctype\s+)?([a-z][\w:]{0,20})", re.IGNORECASE)
_MARKUP_THAT_MAY_BE_SVG: Final = (3, 4)  # groups of _MARKUP


def disguise(head: bytes) -> str:
    """Name a file of no accepted kind in a few words, for events, or return ""."""
    for prefix, name in _DISGUISES:
        if head.startswith(prefix):
            return name
    if head[4:8] == b"ftyp":
        return "a video or an image of another kind"
    found = _MARKUP.match(head.removeprefix(b"\xef\xbb\xbf")[:512])
    if found and found.lastindex in _MARKUP_THAT_MAY_BE_SVG:
        first = _FIRST_ELEMENT.search(_COMMENT.sub(b"", head[:512]))
        if first and first.group(1).lower() in (b"svg", b"svg:svg"):
            return SVG
    if found:
        return ("", "a PHP script", SVG, "an XML document", "an HTML page")[found.lastindex or 0]
    if head and not head.strip(b"\0"):
        return "only zeros"
    return ""
