"""What a stranger's request meets before it reaches Gradio: each line here fails for one small mistake in the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from uce.core.errors import ImageError
from uce.ui.guard import HEADERS, ROOM, Guard, refusal
from uce.ui.uploads import MAX_BYTES, take_picture

LIMIT = MAX_BYTES + ROOM
Message = MutableMapping[str, Any]


class Inner:
    """The app behind the guard: reads the body, answers with headers of its own, remembers what it was given."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.received = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            self.kinds.append(scope["type"])
            return
        while True:
            message = await receive()
            self.kinds.append(message["type"])
            self.received += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
        own = [(b"X-Content-Type-Options", b"anything"), (b"x-own", b"kept")]
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b"inner"})


def ask(
    inner: Inner, path: str = "/", parts: Iterable[bytes] = (b"",), headers: Any = (), kind: str = "http"
) -> list[Message]:
    """What a client gets that sends `parts` one by one."""
    sent: list[Message] = []
    waiting = list(parts)

    async def receive() -> Message:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "headers": list(headers)}
    asyncio.run(Guard(inner)(scope, receive, send))
    return sent


def test_every_answer_has_the_headers_that_keep_the_page_to_itself() -> None:
    start, body = ask(Inner())
    headers = start["headers"]
    assert dict(headers) == {**HEADERS, b"x-own": b"kept"} and len(headers) == len(HEADERS) + 1
    assert b"default-src 'self'" in HEADERS[b"content-security-policy"] and body["body"] == b"inner"
    assert HEADERS[b"x-content-type-options"] == b"nosniff" and HEADERS[b"referrer-policy"] == b"no-referrer"


def test_a_closed_door_is_never_reached_and_its_answer_has_the_headers_too() -> None:
    inner = Inner()
    start, body = ask(inner, "/gradio_api/proxy=https://example.com")
    assert start["status"] == 403 and dict(start["headers"]).items() >= HEADERS.items()
    assert body["body"] == b"not available" and inner.kinds == []


def test_a_body_without_a_length_is_cut_off_where_all_its_parts_are_too_much() -> None:
    """No part is too large by itself: their sum is what counts."""
    inner = Inner()
    parts = [bytes(LIMIT // 4)] * 4 + [bytes(8)]
    ask(inner, "/gradio_api/upload", parts)
    assert inner.kinds == ["http.request"] * 4 + ["http.disconnect"] and inner.received == LIMIT


def test_a_body_of_exactly_the_limit_passes() -> None:
    inner = Inner()
    ask(inner, parts=[bytes(LIMIT // 2), bytes(LIMIT - LIMIT // 2)])
    assert inner.kinds == ["http.request"] * 2 and inner.received == LIMIT


def test_a_declared_length_is_refused_before_a_byte_is_read() -> None:
    inner = Inner()
    start, body = ask(inner, headers=[(b"content-length", str(LIMIT + 1).encode())])
    assert start["status"] == 413 and inner.kinds == [] and body["body"] == f"at most {MAX_BYTES // 10**6} MB".encode()
    assert refusal("/", {b"content-length": str(LIMIT).encode()}) is None


def test_what_is_no_request_passes_untouched() -> None:
    inner = Inner()
    assert ask(inner, kind="lifespan") == [] and inner.kinds == ["lifespan"]


@pytest.mark.parametrize("times", [0, 1, 2], ids=["plain", "quoted", "quoted twice"])
@pytest.mark.parametrize("door", ["/proxy=", "/file=http", "/monitoring", "/deep_link"])
def test_a_door_is_closed_however_its_name_is_quoted(door: str, times: int) -> None:
    path = door
    for time in range(times):
        path = "".join(f"%{ord(letter):02X}" for letter in path) if time == 0 else path.replace("%", "%25")
    assert (refusal(f"/gradio_api{path}", {}) or (0,))[0] == 403, path


@pytest.mark.parametrize("way", ["dots", "link", "linked folder"])
def test_only_files_that_really_lie_in_the_cache_are_uploads(tmp_path: Path, way: str) -> None:
    cache, outside = tmp_path / "cache", tmp_path / "mine"
    (cache / "a").mkdir(parents=True)
    outside.mkdir()
    secret = outside / "secret.png"
    Image.new("RGB", (64, 64)).save(secret)
    (cache / "link.png").symlink_to(secret)
    (cache / "folder").symlink_to(outside)
    path = {"dots": cache / "a" / ".." / ".." / "mine" / "secret.png", "link": cache / "link.png",
            "linked folder": cache / "folder" / "secret.png"}[way]  # fmt: skip
    with pytest.raises(ImageError, match="uploaded here"):
        take_picture(path, cache)
    assert secret.exists(), "a file that is not ours is left alone"


def test_a_cache_that_is_reached_through_a_link_still_takes_its_own_uploads(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "cache").symlink_to(real)
    Image.new("RGB", (64, 48)).save(real / "a.png")
    assert take_picture(real / "a.png", tmp_path / "cache").shape == (48, 64, 3)
