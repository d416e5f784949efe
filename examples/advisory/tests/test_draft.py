"""A text that is stored while it arrives: whole, in order, each character once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from advisory.worker.draft import OUTAGE, PACE, Draft, storable
from prodkit.errors import DatabaseError
from prodkit.jobs import RunLostError
from prodkit.testing import virtual_time

PIECES = [f"palavra{n} " for n in range(40)]


class Rows:
    """Stores texts in memory, and fails a given number of times."""

    def __init__(self, text: str = "", *, outages: int = 0, seconds: float = 0.0) -> None:
        self.text = text
        self.writes: list[float] = []
        self.outages = outages
        self.seconds = seconds

    async def store(self, more: str, at: int) -> None:
        self.writes.append(asyncio.get_running_loop().time())
        assert more, "a write of nothing"
        await asyncio.sleep(self.seconds)
        if self.outages:
            self.outages -= 1
            raise DatabaseError("away")
        assert at == len(self.text)
        self.text += more


async def pieces(seconds: float, *, breaks: bool = False) -> AsyncIterator[str]:
    for each in PIECES:
        await asyncio.sleep(seconds)
        yield each
    if breaks:
        raise ConnectionResetError


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.5])
@virtual_time
async def test_everything_is_stored_once_and_at_most_ten_times_a_second(seconds):
    rows = Rows("antes ")
    await Draft(rows.text, rows.store).write(pieces(seconds))
    assert rows.text == "antes " + "".join(PIECES)
    assert len(rows.writes) <= seconds * len(PIECES) / PACE + 2
    assert rows.writes[0] <= rows.writes[-1]


@virtual_time
async def test_the_first_words_are_stored_at_once_and_nothing_waits_for_the_next_ones():
    rows = Rows()

    async def two() -> AsyncIterator[str]:
        yield "um"
        await asyncio.sleep(0.01)
        yield " dois"
        await asyncio.sleep(5)
        assert rows.text == "um dois"

    await Draft("", rows.store).write(two())
    assert rows.writes[0] == pytest.approx(rows.writes[1] - PACE)


@virtual_time
async def test_words_are_stored_as_they_come_unless_that_is_within_a_tenth_of_a_second():
    rows, began = Rows(), asyncio.get_running_loop().time()

    async def words() -> AsyncIterator[str]:
        for seconds, word in ((0.05, "um"), (0.15, " dois"), (0.02, " três"), (0.5, "\x00"), (0.5, "")):
            await asyncio.sleep(seconds)
            yield word

    await Draft("", rows.store).write(words())
    assert rows.text == "um dois três"
    assert [each - began for each in rows.writes] == pytest.approx([0.05, 0.2, 0.3])


@virtual_time
async def test_what_comes_while_a_slow_write_goes_on_is_stored_too():
    rows = Rows(seconds=7.0)
    await Draft("", rows.store).write(pieces(0.01))
    assert rows.text == "".join(PIECES)
    assert len(rows.writes) == 2


@virtual_time
async def test_a_stream_that_breaks_off_leaves_its_text():
    rows = Rows()
    draft = Draft("", rows.store)
    with pytest.raises(ConnectionResetError):
        await draft.write(pieces(0.01, breaks=True))
    assert draft.text == "".join(PIECES)
    assert draft.text.startswith(rows.text)
    assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing is stored any more


@virtual_time
async def test_an_outage_of_the_database_is_waited_for():
    rows = Rows(outages=20)
    await Draft("", rows.store).write(pieces(0.01))
    assert rows.text == "".join(PIECES)
    with pytest.raises(DatabaseError):
        await Draft("", Rows(outages=10_000).store).write(pieces(2 * OUTAGE / len(PIECES)))


@virtual_time
async def test_an_outage_is_waited_for_half_a_minute_and_looked_at_three_times_a_second():
    rows = Rows(outages=10_000)
    with pytest.raises(DatabaseError):
        await Draft("", rows.store).write(pieces(1.0))
    assert rows.writes[-1] - rows.writes[0] == pytest.approx(30, abs=0.4)
    assert len(rows.writes) == pytest.approx(101, abs=1)


@virtual_time
async def test_an_outage_late_in_a_long_answer_has_its_own_half_minute():
    rows = Rows()

    async def long() -> AsyncIterator[str]:
        async for piece in pieces(1.0):
            yield piece
        rows.outages = 60  # 18 seconds of them
        yield "fim"

    await Draft("", rows.store).write(long())
    assert rows.text == "".join(PIECES) + "fim"


@virtual_time
async def test_a_run_that_was_taken_over_is_read_no_further():
    async def lost(_more: str, _at: int) -> None:
        raise RunLostError("taken")

    with pytest.raises(RunLostError):
        await Draft("", lost).write(pieces(1.0))
    assert asyncio.get_running_loop().time() < 5


def test_what_postgresql_cannot_hold_is_left_out():
    assert storable("a\x00b\ud800c😀") == "ab?c😀"
