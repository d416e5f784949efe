"""One upload on its way to a verdict: read, walk, compare with the client's claims, decode, scan, report."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from prodkit.core.runtime import Runtime
from prodkit.errors import FileProblem, InvalidFileError
from prodkit.files import media_types, names, reader, sniff
from prodkit.files.decoding.sandbox import Sandbox, UndecodableError
from prodkit.files.events import FileAccepted, FileRejected
from prodkit.files.formats.base import ImageFacts, RefusedError
from prodkit.files.messages import Language, mebibytes, problem
from prodkit.files.policies import ImagePolicy, SinglePolicy
from prodkit.files.result import CleanFile
from prodkit.files.structure import Found, inspect, reinspect

__all__ = ["Inspection", "Quarantine", "Scanner", "Tools"]

Scanner: TypeAlias = Callable[[bytes], Awaitable[str]]
"""Malware scanner: returns the name of the malware, or "". When it raises, nothing is accepted."""

Quarantine: TypeAlias = Callable[[bytes, str, tuple[FileProblem, ...]], Awaitable[None]]
"""Receives a refused file: its bytes, their sha256, the problems."""

Identify: TypeAlias = Callable[[bytes], str]
"""Names the type of a file, for the event of a refusal."""

_NAMELESS: Final = frozenset(("unknown_type", "type_not_allowed"))
_ANONYMOUS: Final = "blob"  # what browsers call a Blob that a page gave no name


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The parts of a validator that each inspection uses."""

    policies: tuple[SinglePolicy, ...]
    sandbox: Sandbox
    scanner: Scanner | None
    quarantine: Quarantine | None
    identify: Identify | None
    runtime: Runtime

    @property
    def max_bytes(self) -> int:
        """The largest size that any policy accepts."""
        return max(each.max_bytes for each in self.policies)


class Inspection:
    """The state of one check; :meth:`run` returns the clean file or raises with every problem."""

    def __init__(
        self,
        tools: Tools,
        filename: str | None,
        declared: str | None,
        sanitise: bool,
        language: Language,
    ) -> None:
        self.tools = tools
        self.filename = filename
        self.declared = declared
        self.sanitise = sanitise
        self.language: Language = language
        self.began = tools.runtime.clock.monotonic()
        self.problems: list[FileProblem] = []
        self.detail = ""
        self.digest = ""

    async def run(self, source: reader.Source) -> CleanFile:
        tools = self.tools
        try:
            data = await reader.read(source, tools.max_bytes)
        except reader.TooLargeError:
            self.say("too_large", limit=mebibytes(tools.max_bytes))
            await self.refuse(None)
        found = await self._look(data)
        if found is None or self.problems:
            await self.refuse(data)
        content, size = await self._decode(found, data)
        if self.problems:
            await self.refuse(data)
        if tools.scanner is not None and (name := await tools.scanner(data)):
            self.say("malware", detail=name)
            await self.refuse(data)
        if content is not data:
            self.digest = await tools.sandbox.in_thread(_sha256, content)
        kind = sniff.KINDS[found.kind]
        events = tools.runtime.events
        clean = CleanFile(
            content=content,
            media_type=kind.media_type,
            extension=kind.extensions[0],
            filename=_name(self.filename, kind),
            sha256=self.digest,
            width=size["width"],
            height=size["height"],
            frames=size["frames"],
            trailer="" if content is not data else found.trailer,
            sanitised=self.sanitise and isinstance(found.policy, ImagePolicy),
        )
        if events.listened(FileAccepted):
            events.emit(
                FileAccepted(
                    kind=kind.name, size=len(data), duration=self._elapsed(), sanitised=clean.sanitised
                )
            )
        return clean

    async def _look(self, data: bytes) -> Found | None:
        """Decide everything that can be decided before a decoder runs."""
        tools = self.tools
        if not data:
            self.say("empty")
            self._names(None)
            return None
        found: Found | None = None
        try:
            self.digest, found = await tools.sandbox.in_thread(_look, data, tools.policies, self.filename)
        except _RefusedWithDigest as refused:
            self.digest = refused.digest
            detail = refused.why.detail
            if tools.identify is not None and refused.why.code in _NAMELESS:
                detail = f"{detail}, {await tools.sandbox.in_thread(tools.identify, data)}"
            self.say(refused.why.code, detail=detail, **refused.why.facts)
        self._names(found)
        return found

    def _names(self, found: Found | None) -> None:
        """Compare the client's claims with the content; they can only make a file worse."""
        policy = found.policy if found else self.tools.policies[0]
        kind = sniff.KINDS[found.kind] if found else None
        if self.filename is not None:
            self._filename(self.filename, policy, kind)
        if kind and self.declared and policy.match_declared_type:
            claimed = sniff.kind_of_media_type(self.declared)
            another = (
                media_types.names_another(self.declared)
                if claimed is None
                else claimed.name != "text" and not _same(claimed, kind)
            )
            if another:
                self.say("declared_type_mismatch", kind=kind.name)

    def _filename(self, filename: str, policy: SinglePolicy, kind: sniff.Kind | None) -> None:
        if names.suspicious(filename):
            self.say("name_unsafe")
        if names.dangerous_inner_extension(filename):
            self.say("extension_dangerous")
        if not policy.require_extension or filename == _ANONYMOUS:
            return
        extension = names.extension_of(filename)
        promised = sniff.kind_of_extension(extension)
        if not extension:
            self.say("extension_missing")
        elif promised is None:
            self.say("extension_not_allowed")
        elif kind is not None and not _same(promised, kind):
            self.say("extension_mismatch", kind=kind.name)

    async def _decode(self, found: Found, data: bytes) -> tuple[bytes, dict[str, int]]:
        policy, facts = found.policy, found.image
        if not isinstance(policy, ImagePolicy) or facts is None:
            return data, {"width": 0, "height": 0, "frames": 0}
        own = data if facts.end == len(data) else data[: facts.end]
        try:
            size, rewritten = await self.tools.sandbox.decode(
                found.kind,
                own,
                frames=facts.frames,
                poster=facts.poster,
                sanitise=self.sanitise,
                quality=policy.quality,
            )
        except UndecodableError as error:
            self.say(error.code, detail=str(error))
            return data, {}
        if not self.sanitise and not _agree(size, facts):
            self.say("malformed", detail="decoder and container disagree on the size")
        if self.sanitise:
            # Written by a process that decoded hostile bytes: inspected like any other upload.
            try:
                again = await self.tools.sandbox.in_thread(reinspect, found.kind, rewritten, policy)
            except RefusedError as why:
                self.say(why.code, detail=f"re-encoded: {why.detail}", **why.facts)
                return data, {}
            return rewritten, {"width": again.width, "height": again.height, "frames": again.frames}
        return (own if policy.trailers == "strip" else data), size

    def say(self, code: str, *, detail: str = "", **facts: object) -> None:
        self.problems.append(problem(code, self.language, **facts))
        self.detail = self.detail or detail

    async def refuse(self, data: bytes | None) -> NoReturn:
        tools, problems = self.tools, tuple(self.problems)
        events = tools.runtime.events
        if events.listened(FileRejected):
            codes = tuple(each.code for each in problems)
            size = len(data) if data else 0
            events.emit(FileRejected(codes=codes, detail=self.detail, size=size, duration=self._elapsed()))
        if data and tools.quarantine is not None:
            await tools.quarantine(data, self.digest, problems)
        raise InvalidFileError(" ".join(each.message for each in problems), problems=problems)

    def _elapsed(self) -> float:
        return self.tools.runtime.clock.monotonic() - self.began


class _RefusedWithDigest(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, digest: str, why: RefusedError) -> None:
        super().__init__(digest, why)
        self.digest = digest
        self.why = why


def _look(data: bytes, policies: tuple[SinglePolicy, ...], filename: str | None) -> tuple[str, Found]:
    digest = _sha256(data)
    try:
        return digest, inspect(data, policies, names.extension_of(filename or ""))
    except RefusedError as why:
        raise _RefusedWithDigest(digest, why) from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_TEXTS: Final = frozenset(("text", "csv"))


def _agree(size: dict[str, int], facts: ImageFacts) -> bool:
    """Return True when the decoder saw the picture that the walk saw.

    AVIF and HEIC boxes may crop or turn a picture, and decoders may clip GIF frames that stick out of their screen:
    these may be smaller than the walk found, never larger.
    """
    if facts.kind in ("avif", "heic", "gif"):
        return max(size["width"], size["height"]) <= max(facts.width, facts.height)
    return (size["width"], size["height"]) == (facts.width, facts.height)


def _same(promised: sniff.Kind, kind: sniff.Kind) -> bool:
    return promised is kind or {promised.name, kind.name} == _TEXTS


def _name(filename: str | None, kind: sniff.Kind) -> str:
    """Return a safe name whose only extension is that of the content."""
    safe = names.safe_filename(filename or "file")
    if sniff.kind_of_extension(names.extension_of(safe)) is not kind:
        safe = names.safe_filename(f"{safe}.{kind.extensions[0]}")
    return safe
