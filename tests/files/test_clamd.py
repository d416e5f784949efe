"""Clamd over its own protocol, against a server that answers as clamd does."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from upload_corpus.base import bases

from prodkit import UnavailableError, files

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@asynccontextmanager
async def listening(answer: Callable[[asyncio.StreamReader], Awaitable[bytes]]) -> AsyncIterator[int]:
    """A server that says what `answer` returns and hangs up; its handlers are over when the block is."""
    handlers = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            writer.write(await answer(reader))
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with made:
        yield made.sockets[0].getsockname()[1]
        await asyncio.gather(*handlers)


@asynccontextmanager
async def server(answer: bytes | None = None) -> AsyncIterator[int]:
    """Scans for the test virus; `answer` overrides what it says, b"" hangs up."""

    async def scan(reader: asyncio.StreamReader) -> bytes:
        command = await reader.readuntil(b"\0")
        said = b"PONG\0"
        if command == b"zINSTREAM\0":
            body = b""
            while size := struct.unpack("!I", await reader.readexactly(4))[0]:
                body += await reader.readexactly(size)
            said = b"stream: Eicar-Test-Signature FOUND\0" if EICAR in body else b"stream: OK\0"
        return said if answer is None else answer

    async with listening(scan) as port:
        yield port


async def test_it_names_the_malware_and_passes_the_rest() -> None:
    async with server() as port:
        clamd = files.Clamd("127.0.0.1", port)
        assert await clamd(b"x" * 300_000) == ""
        assert await clamd(b"x" * 100_000 + EICAR) == "Eicar-Test-Signature"
        assert (await clamd.check()).status == "up"
        data = bases()["jpeg"][1]
        clean = await files.Validator(files.ImagePolicy(), scanner=clamd).check(
            data, filename="a.jpg", declared_type=None
        )
        assert clean.content == data


@pytest.mark.parametrize("answer", [b"", b"INSTREAM size limit exceeded. ERROR\0", b"what?\0", b"half"])
async def test_it_fails_closed(answer: bytes) -> None:
    async with server(answer) as port:
        with pytest.raises(UnavailableError):
            await files.Clamd("127.0.0.1", port)(b"x")
        assert await files.Clamd("127.0.0.1", port, fail_open=True)(b"x") == ""


async def test_nobody_there_and_nobody_answering() -> None:
    async with server() as port:
        pass
    with pytest.raises(UnavailableError):
        await files.Clamd("127.0.0.1", port)(b"x")
    assert (await files.Clamd("127.0.0.1", port).check()).status == "down"

    async def silent(reader: asyncio.StreamReader) -> bytes:
        return await reader.read()

    async with listening(silent) as port:
        with pytest.raises(UnavailableError):
            await files.Clamd("127.0.0.1", port, timeout=0.1)(b"x")
