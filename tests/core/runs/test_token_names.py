"""Names of tokens: which are allowed, what their files are called, which concept gets which."""

from __future__ import annotations

import pytest
import torch

from uce.core import ConfigError
from uce.core.runs.token_names import choose_concepts, name_tokens, token_file, token_stem, token_tensors


@pytest.mark.parametrize("stem", ["a", "asset0", "my-cup_2", "0", "x" * 41])
def test_names_that_are_allowed(stem: str) -> None:
    assert token_stem(f"<{stem}>") == stem


@pytest.mark.parametrize("token", ["asset0", "<>", "<a b>", "<A>", "<-a>", "<_a>", "<a/b>", "<../a>", f"<{'x' * 42}>",
                                   "<a>\n", "<<a>>", "<é>"])  # fmt: skip
def test_names_that_are_not(token: str) -> None:
    with pytest.raises(ConfigError, match="is not allowed; use small letters"):
        token_stem(token)


def test_chosen_concepts_keep_their_order() -> None:
    assert choose_concepts(3, None) == [0, 1, 2] and choose_concepts(3, [2, 0]) == [2, 0]


@pytest.mark.parametrize(
    ("wanted", "text"),
    [([3], "there is no concept 3; found 3, allowed 0 to 2"), ([-1], "there is no concept -1"),
     ([1, 1], "give each index once"), ([], "give each index once")],
)  # fmt: skip
def test_wrong_choices(wanted: list[int], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        choose_concepts(3, wanted)


def test_the_users_names_first() -> None:
    assert name_tokens([0, 2, 5], ["cup", " <cat> "]) == ("<cup>", "<cat>", "<asset5>")
    assert name_tokens([1, 0], None) == ("<asset1>", "<asset0>")


@pytest.mark.parametrize(
    ("names", "text"),
    [(["a", "b", "c"], "3 names for 2 concepts; give at most 2"), (["a", "a"], "two tokens would have the same name"),
     (["asset1"], "two tokens would have the same name"), (["A b"], "is not allowed")],
)  # fmt: skip
def test_wrong_names(names: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        name_tokens([0, 1], names)


def test_one_encoder_is_the_token_alone_and_two_have_their_names() -> None:
    one, two = torch.ones(1, 4), {"clip_l": torch.ones(2, 4), "clip_g": torch.ones(2, 6)}
    assert token_tensors("<a>", {"clip": one}).keys() == {"<a>"}
    named = token_tensors("<a>", two)
    assert named.keys() == {"<a>.clip_l", "<a>.clip_g"} and named["<a>.clip_g"].shape == (2, 6)
    assert token_file("<a>", two).keys() == {"clip_l", "clip_g"}
    assert token_file("<a>", {"clip": one})["<a>"].shape == (1, 4), "(n, d), also for one vector"
