"""Which controls the page has and where they stand; nothing here does anything."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from uce.ui.brush import SCRIPT, TEMPLATE
from uce.ui.uploads import MAX_BYTES

STEPS = ("Picture", "Things", "Learn", "Draw")


@dataclass
class Controls:
    """The page's controls, by name."""

    steps: Any = None
    step_things: Any = None
    step_learn: Any = None
    step_draw: Any = None
    status: Any = None
    stop: Any = None
    timer: Any = None
    drop: Any = None
    upload: Any = None
    examples: Any = None
    pictures: Any = None
    overlay: Any = None
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
    viewing: Any = None
    painting: Any = None
    editor: Any = None
    painted_name: Any = None
    keep: Any = None
    back: Any = None
    learn: Any = None
    learn_text: Any = None
    losses: Any = None
    samples: Any = None
    go_draw: Any = None
    another: Any = None
    words: Any = None
    prompt: Any = None
    count: Any = None
    seed: Any = None
    draw_steps: Any = None
    draw: Any = None
    drawings: Any = None
    download: Any = None
    more: Any = None
    forget: Any = None
    form: Any = None
    preset: Any = None
    find_again: Any = None

    def all(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]


def lay_out(c: Controls, model_note: str, examples: list[Path], presets: tuple[str, ...]) -> None:
    """Make every control, within an open `gr.Blocks`."""
    gr.HTML(
        "<h1>From one picture to words you can draw with</h1>"
        "<p>Drop a picture. The things in it are found, each gets a word of its own, and with the words you can draw "
        f"them again in new pictures.</p><p class='uce-model'>{model_note}</p>",
        elem_id="uce-head",
    )
    c.timer = gr.Timer(1.0, active=False)
    with gr.Row(elem_id="uce-status-row"):
        c.status = gr.HTML(visible=False, elem_id="uce-status")
        c.stop = gr.Button("Stop", visible=False, size="sm", scale=0, min_width=90, elem_id="uce-stop")
    with gr.Walkthrough(selected=1, elem_id="uce-steps") as c.steps:
        with gr.Step(STEPS[0], id=1):
            _picture_step(c, examples)
        with gr.Step(STEPS[1], id=2) as c.step_things:
            _things_step(c)
        with gr.Step(STEPS[2], id=3) as c.step_learn:
            _learn_step(c)
        with gr.Step(STEPS[3], id=4) as c.step_draw:
            _draw_step(c)
    with gr.Accordion("Method and settings (nothing here has to be touched)", open=False, elem_id="uce-settings"):
        with gr.Row(elem_classes="uce-pair"):
            c.preset = gr.Dropdown(
                list(presets), value=presets[0], label="Preset", info="where the settings below begin", min_width=200
            )
            c.find_again = gr.Button("Find the things again", size="lg", min_width=200, interactive=False)
        c.form = gr.State(0)
        c.more = gr.Column()
    with gr.Row(elem_id="uce-foot"):
        gr.HTML(
            "<p>Your pictures stay on this server and are seen by nobody else. They are deleted when you have not been "
            "here for 12 hours, and when the server stops.</p>"
        )
        c.forget = gr.Button("Delete everything now", size="sm", scale=0, min_width=180, elem_id="uce-forget")


def _picture_step(c: Controls, examples: list[Path]) -> None:
    with gr.Row():
        with gr.Column(scale=3, min_width=300, visible=False) as c.drop:  # until the page knows whose it is
            c.upload = gr.Image(
                type="filepath",
                format="png",
                sources=["upload", "clipboard"],
                label=f"Your picture (up to {MAX_BYTES // 1_000_000} MB)",
                height=360,
                elem_id="uce-upload",
                placeholder="Drop a picture here\n or tap to choose one",
            )
        with gr.Column(scale=2, min_width=280):
            c.examples = gr.Gallery(
                [(str(path), path.stem) for path in examples],
                label="Or try one of these",
                columns=3,
                height=170,
                allow_preview=False,
                interactive=False,
                buttons=[],
                object_fit="cover",
                visible=False,
                elem_id="uce-examples",
            )
            c.pictures = gr.Gallery(
                label="Your pictures: choose one to go on with it",
                columns=3,
                height=170,
                allow_preview=False,
                interactive=False,
                buttons=[],
                visible=False,
                object_fit="cover",
                elem_id="uce-pictures",
            )


def _things_step(c: Controls) -> None:
    with gr.Row(elem_id="uce-viewing") as c.viewing:
        with gr.Column(scale=3, min_width=300):
            c.overlay = gr.Image(
                label="Click on a thing to choose it",
                interactive=False,
                buttons=["fullscreen"],
                elem_id="uce-overlay",
            )
        with gr.Column(scale=2, min_width=280):
            c.things_text = gr.HTML(elem_id="uce-things-text")
            c.ticked = gr.CheckboxGroup(label="Learn a word for", elem_id="uce-ticked")
            c.learn = gr.Button("Learn", variant="primary", size="lg", elem_id="uce-learn")
            with gr.Accordion("Not quite right? Change the things", open=False, elem_id="uce-edit"):
                _edit_controls(c)
    with gr.Column(visible=False, elem_id="uce-painting") as c.painting:
        gr.HTML("<p>Paint over the whole thing. The eraser takes paint away. Then press <b>Keep this shape</b>.</p>")
        c.painted_name = gr.State(None)
        c.editor = gr.HTML(
            None, html_template=TEMPLATE, js_on_load=SCRIPT, apply_default_css=False, elem_id="uce-editor"
        )
        with gr.Row():
            c.keep = gr.Button("Keep this shape", variant="primary", elem_id="uce-keep")
            c.back = gr.Button("Back without changes")


def _edit_controls(c: Controls) -> None:
    c.selected = gr.Dropdown([], label="Thing", info="or click on it in the picture", elem_id="uce-selected")
    with gr.Row(elem_classes="uce-pair"):
        c.name = gr.Textbox(label="Its word", max_length=41, max_lines=1, min_width=120, elem_id="uce-name")
        c.rename = gr.Button("Rename", size="md", min_width=90, scale=0)
    with gr.Row(elem_classes="uce-pair"):
        c.other = gr.Dropdown([], label="Make one thing with", min_width=120)
        c.merge = gr.Button("Merge", size="md", min_width=90, scale=0)
    with gr.Row():
        c.split = gr.Button("Split in two", size="md", min_width=120)
        c.delete = gr.Button("Delete", size="md", min_width=120)
    with gr.Row():
        c.correct = gr.Button("Correct its outline", size="md", min_width=120, elem_id="uce-correct")
        c.add = gr.Button("Paint a missed thing", size="md", min_width=120, elem_id="uce-add")
    c.undo = gr.Button("Undo", size="md")


def _learn_step(c: Controls) -> None:
    c.learn_text = gr.HTML(elem_id="uce-learn-text")
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            c.samples = gr.Gallery(
                label="What the words draw so far",
                columns=4,
                height="auto",
                object_fit="contain",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="uce-samples",
            )
        with gr.Column(scale=2, min_width=280):
            c.losses = gr.HTML(visible=False, elem_id="uce-losses")
    with gr.Row():
        c.go_draw = gr.Button("Draw with the words", variant="primary", size="lg", visible=False, elem_id="uce-go-draw")


def _draw_step(c: Controls) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            c.words = gr.Gallery(
                label="Your words: click to put one into the text",
                columns=4,
                height="auto",
                object_fit="contain",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="uce-words",
            )
            c.prompt = gr.Textbox(
                label="What is to be drawn?",
                placeholder="a photo of <thing1> on a blue background",
                lines=2,
                max_length=500,
                elem_id="uce-prompt",
            )
            c.draw = gr.Button("Draw", variant="primary", size="lg", elem_id="uce-draw")
            with gr.Accordion("How", open=False):
                c.count = gr.Slider(1, 8, value=2, step=1, label="Pictures")
                c.seed = gr.Number(0, label="Seed", info="another number, another picture", precision=0, minimum=0)
                c.draw_steps = gr.Slider(5, 100, value=25, step=1, label="Steps", info="more is slower and cleaner")
        with gr.Column(scale=3, min_width=300):
            c.drawings = gr.Gallery(
                label="Drawn",
                columns=2,
                height="auto",
                object_fit="contain",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="uce-drawings",
            )
    with gr.Row():
        c.download = gr.DownloadButton("Download everything (zip)", size="lg", elem_id="uce-download")
        c.another = gr.Button("Add another picture", size="lg", elem_id="uce-another")
