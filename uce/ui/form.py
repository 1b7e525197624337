"""The form of all plugins and settings, made anew whenever a plugin is chosen."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, Protocol

import gradio as gr

from uce.core.errors import UceError
from uce.ui.app import App
from uce.ui.jobs import friendly
from uce.ui.layout import Controls
from uce.ui.menu import STAGE_TITLES, Chosen, FormField, Section
from uce.ui.workspace import Workspace


class Host(Protocol):
    """The page that the form stands on, as far as the form knows it.

    Attributes:
        key: the control that holds a browser's key.
    """

    app: App
    c: Controls
    key: Any

    def workspace(self, key: Any) -> Workspace:
        """The workspace that a browser's key opens."""

    def on(self, event: Any, act: Callable[..., None], *inputs: Any) -> None:
        """Do `act(workspace, *values)`, then show everything."""

    def listen(self, event: Any, handle: Callable[..., Any], inputs: Any, outputs: Any) -> None:
        """Call `handle` with the inputs' values; its results go to the outputs."""


def settings_form(page: Host) -> None:
    """Add the form; `page.c.form` counts how often it must be made."""
    c, menu = page.c, page.app.menu

    def choose_preset(key: Any, name: str, version: int) -> int:
        page.workspace(key).chosen = Chosen(preset=name)
        return version + 1

    page.listen(c.preset.input, choose_preset, [page.key, c.preset, c.form], [c.form])
    page.on(c.find_again.click, page.app.find_again)
    with c.more:

        @gr.render(inputs=[page.key, c.form], triggers=[c.form.change], show_progress="hidden")  # type: ignore[untyped-decorator]
        def form(key: Any, version: int) -> None:
            workspace = page.app.workspaces.get(key)
            chosen = workspace.chosen if workspace is not None else Chosen()
            sections = menu.sections(chosen)
            for stage, title in STAGE_TITLES.items():
                mine = [section for section in sections if section.stage == stage]
                with gr.Accordion(title, open=False):
                    _stage(page, stage, mine)
            with gr.Accordion("The run", open=False):
                _fields(page, sections[-1])


def _stage(page: Host, stage: str, sections: list[Section]) -> None:
    """The choice of plugin, and each chosen plugin's fields."""
    offered = page.app.menu.offered(stage)
    choices = [(f"{name}: {info.summary}", name) for name, info in sorted(offered.items())]
    names = [section.plugin for section in sections]
    several = stage == "refiner"
    picker = gr.Dropdown(
        choices, value=names if several else names[0], multiselect=several, label="Method", interactive=True
    )

    def choose(key: Any, name: Any, version: int) -> int:
        workspace = page.workspace(key)
        _try(workspace, lambda: page.app.menu.choose(workspace.chosen, stage, name))
        return version + 1

    page.listen(picker.input, choose, [page.key, picker, page.c.form], [page.c.form])
    for section in sections:
        if several and section.fields:
            gr.Markdown(f"**{escape(section.plugin)}**")
        _fields(page, section)


def _fields(page: Host, section: Section) -> None:
    if not section.fields:
        return
    with gr.Row():
        for field in section.fields:
            control = _control(field)
            typed = field.kind in ("text", "number")  # taken when it is left, not at every letter
            for event in (control.blur, control.submit) if typed else (control.input,):
                page.listen(event, _setter(page, field), [page.key, control], None)


def _control(field: FormField) -> Any:
    common = {"label": field.label, "info": field.help, "interactive": True, "min_width": 220}
    common["elem_id"] = f"uce-set-{field.key.replace('.', '-')}"
    if field.kind == "bool":
        return gr.Checkbox(field.value, **common)
    if field.kind == "choice":
        return gr.Dropdown([str(choice) for choice in field.choices], value=str(field.value), **common)
    if field.kind == "number":
        return gr.Number(
            field.value,
            minimum=field.minimum,
            maximum=field.maximum,
            precision=0 if field.whole else None,
            **common,
        )
    return gr.Textbox(field.value, max_length=500, max_lines=2, **common)


def _setter(page: Host, field: FormField) -> Callable[[Any, Any], None]:
    def put(key: Any, value: Any) -> None:
        workspace = page.workspace(key)
        if field.kind == "choice":
            value = next((choice for choice in field.choices if str(choice) == value), value)
        _try(workspace, lambda: page.app.menu.change(workspace.chosen, field, value))

    return put


def _try(workspace: Workspace, change: Callable[[], Chosen]) -> None:
    """Take a changed choice; one that is not allowed is said, and the old one stays."""
    try:
        workspace.chosen = change()
    except UceError as error:
        gr.Warning(escape(friendly(error)), title="This value is not allowed")
