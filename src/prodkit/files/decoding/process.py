"""The parent's end of one worker process."""

from __future__ import annotations

import hashlib
import importlib.util
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from prodkit.errors import MissingExtraError
from prodkit.files.decoding import pipe

__all__ = [
    "Answer",
    "DecodeCrashedError",
    "DecodeKilledError",
    "DecodeMemoryError",
    "DecodeTimeoutError",
    "Role",
    "UndecodableError",
    "WorkerProcess",
]

Role: TypeAlias = Literal["pictures", "documents"]
BOOT: Final = (
    "import sys; sys.path += sys.argv[3:]; "
    "from prodkit.files.decoding.worker import main; main(*sys.argv[1:3])"
)
_START_TIMEOUT: Final = 20.0
# Pillow gives the memory of each picture back to the kernel, and getting it again, page by page, takes a third of a
# decode. A worker keeps two blocks, at most 16 MiB each: the picture and its copy. They are zeroed before their reuse.
_ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "PILLOW_BLOCKS_MAX": "2"}


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


class DecodeKilledError(DecodeCrashedError):
    """The worker was killed from outside, by an operator or for the memory of the machine: not the picture's fault."""


class Answer(NamedTuple):
    """The answer of a worker, and the sha256 of what it was asked about."""

    reply: dict[str, Any]
    body: bytes
    digest: str


class WorkerProcess:
    """A fresh interpreter that decodes, its pipes, and the ways it can end.

    Args:
        memory_bytes: its address space.
        role: "pictures", or "documents", which a damaged PDF needs.
    """

    boot = BOOT

    def __init__(self, memory_bytes: int, role: Role = "pictures") -> None:
        self.memory_bytes = memory_bytes
        self.role: Role = role
        homes = [_home_of("prodkit"), _home_of("pikepdf" if role == "documents" else "PIL")]
        homes += [_home_of(each) for each in ("pillow_heif",) if importlib.util.find_spec(each) is not None]
        command = [sys.executable, "-I", "-S", "-B", "-c", self.boot, str(memory_bytes), role]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own program
            command + list(dict.fromkeys(homes)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = pipe.Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        self._channel.widen()
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
        """True until the process has ended."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, request: dict[str, Any], data: bytes, timeout: float) -> Answer:
        """Send one picture and return the answer, each within `timeout` seconds of real time.

        The picture is hashed here while the worker decodes it.
        """
        try:
            self._channel.send({**request, "seconds": timeout}, data, timeout)
            digest = hashlib.sha256(data).hexdigest()
            return Answer(*self._channel.receive(timeout), digest)
        except pipe.ChannelTimeoutError as error:
            raise DecodeTimeoutError(f"killed after {timeout:.1f} s") from error
        except pipe.ChannelError as error:
            raise self._died() from error

    def _died(self) -> UndecodableError:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return DecodeCrashedError("the answer of the worker is malformed")
        if code == -signal.SIGXCPU:
            return DecodeTimeoutError("out of CPU time")
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            return DecodeKilledError(f"the worker was killed by signal {-code}")
        return DecodeCrashedError(
            f"the worker died of signal {-code}" if code < 0 else f"the worker left with {code}"
        )

    def kill(self) -> None:
        """Kill the process; :meth:`end` has to follow."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self._process.kill()
        self._process.wait()
        self._close()

    def abandon(self) -> None:
        """In a forked child: the process belongs to the parent, only the copies of its pipes are closed."""
        self._process.returncode = 0
        self._close()

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


def _home_of(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtraError.named(*(("pikepdf", "pdf") if package == "pikepdf" else ("pillow", "files")))
    return str(Path(spec.origin).parent.parent)
