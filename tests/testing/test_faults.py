import asyncio

import pytest

from prodkit.testing import virtual_time
from prodkit.testing.faults import Faulty


@virtual_time
async def test_it_follows_its_script_and_then_answers() -> None:
    upstream = Faulty(OSError("down"), ConnectionError, 2.0, (0.5, OSError("late")), "ok", answer=7)
    with pytest.raises(OSError, match="down"):
        await upstream()
    with pytest.raises(ConnectionError):
        await upstream()
    assert await upstream() == 7
    with pytest.raises(OSError, match="late"):
        await upstream()
    assert await upstream() == 7
    assert await upstream() == 7
    assert upstream.calls == 6
    assert upstream.times == [0, 0, 0, 2, 2.5, 2.5]


@virtual_time
async def test_hang_never_answers_and_the_cut_is_counted() -> None:
    upstream = Faulty("hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await upstream()
    assert (upstream.calls, upstream.cancelled, upstream.running) == (1, 1, 0)


@virtual_time
async def test_it_counts_how_many_run_at_once() -> None:
    upstream = Faulty(then=5.0)
    await asyncio.gather(*(upstream() for _ in range(4)))
    assert (upstream.most_running, upstream.running) == (4, 0)


@virtual_time
async def test_a_callable_sees_the_arguments_and_then_can_fail_for_ever() -> None:
    upstream = Faulty(lambda a, *, b: a + b, then=OSError("for ever"))
    assert await upstream(1, b=2) == 3
    for _ in range(3):
        with pytest.raises(OSError, match="for ever"):
            await upstream()
    upstream.extend(["ok"])


@pytest.mark.parametrize(
    ("step", "message"), [("okay", "hang"), (-1.0, "negative"), ((1,), "pair"), ((-1, "ok"), "pair")]
)
def test_a_wrong_step_is_refused_at_once(step: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Faulty(step)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        Faulty(then=step)  # type: ignore[arg-type]
