"""Before a server runs: what is missing, taken or refused is one line."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from uce.core.errors import ConfigError
from uce.ui import launch
from uce.ui.guard import Guard, refusal

Cli = Callable[..., tuple[int, str, str]]


def test_without_gradio_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    code, out, err = cli("ui")
    assert (code, out) == (2, "") and "pip install 'uce-concepts[ui]'" in err


def test_a_port_that_is_taken_is_said() -> None:
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}.*--port"), launch.served(port=port):
            raise AssertionError("a port that is taken was served")


def test_the_guard_stands_before_the_server() -> None:
    pytest.importorskip("gradio")
    (middleware,) = launch._how("127.0.0.1", None)["app_kwargs"]["middleware"]
    assert middleware.cls is Guard


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/gradio_api/file=http://a", 403),
        ("/gradio_api/file=HTTPS%3A//a", 403),
        ("/gradio_api/proxy=https://a.hf.space", 403),
        ("/gradio_api/upload", None),
        ("/", None),
    ],
)
def test_the_guard_closes_doors(path: str, status: int | None) -> None:
    found = refusal(path, {})
    assert (found and found[0]) == status


def test_the_guard_bounds_bodies() -> None:
    assert refusal("/gradio_api/upload", {b"content-length": b"1000"}) is None
    assert (refusal("/gradio_api/upload", {b"content-length": b"99000000"}) or (0,))[0] == 413
    assert (refusal("/gradio_api/upload", {b"content-length": b"-1"}) or (0,))[0] == 413
