"""The picture's latents, encoded once whichever stages ask for them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from uce.core.model.backbone import Backbone

KEPT = 4
"""Pictures whose latents are kept per backbone: one and its mirror image, at two sides."""

_known: WeakKeyDictionary[Backbone, OrderedDict[str, Tensor]] = WeakKeyDictionary()


@torch.no_grad()
def encode_picture(backbone: Backbone, pixels: Tensor) -> Tensor:
    """Latents of one picture; the same picture is not encoded again.

    One picture per call, never two together: the sums of a batch of two are other sums, and a run that learns must
    get the same bytes whether it localised before or found the masks in a cache.

    Args:
        pixels: float32 (3, side, side) in [-1, 1].

    Returns:
        float32 (1, C, h, w), as `backbone.encode_image` gives it; not to be changed in place.
    """
    facts = f"{tuple(pixels.shape)}/{backbone.device}/".encode()
    key = hashlib.sha256(facts + pixels.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
    kept = _known.setdefault(backbone, OrderedDict())
    if key not in kept:
        kept[key] = backbone.encode_image(pixels[None].to(backbone.device)).float()
        while len(kept) > KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


def encode_with_mirror(backbone: Backbone, pixels: Tensor) -> Tensor:
    """Latents of a picture and of its mirror image, float32 (2, C, h, w)."""
    return torch.cat([encode_picture(backbone, pixels), encode_picture(backbone, pixels.flip(-1))])
