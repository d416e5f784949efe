"""The file that passed."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CleanFile"]


@dataclass(frozen=True, slots=True)
class CleanFile:
    """A file that keeps its policy. Everything in it comes from the content, nothing from the client.

    `filename` is safe to store and to show; two uploads of one name carry the same, so store under the
    `sha256` or an id of your own. `extension` has no dot. `width`, `height` and `frames` are 0 where the
    file is no picture. `trailer` names what a phone appended ("pictures", "video", "samsung"), "" when there
    is nothing.
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
        """How many bytes `content` has."""
        return len(self.content)
