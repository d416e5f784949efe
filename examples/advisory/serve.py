"""uvicorn, set up so that it leaves in time, on a socket that was taken before anything else was started."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from advisory.settings import Settings

__all__ = ["bound_socket", "make_server"]


def make_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """Waits at most ``graceful_seconds`` for requests in flight; uvicorn's own default has no limit."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            timeout_graceful_shutdown=settings.graceful_seconds,
            timeout_keep_alive=20,
            lifespan="on",
        )
    )


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
