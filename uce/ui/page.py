"""The page: controls wired to the app. What a click does is in `app`, what is seen afterwards in `show`."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from uce.core.errors import UceError
from uce.ui import show
from uce.ui.app import EXAMPLES, App
from uce.ui.brush import brush_value
from uce.ui.form import settings_form
from uce.ui.jobs import friendly
from uce.ui.layout import Controls, lay_out
from uce.ui.things import find
from uce.ui.workspace import Workspace

GONE = "This page was open for too long and its pictures are deleted. Reload it to begin anew."
MINI_NOTE = (
    "This server draws with <b>mini</b>, a small model for trying things out: it knows emoji-like things on plain "
    "backgrounds, no photos. For photos start it with a Stable Diffusion model: <code>uce ui --model sd2.1</code>."
)


class Page:
    """Everything that happens on the page."""

    def __init__(self, app: App) -> None:
        self.app, self.c = app, Controls()
        note = MINI_NOTE if app.model == "mini" else f"This server draws with <b>{escape(app.model)}</b>."
        with gr.Blocks(
            title="uce: words from a picture", analytics_enabled=False, delete_cache=(600, 3600)
        ) as self.demo:
            self.key = gr.BrowserState(None, storage_key="uce-ui")
            lay_out(self.c, note, sorted(EXAMPLES.glob("*.webp")), app.menu.presets)
            self._wire()
            settings_form(self)

    def workspace(self, key: Any) -> Workspace:
        """The workspace that a browser's key opens.

        Raises:
            gr.Error: it is gone.
        """
        found = self.app.workspaces.get(key)
        if found is None:
            raise gr.Error(GONE, print_exception=False)
        return found

    def everything(self, workspace: Workspace) -> dict[Any, Any]:
        return show.everything(self.c, self.app, workspace)

    def on(self, event: Any, act: Callable[..., None], *inputs: Any) -> None:
        """Do `act(workspace, *values)`, then show everything; what people can mend becomes a note on the page."""

        def handle(key: Any, *values: Any) -> dict[Any, Any]:
            workspace = self.workspace(key)
            try:
                act(workspace, *values)
            except UceError as error:
                gr.Warning(escape(friendly(error)), title="Not yet")
            return self.everything(workspace)

        self._listen(event, handle, [self.key, *inputs], self.c.all())

    def on_select(self, event: Any, act: Callable[[Workspace, Any], None]) -> None:
        """As `on`, for a click within a control: `act` is given where."""

        def handle(key: Any, where: gr.SelectData) -> dict[Any, Any]:
            workspace = self.workspace(key)
            try:
                act(workspace, where.index)
            except UceError as error:
                gr.Warning(escape(friendly(error)), title="Not yet")
            return self.everything(workspace)

        handle.__annotations__["where"] = gr.SelectData  # gradio looks for the class, not its name
        self._listen(event, handle, [self.key], self.c.all())

    @staticmethod
    def _listen(event: Any, handle: Callable[..., Any], inputs: Any, outputs: Any, **how: Any) -> None:
        event(handle, inputs, outputs, show_progress="hidden", api_visibility="private", **how)

    def _wire(self) -> None:
        app, c = self.app, self.c
        self.demo.load(self._load, [self.key], [self.key, *c.all()], show_progress="hidden", api_visibility="private")
        self._listen(c.timer.tick, self._tick, [self.key], c.all())
        # Gradio would open the file itself, fail without a word on what is no picture, and leave a copy behind.
        self._listen(c.upload.upload, self._upload, [self.key, c.upload], c.all(), preprocess=False)
        self.on_select(c.examples.select, app.example)
        self.on_select(c.pictures.select, app.show)
        self.on(c.stop.click, app.stop)
        for number, step in enumerate((None, c.step_things, c.step_learn, c.step_draw), start=1):
            if step is not None:
                self._listen(step.select, self._step_seen(number), [self.key], None)
        self._wire_things()
        self._wire_drawing()
        self._listen(c.forget.click, self._forget, [self.key], [self.key, *c.all()])

    def _wire_things(self) -> None:
        app, c = self.app, self.c
        self.on_select(c.overlay.select, lambda workspace, index: app.select_at(workspace, *index))
        self.on(c.ticked.input, app.tick, c.ticked)
        self.on(c.selected.input, app.select, c.selected)
        for event in (c.rename.click, c.name.submit):
            self.on(event, app.rename, c.name)
        self.on(c.split.click, app.split)
        self.on(c.delete.click, app.delete)
        self.on(c.merge.click, app.merge, c.other)
        self.on(c.undo.click, app.undo)
        self.on(c.learn.click, app.learn)
        self._listen(c.correct.click, self._paint(new=False), [self.key], c.all())
        self._listen(c.add.click, self._paint(new=True), [self.key], c.all())
        self._listen(c.keep.click, self._keep, [self.key, c.editor, c.painted_name], c.all())
        self.on(c.back.click, lambda workspace: None)

    def _wire_drawing(self) -> None:
        app, c = self.app, self.c
        self._listen(c.words.select, self._insert, [self.key, c.prompt], [c.prompt])
        for event in (c.draw.click, c.prompt.submit):
            self.on(event, app.draw, c.prompt, c.count, c.seed, c.draw_steps)
        self._listen(c.go_draw.click, self._to_step(4), [self.key], c.all())
        self._listen(c.another.click, self._to_step(1), [self.key], c.all())

    def _load(self, key: Any) -> dict[Any, Any]:
        workspace = self.app.workspaces.get(key) or self.app.workspaces.new()
        ready = {self.c.drop: gr.Column(visible=True), self.c.examples: gr.Gallery(visible=True)}
        shown = {**self.everything(workspace), **self._prompt(workspace)}
        return {self.key: workspace.id, self.c.form: 1, **ready, **shown}

    def _tick(self, key: Any) -> dict[Any, Any]:
        workspace = self.workspace(key)
        if workspace.busy:
            return show.progress(self.c, self.app, workspace)
        return {**self.everything(workspace), **self._prompt(workspace)}

    def _prompt(self, workspace: Workspace) -> dict[Any, Any]:
        """A first text once there are words; what somebody wrote stays."""
        job = workspace.job
        if job is None or job.kind != "learn" or not workspace.runs or workspace.drawings:
            return {}
        return {self.c.prompt: show.first_prompt(workspace)}

    def _upload(self, key: Any, file: dict[str, Any] | None) -> dict[Any, Any]:
        """Take an uploaded file, as Gradio describes it."""
        workspace = self.workspace(key)
        try:
            self.app.upload(workspace, None if file is None else file["path"])
        except UceError as error:
            gr.Warning(escape(friendly(error)), title="This picture cannot be used")
        return {**self.everything(workspace), self.c.upload: None}

    def _step_seen(self, number: int) -> Callable[[Any], None]:
        def handle(key: Any) -> None:
            self.workspace(key).step = number

        return handle

    def _to_step(self, number: int) -> Callable[[Any], dict[Any, Any]]:
        def handle(key: Any) -> dict[Any, Any]:
            workspace = self.workspace(key)
            workspace.step = number
            return self.everything(workspace)

        return handle

    def _paint(self, *, new: bool) -> Callable[[Any], Any]:
        """Show the brush, with the thing's mask as paint or with none."""

        def handle(key: Any) -> Any:
            workspace, c = self.workspace(key), self.c
            picture = workspace.picture
            if picture is None:
                return gr.skip()
            thing = None if new else find(picture.things, workspace.selected)
            return {
                c.viewing: gr.Row(visible=False),
                c.painting: gr.Column(visible=True),
                c.editor: brush_value(picture, thing),
                c.painted_name: None if thing is None else thing.name,
            }

        return handle

    def _keep(self, key: Any, value: dict[str, Any] | None, name: str | None) -> Any:
        """Take what was painted; where that cannot be, the brush stays, with its strokes."""
        workspace = self.workspace(key)
        try:
            self.app.paint(workspace, value, name)
        except UceError as error:
            gr.Warning(escape(friendly(error)), title="Not yet")
            return gr.skip()
        return self.everything(workspace)

    def _insert(self, key: Any, prompt: str, where: gr.SelectData) -> str:
        """Put the clicked word at the end of the text."""
        names = [thing.name for p in self.workspace(key).pictures if p.run for thing in p.learned_things]
        word = f"<{names[where.index]}>" if where.index < len(names) else ""
        text = prompt.rstrip()
        return f"{text}{' and' if text.endswith('>') else ''} {word}" if text else f"a photo of {word}"

    def _forget(self, key: Any) -> dict[Any, Any]:
        try:
            self.app.forget(self.workspace(key))
        except UceError as error:
            gr.Warning(escape(friendly(error)), title="Not yet")
            return self.everything(self.workspace(key))
        gr.Info("Everything is deleted.")
        workspace = self.app.workspaces.new()
        return {self.key: workspace.id, **self.everything(workspace), self.c.prompt: "", self.c.form: 1}


Page._insert.__annotations__["where"] = gr.SelectData


def build(app: App) -> Any:
    """The page as `gr.Blocks`."""
    return Page(app).demo
