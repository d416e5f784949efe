"""One visitor's session: a dict that knows what changed in it, and what is to become of its id.

Nothing here waits or reads a clock. :class:`~prodkit.sessions.Sessions` loads a session, hands it to the request,
and afterwards carries out what the request asked of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Literal

from prodkit.sessions.cookie import new_id

__all__ = ["Session", "digest"]


def digest(session_id: str) -> bytes:
    """What the store knows an id by: its SHA-256. Of 256 random bits no salt is needed."""
    return hashlib.sha256(session_id.encode()).digest()


def canonical(key: str, value: Any) -> str:
    """The JSON text of a value, equal for equal values. Raises TypeError or ValueError naming the key."""
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
    """What ``request.session`` is.

    Keys are strings, values JSON; a change inside a nested list or dict is noticed too. A session without data and
    without user exists nowhere: it costs no row and no cookie.

    :meth:`login`, :meth:`rotate` and :meth:`logout` take effect when the response begins. When the handler fails
    with a 5xx, what it wrote is not kept; a logout is.
    """

    __slots__ = (
        "_before",
        "_data",
        "_ending",
        "accessed",
        "id",
        "idle",
        "left",
        "owner",
        "previous",
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
    ) -> None:
        self.id = session_id
        self.owner = user_id
        """What :attr:`user_id` says, for middleware: reading it does not make the response depend on the session."""
        self.idle = idle
        """Seconds since the store last extended the session, as of loading."""
        self.left = left
        """Seconds until the absolute lifetime ends, as of loading."""
        self.previous: str | None = None
        self.rotation: Literal["login", "rotate"] | None = None
        self.accessed = False
        self._ending: list[str] = []
        self._data: dict[str, Any] = dict(data or {})
        # What the data was when it was first looked at: None until then, for most requests only ask who it is.
        self._before: dict[str, str] | None = None

    def login(self, user_id: str) -> None:
        """Makes this the session of `user_id`, under a new id and with a new absolute lifetime.

        The data stays (a basket survives the login) unless another user was signed in, whose data goes.
        """
        given: object = user_id
        if not isinstance(given, str) or not given:
            raise ValueError(f"login needs the user's id as a non-empty string, got {user_id!r}")
        if self.owner is not None and self.owner != user_id:
            self.logout()
        self._renew("login")
        self.owner = user_id
        self.accessed = True

    def rotate(self) -> None:
        """Moves everything under a new id; for a change of password or of rights. The lifetime stays."""
        if self.id is not None:
            self._renew(self.rotation or "rotate")

    def logout(self) -> None:
        """Ends the session: its id is dead and its data gone. What is written afterwards starts a new one."""
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

    @property
    def user_id(self) -> str | None:
        """Whom :meth:`login` named; None for an anonymous visitor."""
        self.accessed = True
        return self.owner

    @property
    def is_new(self) -> bool:
        """Whether the store does not know this session yet."""
        return self.id is None or (self.rotation is not None and self.previous is None)

    @property
    def ended(self) -> tuple[str, ...]:
        """The ids that :meth:`logout` ended."""
        return tuple(self._ending)

    def forget_ended(self) -> None:
        """The store has carried out the logout."""
        self._ending.clear()

    def settled(self) -> None:
        """Forgets what was asked of this session: the store has it now."""
        self.previous = self.rotation = None
        self._before = None

    def changes(self) -> tuple[dict[str, str], list[str], int]:
        """What the request changed: new values as JSON texts by key, the removed keys, and the size of all data."""
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
