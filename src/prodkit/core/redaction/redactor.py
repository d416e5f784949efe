"""Takes the secrets out of any value, in time linear in its size and never raising."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set as AbstractSet
from typing import Any, Final

from prodkit.core.redaction.names import is_sensitive
from prodkit.core.redaction.scrub import scrub
from prodkit.core.secrets import MASK, REGISTRY, Revealable

__all__ = ["add_secrets", "redact", "redact_text", "show"]

MAX_DEPTH: Final = 12
MAX_NODES: Final = 5_000
MAX_TEXT: Final = 65_536
_SCALARS = (bool, int, float, type(None))

# Short texts that were found to hold no secret: messages, names and routes come again and again.
_clean: set[str] = set()
_SHORT: Final = 120
_REMEMBERED: Final = 4096
REGISTRY.on_change(_clean.clear)


def add_secrets(values: Iterable[str | Revealable]) -> None:
    """Register `values` that no output may show: the short form of ``secrets.REGISTRY.add``."""
    REGISTRY.add(*values)


def redact(value: Any) -> Any:
    """`value` without its secrets; the original is left as it is.

    Texts lose what looks like a secret: passwords in addresses, ``password=…``, headers, API keys,
    JWTs, private keys, card numbers, CPF and CNPJ, and every registered value. Mappings, lists, tuples and sets
    are copied, sensitive keys lose their values, and so do pairs such as ``("Authorization", "…")``. Numbers,
    booleans and None stay; any other object becomes its redacted text. What is nested deeper than 12 levels,
    cyclic, or beyond 5000 items is cut.
    """
    try:
        return _Walk().walk(value, 0)
    except Exception:  # noqa: BLE001 - whatever a hostile object does, nothing of it is shown
        return f"<{type(value).__name__}: could not be redacted>"


def redact_text(text: str) -> str:
    """The part of :func:`redact` for one text."""
    if text in _clean:
        return text
    shown = _redacted(text)
    if shown == text and len(text) <= _SHORT:
        if len(_clean) >= _REMEMBERED:
            _clean.clear()
        _clean.add(text)
    return shown


def _redacted(text: str) -> str:
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more characters)"
    return scrub(REGISTRY.replace(text))


def show(value: object) -> str:
    """The text of any object, also of one whose ``__str__`` raises."""
    try:
        text = str(value)
        return text if type(text) is str else "".join(text)
    except Exception as error:  # noqa: BLE001 - the object's own code runs here
        return f"<{type(value).__name__}: __str__ raised {type(error).__name__}>"


class _Walk:
    __slots__ = ("left", "open")

    def __init__(self) -> None:
        self.left = MAX_NODES
        self.open: set[int] = set()

    def walk(self, value: Any, depth: int) -> Any:
        self.left -= 1
        kind = type(value)
        if kind is str:
            return redact_text(value)
        if kind in _SCALARS:
            return value if kind is not int or value.bit_length() < 30 else self._number(value)
        if isinstance(value, Mapping | list | tuple | AbstractSet):
            return self._container(value, depth)
        if isinstance(value, bytes | bytearray | memoryview):
            return redact_text(bytes(value[:MAX_TEXT]).decode("utf-8", "replace"))
        if isinstance(value, Revealable):
            return MASK
        return redact_text(show(value))

    @staticmethod
    def _number(value: int) -> Any:
        text = str(value) if value.bit_length() < 8192 else "<a very large number>"
        return value if redact_text(text) == text and value.bit_length() < 64 else redact_text(text)

    def _container(self, value: Any, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return "…"
        if id(value) in self.open:
            return "<cycle>"
        self.open.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self._mapping(value, depth)
            if len(value) == 2 and isinstance(value, list | tuple) and _is_header(value[0], value[1]):
                hidden = [self.walk(value[0], depth + 1), MASK]
                return tuple(hidden) if isinstance(value, tuple) else hidden
            items = []
            for item in value:
                if self.left <= 0:
                    items.append("…")
                    break
                items.append(self.walk(item, depth + 1))
            return tuple(items) if isinstance(value, tuple) else items
        finally:
            self.open.discard(id(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, item in value.items():
            if self.left <= 0:
                found["…"] = "…"
                break
            name = key if type(key) is str else _text(key)
            hide = is_sensitive(name) and not isinstance(item, bool | type(None))
            shown = key if type(key) in _SCALARS else redact_text(name)
            found[shown] = MASK if hide else self.walk(item, depth + 1)
        return found


def _text(value: object) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else show(value)


def _is_header(name: object, value: object) -> bool:
    if not isinstance(name, str | bytes) or not isinstance(value, str | bytes):
        return False
    return len(name) <= 80 and is_sensitive(_text(name))
