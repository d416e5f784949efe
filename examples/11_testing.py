"""The test kit: virtual time, a scripted upstream, a real Redis and a proxy that cuts the line."""

import asyncio
import socket

from prodkit import CallTimeoutError, Pipeline, Retry, Timeout
from prodkit.testing import Proxy, virtual_time
from prodkit.testing.faults import Faulty
from prodkit.testing.servers import Redis


@virtual_time
async def test_two_bad_answers_then_a_good_one() -> None:
    upstream = Faulty(ConnectionError("down"), "hang", (0.5, "ok"))
    policy = Pipeline(Retry(attempts=3, on=(ConnectionError, CallTimeoutError)), Timeout(60))
    assert await policy.run(upstream) == "ok"
    assert upstream.calls == 3
    print(f"three attempts over {asyncio.get_running_loop().time():.1f} s of virtual time")


def test_a_client_sees_the_line_go_silent() -> None:
    if not Redis.available():
        print("no Redis is installed here")
        return
    with (
        Redis() as redis,
        Proxy(redis.url) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as link,
    ):
        link.sendall(b"PING\r\n")
        print("before:", link.recv(100).split()[0].decode())
        proxy.stall()
        link.settimeout(0.2)
        link.sendall(b"PING\r\n")
        try:
            link.recv(100)
        except TimeoutError:
            print("stalled: no answer, no error")
        proxy.heal()
        link.settimeout(5)
        assert link.recv(100).startswith(b"-NOAUTH")  # the answer to the second PING: nothing was lost
    print("nothing is left behind")


if __name__ == "__main__":
    test_two_bad_answers_then_a_good_one()
    test_a_client_sees_the_line_go_silent()
