"""Secrets: values that hide themselves, and the register of those that no output of the process may show.

Secret("…")            repr, str, JSON and pickle hide it; .reveal() gives the text
    └─ Settings.load ─▶ REGISTRY.add ─▶ redaction replaces every spelling of it: logs, Sentry, health, SSE, …
"""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn, Protocol, Self, runtime_checkable

from prodkit.core.encodings import Spellings, spellings
from prodkit.core.quality import is_placeholder

__all__ = ["MASK", "REGISTRY", "Hidden", "Revealable", "RuleError", "Secret", "SecretRegistry", "reveal"]

MASK: Final = "***"
"""The text shown in place of a secret."""


@runtime_checkable
class Revealable(Protocol):
    """A value whose ``repr`` and ``str`` hide it, such as ``env.Secret`` or ``env.PostgresUrl``."""

    def reveal(self) -> str:
        """Return the value itself."""
        ...


def reveal(value: str | Revealable) -> str:
    """Return the text of `value`, hidden or not."""
    return value if isinstance(value, str) else value.reveal()


class RuleError(ValueError):
    """A broken rule of a settings field: its code and facts, never the value.

    Args:
        rule: the code that ``EnvProblem.rule`` shows.
        facts: what fills the hint, such as ``min_length=32``.
    """

    def __init__(self, rule: str, **facts: object) -> None:
        super().__init__(rule)
        self.rule = rule
        self.facts = facts


class Hidden:
    """The base of values whose ``repr``, ``str``, dump and pickle must not show them."""

    __slots__ = ("_value",)
    _value: str

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} does not change")

    def reveal(self) -> str:
        """Return the value itself. This is the only access: search the code for it to see where secrets go."""
        return self._value

    def secret_values(self) -> tuple[str, ...]:
        """Return the texts of this value that no log may show."""
        return (self._value,)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hidden) or type(other) is not type(self):
            return NotImplemented
        return hmac.compare_digest(_bytes(self), _bytes(other))

    def __hash__(self) -> int:
        return hash((type(self), self._value))

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} does not pickle: a pickle would hold it in clear text. "
            "Load the settings again in the other process, or pass .reveal() on purpose"
        )

    @classmethod
    def _parse(cls, value: object) -> Self:
        raise NotImplementedError

    # pydantic's protocol for types of others: its core schemas are plain dictionaries, so nothing is imported here.
    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": cls._parse},
            "json_schema_input_schema": {"type": "str"},
            "serialization": {"type": "function-plain", "function": str, "when_used": "json"},
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> dict[str, Any]:
        return {"type": "string", "writeOnly": True, "format": "password"}


def _bytes(value: Hidden) -> bytes:
    return value.reveal().encode("utf-8", "surrogatepass")


class Secret(Hidden):
    """A password, key or token. ``repr`` and ``str`` show ``***``; :meth:`reveal` gives the text.

    Equality takes the same time wherever the difference is. It cannot be pickled, and JSON dumps are masked.
    As a field of ``env.Settings`` it refuses blanks, placeholders such as ``changeme``, and values that arrive with
    quotes, line breaks or blanks around them.

    Args:
        value: the text to hide.
    """

    __slots__ = ()

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"Secret takes a str, got {type(value).__name__}")
        object.__setattr__(self, "_value", value)

    def __len__(self) -> int:
        return len(self._value)

    @classmethod
    def _parse(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise RuleError("text")
        if not value.strip():
            raise RuleError("blank")
        if is_placeholder(value):
            raise RuleError("placeholder")
        return cls(value)


# Values that name a thing rather than hide one: masking them would blank out ordinary sentences. A development
# database that is called postgres and has the password postgres is the usual case.
_STOP_WORDS_TEXT = """
    access account admin administrator amqp anonymous apikey application backend cache changeme client config
    connection database debug default develop development docker example frontend guest localhost master memcached
    mongodb mysql password passwd postgres postgresql private prodkit production public python qwerty rabbitmq redis
    release sample secret secrets server service session sqlite staging string superuser system testing username
    valkey 123456 1234567 12345678 123456789 1234567890
"""
_STOP_WORDS: Final = frozenset(_STOP_WORDS_TEXT.split())
_SHORTEST: Final = 6  # characters; a shorter value would be found inside ordinary words
_GRAM: Final = 6  # see SecretRegistry.replace
_LONG: Final = 14
_SOLID: Final = bytes(32 if chr(code).isspace() else 97 for code in range(256))


class SecretRegistry:
    """The values that no output of this process may show.

    ``Settings.load`` adds what it loads; redaction asks it for every text. Values under six characters and words
    such as ``postgres`` are not registered; a value of letters only counts as a whole word. All methods are safe
    across threads.
    """

    __slots__ = ("_callbacks", "_index", "_known", "_lock", "_longest", "shortest", "solid")
    _index: _Index
    _longest: int
    shortest: int
    """Length of the shortest registered spelling: shorter texts hold none. Beyond any text when there is none."""
    solid: bool
    """No spelling has less than 14 characters, or a blank: a text of shorter words holds none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Spellings] = {}
        self._callbacks: tuple[Callable[[], object], ...] = ()
        self._rebuild()

    def add(self, *values: str | Revealable) -> None:
        """Register `values` and their encodings."""
        with self._lock:
            texts = (reveal(each) for each in values)
            new = {text: spellings(text) for text in texts if text not in self._known and _registrable(text)}
            if not new:
                return
            self._known = {**self._known, **new}
            self._rebuild()

    def forget(self, *values: str | Revealable) -> None:
        """Remove `values`, such as those of a key that is no longer valid; unknown ones are ignored."""
        gone = {reveal(each) for each in values}
        with self._lock:
            self._known = {text: forms for text, forms in self._known.items() if text not in gone}
            self._rebuild()

    def rotate(self, old: str | Revealable, new: str | Revealable) -> None:
        """Register `new`. `old` stays registered, since it still turns up in late messages: :meth:`forget` it later.

        Args:
            old: the value in use until now.
            new: the value that replaces it.
        """
        self.add(old, new)

    def clear(self) -> None:
        """Remove every value: for tests."""
        with self._lock:
            self._known = {}
            self._rebuild()

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call `callback` after each change: caches of redacted texts are emptied by it."""
        self._callbacks = (*self._callbacks, callback)

    @property
    def longest(self) -> int:
        """Length of the longest registered spelling."""
        return self._longest

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and value in self._known

    def __repr__(self) -> str:
        return f"SecretRegistry({len(self._known)} values)"

    def replace(self, text: str) -> str:
        """Return `text` with every spelling of a registered value replaced by ``***``.

        Searching for each of a hundred spellings costs a scan each. So all pieces of 6 characters of the long ones are
        in one set. Where a run without blanks is as long as the shortest of them, the pieces of that run are looked up,
        as far apart as the shortest spelling allows::

            run       ······|······|······|      pieces begin at 0, 9, 18, … for a shortest spelling of 14
            spelling     abcdefghijklmn          it holds at least one whole piece, wherever it begins

        Only a hit, or a spelling that is shorter, is searched for.
        """
        index = self._index  # one read: another thread may put a new one in its place
        if len(text) >= index.shortest and _may_hold(text, index):
            for needle in index.long:
                if needle in text:
                    inside = needle in index.base64
                    text = _around(needle).sub(MASK, text) if inside else text.replace(needle, MASK)
        for needle in index.short:
            if needle in text:
                text = text.replace(needle, MASK)
        for needle, pattern in index.words:
            if needle in text:
                text = pattern.sub(MASK, text)
        return text

    def _rebuild(self) -> None:
        words: set[str] = set()
        needles: set[str] = set()
        base64: set[str] = set()
        for text, forms in self._known.items():
            needles |= forms.literal | forms.base64
            base64 |= forms.base64
            if text.isalpha() and len(text) < _LONG:
                words.add(text)
                needles.discard(text)
        # The longest first: the base64 of a value may hold that of another.
        ordered = sorted(needles, key=lambda text: (-len(text), text))
        long = tuple(text for text in ordered if len(text) >= _LONG)
        self._longest = max((len(text) for text in (*ordered[:1], *words)), default=0)
        shortest = min(map(len, long), default=1 << 62)
        self.shortest = min(map(len, (*ordered[-1:], *words)), default=1 << 62)
        solid = not any(char.isspace() for text in long for char in text)
        self.solid = solid and not words and len(long) == len(ordered)
        self._index = _Index(
            step=shortest - _GRAM + 1,
            shortest=shortest,
            run=b"a" * shortest if solid and long else None,
            grams=frozenset(text[at : at + _GRAM] for text in long for at in range(len(text) - _GRAM + 1)),
            long=long,
            short=tuple(text for text in ordered if len(text) < _LONG),
            words=tuple((text, _whole_word(text)) for text in sorted(words)),
            base64=frozenset(base64),
        )
        for callback in self._callbacks:
            callback()


class _Index(NamedTuple):
    """The spellings of all registered values, prepared for the search."""

    shortest: int  # of the long spellings; more than any text has without one
    step: int  # between two pieces of the text that are looked up
    run: (
        bytes | None
    )  # what a text needs to hold a long spelling, as `_SOLID` shows it; None when one has blanks
    grams: frozenset[str]
    long: tuple[str, ...]
    short: tuple[str, ...]
    words: tuple[tuple[str, re.Pattern[str]], ...]
    base64: frozenset[str]


def _may_hold(text: str, index: _Index) -> bool:
    """Return True when a piece of `text` is a piece of a long spelling."""
    step, run = index.step, index.run
    if run is None:
        return not index.grams.isdisjoint([text[at : at + _GRAM] for at in range(0, len(text), step)])
    shape = text.encode("latin-1", "replace").translate(_SOLID)
    begin = shape.find(run)
    while begin >= 0:
        end = shape.find(b" ", begin)
        if end < 0:
            end = len(shape)
        if not index.grams.isdisjoint([text[at : at + _GRAM] for at in range(begin, end, step)]):
            return True
        begin = shape.find(run, end)
    return False


def _around(needle: str) -> re.Pattern[str]:
    """Match base64 with the characters beside it that hold some bits of the value, see ``encodings``."""
    return re.compile(rf"[A-Za-z0-9+/_-]?{re.escape(needle)}[A-Za-z0-9+/_-]?={{0,2}}")


def _whole_word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(text)}(?![A-Za-z0-9])")


def _registrable(text: str) -> bool:
    return len(text.strip()) >= _SHORTEST and text.lower() not in _STOP_WORDS


REGISTRY: Final = SecretRegistry()
"""The register of this process."""
