"""One call that sets up everything a service logs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TextIO, runtime_checkable

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import REGISTRY, Revealable
from prodkit.logs.bridge import Bridge
from prodkit.logs.fields import current, loguru
from prodkit.logs.files import DailyFile

if TYPE_CHECKING:
    from loguru import Logger

    from prodkit.logs.lines import Entry

__all__ = ["ERROR_DAYS", "KEEP_DAYS", "HasSecrets", "Logging", "setup"]

KEEP_DAYS: Final = 7
"""How long the service that prodkit was made for keeps its log files."""
ERROR_DAYS: Final = 30
"""How long it keeps its errors."""

_ERROR = 40
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
    stream: TextIO | None = None,
    json: bool | None = None,
    runtime: Runtime = SYSTEM,
) -> Logging:
    """Sends everything that is logged to stderr, and to files in `directory` when it is given; all of it redacted.

    ``staging`` and ``production`` write JSON lines from INFO on, the other environments readable lines from DEBUG
    on; `json` and `level` override that. `secrets` are values that may never appear: the settings themselves, or
    texts. `directory` gets ``service.<day>.log`` for `keep_days` and ``errors.<day>.log`` for `error_days`, always
    JSON. The standard library's loggers (uvicorn's too), warnings, uncaught exceptions and the events of `runtime`
    are logged as well.

    Calling it again replaces the setup before. Other loguru sinks, such as Sentry's, stay; only loguru's default
    one goes.
    """
    global _active
    if _active is not None:
        _active.close()
    _active = Logging(
        logger=loguru(),
        level=(level or ("INFO" if environment in ("staging", "production") else "DEBUG")).upper(),
        json=environment in ("staging", "production") if json is None else json,
        stream=stream,
        directory=directory,
        keep_days=keep_days,
        error_days=error_days,
        runtime=runtime,
    )
    REGISTRY.add(*(secrets.secret_values() if isinstance(secrets, HasSecrets) else secrets))
    return _active


class Logging:
    """The running set-up that :func:`setup` returns. :meth:`close` undoes it; so does leaving its ``with`` block."""

    def __init__(
        self,
        *,
        logger: Logger,
        level: str,
        json: bool,
        stream: TextIO | None,
        directory: str | os.PathLike[str] | None,
        keep_days: int,
        error_days: int,
        runtime: Runtime,
    ) -> None:
        logger.level(level)  # raises ValueError for a name that is none
        self._logger = logger
        self._json = json
        self._stream = stream
        self.failures = 0
        """Events that could not be rendered; each left a line that says so."""
        self._files: tuple[DailyFile, ...] = ()
        if directory is not None:
            self._files = (
                DailyFile(directory, "service", keep_days=keep_days, clock=runtime.clock),
                DailyFile(directory, "errors", keep_days=error_days, clock=runtime.clock),
            )
            for file in self._files:
                file.write(b"")  # opens it, and purges what is too old, before the first event
        with suppress(ValueError):
            logger.remove(0)
        self._sink = logger.add(
            self._write,
            level=level,
            format=_nothing,
            catch=True,
            diagnose=False,
            backtrace=False,
            colorize=False,
        )
        self._bridge = Bridge(logger, level)
        self._bridge.events(runtime.events.subscribe)

    def close(self) -> None:
        """Puts the standard library's logging back, removes our sink and closes the files."""
        global _active
        if _active is self:
            _active = None
        self._bridge.close()
        with suppress(ValueError):
            self._logger.remove(self._sink)
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, message: Any) -> None:
        # Nothing may escape: loguru would print the raw record, secrets and all, beside the error.
        from prodkit.logs.lines import json_line, text_line

        record = message.record
        level = str(record["level"].name)
        severe = record["level"].no >= _ERROR
        try:
            entry = _entry(record)
            line = json_line(entry) if self._json or self._files else b""
            shown = line if self._json else text_line(entry, colour=self._is_terminal())
        except Exception as error:  # noqa: BLE001
            self.failures += 1
            line = shown = (
                b'{"level":"' + level.encode("ascii", "replace").replace(b'"', b"?") + b'","message":"'
                b"an event could not be rendered ("
                + type(error).__name__.encode("ascii", "replace")
                + b')"}\n'
            )
        self._show(shown)
        for file in self._files[: 2 if severe else 1]:
            file.write(line)

    def _show(self, line: bytes) -> None:
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is None:
            return
        try:
            raw = getattr(stream, "buffer", None)
            if raw is not None:
                raw.write(line)
            else:
                stream.write(line.decode("utf-8", "replace"))
            stream.flush()
        except (OSError, ValueError):  # a pipe whose reader has gone, a stream that is closed
            self.failures += 1

    def _is_terminal(self) -> bool:
        stream = self._stream if self._stream is not None else sys.stderr
        try:
            return bool(stream and stream.isatty()) and "NO_COLOR" not in os.environ
        except ValueError:
            return False

    def __repr__(self) -> str:
        return f"Logging(json={self._json}, files={len(self._files)})"


def _nothing(record: Any) -> str:
    return ""


def _entry(record: Any) -> Entry:
    from prodkit.logs.lines import Entry

    fields = {**current(), **record["extra"]}
    path = fields.pop("_path", None)
    file = os.path.basename(path) if path else record["file"].name  # noqa: PTH119 - a name, not a path
    raised = record["exception"]
    return Entry(
        time=record["time"],
        level=str(record["level"].name),
        logger=str(record["name"] or "-"),
        where=f"{file}:{record['line']}",
        message=record["message"],
        fields=fields,
        error=raised.value if raised is not None else None,
    )
