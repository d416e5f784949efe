"""The models of a chain and the options of a client, checked once and all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, cast

from prodkit.core.validate import Arguments
from prodkit.errors import InvalidError
from prodkit.llm.pricing import Budget, Price
from prodkit.llm.provider import Provider
from prodkit.policies.backoff import Backoff, exponential, full_jitter

__all__ = ["DEFAULT_MODELS", "Model", "Options", "chain", "positive"]

DEFAULT_MODELS: Final = ("claude-sonnet-5-5", "claude-haiku-5-5")
"""The better model answers, the quicker one steps in."""


@dataclass(frozen=True, slots=True)
class Model:
    """A member of the fallback chain: a model, its provider, and how requests are adapted to it.

    Args:
        name: the model's name as its provider spells it.
        omit: parameters that it does not take (``thinking``, ``temperature``…); they are left out.
        override: parameters that are replaced or added.
        max_tokens: its own upper limit of ``max_tokens``; None leaves the request's.
        price: US dollars a million tokens; needed for budgets, and None leaves ``cost`` unknown.
        provider: sends its requests, such as ``llm.Bedrock(region="us-east-1")``; None is the client's own API.
        label: the name in records, events and ``Client.breakers``; by default the name, with the provider's in front
            of it where a provider is given.

    `plain` is True where requests need no adaption but the name.
    """

    name: str
    omit: frozenset[str] = frozenset()
    override: Mapping[str, Any] = field(default_factory=dict[str, Any])
    max_tokens: int | None = None
    price: Price | None = None
    provider: Provider | None = None
    label: str = ""
    plain: bool = field(init=False, repr=False, compare=False, default=True)

    def __post_init__(self) -> None:
        check = Arguments("Model")
        check.text("name", self.name)
        name, omit = cast("Any", self.name), cast("Any", self.omit)
        if isinstance(name, str) and name != name.strip():
            check.value("name must have no spaces around it", name)
        if isinstance(omit, str):
            check.value("omit takes names of parameters", omit)
        else:
            object.__setattr__(self, "omit", frozenset(omit))
            kept = self.omit & {"model", "messages", "max_tokens"}
            check.that(not kept, f"omit cannot hold model, messages or max_tokens, got {sorted(kept)}")
        check.integer("max_tokens", self.max_tokens, minimum=1, optional=True)
        check.instance("price", self.price, Price, "a Price", optional=True)
        check.done()
        if not self.label:
            label = self.name if self.provider is None else f"{self.provider.name}/{self.name}"
            object.__setattr__(self, "label", label)
        object.__setattr__(self, "plain", not (self.omit or self.override or self.max_tokens is not None))

    def adapted(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return `params` as this model takes them; where it is :attr:`plain`, only its name is added."""
        body = dict(params)
        for name in self.omit:
            body.pop(name, None)
        body |= self.override
        if self.max_tokens is not None and "max_tokens" in body:
            body["max_tokens"] = min(body["max_tokens"], self.max_tokens)
        body["model"] = self.name
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a client's calls; durations are seconds. Each is documented as a parameter of ``Client``."""

    models: tuple[Model, ...]
    attempts: int = 3
    timeout: float = 60.0
    first_content_timeout: float = 60.0
    stall_timeout: float = 30.0
    attempt_timeout: float | None = None
    backoff: float = 1.0
    max_backoff: float = 8.0
    jitter: bool = False
    max_model_wait: float = 30.0
    failures: int = 5
    open_for: float = 300.0
    concurrency: int = 50
    max_queue: int = 1000
    budget: Budget | None = None
    hedge_after: float | None = None
    hedge_share: float = 0.1
    fallback_on_refusal: bool = False

    def __post_init__(self) -> None:
        check = Arguments("llm options")
        for name in (
            "timeout",
            "first_content_timeout",
            "stall_timeout",
            "open_for",
            "max_model_wait",
            "backoff",
            "max_backoff",
        ):
            check.number(name, getattr(self, name), above=0, infinite=True, unit="seconds")
        for name in ("attempt_timeout", "hedge_after"):
            check.seconds(name, getattr(self, name), optional=True)
        for name in ("attempts", "failures", "concurrency"):
            check.integer(name, getattr(self, name), minimum=1)
        check.integer("max_queue", self.max_queue, minimum=0)
        check.number("hedge_share", self.hedge_share, above=0, maximum=1)
        labels = [model.label for model in self.models]
        check.that(bool(labels), f"models must name at least one model, got {labels!r}")
        check.that(len(set(labels)) == len(labels), f"models must differ from each other, got {labels!r}")
        if self.budget is not None:
            for model in self.models:
                check.that(
                    model.price is not None,
                    f"a budget needs the price of every model, and {model.label!r} has none: give prices=",
                )
        check.attempt(lambda: self._schedule)
        check.done()

    @property
    def _schedule(self) -> Backoff:
        made = full_jitter if self.jitter else exponential
        return made(self.backoff, cap=self.max_backoff)

    def wait(self, attempts: int, rng: Random) -> float:
        """Return the wait after this many failed attempts: 1, 2, 4 … seconds, with jitter a random part of it."""
        return self._schedule(attempts, rng, 0.0)


def chain(
    models: Sequence[str | Model], prices: Mapping[str, Price] | None, *, strict: bool
) -> tuple[Model, ...]:
    """Return the models of a chain; `strict` refuses names that the Messages API cannot know."""
    if isinstance(models, str | Model):
        raise ValueError(  # noqa: TRY004 - one kind of error for all options
            f"models takes a sequence of models, got {models!r}: write models=({models!r},)"
        )
    prices = prices or {}
    made = tuple(_model(each, prices, strict=strict) for each in models)
    names = {model.name for model in made}
    if unused := [name for name in prices if name not in names]:
        raise ValueError(f"prices are given for models that are not in the chain: {', '.join(unused)}")
    return made


_KNOWN: Final = ("claude-", "anthropic.", "anthropic/")


def _model(given: Any, prices: Mapping[str, Price], *, strict: bool) -> Model:
    if isinstance(given, Model):
        return given
    if strict and isinstance(given, str) and given and not given.startswith(_KNOWN):
        raise ValueError(
            f"unknown model {given!r}: names of the Messages API begin with claude-; "
            "give a gateway's own names with base_url=, or as Model(…)"
        )
    return Model(given, price=prices.get(given) if isinstance(given, str) else None)


def positive(timeout: float) -> float:
    """Return `timeout`, a number of seconds; raise InvalidError when it is not positive."""
    if not timeout > 0:
        raise InvalidError(f"timeout must be a positive number of seconds, got {timeout!r}")
    return timeout
