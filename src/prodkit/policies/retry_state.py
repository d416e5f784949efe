"""The state of one failing call under a retry, and the rules it decides by.

One object is kept from the first failure to the last, and with it one ``tenacity.RetryCallState`` where tenacity's
strategies or callbacks are used. A failure goes through the steps in tenacity's order::

    outcome -> wanted? (on, result) -> after -> wait -> stop -> [callback | raise]
                                                         `-> before_sleep -> sleep -> before -> attempt

Strategies and callbacks may be async. The steps are therefore written once as coroutines; synchronous shells drive them
with :func:`~prodkit.policies.steps.drive`, which never suspends.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from types import CodeType, FrameType
from typing import Any, Final

from prodkit.core.deadline import Deadline
from prodkit.policies.base import name_of
from prodkit.policies.events import RetryGaveUp, RetryScheduled
from prodkit.policies.idempotency import innermost, is_non_idempotent
from prodkit.policies.retry_after import retry_after_of
from prodkit.policies.retry_rules import NEVER_SENT, WRONG_RESULT, RetryRules, call_state, is_try_again
from prodkit.policies.retry_statistics import RetryStatistics
from prodkit.policies.steps import settled
from prodkit.policies.switch import is_off

__all__ = ["RETRYING", "RetryState"]

RETRYING: set[CodeType] = set()
"""Code objects of the shells in ``retry_shells.py``: a retry that failed looks for them to see if it is nested."""

_outer: ContextVar[RetryState | None] = ContextVar("prodkit_retry", default=None)
"""The retry that repeats the surrounding call, for tasks that the call starts and for block forms."""

_NOTHING: Final = object()


class RetryState:
    """The state of one call: decides after each attempt. Keeps no error after its decision.

    Args:
        rules: of the retry.
        fn: the guarded callable; None for a block.
        args: its arguments.
        kwargs: its keyword arguments.
        start: instant of the first attempt, where it is known.
        mark: the call is repeated by this retry from now on; a block marks each attempt instead.
        statistics: filled with the counts of this call.
    """

    __slots__ = (
        "_args", "_attempt", "_call", "_fn", "_last", "_paid", "_passive", "_rules", "_since", "_start", "_statistics",
        "_token", "live", "pause", "substitute",
    )  # fmt: skip

    def __init__(
        self,
        rules: RetryRules,
        fn: Callable[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        start: float | None,
        statistics: RetryStatistics,
        *,
        mark: bool = True,
    ) -> None:
        self._rules = rules
        self._fn = fn
        self._args = args
        self._start = start
        self._since = rules.runtime.clock.monotonic() if start is None else start
        self._attempt = 1
        self._last = 0.0
        self._paid = 0.0
        self.pause: float = 0.0
        self.substitute: Any = _NOTHING
        self._passive = is_off(rules.runtime) or (not rules.nested and _under_another())
        self.live: bool = True
        self._token = _outer.set(self) if mark and not self._passive else None
        self._call = call_state(fn, args, kwargs, self._since) if rules.exact else None
        self._statistics = statistics.begin(self._since)

    @property
    def call(self) -> Any:
        """tenacity's state of this call; None where nothing looks at it."""
        return self._call

    @property
    def attempt(self) -> int:
        """The number of the current attempt, counted from 1."""
        return self._attempt

    @property
    def substituted(self) -> bool:
        """The callback answered in place of the last error; :attr:`substitute` is its answer."""
        return self.substitute is not _NOTHING

    def over(self) -> None:
        """End: the call is over, whichever way."""
        self.live = False
        if self._token is not None:
            _outer.reset(self._token)
            self._token = None

    def enter_block(self) -> None:
        """Mark this context as repeated by this retry, for the length of a block."""
        self._token = _outer.set(self) if not self._passive else None

    def leave_block(self) -> None:
        """Remove the mark of :meth:`enter_block`."""
        if self._token is not None:
            _outer.reset(self._token)
            self._token = None

    def block_ended(self, error: Exception | None, result: Any) -> None:
        """Show the outcome of a block to the code behind it, before anything is decided."""
        if (call := self._call) is not None:
            if error is None:
                call.set_result(result)
            else:
                call.set_exception((type(error), error, error.__traceback__))

    def block_result(self) -> Any:
        """Return the result that the code behind a block has set on tenacity's state; None for none."""
        outcome = None if self._call is None else self._call.outcome
        return None if outcome is None or outcome.failed else outcome.result()

    async def before(self) -> None:
        """Run the callback before an attempt."""
        if self._rules.before is not None:
            await settled(self._rules.before(self._call))

    async def failed(self, error: Exception) -> bool:
        """Decide after `error`: True to try again after :attr:`pause` seconds, False to end the call."""
        if self._passive or is_off():
            return False
        rules = self._rules
        reason = await self._decide(error, None)
        if reason == "not worth it" and self._attempt == 1:
            return False  # nothing was retried: no event, or an open circuit would fill the log
        if (events := rules.runtime.events).listened(RetryScheduled if reason is None else RetryGaveUp):
            kind = type(error).__name__
            events.emit(
                RetryScheduled(call=self._name(), attempt=self._attempt, error=kind, wait=self.pause)
                if reason is None
                else RetryGaveUp(call=self._name(), attempt=self._attempt, error=kind, reason=reason)
            )
        if reason is None:
            self._attempt += 1
            return True
        if not self.substituted and (self._attempt > 1 or reason not in ("not worth it", "attempts", "stop")):
            _note(error, self._summary(), reason)
        return False

    async def answered(self, result: Any) -> bool:
        """Decide after a `result`: True to try again after :attr:`pause` seconds, False to end the call."""
        rules = self._rules
        if self._passive or is_off() or (rules.strategy is None and rules.result is None):
            return False
        if await self._decide(None, result) is not None:
            return False
        self._attempt += 1
        return True

    async def rest(self) -> None:
        """Wait for the next attempt; a cancelled wait gives back the price of the attempt."""
        try:
            await self._rules.runtime.clock.sleep(self.pause)
        except BaseException:
            self._refund()
            raise
        self._prepare()

    def rest_sync(self) -> None:
        """Block this thread until the next attempt."""
        try:
            self._rules.runtime.clock.block(self.pause)
        except BaseException:
            self._refund()
            raise
        self._prepare()

    def _prepare(self) -> None:
        if self._call is not None:
            self._call.prepare_for_next_attempt()

    def _refund(self) -> None:
        if self._rules.budget is not None:
            self._rules.budget.refund(self._paid)

    async def _decide(self, error: Exception | None, result: Any) -> str | None:
        """Return the reason to end the call; None to go on after :attr:`pause` seconds."""
        rules, call = self._rules, self._call
        now = rules.runtime.clock.monotonic()
        if call is not None:
            if error is not None:
                call.set_exception((type(error), error, error.__traceback__))
            else:
                call.set_result(result)
            call.outcome_timestamp = now
        wanted = await self._wanted(error, result)
        if not wanted and not isinstance(wanted, timedelta):  # no time at all is a wait too
            self._drop()
            return "not worth it"
        if rules.after is not None:
            await settled(rules.after(call))
        self.pause = pause = await self._wait(wanted)
        if call is not None:
            call.upcoming_sleep = pause
        self._statistics["delay_since_first_attempt"] = now - self._since
        reason = await self._end(error, now)
        if reason is not None:
            if rules.retry_error_callback is not None:
                self.substitute = await settled(rules.retry_error_callback(call))
            self._drop()
            return reason
        pause = self.pause
        self._last = pause
        self._statistics["idle_for"] += pause
        self._statistics["attempt_number"] += 1
        if call is not None:
            import tenacity

            call.next_action = tenacity.RetryAction(pause)
            call.idle_for += pause
        if rules.before_sleep is not None:
            try:
                await settled(rules.before_sleep(call))
            except BaseException:
                self._refund()
                raise
        if self._fn is not None:  # the code behind a block may look at it
            self._drop()
        return None

    def _drop(self) -> None:
        """Release the outcome unless a callback may still want it: a kept error is a reference cycle."""
        if self._call is not None and self._rules.before is None:
            self._call.outcome = None

    async def _wanted(self, error: Exception | None, result: Any) -> object:
        rules = self._rules
        if error is not None and isinstance(error, rules.refused):
            return False
        if error is not None and is_try_again(error):
            return True
        if rules.strategy is not None:
            if await settled(rules.strategy(self._call)):
                return True
            return error is None and rules.result is not None and await settled(rules.result(result))
        if error is not None:
            return await settled(rules.verdict(error))
        return await settled(rules.result(result)) if rules.result is not None else False

    async def _wait(self, wanted: object) -> float:
        if isinstance(wanted, timedelta):
            wanted = wanted.total_seconds()
        if isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
            return max(0.0, float(wanted)) if math.isfinite(wanted) else 0.0
        wait = self._rules.wait
        if isinstance(wait, (int, float)):
            return float(wait)
        if self._rules.wait_takes_state:
            seconds = await settled(wait(self._call))
            return seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds or 0.0)
        return float(await settled(wait(self._attempt, self._rules.runtime.rng, self._last)))

    async def _end(self, error: Exception | None, now: float) -> str | None:
        """Return the reason not to try again, although the outcome is worth it."""
        rules = self._rules
        if rules.attempts is not None and self._attempt >= rules.attempts:
            return "attempts"
        if error is not None and not self._repeatable(error):
            return "not idempotent"
        if rules.stop is not None and await settled(rules.stop(self._call)):
            return "stop"
        hint = None if error is None else retry_after_of(error, rules.runtime.clock.now())
        if hint is not None and hint > self.pause:
            self.pause = hint
            if hint > rules.max_wait:
                return "retry_after beyond max_wait"
        if now + self.pause >= Deadline.instant():
            return "deadline"
        if rules.budget is not None:
            paid_for = WRONG_RESULT if error is None else error
            self._paid = rules.budget.price(paid_for)
            if not rules.budget.withdraw(paid_for):
                return "budget"
        return None

    def _repeatable(self, error: Exception) -> bool:
        if self._rules.idempotent and not is_non_idempotent(self._fn, self._args):
            return True
        return isinstance(error, NEVER_SENT) or getattr(error, "sent", None) is False

    def _summary(self) -> str:
        if self._attempt == 1:
            return "gave up after 1 attempt"
        often = f"gave up after {self._attempt} attempts"
        passed = self._rules.runtime.clock.monotonic() - self._since
        return (
            f"{often} in {passed:.1f} s"
            if self._start is not None
            else f"{often}, {passed:.1f} s after the first failed"
        )

    def _name(self) -> str:
        if self._fn is None:
            return "block"
        return name_of(innermost(self._fn, self._args)[0])


def _under_another() -> bool:
    """Return True if a frame further out belongs to a retry: asked after a failure only, so a success pays nothing.

    The frames of an await chain hang together within one task. A task started by a repeated attempt, and a block, see
    the ContextVar instead.
    """
    state = _outer.get()
    if state is not None and state.live:
        return True
    frame: FrameType | None = sys._getframe(3)  # the caller of the shell that makes a RetryState
    while frame is not None:
        if frame.f_code in RETRYING:
            return True
        frame = frame.f_back
    return False


def _note(error: Exception, summary: str, reason: str) -> None:
    if any(note.startswith("gave up after") for note in getattr(error, "__notes__", ())):
        return  # the same error object once more
    error.add_note(summary if reason == "attempts" else f"{summary} ({reason})")
