"""Who may ask, and how often: in front of everything that a server answers."""

from __future__ import annotations

import base64
import contextlib
import hmac
import ipaddress
import time
from collections import OrderedDict
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sam3port.serve.limits import Limits
from sam3port.serve.refusal import Refusal, response

_ADDRESSES: Final = 4096
_GUARDED: Final = ("/v1/", "/label-studio/")
_HEADERS: Final = {
    # Nothing but this server's own files is loaded or run, and no other page may show this one.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Refuses what comes from elsewhere, without the token or too often."""

    def __init__(self, app: ASGIApp, limits: Limits, token: str | None) -> None:
        """
        Args:
            app: what is guarded.
            limits: how often an address may ask.
            token: that every request to the API has to show; None where only this machine can ask.
        """
        self._app = app
        self._token = token
        self._rate = Rate(limits.rate, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
        except Refusal as refusal:
            await response(refusal)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._check_host(headers)
        if not scope["path"].startswith(_GUARDED):
            return
        client = scope.get("client")
        self._rate.count(client[0] if client else "")
        if self._token is None:
            return
        given = _shown(headers.get("authorization", ""))
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise Refusal(401, "the token is missing or wrong", "send the header Authorization: Bearer TOKEN")

    def _check_host(self, headers: Headers) -> None:
        """Keeps pages of other servers, which a browser here may show, from using this one."""
        host = headers.get("host", "")
        if self._token is None and not is_loopback(_split(f"//{host}")[0]):
            raise Refusal(403, "this server is asked by a name that is not this machine's own", "ask 127.0.0.1")
        origin = headers.get("origin")
        if origin is not None and _split(origin)[1] != host:
            raise Refusal(403, "another server's page asks", "open this server's own page")


def _split(url: str) -> tuple[str, str]:
    """Host name, and that with its port; nothing of what is no URL, as a client may send it."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.netloc
    except ValueError:
        return "", ""


def _shown(authorization: str) -> str:
    """The token that a request shows, or the password of HTTP's basic authentication, as Label Studio sends it."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization.removeprefix("Bearer ")
    with contextlib.suppress(ValueError):
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    return ""


class Rate:
    """How often each address asks: a bucket that fills with time and that each request takes one from."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Raises Refusal when the address asks too often."""
        if not self._rate:
            return
        now = time.monotonic()
        left, last = self._left.pop(address, (self._burst, now))
        left = min(self._burst, left + (now - last) * self._rate)
        self._left[address] = (max(left - 1, 0.0), now)
        if len(self._left) > _ADDRESSES:
            self._left.popitem(last=False)
        if left < 1:
            raise Refusal(429, "too many requests", "ask less often", (1 - left) / self._rate)
