"""Block forms: a policy around a ``with`` block, for code that is not one callable.

::

    async with breaker:                    # the same permit, state and events as ``await breaker.run(fn)``
        rows = await fetch()

    Block.__aenter__ -> Scope.enter        takes the permit, slot or turn
        the block, cancelled at the deadline
    Block.__aexit__  -> Scope.leave        settles it by the error of the block
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

from prodkit.core.deadline import _current
from prodkit.policies.deadline_guard import TimeLimit

__all__ = ["Block", "Scope", "pop_block", "push_block"]


class Scope:
    """The guard of one block: taken at its beginning, settled once at its end.

    A subclass implements :meth:`enter` for ``async with``, :meth:`enter_sync` for ``with``, or both.
    """

    __slots__ = ()

    seconds: float = math.inf
    """The limit of the block, in seconds."""

    async def enter(self) -> None:
        """Take what the block needs, waiting for it."""
        self.enter_sync()

    def enter_sync(self) -> None:
        """Take what the block needs without waiting."""
        raise TypeError(
            f"{type(self).__name__.strip('_').removesuffix('Scope')} needs `async with`: it may have to wait"
        )

    def leave(self, error: BaseException | None) -> None:
        """Settle the block, which ended with `error`; None if it ended well."""


class Block:
    """One guarded block, sync or async; used once.

    The deadline in force cancels an ``async with`` block, as it cancels a call. A plain ``with`` block cannot be
    interrupted.

    Args:
        scopes: guards of the block, outermost first.
    """

    __slots__ = ("_entered", "_limit", "_scopes", "_used")

    def __init__(self, *scopes: Scope) -> None:
        self._scopes = scopes
        self._entered: list[Scope] = []
        self._limit: TimeLimit | None = None
        self._used = False

    async def __aenter__(self) -> Self:
        self._begin()
        try:
            for scope in self._scopes:
                await scope.enter()
                self._entered.append(scope)
            seconds = min((scope.seconds for scope in self._scopes), default=math.inf)
            if seconds != math.inf or _current.get() != math.inf:
                self._limit = TimeLimit(seconds)
                self._limit.start()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        replaced = None if self._limit is None else self._limit.stop(error)
        self._leave(replaced if replaced is not None else error)
        if replaced is not None:
            raise replaced from error

    def __enter__(self) -> Self:
        self._begin()
        try:
            for scope in self._scopes:
                scope.enter_sync()
                self._entered.append(scope)
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _begin(self) -> None:
        if self._used:
            raise RuntimeError("this block was used already: make one for each `with`")
        self._used = True

    def _leave(self, error: BaseException | None) -> None:
        while self._entered:
            self._entered.pop().leave(error)


_blocks: Final[ContextVar[tuple[Block, ...]]] = ContextVar("prodkit_blocks", default=())
"""The blocks that ``with policy:`` has entered in this context, outermost first: a policy is shared, a block is not."""

_open: Final[dict[Block, object]] = {}
"""The policies of all entered blocks: one may be left in another context, as an exit stack or a fixture does."""


def push_block(policy: object, block: Block) -> None:
    """Remember an entered `block` of `policy` for the end of its ``with``.

    Args:
        policy: the policy in the ``with``.
        block: its block.
    """
    _open[block] = policy
    _blocks.set((*(each for each in _blocks.get() if each in _open), block))


def pop_block(policy: object) -> Block:
    """Return the innermost block of `policy` and forget it.

    Of generators that are interleaved each finds its own policy's block. A block that was entered in another context is
    found among all open ones, the latest first.

    Args:
        policy: the policy in the ``with``.
    """
    here = [each for each in _blocks.get() if each in _open]
    for block in (*reversed(here), *reversed(list(_open))):
        if _open.get(block) is policy:
            del _open[block]
            _blocks.set(tuple(each for each in here if each is not block))
            return block
    raise RuntimeError(f"{policy!r} is left, but no `with` has entered it")
