"""An HTTP client that survives its server: one line, and what it does to a bad minute."""

import asyncio
from collections import Counter

import httpx

import prodkit as pk
from prodkit.http import ResilientTransport

script = iter(["200", "503", "503", "200", "429", "200", *["500"] * 9])
seen: Counter[str] = Counter()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A little server that follows the script."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            status = next(script, "200")
            seen[status] += 1
            hint = "retry-after: 1\r\n" if status == "429" else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{hint}content-length: 0\r\n\r\n".encode())
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    runtime = pk.Runtime()
    runtime.events.subscribe(lambda event: print("   ", event.name))
    transport = ResilientTransport(httpx.AsyncHTTPTransport(), runtime=runtime)

    async with server, httpx.AsyncClient(transport=transport) as client:
        for wish in ("healthy", "two 503 in a row", "throttled for a second"):
            with pk.Deadline.after(5):
                print(f"{wish}: {(await client.get(url)).status_code}")

        print("then it breaks:")
        for _ in range(3):
            try:
                print("answered", (await client.get(url)).status_code)
            except pk.CircuitOpenError as refused:
                print(f"not asked, come back in {refused.retry_after:.0f} s")
    assert seen["500"] == 5, "the sixth request was not sent"


asyncio.run(main())
