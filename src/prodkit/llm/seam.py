"""How an answer that broke off is gone on with, pure: the request that asks for the rest, and the seam.

Current models refuse a conversation that ends with a piece of their own answer, so the rest is asked for in words:
repeat the last words that arrived, then go on. The words repeated are the anchor by which the two pieces are fitted
together. A model that sends the bare rest, or begins again from the start, is understood as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Seam", "anchor_of", "continued", "resumable"]

_ANCHOR: Final = 40
_LONGEST: Final = 400
_QUOTES: Final = " \t\n\"'«“”…`>"
_ASK: Final = (
    "The connection broke while you were answering; the text above is all that arrived. Go on with your answer from "
    "exactly there, in the same language and form: first repeat, letter by letter, the last words that arrived (they "
    "stand between the marks below, without the marks), then continue at once. Write no introduction, no apology, and "
    "nothing else twice. If your answer was already complete, write only those words.\n\n"
    "<last_words>{anchor}</last_words>"
)


def resumable(params: Mapping[str, Any]) -> bool:
    """Whether the rest of an answer can be asked for: not where the form of the whole answer is enforced."""
    config = params.get("output_config")
    return not (isinstance(config, Mapping) and config.get("format")) and not params.get("output_format")


def anchor_of(text: str) -> str:
    """The last words of `text`, from the beginning of a word, so that they stand in it only once.

    They also never end as they begin in a way that lets them follow themselves: in a text that repeats a phrase,
    what comes next must not look like the anchor.
    """
    if len(text) <= _ANCHOR:
        return text
    start = text.rfind(" ", 0, len(text) - _ANCHOR) + 1
    start = max(start, len(text) - 2 * _ANCHOR)
    lowest = max(0, len(text) - _LONGEST)
    while start > lowest and (text.find(text[start:]) < start or _repeats(text[start:])):
        start -= 1
    return text[start:]


def _repeats(text: str) -> bool:
    """Whether `text` is some shorter text several times over."""
    return text in (text + text)[1:-1]


def continued(params: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The request for the rest of an answer of which `text` has arrived."""
    asked = _ASK.format(anchor=anchor_of(text))
    messages = [
        *params["messages"],
        {"role": "assistant", "content": [{"type": "text", "text": text}]},
        {"role": "user", "content": [{"type": "text", "text": asked}]},
    ]
    room = params["max_tokens"] - len(text) // 4  # an estimate that is rather too low for most languages
    # A thinking budget may be larger than the room that is left, and a forced tool was not what it was writing.
    rest = {name: value for name, value in params.items() if name not in ("thinking", "tool_choice")}
    return {**rest, "messages": messages, "max_tokens": max(64, room)}


class Seam:
    """Takes the text of a continuation and gives back what is new in it."""

    __slots__ = ("_candidates", "_held", "_open")

    def __init__(self, text: str) -> None:
        """`text` is what has been delivered."""
        whole = text if len(text) >= 4 and not _repeats(text) else ""
        self._candidates = [c for c in dict.fromkeys((whole, anchor_of(text))) if c]
        self._held = ""
        self._open = bool(self._candidates)

    def feed(self, text: str) -> str:
        """What of `text` is new as far as can be said now; the rest is held until more has come."""
        if not self._open:
            return text
        self._held += text
        for candidate in self._candidates:  # the longest first: the anchor may also be how the text begins
            match = _overlap(self._held, candidate)
            if match is None:
                return ""
            if match:
                return self._release(match)
        return self._release(0)

    def close(self) -> str:
        """The end of the continuation: what was held and is new after all."""
        if not self._open:
            return ""
        for candidate in self._candidates:
            match = _overlap(self._held, candidate)
            if match:
                return self._release(match)
            bare = self._held.strip(_QUOTES)
            if match is None and len(bare) >= _ANCHOR // 2:
                return self._release(len(self._held))  # it repeated a part of what was there and stopped
        return self._release(0)

    def _release(self, skip: int) -> str:
        self._open = False
        new, self._held = self._held[skip:], ""
        return new


def _overlap(held: str, candidate: str) -> int | None:
    """How many characters of `held` repeat `candidate`: 0 for none, None where more is needed to tell."""
    if held.startswith(candidate):
        return len(candidate)
    if candidate.startswith(held):
        return None
    bare, wanted = held.lstrip(_QUOTES), candidate.lstrip(_QUOTES)
    if not wanted:
        return 0
    if bare.startswith(wanted):
        return len(held) - len(bare) + len(wanted)
    return None if wanted.startswith(bare) else 0
