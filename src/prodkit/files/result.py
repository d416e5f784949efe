"""Result of an accepted upload."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CleanFile"]


@dataclass(frozen=True, slots=True)
class CleanFile:
    """An accepted file. Every field comes from the content, none from the client, except the cleaned `filename`.

    Args:
        content: the bytes to store.
        media_type: of the content, such as ``"image/jpeg"``.
        extension: of the content, without a dot.
        filename: safe to store and to show. Two uploads of one name carry the same one: store under the `sha256` or an
            id of your own.
        sha256: of `content`, in hexadecimal.
        width: pixels; 0 for documents.
        height: pixels; 0 for documents.
        frames: pictures of an animation, 1 for a still picture, 0 for documents.
        trailer: known data after the picture that was kept ("pictures", "video", "samsung"), "" for none.
        sanitised: the picture was re-encoded.
    """

    content: bytes = field(repr=False)
    media_type: str
    extension: str
    filename: str
    sha256: str
    width: int = 0
    height: int = 0
    frames: int = 0
    trailer: str = ""
    sanitised: bool = False

    @property
    def size(self) -> int:
        """The length of `content` in bytes."""
        return len(self.content)
