"""What stands between the network and Gradio: no request makes the server fetch something elsewhere, no page talks to
another host, and no body is larger than an upload may be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from uce.ui.uploads import MAX_BYTES

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CLOSED = ("/proxy=", "/file=http", "/monitoring", "/dev/reload", "/deep_link", "/run-history", "/gradio_api/runs")
"""Doors of Gradio that the app does not need: some fetch what a client names, some tell about others' use."""
ROOM = 2_000_000
"""Bytes that a request may have beyond the uploaded file."""
HEADERS = {
    b"content-security-policy": (
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
        b"connect-src 'self' data: blob:; "
        b"worker-src 'self' blob:; frame-src 'self'; frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = refusal(scope["path"], dict(scope["headers"]))
        if refused is not None:
            status, text = refused
            headers = [(b"content-type", b"text/plain"), *HEADERS.items()]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": text.encode()})
            return

        received = 0

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return {"type": "http.disconnect"} if received > MAX_BYTES + ROOM else message

        async def headed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [(key, value) for key, value in message["headers"] if key.lower() not in HEADERS]
                message = {**message, "headers": [*kept, *HEADERS.items()]}
            await send(message)

        await self.app(scope, bounded, headed)


def refusal(path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
    """(status, text) for a request that goes no further."""
    plain = unquote(unquote(path)).lower()
    if any(door in plain for door in CLOSED):
        return 403, "not available"
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BYTES + ROOM:
        return 413, f"at most {MAX_BYTES // 1_000_000} MB"
    return None
