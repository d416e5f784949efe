"""Decide at construction which decoders this machine has, without loading them where that can be avoided."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from typing import Final

from prodkit.errors import DISTRIBUTION, MissingExtraError

__all__ = ["OLDEST_PILLOW", "has_pikepdf", "require_decoders", "too_old"]

OLDEST_PILLOW: Final = 13
"""Pillow 12 and older have known holes in the JPEG and MPO decoders (CVE-2026-96636, -96639, -96643, -96778)."""


def too_old(version: str) -> MissingExtraError:
    """Return the error for a Pillow with known security holes."""
    return MissingExtraError(
        f"Pillow {version} has known security holes, {OLDEST_PILLOW} or newer is needed: "
        f"run `pip install '{DISTRIBUTION}[files]'`",
        extra="files",
        package="pillow",
    )


def require_decoders(formats: Iterable[str]) -> None:
    """Raise :class:`~prodkit.MissingExtraError` unless every format can be decoded here.

    Args:
        formats: of an image policy.
    """
    version = _pillow()
    if version is None:
        raise MissingExtraError.named("pillow", "files")
    if int(version.partition(".")[0]) < OLDEST_PILLOW:
        raise too_old(version)
    wanted = frozenset(formats)
    if "heic" in wanted and importlib.util.find_spec("pillow_heif") is None:
        raise MissingExtraError.named("pillow-heif", "heic")
    if "avif" in wanted and not _has_avif():
        raise MissingExtraError(
            "this Pillow was built without AVIF: install the wheel of Pillow from the package index with "
            f"`pip install --force-reinstall '{DISTRIBUTION}[files]'`",
            extra="files",
            package="pillow",
        )


def has_pikepdf() -> bool:
    """Return True when damaged PDFs can be written again here."""
    return importlib.util.find_spec("pikepdf") is not None


def _pillow() -> str | None:
    if importlib.util.find_spec("PIL") is None:
        return None
    return _version()


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("pillow")
    except importlib.metadata.PackageNotFoundError:  # vendored without metadata: the worker looks again
        return str(OLDEST_PILLOW)


def _has_avif() -> bool:
    from PIL import features

    return bool(features.check("avif"))
