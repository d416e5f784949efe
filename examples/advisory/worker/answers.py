"""One call to a model as a step's result: a text, or the reason why there is none, and what it cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from loguru import logger

from advisory.council.model import Spend
from advisory.council.texts import is_outage, reason_for
from advisory.worker.draft import storable
from prodkit import Deadline
from prodkit.errors import LlmError, ProdkitError

__all__ = ["Answer", "Answerer", "Reply", "ask"]

T = TypeVar("T")


class Usage(Protocol):
    """The tokens of an answer."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...


class Reply(Protocol):
    """The part of an answer that a council uses."""

    @property
    def text(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def cost(self) -> float | None: ...


class Answerer(Protocol):
    """The model behind a council: ``llm.Client`` is one."""

    async def create(self, *, max_tokens: int, system: str, messages: list[dict[str, Any]]) -> Reply: ...

    def stream(
        self, *, resume: str | None, max_tokens: int, system: str, messages: list[dict[str, Any]]
    ) -> Any: ...

    async def parse(
        self, *, model: type[T], max_tokens: int, system: str, messages: list[dict[str, Any]]
    ) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A step's result: a text, or the reason why there is none, or no more than its beginning."""

    text: str = ""
    model: str = ""
    reason: str = ""
    outage: bool = False
    """The service failed, not the question: what was asked for is given back."""
    data: Any = None
    """The value of a structured reply, as JSON."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0

    def spend(self, step: str) -> Spend:
        """The costs of this answer, as those of `step`."""
        return Spend(
            step=step,
            model=self.model,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=self.cost,
            seconds=self.seconds,
        )


async def ask(
    who: str, limit: float, call: Callable[[], Awaitable[Reply]], read: Callable[[Any], Any] | None = None
) -> Answer:
    """One expert's failure is not the council's: it becomes a reason. `read` takes the data of a structured reply."""
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        with Deadline.after(limit):
            reply = await call()
        data = None if read is None else read(reply)
    except ProdkitError as error:
        logger.warning("{} gave no answer ({})", who, type(error).__name__)
        return _failed(error, clock() - began)
    except Exception as error:  # noqa: BLE001 - recorded as a reason, and logged
        logger.exception("{} failed unexpectedly", who)
        return _failed(error, clock() - began)
    return Answer(
        text=storable(reply.text),
        model=reply.model,
        data=data,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cost=reply.cost,
        seconds=clock() - began,
    )


def _failed(error: BaseException, seconds: float) -> Answer:
    attempts: Sequence[Any] = error.attempts if isinstance(error, LlmError) else ()
    costs = [each.cost for each in attempts]
    return Answer(
        reason=reason_for(error),
        outage=is_outage(error),
        input_tokens=sum(each.usage.input_tokens for each in attempts),
        output_tokens=sum(each.usage.output_tokens for each in attempts),
        cost=None if None in costs else sum(each for each in costs if each is not None),
        seconds=seconds,
    )
