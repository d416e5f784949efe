"""One upload on its way to a verdict: read, walk, compare with the client's claims, decode, scan, report."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Final, NoReturn

from prodkit.errors import FileProblem, InvalidFileError
from prodkit.files import media_types, names, reader, sniff
from prodkit.files.decoding.sandbox import Decoded, UndecodableError
from prodkit.files.events import FileAccepted, FileRejected
from prodkit.files.formats.base import ImageFacts, RefusedError
from prodkit.files.messages import mebibytes, problem, repair
from prodkit.files.policies import ImagePolicy, OfficePolicy, PdfPolicy, SinglePolicy
from prodkit.files.request import Claims, Progress, Stage, Tools
from prodkit.files.result import CleanFile
from prodkit.files.structure import Found, inspect, reinspect, walk_document

__all__ = ["Inspection"]

# HEIC is shown by few programs: re-encoding writes what all of them show.
_REWRITTEN_AS: Final = {"heic": ("jpeg", "png")}
_NAMELESS: Final = frozenset(("unknown_type", "type_not_allowed"))
_ANONYMOUS: Final = "blob"  # what browsers call a Blob that a page gave no name


@dataclass(frozen=True, slots=True)
class _Result:
    """The content that is returned, and the picture in it."""

    content: bytes
    kind: str
    width: int = 0
    height: int = 0
    frames: int = 0
    sanitised: bool = False
    repairs: tuple[str, ...] = ()
    digest: str = ""  # of the content, where it is known already


class Inspection:
    """The state of one check; :meth:`run` returns the clean file or raises with every problem."""

    def __init__(self, tools: Tools, claims: Claims) -> None:
        self.tools = tools
        self.claims = claims
        self.began: float = tools.runtime.clock.monotonic()
        self.problems: list[FileProblem] = []
        self.detail: str = ""
        self.digest: str = ""
        self.received: int = 0

    async def run(self, source: reader.Source) -> CleanFile:
        tools = self.tools
        try:
            data = await reader.read(source, tools.max_bytes, self._received)
        except reader.TooLargeError:
            self.say("too_large", limit=mebibytes(tools.max_bytes))
            await self.refuse(None)
        found = await self._look(data)
        if found is None or self.problems:
            await self.refuse(data)
        result = await self._decode(found, data)
        if result is None or self.problems:
            await self.refuse(data)
        if tools.scanner is not None:
            self._stage("scanning")
            name = await tools.scanner(data)
            if name:
                self.say("malware", detail=name)
                await self.refuse(data)
        self.digest = result.digest or await tools.sandbox.in_thread(
            _sha256, result.content, key=self.claims.key
        )
        return self._clean(found, result, data)

    def _clean(self, found: Found, result: _Result, data: bytes) -> CleanFile:
        kind = sniff.KINDS[result.kind]
        filename = _name(self.claims.filename, kind)
        renamed = ("name",) if names.cleaned(self.claims.filename, filename) else ()
        clean = CleanFile(
            content=result.content,
            media_type=kind.media_type,
            extension=kind.extensions[0],
            filename=filename,
            sha256=self.digest,
            width=result.width,
            height=result.height,
            frames=result.frames,
            trailer=found.trailer if result.content is data else "",
            sanitised=result.sanitised,
            repairs=tuple(repair(each, self.claims.language) for each in (*result.repairs, *renamed)),
            notes=found.notes,
        )
        events = self.tools.runtime.events
        if events.listened(FileAccepted):
            events.emit(
                FileAccepted(
                    kind=found.kind,
                    size=len(data),
                    duration=self._elapsed(),
                    sanitised=clean.sanitised,
                    repairs=tuple(each.code for each in clean.repairs),
                )
            )
        return clean

    async def _look(self, data: bytes) -> Found | None:
        """Decide everything that can be decided before a decoder runs."""
        tools, claims = self.tools, self.claims
        self._stage("checking")
        if not data:
            self.say("empty")
            self._compare(None)
            return None
        found: Found | None = None
        try:
            found = await tools.sandbox.in_thread(
                _look, data, tools, claims.filename, claims.sanitise, key=claims.key
            )
        except RefusedError as why:
            detail = why.detail
            if tools.identify is not None and why.code in _NAMELESS:
                detail = f"{detail}, {await tools.sandbox.in_thread(tools.identify, data, key=claims.key)}"
            self.say(why.code, detail=detail, **why.facts)
        self._compare(found)
        return found

    def _compare(self, found: Found | None) -> None:
        """Compare the client's claims with the content; they can only make a file worse."""
        policy = found.policy if found else self.tools.policies[0]
        kind = sniff.KINDS[found.kind] if found else None
        filename, declared = self.claims.filename, self.claims.declared_type
        if filename is not None:
            self._filename(filename, policy, kind)
        if kind and declared and policy.match_declared_type:
            claimed = sniff.kind_of_media_type(declared)
            another = (
                media_types.names_another(declared, archive=isinstance(policy, OfficePolicy))
                if claimed is None
                else claimed.name != "text" and not _same(claimed, kind)
            )
            if another:
                self.say("declared_type_mismatch", kind=kind.name)

    def _filename(self, filename: str, policy: SinglePolicy, kind: sniff.Kind | None) -> None:
        if names.suspicious(filename):
            self.say("name_unsafe")
        if names.executed_inner_extension(filename):
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

    async def _decode(self, found: Found, data: bytes) -> _Result | None:
        policy, facts = found.policy, found.image
        if isinstance(policy, PdfPolicy) and found.content is not None:
            return await self._repaired(found, policy, found.content)
        if not isinstance(policy, ImagePolicy) or facts is None:
            return _Result(data, found.kind)
        sanitise = self.claims.sanitise or (bool(facts.repairs) and self.tools.rewrite)
        own = data if facts.end == len(data) else data[: facts.end]
        budget = policy.budget_of(
            facts.width, facts.height, facts.width * facts.height * facts.frames, found.kind
        )
        self._stage("decoding")
        try:
            decoded = await self.tools.sandbox.decode(
                found.kind,
                facts.rebuilt or own,
                frames=facts.frames,
                poster=facts.poster,
                sanitise=sanitise,
                quality=policy.quality,
                seconds=budget.rewrite_seconds if sanitise else budget.seconds,
                memory_bytes=policy.budget.memory_bytes,
                key=self.claims.key,
            )
        except UndecodableError as error:
            self.say(error.code, detail=str(error))
            return None
        if sanitise:
            return await self._rewritten(found, facts, policy, decoded)
        if not _agree(decoded, facts):
            self.say("malformed", detail="decoder and container disagree on the size")
            return None
        cut = own is not data and (policy.trailers == "strip" or "tail" in facts.repairs)
        content = own if cut else data
        return _Result(
            content,
            found.kind,
            decoded.width,
            decoded.height,
            decoded.frames,
            repairs=("tail",) if cut and found.trailer != "padding" else (),
            digest=decoded.digest if content is own and facts.rebuilt is None else "",
        )

    async def _repaired(self, found: Found, policy: PdfPolicy, content: bytes) -> _Result | None:
        """Write a document again where its structure is damaged, and check what was written."""
        if found.rebuild:
            self._stage("decoding")
            try:
                content = await self.tools.sandbox.rewrite_pdf(content, key=self.claims.key)
                await self.tools.sandbox.in_thread(walk_document, content, policy, key=self.claims.key)
            except UndecodableError as error:
                self.say("malformed", detail=str(error))
                return None
            except RefusedError as why:
                self.say(why.code, detail=f"written again: {why.detail}", **why.facts)
                return None
        return _Result(content, found.kind, repairs=found.repairs)

    async def _rewritten(
        self, found: Found, facts: ImageFacts, policy: ImagePolicy, decoded: Decoded
    ) -> _Result | None:
        """Check what a process that decoded hostile bytes wrote, like any other upload; list what is gone."""
        kind = decoded.kind if decoded.kind in _REWRITTEN_AS.get(found.kind, ()) else found.kind
        try:
            again, digest = await self.tools.sandbox.in_thread(
                _look_again, kind, decoded.content, policy, key=self.claims.key
            )
        except RefusedError as why:
            self.say(why.code, detail=f"re-encoded: {why.detail}", **why.facts)
            return None
        gone = list(facts.repairs)
        if found.trailer not in ("", "padding"):
            gone.append("tail")
        if facts.ampf:
            gone.append("ampf")
        if decoded.turned:
            gone.append("orientation")
        return _Result(
            decoded.content,
            kind,
            again.width,
            again.height,
            again.frames,
            True,
            tuple(dict.fromkeys(gone)),
            digest,
        )

    def say(self, code: str, *, detail: str = "", **facts: object) -> None:
        """Note a problem; the detail of the first one goes into the event."""
        self.problems.append(problem(code, self.claims.language, **facts))
        self.detail = self.detail or detail

    async def refuse(self, data: bytes | None) -> NoReturn:
        """Emit the event, hand the file to the quarantine, raise."""
        tools, problems = self.tools, tuple(self.problems)
        events = tools.runtime.events
        if events.listened(FileRejected):
            codes = tuple(each.code for each in problems)
            size = len(data) if data else 0
            events.emit(FileRejected(codes=codes, detail=self.detail, size=size, duration=self._elapsed()))
        if data and tools.quarantine is not None:
            digest = await asyncio.to_thread(_sha256, data)
            await tools.quarantine(data, digest, problems)
        raise InvalidFileError(" ".join(each.message for each in problems), problems=problems)

    def _received(self, received: int) -> None:
        self.received = received
        self._stage("reading")

    def _stage(self, stage: Stage) -> None:
        if self.claims.on_progress is not None:
            self.claims.on_progress(Progress(stage, self.received))

    def _elapsed(self) -> float:
        return self.tools.runtime.clock.monotonic() - self.began


def _look(data: bytes, tools: Tools, filename: str | None, sanitise: bool) -> Found:
    strips = any(isinstance(each, ImagePolicy) and each.trailers == "strip" for each in tools.policies)
    return inspect(
        data,
        tools.policies,
        names.extension_of(filename or ""),
        repair=tools.rewrite,
        drop_tail=tools.rewrite or sanitise or strips,
        rebuild=tools.rebuild,
    )


def _look_again(kind: str, data: bytes, policy: ImagePolicy) -> tuple[ImageFacts, str]:
    return reinspect(kind, data, policy), _sha256(data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_TEXTS: Final = frozenset(("text", "csv"))


def _agree(decoded: Decoded, facts: ImageFacts) -> bool:
    """Return True when the decoder saw the picture that the walk saw.

    AVIF and HEIC boxes may crop or turn a picture, and decoders may clip GIF frames that stick out of their screen:
    these may be smaller than the walk found, never larger.
    """
    if facts.kind in ("avif", "heic", "gif"):
        return max(decoded.width, decoded.height) <= max(facts.width, facts.height)
    return (decoded.width, decoded.height) == (facts.width, facts.height)


def _same(promised: sniff.Kind, kind: sniff.Kind) -> bool:
    return promised is kind or {promised.name, kind.name} == _TEXTS


def _name(filename: str | None, kind: sniff.Kind) -> str:
    """Return a safe name whose only extension is that of the content."""
    safe = names.safe_filename(filename or "file")
    if sniff.kind_of_extension(names.extension_of(safe)) is not kind:
        safe = names.safe_filename(f"{safe}.{kind.extensions[0]}")
    return safe
