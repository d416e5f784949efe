"""Check every file of some folders with both settings of ``on_damage``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prodkit.core.runtime import Runtime
from prodkit.errors import InvalidFileError
from prodkit.files import (
    AnyOf,
    CleanFile,
    FileRejected,
    ImagePolicy,
    OfficePolicy,
    PdfPolicy,
    TextPolicy,
    Validator,
)

__all__ = ["Score", "score"]

_KINDS = {
    "picture": ("jpg", "jpeg", "jpe", "png", "apng", "gif", "webp", "avif", "heic", "heif"),
    "pdf": ("pdf",),
    "office": ("docx", "xlsx", "pptx", "odt", "ods", "odp"),
    "text": ("txt", "csv"),
}
_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class Score:
    """The verdicts on one file.

    Args:
        path: of the file.
        kind: picture, pdf, office or text, by the extension.
        refuse: codes with ``on_damage="refuse"``, "" for an accepted file.
        rewrite: codes with ``on_damage="rewrite"``.
        repairs: what "rewrite" removed or changed.
        detail: the reason in the words of the format.
        seconds: of the slower check.
    """

    path: str
    kind: str
    refuse: str
    rewrite: str
    repairs: tuple[str, ...]
    detail: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the score for JSON."""
        return asdict(self)


async def score(
    folders: Iterable[Path], *, max_side: int = 12_000, max_bytes: int = 50 * 2**20
) -> list[Score]:
    """Return the score of every file with a known extension below `folders`.

    Args:
        folders: searched with their subfolders.
        max_side: pixels of the longer side of a picture.
        max_bytes: size of a file.
    """
    details = dict[str, str]()
    runtime = Runtime()
    current = asyncio.Semaphore(_IN_FLIGHT)
    policy = _policy(max_side, max_bytes)
    strict = Validator(policy, runtime=runtime)
    repairing = Validator(policy, on_damage="rewrite")
    latest = list[str]()
    runtime.events.subscribe(lambda event: latest.append(event.detail), FileRejected)

    async def one(path: Path, kind: str) -> Score:
        async with current:
            data = await asyncio.to_thread(path.read_bytes)
            began = time.perf_counter()
            refuse, _ = await _verdict(strict, path, data)
            if refuse and latest:
                details[str(path)] = latest[-1]
            middle = time.perf_counter()
            rewrite, clean = await _verdict(repairing, path, data)
            seconds = max(middle - began, time.perf_counter() - middle)
            repairs = () if clean is None else tuple(each.code for each in clean.repairs)
            return Score(str(path), kind, refuse, rewrite, repairs, details.get(str(path), ""), seconds)

    try:
        return list(await asyncio.gather(*(one(path, kind) for path, kind in _files(folders))))
    finally:
        await strict.aclose()


def _files(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    kinds = {extension: kind for kind, extensions in _KINDS.items() for extension in extensions}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            kind = kinds.get(path.suffix.lower().lstrip("."))
            if kind and path.is_file():
                yield path, kind


def _policy(max_side: int, max_bytes: int) -> AnyOf:
    formats = {"jpeg", "png", "gif", "webp"}
    from prodkit.errors import MissingExtraError
    from prodkit.files.decoding.codecs import require_decoders

    for optional in ("avif", "heic"):
        try:
            require_decoders((optional,))
        except MissingExtraError:
            continue
        formats.add(optional)
    pictures = ImagePolicy(
        max_bytes=max_bytes,
        max_width=max_side,
        max_height=max_side,
        formats=frozenset(formats),
        require_extension=False,
    )
    return AnyOf(
        pictures,
        PdfPolicy(max_bytes=max_bytes),
        OfficePolicy(max_bytes=max_bytes, require_extension=False),
        TextPolicy(max_bytes=max_bytes),
    )


async def _verdict(validator: Validator, path: Path, data: bytes) -> tuple[str, CleanFile | None]:
    try:
        clean = await validator.check(data, filename=f"file{path.suffix}", declared_type=None)
    except InvalidFileError as error:
        return ", ".join(each.code for each in error.problems), None
    return "", clean
