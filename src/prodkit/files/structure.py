"""Reach a verdict on bytes before any decoder runs: sniff, walk, trailer, active content. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from prodkit.files.formats.active import find_active, find_archive, refuse_active
from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError
from prodkit.files.formats.gif import walk_gif
from prodkit.files.formats.isobmff import walk_avif, walk_heic
from prodkit.files.formats.jpeg import walk_jpeg
from prodkit.files.formats.office import walk_office
from prodkit.files.formats.pdf import find_document, text_before, walk_pdf
from prodkit.files.formats.png import walk_png
from prodkit.files.formats.signatures import in_metadata
from prodkit.files.formats.text import walk_text
from prodkit.files.formats.trailer import check_trailer, is_attached
from prodkit.files.formats.webp import walk_webp
from prodkit.files.messages import mebibytes
from prodkit.files.policies import ImagePolicy, OfficePolicy, PdfPolicy, SinglePolicy, TextPolicy
from prodkit.files.sniff import OLD_OFFICE, SVG, disguise, sniff

__all__ = ["Found", "inspect", "reinspect", "walk_document"]

_IMAGE_WALKERS: Final[dict[str, Callable[[bytes, ImageLimits], ImageFacts]]] = {
    "jpeg": walk_jpeg,
    "png": walk_png,
    "gif": walk_gif,
    "webp": walk_webp,
    "avif": walk_avif,
    "heic": walk_heic,
}
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")  # the name of a stream
_TABLES: Final = frozenset(("csv", "tsv"))
_DAMAGE: Final = frozenset(("truncated", "trailing_data", "malformed"))


@dataclass(frozen=True, slots=True)
class Found:
    """The kind of a file, and the policy that applies to it.

    Args:
        kind: the format.
        policy: the one that allows it.
        image: the facts of a picture.
        trailer: the name of known data after a picture.
        notes: of a document.
        repairs: of a document.
        content: the document without what was around it; None where the upload is kept.
        rebuild: the document has to be written again.
    """

    kind: str
    policy: SinglePolicy
    image: ImageFacts | None = None
    trailer: str = ""
    notes: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    content: bytes | None = None
    rebuild: bool = False


def inspect(
    data: bytes,
    policies: tuple[SinglePolicy, ...],
    extension: str = "",
    *,
    repair: bool = False,
    drop_tail: bool = False,
    rebuild: bool = False,
) -> Found:
    """Identify and check `data`; raise :class:`RefusedError` when no policy accepts it.

    Args:
        data: the whole file.
        policies: the policies to choose from, by the kind of the content.
        extension: of the client's name. It decides only between text and CSV, which no byte can tell apart.
        repair: note damage that re-encoding removes instead of refusing it.
        drop_tail: note an unknown tail after a picture instead of refusing it, unless it is a whole file.
        rebuild: with `repair`, documents can be written again here.
    """
    kind = sniff(data[:256])
    papers = any(isinstance(each, PdfPolicy) for each in policies)
    if papers and not kind and text_before(data[:1024]) and not disguise(data[:512]):
        kind = "pdf"
    stray = repair and not kind and b"%PDF-" in data[:1024] and not disguise(data[:512])
    if stray:
        kind = "pdf"
    for policy in policies:
        if isinstance(policy, ImagePolicy) and kind in policy.kinds:
            return _image(kind, _sized(data, policy), policy, repair, drop_tail)
        if isinstance(policy, PdfPolicy) and kind == "pdf":
            return _pdf(_sized(data, policy), policy, repair, rebuild, stray)
        if isinstance(policy, OfficePolicy) and kind == "zip":
            return _office(_sized(data, policy), policy)
        if isinstance(policy, TextPolicy) and not kind and _may_be_text(data):
            return _text(_sized(data, policy), policy, extension)
    if kind and kind != "zip":
        raise RefusedError("type_not_allowed", kind, kind=kind)
    name = disguise(data[:512])
    if name == OLD_OFFICE and _ENCRYPTED_PACKAGE in data:
        raise RefusedError("encrypted", "Office document with a password")
    text = "svg" if name == SVG else "unknown_type"
    raise RefusedError("unknown_type", name or "unknown", text=text)


def reinspect(kind: str, data: bytes, policy: ImagePolicy) -> ImageFacts:
    """Walk a re-encoded picture: it must be of the same kind and carry nothing beside its pixels."""
    if sniff(data[:256]) != kind:
        raise RefusedError("undecodable", "another kind than before")
    facts = _IMAGE_WALKERS[kind](data, policy.limits)
    if facts.end != len(data):
        raise RefusedError("undecodable", "bytes after the end")
    refuse_active(data, facts.metadata, facts.inflated)
    return facts


def _sized(data: bytes, policy: SinglePolicy) -> bytes:
    if len(data) > policy.max_bytes:
        raise RefusedError("too_large", limit=mebibytes(policy.max_bytes))
    return data


def _may_be_text(data: bytes) -> bool:
    return data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" not in data[:512]


def _image(kind: str, data: bytes, policy: ImagePolicy, repair: bool, drop_tail: bool) -> Found:
    limits = policy.limits
    facts = _IMAGE_WALKERS[kind](data, replace(limits, repair=repair))
    try:
        trailer = check_trailer(data, facts, limits)
    except RefusedError as why:
        if not drop_tail:
            raise
        attached = is_attached(data, facts.end)
        if attached:
            raise RefusedError(why.code, attached) from None
        facts.repairs.append("tail")
        trailer = ""
    if trailer not in ("", "padding") and policy.trailers == "refuse":
        raise RefusedError("trailing_data", trailer)
    refuse_active(data[: facts.end] if "tail" in facts.repairs else data, facts.metadata, facts.inflated)
    if facts.foreign:
        raise RefusedError("embedded_file", facts.foreign)
    return Found(kind, policy, facts, trailer)


def _pdf(data: bytes, policy: PdfPolicy, repair: bool, rebuild: bool, stray: bool) -> Found:
    try:
        notes = walk_document(data, policy)
    except RefusedError as why:
        if not repair or why.code not in _DAMAGE:
            raise
    else:
        if not stray:
            return Found("pdf", policy, notes=notes)
    begin, end = find_document(data)
    attached = disguise(data[:begin]) or in_metadata(data, 0, begin) or find_active(data[:begin])
    if not attached and end < len(data):
        attached = is_attached(data, end)
    if attached:
        raise RefusedError("trailing_data", attached)
    own = data[begin:end]
    repairs = ("foreign_bytes",) * bool(begin) + ("tail",) * (end < len(data))
    try:
        return Found("pdf", policy, notes=walk_document(own, policy), repairs=repairs, content=own)
    except RefusedError as why:
        if not rebuild or why.code not in _DAMAGE:
            raise
    return Found("pdf", policy, repairs=(*repairs, "structure"), content=own, rebuild=True)


def walk_document(data: bytes, policy: PdfPolicy) -> tuple[str, ...]:
    """Return the notes of a PDF, or refuse it."""
    if find_archive(data):
        raise RefusedError("embedded_file", "a ZIP archive around or inside the document")
    return walk_pdf(data, max_unpacked_bytes=policy.max_unpacked_bytes, max_objects=policy.max_objects)


def _office(data: bytes, policy: OfficePolicy) -> Found:
    kind, notes = walk_office(
        data,
        max_entries=policy.max_entries,
        max_unpacked_bytes=policy.max_unpacked_bytes,
        max_ratio=policy.max_ratio,
    )
    if kind not in policy.kinds:
        raise RefusedError("type_not_allowed", kind, kind=kind)
    return Found(kind, policy, notes=notes)


def _text(data: bytes, policy: TextPolicy, extension: str) -> Found:
    kind = "csv" if extension in _TABLES and "csv" in policy.kinds else "text"
    if kind not in policy.kinds:
        kind = "csv"
    if disguise(data[:512]) == SVG:
        raise RefusedError("active_content", SVG, text="svg")
    walk_text(
        data,
        table=kind == "csv",
        formulas=policy.formulas,
        max_line_bytes=policy.max_line_bytes,
        max_lines=policy.max_lines,
    )
    return Found(kind, policy)
