"""What an upload may be. A policy is a frozen value: make it once, share it, print it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final, Literal, TypeAlias

from prodkit.files.formats.base import ImageLimits
from prodkit.files.sniff import KINDS

__all__ = ["AnyOf", "ImagePolicy", "OfficePolicy", "PdfPolicy", "Policy", "Rules", "TextPolicy"]

MIB: Final = 2**20
_IMAGES: Final = frozenset(("jpeg", "png", "webp", "gif", "avif", "heic"))
_OFFICE: Final = frozenset(("docx", "xlsx", "pptx", "odt", "ods", "odp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What all policies share.

    `require_extension`: a name that was given must end in an extension of the file's own type. A name that
    was not given (None), and "blob", which browsers send for a canvas, are not held against anyone.
    `match_declared_type`: a declared media type that names *another* known type is refused. An empty,
    unknown or generic one says nothing and changes nothing.
    """

    max_bytes: int = 5 * MIB
    require_extension: bool = True
    match_declared_type: bool = True

    def __post_init__(self) -> None:
        problems = [
            f"{each.name} must be positive, got {value!r}"
            for each in fields(self)
            if each.name.startswith("max_") and (value := getattr(self, each.name)) < 1
        ]
        problems += self._problems()
        if problems:
            raise ValueError(f"{type(self).__name__}: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        return []

    @property
    def kinds(self) -> frozenset[str]:
        """The names of the kinds that this policy allows."""
        raise NotImplementedError


def _unknown(formats: frozenset[str], known: frozenset[str]) -> list[str]:
    if not formats:
        return ["formats must name at least one format"]
    return [f"formats: {name!r} is none of {', '.join(sorted(known))}" for name in sorted(formats - known)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePolicy(Rules):
    """Pictures. The defaults are those of an avatar: 5 MiB, 2048x2048, jpeg, png, webp and gif.

    `max_total_pixels` bounds width x height x frames, `max_scans` the passes of a progressive JPEG (usual
    are 10, each costs a decoder as much as the whole picture). `trailers` says what to do with what phones
    append: "accept" keeps it, "strip" cuts it off, "refuse" refuses it. ``avif`` and ``heic`` are opt-in.
    """

    max_width: int = 2048
    max_height: int = 2048
    max_frames: int = 500
    max_total_pixels: int = 64_000_000
    max_scans: int = 64
    max_metadata_bytes: int = 4 * MIB
    formats: frozenset[str] = field(default_factory=lambda: frozenset(("jpeg", "png", "webp", "gif")))
    trailers: Literal["accept", "strip", "refuse"] = "accept"
    quality: int = 90

    def _problems(self) -> list[str]:
        problems = _unknown(frozenset(self.formats), _IMAGES)
        if self.trailers not in ("accept", "strip", "refuse"):
            problems.append(f"trailers is accept, strip or refuse, got {self.trailers!r}")
        if not 1 <= self.quality <= 100:
            problems.append(f"quality is 1 to 100, got {self.quality!r}")
        return problems

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.formats)

    @property
    def limits(self) -> ImageLimits:
        """The part of this policy that the walkers know."""
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
    """PDF without scripts, launch actions, embedded files, forms of the XFA kind, or encryption."""

    max_bytes: int = 20 * MIB
    max_unpacked_bytes: int = 200 * MIB
    max_objects: int = 100_000

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(("pdf",))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPolicy(Rules):
    """Plain text and CSV. `formulas` accepts cells that a spreadsheet would execute."""

    max_bytes: int = 5 * MIB
    max_line_bytes: int = MIB
    max_lines: int = 1_000_000
    formats: frozenset[str] = field(default_factory=lambda: frozenset(("text", "csv")))
    formulas: bool = False

    def _problems(self) -> list[str]:
        return _unknown(frozenset(self.formats), frozenset(("text", "csv")))

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.formats)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficePolicy(Rules):
    """Documents that are ZIP archives, without macros, embedded objects or links that load by themselves."""

    max_bytes: int = 20 * MIB
    max_unpacked_bytes: int = 200 * MIB
    max_entries: int = 5_000
    max_ratio: int = 200
    formats: frozenset[str] = field(default_factory=lambda: _OFFICE)

    def _problems(self) -> list[str]:
        return _unknown(frozenset(self.formats), _OFFICE)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.formats)


class AnyOf:
    """Several policies in one: the file's content decides which of them it has to keep."""

    __slots__ = ("policies",)

    def __init__(self, *policies: ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy) -> None:
        if not policies:
            raise ValueError("AnyOf needs at least one policy")
        seen = set[str]()
        for policy in policies:
            if twice := seen & policy.kinds:
                raise ValueError(f"AnyOf: {', '.join(sorted(twice))} allowed by two policies")
            seen |= policy.kinds
        self.policies = policies

    def __repr__(self) -> str:
        return f"AnyOf({', '.join(map(repr, self.policies))})"


Policy: TypeAlias = ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy | AnyOf
assert frozenset(KINDS) >= _IMAGES | _OFFICE
