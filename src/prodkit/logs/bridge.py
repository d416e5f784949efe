"""Bridges to the log: the standard library's loggers, warnings, uncaught errors and the kit's events."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from prodkit.core.events import Event
from prodkit.core.redaction.redactor import show

if TYPE_CHECKING:
    from loguru import Logger

__all__ = ["Bridge", "BridgedFile"]

# Loggers that bring handlers of their own and keep their lines to themselves.
_OWN_HANDLERS = (
    "uvicorn",
    "uvicorn.access",
    "uvicorn.error",
    "uvicorn.asgi",
    "gunicorn.error",
    "gunicorn.access",
)
# They say of each request what our events say better, and with its address.
_TALKATIVE = ("httpx", "httpx2", "httpcore", "httpcore2")
_STANDARD = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"))


# What every record of the standard library has; anything else came from the caller's ``extra=``.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _from_kit(record: Any) -> None:
    record["name"] = "prodkit"


class BridgedFile:
    """The file of a standard record, as loguru shows its own."""

    __slots__ = ("name", "path")

    def __init__(self, path: str) -> None:
        self.path: str = path
        self.name: str = os.path.basename(path)  # noqa: PTH119 - a name, not a path

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)


class _Handler(logging.Handler):
    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception as problem:  # noqa: BLE001 - arguments that do not fit their format, or cannot be shown
            text = f"{show(record.msg):.200} <arguments could not be shown: {type(problem).__name__}>"
        level = next((name for number, name in _STANDARD if record.levelno >= number), "DEBUG")
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is None and record.exc_text:  # rendered elsewhere, as a QueueHandler does
            text = f"{text}\n{record.exc_text}"
        if record.stack_info:
            text = f"{text}\n{record.stack_info}"
        extra = {key: value for key, value in vars(record).items() if key not in _USUAL}

        def from_there(found: Any) -> None:
            found["name"] = record.name
            found["function"] = record.funcName
            found["line"] = record.lineno
            found["file"] = BridgedFile(record.pathname)
            found["extra"].update(extra)
            found["extra"]["_path"] = record.pathname  # marks the copy for the hook of Sentry

        self._logger.patch(from_there).opt(exception=error).log(level, text)


class Bridge:
    """Connects everything to `logger`, and puts everything back on :meth:`close`."""

    def __init__(self, logger: Logger, level: str) -> None:
        self._logger = logger
        self._undo: list[Callable[[], object]] = []
        self._standard(level)
        self._hooks()

    def events(self, subscribe: Callable[[Callable[[Any], object]], Callable[[], None]]) -> None:
        """Logs every event of the stream whose ``subscribe`` this is."""
        self._undo.append(subscribe(self._on_event))

    def close(self) -> None:
        """Puts loggers, warnings and hooks back as they were."""
        while self._undo:
            self._undo.pop()()

    def _on_event(self, event: Event) -> None:
        fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
        self._logger.patch(_from_kit).bind(**fields).log(event.level, event.name)

    def _standard(self, level: str) -> None:
        root = logging.getLogger()
        before, root_level = list(root.handlers), root.level
        root.handlers[:] = [_Handler(self._logger)]
        root.setLevel(level if level in logging.getLevelNamesMapping() else "INFO")

        def put_back() -> None:
            root.handlers[:] = before
            root.setLevel(root_level)

        self._undo.append(put_back)
        for name in _OWN_HANDLERS:
            self._free(logging.getLogger(name))
        for name in _TALKATIVE:
            self._quieten(logging.getLogger(name))
        logging.captureWarnings(True)
        self._undo.append(lambda: logging.captureWarnings(False))

    def _free(self, logger: logging.Logger) -> None:
        handlers, propagate = list(logger.handlers), logger.propagate
        logger.handlers.clear()
        logger.propagate = True

        def put_back() -> None:
            logger.handlers[:] = handlers
            logger.propagate = propagate

        self._undo.append(put_back)

    def _quieten(self, logger: logging.Logger) -> None:
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
            self._undo.append(lambda: logger.setLevel(logging.NOTSET))

    def _hooks(self) -> None:
        before, thread_before, ignored_before = sys.excepthook, threading.excepthook, sys.unraisablehook

        def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            if isinstance(error, KeyboardInterrupt):
                before(kind, error, trace)
            else:
                self._logger.opt(exception=error).critical("uncaught exception")

        def in_thread(args: threading.ExceptHookArgs) -> None:
            if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
                name = args.thread.name if args.thread else "?"
                self._logger.opt(exception=args.exc_value).bind(thread=name).critical(
                    "uncaught exception in a thread"
                )

        def ignored(args: sys.UnraisableHookArgs) -> None:
            if args.exc_value is not None:
                place = getattr(args.object, "__qualname__", type(args.object).__name__)
                self._logger.opt(exception=args.exc_value).bind(place=place).error("exception ignored")
            if ignored_before is not sys.__unraisablehook__:  # that one would print the secrets
                ignored_before(args)

        sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, ignored

        def put_back() -> None:
            if sys.excepthook is uncaught:
                sys.excepthook = before
            if threading.excepthook is in_thread:
                threading.excepthook = thread_before
            if sys.unraisablehook is ignored:
                sys.unraisablehook = ignored_before

        self._undo.append(put_back)
