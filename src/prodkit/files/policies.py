"""Policies: the rules that an upload has to meet. A policy is a frozen value: make it once, share it, print it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final, Literal, TypeAlias

from prodkit.core.validate import Arguments
from prodkit.files.budget import DecodeBudget
from prodkit.files.formats.base import ImageLimits
from prodkit.files.sniff import KINDS

__all__ = [
    "AnyOf",
    "ImagePolicy",
    "OfficePolicy",
    "PdfPolicy",
    "Policy",
    "Rules",
    "SinglePolicy",
    "TextPolicy",
]

MIB: Final = 2**20
_IMAGES: Final = frozenset(("jpeg", "png", "webp", "gif", "avif", "heic"))
_OFFICE: Final = frozenset(("docx", "xlsx", "pptx", "odt", "ods", "odp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules shared by all policies.

    Args:
        max_bytes: size of the upload.
        require_extension: a given name must end in an extension of the file's own type. A missing name (None) and
            "blob", which browsers send for a canvas, pass.
        match_declared_type: refuse a declared media type that names *another* known type. An empty, unknown or generic
            one changes nothing.
    """

    max_bytes: int = 5 * MIB
    require_extension: bool = True
    match_declared_type: bool = True

    def __post_init__(self) -> None:
        check = Arguments(type(self).__name__)
        for each in fields(self):
            if each.name.startswith("max_"):
                check.integer(each.name, getattr(self, each.name), minimum=1)
        self._check(check)
        check.done()

    def _check(self, check: Arguments) -> None:
        """Check the arguments that only this policy has."""

    @property
    def kinds(self) -> frozenset[str]:
        """Names of the formats that this policy allows."""
        raise NotImplementedError


def _formats(check: Arguments, formats: frozenset[str], known: frozenset[str]) -> None:
    check.that(bool(formats), "formats must name at least one format")
    for name in sorted(frozenset(formats) - known):
        check.that(False, f"formats: {name!r} is not one of {', '.join(sorted(known))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePolicy(Rules):
    """Pictures. The defaults are those of an avatar: 5 MiB, 2048x2048, jpeg, png, webp and gif.

    Args:
        max_bytes: size of the upload.
        require_extension: a given name must end in an extension of the picture's own type.
        match_declared_type: refuse a declared media type that names another known type.
        max_width: pixels.
        max_height: pixels.
        max_frames: pictures of an animation. Several hundred tiny frames are an honest animation and pass.
        max_total_pixels: width x height x frames; raised to `max_width` x `max_height` where that is larger. The time
            and the memory of a decode follow from it, see :attr:`budget`.
        max_scans: passes of a progressive JPEG. Encoders write about 10; each costs a decoder as much as the whole
            picture.
        max_metadata_bytes: everything beside the pixels, unpacked.
        formats: any of jpeg, png, webp, gif; ``avif`` and ``heic`` are opt-in.
        trailers: data that phones append: "accept" keeps it, "strip" cuts it off, "refuse" refuses the file.
        quality: 1 to 100, for pictures that are re-encoded as JPEG, WebP or AVIF.
    """

    max_width: int = 2048
    max_height: int = 2048
    max_frames: int = 500
    max_total_pixels: int = 96_000_000
    max_scans: int = 64
    max_metadata_bytes: int = 4 * MIB
    formats: frozenset[str] = field(default_factory=lambda: frozenset(("jpeg", "png", "webp", "gif")))
    trailers: Literal["accept", "strip", "refuse"] = "accept"
    quality: int = 90

    def _check(self, check: Arguments) -> None:
        _formats(check, self.formats, _IMAGES)
        check.one_of("trailers", self.trailers, ("accept", "strip", "refuse"))
        check.integer("quality", self.quality, minimum=1, maximum=100)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.formats)

    @property
    def budget(self) -> DecodeBudget:
        """The seconds and the memory that the largest accepted picture may cost."""
        return self.budget_of(self.max_width, self.max_height, self.limits.max_total_pixels)

    def budget_of(self, width: int, height: int, total_pixels: int, kind: str = "") -> DecodeBudget:
        """Return the budget of one picture.

        Args:
            width: pixels.
            height: pixels.
            total_pixels: of all frames.
            kind: the format.
        """
        return DecodeBudget.of(width, height, total_pixels, kind)

    @property
    def limits(self) -> ImageLimits:
        """The limits that the walkers enforce."""
        return ImageLimits(
            max_width=self.max_width,
            max_height=self.max_height,
            max_frames=self.max_frames,
            max_total_pixels=max(self.max_total_pixels, self.max_width * self.max_height),
            max_scans=self.max_scans,
            max_metadata_bytes=self.max_metadata_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfPolicy(Rules):
    """PDF without scripts, launch actions, links that open by themselves, embedded files, XFA forms, or encryption.

    Args:
        max_bytes: size of the upload.
        require_extension: a given name must end in ``.pdf``.
        match_declared_type: refuse a declared media type that names another known type.
        max_unpacked_bytes: unpacked size of all streams together.
        max_objects: objects of the document.
    """

    max_bytes: int = 20 * MIB
    max_unpacked_bytes: int = 200 * MIB
    max_objects: int = 100_000

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(("pdf",))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPolicy(Rules):
    """Plain text and CSV.

    Args:
        max_bytes: size of the upload.
        require_extension: a given name must end in an extension of text or CSV.
        match_declared_type: refuse a declared media type that names another known type.
        max_line_bytes: length of one line.
        max_lines: lines of the file.
        formats: ``text``, ``csv`` or both.
        formulas: accept CSV cells that a spreadsheet would execute. For files that no spreadsheet opens.
    """

    max_bytes: int = 5 * MIB
    max_line_bytes: int = MIB
    max_lines: int = 1_000_000
    formats: frozenset[str] = field(default_factory=lambda: frozenset(("text", "csv")))
    formulas: bool = False

    def _check(self, check: Arguments) -> None:
        _formats(check, self.formats, frozenset(("text", "csv")))

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.formats)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficePolicy(Rules):
    """Documents that are ZIP archives, without macros, embedded objects or links that load by themselves.

    Args:
        max_bytes: size of the upload.
        require_extension: a given name must end in an extension of the document's own type.
        match_declared_type: refuse a declared media type that names another known type.
        max_unpacked_bytes: unpacked size of all parts together, checked before anything is unpacked.
        max_entries: parts of the archive.
        max_ratio: unpacked size divided by packed size.
        formats: any of docx, xlsx, pptx, odt, ods, odp.
    """

    max_bytes: int = 20 * MIB
    max_unpacked_bytes: int = 200 * MIB
    max_entries: int = 5_000
    max_ratio: int = 200
    formats: frozenset[str] = field(default_factory=lambda: _OFFICE)

    def _check(self, check: Arguments) -> None:
        _formats(check, self.formats, _OFFICE)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.formats)


class AnyOf:
    """Several policies in one: the content of a file decides which of them applies.

    Args:
        *policies: policies whose formats do not overlap.
    """

    __slots__ = ("policies",)

    def __init__(self, *policies: ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy) -> None:
        check = Arguments("AnyOf")
        check.that(bool(policies), "at least one policy is needed")
        seen = set[str]()
        for policy in policies:
            twice = sorted(seen & policy.kinds)
            check.that(not twice, f"{', '.join(twice)} allowed by two policies")
            seen |= policy.kinds
        check.done()
        self.policies: tuple[ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy, ...] = policies

    def __repr__(self) -> str:
        return f"AnyOf({', '.join(map(repr, self.policies))})"


SinglePolicy: TypeAlias = ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy
Policy: TypeAlias = ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy | AnyOf
assert frozenset(KINDS) >= _IMAGES | _OFFICE
