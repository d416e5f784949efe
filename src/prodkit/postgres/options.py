"""Options of a pool: checked all at once, and those of a connect in one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from prodkit.core.runtime import Runtime
from prodkit.core.secrets import Hidden, Revealable, reveal
from prodkit.core.validate import Arguments
from prodkit.errors import DatabaseError, InvalidError
from prodkit.postgres.address import MODES, parse
from prodkit.postgres.profiles import DEVELOPMENT, Profile

if TYPE_CHECKING:
    from asyncpg import Connection, Record

    Init: TypeAlias = Callable[[Connection[Record]], Awaitable[object]]

__all__ = ["DEFAULT_NAME", "AddressError", "ConnectOptions", "checked"]

DEFAULT_NAME: Final = "prodkit"
"""``application_name`` where none is given."""


class AddressError(DatabaseError, InvalidError):
    """The address of the database cannot be used; no server was asked."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """Options of a new connection. The fields are parameters of :class:`~prodkit.postgres.Pool`."""

    command_timeout: float
    connect_timeout: float
    max_lifetime: float
    idle_in_transaction_timeout: float | None
    statement_cache_size: int | None
    application_name: str
    server_settings: Mapping[str, str]
    ssl: Any
    json: bool
    init: Init | None
    reserved_slots: int


def checked(
    *,
    dsn: object,
    environment: object,
    min_size: object,
    max_size: object,
    seconds: Mapping[str, object],
    optional: Mapping[str, object],
    server_settings: object,
    ssl: object,
    **others: object,
) -> tuple[int, int]:
    """Return `min_size` and `max_size` of a pool whose parameters are right.

    Args:
        dsn: as all below, a parameter of :class:`~prodkit.postgres.Pool`.
        environment: chooses the sizes that are not given.
        min_size: see there.
        max_size: see there.
        seconds: limits by name.
        optional: limits by name that may be None.
        server_settings: see there.
        ssl: see there.
        others: the remaining parameters.

    Raises:
        AddressError: an address cannot be used.
        TypeError: only types were wrong; every problem is named.
        ValueError: at least one value was out of range.
    """
    check = Arguments("Pool")
    check.instance("dsn", dsn, (str, Revealable), "an address")
    sizes = _sizes(check, environment, min_size, max_size)
    for name, value in seconds.items():
        check.seconds(name, value)
    for name, value in optional.items():
        check.seconds(name, value, optional=True)
    check.integer("statement_cache_size", others["statement_cache_size"], minimum=0, optional=True)
    check.integer("fleet", others["fleet"], minimum=1)
    check.integer("reserved_slots", others["reserved_slots"], minimum=0)
    check.text("application_name", others["application_name"])
    check.text("name", others["name"])
    check.function("init", others["init"], optional=True)
    check.instance("runtime", others["runtime"], Runtime, "a Runtime")
    check.instance("json", others["json"], bool, "True or False")
    check.instance(
        "replicas", others["replicas"], (str, Revealable, bool), "an address or True", optional=True
    )
    check.instance("server_settings", server_settings, Mapping, "a mapping of names to texts", optional=True)
    if isinstance(server_settings, Mapping):
        for name, setting in server_settings.items():
            check.text(f"server_settings[{name!r}]", setting, empty=True)
    check.instance("ssl", ssl, (SSLContext, str, bool), "an SSLContext, a mode or True", optional=True)
    if isinstance(ssl, str):
        check.one_of("ssl", ssl, MODES)
    given = _usable(check, "dsn", dsn)
    usable = _usable(check, "replicas", others["replicas"]) and given
    try:
        check.done()
    except ValueError as error:
        raise error if usable else AddressError(str(error)) from None
    return sizes


def _usable(check: Arguments, name: str, given: object) -> bool:
    """Return True for a usable address; report what is wrong with another one, without a piece of it.

    One that a provider hands out is read when it is needed: it may not be there yet.
    """
    problem = parse(reveal(given), files=False).problem if isinstance(given, str | Hidden) else ""
    check.that(not problem, f"{name}: the address of the database cannot be used: {problem}")
    return not problem


def _sizes(check: Arguments, environment: object, min_size: object, max_size: object) -> tuple[int, int]:
    """Fill in the sizes that were not given from the environment's profile; one that is given bounds the other."""
    profile = DEVELOPMENT
    if environment is not None:
        check.attempt(lambda: Profile.of(str(environment)))
        with suppress(ValueError):
            profile = Profile.of(str(environment))
    check.integer("min_size", min_size, minimum=0, optional=True)
    check.integer("max_size", max_size, minimum=1, optional=True)
    low = min_size if isinstance(min_size, int) else None
    high = max_size if isinstance(max_size, int) else None
    if low is None:
        low = profile.min_size if high is None else max(0, min(profile.min_size, high))
    if high is None:
        high = max(profile.max_size, low)
    check.that(
        low <= high,
        f"min_size must not be above max_size, got min_size={min_size!r} and max_size={max_size!r}",
    )
    return low, high
