"""Result of an accepted upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

__all__ = ["CleanFile", "Repair"]


class Repair(str):
    """One thing that was removed or changed: equal to its code, with a text for people.

    Args:
        code: stable, such as ``"tail"``; the string itself.
        message: for the person who sent the file.
    """

    __slots__ = ("message",)
    message: str

    def __new__(cls, code: str, message: str = "") -> Self:
        repair = super().__new__(cls, code)
        repair.message = message
        return repair

    def __reduce__(self) -> tuple[type[Repair], tuple[str, str]]:
        return Repair, (str(self), self.message)

    @property
    def code(self) -> str:
        """The stable code, as a plain string."""
        return str(self)


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
        repairs: what was removed or changed to make the file acceptable, () for an upload that was kept as it is:
            ``tail``, ``foreign_chunk``, ``foreign_bytes``, ``comment``, ``bad_crc``, ``missing_end``, ``structure``,
            ``ampf``, ``orientation``, ``name``.
        notes: facts that an accepted document reports: ``signed``, ``updated`` (saved incrementally), ``form``.
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
    repairs: tuple[Repair, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The length of `content` in bytes."""
        return len(self.content)
