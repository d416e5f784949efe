"""``python -m advisory demo``: from nothing to a page."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from advisory.demo.embedded import Embedded
from advisory.serve import bound_socket
from prodkit import Runtime, logs
from prodkit.errors import ProdkitError

if TYPE_CHECKING:
    from advisory.demo.workers import Workers
    from advisory.services import Services

__all__ = ["run"]


def run(*, port: int, directory: Path) -> int:
    """Serves until Ctrl-C or SIGTERM; returns the exit code. Writes nothing outside of `directory`."""
    try:
        listener = bound_socket("127.0.0.1", port)
    except OSError:
        print(f"advisory: a porta {port} está em uso; escolha outra com --port {port + 1}", file=sys.stderr)
        return 1
    with listener:
        port = listener.getsockname()[1]
        directory.mkdir(parents=True, exist_ok=True)
        embedded = Embedded(directory.resolve())
        runtime = Runtime()
        try:
            with logs.setup(
                environment="development", level="WARNING", directory=directory / "logs", runtime=runtime
            ):
                embedded.start()
                try:
                    return asyncio.run(_serve(embedded, port, listener, runtime))
                except KeyboardInterrupt:  # the server has drained and repeats the signal that ended it
                    return 0
                finally:
                    embedded.stop()
        except ProdkitError as error:
            print(f"advisory: {error}", file=sys.stderr)
            return 1


async def _serve(embedded: Embedded, port: int, listener: socket.socket, runtime: Runtime) -> int:
    from advisory.demo.faults import faults_of
    from advisory.demo.mode import DemoMode
    from advisory.demo.seed import seed
    from advisory.demo.theatre import Theatre
    from advisory.demo.workers import Workers
    from advisory.mail import Outbox
    from advisory.main import create_app
    from advisory.migrations.apply import migrate
    from advisory.serve import make_server
    from advisory.services import Services

    settings = embedded.settings(host="127.0.0.1", port=port)
    await migrate(settings.database_url)
    workers = Workers(embedded.directory / "workers")
    demo = DemoMode(outbox=Outbox(embedded.outbox, sender=settings.mail_from))
    services = Services.of(settings, runtime=runtime, demo=demo)
    demo.theatre = Theatre(
        faults_of(embedded, settings.models, kill_worker=_killer(services, workers)),
        answered=lambda: embedded.simulator.counters.by_status.get("200", 0),
        workers=workers,
    )
    async with services.db:
        demo.user = await seed(services)
    workers.start(settings)
    server = make_server(create_app(services), settings)
    telling = asyncio.create_task(_tell(port))
    try:
        await server.serve(sockets=[listener])
    finally:
        await asyncio.to_thread(workers.stop)
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
    return 0


def _killer(services: Services, workers: Workers) -> Callable[[], object]:
    """Kills the busiest worker; called in a thread while the loop runs."""
    loop = asyncio.get_running_loop()

    def kill() -> object:
        busiest = None
        with suppress(ProdkitError, TimeoutError):
            found = asyncio.run_coroutine_threadsafe(services.fleet.processes(), loop).result(3.0)
            busiest = max(found, key=lambda each: each.in_flight, default=None)
        return workers.kill(None if busiest is None else busiest.pid)

    return kill


async def _tell(port: int) -> None:
    """Prints the address as soon as a page answers there."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = await reader.readline()
            writer.close()
            if b" 200 " in answer:
                print(f"O Conselho: http://127.0.0.1:{port}/  (Ctrl-C encerra)", flush=True)
                return
        await asyncio.sleep(0.05)
