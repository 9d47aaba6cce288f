"""Who may ask the studio for anything: this machine's browser, on the studio's own pages, and nobody else.

A page of another site can make a browser send requests to 127.0.0.1, and a foreign name can be made to mean 127.0.0.1
(DNS rebinding). So every request must name us in ``Host``; one that comes from a page must come from a page of ours
(``Origin``, ``Sec-Fetch-Site``); and what changes anything is a POST that says where it comes from. What we answer may
load nothing from elsewhere, be shown in nobody else's frame, and run no script but our files.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .uploads import FORMS

POLICY: Mapping[str, str] = {
    "default-src": "'self'",
    # The 3-D viewer compiles decoders of meshes, as WebAssembly; text becomes a script nowhere.
    "script-src": "'self' 'wasm-unsafe-eval'",
    # The 3-D viewer's shadow tree holds a style element of its own.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
"""The Content-Security-Policy of every answer that has none of its own."""
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer, which makes a browser send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_READING = ("GET", "HEAD")


class Guard:
    """ASGI: passes on what comes from our own pages, and refuses the rest in a sentence.

    Args:
        hosts: what ``Host`` may be, such as ``127.0.0.1:7860``.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            return
        answer = self._with_headers(send)
        refusal = refused(scope["method"], Headers(scope=scope), self._hosts)
        if refusal is None:
            try:
                await self._app(scope, receive, answer)
            finally:
                for form in scope.get(FORMS, ()):
                    await form.close()
        else:
            await PlainTextResponse(refusal + "\n", 403)(scope, receive, answer)

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", policy(POLICY))
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return answer


def policy(parts: Mapping[str, str]) -> str:
    """A Content-Security-Policy as a header has it."""
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def refused(method: str, headers: Headers, hosts: frozenset[str]) -> str | None:
    """Why a request is not answered, or None if it is.

    Args:
        hosts: names of ours with their port.
    """
    host = headers.get("host", "")
    if host not in hosts:
        return f"the studio answers as {' or '.join(sorted(hosts))} alone, and this request asks for another host"
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin != f"http://{host}":
        return "this request comes from a page of another site, which may not use the studio"
    if method in _READING:
        # A link on another site may lead here; nothing else there may read from us.
        foreign = site in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate"
        return (
            "this request comes from a page of another site, which may not read from the studio"
            if foreign
            else None
        )
    if method != "POST":
        return f"the studio knows GET and POST, and no {method[:20]}"
    if origin is None and site != "same-origin":
        return "what changes anything is asked for by the studio's own pages, which say so by an Origin"
    return None
