"""From a workspace to what the page's controls show."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from uce.ui.app import App
from uce.ui.bundle import bundle_of
from uce.ui.gallery import drawings_html, pictures_html, progress_html, samples_html, words_html
from uce.ui.jobs import CANCELLED, FAILED, QUEUED, Job, in_words
from uce.ui.layout import Controls
from uce.ui.picture_work import PictureWork
from uce.ui.sheet import sheet_value
from uce.ui.workspace import Workspace

Updates = dict[Any, Any]
MINI_WARNING = (
    "Is this a photo? The model mini, which this server uses, knows none: its words will draw nonsense. Start the "
    "server with a Stable Diffusion model for photos: uce ui --model sd2.1"
)
LEARNING_TEXT = (
    "<h2>The words are being learned</h2><p>Samples appear below and get better; the first ones may show nothing yet. "
    "You can close or reload this page: the work goes on. <b>Stop</b> keeps what is learned so far.</p>"
)


def everything(c: Controls, app: App, workspace: Workspace) -> Updates:
    """All controls, as after loading the page."""
    picture = workspace.picture
    return {
        **_steps(c, app, workspace, picture),
        **_things(c, app, workspace, picture),
        **_learned(c, workspace, picture),
        **_drawing(c, workspace),
        **progress(c, app, workspace),
    }


def progress(c: Controls, app: App, workspace: Workspace) -> Updates:
    """What changes while a job runs."""
    job, picture = workspace.job, workspace.picture
    shown = job is not None and (job.active or job.status in (FAILED, CANCELLED))
    updates: Updates = {
        c.status: gr.HTML(status_html(app, workspace, job) if job is not None and shown else "", visible=shown),
        c.stop: gr.Button(visible=workspace.busy, interactive=job is not None and not job.stopping),
        c.timer: gr.Timer(active=workspace.busy),
    }
    mine = workspace.works_on(picture)
    if mine is not None and mine.kind == "learn":
        updates[c.losses] = loss_plot(tuple(mine.losses), moving=True)
        updates[c.samples] = progress_html(mine.samples)
        updates[c.learn_text] = LEARNING_TEXT
    return updates


def status_html(app: App, workspace: Workspace, job: Job) -> str:
    """A line and a bar."""
    if job.status == FAILED:
        return f"<div class='uce-bad' role='alert'><b>{escape(job.title)}</b> {escape(job.problem)}</div>"
    if job.status == CANCELLED:
        return f"<div class='uce-quiet' role='status'>{escape(job.title)}: stopped.</div>"
    note = _waiting(app, job) if job.status == QUEUED else "stopping" if job.stopping else job.note
    if job.left is not None and not job.stopping:
        note = f"{note}, {in_words(job.left)}"
    if more := len(workspace.waiting) - 1:
        note += f"; {_count(more, 'job')} of yours after it"
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
    return f"waiting: {_count(ahead, 'job')} before it" if ahead else "next in line"


def loss_plot(losses: tuple[tuple[int, float], ...], *, moving: bool = False) -> Any:
    """The curve of what learns (`moving`) or learned; hidden before its third update."""
    from uce.ui.gallery import curve_html

    if moving:
        losses = losses[: len(losses) - len(losses) % max(1, len(losses) // 16)]  # drawing takes time from learning
    return gr.HTML(curve_html(losses) if len(losses) > 2 else "", visible=len(losses) > 2)


def _steps(c: Controls, app: App, workspace: Workspace, picture: PictureWork | None) -> Updates:
    """Where the page is, and which steps can be gone to: whatever this picture, or for drawing any, ever reached."""
    learning = workspace.works_on(picture)
    reached = picture is not None and (picture.run is not None or picture.stopped is not None)
    return {
        c.steps: gr.Tabs(selected=workspace.step),
        c.step_picture: gr.Tab(interactive=True),
        c.step_things: gr.Tab(interactive=picture is not None),
        c.step_learn: gr.Tab(interactive=reached or (learning is not None and learning.kind == "learn")),
        c.step_draw: gr.Tab(interactive=bool(workspace.runs or workspace.drawings)),
        c.pictures: gr.HTML(pictures_html(workspace), visible=bool(workspace.pictures)),
        c.find_again: gr.Button(interactive=picture is not None and learning is None),
        c.preset: workspace.chosen.preset or app.menu.presets[0],
        c.log: log_html(workspace),
    }


def toasts(c: Controls, workspace: Workspace) -> Updates:
    """What was said since the page was last brought up to date; nothing where nothing was, so that notes stay."""
    notes = "".join(
        f"<div class='uce-toast{' uce-bad' * m.bad}'><b>{escape(m.title)}</b><p>{escape(m.text)}</p>"
        "<button type='button' aria-label='Close'>&times;</button></div>"
        for m in workspace.unseen()
    )
    return {c.toasts: notes} if notes else {}


def log_html(workspace: Workspace) -> str:
    """What was said, the newest first."""
    lines = "".join(
        f"<li><time>{m.at}</time> <b>{escape(m.title)}</b> {escape(m.text)}</li>" for m in workspace.messages
    )
    return f"<ol class='uce-log'>{lines}</ol>" if lines else "<p class='uce-quiet'>None.</p>"


def _things(c: Controls, app: App, workspace: Workspace, picture: PictureWork | None) -> Updates:
    things = picture.things if picture is not None else ()
    names = [(thing.title, thing.name) for thing in things]
    wanted = [thing.name for thing in things if thing.wanted]
    chosen = next((thing for thing in things if thing.name == workspace.selected), None)
    free = workspace.works_on(picture) is None
    shown = picture is not None and picture.is_found
    text = f"Learn {_count(len(wanted), 'word')}" if wanted else "Tick a thing to learn"
    others = [pair for pair in names if pair[1] != workspace.selected]
    editable = chosen is not None and free
    return {
        c.sheet: gr.HTML(sheet_value(picture, workspace.selected) if picture and shown else None, visible=shown),
        c.things_text: gr.HTML(things_html(picture)),
        c.warning: warning(app, picture),
        c.ticked: gr.CheckboxGroup(choices=names, value=wanted, visible=bool(names), interactive=free),
        c.learn: gr.Button(text, interactive=bool(wanted) and free),
        c.selected: gr.Dropdown(choices=names, value=chosen.name if chosen else None, interactive=free),
        c.name: gr.Textbox(
            chosen.title if chosen else "", interactive=editable, info=f"in prompts: <{chosen.name}>" if chosen else ""
        ),
        c.other: gr.Dropdown(choices=others, value=None, interactive=len(names) > 1 and free),
        **{button: gr.Button(interactive=editable) for button in (c.rename, c.split, c.delete, c.correct)},
        c.merge: gr.Button(interactive=len(names) > 1 and free),
        c.undo: gr.Button(visible=free and picture is not None and bool(picture.earlier)),
        c.add: gr.Button(interactive=shown and free),
        c.editing: gr.Column(visible=True),
        c.painting: gr.Column(visible=False),
    }


def things_html(picture: PictureWork | None) -> str:
    """A sentence about what was found, and what to do next."""
    if picture is None or not picture.is_found:
        return "<h2>No things yet</h2><p>Go to <b>Picture</b> and drop one first.</p>"
    if not picture.things:
        return (
            "<h2>Nothing found</h2><p>Nothing stands out in this picture. Press <b>New thing</b> and click on what you "
            "mean, paint it (below), or try a picture with a calmer background.</p>"
        )
    count = len(picture.things)
    title = f"{_count(count, 'thing')} found" if not picture.earlier else _count(count, "thing")
    next_step = "Untick what you do not need, then learn."
    if picture.changed:
        next_step = "The things have changed since their words were learned: learn again to draw with them."
    return f"<h2>{title}</h2><p>{next_step}</p>"


def warning(app: App, picture: PictureWork | None) -> Any:
    """What the localisation warned of; else, before somebody's own picture, what `mini` cannot do."""
    text = ""
    if picture is not None and picture.is_found:
        text = " ".join(picture.warnings) or (MINI_WARNING if app.model == "mini" and not picture.ours else "")
    return gr.HTML(f"<div class='uce-warn' role='note'>{escape(text)}</div>" if text else "", visible=bool(text))


def _learned(c: Controls, workspace: Workspace, picture: PictureWork | None) -> Updates:
    working = workspace.works_on(picture)
    learning = working is not None and working.kind == "learn"
    stopped = picture.stopped if picture is not None and working is None else None
    learned = picture is not None and picture.run is not None
    text = "<h2>No words yet</h2><p>Go to <b>Things</b>, tick some, and press <b>Learn</b>.</p>"
    if picture is not None and learned:
        names = ", ".join(f"<code>&lt;{escape(t.name)}&gt;</code>" for t in picture.learned_things)
        count = _count(len(picture.learned_things), "new word")
        text = f"<h2>Done: you have {count}</h2><p>{names}. Below is what they draw.</p>"
    elif stopped:
        text = ""
    return {
        c.learn_text: gr.HTML(text),
        c.stopped_text: gr.HTML(_stopped_html(stopped) if stopped else "", visible=stopped is not None),
        c.use: gr.Button(visible=stopped is not None),
        c.go_on: gr.Button(visible=stopped is not None),
        c.losses: loss_plot(picture.losses if picture is not None else ()),
        c.samples: gr.HTML(progress_html(stopped.samples) if stopped else samples_html(picture) if picture else ""),
        c.go_draw: gr.Button(visible=learned and not learning),
    }


def _stopped_html(stopped: Any) -> str:
    names = ", ".join(f"<code>&lt;{escape(thing.name)}&gt;</code>" for thing in stopped.things)
    return (
        f"<h2>Stopped after {stopped.update} of {stopped.total} updates</h2><p>Nothing is lost: use {names} as they "
        "are now, or go on from here.</p>"
    )


def _drawing(c: Controls, workspace: Workspace) -> Updates:
    bundle, opened = bundle_of(workspace), workspace.opened
    there = opened is not None and opened in workspace.drawings and opened.path.is_file()
    return {
        c.words: gr.HTML(words_html(workspace)),
        c.draw: gr.Button(interactive=bool(workspace.runs)),
        c.opened: gr.Image(
            str(opened.path) if opened and there else None,
            label=f"{opened.prompt}, seed {opened.seed}" if opened and there else None,
            visible=there,
        ),
        c.drawings: gr.HTML(drawings_html(workspace)),
        c.download: gr.DownloadButton(value=None if bundle is None else str(bundle), interactive=bundle is not None),
    }


def first_prompt(workspace: Workspace) -> str:
    """Something to draw that shows how it is done: with a word of the picture that is shown, where it has some."""
    here = workspace.picture
    pictures = ([here] if here is not None and here.run is not None else []) + workspace.pictures
    names = [thing.name for picture in pictures if picture.run for thing in picture.learned_things]
    return f"a photo of <{names[0]}>" if names else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
