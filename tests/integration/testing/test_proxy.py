import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from prodkit.testing import Proxy

pytestmark = pytest.mark.integration


@pytest.fixture
def echo() -> Iterator[Proxy]:
    """A proxy in front of a server that sends back what it gets, itself behind a proxy's kind of thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        import threading

        def serve() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(link,), daemon=True).start()

        def answer(link: socket.socket) -> None:
            with link:
                try:
                    while data := link.recv(4096):
                        link.sendall(data)
                except OSError:
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with Proxy(f"127.0.0.1:{listener.getsockname()[1]}") as proxy:
            yield proxy
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def test_it_passes_and_counts(echo: Proxy) -> None:
    with dial(echo) as link:
        link.sendall(b"hello")
        assert link.recv(10) == b"hello"
        assert (echo.connections, echo.open_connections, echo.bytes_up) == (1, 1, 5)
        link.shutdown(socket.SHUT_WR)
        assert link.recv(10) == b""
    assert echo.bytes_down == 5


def test_it_refuses_and_heals_on_the_same_port(echo: Proxy) -> None:
    with dial(echo) as link:
        link.sendall(b"a")
        assert link.recv(1) == b"a"
        echo.refuse()
        with pytest.raises(ConnectionResetError):
            link.recv(1)
    with pytest.raises(ConnectionRefusedError):
        dial(echo)
    echo.heal()
    with dial(echo) as link:
        link.sendall(b"b")
        assert link.recv(1) == b"b"


def test_a_stall_is_silent_and_loses_nothing(echo: Proxy) -> None:
    with dial(echo) as old:
        old.sendall(b"a")
        assert old.recv(1) == b"a"
        echo.stall()
        with dial(echo) as new:
            for link in (old, new):
                link.sendall(b"later")
                link.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    link.recv(5)
            echo.heal()
            for link in (old, new):
                link.settimeout(5)
                assert link.recv(5) == b"later"


def test_a_delay_is_paid_in_both_directions(echo: Proxy) -> None:
    with dial(echo) as link:
        echo.delay(0.1)
        begun = time.monotonic()
        link.sendall(b"x")
        assert link.recv(1) == b"x"
        assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_it_cuts_after_exactly_so_many_bytes(echo: Proxy, how: str) -> None:
    echo.cut(how, after=3)
    for _ in range(2):
        with dial(echo) as link:
            link.sendall(b"hello")
            got = b""
            try:
                while data := link.recv(10):
                    got += data
                end = "fin"
            except ConnectionResetError:
                end = "rst"
            assert end == how
            assert got in ({b"hel"} if how == "fin" else {b"hel", b""})  # a reset may overtake what was sent
    assert echo.bytes_down == 6


def test_drop_cuts_once(echo: Proxy) -> None:
    with dial(echo) as link:
        link.sendall(b"a")
        assert link.recv(1) == b"a"
        echo.drop("fin")
        assert link.recv(1) == b""
    with dial(echo) as link:
        link.sendall(b"b")
        assert link.recv(1) == b"b"
    assert echo.connections == 2


async def test_unix_socket_upstream(tmp_path_factory: pytest.TempPathFactory) -> None:
    import tempfile

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(2))
        writer.close()

    with tempfile.TemporaryDirectory(prefix="px") as short:
        path = Path(short) / "s"
        server = await asyncio.start_unix_server(answer, path)
        async with server:
            with Proxy(path) as proxy:
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                writer.write(b"hi")
                assert await reader.read() == b"hi"
                writer.close()
                await writer.wait_closed()


async def test_in_front_of_postgres(postgres_url: str) -> None:
    with Proxy(postgres_url) as proxy:
        connection = await asyncpg.connect(proxy.url_for(postgres_url))
        assert await connection.fetchval("select 1") == 1
        proxy.stall()
        with pytest.raises(TimeoutError):
            await connection.fetchval("select 1", timeout=0.1)
        proxy.heal()
        proxy.drop()
        connection.terminate()


def test_wrong_use_is_refused() -> None:
    proxy = Proxy("127.0.0.1:1")
    with pytest.raises(RuntimeError, match="context manager"):
        proxy.heal()
    for target in ("nonsense", "postgresql:///x", "host:port"):
        with pytest.raises(ValueError, match="target"):
            Proxy(target)
    with proxy:
        with pytest.raises(ValueError, match="rst"):
            proxy.cut("bang")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="negative"):
            proxy.delay(-1)
        assert proxy.url_for("unix:///run/redis.sock?db=3") == f"redis://127.0.0.1:{proxy.port}/3"
        url = proxy.url_for("postgresql://u:p@/db?host=/run/pg&application_name=x")
        assert url == f"postgresql://u:p@127.0.0.1:{proxy.port}/db?application_name=x"
    proxy.stop()


def test_an_unreachable_target_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Proxy(f"127.0.0.1:{port}") as proxy, pytest.raises(ConnectionResetError), dial(proxy) as link:
        link.recv(1)  # or already on connecting, when the reset is quick
