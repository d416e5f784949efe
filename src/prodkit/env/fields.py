"""Fields that hold secrets: :class:`Secret`, and the rules of :func:`secret`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prodkit.core.quality import weakness
from prodkit.core.secrets import MASK, Hidden, RuleError, Secret
from prodkit.core.validate import Arguments

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["MASK", "Hidden", "Quality", "RuleError", "Secret", "secret"]


class Quality:
    """The rules of :func:`secret`, as pydantic metadata.

    Args:
        min_length: characters.
    """

    __slots__ = ("min_length",)

    def __init__(self, min_length: int) -> None:
        self.min_length: int = min_length

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: object) -> object:
        if isinstance(value, Hidden):
            rule = weakness(value.reveal(), self.min_length)
            if rule is not None:
                raise RuleError(rule, min_length=self.min_length)
        return value

    def __repr__(self) -> str:
        return f"Quality(min_length={self.min_length})"


def secret(min_length: int = 32, *, default: Any = ..., description: str | None = None) -> Any:
    """Return a :class:`Secret` field that also refuses short, repeated, sequential and dictionary values.

    ::

        class Settings(env.Settings):
            session_secret: env.Secret = env.secret(min_length=32)

    Args:
        min_length: least number of characters. 32 is what ``secrets.token_hex(16)`` prints, 128 random bits. From 16
            on the value must also look random; use a smaller one for passwords that people choose.
        default: the value when the variable is not set; required unless given.
        description: one line for the generated documents.
    """
    from pydantic import Field

    check = Arguments("env.secret")
    check.integer("min_length", min_length, minimum=1)
    check.done()
    field = Field(default, description=description)
    field.metadata.append(Quality(min_length))
    return field
