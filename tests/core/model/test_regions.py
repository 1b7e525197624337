"""Regions: which prompt each has, what is shown for it, and how predictions are made one."""

from __future__ import annotations

import pytest
import torch

from uce.core.model.regions import Part, Regions, joined, parts_of, region_texts, seen_by


def halves(side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    left = (torch.arange(side) < side // 2).float().expand(side, side)
    return left, 1 - left


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("<cup> next to <cat>", ["<cup>", "<cat>", ""]),
        ("a photo of a <cup> next to a <cat> in the snow",
         ["a photo of a <cup> in the snow", "a photo of a <cat> in the snow", "a photo in the snow"]),
        ("A drawing of the <CAT>, the <cup>", ["A drawing of the <cup>", "A drawing of the <cat>", "A drawing"]),
        ("a photo of a <cup>", ["a photo of a <cup>", "a photo of a <cat>", "a photo"]),
    ],
)  # fmt: skip
def test_a_region_is_told_of_its_own_word_and_of_what_surrounds_all(prompt: str, texts: list[str]) -> None:
    assert region_texts(prompt, ["<cup>", "<cat>"]) == texts


def test_words_are_whole_words_and_the_longer_one_is_meant() -> None:
    regions = Regions({"cat": None, "toy cat": None, "<cat>": None, "cup": torch.ones(2, 2)})
    assert regions.finds("a toy cat beside a Cat") == ["toy cat", "cat"]
    assert regions.finds("a catalogue of <cat> and cups") == ["<cat>"]
    assert list(regions.within("a cup, a cat")) == ["cup", "cat"]
    assert list(regions.within("a cup")) == ["cup"], "one word that has its place"
    assert regions.within("a cat") == {} == regions.within("a dog"), "one alone needs no region found"


def test_weights_add_up_and_what_lies_in_no_region_is_a_part_of_its_own() -> None:
    left, right = halves()
    both = parts_of("a cup and a cat", {"cup": left, "cat": right})
    assert [part.text for part in both] == ["a cup", "a cat"]
    assert torch.allclose(both[0].weight + both[1].weight, torch.ones(8, 8))
    assert both[0].weight[0, 0] == 1 and both[0].weight[0, 7] == 0 and 0 < both[0].weight[0, 3] < 1, "a soft border"
    box = torch.zeros(8, 8)
    box[1:4, 1:4] = 1
    own, around = parts_of("a cup on grass", {"cup": box})
    assert (own.text, around.text) == ("a cup on grass", "on grass") and around.push == (0, 0)
    assert torch.allclose(own.weight + around.weight, torch.ones(8, 8)) and around.weight[7, 7] == 1
    over = parts_of("a cup and a cat", {"cup": torch.ones(8, 8), "cat": torch.ones(8, 8)})
    assert torch.allclose(over[0].weight, torch.full((8, 8), 0.5)), "those that overlap share"
    assert parts_of("a cup", {}) == []


def test_a_part_is_shown_in_the_middle_and_joined_where_it_belongs() -> None:
    left, right = halves()
    parts = parts_of("cup, cat", {"cup": left, "cat": right})
    assert [part.push for part in parts] == [(0, 2), (0, -2)]
    latents = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    shown = seen_by(latents, parts)
    assert torch.equal(shown[0, :, :, 4], latents[0, :, :, 2]) and torch.equal(shown[1, :, :, 4], latents[0, :, :, 6])
    free = torch.zeros(1, 3, 8, 8)
    made = joined(torch.cat([free, shown]), parts)
    assert made.shape == (2, 3, 8, 8) and torch.equal(made[:1], free)
    assert torch.allclose(made[1:], latents, atol=1e-6), "where all agree, nothing changes"


def test_every_cell_follows_its_own_part() -> None:
    left, right = halves()
    parts = [Part("cup", left), Part("cat", right)]
    made = joined(torch.stack([torch.full((1, 8, 8), 1.0), torch.full((1, 8, 8), 2.0)]), parts)
    assert torch.equal(made[0, 0], left + 2 * right)
