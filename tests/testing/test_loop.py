import asyncio
import socket
import time

import pytest

from prodkit.testing import VirtualTimeLoop, loop as loop_module, virtual_time


async def hour() -> float:
    await asyncio.sleep(3600)
    return asyncio.get_running_loop().time()


def test_a_coroutine_is_run() -> None:
    begun = time.monotonic()
    assert virtual_time(hour()) == 3600
    assert time.monotonic() - begun < 30


def test_a_function_is_decorated_and_keeps_its_name_and_arguments() -> None:
    @virtual_time
    async def waits(seconds: float, *, twice: bool = False) -> float:
        """Says so."""
        await asyncio.sleep(seconds * (2 if twice else 1))
        return asyncio.get_running_loop().time()

    assert waits(3) == 3
    assert waits(3, twice=True) == 6  # a loop of its own for each call
    assert (waits.__name__, waits.__doc__) == ("waits", "Says so.")


def test_a_runner_keeps_its_loop() -> None:
    with virtual_time() as runner:
        assert runner.run(hour()) == 3600
        assert runner.run(hour()) == 7200
        assert isinstance(runner.get_loop(), VirtualTimeLoop)


@pytest.mark.parametrize("wrong", [3, len, lambda: None])
def test_what_is_not_async_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="coroutine or an async function"):
        virtual_time(wrong)  # type: ignore[call-overload]


@virtual_time
async def test_asyncio_timeouts_follow_the_virtual_clock() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(86400):
            await asyncio.sleep(86401)
    assert asyncio.get_running_loop().time() == 86400


def test_timers_fire_in_order_and_the_same_way_each_time() -> None:
    async def race() -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []

        async def runner(number: int) -> None:
            for lap in range(3):
                await asyncio.sleep((number * 7 + lap * 3) % 5)
                seen.append((asyncio.get_running_loop().time(), number))

        await asyncio.gather(*(runner(number) for number in range(10)))
        return seen

    first = virtual_time(race())
    assert first == virtual_time(race())
    assert [at for at, _ in first] == sorted(at for at, _ in first)


@virtual_time
async def test_time_stands_still_while_a_thread_works() -> None:
    clock = asyncio.get_running_loop().time
    timer = asyncio.create_task(asyncio.sleep(10))
    begun = clock()
    await asyncio.to_thread(lambda: sum(range(200_000)))
    assert clock() == begun
    assert not timer.done()
    await timer
    assert clock() == 10


@virtual_time
async def test_a_thread_that_fails_lets_time_go_on() -> None:
    def fails() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await asyncio.to_thread(fails)
    await asyncio.sleep(5)
    assert asyncio.get_running_loop().time() == 5


def test_a_deadlock_is_told_instead_of_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "_GRACE", 0.01)

    async def waits_for_nothing() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="never happens"):
        virtual_time(waits_for_nothing())


@virtual_time
async def test_what_is_ready_now_comes_before_later_timers() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        other.sendall(b"now")
        async with asyncio.timeout(1):
            assert await asyncio.get_running_loop().sock_recv(one, 10) == b"now"
    assert asyncio.get_running_loop().time() == 0
