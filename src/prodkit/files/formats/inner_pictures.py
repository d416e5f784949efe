"""Pictures inside documents: walked like uploads, with room for the damage that honest documents contain.

A damaged picture in a document shows as a red cross and does no harm, so `malformed` and `truncated` pass; what hides a
program, or what makes a decoder work without end, does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prodkit.files.formats.active import find_active, refuse_active
from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError
from prodkit.files.formats.gif import walk_gif
from prodkit.files.formats.jpeg import walk_jpeg
from prodkit.files.formats.png import walk_png
from prodkit.files.formats.webp import walk_webp
from prodkit.files.sniff import disguise, sniff

__all__ = ["check_picture"]

_WALKERS: Final[dict[str, Callable[[bytes, ImageLimits], ImageFacts]]] = {
    "jpeg": walk_jpeg,
    "png": walk_png,
    "gif": walk_gif,
    "webp": walk_webp,
}
_LIMITS: Final = ImageLimits(
    max_width=20_000,
    max_height=20_000,
    max_frames=2_000,
    max_total_pixels=400_000_000,
    max_metadata_bytes=16 * 2**20,
    repair=True,
)
_DAMAGE: Final = frozenset(("malformed", "truncated", "unsupported", "too_many_scans"))
_EXTENSIONS: Final = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".gif",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".emf",
    ".wmf",
)


def check_picture(name: str, content: bytes) -> bool:
    """Check one part of a document; return False when it is no picture.

    Args:
        name: of the part, in lower case.
        content: of the part.
    """
    kind = sniff(content[:256])
    walk = _WALKERS.get(kind)
    if walk is not None:
        _walk(walk, content)
        return True
    if not name.endswith(_EXTENSIONS) or not content:
        return False
    what = disguise(content[:512])
    if any(
        word in what for word in ("program", "script", "page", "archive", "PostScript", "document", "SVG")
    ):
        raise RefusedError("active_content", f"{what} under the name of a picture")
    found = find_active(content)
    if found:
        raise RefusedError("active_content", found)
    return True


def _walk(walk: Callable[[bytes, ImageLimits], ImageFacts], content: bytes) -> None:
    try:
        facts = walk(content, _LIMITS)
    except RefusedError as why:
        if why.code not in _DAMAGE:
            raise
        refuse_active(content, (), ())
    else:
        refuse_active(content, facts.metadata, facts.inflated)
