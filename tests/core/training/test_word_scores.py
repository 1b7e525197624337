"""Words and how well they fit each concept: the same for every order, micro-batch and encoder, and without gradient."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from uce.core import Context, StageInputError
from uce.core.training.word_scores import MOST_PER_PROMPT, _words_per_prompt, masked_errors, word_attention
from uce.testing import tiny_backbone, tiny_concepts, tiny_picture

MASKS = tiny_concepts().masks
PIXELS = tiny_picture().pixels


def vectors(backbone: Any, count: int) -> dict[str, Tensor]:
    return {encoder: backbone.embedding_table(encoder)[3 : 3 + count].clone() for encoder in backbone.encoders}


def errors(backbone: Any = None, count: int = 5, micro_batch: int = 2, seed: int = 0, levels: int = 3) -> Tensor:
    backbone = backbone or tiny_backbone()
    context = Context(seed=seed, micro_batch=micro_batch)
    return masked_errors(backbone, PIXELS, MASKS, vectors(backbone, count), levels, "a photo of {}", context)


def attention(backbone: Any = None, count: int = 5, micro_batch: int = 2, seed: int = 0) -> Tensor:
    backbone = backbone or tiny_backbone()
    context = Context(seed=seed, micro_batch=micro_batch)
    return word_attention(backbone, PIXELS, MASKS, vectors(backbone, count), context)


@pytest.mark.parametrize("encoders", [("clip",), ("clip_l", "clip_g")])
def test_a_number_for_every_concept_and_word(encoders: tuple[str, ...]) -> None:
    for found in (errors(tiny_backbone(encoders)), attention(tiny_backbone(encoders))):
        assert found.shape == (3, 5) and found.dtype == torch.float32 and torch.isfinite(found).all()
        assert not found.requires_grad and not (found == 0).any()
    assert (errors(tiny_backbone(encoders)) > 0).all()


def test_scores_do_not_depend_on_the_micro_batch() -> None:
    assert torch.allclose(errors(micro_batch=1), errors(micro_batch=4), atol=1e-5)
    assert torch.allclose(attention(count=50, micro_batch=1), attention(count=50, micro_batch=3), atol=1e-5)


def test_scores_are_the_same_again_and_others_with_another_seed() -> None:
    assert torch.equal(errors(), errors()) and not torch.equal(errors(), errors(seed=1))
    assert torch.equal(attention(), attention()) and not torch.equal(attention(), attention(seed=1))


def test_every_word_sees_the_same_noise() -> None:
    assert torch.allclose(errors(count=2), errors(count=5)[:, :2], atol=1e-5), "so that errors can be compared"


def test_an_error_is_the_mean_inside_the_mask() -> None:
    backbone, context = tiny_backbone(), Context(micro_batch=8)
    whole = torch.ones(1, 8, 8, dtype=torch.bool)
    halves = torch.stack([whole[0].clone(), whole[0].clone()])
    halves[0, :, 4:], halves[1, :, :4] = False, False
    found = [
        masked_errors(backbone, PIXELS, masks, vectors(backbone, 2), 2, "{}", context) for masks in (whole, halves)
    ]
    assert torch.allclose(found[0][0], found[1].mean(dim=0), atol=1e-5)


def test_the_whole_picture_is_attended_as_the_picture_is() -> None:
    backbone = tiny_backbone()
    masks = torch.ones(2, 8, 8, dtype=torch.bool)
    masks[1] = False
    masks[1, :4] = True
    found = word_attention(backbone, PIXELS, masks, vectors(backbone, 4), Context(micro_batch=8))
    assert torch.allclose(found[0], torch.zeros(4), atol=1e-6) and not torch.allclose(found[1], torch.zeros(4))


class Reads:
    """Reads so many words at once."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, 0

    def tokenize(self, text: str, slots: Any = None) -> Any:
        self.asked += 1
        if len(text.split()) > self.most:
            raise StageInputError("too long")
        return SimpleNamespace(text=text)


@pytest.mark.parametrize(
    ("most", "count"), [(1000, MOST_PER_PROMPT), (64, 64), (63, 60), (22, 20), (4, 4), (3, 1), (0, 1)]
)
def test_as_many_words_as_the_text_encoder_reads(most: int, count: int) -> None:
    backbone: Any = Reads(most)
    assert _words_per_prompt(backbone) == count and backbone.asked <= 16
