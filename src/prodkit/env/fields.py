"""Values that hide themselves: shown only when asked for by name."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, NoReturn, Self

from prodkit.env.quality import is_placeholder, weakness

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["Hidden", "Quality", "Secret", "secret"]

MASK = "***"


class Hidden:
    """The base of everything whose ``repr``, ``str``, dump and pickle must not show it."""

    __slots__ = ("_value",)
    _value: str

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} does not change")

    def reveal(self) -> str:
        """The value itself. The one door: search the code for it to see where secrets go."""
        return self._value

    def secret_values(self) -> tuple[str, ...]:
        """What a log must not show of this value."""
        return (self._value,)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return hmac.compare_digest(self._value.encode("utf-8", "surrogatepass"), _bytes(other))

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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls._parse,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "writeOnly": True, "format": "password"}


def _bytes(value: Hidden) -> bytes:
    return value.reveal().encode("utf-8", "surrogatepass")


class Secret(Hidden):
    """A password, key or token. ``repr`` and ``str`` show ``***``; :meth:`reveal` gives the text.

    Equality takes the same time wherever the difference is. It cannot be pickled, and JSON dumps are masked.
    As a field of :class:`Settings` it refuses blanks and placeholders such as ``changeme``.
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
            raise broken("text")
        if not value.strip():
            raise broken("blank")
        if is_placeholder(value):
            raise broken("placeholder")
        return cls(value)


def broken(rule: str, **context: object) -> Exception:
    """The error that carries one of our rules through pydantic."""
    from pydantic_core import PydanticCustomError

    return PydanticCustomError("prodkit", "{rule}", {"rule": rule, **context})


class Quality:
    """The rules of :func:`secret`, as pydantic metadata."""

    __slots__ = ("min_length",)

    def __init__(self, min_length: int) -> None:
        self.min_length = min_length

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: object) -> object:
        if isinstance(value, Hidden):
            rule = weakness(value.reveal(), self.min_length)
            if rule is not None:
                raise broken(rule, min_length=self.min_length)
        return value

    def __repr__(self) -> str:
        return f"Quality(min_length={self.min_length})"


def secret(min_length: int = 32, *, default: Any = ..., description: str | None = None) -> Any:
    """A :class:`Secret` field that also refuses what is short, repeated, sequential or made of common words.

    ::

        class Settings(env.Settings):
            session_secret: env.Secret = env.secret(min_length=32)

    32 characters is what ``secrets.token_hex(16)`` prints: 128 random bits.
    """
    from pydantic import Field

    if min_length < 1:
        raise ValueError(f"min_length must be at least 1, got {min_length!r}")
    field = Field(default, description=description)
    field.metadata.append(Quality(min_length))
    return field
