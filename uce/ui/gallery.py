"""The rows of pictures on the page: what was dropped, what was learned, what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from uce.ui.picture_work import PictureWork
from uce.ui.pictures import file_address
from uce.ui.tiles import Tile, tiles_html
from uce.ui.workspace import Workspace

DRAWN_SIDE, SMALL_SIDE = 384, 240


def examples_html(paths: Sequence[Path]) -> str:
    """The pictures that come with the app."""
    tiles = [
        Tile(file_address(path, SMALL_SIDE), f"the example {path.stem}", path.stem, act="example", does="Use")
        for path in paths
    ]
    return tiles_html("Or try one of these", tiles)


def pictures_html(workspace: Workspace) -> str:
    """What was dropped so far."""
    tiles = [
        Tile(
            picture.thumbnail,
            picture.title,
            picture.title,
            _state(workspace, picture),
            act="show",
            does="Go on with",
            marked=picture is workspace.picture,
        )
        for picture in workspace.pictures
    ]
    return tiles_html("Your pictures: choose one to go on with it", tiles)


def _state(workspace: Workspace, picture: PictureWork) -> str:
    """How far a picture is."""
    if job := workspace.works_on(picture):
        return {"find": "being looked at", "learn": "being learned"}[job.kind] if job.begun else "waits"
    if picture.run is not None:
        return f"{len(picture.learned_things)} learned"
    if picture.stopped is not None:
        return "learning stopped"
    return f"{len(picture.things)} found" if picture.is_found else "not looked at"


def words_html(workspace: Workspace) -> str:
    """Every learned word as a cut-out, to be put into the text."""
    several = len({word.picture for word in workspace.words}) > 1
    tiles = [
        Tile(
            picture.cut_out(thing),
            f"<{thing.name}>, {thing.title} of {picture.title}",
            f"<{thing.name}>",
            ", ".join([thing.title] * (thing.title != thing.name) + [picture.title] * several),
            act="word",
            does="Put into the text:",
        )
        for picture in workspace.pictures
        if picture.run is not None
        for thing in picture.learned_things
    ]
    return tiles_html("Your words: click to put one into the text", tiles, "No words yet: learn some first.")


def drawings_html(workspace: Workspace) -> str:
    """What was drawn, each with its text, its seed and the things it was drawn from."""
    sources = {
        thing.name: (picture.cut_out(thing), f"{thing.title} of {picture.title}")
        for picture in workspace.pictures
        if picture.run is not None
        for thing in picture.learned_things
    }
    tiles = [
        Tile(
            file_address(drawing.path, DRAWN_SIDE),
            f"{drawing.prompt}, seed {drawing.seed}",
            drawing.prompt,
            f"seed {drawing.seed}",
            act="open",
            does="Show large:",
            buttons=(("again", "Again with this seed"), ("vary", "Vary")),
            sources=tuple(sources[name] for name in drawing.names if name in sources),
            marked=drawing is workspace.opened,
        )
        for drawing in workspace.drawings
    ]
    return tiles_html("Drawn", tiles, "Nothing drawn yet.")


def samples_html(picture: PictureWork) -> str:
    """The pictures that a finished run drew of its words, each beside the thing it was learned from."""
    run = picture.run
    if run is None:
        return ""
    things = {thing.name: thing for thing in picture.learned_things}
    tiles = []
    for path in sorted((run.path / "samples").glob("*.png"), key=lambda p: (p.stem.startswith("all"), p.name)):
        mine = things.get(path.stem) or things.get(path.stem.rpartition("-")[0])
        title = mine.title if mine else "all together"
        shown = [(picture.cut_out(thing), thing.title) for thing in ([mine] if mine else things.values())]
        tiles.append(Tile(file_address(path, DRAWN_SIDE), f"drawn: {title}", title, sources=tuple(shown)))
    return tiles_html("What the words draw", tiles)


def progress_html(samples: Sequence[tuple[str, str]]) -> str:
    """Samples on the way, those of the last update first."""
    tiles = [Tile(shown, caption, caption) for shown, caption in newest_first(samples)]
    return tiles_html("What the words draw so far", tiles, "The first samples come in a moment.")


def newest_first(samples: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Samples of the last update first; those of one update stay in order."""
    ages = list(dict.fromkeys(caption.rpartition(",")[2] for _, caption in samples))
    return sorted(samples, key=lambda sample: -ages.index(sample[1].rpartition(",")[2]))


@lru_cache(maxsize=16)
def curve_html(losses: tuple[tuple[int, float], ...]) -> str:
    """(update, loss) as the report draws it, with what it shows in words."""
    from uce.reporting.plots import loss_plot

    updates, values = zip(*losses, strict=True)
    span = max(1, len(values) // 12)
    first, last = sum(values[:span]) / span, sum(values[-span:]) / span
    text = f"from {first:.3g} to {last:.3g} in {updates[-1]} updates"
    plot = loss_plot("total", updates, values, ("",) * len(values))
    return (
        f"<figure role='img' aria-label='Error while learning: {text}'><h3>Error while learning</h3>{plot}"
        f"<figcaption>{text}; lower is better</figcaption></figure>"
    )
