"""One call that sets up everything a service logs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TextIO, runtime_checkable

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import REGISTRY, Revealable
from prodkit.core.validate import Arguments
from prodkit.logs.bridge import Bridge, BridgedFile
from prodkit.logs.fields import current, loguru
from prodkit.logs.files import DailyFile, finish_compressing
from prodkit.logs.layouts import LAYOUTS, Layout
from prodkit.logs.queueing import StreamQueue

if TYPE_CHECKING:
    from loguru import Logger

    from prodkit.logs.lines import Entry

__all__ = ["ERROR_DAYS", "KEEP_DAYS", "QUEUE_SIZE", "HasSecrets", "Logging", "setup"]

KEEP_DAYS: Final = 7
"""Days for which the service that prodkit was made for keeps its log files."""
ERROR_DAYS: Final = 30
"""Days for which it keeps its errors."""
QUEUE_SIZE: Final = 10_000
"""Lines that may wait for a slow stream: a few megabytes."""

_AT_HOME: Final = frozenset(("development", "dev", "develop", "local", "test", "tests", "testing", "ci"))
"""Environments whose logs are read on a screen; a name that is not among them is some kind of production."""
_ERROR = 40
_DEEPEST: Final = 3
_active: Logging | None = None


@runtime_checkable
class HasSecrets(Protocol):
    """Something that knows secret values, such as ``env.Settings``."""

    def secret_values(self) -> tuple[str, ...]:
        """The values that no log may show."""
        ...


def setup(
    *,
    environment: str = "production",
    level: str | None = None,
    secrets: HasSecrets | Iterable[str | Revealable] = (),
    directory: str | os.PathLike[str] | None = None,
    keep_days: int = KEEP_DAYS,
    error_days: int = ERROR_DAYS,
    max_bytes: int | None = None,
    compress: bool = False,
    stream: TextIO | None = None,
    json: bool | None = None,
    layout: Layout | None = None,
    service: str | None = None,
    version: str | None = None,
    queue_size: int = QUEUE_SIZE,
    runtime: Runtime = SYSTEM,
) -> Logging:
    """Send everything that is logged to stderr, and to files in `directory` when it is given; all of it redacted.

    The standard library's loggers (uvicorn's too), warnings, uncaught exceptions and the events of `runtime` are
    logged as well. Calling it again replaces the set-up before. Other loguru sinks, such as Sentry's, stay; only
    loguru's default one goes.

    Args:
        environment: ``development`` and ``test`` (or ``dev``, ``local``, ``ci``, ``testing``) write text from DEBUG on;
            every other one, ``prod`` and ``qa`` too, writes JSON from INFO on.
        level: the least level, instead of the environment's.
        secrets: values that may never appear: settings, or texts. ``Settings.load`` registers its own already.
        directory: gets ``service.<day>.log`` and ``errors.<day>.log`` (ERROR and above), as JSON; None: no files.
        keep_days: days to keep the service's files.
        error_days: days to keep the errors.
        max_bytes: size of a file after which the next begins; None: by day only.
        compress: gzip files that are no longer written.
        stream: where lines go; the process's stderr when None.
        json: True or False instead of the environment's choice; the short form of ``layout="json"`` and ``"text"``.
        layout: ``json``, ``ecs`` (Elastic), ``gcp`` (Google Cloud), ``otel`` (OpenTelemetry) or ``text``.
        service: the name of the service on every line.
        version: its version on every line.
        queue_size: lines that may wait for a slow stream; further ones are dropped and reported.
        runtime: the runtime whose events and clock are used.
    """
    global _active
    check = Arguments("logs.setup")
    check.one_of("layout", layout, (None, "text", *LAYOUTS))
    check.integer("queue_size", queue_size, minimum=1)
    check.text("environment", environment, empty=True)
    for name, value in (("level", level), ("service", service), ("version", version)):
        if value is not None:
            check.text(name, value, empty=True)
    check.integer("keep_days", keep_days, minimum=1)
    check.integer("error_days", error_days, minimum=1)
    check.done()
    values = _secret_values(secrets)
    quiet = environment.strip().lower() not in _AT_HOME
    if layout is None:
        layout = "json" if (quiet if json is None else json) else "text"
    level = (level or ("INFO" if quiet else "DEBUG")).upper()
    logger = loguru()
    logger.level(level)  # raises ValueError for a name that is none, while the set-up before still runs
    if _active is not None:
        _active.close()
    about = {name: text for name, text in (("service", service), ("version", version)) if text}
    _active = Logging(
        logger=logger,
        level=level,
        layout=layout,
        about=about,
        stream=stream,
        queue_size=queue_size,
        files=_files(directory, keep_days, error_days, max_bytes, compress, runtime),
        runtime=runtime,
    )
    REGISTRY.add(*values)
    return _active


def _secret_values(secrets: object) -> tuple[str | Revealable, ...]:
    """Return the values to register; one text would be taken apart into letters, and protect nothing."""
    found: object = secrets.secret_values() if isinstance(secrets, HasSecrets) else secrets
    if isinstance(found, Iterable) and not isinstance(found, str | bytes):
        values = tuple(found)
        if all(isinstance(each, str | Revealable) for each in values):
            return values
    raise TypeError(f"logs.setup: secrets must be settings or a list of texts, got {type(secrets).__name__}")


def _files(
    directory: str | os.PathLike[str] | None,
    keep_days: int,
    error_days: int,
    max_bytes: int | None,
    compress: bool,
    runtime: Runtime,
) -> tuple[DailyFile, ...]:
    if directory is None:
        return ()
    made = tuple(
        DailyFile(
            directory, stem, keep_days=days, clock=runtime.clock, max_bytes=max_bytes, compress=compress
        )
        for stem, days in (("service", keep_days), ("errors", error_days))
    )
    for file in made:
        file.write(b"")  # opens it, and purges what is too old, before the first event
    return made


class Logging:
    """The running set-up that :func:`setup` returns. :meth:`close` undoes it; so does leaving its ``with`` block.

    Args:
        logger: loguru's logger.
        level: the least level.
        layout: of the stream; files are JSON, in this layout unless it is ``text``.
        about: service and version.
        stream: where lines go; the process's stderr when None.
        queue_size: lines that may wait for a slow stream.
        files: the service's file and that of the errors, or none.
        runtime: the runtime whose events are logged.
    """

    def __init__(
        self,
        *,
        logger: Logger,
        level: str,
        layout: Layout,
        about: Mapping[str, str],
        stream: TextIO | None,
        queue_size: int,
        files: tuple[DailyFile, ...],
        runtime: Runtime,
    ) -> None:
        logger.level(level)  # raises ValueError for a name that is none
        self._logger = logger
        self._text = layout == "text"
        self._layout: Layout = "json" if layout == "text" else layout
        self._about = about
        self._stream = stream
        self._files = files
        self._rendering = threading.local()
        self._broken = 0
        self._queue = StreamQueue(
            lambda: sys.stderr if self._stream is None else self._stream, size=queue_size, report=self._report
        )
        with suppress(ValueError):
            logger.remove(0)
        # The work is done in the filter: loguru calls it outside of its own lock, so that an object whose __str__ logs
        # neither loses its line nor makes loguru print the raw record.
        self._sink = logger.add(
            _nowhere,
            level=level,
            format=_nothing,
            filter=self._take,
            catch=True,
            diagnose=False,
            backtrace=False,
            colorize=False,
        )
        self._bridge = Bridge(logger, level)
        self._bridge.events(runtime.events.subscribe)
        self._undo_signal = _flush_at_sigterm(self._leave)

    @property
    def failures(self) -> int:
        """Events that could not be rendered, each of which left a line that says so, and refused writes."""
        return self._broken + self._queue.failures

    @property
    def dropped(self) -> int:
        """Lines that were dropped because the stream was too slow."""
        return self._queue.dropped

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until every line is written, at most `timeout` seconds; return False when some are left."""
        return self._queue.flush(timeout)

    def _leave(self) -> None:
        self.flush()
        finish_compressing()

    def close(self) -> None:
        """Put the standard library's logging back, remove our sink, write what waits and close the files."""
        global _active
        if _active is self:
            _active = None
        self._undo_signal()
        self._bridge.close()
        with suppress(ValueError):
            self._logger.remove(self._sink)
        self._queue.close()
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, record: Any) -> bool:
        """Write the line of `record`. Nothing may escape: loguru would print the raw record beside the error."""
        from prodkit.logs.lines import json_line, text_line

        level = str(record["level"].name)
        depth = getattr(self._rendering, "depth", 0)
        self._rendering.depth = depth + 1
        try:
            if depth > _DEEPEST:  # an object that logs itself while it is logged
                raise RecursionError  # noqa: TRY301 - the line that reports it is written below
            entry = _entry(record)
            line = json_line(entry, self._layout, self._about) if self._files or not self._text else b""
            shown = text_line(entry, colour=self._is_terminal()) if self._text else line
        except Exception as error:  # noqa: BLE001
            self._broken += 1
            line = shown = _failed(level, f"an event could not be rendered ({type(error).__name__})")
        finally:
            self._rendering.depth = depth
        self._queue.put(shown)
        for file in self._files[: 2 if record["level"].no >= _ERROR else 1]:
            file.write(line)
        return False

    def _report(self, count: int) -> bytes:
        return _failed("WARNING", f"{count} log lines were dropped: the stream is too slow")

    def _is_terminal(self) -> bool:
        stream = self._stream if self._stream is not None else sys.stderr
        try:
            return bool(stream and stream.isatty()) and "NO_COLOR" not in os.environ
        except ValueError:
            return False

    def __repr__(self) -> str:
        layout = "text" if self._text else self._layout
        return f"Logging(layout={layout!r}, files={len(self._files)})"


def _nowhere(message: Any) -> None:
    """The sink of a handler whose filter does the work."""


def _failed(level: str, message: str) -> bytes:
    safe = level.encode("ascii", "replace").replace(b'"', b"?")
    return b'{"level":"' + safe + b'","logger":"prodkit.logs","message":"' + message.encode() + b'"}\n'


def _flush_at_sigterm(flush: Callable[[], object]) -> Callable[[], None]:
    """Flush before SIGTERM ends the process, where no other handler is set; return the function that undoes it."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None

    def on_signal(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        flush()
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, on_signal)

    def undo() -> None:
        with suppress(ValueError):  # not in the main thread
            if signal.getsignal(signal.SIGTERM) is on_signal:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return undo


def _nothing(record: Any) -> str:
    return ""


def _entry(record: Any) -> Entry:
    from prodkit.logs.lines import Entry

    fields = {**current(), **record["extra"]}
    if type(record["file"]) is BridgedFile:
        fields.pop("_path", None)
    raised = record["exception"]
    return Entry(
        time=record["time"],
        level=str(record["level"].name),
        logger=str(record["name"] or "-"),
        where=f"{record['file'].name}:{record['line']}",
        message=record["message"],
        fields=fields,
        error=raised.value if raised is not None else None,
    )
