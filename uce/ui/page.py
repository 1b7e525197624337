"""The page: controls wired to the app. What a click does is in `app`, what is seen afterwards in `show`."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from uce.core.errors import ConfigError, UceError
from uce.ui import show
from uce.ui.app import EXAMPLES, App
from uce.ui.form import settings_form
from uce.ui.gallery import examples_html
from uce.ui.jobs import friendly
from uce.ui.layout import Controls, lay_out
from uce.ui.menu import PRESET_TEXTS
from uce.ui.sheet import brush_value
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
            presets = [(PRESET_TEXTS.get(name, name), name) for name in app.menu.presets]
            lay_out(self.c, note, examples_html(sorted(EXAMPLES.glob("*.webp"))), presets)
            self._wire()
            settings_form(self)

    def workspace(self, key: Any) -> Workspace:
        """The workspace that a browser's key opens.

        Raises:
            gr.Error: it is gone.
        """
        found = self.app.workspaces.get(key)
        if found is None:
            raise gr.Error(GONE, title="This page is too old", print_exception=False)
        return found

    def everything(self, workspace: Workspace) -> dict[Any, Any]:
        """All controls; what was said meanwhile becomes notes on the page. (Gradio's own all say "Info".)"""
        return {**show.everything(self.c, self.app, workspace), **show.toasts(self.c, workspace)}

    def attempt(self, workspace: Workspace, problem: str, act: Callable[[], Any]) -> tuple[bool, Any]:
        """Whether `act` could be done, and what it gives; what people can mend becomes a note under the title
        `problem`, and stays in the log."""
        try:
            return True, act()
        except UceError as error:
            workspace.say(problem, friendly(error), bad=True)
            return False, None

    def on(self, event: Any, act: Callable[..., object], *inputs: Any, problem: str = "That cannot be done") -> None:
        """Do `act(workspace, *values)`, then show everything."""

        def handle(key: Any, *values: Any) -> dict[Any, Any]:
            workspace = self.workspace(key)
            self.attempt(workspace, problem, lambda: act(workspace, *values))
            return self.everything(workspace)

        self.listen(event, handle, [self.key, *inputs], self.c.all())

    def on_event(self, event: Any, act: Callable[..., Any], *inputs: Any, problem: str = "That cannot be done") -> None:
        """As `on`, for an event that says more: `act(workspace, Said, *values)`; updates that it gives come last."""

        def handle(key: Any, said: gr.EventData, *values: Any) -> dict[Any, Any]:
            workspace = self.workspace(key)
            _, more = self.attempt(workspace, problem, lambda: act(workspace, Said(said._data), *values))
            return {**self.everything(workspace), **(more or {})}

        handle.__annotations__["said"] = gr.EventData  # gradio looks for the class, not its name
        self.listen(event, handle, [self.key, *inputs], self.c.all())

    @staticmethod
    def listen(event: Any, handle: Callable[..., Any], inputs: Any, outputs: Any, **how: Any) -> None:
        """Call `handle` with the inputs' values; its results go to the outputs."""
        event(handle, inputs, outputs, show_progress="hidden", api_visibility="private", **how)

    def _wire(self) -> None:
        app, c = self.app, self.c
        self.demo.load(self._load, [self.key], [self.key, *c.all()], show_progress="hidden", api_visibility="private")
        self.listen(c.timer.tick, self._tick, [self.key, c.seen], c.all())
        # Gradio would open the file itself, fail without a word on what is no picture, and leave a copy behind.
        self.listen(c.upload.upload, self._upload, [self.key, c.upload], c.all(), preprocess=False)
        self.on_event(c.examples.click, lambda w, said: app.example(w, said.number("number")))
        self.on_event(c.pictures.click, lambda w, said: app.show(w, said.number("number")))
        self.on(c.stop.click, app.stop)
        for number, step in enumerate((c.step_picture, c.step_things, c.step_learn, c.step_draw), start=1):
            self.listen(step.select, self._step_seen(number), [self.key, c.seen], None)
        self._wire_things()
        self._wire_drawing()
        self.listen(c.forget.click, self._forget, [self.key], [self.key, *c.all()])

    def _wire_things(self) -> None:
        app, c = self.app, self.c
        self.on_event(c.sheet.click, self._click, problem="This place cannot be used")
        self.on_event(c.sheet.select, lambda w, said: app.select(w, said.text("name")))
        self.on(c.ticked.input, app.tick, c.ticked)
        self.on(c.selected.input, app.select, c.selected)
        for event in (c.rename.click, c.name.submit):
            self.on(event, app.rename, c.name, problem="This name cannot be used")
        self.on(c.split.click, app.split, problem="This thing cannot be split")
        self.on(c.delete.click, app.delete)
        self.on(c.merge.click, app.merge, c.other, problem="These cannot be merged")
        self.on(c.undo.click, app.undo, problem="Nothing to undo")
        self.on(c.learn.click, app.learn, problem="Learning cannot begin")
        self.on(c.go_on.click, app.go_on, problem="Learning cannot go on")
        self.on(c.use.click, app.use, problem="These words cannot be used")
        self.listen(c.correct.click, self._paint(new=False), [self.key], c.all())
        self.listen(c.add.click, self._paint(new=True), [self.key], c.all())
        self.listen(c.keep.click, self._keep, [self.key, c.sheet, c.painted_name], c.all())
        self.on(c.back.click, lambda workspace: None)

    def _wire_drawing(self) -> None:
        app, c = self.app, self.c
        self.on_event(c.words.click, self._insert, c.prompt)
        for event in (c.draw.click, c.prompt.submit):
            self.on(event, app.draw, c.prompt, c.count, c.seed, c.draw_steps, problem="This text cannot be drawn")
        self.on_event(c.drawings.click, self._drawing, c.count, c.draw_steps, problem="This cannot be drawn again")
        self.listen(c.go_draw.click, self._to_step(4), [self.key], c.all())
        self.listen(c.another.click, self._to_step(1), [self.key], c.all())

    def _load(self, key: Any) -> dict[Any, Any]:
        workspace = self.app.workspaces.get(key) or self.app.workspaces.new()
        ready = {self.c.upload: gr.Image(visible=True), self.c.examples: gr.HTML(visible=True)}
        shown = {**self.everything(workspace), **self._prompt(workspace)}
        return {self.key: workspace.id, self.c.form: 1, self.c.seen: workspace.ended, **ready, **shown}

    def _tick(self, key: Any, seen: int) -> dict[Any, Any]:
        workspace = self.workspace(key)
        if workspace.busy and workspace.ended == seen:
            return show.progress(self.c, self.app, workspace)
        return {self.c.seen: workspace.ended, **self.everything(workspace), **self._prompt(workspace)}

    def _prompt(self, workspace: Workspace) -> dict[Any, Any]:
        """A first text once there are words; what somebody wrote stays."""
        job = workspace.job
        if job is None or job.kind != "learn" or not workspace.runs or workspace.drawings:
            return {}
        return {self.c.prompt: show.first_prompt(workspace)}

    def _upload(self, key: Any, file: dict[str, Any] | None) -> dict[Any, Any]:
        """Take an uploaded file, as Gradio describes it."""
        workspace = self.workspace(key)
        path = None if file is None else file["path"]
        self.attempt(workspace, "This picture cannot be used", lambda: self.app.upload(workspace, path))
        return {**self.everything(workspace), self.c.upload: None}

    def _step_seen(self, number: int) -> Callable[[Any, int], None]:
        def handle(key: Any, seen: int) -> None:
            workspace = self.app.workspaces.get(key)
            if (
                workspace is not None and seen >= 0
            ):  # before the page is loaded its first step is none that anybody chose
                workspace.step = number

        return handle

    def _to_step(self, number: int) -> Callable[[Any], dict[Any, Any]]:
        def handle(key: Any) -> dict[Any, Any]:
            workspace = self.workspace(key)
            workspace.step = number
            return self.everything(workspace)

        return handle

    def _click(self, workspace: Workspace, said: Said) -> None:
        self.app.click(workspace, said.number("x"), said.number("y"), said.text("how"))

    def _paint(self, *, new: bool) -> Callable[[Any], Any]:
        """Show the brush, with the thing's mask as paint or with none."""

        def handle(key: Any) -> Any:
            workspace, c = self.workspace(key), self.c
            picture = workspace.picture
            if picture is None:
                return gr.skip()
            thing = None if new else find(picture.things, workspace.selected)
            return {
                c.editing: gr.Column(visible=False),
                c.painting: gr.Column(visible=True),
                c.sheet: brush_value(picture, thing),
                c.painted_name: None if thing is None else thing.name,
            }

        return handle

    def _keep(self, key: Any, value: dict[str, Any] | None, name: str | None) -> Any:
        """Take what was painted; where that cannot be, the brush stays, with its strokes."""
        workspace = self.workspace(key)
        problem = "This shape cannot be used"
        done, _ = self.attempt(workspace, problem, lambda: self.app.paint(workspace, value, name))
        return self.everything(workspace) if done else show.toasts(self.c, workspace)

    def _insert(self, workspace: Workspace, said: Said, prompt: str) -> dict[Any, Any]:
        """Put the clicked word at the end of the text."""
        number, words = said.number("number"), workspace.words
        word = f"<{words[number].name}>" if 0 <= number < len(words) else ""
        text = prompt.rstrip()
        longer = f"{text}{' and' if text.endswith('>') else ''} {word}" if text else f"a photo of {word}"
        return {self.c.prompt: longer}

    def _drawing(self, workspace: Workspace, said: Said, count: float, steps: float) -> dict[Any, Any]:
        """A button of a drawing: show it large, draw more like it, or take its text and seed to change the text."""
        number, act = said.number("number"), said.text("act")
        if act == "vary":
            self.app.vary(workspace, number, count, steps)
            return {}
        drawing = self.app.drawing(workspace, number)
        workspace.opened = drawing
        if act == "again":
            workspace.say("Text and seed are taken over", "Change the text and press Draw: the chance stays the same.")
            taken = {self.c.prompt: drawing.prompt, self.c.seed: drawing.seed, self.c.count: 1}
            return {**taken, self.c.how: gr.Accordion(open=True)}  # where the seed is to be seen
        return {}

    def _forget(self, key: Any) -> dict[Any, Any]:
        workspace = self.workspace(key)
        problem = "Not everything is deleted yet"
        done, _ = self.attempt(workspace, problem, lambda: self.app.forget(workspace))
        if not done:
            return self.everything(workspace)
        workspace = self.app.workspaces.new()
        workspace.say("Everything is deleted", "Your pictures, words and drawings are gone from the server.")
        return {self.key: workspace.id, **self.everything(workspace), self.c.prompt: "", self.c.form: 1}


class Said:
    """What an event of the page says: anything at all, since a browser sends it."""

    def __init__(self, data: Any) -> None:
        self.data = data if isinstance(data, dict) else {}

    def number(self, key: str) -> int:
        """A number, rounded down.

        Raises:
            ConfigError: there is none.
        """
        value = self.data.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
            raise ConfigError("that click did not arrive; try again")
        return int(value // 1)

    def text(self, key: str) -> str:
        """A text, "" where there is none."""
        return str(self.data.get(key, ""))


def build(app: App) -> Any:
    """The page as `gr.Blocks`."""
    return Page(app).demo
