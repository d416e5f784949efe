"""A scripted upstream without a network, to try a stack of policies on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

__all__ = ["Faulty", "Step"]

Step: TypeAlias = str | float | BaseException | type[BaseException] | tuple[float, Any] | Callable[..., Any]
_WORDS: Final = ("ok", "hang")


class Faulty:
    """An async callable that follows a script, one step a call.

    A step is ``"ok"`` (answer), ``"hang"`` (never answer), a number (answer after so many seconds), an exception
    or its class (raise it), a pair ``(seconds, step)`` (wait, then do the step), or a callable (answer what it
    returns for the call's arguments). After the last step the script stays on `then`.

    ::

        upstream = Faulty(OSError("down"), "hang", (0.5, "ok"))
        answer = await Pipeline(Retry(attempts=3), Timeout(5)).run(upstream)
        assert upstream.calls == 3

    ``calls`` counts the calls, ``running`` those in flight, ``most_running`` their highest number, ``cancelled``
    those cancelled; ``times`` has the loop's time of each call.

    Args:
        script: the steps, one a call.
        answer: the result of a call that succeeds; ``"ok"`` by default.
        then: the step of every call after the script; ``"ok"`` by default.
    """

    def __init__(self, *script: Step, answer: Any = "ok", then: Step = "ok") -> None:
        self._script = list(script)
        for step in (*script, then):
            _checked(step)
        self._answer = answer
        self._then = then
        self.calls: int = 0
        self.running: int = 0
        self.most_running: int = 0
        self.cancelled: int = 0
        self.times: list[float] = []

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        step = self._script[self.calls] if self.calls < len(self._script) else self._then
        self.calls += 1
        self.times.append(asyncio.get_running_loop().time())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._do(step, args, kwargs)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def extend(self, steps: Iterable[Step]) -> None:
        """Add `steps` to the end of the script."""
        self._script.extend(_checked(step) for step in steps)

    async def _do(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(step, tuple):
            await asyncio.sleep(step[0])
            return await self._do(step[1], args, kwargs)
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, type) and issubclass(step, BaseException):
            raise step()
        if isinstance(step, (int, float)):
            await asyncio.sleep(step)
            return self._answer
        if step == "ok":
            return self._answer
        if step == "hang":
            return await asyncio.get_running_loop().create_future()
        assert callable(step)
        return step(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Faulty(calls={self.calls}, left={max(0, len(self._script) - self.calls)})"


def _checked(step: Step) -> Step:
    if isinstance(step, tuple):
        pair: tuple[Any, ...] = step
        if len(pair) != 2 or not isinstance(pair[0], (int, float)) or pair[0] < 0:
            raise ValueError(f"a pair is (seconds, step), got {step!r}")
        _checked(pair[1])
    elif isinstance(step, str):
        if step not in _WORDS:
            raise ValueError(f'a step in words is "ok" or "hang", got {step!r}')
    elif isinstance(step, (int, float)):
        if step < 0:
            raise ValueError(f"seconds must not be negative, got {step!r}")
    elif not isinstance(step, BaseException) and not callable(step):
        raise TypeError(f"no step of a script: {step!r}")
    return step
