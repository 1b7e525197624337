"""Editing things is a matter of tuples and masks."""

from __future__ import annotations

import numpy as np
import pytest

from uce.core.errors import ConfigError, StageInputError
from uce.ui.things import Thing, clean_name, delete, draw, free_name, merge, rename, split, thing_at, tick


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[top:bottom, left:right] = True
    return mask


CUP, CAT = Thing(0, "cup", box(5, 5, 20, 20)), Thing(1, "cat", box(10, 30, 30, 50))
THINGS = (CUP, CAT)
TAKEN = {"cup", "cat", "dog"}


def test_ticks_say_what_is_learned() -> None:
    assert [thing.wanted for thing in tick(THINGS, ["cat"])] == [False, True]


def test_a_typed_name_becomes_one_that_a_token_may_have() -> None:
    assert clean_name("  My Cup! ") == "my-cup"
    assert [thing.name for thing in rename(THINGS, "cup", "Red Cup", TAKEN)] == ["red-cup", "cat"]


@pytest.mark.parametrize(("text", "message"), [("<!>", "letters or digits"), ("dog", "another thing is called dog")])
def test_names_that_cannot_be_are_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rename(THINGS, "cup", text, TAKEN)


def test_a_thing_keeps_its_own_name() -> None:
    assert rename(THINGS, "cup", "cup", TAKEN)[0].name == "cup"


def test_merging_keeps_the_first_name_and_both_masks() -> None:
    (one,) = merge(THINGS, "cup", "cat")
    assert one.name == "cup" and one.mask.sum() == CUP.mask.sum() + CAT.mask.sum()
    assert one.index not in (0, 1), "a changed mask must not pass for an untouched one"
    with pytest.raises(ConfigError, match="merged with"):
        merge(THINGS, "cup", None)


def test_splitting_takes_pieces_apart_first() -> None:
    (two_pieces,) = merge(THINGS, "cup", "cat")
    one, two = split((two_pieces,), "cup", {"cup"})
    assert {one.mask.sum(), two.mask.sum()} == {CUP.mask.sum(), CAT.mask.sum()}
    assert (one.name, two.name) == ("cup", "thing1")


def test_splitting_one_piece_halves_it_across_the_longer_way() -> None:
    one, two = split((Thing(0, "bar", box(10, 2, 20, 58)),), "bar", {"bar"})
    assert not (one.mask & two.mask).any() and (one.mask | two.mask).sum() == 560
    assert abs(int(one.mask.sum()) - int(two.mask.sum())) < 100
    with pytest.raises(StageInputError, match="too small"):
        split((Thing(0, "dot", box(0, 0, 1, 2)),), "dot", set())


def test_deleting_needs_a_thing() -> None:
    assert delete(THINGS, "cup") == (CAT,)
    with pytest.raises(ConfigError, match="choose a thing first"):
        delete(THINGS, None)


def test_a_new_shape_takes_pixels_from_the_others() -> None:
    cup, cat = draw(THINGS, "cup", box(5, 5, 20, 40), TAKEN)
    assert cup.mask.sum() == 15 * 35 and not (cup.mask & cat.mask).any()
    assert cat.index not in (0, 1) and cup.index != cat.index
    *_, new = draw(THINGS, None, box(33, 0, 40, 10), TAKEN)
    assert new.name == "thing1"
    (left,) = draw(THINGS, "cup", np.ones((40, 60), bool), TAKEN)
    assert left.name == "cup", "a thing of which nothing is left is gone"


def test_nothing_painted_is_said() -> None:
    with pytest.raises(StageInputError, match="nothing is painted"):
        draw(THINGS, None, np.zeros((40, 60), bool), TAKEN)


def test_a_click_finds_the_thing_under_it() -> None:
    assert thing_at(THINGS, 35, 12) is CAT
    assert thing_at(THINGS, 0, 0) is None and thing_at(THINGS, 999, 999) is None


def test_free_names_count() -> None:
    assert free_name({"thing1", "thing3"}) == "thing2"
