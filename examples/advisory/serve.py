"""uvicorn with a drain: streams are told to end when the signal comes, not when they run out of time."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from advisory.services import Services

__all__ = ["Server", "bound_socket"]


class Server(uvicorn.Server):
    """Waits at most ``graceful_seconds`` for requests under way; uvicorn's own default waits for ever."""

    def __init__(self, app: FastAPI, services: Services) -> None:
        settings = services.settings
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=True,
                forwarded_allow_ips=settings.forwarded_allow_ips,
                timeout_graceful_shutdown=settings.graceful_seconds,
                timeout_keep_alive=20,
                lifespan="on",
            )
        )
        self._services = services

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._services.drain()
        super().handle_exit(sig, frame)


def bound_socket(host: str, port: int) -> socket.socket:
    """The listening address, taken before anything else is started. Raises OSError when it is not free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener
