"""The jobs: find things, learn words, draw. Each calls the public interface, as the command line does."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uce import api
from uce.core.errors import ConfigError, NothingFoundError
from uce.core.files.writing import write_picture
from uce.core.work.held import Run
from uce.ui.bundle import write_bundle
from uce.ui.jobs import Job
from uce.ui.menu import FINDING, LEARNING, Menu
from uce.ui.things import Thing, Things, free_name
from uce.ui.watch import Watcher
from uce.ui.workspace import PictureWork, Workspace

MAX_PROMPT = 500
MAX_COUNT = 8
MAX_STEPS = 100
KEPT_DRAWINGS = 60


def find_job(workspace: Workspace, menu: Menu, picture: PictureWork) -> Job:
    """Stages one to three."""

    def work(job: Job) -> None:
        options = menu.options(workspace.chosen, FINDING)
        watcher = Watcher(job)
        try:
            api.localize(picture.file, picture.found, overwrite=True, observers=[watcher], **options)
            things = things_of(api.load(picture.found), workspace.taken - {t.name for t in picture.things})
        except NothingFoundError:
            # The picture can still be worked on by hand: keep what the model saw, and begin without things.
            options["set"] = [text for text in options["set"] if not text.startswith("refiner.")]
            options["refiner"] = "none"
            api.localize(picture.file, picture.found, overwrite=True, observers=[watcher], **options)
            things = ()
        picture.things, picture.earlier = things, []
        workspace.selected = things[0].name if things else None
        workspace.step = 2

    return Job(workspace.id, "find", "Finding the things in your picture", work)


def things_of(run: Run, taken: set[str]) -> Things:
    """The concepts of a localised run under names that nothing else has."""
    found: list[Thing] = []
    for concept in run.concepts:
        name = free_name(taken | {thing.name for thing in found})
        found.append(Thing(concept.index, name, concept.mask))
    return tuple(found)


def learn_job(workspace: Workspace, menu: Menu, picture: PictureWork) -> Job:
    """Stages four and five for the things that are ticked.

    Raises:
        ConfigError: none is.
    """
    wanted = tuple(thing for thing in picture.things if thing.wanted)
    if not wanted:
        raise ConfigError("tick at least one thing to learn")

    def work(job: Job) -> None:
        from uce.reporting.observer import ReportWriter

        aside, learned = picture.folder / "learning", picture.folder / "learned"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(picture.found, aside)  # so that Stop, or learning anew, loses nothing
        lay_masks(aside / "masks", wanted)
        ordered = sorted(wanted, key=lambda thing: thing.index)
        try:
            api.learn(
                aside,
                names=[thing.name for thing in ordered],
                observers=[Watcher(job), ReportWriter()],
                **menu.options(workspace.chosen, LEARNING),
            )
            shutil.rmtree(learned, ignore_errors=True)
            aside.rename(learned)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        picture.learned_things = wanted
        write_bundle(workspace)
        workspace.step = 3

    workspace.step = 3
    count = len(wanted)
    title = f"Learning {'a word for ' + wanted[0].name if count == 1 else f'words for {count} things'}"
    return Job(workspace.id, "learn", title, work)


def lay_masks(folder: Path, things: Sequence[Thing]) -> None:
    """Mask files of exactly these things."""
    for path in folder.glob("*.png"):
        path.unlink()
    for thing in things:
        write_picture(folder / f"{thing.index}.png", thing.mask)


def tokens_in(text: str) -> list[str]:
    """Names of the words in a prompt: "a <cup> on a <desk>" -> cup, desk."""
    return re.findall(r"<([^<>\s]+)>", text)


def runs_for(workspace: Workspace, prompt: str) -> list[Run]:
    """The runs whose words are in the prompt.

    Raises:
        ConfigError: a word that nobody learned, or none was learned yet.
    """
    owners = {concept.token.strip("<>"): run for run in workspace.runs for concept in run.concepts}
    if not owners:
        raise ConfigError("there are no words yet; learn some first")
    names = tokens_in(prompt)
    for name in names:
        if name not in owners:
            raise ConfigError(f"<{name}> has not been learned; the words are {', '.join(f'<{o}>' for o in owners)}")
    used = [owners[name] for name in dict.fromkeys(names)] or [next(iter(owners.values()))]
    return list({run.path: run for run in used}.values())


def draw_job(
    workspace: Workspace, prompt: str, *, count: int = 2, seed: int = 0, steps: int = 25, fixed: dict[str, Any]
) -> Job:
    """Pictures of a prompt, one after the other.

    Raises:
        ConfigError: no prompt, or a word in it that is not known.
    """
    prompt = " ".join(prompt.split())
    if not prompt:
        raise ConfigError("write what is to be drawn, such as: a photo of <thing1>")
    if len(prompt) > MAX_PROMPT:
        raise ConfigError(f"the text is too long: {len(prompt)} letters, at most {MAX_PROMPT}")
    count, steps, seed = max(1, min(count, MAX_COUNT)), max(1, min(steps, MAX_STEPS)), max(0, min(seed, 2**31))
    runs = runs_for(workspace, prompt)
    how = {key: fixed[key] for key in ("device", "plugin") if fixed.get(key)}

    def work(job: Job) -> None:
        folder = workspace.folder / "drawn"
        for number in range(count):
            job.check()
            job.note, job.share = f"picture {number + 1} of {count}", (number + 0.2) / (count + 0.2)
            before = set(folder.glob("*.png"))
            api.generate(prompt, [run.path for run in runs], folder, seed=seed + number, steps=steps, **how)
            new = [(path, prompt) for path in folder.glob("*.png") if path not in before]
            workspace.drawings = [*new, *workspace.drawings]
        for path, _ in workspace.drawings[KEPT_DRAWINGS:]:
            path.unlink(missing_ok=True)
        workspace.drawings = workspace.drawings[:KEPT_DRAWINGS]
        write_bundle(workspace)

    workspace.step = 4
    return Job(workspace.id, "draw", f"Drawing {count} picture{'s' if count > 1 else ''}", work)
