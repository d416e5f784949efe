"""One link of the chain: a model, and how the parameters of a call are adapted to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prodkit.llm.cost import Price

__all__ = ["Model"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model and what it needs differently.

    `omit` are parameters that it does not take (``thinking``, ``temperature``…), `override` replaces or adds
    parameters, `max_tokens` is its own upper limit, `price` is what it costs.
    """

    name: str
    omit: frozenset[str] = frozenset()
    override: Mapping[str, Any] = field(default_factory=dict[str, Any])
    max_tokens: int | None = None
    price: Price | None = None

    def __post_init__(self) -> None:
        name: Any = self.name
        if not isinstance(name, str) or not name or name != name.strip():
            raise ValueError(f"a model needs a name, got {name!r}")
        omit: Any = self.omit
        if isinstance(omit, str):
            raise ValueError(f"omit takes names of parameters, got the text {omit!r}")  # noqa: TRY004 - one kind of error
        object.__setattr__(self, "omit", frozenset(self.omit))
        if self.omit & {"model", "messages", "max_tokens"}:
            raise ValueError(f"a model cannot omit model, messages or max_tokens, got {sorted(self.omit)}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens must be 1 or more, got {self.max_tokens!r}")

    def adapted(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """`params` as this model takes them."""
        told = {name: value for name, value in params.items() if name not in self.omit}
        told |= self.override
        if self.max_tokens is not None and "max_tokens" in told:
            told["max_tokens"] = min(told["max_tokens"], self.max_tokens)
        told["model"] = self.name
        return told
