"""A second request when the first content is slow to come; the policy is ``prodkit.policies.Hedge``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prodkit.errors import DeadlineExceededError
from prodkit.llm.call import Call
from prodkit.llm.failures import Failure, FaultError
from prodkit.llm.provider import Send
from prodkit.llm.streaming.attempt import StreamAttempt
from prodkit.policies.hedge import Hedge

__all__ = ["race"]


async def race(
    call: Call, first: StreamAttempt, send: Send, after: float
) -> tuple[StreamAttempt, Callable[[], Awaitable[None]]]:
    """Open `first`, and a second attempt when it shows no content within `after` seconds; return the sooner one.

    The loser is cancelled, settled and its connection closed in the background; the function that is returned with the
    winner waits for that. Cancelling this cancels both.

    Args:
        call: admits the second attempt.
        first: the attempt that was admitted.
        send: sends for both; the second goes to the same model.
        after: seconds.

    Raises:
        FaultError: both failed; `first` is not settled yet, the other one is.
    """
    racers = [first]

    class Admission:
        def withdraw(self, error: BaseException | None) -> bool:
            """Admit the second attempt."""
            attempt = call.hedge(first.attempt)
            if attempt is not None:
                racers.append(StreamAttempt(call, attempt))
            return attempt is not None

    started = 0
    first_failure: Failure | None = None

    async def one() -> StreamAttempt:
        nonlocal started, first_failure
        racer = racers[started]
        started += 1
        try:
            if racer is not first:
                await call.account(racer.attempt)
            await racer.open(send)
        except BaseException as error:
            failure = error.failure if isinstance(error, FaultError) else None
            if racer is first and failure is not None:
                first_failure = failure  # settled by the caller when the second fails too
            else:
                await _retire(racer, failure)
            raise
        return racer

    hedge = Hedge(after, budget=Admission(), runtime=call.engine.runtime)
    try:
        winner = await hedge.run(one)
    except DeadlineExceededError:
        raise FaultError(call.late()) from None
    if winner is not first and first_failure is not None:
        await _retire(first, first_failure)
    return winner, hedge.aclose


async def _retire(racer: StreamAttempt, failure: Failure | None) -> None:
    try:
        await racer.discard()
    finally:
        racer.attempt.settle(failure, racer.usage(), cancelled=failure is None)
