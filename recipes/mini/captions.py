"""Captions of scenes, in varied wording, that know which word stands for which object.

A caption is a list of words; a mention of an object is the marker `OBJECT` plus the object's
place in the scene, so that training can put a real word or an appearance vector there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uce.scenes.textures import COLOURS, TEXTURES

Rng = np.random.Generator
TEMPLATES = (
    ["a photo of {}"] * 6
    + ["a picture of {}"] * 2
    + ["{}", "an image of {}", "a rendering of {}", "a photograph showing {}"]
)
COUNTS = ["zero", "one", "two", "three", "four"]
PREPOSITIONS = {
    "snow": ["in the snow", "on snow"], "grass": ["on grass", "in the grass"], "sand": ["on sand", "in the sand"],
    "wood": ["on wood", "on a wooden table"], "sea": ["in the sea", "on water"],
    "night": ["at night", "in the night sky"], "sky": ["in the sky", "in front of clouds"], "stone": ["on stone"],
}  # fmt: skip
_EXTRA = """
the and with in front of next to beside on top under behind an image style painting drawing small large big
beach forest mountain city street table kitchen garden desert ocean water dog tiger cow red blue object thing
photo close up view toy 3d render rendition cropped good bright dark cool clean dirty nice weird is it this that
"""
EXTRA_WORDS = _EXTRA.split()


@dataclass(frozen=True)
class Caption:
    """Words of a caption, and for each word the index of the object it mentions, or -1."""

    words: tuple[str, ...]
    mentions: tuple[int, ...]


OBJECT = "<object>"


def words_of_captions() -> list[str]:
    """Every word that captions can hold, besides object names."""
    text = " ".join(TEMPLATES).replace("{}", "") + " " + " ".join(p for some in PREPOSITIONS.values() for p in some)
    words = set(text.split()) | set(COUNTS) | set(COLOURS) | set(TEXTURES) | set(EXTRA_WORDS) | {"background"}
    return sorted(words)


def caption(rng: Rng, kinds: Sequence[int], background: str, partial: bool = False) -> Caption:
    """Caption a scene.

    Args:
        kinds: for each object of the scene a number that is equal for equal objects.
        background: the background's name.
        partial: mention some of the kinds only, at least one, as prompts for learning a token do.
    """
    groups = list(dict.fromkeys(kinds))
    rng.shuffle(groups)
    if partial:
        groups = groups[: int(rng.integers(1, len(groups) + 1))]
    words: list[str] = []
    mentions: list[int] = []
    for place, kind in enumerate(groups):
        count = list(kinds).count(kind)
        if place:
            words.append("and" if rng.random() < 0.9 else "with")
        if count > 1:
            words.append(COUNTS[count])
        elif rng.random() < 0.45:  # concept tokens stand without an article
            words.append("a")
        mentions += [-1] * (len(words) - len(mentions))
        words.append(OBJECT)
        mentions.append(list(kinds).index(kind))
    before, after = str(rng.choice(TEMPLATES)).split("{}")
    start, end = before.split(), after.split() + _where(rng, background)
    return Caption(tuple(start + words + end), tuple([-1] * len(start) + mentions + [-1] * len(end)))


def _where(rng: Rng, background: str) -> list[str]:
    """Words for the background, in two of three captions."""
    if rng.random() < 0.35:
        return []
    if background in PREPOSITIONS:
        return str(rng.choice(PREPOSITIONS[background])).split()
    return f"on a {background} background".split()
