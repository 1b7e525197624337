"""A picture is encoded once, whoever asks."""

from __future__ import annotations

import torch

from uce.core.model.latents import KEPT, encode_picture, encode_with_mirror
from uce.testing import tiny_backbone


def test_the_same_picture_is_encoded_once() -> None:
    backbone = tiny_backbone()
    calls: list[int] = []
    encode = backbone.encode_image
    backbone.encode_image = lambda pixels: (calls.append(len(pixels)), encode(pixels))[1]  # type: ignore[method-assign]
    pictures = [torch.full((3, 32, 32), value / 10) for value in range(KEPT + 1)]
    first = encode_picture(backbone, pictures[0])
    assert encode_picture(backbone, pictures[0].clone()) is first and calls == [1]
    for picture in pictures[1:]:
        encode_picture(backbone, picture)
    assert torch.equal(encode_picture(backbone, pictures[0]), first) and len(calls) == KEPT + 2, "the oldest went"


def test_a_picture_and_its_mirror_image() -> None:
    backbone = tiny_backbone()
    pixels = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    both = encode_with_mirror(backbone, pixels)
    assert torch.equal(both[0], encode_picture(backbone, pixels)[0])
    assert torch.equal(both[1], encode_picture(backbone, pixels.flip(-1))[0])
