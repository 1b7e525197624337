"""What was measured of one very model and lies beside its weights in `uce.safetensors`: which pictures are like those
that it knows, and which names it can give to what it sees. Models without that file promise neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uce.core.errors import ModelError
from uce.core.files.tensors import load_tensors
from uce.core.flow.picture import Picture
from uce.core.model.backbone import Backbone
from uce.core.model.latents import encode_picture

MEASURED = "uce.safetensors"


@dataclass(frozen=True, eq=False)
class Measured:
    """The file, read.

    Attributes:
        tensors, values: as `save_tensors` wrote them.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def measured(backbone: Backbone) -> Measured | None:
    """What lies beside the model's weights; None where nothing does.

    Raises:
        ModelError: the file is damaged.
    """
    folder = getattr(backbone, "folder", None)
    path = None if folder is None else Path(folder) / MEASURED
    if path is None or not path.is_file():
        return None
    found = load_tensors(path)
    if found is None:
        raise ModelError(f"{path} is damaged; copy the model's folder again, or remove this file to do without names")
    return Measured(*found)


def same_noise(backbone: Backbone) -> Tensor:
    """Noise (1, C, h, w), the same for every picture and every run: part of the measure, as a ruler's marks are."""
    side = backbone.latent_side
    return torch.randn(1, backbone.latent_channels, side, side, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def strangeness(backbone: Backbone, image: Picture, timestep: int) -> float:
    """Mean squared denoising error under the empty prompt: high where a model never saw such pictures."""
    latents = encode_picture(backbone, image.pixels)
    noise, time = same_noise(backbone).to(latents.device), torch.tensor([timestep], device=latents.device)
    conditioning = backbone.encode_prompts([backbone.tokenize("")])
    predicted = backbone.predict(backbone.add_noise(latents, noise, time), time, conditioning)
    return float((predicted.float() - backbone.target(latents, noise, time).float()).square().mean())


def warning_about(backbone: Backbone, image: Picture) -> str:
    """A sentence where the picture is unlike all that the model knows; "" for any other, or where nobody measured."""
    known = measured(backbone)
    if known is None or "pictures" not in known.values:
        return ""
    rule = known.values["pictures"]
    strange = strangeness(backbone, image, int(rule["timestep"])) > float(rule["limit"])
    return str(rule["warning"]) if strange else ""
