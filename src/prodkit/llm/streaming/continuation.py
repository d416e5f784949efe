"""Resume a cut answer, pure: build the request for the rest, and remove the words that it repeats.

Current models refuse a conversation that ends with a piece of their own answer, so the rest is requested in words:
repeat the last words that arrived, then go on. Models obey loosely: they repeat more words or fewer, begin again from
the start, squeeze white space while they quote, put an apology in front, or send the bare rest. So the overlap is
found on texts without white space and with plain quotation marks:

    delivered  …the answer depends on who asks and on who responds
    arrived    Sorry! Here is the rest: “on  who asks\\nand on who responds, because…
                                        ╰──── ends like the delivered text ───╯╰ new
                                            the cut is after "responds"

The end of the delivered text that occurs in it only once (24 characters or more) is looked for in what arrives. Where
it is found, everything up to its end is a repetition. Where it is not, a shorter repetition or none is accepted only
if the joint is plausible; otherwise the joint has a low confidence, and the answer is not joined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prodkit.llm.streaming.plausible import is_preamble, plausible_rest

__all__ = ["Joint", "NoOverlapError", "Overlap", "anchor_of", "continued", "resumable"]

_ANCHOR: Final = 40  # characters that the model is asked to repeat, from the beginning of a word
_LONGEST: Final = 400
_TAIL: Final = 24  # characters without white space that identify the end of the delivered text
_WINDOW: Final = 400  # characters without white space after which no repetition is expected any more
_DECIDE: Final = 60  # … after which a short repetition or a bare rest is decided
_STRAY: Final = (
    16  # characters repeated from somewhere within the text, by which a new beginning is recognised
)
_LEAST: Final = 0.5
_QUOTES: Final = "\"'“”„«»‘’`…>*_#-—.)( "
_PLAIN: Final = {
    ord(fancy): plain for fancy, plain in ('“"', '”"', '„"', '«"', '»"', "‘'", "’'", "‚'", "–-", "—-")
}
_MARKS: Final = (("“", "”"), ("«", "»"), ('"', '"'), ("`", "`"), ("<last_words>", "</last_words>"))
_ASK: Final = (
    "The connection broke while you were answering; the text above is all that arrived. Go on with your answer from "
    "exactly there, in the same language and form: first repeat, letter by letter, the last words that arrived (they "
    "stand between the marks below, without the marks), then continue at once. Write no introduction, no apology, and "
    "nothing else twice. If your answer was already complete, write only those words.\n\n"
    "<last_words>{anchor}</last_words>"
)


class NoOverlapError(ValueError):
    """A continuation cannot be joined to the delivered text with confidence."""


@dataclass(frozen=True, slots=True)
class Joint:
    """A joint of two texts: `at` characters of the first, `removed` from the second."""

    at: int
    kind: str
    removed: int
    confidence: float


def resumable(params: Mapping[str, Any]) -> bool:
    """Return True when the rest of an answer can be requested: not where the form of the whole is enforced."""
    config = params.get("output_config")
    return not (isinstance(config, Mapping) and config.get("format")) and not params.get("output_format")


def anchor_of(text: str) -> str:
    """Return the last words of `text`, from the beginning of a word and so many that they occur in it only once.

    They also never repeat a shorter text: in an answer that repeats a phrase, the words that come next must not look
    like the anchor.
    """
    if len(text) <= _ANCHOR:
        return text
    begin = text.rfind(" ", 0, len(text) - _ANCHOR) + 1
    begin = max(begin, len(text) - 2 * _ANCHOR)
    lowest = max(0, len(text) - _LONGEST)
    for start in (*range(begin, lowest - 1, -1), *range(begin + 1, len(text) - _ANCHOR // 2)):
        anchor = text[start:]
        if text.find(anchor) == start and not _repeats(anchor):
            return anchor
    return text[begin:]


def _repeats(text: str) -> bool:
    """Return True when `text` is some shorter text several times over."""
    return text in (text + text)[1:-1]


def continued(params: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the request for the rest of an answer.

    Args:
        params: the request of the answer.
        text: the part of the answer that has arrived.
    """
    request = _ASK.format(anchor=anchor_of(text))
    messages = [
        *params["messages"],
        {"role": "assistant", "content": [{"type": "text", "text": text}]},
        {"role": "user", "content": [{"type": "text", "text": request}]},
    ]
    room = params["max_tokens"] - len(text) // 4  # an estimate that is rather too low for most languages
    # A thinking budget may exceed the room that is left, and a forced tool was not what the model was writing.
    rest = {name: value for name, value in params.items() if name not in ("thinking", "tool_choice")}
    return {**rest, "messages": messages, "max_tokens": max(64, room)}


class _Squeezed:
    """A text without white space and with plain quotation marks, and the way back to its characters."""

    __slots__ = ("raw", "text", "where")

    def __init__(self, raw: str = "") -> None:
        self.raw = ""
        self.text = ""
        self.where: list[int] = []  # of each squeezed character, the index after it in the raw text
        self.add(raw)

    def add(self, raw: str) -> None:
        begin = len(self.raw)
        self.raw += raw
        if not any(map(str.isspace, raw)):
            self.text += raw.translate(_PLAIN)
            self.where.extend(range(begin + 1, begin + len(raw) + 1))
            return
        kept = [index for index, letter in enumerate(raw) if not letter.isspace()]
        self.text += "".join([raw[index] for index in kept]).translate(_PLAIN)
        self.where.extend([begin + index + 1 for index in kept])


class Overlap:
    """Takes the text of a continuation and returns the new part of it.

    Args:
        delivered: the text that has been delivered; it ends with a visible character.
        blank: the white space that had arrived behind it; a continuation may leave it out.
    """

    __slots__ = ("_blank", "_had", "_held", "_raw", "_scanned", "_tail", "joint", "open")

    def __init__(self, delivered: str, blank: str = "") -> None:
        self._raw = delivered
        self._blank = blank
        self._had = _Squeezed(delivered).text
        self._tail = _tail_of(self._had)
        self._held = _Squeezed()
        self._scanned = 0
        self.joint: Joint | None = None
        self.open: bool = bool(self._had)

    def feed(self, text: str) -> str:
        """Return the part of `text` that is new as far as is certain now; the rest is held.

        Raises:
            NoOverlapError: it cannot be joined.
        """
        if not self.open:
            return text
        self._held.add(text)
        return self._decide(final=False)

    def close(self) -> str:
        """Return the held text that is new after all, at the end of the continuation.

        Raises:
            NoOverlapError: it cannot be joined.
        """
        return self._decide(final=True) if self.open else ""

    def salvage(self) -> str:
        """Return the held text that is new, where the continuation itself was cut; "" while it still repeats.

        Raises:
            NoOverlapError: it cannot be joined.
        """
        bare = self._held.text.lstrip(_QUOTES)
        return "" if not bare or bare in self._had else self._decide(final=True)

    # ---------------------------------------------------------------- decisions
    def _decide(self, *, final: bool) -> str:
        held, had = self._held.text, self._had
        if (found := self._find_tail()) is not None:
            return self._cut_after(found)
        bare = held.lstrip(_QUOTES)
        if not final and (not bare or bare in had or held in had):
            return (
                ""  # still within the delivered text: it repeats, from the start or from somewhere in between
            )
        if not bare:
            return self._release(0, "rest", 0.9)  # marks only, or nothing
        if final and had.endswith(bare):
            return self._release(len(self._held.raw), "overlap", 0.9)  # the answer was complete
        if not final and (len(held) < _DECIDE or self._may_be_preamble(held)):
            return ""
        short = self._short_overlap(bare)
        if short and not self._tail and (len(had) >= _TAIL // 2 or self._ambiguous(short)):
            return self._release(0, "rest", 0.3)  # the end repeats itself: any of several cuts would fit
        if short >= 8 or (short and not self._held.raw[:1].isspace()):
            return self._cut(len(held) - len(bare) + short, "overlap", 0.6 + min(0.3, short / 40))
        if len(bare) >= _STRAY and (bare[:_STRAY] in had or (final and bare in had)):
            return self._release(
                0, "rest", 0.2
            )  # it repeats some of the text and then does not reach its end
        return self._release(0, "rest", plausible_rest(self._raw, self._held.raw))

    def _find_tail(self) -> int | None:
        """Return the squeezed index in the held text at which the delivered text ends."""
        tail, held = self._tail, self._held.text
        if not tail:
            return None
        at = held.find(tail, max(0, self._scanned - len(tail)))
        self._scanned = len(held)
        return None if at < 0 else at + len(tail)

    def _cut_after(self, end: int) -> str:
        held, had = self._held.text, self._had
        length = len(self._tail)  # how far the match reaches to the left
        while length < min(end, len(had)) and held[end - length - 1] == had[-length - 1]:
            length += 1
        before = held[: end - length]
        confidence = 0.95 if length >= _TAIL or length == len(had) else 0.75
        if before.strip(_QUOTES):
            # Something stands in front of the repetition: an introduction is removed, text of the answer is not.
            raw = self._held.raw[: self._held.where[end - length - 1]]
            confidence = 0.8 if is_preamble(raw, self._held.raw[len(raw) :]) and length >= _TAIL // 2 else 0.2
        return self._cut(
            end, "restart" if length == len(had) and len(had) > 2 * _TAIL else "overlap", confidence
        )

    def _short_overlap(self, bare: str) -> int:
        """Return the length of the longest end of the delivered text with which `bare` begins; whole words only."""
        had = self._had
        for length in range(min(len(bare), len(had), max(len(self._tail), _TAIL)), 0, -1):
            long_enough = length >= 2 or length == len(had)
            if long_enough and bare.startswith(had[-length:]) and self._word_aligned(length):
                return length
        return 0

    def _ambiguous(self, overlap: int) -> bool:
        """Return True for a few letters that repeat themselves: what follows may be more of them, or the same again.

        Where they are all that the model was asked to repeat, and it repeats all of them, they are the same again.
        """
        whole = overlap == len(self._had) and len(self._raw) <= _ANCHOR
        return _periodic(self._had) and not whole

    def _word_aligned(self, length: int) -> bool:
        """Return True when the last `length` squeezed characters of the delivered text begin a word."""
        if length == len(self._had):
            return True
        counted = 0
        for index in range(len(self._raw) - 1, -1, -1):
            if not self._raw[index].isspace():
                counted += 1
                if counted == length:
                    before = self._raw[index - 1]
                    return before.isspace() or (not before.isalnum() and self._raw[index].isalnum())
        return True

    def _may_be_preamble(self, held: str) -> bool:
        return len(held) < _WINDOW and is_preamble(self._held.raw, None)

    def _cut(self, squeezed: int, kind: str, confidence: float) -> str:
        """Cut the held text after so many squeezed characters, and the closing mark of a quotation."""
        end = self._held.where[squeezed - 1]
        before, after = self._held.raw[:end].lstrip(), self._held.raw[end:]
        for opening, closing in _MARKS:
            if before.startswith(opening) and after.startswith(closing) and not self._raw.endswith(opening):
                end += len(closing)
                break
        return self._release(end, kind, confidence)

    def _release(self, removed: int, kind: str, confidence: float) -> str:
        self.joint = Joint(len(self._raw), kind, removed, round(confidence, 2))
        if confidence < _LEAST:
            raise NoOverlapError(f"the continuation cannot be joined: confidence {confidence:.2f}")
        self.open = False
        new = self._held.raw[removed:]
        return self._blank + new if new and not new[0].isspace() else new


def _tail_of(text: str) -> str:
    """Return the shortest end of `text`, of 24 characters or more, that identifies it: it occurs only once and does
    not repeat itself. A text shorter than that is its own tail, if it has 12 characters; "" where there is none.
    """
    if len(text) < _TAIL:
        return text if len(text) >= _TAIL // 2 and not _periodic(text) else ""
    for length in range(_TAIL, min(len(text), _LONGEST) + 1):
        tail = text[-length:]
        if text.find(tail) == len(text) - length:
            return "" if _periodic(tail) else tail
    return ""


def _periodic(text: str) -> bool:
    """Return True when `text` goes on with itself after half of its length or less: "abcabcab"."""
    return any(text.startswith(text[shift:]) for shift in range(1, len(text) // 2 + 1))
