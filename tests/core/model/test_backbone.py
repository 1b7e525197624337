"""What a model's face says of itself: where vectors stand in a prompt, and which maps are asked for."""

from __future__ import annotations

import pytest
import torch

from uce.core.model.backbone import Capture, Conditioning, Prompt, layer_fits, resolve_dtype
from uce.testing import tiny_backbone

SLOTS = torch.tensor([-1, 0, 1, 0, -1])


def prompt(begins: dict[str, int | None]) -> Prompt:
    """Two encoders; the second one lacks vector 1."""
    slots = {"one": SLOTS, "two": torch.tensor([-1, -1, 0, -1, -1])}
    return Prompt("a", {name: torch.zeros(5).long() for name in slots}, slots, {"one": 4, "two": 3}, begins)


def test_a_vector_stands_wherever_its_word_does() -> None:
    assert prompt({}).positions(0) == [1, 3] and prompt({}).positions(1) == [2] and prompt({}).positions(2) == []


def test_places_count_from_where_the_encoder_begins() -> None:
    assert prompt({"one": 10}).positions(0) == [11, 13] and prompt({"one": 10}).ending == 14


def test_an_encoder_that_is_read_as_a_summary_has_no_places() -> None:
    only_second = prompt({"one": None, "two": 5})
    assert only_second.positions(0) == [7] and only_second.ending == 8 and only_second.positions(1) == []
    assert prompt({"one": None, "two": None}).positions(0) == []


def test_the_tiny_models_prompts_agree() -> None:
    found = tiny_backbone(("clip_l", "clip_g")).tokenize("a <cup> and <cup>", {"<cup>": 3})
    assert found.positions(3) == [2, 4] and found.ending == 5
    assert [int(found.ids["clip_l"][i]) for i in (0, found.ending)] == [0, 1], "begin and end"


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("up_blocks.1.attentions.0.attn1", True),
        ("up.1*", True),
        ("*.attn1", True),
        ("*", True),
        ("up.[12].*", True),
        ("up.?.attentions.0.attn1", True),
        ("up.1", False),
        ("up_blocks.1", False),
        ("UP.1*", False),
        ("down*", False),
    ],
)
def test_patterns_of_layers(pattern: str, fits: bool) -> None:
    assert layer_fits("up_blocks.1.attentions.0.attn1", pattern) is fits
    assert layer_fits("mid_block.attentions.0", "mid.*") and layer_fits("mid_block.attentions.0", "mid_block*")


@pytest.mark.parametrize(
    ("capture", "grid", "wants"),
    [
        (Capture("self"), (8, 6), True),
        (Capture("cross"), (8, 6), False),
        (Capture("self", frozenset({8})), (8, 6), True),
        (Capture("self", frozenset({8})), (6, 8), True),
        (Capture("self", frozenset({6})), (8, 6), False),
        (Capture("self", frozenset({6})), None, True),
        (Capture("self", frozenset()), (8, 6), False),
        (Capture("self", layers=("mid*", "up.0*")), (8, 6), True),
        (Capture("self", layers=("mid*",)), None, False),
        (Capture("self", layers=()), None, False),
    ],
)
def test_what_a_capture_asks_for(capture: Capture, grid: tuple[int, int] | None, wants: bool) -> None:
    """The longer side counts; without a grid a layer is watched where it may be asked for."""
    assert capture.wants("self", "up_blocks.0", grid) is wants


def test_nothing_is_shared_between_conditionings() -> None:
    assert Conditioning(torch.zeros(1, 2, 3)).added == {}
    assert Conditioning(torch.zeros(1)).added is not Conditioning(torch.zeros(1)).added
    one = Conditioning(torch.zeros(1))
    assert one == one and one != Conditioning(torch.zeros(1)), "compared by identity: tensors have no truth"


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_precisions_are_torchs(name: str) -> None:
    assert str(resolve_dtype(name)) == f"torch.{name}"
