"""Several things in one picture, each in a region of its own: what is asked of the model there, and how it is joined.

Every region has a prompt of its own, in which no other region's word stands, so that neither the text encoder nor
cross-attention can mix them. At every denoising step the model predicts for each region, and the predictions are joined
cell by cell. It sees the picture pushed around until the region lies in the middle, where models put a thing that is
alone in its prompt. Nothing is trained and nothing in the model is changed, so that it works with every backbone.

Source: Bar-Tal et al., ICML 2023 (MultiDiffusion), section 4.2, for joining predictions by masks. Prompts made from one
and the pushing are ours.

Legend: B predictions of a pass; P parts of the picture; C latent channels; h, w latent cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

SEAM = 16
"""Regions flow into each other over this part of the picture's side on either side of their border."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Where words of a prompt act.

    Attributes:
        masks: a word as it stands in prompts -> float (h, w) in [0, 1]; None where its region is to be found in the
            first denoising steps.
    """

    masks: Mapping[str, Tensor | None]

    def within(self, text: str) -> dict[str, Tensor | None]:
        """Those of a prompt, in its order; none where one word is alone and has no mask, which needs no region."""
        found = {word: self.masks[word] for word in self.finds(text)}
        return {} if list(found.values()) == [None] else found

    def finds(self, text: str) -> list[str]:
        """The words that stand in a text, in its order."""
        by_fold = {word.lower(): word for word in self.masks}
        return list(dict.fromkeys(by_fold[match[0].lower()] for match in _found(text, self.masks)))


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the picture with a prompt of its own.

    Attributes:
        text: the prompt.
        weight: float32 (h, w); those of all parts add up to 1 in every cell.
        push: cells down and to the right that bring its middle to that of the picture.
    """

    text: str
    weight: Tensor
    push: tuple[int, int] = (0, 0)


def parts_of(prompt: str, masks: Mapping[str, Tensor]) -> list[Part]:
    """A part for every region, and one for what lies in none.

    Args:
        masks: word -> float (h, w) in [0, 1]; where several overlap, they share.

    Returns:
        empty where there is no mask.
    """
    if not masks:
        return []
    *own_texts, around = region_texts(prompt, masks)
    soft_Khw = _softened(torch.stack([mask.float().cpu() for mask in masks.values()]))
    covered_hw = soft_Khw.sum(dim=0)
    soft_Khw = soft_Khw / covered_hw.clamp_min(1)
    parts = [Part(*each) for each in zip(own_texts, soft_Khw, map(_push, masks.values()), strict=True)]
    rest_hw = 1 - soft_Khw.sum(dim=0)
    return [*parts, Part(around, rest_hw)] if float(rest_hw.max()) > 1e-3 else parts


def region_texts(prompt: str, words: Iterable[str]) -> list[str]:
    """The prompt of each word's region, and last that of what lies around them.

    "a photo of a <cup> next to a <cat> in the snow" becomes "a photo of a <cup> in the snow", "a photo of a <cat> in
    the snow" and "a photo in the snow": what stands before the first word and behind the last holds for all.
    """
    places = list(_found(prompt, words))
    before, behind = prompt[: places[0].start()], prompt[places[-1].end() :]
    alone = re.sub(r"(\s*\b(a|an|the|of|one|some|my))*\s*$", "", before, flags=re.IGNORECASE)
    return [*(f"{before}{word}{behind}" for word in words), f"{alone}{behind}".strip(" ,")]


def seen_by(latents: Tensor, parts: Sequence[Part]) -> Tensor:
    """The picture as it is shown for each part: (1, C, h, w) -> (P, C, h, w)."""
    return torch.cat([latents.roll(part.push, dims=(2, 3)) for part in parts])


def joined(prediction: Tensor, parts: Sequence[Part]) -> Tensor:
    """The predictions of a pass with those of the parts, its last P, made one.

    Args:
        prediction: (B, C, h, w), of what `seen_by` gave.

    Returns:
        (B - P + 1, C, h, w).
    """
    first, own = prediction[: -len(parts)], prediction[-len(parts) :]
    total = torch.zeros_like(own[:1])
    for part, rolled in zip(parts, own, strict=True):
        down, right = part.push
        total += rolled.roll((-down, -right), dims=(1, 2)) * part.weight.to(rolled)
    return torch.cat([first, total])


def _softened(masks_Khw: Tensor) -> Tensor:
    """Borders that rise over a few cells; the picture's own edge is none."""
    reach = max(1, masks_Khw.shape[-1] // SEAM)
    padded = F.pad(masks_Khw[None], (reach,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * reach + 1, stride=1)[0]


def _push(mask_hw: Tensor) -> tuple[int, int]:
    places = mask_hw.nonzero().float() + 0.5
    if not len(places):  # what was given leaves no room for what was to be found
        return 0, 0
    height, width = mask_hw.shape
    down, right = torch.tensor([height / 2, width / 2]) - places.mean(dim=0)
    return round(float(down)), round(float(right))


def _found(text: str, words: Iterable[str]) -> list[re.Match[str]]:
    """Where words stand, whatever their letter case; letters never continue them, and of two the longer is meant."""
    ordered = sorted(words, key=len, reverse=True)
    edges = [
        (r"(?<![\w<])" if word[0].isalnum() else "", r"(?![\w>])" if word[-1].isalnum() else "") for word in ordered
    ]
    each = [f"{before}{re.escape(word)}{after}" for word, (before, after) in zip(ordered, edges, strict=True)]
    return list(re.finditer("|".join(each), text, flags=re.IGNORECASE)) if each else []
