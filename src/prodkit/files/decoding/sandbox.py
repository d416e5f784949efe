"""Sandbox for decoding: a few warm worker processes that can be killed and hold nothing worth stealing.

Each worker is a fresh interpreter, not a fork: it inherits no descriptor but its two pipes, no environment, no memory
of this process. It limits its own memory and CPU time, cannot write a file, and once warm it cannot open one. It
answers with JSON and bytes, never with pickles. A worker that crashes, hangs or exceeds its memory is killed and
replaced by the next call; the file is refused with a reason.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from prodkit.core.lifespan import Managed
from prodkit.core.validate import Arguments
from prodkit.errors import MissingExtraError
from prodkit.files.decoding import pipe

__all__ = [
    "DecodeCrashedError",
    "DecodeMemoryError",
    "DecodeTimeoutError",
    "Sandbox",
    "UndecodableError",
    "shared",
]

T = TypeVar("T")
_BOOT: Final = (
    "import sys; sys.path += sys.argv[3:]; "
    "from prodkit.files.decoding.worker import main; main(*sys.argv[1:3])"
)
_FACTS: Final = ("width", "height", "frames")
_START_TIMEOUT: Final = 20.0
_WALKERS: Final = 2  # more would only wait for the interpreter, and the event loop with them


class UndecodableError(Exception):
    """The decoder refused the picture. Base of every error that a sandbox raises about a file."""

    code = "undecodable"


class DecodeTimeoutError(UndecodableError):
    """Decoding took longer than allowed and was killed."""

    code = "decode_timeout"


class DecodeMemoryError(UndecodableError):
    """Decoding needed more memory than allowed."""

    code = "decode_memory"


class DecodeCrashedError(UndecodableError):
    """The worker died: the picture met a fault of the decoder."""

    code = "decode_crashed"


class Sandbox(Managed):
    """Worker processes that decode for any number of validators.

    A process starts when it is first needed and stays warm. A cancelled call kills its worker, so that the slot is
    free at once. :meth:`aclose` ends the workers; so does garbage collection of the sandbox, and the end of this
    process.

    Args:
        workers: pictures decoded at once; further calls queue.
        timeout: seconds of real time for one picture, from its first byte sent to its last byte received; the worker
            is killed after that.
        memory_bytes: the address space of a worker.
    """

    def __init__(self, *, workers: int = 2, timeout: float = 3.0, memory_bytes: int = 768 * 2**20) -> None:
        check = Arguments("Sandbox")
        check.integer("workers", workers, minimum=1)
        check.seconds("timeout", timeout)
        check.integer("memory_bytes", memory_bytes, minimum=64 * 2**20)
        check.done()
        self.workers = workers
        self.timeout = timeout
        self.memory_bytes = memory_bytes
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._walkers: ThreadPoolExecutor | None = None
        self._finalizer: Callable[[], object] = weakref.finalize(self, _end_all, self._idle)
        self.restarts = 0
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
    ) -> tuple[dict[str, int], bytes]:
        """Decode `data` as `kind`; return its width, height and frames, and the re-encoded bytes.

        Cancelling kills the worker that has the picture.

        Args:
            kind: the only format that is tried.
            data: the whole file.
            frames: the pictures that the walk found.
            poster: the first frame of an APNG is not part of its animation.
            sanitise: re-encode the picture; the bytes are empty otherwise.
            quality: 1 to 100, for lossy formats.

        Raises:
            UndecodableError: the picture cannot be decoded; a subclass names time, memory or a crash.
        """
        job = _Job(
            {"kind": kind, "frames": frames, "poster": poster, "sanitise": sanitise, "quality": quality}, data
        )
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool(), self._run, job)
        except asyncio.CancelledError:
            job.cancel()
            raise

    async def in_thread(self, fn: Callable[..., T], *args: Any) -> T:
        """Call `fn` with `args` beside the event loop, on two threads that never wait for a decoder."""
        if self._walkers is None:
            self._walkers = ThreadPoolExecutor(_WALKERS, thread_name_prefix="prodkit-files-walk")
        return await asyncio.get_running_loop().run_in_executor(self._walkers, functools.partial(fn, *args))

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="prodkit-files")
        return self._threads

    def _warm(self) -> None:
        worker = self._take()
        self._give(worker)

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                worker.end()
        return _Worker(self.memory_bytes, self.timeout)

    def _give(self, worker: _Worker) -> None:
        with self._lock:
            if len(self._idle) < self.workers and self._threads is not None:
                self._idle.append(worker)
                return
        worker.end()

    def _run(self, job: _Job) -> tuple[dict[str, int], bytes]:
        worker = self._take()
        if not job.begin(worker):
            self._give(worker)
            raise DecodeCrashedError("cancelled")
        try:
            reply, body = worker.ask(job.request, job.data, self.timeout)
        except UndecodableError:
            self.restarts += 1
            worker.end()
            raise
        finally:
            job.done()
        if "error" in reply:
            problem = str(reply["error"])[:200]
            self._give(worker)
            raise (DecodeMemoryError if problem == "memory" else UndecodableError)(problem)
        size = {name: value for name in _FACTS if isinstance(value := reply.get(name), int)}
        if len(size) != len(_FACTS):
            worker.end()
            raise DecodeCrashedError("the answer of the worker is malformed")
        self._give(worker)
        return size, body

    def __repr__(self) -> str:
        return f"Sandbox(workers={self.workers}, timeout={self.timeout}, memory_bytes={self.memory_bytes})"


class _Job:
    """One picture in flight: knows which worker has it, so that a cancel can kill that worker."""

    __slots__ = ("_cancelled", "_lock", "_worker", "data", "request")

    def __init__(self, request: dict[str, Any], data: bytes) -> None:
        self.request = request
        self.data = data
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._cancelled = False

    def begin(self, worker: _Worker) -> bool:
        with self._lock:
            if not self._cancelled:
                self._worker = worker
            return not self._cancelled

    def done(self) -> None:
        with self._lock:
            self._worker = None

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._worker is not None:
                self._worker.kill()


class _Worker:
    """The parent's end of one process."""

    def __init__(self, memory_bytes: int, timeout: float) -> None:
        homes = [
            _home_of("prodkit"),
            _home_of("PIL"),
            *(_home_of(each) for each in ("pillow_heif",) if _has(each)),
        ]
        command = [sys.executable, "-I", "-S", "-B", "-c", _BOOT, str(memory_bytes), str(timeout)]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own program
            command + list(dict.fromkeys(homes)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = pipe.Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        try:
            ready, _ = self._channel.receive(_START_TIMEOUT)
        except pipe.ChannelError as error:
            self.end()
            raise MissingExtraError(
                "the decoding process could not start", extra="files", package="pillow"
            ) from error
        if ready.get("ready") is not True:
            self.end()
            message, extra, package = ready.get("missing", ("", "files", "pillow"))
            raise MissingExtraError(message, extra=extra, package=package)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: dict[str, Any], data: bytes, timeout: float) -> tuple[dict[str, Any], bytes]:
        try:
            self._channel.send(request, data, timeout)
            return self._channel.receive(timeout)
        except pipe.ChannelTimeoutError as error:
            raise DecodeTimeoutError(f"killed after {timeout} s") from error
        except pipe.ChannelError as error:
            raise self._died() from error

    def _died(self) -> UndecodableError:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return DecodeCrashedError("the answer of the worker is malformed")
        if code == -signal.SIGXCPU:
            return DecodeTimeoutError("out of CPU time")
        return DecodeCrashedError(
            f"the worker died of signal {-code}" if code < 0 else f"the worker left with {code}"
        )

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def abandon(self) -> None:
        """In a forked child: the process belongs to the parent, only our copies of its pipes are ours."""
        self._process.returncode = 0
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _home_of(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtraError.named("pillow", "files")
    return str(Path(spec.origin).parent.parent)


def _end_all(workers: list[_Worker]) -> None:
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


os.register_at_fork(after_in_child=_after_fork)
