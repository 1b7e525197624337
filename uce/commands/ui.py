"""The command that serves the app."""

from __future__ import annotations

from typing import Annotated

import typer

from uce.commands.options import Device, Model, NoPlugin, PluginFiles, Precision


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ui)


def ui(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; the default is reached from this machine only.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: the first free one from 7860 on; 0: any.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Also open the page in a browser.")] = False,
    model: Model = None,
    device: Device = None,
    precision: Precision = None,
    plugin: PluginFiles = None,
    no_plugin: NoPlugin = None,
) -> None:
    """Serve a page in the browser: drop a picture, learn its words, draw with them."""
    from uce.ui.launch import serve

    fixed = {"model": model, "device": device, "precision": precision, "plugin": plugin, "no_plugin": no_plugin}
    serve(host, port, open_browser=open_, **fixed)
