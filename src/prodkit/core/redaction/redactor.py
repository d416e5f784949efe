"""Redaction of any value: texts are scanned, containers are copied, nothing of the caller's is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set as AbstractSet
from itertools import islice
from typing import Any, Final

from prodkit.core.redaction.names import STRONG, WEAK, is_sensitive, strength
from prodkit.core.redaction.people import is_phone, names_phone
from prodkit.core.redaction.scrub import KINDS, scrub
from prodkit.core.redaction.values import hides
from prodkit.core.secrets import MASK, REGISTRY, Hidden, Revealable, SecretRegistry

__all__ = ["DEFAULT", "MAX_TEXT", "Redactor", "add_secrets", "redact", "redact_text", "show"]

MAX_DEPTH: Final = 12
MAX_NODES: Final = 5_000
MAX_TEXT: Final = 65_536
_MARGIN: Final = 4_096  # scanned beyond the cut, so that a secret across it is masked whole
_SHORT: Final = 120
_REMEMBERED: Final = 4_096
_SCALARS = frozenset((bool, int, float, type(None)))
_FIXED = frozenset((bool, float, type(None)))
_SMALL: Final = 1 << 30  # a larger int may be a card or a CPF
_USER_FLAG: Final = "user:password"
_USER_FLAGS: Final = frozenset(("-u", "-U", "--user", "--proxy-user"))
_INSIDE: Final = frozenset(
    ("id", "value", "raw", "text", "data", "current", "old", "new", "previous", "key", "hash")
)
_NESTED: Final = frozenset((dict, list, tuple, set, frozenset))
_VALUES: Final = frozenset(("value", "Value", "val"))


class Redactor:
    """Takes secrets out of values, in time linear in their size and never raising.

    Args:
        kinds: the kinds of secrets to recognise, of ``redaction.KINDS``; all by default. Leave out ``emails`` where a
            log needs them.
        registry: the registered values; those of the process by default.
        max_text: characters after which a text is cut.
        max_depth: levels of nesting after which a structure is cut.
        max_nodes: values after which a structure is cut.
    """

    __slots__ = ("_clean", "_kinds", "_max_text", "_names", "_registry", "max_depth", "max_nodes")

    def __init__(
        self,
        *,
        kinds: Iterable[str] = KINDS,
        registry: SecretRegistry = REGISTRY,
        max_text: int = MAX_TEXT,
        max_depth: int = MAX_DEPTH,
        max_nodes: int = MAX_NODES,
    ) -> None:
        self._kinds = frozenset(kinds)
        if unknown := self._kinds - KINDS:
            raise ValueError(f"Redactor: kinds must be of {sorted(KINDS)}, got {sorted(unknown)}")
        self._registry = registry
        self._max_text = max_text
        self.max_depth: int = max_depth
        self.max_nodes: int = max_nodes
        # Short texts without a secret: names, routes and levels come again and again.
        self._clean: set[str] = set()
        self._names: set[str] = set()  # keys that name no secret and hold none
        registry.on_change(self._clean.clear)
        registry.on_change(self._names.clear)

    def redact(self, value: Any) -> Any:
        """Return `value` without its secrets; see :func:`redact`."""
        try:
            return _Walk(self).walk(value, 0)
        except Exception:  # noqa: BLE001 - whatever a hostile object does, nothing of it is shown
            return f"<{type(value).__name__}: could not be redacted>"

    def text(self, text: str) -> str:
        """Return `text` without its secrets, cut after `max_text` characters. Masking comes before the cut."""
        if text in self._clean:
            return text
        size = len(text)
        if size > self._max_text:
            return self._cut(text)
        shown = scrub(text, self._kinds, self._registry)
        if size <= _SHORT and shown == text:
            if len(self._clean) >= _REMEMBERED:
                self._clean.clear()
            self._clean.add(text)
        return shown

    def _cut(self, text: str) -> str:
        margin = max(_MARGIN, self._registry.longest)
        head = text[: self._max_text + margin]
        shown = scrub(self._registry.replace(head), self._kinds)
        more = len(text) - self._max_text
        if len(shown) <= self._max_text:
            return f"{shown}… ({more} more characters)" if len(head) < len(text) else shown
        return f"{shown[: self._max_text]}… ({more} more characters)"

    def __repr__(self) -> str:
        return f"Redactor(kinds={sorted(self._kinds)})"


DEFAULT: Final = Redactor()
"""The redactor of :func:`redact`: every kind, the registered values of the process."""


def add_secrets(values: Iterable[str | Revealable]) -> None:
    """Register `values` that no output may show: the short form of ``secrets.REGISTRY.add``."""
    REGISTRY.add(*values)


def redact(value: Any) -> Any:
    """Return `value` without its secrets; the original is left as it is.

    Texts lose what looks like a secret: passwords in addresses, ``password=…``, headers, provider keys, JWTs, private
    keys, card numbers, CPF, CNPJ, e-mail addresses, telephone numbers, and every registered value. Mappings, lists,
    tuples and sets are copied, sensitive names lose their values, and so do pairs such as ``("Authorization", "…")``.
    Numbers, booleans and None stay; any other object becomes its redacted text. Values nested deeper than 12 levels,
    cyclic, or beyond 5000 items are cut.
    """
    return DEFAULT.redact(value)


def redact_text(text: str) -> str:
    """Return `text` without its secrets: :func:`redact` for one text."""
    return DEFAULT.text(text)


def show(value: object) -> str:
    """Return the text of any object, also of one whose ``__str__`` raises."""
    try:
        text = str(value)
        return text if type(text) is str else "".join(text)
    except Exception as error:  # noqa: BLE001 - the object's own code runs here
        return f"<{type(value).__name__}: __str__ raised {type(error).__name__}>"


class _Walk:
    __slots__ = ("left", "open", "redactor")

    def __init__(self, redactor: Redactor) -> None:
        self.left = redactor.max_nodes
        self.open: set[int] = set()
        self.redactor = redactor

    def walk(self, value: Any, depth: int) -> Any:
        self.left -= 1
        kind = type(value)
        if kind is str:
            return self.redactor.text(value)
        if kind in _SCALARS:
            return value if kind is not int or -_SMALL < value < _SMALL else self._number(value)
        if kind is dict or kind is list:
            return self.container(value, kind, depth)
        try:
            return self._other(value, depth)
        except Exception:  # noqa: BLE001 - a hostile object costs its own place only
            self.open.discard(id(value))
            return f"<{kind.__name__}: could not be redacted>"

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict | list | tuple | Mapping | AbstractSet):
            return self.container(value, type(value), depth)
        if isinstance(value, bytes | bytearray | memoryview):
            return self.redactor.text(bytes(value[: MAX_TEXT + _MARGIN]).decode("utf-8", "replace"))
        if isinstance(value, Hidden | Revealable):
            return MASK
        return self.redactor.text(show(value))

    def _number(self, value: int) -> Any:
        text = str(value) if value.bit_length() < 8192 else "<a very large number>"
        shown = self.redactor.text(text)
        return value if shown == text and value.bit_length() < 64 else shown

    def container(self, value: Any, kind: type[Any], depth: int) -> Any:
        if depth >= self.redactor.max_depth:
            return "…"
        known = id(value)
        if known in self.open:
            return "<cycle>"
        self.open.add(known)
        found: Any
        if kind is dict:
            found = self._mapping(value, depth)
        elif kind is list:
            found = self._items(value, depth)
        elif isinstance(value, Mapping):
            found = self._mapping(value, depth)
        elif (names := getattr(kind, "_fields", None)) and isinstance(value, tuple):  # a named tuple
            shown = self._mapping(dict(zip(map(str, names), value, strict=False)), depth)
            found = tuple(shown.values())
        else:
            found = self._items(value, depth)
            if isinstance(value, tuple):
                found = tuple(found)
        self.open.discard(known)
        return found

    def _items(self, value: Any, depth: int) -> list[Any]:
        if len(value) == 2 and isinstance(value, list | tuple):
            name = value[0]
            if not (type(name) is str and name in self.redactor._names) and _is_header(name, value[1]):
                return [self.walk(name, depth + 1), MASK]
        items: list[Any] = []
        text, clean = self.redactor.text, self.redactor._clean
        deeper = depth + 1
        flag = ""  # the name of a command line flag whose value comes next
        for item in value:
            if self.left <= 0:
                items.append("…")
                break
            kind = type(item)
            if kind is str and not flag and not item.startswith("-"):  # the usual item
                self.left -= 1
                items.append(item if item in clean else text(item))
                continue
            if kind is str:
                if flag == _USER_FLAG:
                    user, colon, password = item.partition(":")
                    flag = ""
                    if colon and password:
                        items.append(f"{text(user)}:{MASK}")
                        continue
                if flag and item[:1] != "-" and hides(item, STRONG, flag):
                    items.append(MASK)
                    flag = ""
                    continue
                name = item.lstrip("-") if item[:1] == "-" and len(item) < 64 else ""
                flag = name if name and is_sensitive(name) else _USER_FLAG if item in _USER_FLAGS else ""
            else:
                flag = ""
            items.append(self.walk(item, deeper))
        return items

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        labelled = "" if _VALUES.isdisjoint(value) else _labelled(value)
        text, plain, clean = self.redactor.text, self.redactor._names, self.redactor._clean
        for key, item in value.items():
            if self.left <= 0:
                found["…"] = "…"
                break
            kind = type(item)
            if type(key) is str and key in plain and key != labelled:  # the usual field
                if kind is str:
                    self.left -= 1
                    found[key] = item if item in clean else text(item)
                elif kind in _FIXED or (kind is int and -_SMALL < item < _SMALL):
                    self.left -= 1
                    found[key] = item
                elif kind is dict or kind is list:
                    self.left -= 1
                    found[key] = self.container(item, kind, depth + 1)
                else:
                    found[key] = self.walk(item, depth + 1)
                continue
            name = key if type(key) is str else _text(key)
            shown = key if type(key) in _SCALARS else text(name)
            strong = strength(name)
            phone = not strong and names_phone(name) and "phones" in self.redactor._kinds
            if not strong and not phone and name != labelled and name == shown and len(name) <= _SHORT:
                if len(plain) >= _REMEMBERED:
                    plain.clear()
                plain.add(name)
            hidden = name == labelled or self._is_hidden(strong, name, item) or (phone and is_phone(item))
            if not hidden and strong == WEAK and kind in _NESTED:
                found[shown] = self._under(name, item, depth + 1)
            else:
                found[shown] = MASK if hidden else self.walk(item, depth + 1)
        return found

    def _under(self, name: str, value: Any, depth: int) -> Any:
        """Redact what a weak name holds: each text of a list is judged, and ``{"session": {"id": …}}`` as one name."""
        most = max(0, self.left) + 1  # the walk cuts behind it
        if type(value) is dict:
            veiled = {
                key: MASK
                if key in _INSIDE and self._is_hidden(strength(f"{name}_{key}"), name, item)
                else item
                for key, item in islice(value.items(), most)
            }
            return self.walk(veiled, depth)
        items = (MASK if self._is_hidden(WEAK, name, item) else item for item in islice(value, most))
        return self.walk(type(value)(items), depth)

    @staticmethod
    def _is_hidden(kind: int, name: str, item: Any) -> bool:
        if kind >= STRONG:
            if isinstance(item, bool | type(None)):
                return False
            return not isinstance(item, Mapping | list | tuple | AbstractSet) or len(name) < 40
        return kind == WEAK and type(item) is str and len(item) < 4096 and hides(item, WEAK, name)


def _labelled(value: Mapping[Any, Any]) -> str:
    """The key under which ``{"name": "API_KEY", "value": "…"}`` holds its secret, or an empty text."""
    if len(value) > 8:
        return ""
    for label in ("name", "key", "Name", "Key", "field"):
        name = value.get(label)
        if type(name) is str and len(name) < 80 and is_sensitive(name):
            return next((key for key in ("value", "Value", "val") if key in value), "")
    return ""


def _text(value: object) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else show(value)


def _is_header(name: object, value: object) -> bool:
    if type(name) is str and type(value) is str:
        return len(name) <= 80 and is_sensitive(name) and hides(value, STRONG, "")
    if not isinstance(name, str | bytes) or not isinstance(value, str | bytes):
        return False
    return len(name) <= 80 and is_sensitive(_text(name)) and hides(_text(value), STRONG, "")
