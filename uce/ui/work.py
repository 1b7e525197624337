"""The jobs: find things, learn words, draw. Each calls the public interface, as the command line does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from uce import api
from uce.core.config.assigned import without
from uce.core.errors import ConfigError, NothingFoundError
from uce.core.files.pictures import RgbArray
from uce.core.files.writing import write_picture
from uce.core.flow.stages import LEARNING, LOCALISING
from uce.core.runs.folder import RunFolder
from uce.core.work.held import Run
from uce.ui.bundle import write_bundle
from uce.ui.jobs import Job
from uce.ui.menu import Menu
from uce.ui.names import understand
from uce.ui.picture_work import Drawing, PictureWork, Stopped
from uce.ui.things import Thing, Things, new_thing
from uce.ui.watch import Watcher
from uce.ui.workspace import Workspace

MAX_PROMPT = 500
MAX_COUNT = 8
MAX_STEPS = 100
KEPT_DRAWINGS = 60
BLANK = 10
"""Levels of 256 between the darkest and the brightest place of a picture that shows nothing."""


def is_blank(pixels: RgbArray) -> bool:
    """Whether a picture, uint8 (H, W, 3), is one plain colour but for its grain."""
    small = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX)).astype(int)
    return bool(np.ptp(small.reshape(-1, 3), axis=0).max() < BLANK)


def find_job(workspace: Workspace, menu: Menu, picture: PictureWork) -> Job:
    """Stages one to three."""

    def work(job: Job) -> None:
        options = menu.options(workspace.chosen, LOCALISING)
        watcher = Watcher(job)
        try:
            if is_blank(picture.pixels):
                raise NothingFoundError("the picture is one plain colour")
            api.localize(picture.file, picture.found, overwrite=True, observers=[watcher], **options)
            run = api.load(picture.found)
            things = things_of(run, workspace.taken - {t.name for t in picture.things}, picture.name)
        except NothingFoundError:
            # The picture can still be worked on by hand: keep what the model saw, and begin without things.
            plainly = {"foreground": "none", "refiner": "none"}
            options |= {**plainly, "set": without(options["set"], *plainly)}
            api.localize(picture.file, picture.found, overwrite=True, observers=[watcher], **options)
            things = ()
        picture.things, picture.earlier, picture.grower = things, [], None
        if workspace.picture is picture or workspace.picture is None:
            workspace.look_at(picture, 2)

    return Job(workspace.id, "find", f"Finding the things in {picture.title}", work, picture=picture)


def things_of(run: Run, taken: set[str], picture: str) -> Things:
    """The concepts of a localised run: thing1, thing2, ... under words that nothing else has."""
    found: Things = ()
    for concept in run.concepts:
        names = taken | {thing.name for thing in found}
        found = (*found, new_thing(concept.index, concept.mask, found, names, picture))
    return found


def learn_job(workspace: Workspace, menu: Menu, picture: PictureWork) -> Job:
    """Stages four and five for the things that are ticked.

    Raises:
        ConfigError: none is.
    """
    wanted = tuple(thing for thing in picture.things if thing.wanted)
    if not wanted:
        raise ConfigError("tick at least one thing to learn")
    options = menu.options(workspace.chosen, LEARNING)

    def prepare() -> None:
        aside = picture.folder / "learning"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(picture.found, aside)  # so that Stop, or learning anew, loses nothing
        lay_masks(aside / "masks", wanted)

    def work(job: Job) -> None:
        picture.stopped = None
        prepare()
        _learn(job, workspace, picture, wanted, options)

    workspace.step = 3
    count = len(wanted)
    title = f"Learning {'a word for ' + wanted[0].title if count == 1 else f'words for {count} things'}"
    return Job(workspace.id, "learn", title, work, picture=picture)


def go_on_job(workspace: Workspace, picture: PictureWork, *, enough: bool) -> Job:
    """Take up a learning that was stopped: to its end, or (`enough`) keep the words as they are.

    Raises:
        ConfigError: none was.
    """
    stopped = picture.stopped
    if stopped is None:
        raise ConfigError("nothing was stopped here; press Learn to begin")

    def work(job: Job) -> None:
        job.losses, job.samples = list(stopped.losses), list(stopped.samples)
        _learn(job, workspace, picture, stopped.things, stopped.options, resume=True, enough=enough)

    workspace.step = 3
    title = "Keeping the words as they are" if enough else "Going on with learning"
    return Job(workspace.id, "learn", title, work, picture=picture)


def _learn(
    job: Job,
    workspace: Workspace,
    picture: PictureWork,
    things: Things,
    options: dict[str, Any],
    *,
    resume: bool = False,
    enough: bool = False,
) -> None:
    """Learn in the folder learning/, which becomes learned/ at the end; a stopped one is kept to go on from."""
    from uce.reporting.observer import ReportWriter

    aside, learned = picture.folder / "learning", picture.folder / "learned"
    watcher = Watcher(job, enough=enough, titles={f"<{thing.name}>": thing.title for thing in things})
    names = [thing.name for thing in sorted(things, key=lambda thing: thing.index)]
    try:
        api.learn(aside, resume=resume, names=names, observers=[watcher, ReportWriter()], **options)
    except KeyboardInterrupt:
        if job.losses:
            losses = tuple(job.losses)
            total = watcher.total or (picture.stopped.total if picture.stopped else 0)
            picture.stopped = Stopped(things, losses[-1][0], total, options, losses, tuple(job.samples))
            picture.losses = losses
        raise
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if enough:
        RunFolder(aside).update_run(stopped_after=job.losses[-1][0])
    shutil.rmtree(learned, ignore_errors=True)
    aside.rename(learned)
    picture.stopped, picture.learned_things, picture.losses = None, things, tuple(job.losses)
    write_bundle(workspace)


def lay_masks(folder: Path, things: Sequence[Thing]) -> None:
    """Mask files of exactly these things."""
    for path in folder.glob("*.png"):
        path.unlink()
    for thing in things:
        write_picture(folder / f"{thing.index}.png", thing.mask)


def runs_for(workspace: Workspace, prompt: str) -> tuple[list[Run], tuple[str, ...]]:
    """The runs whose words are in a prompt that was understood, and the words' names."""
    owners = {concept.token.strip("<>"): run for run in workspace.runs for concept in run.concepts}
    names = tuple(name for name in owners if f"<{name}>" in prompt)
    used = [owners[name] for name in names] or [next(iter(owners.values()))]
    return list({run.path: run for run in used}.values()), names


def draw_job(
    workspace: Workspace,
    prompt: str,
    *,
    count: int = 2,
    seed: int | None = None,
    steps: int = 25,
    fixed: dict[str, Any],
) -> tuple[Job, list[str]]:
    """Pictures of a prompt, one after the other, and what must be said about the prompt.

    Args:
        seed: of the first picture; None takes seeds that nothing was drawn from yet.

    Raises:
        ConfigError: no prompt, or a word in it that is not known.
    """
    prompt = " ".join(prompt.split())
    if not prompt:
        raise ConfigError("write what is to be drawn, such as: a photo of <thing1>")
    if len(prompt) > MAX_PROMPT:
        raise ConfigError(f"the text is too long: {len(prompt)} letters, at most {MAX_PROMPT}")
    here = workspace.picture.title if workspace.picture is not None else None
    prompt, notes = understand(prompt, workspace.words, here)
    count, steps = max(1, min(count, MAX_COUNT)), max(1, min(steps, MAX_STEPS))
    first = workspace.next_seed if seed is None else max(0, min(seed, 2**31))
    if seed is None:
        workspace.next_seed += count
    runs, names = runs_for(workspace, prompt)
    how = {key: fixed[key] for key in ("device", "plugin") if fixed.get(key)}

    def work(job: Job) -> None:
        folder = workspace.folder / "drawn"
        for number in range(count):
            job.check()
            job.note, job.share = f"picture {number + 1} of {count}", (number + 0.2) / (count + 0.2)
            before = set(folder.glob("*.png"))
            api.generate(prompt, [run.path for run in runs], folder, seed=first + number, steps=steps, **how)
            new = [path for path in folder.glob("*.png") if path not in before]
            drawn = [Drawing(path, prompt, first + number, names) for path in new]
            workspace.drawings = [*drawn, *workspace.drawings]
        for old in workspace.drawings[KEPT_DRAWINGS:]:
            old.path.unlink(missing_ok=True)
        workspace.drawings = workspace.drawings[:KEPT_DRAWINGS]
        write_bundle(workspace)

    workspace.step = 4
    return Job(workspace.id, "draw", f"Drawing {count} picture{'s' if count > 1 else ''}", work), notes
