"""The public entry point: check uploads against a policy."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import DeadlineExceededError
from prodkit.files import reader
from prodkit.files.decoding.codecs import has_pikepdf, require_decoders
from prodkit.files.decoding.sandbox import Sandbox, shared
from prodkit.files.inspection import Inspection
from prodkit.files.messages import LANGUAGES, Language
from prodkit.files.policies import AnyOf, ImagePolicy, Policy, SinglePolicy
from prodkit.files.request import Claims, Identify, OnProgress, Quarantine, Scanner, Tools
from prodkit.files.result import CleanFile

__all__ = ["Validator"]

_SMALL: Final = 2048 * 2048  # pixels that every sandbox of at least 64 MiB is expected to hold


class Validator(Managed):
    """Check uploads against one policy.

    ::

        avatars = files.Validator(files.ImagePolicy(max_bytes=5 * 2**20, max_width=2048, max_height=2048))
        avatar = await avatars.check(upload, filename="eu.png", declared_type="image/png", sanitise=True)

    Starting is optional and warms the sandbox.

    Args:
        policy: the rules; :class:`AnyOf` combines several.
        language: of the problems' texts, ``"en"`` or ``"pt-BR"``; a check can choose another one.
        sandbox: decodes pictures. Without one, all validators of the process share one with two workers.
        scanner: looks for malware, such as :class:`~prodkit.files.Clamd`.
        quarantine: receives each refused file.
        identify: names, for the event, the type of a file of no accepted type, as ``files.libmagic`` does. It runs
            after the verdict, on hostile bytes, so it is off by default.
        runtime: clock and events.
        on_damage: "refuse" refuses a damaged picture. "rewrite" decodes it in the sandbox, encodes it again and lists
            what was removed in ``CleanFile.repairs``: for avatars, where the picture counts and not its bytes.
            Hostile content and incomplete pictures are refused in both cases. Of a PDF, stray bytes before and after
            the document are removed; with the extra `pdf` one whose end or index is missing is written again.

    Raises:
        MissingExtraError: the policy accepts pictures and Pillow is missing or too old, or it names ``heic`` or
            ``avif`` and the decoder is missing.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        on_damage: Literal["refuse", "rewrite"] = "refuse",
        language: Language = "en",
        sandbox: Sandbox | None = None,
        scanner: Scanner | None = None,
        quarantine: Quarantine | None = None,
        identify: Identify | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Validator")
        check.instance("policy", policy, (AnyOf, *SinglePolicy.__args__), "a policy")
        check.one_of("on_damage", on_damage, ("refuse", "rewrite"))
        check.one_of("language", language, LANGUAGES)
        check.instance("sandbox", sandbox, Sandbox, "a Sandbox", optional=True)
        check.function("scanner", scanner, optional=True)
        check.function("quarantine", quarantine, optional=True)
        check.function("identify", identify, optional=True)
        check.done()
        policies = policy.policies if isinstance(policy, AnyOf) else (policy,)
        pictures = [each for each in policies if isinstance(each, ImagePolicy)]
        if sandbox is not None and sandbox.memory_bytes is not None:
            for each in pictures:
                needed = each.budget.memory_bytes
                check.that(
                    each.budget.pixels <= _SMALL or sandbox.memory_bytes >= needed,
                    f"sandbox has memory_bytes={sandbox.memory_bytes}, the largest picture of the policy "
                    f"({each.max_width}x{each.max_height}) needs {needed}",
                )
        check.done()
        for each in pictures:
            require_decoders(each.formats)
        self.policy: Policy = policy
        self.on_damage: Literal["refuse", "rewrite"] = on_damage
        self.language: Language = language
        self._shares_sandbox = sandbox is None
        self._tools = Tools(
            policies=policies,
            rewrite=on_damage == "rewrite",
            rebuild=on_damage == "rewrite" and has_pikepdf(),
            sandbox=sandbox or shared(),
            scanner=scanner,
            quarantine=quarantine,
            identify=identify,
            runtime=runtime,
        )

    async def start(self) -> None:
        """Warm the sandbox, so that the first upload does not wait for a process to start."""
        if any(isinstance(each, ImagePolicy) for each in self._tools.policies):
            await self._tools.sandbox.start()

    async def aclose(self) -> None:
        """End the workers of the shared sandbox; a sandbox that was passed in stays open."""
        if self._shares_sandbox:
            await self._tools.sandbox.aclose()

    async def check(
        self,
        source: reader.Source,
        *,
        filename: str | None,
        declared_type: str | None,
        sanitise: bool = False,
        language: Language | None = None,
        key: str = "",
        on_progress: OnProgress | None = None,
    ) -> CleanFile:
        """Return the accepted file, or raise with every reason against it.

        Cancelling kills the decoding process and leaves nothing behind.

        Args:
            source: bytes, a file object (sync or async ``read``), or an async iterator of chunks. At most one chunk is
                read past the limit.
            filename: the client's name for the file, or None. It can only make the verdict worse.
            declared_type: the client's media type, or None. It can only make the verdict worse.
            sanitise: re-encode a picture: upright, without metadata, comments, profile, uploaded palette or trailer.
            language: of the problems' texts; the validator's by default.
            key: whose upload it is, such as a user id. While all workers are busy, keys take turns: the hundred files
                of one user do not delay the file of another.
            on_progress: called with a :class:`Progress` after each chunk and at each stage. It must not block.

        Raises:
            InvalidFileError: the file was refused; ``problems`` lists every reason.
            DeadlineExceededError: the caller's deadline passed first.
            UnavailableError: a scanner could not be asked.
            BulkheadFullError: too many files wait for a worker, see ``Sandbox(max_queue=)``.
        """
        claims = Claims(
            filename=filename,
            declared_type=declared_type,
            sanitise=sanitise,
            language=language or self.language,
            key=key,
            on_progress=on_progress,
        )
        inspection = Inspection(self._tools, claims)
        left = Deadline.sooner(None)
        limit = asyncio.timeout(left)
        try:
            async with limit:
                return await inspection.run(source)
        except TimeoutError as error:
            if limit.expired() and not isinstance(error, DeadlineExceededError):
                raise DeadlineExceededError(
                    "the deadline passed while a file was checked", timeout=left
                ) from error
            raise

    def __repr__(self) -> str:
        return f"Validator({self.policy!r}, on_damage={self.on_damage!r}, language={self.language!r})"
