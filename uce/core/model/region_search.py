"""Regions that nobody gave: found in the first denoising steps by where each word is attended from.

Legend: K words; h, w latent cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.model.backbone import Capture
from uce.core.model.heat import TokenHeat
from uce.core.model.regions import Regions

if TYPE_CHECKING:
    from uce.core.model.backbone import Backbone, Prompt

FIRST = 0.2
"""The share of the denoising steps that looks for regions."""
SAME = 0.02
"""Middles that are nearer than this share of the side say nothing: then things stand side by side, as in the prompt."""

Report = Callable[[int, int], None]


def regions_of(
    backbone: Any,
    prompt: str,
    regions: Regions | None,
    slots: Mapping[str, Sequence[int]],
    steps: int,
    draw: Callable[[int, Report], Any],
) -> dict[str, Tensor]:
    """The regions of one picture, in its prompt's order; those that were not given are found.

    Args:
        backbone: a `Backbone`.
        slots: the learned vectors that each token stands for.
        steps: denoising steps of the picture.
        draw: does so many steps of the plain drawing and reports each.

    Returns:
        word -> float (h, w) in [0, 1]; empty where nothing is to be kept apart.

    Raises:
        StageInputError: a word that the picture attends to nowhere.
    """
    wanted = {} if regions is None else regions.within(prompt)
    given = {word: mask for word, mask in wanted.items() if mask is not None}
    if len(given) == len(wanted):
        return given
    several = getattr(backbone, "tokenize_multi", None)
    read = several(prompt, slots) if several else backbone.tokenize(prompt, {t: rows[0] for t, rows in slots.items()})
    heat = TokenHeat({word: word_places(backbone, read, word, slots) for word in wanted})
    with backbone.capture(Capture("cross", columns=heat.columns)) as maps:
        draw(math.ceil(FIRST * steps), lambda *_: heat.add(maps))
    heat_Khw = torch.stack([torch.from_numpy(heat_hw).float() for heat_hw in heat.result().values()])
    found_Khw = divided(F.interpolate(heat_Khw[None], size=(backbone.latent_side,) * 2, mode="bilinear")[0])
    free_hw = 1 - sum(given.values(), torch.zeros_like(found_Khw[0])).clamp(max=1)
    return {word: given.get(word, mask * free_hw) for word, mask in zip(wanted, found_Khw, strict=True)}


def divided(heat_Khw: Tensor) -> Tensor:
    """The whole picture shared out among words: equal room for each, in the order in which they lie.

    It is cut in two along the axis in which the middles of the words' heat differ most, and each piece again along its
    longer side, until every word has one: things that would blend on one spot have room, too.

    Args:
        heat_Khw: float, not negative.

    Returns:
        float32 (K, h, w), 0 or 1, adding up to 1 everywhere.
    """
    count, *size = heat_Khw.shape
    weights_Khw = heat_Khw.float().square() + 1e-12  # what is hot counts, not what is everywhere lukewarm
    middles = [
        (weights_Khw.sum(dim=2 - axis) * torch.arange(size[axis])).sum(dim=1) / weights_Khw.sum(dim=(1, 2)) / size[axis]
        for axis in (0, 1)
    ]
    found_Khw = torch.zeros(count, *size)

    def share(words: list[int], rows: tuple[int, int], columns: tuple[int, int]) -> None:
        if len(words) == 1:
            found_Khw[words[0], slice(*rows), slice(*columns)] = 1
            return
        spans = rows, columns
        lengths = [end - start for start, end in spans]
        apart = [float(middle[words].max() - middle[words].min()) for middle in middles]
        axis = int(lengths[1] > lengths[0]) if lengths[0] != lengths[1] else int(apart[1] >= apart[0] - SAME)
        ordered = sorted(words, key=lambda word: round(float(middles[axis][word]) / SAME))
        half = len(words) // 2
        start, end = spans[axis]
        cut = start + round((end - start) * half / len(words))
        for some, span in ((ordered[:half], (start, cut)), (ordered[half:], (cut, end))):
            share(some, *((span, columns) if axis == 0 else (rows, span)))

    share(list(range(count)), (0, size[0]), (0, size[1]))
    return found_Khw


def word_places(backbone: Backbone, prompt: Prompt, word: str, slots: Mapping[str, Sequence[int]]) -> list[int]:
    """Where a token or an ordinary word stands in the sequence that the picture attends to.

    Raises:
        StageInputError: nowhere.
    """
    if word in slots:
        places = [place for slot in slots[word] for place in prompt.positions(slot)]
    else:
        places = next(filter(None, (_piece_places(backbone, prompt, word, encoder) for encoder in prompt.ids)), [])
    if not places:
        raise StageInputError(
            f"no region can be found for {word!r}, since the picture attends to it nowhere; give its box with --layout"
        )
    return places


def _piece_places(backbone: Backbone, prompt: Prompt, word: str, encoder: str) -> list[int]:
    begin = prompt.begins.get(encoder, 0)
    if begin is None or encoder not in backbone.encoders:
        return []
    pieces, ids = backbone.word_ids(word, encoder), prompt.ids[encoder].tolist()
    starts = [i for i in range(len(ids)) if pieces and ids[i : i + len(pieces)] == pieces]
    return [begin + start + i for start in starts for i in range(len(pieces))]
