"""What a model would call the things that were found, by looking at the picture inside their masks.

Every thing is cut out, enlarged onto grey, and passed once through the model; features of a decoder block are
compared with those of cut-outs whose names are known (`recipes/mini/naming.py` made them). Nothing of what is learned
takes part, so that a name does not change with the number of steps.

Legend: K concepts; V known cut-outs; D features; R their projection; W words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

from uce.core.errors import ModelError
from uce.core.files.pictures import RgbArray
from uce.core.flow.names import Named
from uce.core.model.backbone import Backbone
from uce.core.model.measured import measured, same_noise
from uce.core.training.views import cut, zoom_frame

GREY, FILLS, CELLS, TIMESTEP, BLOCK = 190, 0.8, 4, 100, 1
"""How a thing is shown and read: its surroundings, its share of the side, how finely features are kept, with how much
noise, from which decoder block."""
NEAREST = 3
"""Words that are given for each thing, right or not."""


def cut_out(original: RgbArray, mask_HW: npt.NDArray[np.bool_], side: int) -> Tensor:
    """One thing, large, on grey: float32 (3, side, side) in [-1, 1]."""
    frame = zoom_frame(mask_HW, FILLS)
    inside = cut(mask_HW, frame, repeat=False)
    shown = np.where(inside[..., None], cut(original, frame, repeat=True), np.uint8(GREY))
    resized = Image.fromarray(shown).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 127.5 - 1


@torch.no_grad()
def appearance(backbone: Backbone, pixels: Tensor) -> Tensor:
    """Features float32 (D,) of a cut-out; one at a time, so that they do not depend on what else is in the picture."""
    latents = backbone.encode_image(pixels[None].to(backbone.device)).float()
    time = torch.tensor([TIMESTEP], device=latents.device)
    noisy = backbone.add_noise(latents, same_noise(backbone).to(latents.device), time)
    with backbone.capture_features(BLOCK) as found:
        backbone.predict(noisy, time, backbone.encode_prompts([backbone.tokenize("")]))
    return F.adaptive_avg_pool2d(found[BLOCK].float(), CELLS).flatten().cpu()


def project(features_KD: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """Directions float32 (K, R) that can be compared."""
    return F.normalize((features_KD - tensors["mean"].float()) @ tensors["axes"].float(), dim=1)


def likeness(features_KD: Tensor, tensors: Mapping[str, Tensor], count: int) -> Tensor:
    """How alike every thing is to the most similar known cut-out of every word, and in the last column to that of a
    thing without a word: float32 (K, W + 1), cosines."""
    similar_KV = project(features_KD, tensors) @ tensors["views"].float().T
    owner_V, nothing = tensors["words"].long(), torch.full((len(features_KD), 1), -1.0)
    columns = [similar_KV[:, owner_V == word] for word in (*range(count), -1)]
    return torch.stack([torch.cat([nothing, column], dim=1).amax(dim=1) for column in columns], dim=1)


def confidences(likeness_KW1: Tensor, slopes: Sequence[float]) -> Tensor:
    """How likely every word is right, float32 (K, W): logistic in its likeness and its lead over the best other."""
    best = likeness_KW1.topk(2, dim=1).values
    rival = torch.where(likeness_KW1 == best[:, :1], best[:, 1:], best[:, :1])
    alike, lead, offset = slopes
    return torch.sigmoid(alike * likeness_KW1 + lead * (likeness_KW1 - rival) + offset)[:, :-1]


def name_things(backbone: Backbone, original: RgbArray, pixel_masks: Tensor) -> list[Named] | None:
    """What the model would call each thing; None where nobody measured what names of this model are worth.

    Args:
        original: uint8 (H, W, 3).
        pixel_masks: bool (K, H, W), none empty.

    Raises:
        ModelError: what was measured is damaged.
    """
    known = measured(backbone)
    if known is None or "names" not in known.values or not hasattr(backbone, "capture_features"):
        return None
    rule: dict[str, Any] = known.values["names"]
    try:
        words, limit, slopes = list(rule["words"]), float(rule["shown"]), tuple(map(float, rule["slopes"]))
        side = backbone.picture_side
        rows = [appearance(backbone, cut_out(original, mask, side)) for mask in pixel_masks.cpu().numpy()]
        scores_KW = confidences(likeness(torch.stack(rows), known.tensors, len(words)), slopes)
    except (KeyError, ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ModelError(
            f"what was measured of {backbone.model} does not fit it ({error}); remove uce.safetensors from its folder"
        ) from error
    found = []
    for row in scores_KW:
        best = row.argsort(descending=True, stable=True)[:NEAREST].tolist()
        near, sure = tuple(words[i] for i in best), tuple(round(float(row[i]), 2) for i in best)
        found.append(Named(near[0] if near and float(row[best[0]]) >= limit else "", near, sure))
    return found
