"""Fields that every line of a request carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prodkit.errors import MissingExtraError

if TYPE_CHECKING:
    from loguru import Logger

__all__ = ["bind", "context", "current", "loguru"]

_fields: ContextVar[Mapping[str, Any]] = ContextVar("prodkit_log_fields")


def current() -> Mapping[str, Any]:
    """The fields in force here."""
    return _fields.get({})


@contextmanager
def context(**fields: Any) -> Iterator[None]:
    """Adds `fields` to every line logged inside, in tasks started inside and in ``asyncio.to_thread`` as well.

    ::

        with logs.context(request_id=request_id):
            ...
    """
    token = _fields.set({**current(), **fields})
    try:
        yield
    finally:
        with suppress(
            ValueError
        ):  # closed by another task than the one that entered, as async generators are
            _fields.reset(token)


def bind(**fields: Any) -> Logger:
    """A loguru logger whose lines carry `fields`."""
    return loguru().bind(**fields)


def loguru() -> Logger:
    """Return loguru's logger.

    Raises:
        MissingExtraError: loguru or orjson is not installed.
    """
    try:
        import loguru as module
        import orjson  # noqa: F401 - wanted as soon as a line is written
    except ModuleNotFoundError as error:
        if error.name not in ("loguru", "orjson"):
            raise
        raise MissingExtraError.named(str(error.name), "logs") from None
    return module.logger
