"""From pictures to what is said of a run's words: features, scores of one run, and of several.

Legend: K concepts; Q prompts; N pictures of each; B backgrounds; T things found in one picture; D width of the
features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uce.core.files.pictures import RgbArray
from uce.core.model.encoder import Encoder, TextEncoder
from uce.evaluation.metrics import Array
from uce.evaluation.pictures import Found, RunPictures
from uce.evaluation.words import alignment, background_leak, bleed_matrix, recognised_once

Seen = tuple[tuple[int, ...], Array]
"""The concepts of a prompt, and the features (T, D) of the things found in one picture of it."""


@dataclass(frozen=True, eq=False)
class WordFeatures:
    """What one encoder sees of a run's words.

    Attributes:
        prototypes: (K, D), of the cropped sources.
        scenes: per concept (B, D), its thing on B backgrounds, its source's first; (0, D) without a background.
        groups: of the Q prompts. prompted: (K, Q, N, D); texts: (Q, D); None where the encoder reads no texts.
        pairs, recomposed: pictures of two concepts, and of all together.
        background_right: how often the background is the one asked for, where that can be known.
    """

    prototypes: Array
    scenes: list[Array]
    groups: tuple[str, ...] = ()
    prompted: Array | None = None
    texts: Array | None = None
    pairs: Sequence[Seen] = ()
    recomposed: Sequence[Seen] = ()
    background_right: float | None = None


@dataclass(frozen=True, eq=False)
class WordScores:
    """One run's numbers.

    Attributes:
        prompt_following: (K, Q), or None where the encoder reads no texts. groups: of the Q prompts.
        bleed: (K, K), or None with one concept.
        leak: per concept that has a background.
        both: per picture of two concepts. recomposed: per concept and picture of all.
        background_right: share of pictures, or None.
    """

    prompt_following: Array | None
    groups: tuple[str, ...]
    bleed: Array | None
    leak: list[float]
    both: list[bool]
    recomposed: list[bool]
    background_right: float | None


def reads_texts(encoder: Encoder) -> bool:
    """Whether it can say how well a picture fits a prompt."""
    return isinstance(encoder, TextEncoder)


def encode_words(encoder: Encoder, pictures: RunPictures) -> WordFeatures:
    """Features of what `encode_run` leaves out."""
    prompted = texts = None
    if isinstance(encoder, TextEncoder) and pictures.prompts:
        flat = [one for row in pictures.prompted for drawn in row for one in drawn]
        shape = (len(pictures.prompted), len(pictures.prompts), -1)
        prompted = encoder.encode(flat)
        prompted = prompted.reshape(*shape[:2], len(flat) // (shape[0] * shape[1]), prompted.shape[1])
        texts = encoder.encode_texts([prompt.rest for prompt in pictures.prompts])
    prototypes = encoder.encode(pictures.cropped)
    return WordFeatures(
        prototypes,
        _encode_lists(encoder, pictures.scenes, prototypes.shape[1]),
        tuple(prompt.group for prompt in pictures.prompts),
        prompted,
        texts,
        _seen(encoder, pictures.pairs, prototypes.shape[1]),
        _seen(encoder, pictures.recomposed, prototypes.shape[1]),
        pictures.background_right(),
    )


def _encode_lists(encoder: Encoder, lists: Sequence[Sequence[RgbArray]], width: int) -> list[Array]:
    """Features (n, D) of every list, encoded together."""
    flat = [picture for row in lists for picture in row]
    features = encoder.encode(flat) if flat else np.zeros((0, width), np.float32)
    return list(np.split(features, np.cumsum([len(row) for row in lists])[:-1])) if lists else []


def _seen(encoder: Encoder, found: Sequence[Found], width: int) -> list[Seen]:
    features = _encode_lists(encoder, [things for _, things in found], width)
    return [(concepts, one) for (concepts, _), one in zip(found, features, strict=True)]


def another_runs_words(own: WordFeatures, donor: WordFeatures, rows: Sequence[int]) -> WordFeatures:
    """The sources of one run beside what another one's tokens draw; concept k gets the donor's concept `rows[k]`."""

    def given(mine: Sequence[Seen], theirs: Sequence[Seen]) -> list[Seen]:
        return [(concepts, theirs[n % len(theirs)][1]) for n, (concepts, _) in enumerate(mine)] if theirs else []

    prompted = None if donor.prompted is None else donor.prompted[list(rows)]
    return WordFeatures(
        own.prototypes,
        own.scenes,
        donor.groups,
        prompted,
        donor.texts,
        given(own.pairs, donor.pairs),
        given(own.recomposed, donor.recomposed),
        donor.background_right,
    )


def score_words(words: WordFeatures, drawn_KPD: Array) -> WordScores:
    """All numbers of one run. `drawn_KPD`: pictures drawn from each token alone."""
    following = None
    if words.prompted is not None and words.texts is not None:
        following = alignment(words.prompted, words.texts)
    several = len(words.prototypes) > 1
    return WordScores(
        following,
        words.groups,
        bleed_matrix(drawn_KPD, words.prototypes) if several else None,
        [background_leak(drawn, scenes) for drawn, scenes in zip(drawn_KPD, words.scenes, strict=True) if len(scenes)],
        [all(recognised_once(things, words.prototypes, concepts)) for concepts, things in words.pairs],
        [
            right
            for concepts, things in words.recomposed
            for right in recognised_once(things, words.prototypes, concepts)
        ],
        words.background_right,
    )


def pooled_words(scores: Sequence[WordScores]) -> dict[str, Any]:
    """Means over several runs; None where nothing could be measured.

    Returns:
        `prompt_following` (over concepts and prompts), `prompt_groups` (group -> the same), `bled` (over concepts: how
        often another one of its picture is recognised), `both_recognised` (over pictures of two), `recomposed` (over
        concepts and pictures of all), `background_leak` (over concepts), `background_right` (over runs).
    """
    following = [one.prompt_following for one in scores if one.prompt_following is not None]
    right = [one.background_right for one in scores if one.background_right is not None]
    groups = next((one.groups for one in scores if one.prompt_following is not None), ())
    bled = [1 - np.diag(one.bleed) for one in scores if one.bleed is not None]
    return {
        "prompt_following": _mean(following),
        "prompt_groups": {
            group: _mean([values[:, n] for values in following for n, name in enumerate(groups) if name == group])
            for group in dict.fromkeys(groups)
        },
        "bled": _mean(bled),
        "both_recognised": _mean([value for one in scores for value in one.both]),
        "recomposed": _mean([value for one in scores for value in one.recomposed]),
        "background_leak": _mean([value for one in scores for value in one.leak]),
        "background_right": _mean(right),
    }


def _mean(values: Sequence[Any]) -> float | None:
    """Of numbers, or of all numbers of several arrays; None of nothing."""
    flat = np.concatenate([np.ravel(value) for value in values]) if values else np.zeros(0)
    return float(flat.mean()) if len(flat) else None


ONCE = ("bled", "both_recognised", "background_leak", "background_right")
"""Measures of `pooled_words` that `uce evaluate` gives once; the others it gives per encoder."""


def matrices(names: Sequence[str], scores: Sequence[WordScores]) -> Mapping[str, list[list[float]] | None]:
    """Run -> its matrix of bleed, rows drawn, columns recognised; None with one concept."""
    return {name: None if one.bleed is None else one.bleed.tolist() for name, one in zip(names, scores, strict=True)}
