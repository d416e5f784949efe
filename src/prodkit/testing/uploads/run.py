"""Run an upload check over the conformance set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from prodkit.errors import InvalidError
from prodkit.testing.uploads.devices import samples

__all__ = ["failures"]

Check = Callable[[bytes, str, str], Awaitable[object]]


async def failures(check: Check, *, on_damage: Literal["refuse", "rewrite"] = "refuse") -> list[str]:
    """Return one line for each sample whose verdict is wrong.

    Args:
        check: called with data, file name and declared type; refuses by raising :class:`~prodkit.InvalidError` (or any
            ValueError).
        on_damage: the verdicts to compare with: of a check that refuses damaged pictures, or of one that rewrites them.
    """
    found = list[str]()
    for sample in samples():
        expected = sample.refuse if on_damage == "refuse" else sample.rewrite
        try:
            await check(sample.data, sample.filename, sample.declared_type)
        except (InvalidError, ValueError) as error:
            codes = [each.code for each in getattr(error, "problems", ())]
            if not expected:
                found.append(
                    f"{sample.name}: refused ({', '.join(codes) or error}), expected to pass; {sample.origin}"
                )
            continue
        if expected:
            found.append(f"{sample.name}: accepted, expected {expected}; {sample.origin}")
    return found
