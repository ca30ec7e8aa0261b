"""Who may ask, and what a page may do: checks in front of every answer, headers on all of them.

The address that is printed holds a token of 128 bits. `/?token=...` exchanges it for a cookie that scripts
cannot read and other sites cannot send, and leaves the address. Then every request needs the cookie; its Host
must be the printed one (a foreign name that resolves to this machine is refused), and what changes anything
must come from the page itself, as JSON. No header ever invites other origins. Cookies know no ports: what a
page of another port of this machine sends is told by Sec-Fetch-Site, and refused as well.

A browser's command line is seen by everybody on the machine, so the address that opens it has a token of its
own, which serves once.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READING = {"GET", "HEAD"}

OWN_PAGE = {"same-origin", "none"}
"""Sec-Fetch-Site of what the page itself asks, and of what somebody typed; older browsers send none."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine that no foreign name server can give out."""


@dataclass(frozen=True)
class Guard:
    """What is let in, and what answers allow."""

    hosts: frozenset[str]
    """`host:port`, as browsers spell the addresses that are served."""

    port: int

    script_hashes: Sequence[str] = ()
    """Of the scripts inside index.html."""

    embed_from: str | None = None
    """Origin whose pages may show this one in a frame."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """Value of the cookie: whoever saw the address in a history does not have it."""

    once: list[str] = field(default_factory=lambda: [secrets.token_urlsafe(16)])
    """Token of the browser that is opened; gone once it came."""

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies are shared by all ports of a host, so it names the port."""
        return f"circuit-sweep-{self.port}"

    def headers(self) -> dict[str, str]:
        """Return the headers of every answer."""
        scripts = " ".join(["'self'", *self.script_hashes])
        policy = {
            "default-src": "'none'",
            "script-src": scripts,
            "style-src": "'self'",
            "img-src": "'self' data: blob:",
            "connect-src": "'self'",
            "worker-src": "'self'",
            "frame-ancestors": self.embed_from or "'none'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "worker",
        }
        return {
            "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }

    def refusal(self, request: web.Request) -> web.HTTPException | None:
        """Return why a request is not answered; None if it is.

        The exchange of the token, which has no cookie yet, is checked by `enter`.
        """
        if request.host.lower() not in self.hosts:
            return web.HTTPMisdirectedRequest(
                text=f"this page is not {request.host[:100]!r}: open the address that "
                "`circuit-sweep view` printed."
            )
        if not hmac.compare_digest(request.cookies.get(self.cookie, "").encode(), self.session.encode()):
            return web.HTTPUnauthorized(
                text="the request has no valid cookie: open the address that `circuit-sweep view` printed, "
                "with its token."
            )
        if request.path != "/" and request.headers.get("Sec-Fetch-Site", "none") not in OWN_PAGE:
            return web.HTTPForbidden(text="another page asks for this (Sec-Fetch-Site): only its own may.")
        if request.method in READING:
            return None
        if request.headers.get("Origin") not in {f"http://{host}" for host in self.hosts}:
            return web.HTTPForbidden(text="what changes something must come from the page itself (Origin).")
        if request.method == "POST" and request.content_type != "application/json":
            return web.HTTPUnsupportedMediaType(
                text=f"the request is {request.content_type!r}: send application/json."
            )
        return None

    def enter(self, request: web.Request) -> web.Response | None:
        """Exchange the token in the address of the first page for the cookie; None if there is none."""
        given = request.query.get("token")
        if request.path != "/" or given is None or request.host.lower() not in self.hosts:
            return None
        tokens = [*self.once, self.token]
        data = given.encode("utf-8", "surrogatepass")
        found = [token for token in tokens if hmac.compare_digest(data, token.encode())]
        self.once[:] = [token for token in self.once if token not in found]
        if not found:
            raise web.HTTPUnauthorized(
                text="the token is another server's: open the address that `circuit-sweep view` printed last."
            )
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(self.cookie, self.session, httponly=True, samesite="Strict", path="/")
        return answer

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in what may come in, and add the headers."""
        entered = self.enter(request)
        if entered is None:
            if (refusal := self.refusal(request)) is not None:
                raise refusal
            entered = await handler(request)
        return entered


def allowed_hosts(host: str, port: int) -> frozenset[str]:
    """Return the `host:port` under which a server bound to `host` may be asked."""
    names = {host, *LOOPBACK} if host in LOOPBACK else {host}
    spelt = {f"[{name}]" if ":" in name else name.lower() for name in names}
    return frozenset(f"{name}:{port}" for name in spelt)
