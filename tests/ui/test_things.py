"""Editing things is a matter of tuples and masks."""

from __future__ import annotations

import numpy as np
import pytest

from uce.core.errors import ConfigError, StageInputError
from uce.ui.things import Thing, delete, draw, merge, new_thing, rename, reshape, split, thing_at, tick


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[top:bottom, left:right] = True
    return mask


CUP, CAT = Thing(0, "cup", box(5, 5, 20, 20)), Thing(1, "cat", box(10, 30, 30, 50))
THINGS = (CUP, CAT)
TAKEN = {"cup", "cat", "dog"}


def test_ticks_say_what_is_learned() -> None:
    assert [thing.wanted for thing in tick(THINGS, ["cat"])] == [False, True]


def test_a_typed_name_is_kept_and_its_word_is_one_that_a_token_may_have() -> None:
    renamed = rename(THINGS, "cup", "  Red  Cup! ", TAKEN, "desk")[0]
    assert (renamed.title, renamed.name) == ("Red Cup!", "red-cup")
    renamed = rename(THINGS, "cup", "Чашка", TAKEN, "desk")[0]
    assert (renamed.title, renamed.name) == ("Чашка", "chashka")


def test_a_name_that_another_pictures_thing_has_gets_a_word_of_its_own() -> None:
    renamed = rename(THINGS, "cup", "dog", TAKEN, "desk")[0]
    assert (renamed.title, renamed.name) == ("dog", "desk-dog")


@pytest.mark.parametrize(("text", "message"), [("<!>", "letters or digits"), ("Cat", "another thing is called Cat")])
def test_names_that_cannot_be_are_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rename(THINGS, "cup", text, TAKEN, "desk")


def test_a_thing_keeps_its_own_name() -> None:
    assert rename(THINGS, "cup", "cup", TAKEN, "desk")[0].name == "cup"


def test_merging_keeps_the_first_name_and_both_masks() -> None:
    (one,) = merge(THINGS, "cup", "cat")
    assert one.name == "cup" and one.mask.sum() == CUP.mask.sum() + CAT.mask.sum()
    assert one.index not in (0, 1), "a changed mask must not pass for an untouched one"
    with pytest.raises(ConfigError, match="merged with"):
        merge(THINGS, "cup", None)


def test_splitting_takes_pieces_apart_first() -> None:
    (two_pieces,) = merge(THINGS, "cup", "cat")
    one, two = split((two_pieces,), "cup", {"cup"}, "desk")
    assert {one.mask.sum(), two.mask.sum()} == {CUP.mask.sum(), CAT.mask.sum()}
    assert (one.name, two.name) == ("cup", "thing1")


def test_splitting_one_piece_halves_it_across_the_longer_way() -> None:
    one, two = split((Thing(0, "bar", box(10, 2, 20, 58)),), "bar", {"bar"}, "desk")
    assert not (one.mask & two.mask).any() and (one.mask | two.mask).sum() == 560
    assert abs(int(one.mask.sum()) - int(two.mask.sum())) < 100
    with pytest.raises(StageInputError, match="too small"):
        split((Thing(0, "dot", box(0, 0, 1, 2)),), "dot", set(), "desk")


def test_deleting_needs_a_thing() -> None:
    assert delete(THINGS, "cup") == (CAT,)
    with pytest.raises(ConfigError, match="choose a thing first"):
        delete(THINGS, None)


def test_a_new_shape_takes_pixels_from_the_others() -> None:
    cup, cat = draw(THINGS, "cup", box(5, 5, 20, 40), TAKEN, "desk")
    assert cup.mask.sum() == 15 * 35 and not (cup.mask & cat.mask).any()
    assert cat.index not in (0, 1) and cup.index != cat.index
    *_, new = draw(THINGS, None, box(33, 0, 40, 10), TAKEN, "desk")
    assert new.name == "thing1"
    (left,) = draw(THINGS, "cup", np.ones((40, 60), bool), TAKEN, "desk")
    assert left.name == "cup", "a thing of which nothing is left is gone"


def test_nothing_painted_is_said() -> None:
    with pytest.raises(StageInputError, match="nothing is painted"):
        draw(THINGS, None, np.zeros((40, 60), bool), TAKEN, "desk")


def test_a_click_finds_the_thing_under_it() -> None:
    assert thing_at(THINGS, 35, 12) is CAT
    assert thing_at(THINGS, 0, 0) is None and thing_at(THINGS, 999, 999) is None


def test_things_are_numbered_from_1_in_every_picture() -> None:
    first = new_thing(7, CUP.mask, THINGS, {"thing1", "cup", "cat"}, "desk")
    assert (first.title, first.name) == ("thing1", "desk-thing1"), "the word is another picture's already"
    second = new_thing(8, CUP.mask, (*THINGS, first), {"thing1", "desk-thing1"}, "desk")
    assert (second.title, second.name) == ("thing2", "thing2")


def test_a_new_shape_leaves_the_others_alone() -> None:
    cup, cat = reshape(THINGS, "cup", box(0, 0, 5, 5))
    assert cup.mask.sum() == 25 and cup.index not in (0, 1) and cat is CAT
