"""From a picture's latent to masks, whole: given the reference's latent, the preset `paper` gives its masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import uce
from uce.core import Backbone
from uce.core.config.options import Options
from uce.core.work.models import backbone_for

pytestmark = pytest.mark.oracle
ROWS = (0, 1000, 2080, 4095)


def backbone_of(options: dict[str, Any]) -> Backbone:
    """The model that a call with these options worked with; it is still loaded."""
    chosen = Options.of(options)
    manager = chosen.manager()
    return backbone_for(manager, chosen.resolve(manager))


@pytest.mark.parametrize("name", ["chicken", "sheep"])
def test_the_same_latent_gives_the_references_masks(oracles: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from uce.core import Context
    from uce.core.flow.picture import load_rgb, read_picture
    from uce.plugins.backbones._sd.backbone import StableDiffusionBackbone
    from uce.plugins.extractors.self_attention import SelfAttentionExtractor

    photo, file = oracles.parent / "photos" / name / "img.jpg", oracles / "latents" / f"photo_{name}.npz"
    if not (photo.is_file() and file.is_file()):
        pytest.skip("the photographs or their latents are missing")
    with np.load(file) as stored:
        expected = {key: stored[key] for key in stored.files}
    latent = torch.from_numpy(expected["latents"][1:2])
    monkeypatch.setattr(StableDiffusionBackbone, "encode_image", lambda self, pixels: latent)
    common = {"model": oracles / "tiny-sd", "preset": "paper", "device": "cpu"}
    concepts = uce.localize(photo, **common)
    found, wanted = concepts.masks.numpy(), expected["final_masks"] > 0.5
    assert len(found) == len(wanted)
    best = [max((mask & own).sum() / (mask | own).sum() for own in found) for mask in wanted]
    assert best == [1.0] * len(wanted)

    backbone, extractor = backbone_of(common), SelfAttentionExtractor()
    picture = read_picture(load_rgb(photo), backbone.picture_side, "stretch")
    maps = extractor.uce_extract_attention(backbone, picture, extractor.Settings(), Context(stage="extractor"))
    rows = torch.from_numpy(expected["A_rows"])
    rows = rows / rows.sum(dim=1, keepdim=True)
    assert float((maps.affinity[list(ROWS)] - rows).abs().max() / rows.max()) < 2e-4
