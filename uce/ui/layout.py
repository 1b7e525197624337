"""Which controls the page has and where they stand; nothing here does anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from uce.ui.sheet import SCRIPT, TEMPLATE
from uce.ui.tiles import SCRIPT as TILES
from uce.ui.uploads import MAX_BYTES

CLOSE = """
element.setAttribute("role", "status");
element.addEventListener("click", (event) => event.target.closest(".uce-toast")?.remove());
"""
STEPS = ("Picture", "Things", "Learn", "Draw")


@dataclass
class Controls:
    """The page's controls, by name."""

    steps: Any = None
    step_picture: Any = None
    step_things: Any = None
    step_learn: Any = None
    step_draw: Any = None
    status: Any = None
    stop: Any = None
    timer: Any = None
    seen: Any = None
    toasts: Any = None
    warning: Any = None
    upload: Any = None
    examples: Any = None
    pictures: Any = None
    sheet: Any = None
    things_text: Any = None
    ticked: Any = None
    selected: Any = None
    name: Any = None
    rename: Any = None
    split: Any = None
    delete: Any = None
    correct: Any = None
    other: Any = None
    merge: Any = None
    undo: Any = None
    add: Any = None
    editing: Any = None
    painting: Any = None
    painted_name: Any = None
    keep: Any = None
    back: Any = None
    learn: Any = None
    learn_text: Any = None
    losses: Any = None
    samples: Any = None
    stopped_text: Any = None
    go_on: Any = None
    use: Any = None
    go_draw: Any = None
    another: Any = None
    words: Any = None
    prompt: Any = None
    how: Any = None
    count: Any = None
    seed: Any = None
    draw_steps: Any = None
    draw: Any = None
    drawings: Any = None
    opened: Any = None
    download: Any = None
    more: Any = None
    forget: Any = None
    form: Any = None
    preset: Any = None
    find_again: Any = None
    log: Any = None

    def all(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]


def lay_out(c: Controls, model_note: str, examples: str, presets: Sequence[tuple[str, str]]) -> None:
    """Make every control, within an open `gr.Blocks`.

    Args:
        examples: tiles of them. presets: (what is read, name), the one to begin with first.
    """
    gr.HTML(
        "<h1>From one picture to words you can draw with</h1>"
        "<p>Drop a picture. The things in it are found, each gets a word of its own, and with the words you can draw "
        f"them again in new pictures.</p><p class='uce-model'>{model_note}</p>",
        elem_id="uce-head",
    )
    c.timer, c.seen = gr.Timer(1.0, active=False), gr.State(-1)
    c.toasts = gr.HTML(js_on_load=CLOSE, apply_default_css=False, elem_id="uce-toasts")
    with gr.Row(elem_id="uce-status-row"):
        c.status = gr.HTML(visible=False, elem_id="uce-status")
        c.stop = gr.Button("Stop", visible=False, size="sm", scale=0, min_width=90, elem_id="uce-stop")
    with gr.Tabs(selected=1, elem_id="uce-steps") as c.steps:  # closed until the page knows where it was
        with gr.Tab(f"1 {STEPS[0]}", id=1, interactive=False) as c.step_picture:
            _picture_step(c, examples)
        with gr.Tab(f"2 {STEPS[1]}", id=2, interactive=False) as c.step_things:
            _things_step(c)
        with gr.Tab(f"3 {STEPS[2]}", id=3, interactive=False) as c.step_learn:
            _learn_step(c)
        with gr.Tab(f"4 {STEPS[3]}", id=4, interactive=False) as c.step_draw:
            _draw_step(c)
    with gr.Accordion("Method and settings (nothing here has to be touched)", open=False, elem_id="uce-settings"):
        with gr.Row(elem_classes="uce-pair"):
            c.preset = gr.Dropdown(
                [*presets], value=presets[0][1], label="Preset", info="where the settings below begin", min_width=200
            )
            c.find_again = gr.Button("Find the things again", size="lg", min_width=200, interactive=False)
        c.form = gr.State(0)
        c.more = gr.Column()
    with gr.Accordion("Messages so far", open=False, elem_id="uce-log"):
        c.log = gr.HTML()
    with gr.Row(elem_id="uce-foot"):
        gr.HTML(
            "<p>Your pictures stay on this server and are seen by nobody else. They are deleted when you have not been "
            "here for 12 hours, and when the server stops.</p>"
        )
        c.forget = gr.Button("Delete everything now", size="sm", scale=0, min_width=180, elem_id="uce-forget")


def _tiles(name: str, html: str = "", **how: Any) -> Any:
    return gr.HTML(html, js_on_load=TILES, apply_default_css=False, elem_id=f"uce-{name}", **how)


def _picture_step(c: Controls, examples: str) -> None:
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            c.upload = gr.Image(
                type="filepath",
                format="png",
                sources=["upload", "clipboard"],
                label=f"Your picture (up to {MAX_BYTES // 1_000_000} MB)",
                height=360,
                elem_id="uce-upload",
                placeholder="Drop a picture here\n or tap to choose one",
                visible=False,  # until the page knows whose it is
            )
        with gr.Column(scale=2, min_width=280):
            c.examples = _tiles("examples", examples, visible=False)
            c.pictures = _tiles("pictures", visible=False)


def _things_step(c: Controls) -> None:
    with gr.Row(elem_id="uce-viewing"):
        with gr.Column(scale=3, min_width=300):
            c.sheet = gr.HTML(
                None, html_template=TEMPLATE, js_on_load=SCRIPT, apply_default_css=False, elem_id="uce-sheet"
            )
        with gr.Column(scale=2, min_width=280):
            c.warning = gr.HTML(visible=False, elem_id="uce-warning")
            with gr.Column() as c.editing:
                c.things_text = gr.HTML(elem_id="uce-things-text")
                c.ticked = gr.CheckboxGroup(label="Learn a word for", elem_id="uce-ticked")
                c.learn = gr.Button("Learn", variant="primary", size="lg", elem_id="uce-learn")
                c.undo = gr.Button("Undo the last change", size="md", visible=False, elem_id="uce-undo")
                with gr.Accordion("Not quite right? Change the things", open=False, elem_id="uce-edit"):
                    _edit_controls(c)
            with gr.Column(visible=False, elem_id="uce-painting") as c.painting:
                gr.HTML(
                    "<h2>Paint over the whole thing</h2><p>The eraser takes paint away. Zoom with + and &minus;. With "
                    "the keyboard: arrow keys move, Enter puts the brush down or lifts it, e is the eraser, [ and ] "
                    "change its size.</p>",
                    elem_classes="uce-help",
                )
                c.painted_name = gr.State(None)
                c.keep = gr.Button("Keep this shape", variant="primary", elem_id="uce-keep")
                c.back = gr.Button("Back without changes", elem_id="uce-back")


def _edit_controls(c: Controls) -> None:
    gr.HTML(
        "<p>Click on a place in the picture to add what belongs to it to the chosen thing; a right click, or <b>Take "
        "away</b>, takes it away; <b>New thing</b> makes one of it.</p>",
        elem_classes="uce-help",
    )
    c.selected = gr.Dropdown([], label="Thing", info="or click on it in the picture", elem_id="uce-selected")
    with gr.Row(elem_classes="uce-pair"):
        c.name = gr.Textbox(label="Its name", max_length=60, max_lines=1, min_width=120, elem_id="uce-name")
        c.rename = gr.Button("Rename", size="md", min_width=90, scale=0, elem_id="uce-rename")
    with gr.Row(elem_classes="uce-pair"):
        c.other = gr.Dropdown([], label="Make one thing with", min_width=120)
        c.merge = gr.Button("Merge", size="md", min_width=90, scale=0)
    with gr.Row():
        c.split = gr.Button("Split in two", size="md", min_width=120)
        c.delete = gr.Button("Delete", size="md", min_width=120)
    with gr.Row():
        c.correct = gr.Button("Paint its outline", size="md", min_width=120, elem_id="uce-correct")
        c.add = gr.Button("Paint a missed thing", size="md", min_width=120, elem_id="uce-add")


def _learn_step(c: Controls) -> None:
    c.learn_text = gr.HTML(elem_id="uce-learn-text")
    c.stopped_text = gr.HTML(visible=False, elem_id="uce-stopped")
    with gr.Row():
        c.use = gr.Button("Use these words", variant="primary", visible=False, elem_id="uce-use")
        c.go_on = gr.Button("Go on", visible=False, elem_id="uce-go-on")
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            c.samples = _tiles("samples")
        with gr.Column(scale=2, min_width=280):
            c.losses = gr.HTML(visible=False, elem_id="uce-losses")
    with gr.Row():
        c.go_draw = gr.Button("Draw with the words", variant="primary", size="lg", visible=False, elem_id="uce-go-draw")


def _draw_step(c: Controls) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            c.words = _tiles("words")
            c.prompt = gr.Textbox(
                label="What is to be drawn?",
                placeholder="a photo of <thing1> on a blue background",
                lines=2,
                max_length=500,
                elem_id="uce-prompt",
            )
            c.draw = gr.Button("Draw", variant="primary", size="lg", elem_id="uce-draw")
            with gr.Accordion("How", open=False, elem_id="uce-how") as c.how:
                c.count = gr.Slider(1, 8, value=2, step=1, label="Pictures")
                c.seed = gr.Number(
                    None, label="Seed", info="empty: another one for every picture", precision=0, minimum=0,
                    elem_id="uce-seed",
                )  # fmt: skip
                c.draw_steps = gr.Slider(5, 100, value=25, step=1, label="Steps", info="more is slower and cleaner")
        with gr.Column(scale=3, min_width=300):
            c.opened = gr.Image(
                visible=False, interactive=False, buttons=["download", "fullscreen"], elem_id="uce-opened"
            )
            c.drawings = _tiles("drawings")
    with gr.Row():
        c.download = gr.DownloadButton("Download everything (zip)", size="lg", elem_id="uce-download")
        c.another = gr.Button("Add another picture", size="lg", elem_id="uce-another")
