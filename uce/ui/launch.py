"""Starting and stopping the server."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from uce.core.errors import ConfigError
from uce.ui.uploads import MAX_BYTES

HOST, PORT = "127.0.0.1", 7860
_MONO = ["ui-monospace", "monospace"]
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]


def require_gradio() -> None:
    """
    Raises:
        ConfigError: it is not installed.
    """
    if find_spec("gradio") is None:
        raise ConfigError(
            "uce ui needs Gradio, which is not installed; install it with: pip install 'uce-concepts[ui]'"
        )


@contextmanager
def served(host: str = HOST, port: int | None = None, **fixed: Any) -> Iterator[str]:
    """A running server, and its address; stopped, and its folder removed, at the end.

    Args:
        host: where to listen; the default is reached from this machine only.
        port: None takes the first free one from `PORT` on, 0 any free one.
        fixed: model, device, precision, plugin, no_plugin for everybody.

    Raises:
        ConfigError: Gradio is missing, or the port is taken.
    """
    require_gradio()
    root = Path(tempfile.mkdtemp(prefix="uce-ui-"))
    _quiet(root / "cache")
    app = demo = None
    try:
        from uce.ui.app import App
        from uce.ui.page import build

        app = App(root, fixed, warm=True)
        demo = build(app)
        _fetch_nothing()
        try:
            _, url, _ = demo.queue(default_concurrency_limit=8, api_open=False).launch(**_how(host, _port(host, port)))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port if port is not None else PORT}; another program may use it: give "
                "another with --port, or --port 0 for any"
            ) from error
        app.queue.start()  # not before: loading the model must not keep the page waiting
        yield url
    finally:
        if app is not None:
            app.close()
        if demo is not None:
            demo.close(verbose=False)
        shutil.rmtree(root, ignore_errors=True)


def _quiet(cache: Path) -> None:
    """Before Gradio is imported: no telemetry, no update check, files in a folder of ours."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(cache)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ.pop("GRADIO_SHARE", None)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _fetch_nothing() -> None:
    """Gradio fetches an address that a browser sends in the place of a file; ours has no use for that."""
    import gradio as gr
    from gradio import processing_utils

    async def refuse(*args: Any, **kwargs: Any) -> str:
        raise gr.Error("only files that were uploaded here can be used", print_exception=False)

    def refuse_now(*args: Any, **kwargs: Any) -> str:
        raise gr.Error("only files that were uploaded here can be used", print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse
    processing_utils.save_url_to_cache = refuse_now


def _port(host: str, port: int | None) -> int | None:
    """A free port where any will do."""
    if port != 0:
        return port
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _how(host: str, port: int | None) -> dict[str, Any]:
    import gradio as gr
    from starlette.middleware import Middleware

    from uce.ui.guard import Guard

    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=_FONTS, font_mono=_MONO)
    return {
        "server_name": host,
        "server_port": port,
        "share": False,
        "inbrowser": False,
        "prevent_thread_lock": True,
        "quiet": True,
        "show_error": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "footer_links": [],
        "max_file_size": MAX_BYTES,
        "theme": theme,
        "css_paths": [Path(__file__).parent / "page.css"],
        "head": f"<script>{(Path(__file__).parent / 'page.js').read_text(encoding='utf-8')}</script>",
        "app_kwargs": {"middleware": [Middleware(Guard)], "docs_url": None, "redoc_url": None, "openapi_url": None},
    }


def serve(host: str = HOST, port: int | None = None, *, open_browser: bool = False, **fixed: Any) -> None:
    """Serve until interrupted."""
    with served(host, port, **fixed) as url:
        print(f"uce ui: open {url} in a browser; stop with Ctrl-C", flush=True)
        if host not in ("127.0.0.1", "localhost", "::1"):
            print("uce ui: anybody who reaches this machine can use the page; there is no password", flush=True)
        if open_browser:
            import webbrowser

            webbrowser.open(url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("\nuce ui: stopped; pictures and words of this session are deleted", flush=True)
