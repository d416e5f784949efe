from __future__ import annotations

import asyncio
from typing import Any

from prodkit import DatabaseError
from prodkit.sessions import MemoryStore, Session, Sessions
from prodkit.testing import virtual_time

SECRET = "made-up-secret-of-more-than-32-characters"


async def signed_in(accounts: Sessions) -> Session:
    session = await accounts.open([])
    session.login("7")
    await accounts.save(session)
    return session


@virtual_time
async def test_an_end_in_this_process_is_noticed_at_once() -> None:
    loop = asyncio.get_running_loop()
    for how in ("logout", "all", "handle"):
        accounts = Sessions(MemoryStore(), secret=SECRET)
        session, other = await signed_in(accounts), await signed_in(accounts)
        watching = asyncio.create_task(accounts.wait_ended(session))
        staying = asyncio.create_task(accounts.wait_ended(other))
        await asyncio.sleep(1)
        began = loop.time()
        handle = accounts.handle_of(session)
        assert handle is not None
        if how == "logout":
            again = Session(session.id, user_id="7")
            again.logout()
            await accounts.save(again)
        elif how == "all":
            await accounts.end_all("7", keep=other)
        else:
            assert await accounts.end("7", handle)
        await watching
        assert loop.time() - began < 0.1, how
        await asyncio.sleep(10)
        assert not staying.done()
        staying.cancel()


@virtual_time
async def test_an_end_elsewhere_is_noticed_within_the_interval_and_an_outage_ends_nothing() -> None:
    class Store(MemoryStore):
        away = False
        looks = 0

        async def alive(self, keys: Any) -> set[bytes]:
            self.looks += 1
            if self.away:
                raise DatabaseError("away")
            return await super().alive(keys)

    store = Store()
    here, there = Sessions(store, secret=SECRET, watch_every=2), Sessions(store, secret=SECRET)
    watching = [asyncio.create_task(here.wait_ended(await signed_in(here))) for _ in range(50)]
    await asyncio.sleep(0)
    store.away = True
    await asyncio.sleep(20)
    assert not any(each.done() for each in watching)
    assert store.looks <= 10  # one statement for all
    store.away = False
    began = asyncio.get_running_loop().time()
    await there.end_all("7")
    await asyncio.gather(*watching)
    assert asyncio.get_running_loop().time() - began <= 2
    looks = store.looks
    await asyncio.sleep(60)
    assert store.looks == looks  # nothing is watched, nothing is asked
