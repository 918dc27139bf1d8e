"""The server's socket and its life: from the first request to Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from sam3port.errors import UsageError
from sam3port.serve.guard import is_loopback

_LEAST_TOKEN: Final = 16
_CONNECTIONS: Final = 256
_PATIENCE: Final = 2


def check_token(host: str, token: str | None) -> None:
    """Makes sure that nobody else can use the server.

    Raises:
        UsageError: other machines can reach it, and there is no token, or one that can be guessed.
    """
    example = "SAM3PORT_TOKEN=$(python3 -c 'import secrets; print(secrets.token_urlsafe())')"
    if token is None and not is_loopback(host):
        raise UsageError(f"--host {host} lets other machines ask, and there is no token", f"set one: {example}")
    if token is not None and (len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UsageError(f"the token is shorter than {_LEAST_TOKEN} characters, or not ASCII", f"set one: {example}")


def listen(host: str, port: int) -> socket.socket:
    """A socket there; port 0 takes a free one.

    Raises:
        UsageError: the port is taken, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}", "choose another --port") from None


def address(listening: socket.socket) -> str:
    """The page's address."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(app: ASGIApp, listening: socket.socket, started: Callable[[], None]) -> None:
    """Answers until it is interrupted (Ctrl-C, SIGTERM).

    Args:
        app: see `sam3port.serve.app.application`.
        listening: from `listen`; is closed.
        started: is called once requests are answered.
    """

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # an address that a client may choose would pass the limits
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_PATIENCE,
        lifespan="on",
    )
    with listening, contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listening])
