"""From a workspace to what the page's controls show."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr

from uce.ui.app import App
from uce.ui.bundle import bundle_of
from uce.ui.jobs import CANCELLED, FAILED, QUEUED, Job
from uce.ui.layout import Controls
from uce.ui.pictures import overlay, samples_of, words
from uce.ui.workspace import PictureWork, Workspace

Updates = dict[Any, Any]
LEARNING_TEXT = (
    "<p>The words are being learned. Samples appear below and get better; the first ones may show nothing yet. You can "
    "close or reload this page: the work goes on.</p>"
)


def everything(c: Controls, app: App, workspace: Workspace) -> Updates:
    """All controls, as after loading the page."""
    picture = workspace.picture
    return {
        **progress(c, app, workspace),
        **_steps(c, workspace, picture),
        **_things(c, workspace, picture),
        **_learned(c, workspace, picture),
        **_drawing(c, workspace),
    }


def progress(c: Controls, app: App, workspace: Workspace) -> Updates:
    """What changes while a job runs."""
    job = workspace.job
    shown = job is not None and (job.active or job.status in (FAILED, CANCELLED))
    updates: Updates = {
        c.status: gr.HTML(status_html(app, job) if job is not None and shown else "", visible=shown),
        c.stop: gr.Button(visible=workspace.busy, interactive=job is not None and not job.stopping),
        c.timer: gr.Timer(active=workspace.busy),
    }
    if job is not None and job.kind == "learn" and job.active:
        updates[c.losses] = loss_plot(job)
        updates[c.samples] = gr.Gallery(newest_first(job.samples), label="What the words draw so far")
        updates[c.learn_text] = gr.HTML(LEARNING_TEXT)
    return updates


def status_html(app: App, job: Job) -> str:
    """A line and a bar."""
    if job.status == FAILED:
        return f"<div class='uce-bad' role='alert'>{escape(job.problem)}</div>"
    if job.status == CANCELLED:
        return f"<div class='uce-quiet' role='status'>{escape(job.title)}: stopped.</div>"
    note = _waiting(app, job) if job.status == QUEUED else "stopping" if job.stopping else job.note
    percent = round(100 * job.share)
    return (
        f"<div role='status'><b>{escape(job.title)}</b> <span class='uce-quiet'>{escape(note)}</span></div>"
        f"<div class='uce-bar' role='progressbar' aria-valuenow='{percent}' aria-valuemin='0' aria-valuemax='100' "
        f"aria-label='{escape(job.title)}'><div style='width:{percent}%'></div></div>"
    )


def _waiting(app: App, job: Job) -> str:
    if not app.queue.ready:
        return "the model is being loaded"
    ahead = app.queue.ahead(job)
    return f"waiting: {_count(ahead, 'job')} before yours" if ahead else "next in line"


def newest_first(samples: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Samples of the last update first; those of one update stay in order."""
    ages = list(dict.fromkeys(caption.partition(",")[2] for _, caption in samples))
    return sorted(samples, key=lambda sample: -ages.index(sample[1].partition(",")[2]))


def loss_plot(job: Job | None) -> Any:
    """The curve of the job that learns or learned; hidden before its third update."""
    losses = tuple(job.losses) if job is not None and job.kind == "learn" else ()
    if job is not None and job.active:
        losses = losses[: len(losses) - len(losses) % max(1, len(losses) // 16)]  # drawing takes time from learning
    return gr.HTML(curve_html(losses) if len(losses) > 2 else "", visible=len(losses) > 2)


@lru_cache(maxsize=16)
def curve_html(losses: tuple[tuple[int, float], ...]) -> str:
    """(update, loss) as the report draws it, with what it shows in words."""
    from uce.reporting.plots import loss_plot as drawn

    updates, values = zip(*losses, strict=True)
    span = max(1, len(values) // 12)
    first, last = sum(values[:span]) / span, sum(values[-span:]) / span
    text = f"from {first:.3g} to {last:.3g} in {updates[-1]} updates"
    plot = drawn("total", updates, values, ("",) * len(values))
    return (
        f"<figure role='img' aria-label='Error while learning: {text}'><h3>Error while learning</h3>{plot}"
        f"<figcaption>{text}; lower is better</figcaption></figure>"
    )


def _steps(c: Controls, workspace: Workspace, picture: PictureWork | None) -> Updates:
    return {
        c.steps: gr.Walkthrough(selected=workspace.step),
        c.pictures: gr.Gallery(
            [(one.pixels, one.name) for one in workspace.pictures],
            visible=bool(workspace.pictures),
            selected_index=None,
        ),
        c.find_again: gr.Button(interactive=picture is not None and not workspace.busy),
        c.preset: workspace.chosen.preset,
    }


def _things(c: Controls, workspace: Workspace, picture: PictureWork | None) -> Updates:
    things = picture.things if picture is not None else ()
    names = [thing.name for thing in things]
    wanted = [thing.name for thing in things if thing.wanted]
    chosen = workspace.selected in names
    free = not workspace.busy
    text = f"Learn {_count(len(wanted), 'word')}" if wanted else "Tick a thing to learn"
    shown = picture is not None and picture.is_found
    return {
        c.overlay: gr.Image(
            overlay(picture, workspace.selected) if picture is not None and shown else None, visible=shown
        ),
        c.things_text: gr.HTML(things_html(picture)),
        c.ticked: gr.CheckboxGroup(choices=names, value=wanted, visible=bool(names), interactive=free),
        c.learn: gr.Button(text, interactive=bool(wanted) and free),
        c.selected: gr.Dropdown(choices=names, value=workspace.selected if chosen else None, interactive=free),
        c.name: gr.Textbox(workspace.selected if chosen else "", interactive=chosen and free),
        c.other: gr.Dropdown(
            choices=[n for n in names if n != workspace.selected], value=None, interactive=len(names) > 1 and free
        ),
        **{button: gr.Button(interactive=chosen and free) for button in (c.rename, c.split, c.delete, c.correct)},
        c.merge: gr.Button(interactive=len(names) > 1 and free),
        c.undo: gr.Button(interactive=free and picture is not None and bool(picture.earlier)),
        c.add: gr.Button(interactive=shown and free),
        c.viewing: gr.Row(visible=True),
        c.painting: gr.Column(visible=False),
    }


def things_html(picture: PictureWork | None) -> str:
    """A sentence about what was found, and what to do next."""
    if picture is None or not picture.is_found:
        return "<h2>No things yet</h2><p>Go to <b>Picture</b> and drop one first.</p>"
    if not picture.things:
        return (
            "<h2>Nothing stood out</h2><p>Open <b>Change the things</b> below and paint what you mean, or try a "
            "picture with a calmer background.</p>"
        )
    count = len(picture.things)
    title = f"{_count(count, 'thing')} found" if not picture.earlier else _count(count, "thing")
    next_step = "Untick what you do not need, then learn."
    if picture.changed:
        next_step = "The things have changed since their words were learned: learn again to draw with them."
    return f"<h2>{title}</h2><p>{next_step}</p>"


def _learned(c: Controls, workspace: Workspace, picture: PictureWork | None) -> Updates:
    job = workspace.job
    if job is not None and job.kind == "learn" and job.active:
        return {c.go_draw: gr.Button(visible=False)}
    learned = picture is not None and picture.run is not None
    text = "<h2>No words yet</h2><p>Go to <b>Things</b>, tick some, and press <b>Learn</b>.</p>"
    if picture is not None and learned:
        names = ", ".join(f"<code>&lt;{escape(thing.name)}&gt;</code>" for thing in picture.learned_things)
        count = _count(len(picture.learned_things), "new word")
        text = f"<h2>Done: you have {count}</h2><p>{names}. Below is what they draw.</p>"
    return {
        c.learn_text: gr.HTML(text),
        c.losses: loss_plot(job),
        c.samples: gr.Gallery(samples_of(picture) if picture is not None else [], label="What the words draw"),
        c.go_draw: gr.Button(visible=learned),
    }


def _drawing(c: Controls, workspace: Workspace) -> Updates:
    bundle = bundle_of(workspace)
    return {
        c.words: gr.Gallery(
            words(workspace.pictures),
            label="Your words: click to put one into the text" if workspace.runs else "No words yet: learn some first",
        ),
        c.draw: gr.Button(interactive=bool(workspace.runs) and not workspace.busy),
        c.drawings: gr.Gallery([(str(path), prompt) for path, prompt in workspace.drawings if path.is_file()]),
        c.download: gr.DownloadButton(
            value=None if bundle is None else str(bundle), interactive=bundle is not None and not workspace.busy
        ),
    }


def first_prompt(workspace: Workspace) -> str:
    """Something to draw that shows how it is done."""
    names = [thing.name for picture in workspace.pictures if picture.run for thing in picture.learned_things]
    return f"a photo of <{names[0]}>" if names else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
