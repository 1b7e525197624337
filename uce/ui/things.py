"""The things of a picture as people edit them: tick, rename, merge, split, delete, draw. Nothing here is changed in
place: every function gives a new tuple, so that the last one can be undone.

Legend: H, W the picture's pixels.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from uce.core.errors import ConfigError, StageInputError
from uce.ui.names import clean_title, free_title, free_word

Array = np.ndarray[Any, Any]
SMALLEST = 0.0005
"""Of the picture; less is a slip of the brush."""


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing.

    Attributes:
        index: number of its mask; a changed mask gets a new one.
        name: of its token, without angle brackets; nothing else of the person has it.
        mask: bool (H, W).
        wanted: whether a token is to be learned for it.
        title: what people call it, in any script; nothing else in the picture is called so.
    """

    index: int
    name: str
    mask: Array
    wanted: bool = True
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name)


Things = tuple[Thing, ...]


def find(things: Things, name: str | None) -> Thing:
    """The thing of that name.

    Raises:
        ConfigError: none was chosen, or it is gone.
    """
    for thing in things:
        if thing.name == name:
            return thing
    raise ConfigError("choose a thing first: click on it in the picture, or pick it in the list")


def thing_at(things: Things, x: int, y: int) -> Thing | None:
    """The thing whose mask holds the pixel in column `x` and row `y`."""
    for thing in things:
        height, width = thing.mask.shape
        if 0 <= y < height and 0 <= x < width and thing.mask[y, x]:
            return thing
    return None


def new_thing(index: int, mask: Array, things: Things, taken: Collection[str], picture: str) -> Thing:
    """A thing under the first free title of the picture and a word that nothing else has."""
    title = free_title({thing.title for thing in things})
    return Thing(index, free_word(title, taken, picture), mask, title=title)


def tick(things: Things, names: Collection[str]) -> Things:
    """Learn those of `names`, and no other."""
    return tuple(replace(thing, wanted=thing.name in names) for thing in things)


def rename(things: Things, name: str | None, text: str, taken: Collection[str], picture: str) -> Things:
    """Call a thing something else.

    Args:
        taken: words of things anywhere in this session. picture: the ASCII name of this one.

    Raises:
        ConfigError: no usable name, or one that another thing of the picture has.
    """
    thing, title = find(things, name), clean_title(text)
    if any(other.title.casefold() == title.casefold() for other in things if other is not thing):
        raise ConfigError(f"another thing is called {title} already; choose another name")
    word = free_word(title, set(taken) - {thing.name}, picture)
    return _put(things, thing, replace(thing, name=word, title=title))


def merge(things: Things, name: str | None, other: str | None) -> Things:
    """Make two things one, under the first one's name."""
    first = find(things, name)
    if other is None or other == name:
        raise ConfigError(f"choose the thing that {first.title} is to be merged with")
    second = find(things, other)
    joined = replace(first, index=_free_index(things), mask=first.mask | second.mask, wanted=True)
    return _put(tuple(one for one in things if one is not second), first, joined)


def split(things: Things, name: str | None, taken: Collection[str], picture: str) -> Things:
    """Make one thing two: its separate pieces where it has some, otherwise by colour and place.

    Raises:
        StageInputError: it is too small.
    """
    thing = find(things, name)
    parts = [part for part in _pieces(thing.mask) or _halves(thing.mask) if part.any()]
    if len(parts) < 2:
        raise StageInputError(f"{thing.title} is too small to be split")
    index = _free_index(things)
    one = replace(thing, index=index, mask=parts[0])
    two = new_thing(index + 1, parts[1], things, taken, picture)
    return tuple(new for old in things for new in ((one, two) if old is thing else (old,)))


def delete(things: Things, name: str | None) -> Things:
    """Leave a thing out for good."""
    gone = find(things, name)
    return tuple(thing for thing in things if thing is not gone)


def draw(things: Things, name: str | None, mask: Array, taken: Collection[str], picture: str) -> Things:
    """Give a thing the shape that was drawn, or add a new one (`name` None); others give way where they overlap.

    Raises:
        StageInputError: nothing was drawn.
    """
    if mask.mean() < SMALLEST:
        raise StageInputError("nothing is painted; paint over the thing with the brush first")
    index = _free_index(things)
    target = None if name is None else find(things, name)
    rest = [(one, one.mask & ~mask) for one in things if one is not target]
    kept = {
        one.name: one if left.sum() == one.mask.sum() else replace(one, index=index + 1 + number, mask=left)
        for number, (one, left) in enumerate(rest)
        if left.mean() >= SMALLEST
    }
    if target is None:
        return (*kept.values(), new_thing(index, mask, things, taken, picture))
    drawn = replace(target, index=index, mask=mask, wanted=True)
    order = [drawn if one is target else kept.get(one.name) for one in things]
    return tuple(one for one in order if one is not None)


def reshape(things: Things, name: str, mask: Array) -> Things:
    """Give a thing another mask; the others keep theirs."""
    thing = find(things, name)
    return _put(things, thing, replace(thing, index=_free_index(things), mask=mask, wanted=True))


def _put(things: Things, old: Thing, new: Thing) -> Things:
    return tuple(new if thing is old else thing for thing in things)


def _free_index(things: Things) -> int:
    """Above whatever the stages numbered, so that a changed mask is never taken for an untouched one."""
    return max([999, *(thing.index for thing in things)]) + 1


def _pieces(mask: Array) -> list[Array]:
    """The largest piece and the rest, where a mask falls apart into pieces worth the name."""
    from skimage.measure import label

    labels = label(mask, connectivity=2)
    sizes = np.bincount(labels.ravel())[1:]
    if len(sizes) < 2 or np.sort(sizes)[-2] < 0.05 * mask.sum():
        return []
    largest = labels == int(sizes.argmax()) + 1
    return [largest, mask & ~largest]


def _halves(mask: Array) -> list[Array]:
    """Two parts across the longer way."""
    from sklearn.cluster import KMeans

    places = np.argwhere(mask)
    if len(places) < 8:
        return []
    sample = places[:: max(1, len(places) // 4000)]
    groups = KMeans(2, n_init=4, random_state=0).fit(sample.astype(np.float64)).predict(places.astype(np.float64))
    parts = [np.zeros_like(mask) for _ in range(2)]
    for number, part in enumerate(parts):
        part[tuple(places[groups == number].T)] = True
    return parts
