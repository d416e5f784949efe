"""From bytes to a verdict, before any decoder: sniff, walk, trailer, active content. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from prodkit.files.messages import mebibytes
from prodkit.files.policies import ImagePolicy, OfficePolicy, PdfPolicy, TextPolicy
from prodkit.files.sniff import disguise, sniff
from prodkit.files.walk.active import refuse_active
from prodkit.files.walk.base import ImageFacts, ImageLimits, RefusedError
from prodkit.files.walk.gif import walk_gif
from prodkit.files.walk.jpeg import walk_jpeg
from prodkit.files.walk.png import walk_png
from prodkit.files.walk.trailer import check_trailer
from prodkit.files.walk.webp import walk_webp

__all__ = ["Found", "inspect"]

SinglePolicy: TypeAlias = ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy
_IMAGE_WALKERS: Final[dict[str, Callable[[bytes, ImageLimits], ImageFacts]]] = {
    "jpeg": walk_jpeg,
    "png": walk_png,
    "gif": walk_gif,
    "webp": walk_webp,
}


@dataclass(frozen=True, slots=True)
class Found:
    """What the file is, and which policy it has to keep."""

    kind: str
    policy: SinglePolicy
    image: ImageFacts | None = None
    trailer: str = ""


def inspect(data: bytes, policies: tuple[SinglePolicy, ...], extension: str = "") -> Found:
    """What `data` is; raises :class:`RefusedError` where no policy of `policies` takes it."""
    kind = sniff(data[:256])
    policy = next((each for each in policies if kind in each.kinds), None)
    if policy is None:
        raise _not_ours(kind, data)
    if len(data) > policy.max_bytes:
        raise RefusedError("too_large", limit=mebibytes(policy.max_bytes))
    assert isinstance(policy, ImagePolicy)
    return _image(kind, data, policy)


def _not_ours(kind: str, data: bytes) -> RefusedError:
    if kind and kind != "zip":
        return RefusedError("type_not_allowed", kind, kind=kind)
    what = disguise(data[:512])
    return RefusedError("unknown_type", what or "unknown", what="")


def _image(kind: str, data: bytes, policy: ImagePolicy) -> Found:
    limits = policy.limits
    facts = _IMAGE_WALKERS[kind](data, limits)
    trailer = check_trailer(data, facts, limits)
    if trailer not in ("", "padding") and policy.trailers == "refuse":
        raise RefusedError("trailing_data", trailer)
    refuse_active(data, facts.metadata, facts.inflated)
    return Found(kind, policy, facts, trailer)
