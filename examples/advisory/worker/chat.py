"""One answer of a conversation as a durable job: stored while it arrives, resumed in mid-sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from loguru import logger

from advisory.council.chat import TurnStatus, chat_system, conversation
from advisory.council.texts import is_outage, reason_for
from advisory.store.chat_turns import Begun, TurnRows, Written
from advisory.worker.draft import Draft
from advisory.worker.retries import announced
from advisory.worker.warm import imported
from prodkit import Deadline, jobs, llm
from prodkit.errors import DatabaseError, LlmError, PoolExhaustedError, ProdkitError
from prodkit.policies import constant

if TYPE_CHECKING:
    from prodkit.llm import Stream

__all__ = ["ANSWER_LIMIT", "ANSWER_TOKENS", "Answering", "Streamer"]

ANSWER_LIMIT: Final = 180.0
"""Seconds for one answer, retries and the fallback model included."""
ANSWER_TOKENS: Final = 1500
_GIVEN_UP: Final = "a resposta foi interrompida vezes demais"
_REFUSED: Final = "o modelo preferiu não responder a esta pergunta"
_TOO_LONG: Final = "ela chegou ao tamanho máximo de uma resposta"


class Streamer(Protocol):
    """The model behind a conversation: ``llm.Client`` is one."""

    def stream(self, *, resume: str | None, max_tokens: int, system: str, messages: list[Any]) -> Stream: ...


class Answering:
    """Answers one turn.

    Args:
        rows: the turns.
        claude: the model.
        context: input tokens of a request at most; the oldest messages beyond it are left out.
        prices: of the models, by name, for requests that were never reported; without one the cost leaves them out.
    """

    def __init__(
        self,
        rows: TurnRows,
        claude: Streamer,
        *,
        context: int,
        prices: Mapping[str, llm.Price] | None = None,
    ) -> None:
        self._rows = rows
        self._claude = claude
        self._context = context
        self._prices = dict(prices or {})

    def job(self) -> jobs.Job[[UUID], None]:
        """The job that answers a turn. Outages of PostgreSQL are waited for, second by second."""
        return jobs.Job(self.answer, name="chat", attempts=30, backoff=constant(1.0), on_dead=self.give_up)

    async def answer(self, turn_id: UUID) -> None:
        """Bring a turn to its end. After a crash, the rest is asked for behind what is stored."""
        async with jobs.transaction() as tx:
            begun = await self._rows.begin(tx, turn_id)
        if begun is None:
            return
        await imported("anthropic")  # seconds, at the first answer of a process: off the event loop

        async def store(text: str, at: int) -> None:
            async with jobs.transaction() as tx:
                await self._rows.wrote(tx, turn_id, text, at=at)

        draft = Draft(begun.answer, store)

        async def save(tx: Any, written: Written) -> None:
            await self._rows.finish(tx, turn_id, written, draft.text)

        await jobs.step.using(version=1, write=save)("answer", self._write, turn_id, begun, draft)

    async def give_up(self, turn_id: UUID) -> None:
        """End a turn whose job is a dead letter: each further try would pay the model again."""
        async with jobs.transaction() as tx:
            if (begun := await self._rows.begin(tx, turn_id)) is not None:
                written = Written(status=_cut_status(begun.answer), reason=_GIVEN_UP, outage=True)
                written = self._with_lost(written, self._fitted(begun).tokens, begun)
                await self._rows.finish(tx, turn_id, written, begun.answer)

    async def _write(self, turn_id: UUID, begun: Begun, draft: Draft) -> Written:
        fitted = self._fitted(begun)
        if fitted.left_out:
            async with jobs.transaction() as tx:
                await self._rows.left_out(tx, turn_id, len(fitted.left_out))
        written = await self._asked(turn_id, begun, draft, chat_system(begun.system), fitted.messages)
        return self._with_lost(written, fitted.tokens, begun)

    def _fitted(self, begun: Begun) -> llm.Fitted:
        return llm.fit(
            conversation(begun.opening, begun.turns, begun.question),
            self._context,
            keep_first=len(begun.opening),
            system=chat_system(begun.system),
        )

    async def _asked(
        self, turn_id: UUID, begun: Begun, draft: Draft, system: str, messages: list[Any]
    ) -> Written:
        try:
            with Deadline.after(ANSWER_LIMIT):
                return await self._stream(turn_id, begun, draft, system, messages)
        except (DatabaseError, PoolExhaustedError, jobs.RunLostError):
            raise  # the job's to handle: the model is not to blame
        except ProdkitError as error:
            logger.warning("{} gave no whole answer ({})", begun.name, type(error).__name__)
            return _broken(error, draft)
        except Exception as error:  # noqa: BLE001 - recorded as a reason, and logged
            logger.exception("{} failed unexpectedly", begun.name)
            return _broken(error, draft)

    async def _stream(
        self, turn_id: UUID, begun: Begun, draft: Draft, system: str, messages: list[Any]
    ) -> Written:
        async def waits(event: llm.LlmScheduled) -> None:
            async with jobs.transaction() as tx:
                await self._rows.waits(
                    tx,
                    turn_id,
                    attempt=event.attempt,
                    attempts=event.attempts,
                    wait=timedelta(seconds=event.wait),
                    reason=event.after or event.reason,
                )

        async with (
            announced(waits),
            self._claude.stream(
                resume=draft.text or None,
                # A beginning counts against the room of the whole: an answer cut for its length gets new room.
                max_tokens=ANSWER_TOKENS + len(draft.text) // 4,
                system=system,
                messages=messages,
            ) as stream,
        ):
            await draft.write(stream.text)
            answer = stream.answer
        status, reason = _ended(answer)
        return Written(
            status=status,
            reason=reason,
            model=answer.model,
            requested_model=answer.requested_model,
            joints=max(0, len(answer.continuations) - bool(begun.answer)),
            input_tokens=_read(answer.usage),
            output_tokens=answer.usage.output_tokens,
            estimated=answer.usage.estimated,
            cost=answer.cost,
        )

    def _with_lost(self, written: Written, tokens: int, begun: Begun) -> Written:
        """Add the requests that died with their workers: what each was sent is known, and what they wrote by then.

        One token for three characters, as `llm.fit` estimates.
        """
        if not begun.unreported:
            return written
        lost = llm.Usage(tokens * begun.unreported, math.ceil(len(begun.lost) / 3))
        price = self._prices.get(written.requested_model)
        return replace(
            written,
            input_tokens=written.input_tokens + lost.input_tokens,
            output_tokens=written.output_tokens + lost.output_tokens,
            estimated=True,
            cost=written.cost if price is None or written.cost is None else written.cost + price.of(lost),
        )


def _ended(answer: llm.Answer) -> tuple[TurnStatus, str]:
    if not answer.text.strip():
        return "failed", _REFUSED
    return ("incomplete", _TOO_LONG) if answer.truncated else ("done", "")


def _broken(error: BaseException, draft: Draft) -> Written:
    asked = isinstance(error, LlmError)  # what another error had cost is not known
    attempts = error.attempts if isinstance(error, LlmError) else ()
    costs = [each.cost for each in attempts]
    return Written(
        status=_cut_status(draft.text),
        reason=reason_for(error),
        outage=is_outage(error),
        input_tokens=sum(_read(each.usage) for each in attempts),
        output_tokens=sum(each.usage.output_tokens for each in attempts),
        estimated=any(each.usage.estimated for each in attempts),
        cost=sum(each for each in costs if each is not None) if asked and None not in costs else None,
    )


def _read(usage: llm.Usage) -> int:
    return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens


def _cut_status(text: str) -> TurnStatus:
    return "incomplete" if text.strip() else "failed"
