"""The commands about plugins: list, show, new."""

from __future__ import annotations

from typing import Annotated

import typer

from uce.commands import completion as complete
from uce.commands.options import Json, NewName, NewStage, NoPlugin, ParentFolder, PluginFiles, Replace

plugins_app = typer.Typer(help="List, describe and begin plugins.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(plugins_app, name="plugins")
    plugins_app.callback()(plugins_list)
    plugins_app.command("show")(plugins_show)
    plugins_app.command("new")(plugins_new)


def plugins_list(
    context: typer.Context, plugin: PluginFiles = None, no_plugin: NoPlugin = None, json_: Json = False
) -> None:
    """List every plugin: stage, name, distribution, one line."""
    if context.invoked_subcommand is None:
        from uce.terminal.plugins import show_plugins

        show_plugins(plugin or [], no_plugin or [], json_)


def plugins_show(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.plugins())],
    plugin: PluginFiles = None, no_plugin: NoPlugin = None, json_: Json = False,
) -> None:  # fmt: skip
    """Describe one plugin and its settings."""
    from uce.terminal.plugins import show_plugin

    show_plugin(name, plugin or [], no_plugin or [], json_)


def plugins_new(
    name: NewName, stage: NewStage, out: ParentFolder = None, replace: Replace = False, json_: Json = False
) -> None:
    """Write a complete, installable package with one plugin to start from."""
    from uce.scaffold import new_package
    from uce.terminal.plugins import show_new_package

    show_new_package(new_package(name, stage, out, replace=replace), json_)
