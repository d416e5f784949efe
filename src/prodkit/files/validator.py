"""The validator: reads, walks, decodes, and says every reason why not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from prodkit.core.deadline import Deadline
from prodkit.core.events import Event, Metric
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import DeadlineExceededError, FileProblem, InvalidFileError
from prodkit.files import media_types, names, reader, sniff
from prodkit.files.decoding.sandbox import Sandbox, UndecodableError, shared
from prodkit.files.formats.base import ImageFacts, RefusedError
from prodkit.files.messages import LANGUAGES, Language, mebibytes, problem
from prodkit.files.policies import AnyOf, ImagePolicy, OfficePolicy, PdfPolicy, Policy, TextPolicy
from prodkit.files.result import CleanFile
from prodkit.files.structure import Found, inspect, reinspect

__all__ = ["FileAccepted", "FileRejected", "Quarantine", "Scanner", "Validator"]

Scanner = Callable[[bytes], Awaitable[str]]
"""Looks for malware: the name of what it found, or "". Raises when it cannot tell, and then nothing is
accepted.
"""

Quarantine = Callable[[bytes, str, tuple[FileProblem, ...]], Awaitable[None]]
"""Takes a refused file: its bytes, their sha256, the problems."""

SinglePolicy = ImagePolicy | PdfPolicy | TextPolicy | OfficePolicy
_NAMELESS: Final = frozenset(("unknown_type", "type_not_allowed"))
_ANONYMOUS: Final = "blob"  # what browsers call a Blob that a page gave no name


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAccepted(Event):
    """A file passed. Sizes in bytes, `duration` in seconds."""

    name = "files.accepted"
    level = "DEBUG"
    metric = Metric(
        "files_accepted_seconds",
        "histogram",
        ("kind",),
        value="duration",
        unit="seconds",
        help="Time to validate an accepted file.",
    )
    kind: str
    size: int
    duration: float
    sanitised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRejected(Event):
    """A file was refused; `detail` says more than the client is told, without anything of the file in it."""

    name = "files.rejected"
    level = "INFO"
    metric = Metric(
        "files_rejected_seconds",
        "histogram",
        value="duration",
        unit="seconds",
        help="Time to validate a rejected file.",
    )
    codes: tuple[str, ...]
    detail: str
    size: int
    duration: float


class Validator(Managed):
    """Checks uploads against one policy.

    ::

        avatars = files.Validator(files.ImagePolicy(max_bytes=5 * 2**20, max_width=2048, max_height=2048))
        avatar = await avatars.check(upload, filename="eu.png", declared_type="image/png", sanitise=True)

    `language` ("pt-BR" or "en") is that of the problems' texts. `sandbox` decodes; without one, all
    validators of the process share one with two workers. `scanner` looks for malware (see
    :class:`~prodkit.files.Clamd`), `quarantine` is handed each
    refused file. `opinion` names, for the event, what a file of no accepted type is, and ``files.libmagic`` does
    that; it is asked after the verdict, on hostile bytes, so it is off by default. Starting is optional and warms
    the sandbox.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        language: Language = "pt-BR",
        sandbox: Sandbox | None = None,
        scanner: Scanner | None = None,
        quarantine: Quarantine | None = None,
        opinion: Callable[[bytes], str] | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        if language not in LANGUAGES:
            raise ValueError(f"language is one of {', '.join(LANGUAGES)}, got {language!r}")
        self.policy = policy
        self.language: Language = language
        self._policies: tuple[SinglePolicy, ...] = policy.policies if isinstance(policy, AnyOf) else (policy,)
        self._own = sandbox
        self._scanner = scanner
        self._quarantine = quarantine
        self._opinion = opinion
        self._runtime = runtime
        self._max_bytes = max(each.max_bytes for each in self._policies)

    async def start(self) -> None:
        """Warms the sandbox, so that the first upload does not wait for a process to start."""
        if any(isinstance(each, ImagePolicy) for each in self._policies):
            await self._sandbox.start()

    async def aclose(self) -> None:
        """Ends the workers of the shared sandbox; a sandbox that you gave is yours to close."""
        if self._own is None:
            await self._sandbox.aclose()

    @property
    def _sandbox(self) -> Sandbox:
        return self._own or shared()

    async def check(
        self,
        source: reader.Source,
        *,
        filename: str | None,
        declared_type: str | None,
        sanitise: bool = False,
        language: Language | None = None,
    ) -> CleanFile:
        """Gives the file that passed, or raises.

        `source` is bytes, a file object (sync or async ``read``), or an async iterator of chunks, read no
        further than the limit and one chunk. `filename` and `declared_type` are what the client said: they
        can only make things worse. With `sanitise`, a picture is written anew: upright, without metadata,
        comments, profile, uploaded palette or trailer.

        Raises :class:`~prodkit.InvalidFileError` with every problem, :class:`~prodkit.DeadlineExceededError`
        when the caller's deadline passes first. Cancelling kills the decoding process and leaves nothing
        behind.
        """
        check = _Check(self, filename, declared_type, sanitise, language or self.language)
        left = Deadline.sooner(None)
        limit = asyncio.timeout(left)
        try:
            async with limit:
                return await check.run(source)
        except TimeoutError as error:
            if limit.expired() and not isinstance(error, DeadlineExceededError):
                raise DeadlineExceededError(
                    "the deadline passed while a file was checked", timeout=left
                ) from error
            raise

    def __repr__(self) -> str:
        return f"Validator({self.policy!r}, language={self.language!r})"


class _Check:
    """One file on its way through."""

    def __init__(
        self,
        validator: Validator,
        filename: str | None,
        declared: str | None,
        sanitise: bool,
        language: Language,
    ) -> None:
        self.validator = validator
        self.filename = filename
        self.declared = declared
        self.sanitise = sanitise
        self.language: Language = language
        self.began = validator._runtime.clock.monotonic()
        self.problems: list[FileProblem] = []
        self.detail = ""
        self.digest = ""

    async def run(self, source: reader.Source) -> CleanFile:
        owner = self.validator
        try:
            data = await reader.read(source, owner._max_bytes)
        except reader.TooLargeError:
            self.say("too_large", limit=mebibytes(owner._max_bytes))
            await self.refuse(None)
        found = await self._look(data)
        if found is None or self.problems:
            await self.refuse(data)
        content, size = await self._decode(found, data)
        if self.problems:
            await self.refuse(data)
        if owner._scanner is not None and (name := await owner._scanner(data)):
            self.say("malware", detail=name)
            await self.refuse(data)
        if content is not data:
            self.digest = await owner._sandbox.in_thread(_sha256, content)
        kind = sniff.KINDS[found.kind]
        events = owner._runtime.events
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
        """Everything that is decided before a decoder runs."""
        owner = self.validator
        if not data:
            self.say("empty")
            self._names(None)
            return None
        found: Found | None = None
        try:
            self.digest, found = await owner._sandbox.in_thread(_look, data, owner._policies, self.filename)
        except _RefusedWithDigest as refused:
            self.digest = refused.digest
            detail = refused.why.detail
            if owner._opinion is not None and refused.why.code in _NAMELESS:
                detail = f"{detail}, {await owner._sandbox.in_thread(owner._opinion, data)}"
            self.say(refused.why.code, detail=detail, **refused.why.facts)
        self._names(found)
        return found

    def _names(self, found: Found | None) -> None:
        """What the client's own words give away; they never make a file better."""
        policy = found.policy if found else self.validator._policies[0]
        kind = sniff.KINDS[found.kind] if found else None
        if self.filename is not None:
            self._filename(self.filename, policy, kind)
        if kind and self.declared and policy.match_declared_type:
            said = sniff.kind_of_media_type(self.declared)
            another = (
                media_types.names_another(self.declared)
                if said is None
                else said.name != "text" and not _same(said, kind)
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
            size, rewritten = await self.validator._sandbox.decode(
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
            # Written by a process that had hostile bytes in its hands: looked at like any other upload.
            try:
                again = await self.validator._sandbox.in_thread(reinspect, found.kind, rewritten, policy)
            except RefusedError as why:
                self.say(why.code, detail=f"written anew: {why.detail}", **why.facts)
                return data, {}
            return rewritten, {"width": again.width, "height": again.height, "frames": again.frames}
        return (own if policy.trailers == "strip" else data), size

    def say(self, code: str, *, detail: str = "", **facts: object) -> None:
        self.problems.append(problem(code, self.language, **facts))
        self.detail = self.detail or detail

    async def refuse(self, data: bytes | None) -> NoReturn:
        owner, problems = self.validator, tuple(self.problems)
        events = owner._runtime.events
        if events.listened(FileRejected):
            codes = tuple(each.code for each in problems)
            size = len(data) if data else 0
            events.emit(FileRejected(codes=codes, detail=self.detail, size=size, duration=self._elapsed()))
        if data and owner._quarantine is not None:
            await owner._quarantine(data, self.digest, problems)
        raise InvalidFileError(" ".join(each.message for each in problems), problems=problems)

    def _elapsed(self) -> float:
        return self.validator._runtime.clock.monotonic() - self.began


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
    """Whether the decoder saw the picture that the walk saw.

    Boxes may crop or turn theirs; of GIF frames that stick out of their screen, some decoders show less.
    None may show more.
    """
    if facts.kind in ("avif", "heic", "gif"):
        return max(size["width"], size["height"]) <= max(facts.width, facts.height)
    return (size["width"], size["height"]) == (facts.width, facts.height)


def _same(promised: sniff.Kind, kind: sniff.Kind) -> bool:
    return promised is kind or {promised.name, kind.name} == _TEXTS


def _name(filename: str | None, kind: sniff.Kind) -> str:
    """A name whose one extension is that of the content."""
    safe = names.safe_filename(filename or "file")
    if sniff.kind_of_extension(names.extension_of(safe)) is not kind:
        safe = names.safe_filename(f"{safe}.{kind.extensions[0]}")
    return safe
