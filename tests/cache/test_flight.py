"""Single flight, on virtual time: who waits, who cancels, what an invalidation does."""

from __future__ import annotations

import asyncio

import pytest

from prodkit.cache.flight import Flight, Flights
from prodkit.core.deadline import Deadline
from prodkit.errors import CallTimeoutError, DeadlineExceededError, UnavailableError
from prodkit.testing import virtual_time


async def slow(flight: Flight[int]) -> int:
    await asyncio.sleep(10)
    return 7


async def joined(flights: Flights[int], key: str = "k", timeout: float | None = None) -> int:
    return await flights.join(key, flights.find(key) or flights.begin(key, slow), timeout)


@virtual_time
async def test_many_callers_share_one_load() -> None:
    flights: Flights[int] = Flights()
    calls = [asyncio.create_task(joined(flights)) for _ in range(5)]
    await asyncio.sleep(1)
    assert len(flights) == 1
    assert await asyncio.gather(*calls) == [7] * 5
    assert len(flights) == 0
    assert flights.find("k") is None


@virtual_time
async def test_a_caller_that_leaves_takes_nothing_from_the_others_and_the_last_one_ends_it() -> None:
    flights: Flights[int] = Flights()
    first, second = (asyncio.create_task(joined(flights)) for _ in range(2))
    await asyncio.sleep(1)
    flight = flights.find("k")
    assert flight is not None
    first.cancel()
    await asyncio.sleep(1)
    assert not flight.task.done()
    second.cancel()
    await asyncio.wait([first, second, flight.task])
    assert flight.task.cancelled()
    assert len(flights) == 0


@virtual_time
async def test_a_refresh_goes_on_without_callers() -> None:
    flights: Flights[int] = Flights()
    flight = flights.begin("k", slow, keep=True)
    caller = asyncio.create_task(flights.join("k", flight))
    await asyncio.sleep(1)
    caller.cancel()
    assert await flight.task == 7


@virtual_time
async def test_after_a_callers_timeout_the_load_continues() -> None:
    flights: Flights[int] = Flights()
    flight = flights.begin("k", slow)
    with pytest.raises(CallTimeoutError, match="2"):
        await flights.join("k", flight, timeout=2)
    assert flights.find("k") is flight
    assert await flight.task == 7


@virtual_time
async def test_each_caller_has_its_own_deadline_and_the_load_has_none() -> None:
    flights: Flights[int] = Flights()
    seen: list[Deadline | None] = []

    async def load(flight: Flight[int]) -> int:
        seen.append(Deadline.current())
        return await slow(flight)

    async def hurried() -> int:
        with Deadline.after(3):
            return await flights.join("k", flights.begin("k", load))

    caller = asyncio.create_task(hurried())
    await asyncio.sleep(1)
    patient = asyncio.create_task(joined(flights))
    with pytest.raises(DeadlineExceededError):
        await caller
    assert await patient == 7
    assert all(each is None or each.remaining() > 1e6 for each in seen)


@virtual_time
async def test_an_error_reaches_every_caller_and_the_next_load_starts_again() -> None:
    flights: Flights[int] = Flights()

    async def failing(flight: Flight[int]) -> int:
        raise LookupError("away")

    flight = flights.begin("k", failing)
    found = await asyncio.gather(*(flights.join("k", flight) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [LookupError] * 3
    assert await joined(flights) == 7


@virtual_time
async def test_a_load_that_cancels_itself_is_an_error_and_no_cancellation() -> None:
    flights: Flights[int] = Flights()

    async def cancelled(flight: Flight[int]) -> int:
        raise asyncio.CancelledError

    with pytest.raises(UnavailableError, match="from inside"):
        await flights.join("k", flights.begin("k", cancelled))


@virtual_time
async def test_a_load_that_asks_for_itself_is_refused() -> None:
    flights: Flights[int] = Flights()

    async def load(flight: Flight[int]) -> int:
        return await flights.join("k", flight)

    with pytest.raises(RuntimeError, match="'k' itself"):
        await flights.join("k", flights.begin("k", load))


@virtual_time
async def test_an_invalidation_keeps_its_callers_and_later_ones_start_another() -> None:
    flights: Flights[int] = Flights()
    by_key, by_tag, other = (flights.begin(key, slow, tags=frozenset({key})) for key in ("k", "t", "o"))
    flights.supersede_key("k")
    flights.supersede_key("unknown")
    flights.supersede(lambda key, flight: "t" in flight.tags)
    assert [each.superseded for each in (by_key, by_tag, other)] == [True, True, False]
    newer = flights.begin("k", slow, keep=True)
    assert await flights.join("k", by_key) == 7
    assert flights.find("k") in (newer, None)  # the older one has not removed the newer one
    assert not newer.superseded
    await flights.aclose()
    assert len(flights) == 0


@virtual_time
async def test_closing_cancels_what_is_in_flight() -> None:
    flights: Flights[int] = Flights()
    flight = flights.begin("k", slow)
    await flights.aclose()
    assert flight.task.cancelled()
