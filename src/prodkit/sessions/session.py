"""One visitor's session: a dict that tracks its changes and the fate of its id.

Nothing here waits or reads a clock. :class:`~prodkit.sessions.Sessions` loads a session, hands it to the request,
and afterwards carries out what the request asked of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Literal

from prodkit.errors import InvalidSessionError
from prodkit.sessions.cookie import new_id

__all__ = ["Session", "StepUpRequiredError", "digest"]


class StepUpRequiredError(InvalidSessionError):
    """The action needs a login that is more recent than the session's."""


def digest(session_id: str) -> bytes:
    """Return the SHA-256 of a session id, which the store keeps instead of it. 256 random bits need no salt."""
    return hashlib.sha256(session_id.encode()).digest()


def canonical(key: str, value: Any) -> str:
    """Return the JSON text of a value, equal for equal values. The error for other values names the key."""
    if not isinstance(key, str):
        raise TypeError(f"session keys are strings, got {key!r}")
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"session[{key!r}] holds half of a surrogate pair, which is not text") from None
    except (TypeError, ValueError) as error:
        raise type(error)(f"session[{key!r}] is not JSON: {error}") from None
    return text


def _texts(data: Mapping[str, Any]) -> dict[str, str]:
    return {key: canonical(key, value) for key, value in data.items()}


class Session(MutableMapping[str, Any]):
    """The type of ``request.session``.

    Keys are strings, values JSON; a change inside a nested list or dict is noticed too. A session without data and
    without user exists nowhere: it costs no row and no cookie.

    :meth:`login`, :meth:`rotate` and :meth:`logout` take effect when the response begins. When the handler fails
    with a 5xx, its writes are dropped; a logout is carried out.

    Args:
        session_id: the id that the cookie named; None for a visitor without one.
        user_id: the signed-in user.
        data: the values by key.
        idle: seconds since the store last extended the session.
        left: seconds until the absolute lifetime ends.
        age: seconds since the login.
    """

    __slots__ = (
        "_before",
        "_data",
        "_ending",
        "accessed",
        "address",
        "age",
        "device",
        "id",
        "idle",
        "left",
        "owner",
        "previous",
        "renew_cookie",
        "rotation",
    )

    def __init__(
        self,
        session_id: str | None = None,
        *,
        user_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        idle: float = 0.0,
        left: float = 0.0,
        age: float = 0.0,
    ) -> None:
        self.id: str | None = session_id
        self.owner: str | None = user_id
        """The same as :attr:`user_id`, for middleware: reading it does not make the response vary by cookie."""
        self.idle: float = idle
        """Seconds since the store last extended the session, as of loading."""
        self.left: float = left
        """Seconds until the absolute lifetime ends, as of loading."""
        self.age: float = age
        """Seconds since the login, as of loading."""
        self.device: str = ""
        """The ``User-Agent`` of the request."""
        self.address: str = ""
        """The address of the request."""
        self.renew_cookie: bool = False
        """The cookie was signed with an old key and is sent again under the new one."""
        self.previous: str | None = None
        self.rotation: Literal["login", "rotate"] | None = None
        self.accessed: bool = False
        self._ending: list[str] = []
        self._data: dict[str, Any] = dict(data or {})
        # The data as it was when first accessed; None until then, because most requests only ask for the user.
        self._before: dict[str, str] | None = None

    def login(self, user_id: str) -> None:
        """Make this the session of `user_id`, under a new id and with a new absolute lifetime.

        The data stays (a basket survives the login) unless another user was signed in, whose data goes.
        """
        given: object = user_id
        if not isinstance(given, str) or not given:
            raise ValueError(f"login needs the user's id as a non-empty string, got {user_id!r}")
        if self.owner is not None and self.owner != user_id:
            self.logout()
        self._renew("login")
        self.owner = user_id
        self.age = 0.0
        self.accessed = True

    def rotate(self) -> None:
        """Move everything under a new id, for a change of password or of rights. The lifetime stays."""
        if self.id is not None:
            self._renew(self.rotation or "rotate")

    def logout(self) -> None:
        """End the session: its id is dead and its data gone. Later writes start a new one."""
        gone = self.previous or (self.id if self.rotation is None else None)
        if gone is not None:
            self._ending.append(gone)
        self.id = self.previous = self.rotation = self.owner = None
        self.left = 0.0
        self._data.clear()
        self._before = {}
        self.accessed = True

    def _renew(self, why: Literal["login", "rotate"]) -> None:
        if self.rotation is None:
            self.previous = self.id
        self.rotation = why
        self.id = new_id()  # at once, so that a CSRF token made later in this request is bound to it

    def signed_in_within(self, seconds: float) -> bool:
        """Return True when a user signed in here within the last `seconds`."""
        self.accessed = True
        return self.owner is not None and self.age <= seconds

    def require_recent_login(self, seconds: float = 300.0) -> None:
        """Require a login within the last `seconds`, before a change of password or a payment.

        The error pages answer 401 with the code ``confirm``: ask for the password and call :meth:`login` again.

        Raises:
            StepUpRequiredError: the login is older, or there is none.
        """
        if not self.signed_in_within(seconds):
            raise StepUpRequiredError(f"this needs a login within the last {seconds:g} s")

    @property
    def user_id(self) -> str | None:
        """The user that :meth:`login` named; None for an anonymous visitor."""
        self.accessed = True
        return self.owner

    @property
    def is_new(self) -> bool:
        """True when the store does not know this session yet."""
        return self.id is None or (self.rotation is not None and self.previous is None)

    @property
    def ended(self) -> tuple[str, ...]:
        """The ids that :meth:`logout` ended."""
        return tuple(self._ending)

    def forget_ended(self) -> None:
        """Note that the store has carried out the logout."""
        self._ending.clear()

    def settled(self) -> None:
        """Note that the store has carried out everything that was asked of this session."""
        self.previous = self.rotation = None
        self._before = None

    def changes(self) -> tuple[dict[str, str], list[str], int]:
        """Return the changes: new values as JSON texts by key, the removed keys, and the size of all data."""
        if self._before is None:
            return {}, [], 0
        now = _texts(self._data)
        changed = {key: text for key, text in now.items() if self._before.get(key) != text}
        size = sum(len(key.encode()) + len(text.encode()) for key, text in now.items())
        return changed, [key for key in self._before if key not in now], size

    def _look(self) -> None:
        self.accessed = True
        if self._before is None:
            self._before = _texts(self._data)

    def __getitem__(self, key: str) -> Any:
        self._look()
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"session keys are strings, got {key!r}")
        self._look()
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        self._look()
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        self._look()
        return iter(self._data)

    def __len__(self) -> int:
        self._look()
        return len(self._data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __repr__(self) -> str:
        who = "anonymous" if self.owner is None else "signed in"
        return f"Session({who}, {len(self._data)} keys)"
