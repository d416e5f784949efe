"""Sandbox for decoding: a few warm worker processes that can be killed and hold nothing worth stealing.

Each worker is a fresh interpreter, not a fork: it inherits no descriptor but its two pipes, no environment, no memory
of this process. It limits its own memory and CPU time, cannot write a file, and once warm it cannot open one. It
answers with JSON and bytes, never with pickles. A worker that crashes, hangs or exceeds its memory is killed and
replaced by the next call; the file is refused with a reason. Where the worker was killed from outside, as the kernel
does when memory runs out, another one gets the file, once.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.validate import Arguments
from prodkit.files.decoding.fair_queue import FairQueue
from prodkit.files.decoding.process import (
    Answer,
    DecodeCrashedError,
    DecodeKilledError,
    DecodeMemoryError,
    DecodeTimeoutError,
    Role,
    UndecodableError,
    WorkerProcess,
)

__all__ = [
    "DecodeCrashedError",
    "DecodeMemoryError",
    "DecodeTimeoutError",
    "Decoded",
    "Sandbox",
    "UndecodableError",
    "shared",
]

T = TypeVar("T")
_SIZES: Final = ("width", "height", "frames")
_WALKERS: Final = 2  # more would only wait for the interpreter, and the event loop with them
_MEMORY: Final = 768 * 2**20
_TIMEOUT: Final = 3.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """The answer of a worker. It decoded hostile bytes: check again what it wrote.

    `digest` is the sha256 of the bytes that were decoded, taken on this side of the pipe.
    """

    width: int
    height: int
    frames: int
    kind: str = ""
    turned: bool = False
    digest: str = field(default="", compare=False)
    content: bytes = field(default=b"", repr=False)


class Sandbox(Managed):
    """Worker processes that decode for any number of validators.

    A process starts when it is first needed and stays warm. A cancelled call kills its worker, so that the slot is
    free at once. :meth:`aclose` ends the workers; so does garbage collection of the sandbox, and the end of this
    process.

    Args:
        workers: pictures decoded at once; further calls queue, and keys take turns.
        timeout: seconds of real time for one picture, from its first byte sent to its last byte received; the worker
            is killed after that. None, the default, derives it from the picture's pixels: 3 s up to 2048x2048.
        memory_bytes: the address space of a worker. None, the default, derives it from the largest picture that the
            policy allows: 768 MiB up to 2048x2048.
        max_queue: calls that wait for a worker; one more raises :class:`~prodkit.BulkheadFullError`.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        timeout: float | None = None,
        memory_bytes: int | None = None,
        max_queue: int = 200,
    ) -> None:
        check = Arguments("Sandbox")
        check.integer("workers", workers, minimum=1)
        check.seconds("timeout", timeout, optional=True)
        check.integer("memory_bytes", memory_bytes, minimum=64 * 2**20, optional=True)
        check.integer("max_queue", max_queue, minimum=0)
        check.done()
        self.workers = workers
        self.timeout = timeout
        self.memory_bytes = memory_bytes
        self.max_queue = max_queue
        self.restarts: int = 0
        self._idle: list[WorkerProcess] = []
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._walkers: ThreadPoolExecutor | None = None
        self._decoding = FairQueue("decoding", workers, max_queue)
        self._walking = FairQueue("checking", _WALKERS, max_queue)
        self._finalizer: Callable[[], object] = weakref.finalize(self, _end_all, self._idle)
        _sandboxes.add(self)

    async def start(self) -> None:
        """Warm one worker, so that the first upload does not wait for it."""
        await asyncio.get_running_loop().run_in_executor(self._pool(), self._warm)

    async def aclose(self) -> None:
        """End the workers once their current picture is done. The next call starts a new one."""
        for threads in (self._threads, self._walkers):
            if threads is not None:
                threads.shutdown(wait=False)
        self._threads = self._walkers = None
        with self._lock:
            idle, self._idle[:] = list(self._idle), []
        for worker in idle:
            worker.end()

    async def decode(
        self,
        kind: str,
        data: bytes,
        *,
        frames: int = 1,
        poster: bool = False,
        sanitise: bool = False,
        quality: int = 90,
        seconds: float | None = None,
        memory_bytes: int | None = None,
        key: str = "",
    ) -> Decoded:
        """Decode `data` as `kind`; return its width, height and frames, and the re-encoded bytes.

        Cancelling kills the worker that has the picture. The caller's deadline bounds the time of the worker, too.

        Args:
            kind: the only format that is tried.
            data: the whole file.
            frames: the pictures that the walk found.
            poster: the first frame of an APNG is not part of its animation.
            sanitise: re-encode the picture; the content is empty otherwise.
            quality: 1 to 100, for lossy formats.
            seconds: for this picture, when the sandbox has no `timeout`; 3 s by default.
            memory_bytes: for this picture, when the sandbox has none; 768 MiB by default.
            key: whose picture it is: calls with other keys take turns with it.

        Raises:
            UndecodableError: the picture cannot be decoded; a subclass names time, memory or a crash.
            BulkheadFullError: the queue is full.
        """
        request = {"kind": kind, "frames": frames, "poster": poster, "sanitise": sanitise, "quality": quality}
        memory = self.memory_bytes or max(memory_bytes or 0, _MEMORY)
        async with self._decoding.slot(key):
            limit = Deadline.sooner(self.timeout or seconds or _TIMEOUT) or 0.001
            job = _Job(request, data, limit, memory)
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool(), self._run, job)
            except asyncio.CancelledError:
                job.cancel()
                raise

    async def rewrite_pdf(self, data: bytes, *, key: str = "") -> bytes:
        """Return a damaged PDF with a new index and end; it has to be checked like any upload. Needs the extra `pdf`.

        Args:
            data: the whole file.
            key: whose document it is: calls with other keys take turns with it.

        Raises:
            UndecodableError: no page was found; a subclass names time, memory or a crash.
            BulkheadFullError: the queue is full.
            MissingExtraError: pikepdf is not installed.
        """
        return (await self.decode("pdf", data, key=key)).content

    async def in_thread(self, fn: Callable[..., T], *args: Any, key: str = "") -> T:
        """Call `fn` with `args` beside the event loop, on two threads that never wait for a decoder.

        Args:
            fn: pure Python work.
            *args: for `fn`.
            key: whose work it is: calls with other keys take turns with it.
        """
        async with self._walking.slot(key):
            if self._walkers is None:
                self._walkers = ThreadPoolExecutor(_WALKERS, thread_name_prefix="prodkit-files-walk")
            call = functools.partial(fn, *args)
            return await asyncio.get_running_loop().run_in_executor(self._walkers, call)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="prodkit-files")
        return self._threads

    def _warm(self) -> None:
        self._give(self._take(self.memory_bytes or _MEMORY, "pictures"))

    def _take(self, memory_bytes: int, role: Role) -> WorkerProcess:
        """Take an idle worker of this role with enough memory, or replace one that does not fit."""
        with self._lock:
            small: WorkerProcess | None = None
            for worker in reversed(self._idle):
                if not worker.alive or worker.role != role or worker.memory_bytes < memory_bytes:
                    small = worker
                    continue
                self._idle.remove(worker)
                return worker
            if small is not None:
                self._idle.remove(small)
        if small is not None:
            small.end()
        return WorkerProcess(memory_bytes, role)

    def _give(self, worker: WorkerProcess) -> None:
        with self._lock:
            if len(self._idle) < self.workers and self._threads is not None:
                self._idle.append(worker)
                return
        worker.end()

    def _run(self, job: _Job) -> Decoded:
        try:
            worker, answer = self._ask(job)
        except DecodeKilledError:
            if job.cancelled:
                raise
            worker, answer = self._ask(job)  # once: whatever kills workers may have meant the picture
        reply = answer.reply
        if "error" in reply:
            problem = str(reply["error"])[:200]
            self._give(worker)
            raise (DecodeMemoryError if problem == "memory" else UndecodableError)(problem)
        size = {name: value for name in _SIZES if isinstance(value := reply.get(name), int)}
        if len(size) != len(_SIZES):
            worker.end()
            raise DecodeCrashedError("the answer of the worker is malformed")
        self._give(worker)
        kind = str(reply.get("kind", job.request["kind"]))
        turned = reply.get("turned") is True
        return Decoded(**size, kind=kind, turned=turned, digest=answer.digest, content=answer.body)

    def _ask(self, job: _Job) -> tuple[WorkerProcess, Answer]:
        worker = self._take(job.memory_bytes, "documents" if job.request["kind"] == "pdf" else "pictures")
        if not job.begin(worker):
            self._give(worker)
            raise DecodeCrashedError("cancelled")
        try:
            return worker, worker.ask(job.request, job.data, job.seconds)
        except UndecodableError:
            self.restarts += 1
            worker.end()
            raise
        finally:
            job.done()

    def __repr__(self) -> str:
        return (
            f"Sandbox(workers={self.workers}, timeout={self.timeout}, memory_bytes={self.memory_bytes}, "
            f"max_queue={self.max_queue})"
        )


class _Job:
    """One picture in flight: knows which worker has it, so that a cancel can kill that worker."""

    __slots__ = ("_cancelled", "_lock", "_worker", "data", "memory_bytes", "request", "seconds")

    def __init__(self, request: dict[str, Any], data: bytes, seconds: float, memory_bytes: int) -> None:
        self.request = request
        self.data = data
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._cancelled = False

    def begin(self, worker: WorkerProcess) -> bool:
        with self._lock:
            if not self._cancelled:
                self._worker = worker
            return not self._cancelled

    def done(self) -> None:
        with self._lock:
            self._worker = None

    @property
    def cancelled(self) -> bool:
        """The caller is gone, and the worker was killed for it."""
        return self._cancelled

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._worker is not None:
                self._worker.kill()


def _end_all(workers: list[WorkerProcess]) -> None:
    while workers:
        workers.pop().end()


_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()
_shared: list[Sandbox] = []


def shared() -> Sandbox:
    """Return the sandbox of all validators without their own: one set of workers per process."""
    if not _shared:
        _shared.append(Sandbox())
    return _shared[0]


def _after_fork() -> None:
    for sandbox in list(_sandboxes):
        idle, sandbox._idle[:] = list(sandbox._idle), []
        for worker in idle:
            worker.abandon()
        sandbox._threads = sandbox._walkers = None
        sandbox._lock = threading.Lock()
        sandbox._decoding = FairQueue("decoding", sandbox.workers, sandbox.max_queue)
        sandbox._walking = FairQueue("checking", _WALKERS, sandbox.max_queue)


os.register_at_fork(after_in_child=_after_fork)
