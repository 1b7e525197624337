"""People call things what they like; prompts and files have words of ours for them."""

from __future__ import annotations

import pytest

from uce.core.errors import ConfigError
from uce.ui.names import Word, ascii_stem, clean_title, free_stem, free_word, understand

pytest.importorskip("anyascii", reason="anyascii is missing: pip install 'uce-concepts[ui]'")
WORDS = (Word("thing1", "thing1", "desk"), Word("cup", "cup", "desk"), Word("chashka", "Чашка", "desk"),
         Word("beach-thing1", "thing1", "beach"), Word("red-ball", "Red Ball", "beach"))  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "title", "word"),
    [
        ("  My  Cup! ", "My Cup!", "my-cup"),
        ("Чашка", "Чашка", "chashka"),
        ("茶杯", "茶杯", "chabei"),
        ("Café <3>", "Café 3", "cafe-3"),
        ("e\u0301te\u0301\n", "été", "ete"),
    ],
)
def test_names_are_kept_in_any_script(typed: str, title: str, word: str) -> None:
    assert clean_title(typed) == title and ascii_stem(title) == word


def test_a_name_without_letters_is_refused() -> None:
    with pytest.raises(ConfigError, match="letters or digits"):
        clean_title("<!>")


def test_words_and_stems_are_numbered_only_where_they_must_be() -> None:
    assert free_word("cup", {"thing1"}, "desk") == "cup"
    assert free_word("cup", {"cup"}, "desk") == "desk-cup"
    assert free_word("cup", {"cup", "desk-cup"}, "desk") == "desk-cup-2"
    assert len(free_word("x" * 41, {"x" * 41}, "desk")) <= 41
    assert [free_stem("Стол", taken) for taken in ((), {"stol"}, {"stol", "stol-2"})] == ["stol", "stol-2", "stol-3"]


@pytest.mark.parametrize(
    ("prompt", "understood", "note"),
    [
        ("a <cup> and <thing1>", "a <cup> and <thing1>", None),
        ("a <Чашка>", "a <chashka>", None),
        ("a <Red  Ball>", "a <red-ball>", None),
        ("a photo of thing1", "a photo of <thing1>", "“thing1” was read as your word <thing1>"),
        ("a чашка in snow", "a <chashka> in snow", "“чашка” was read as your word <chashka>"),
        ("a red ball", "a <red-ball>", "“red ball” was read as your word <red-ball>"),
        ("a cup", "a <cup>", "“cup” was read as your word <cup>"),
        ("<thing1> on a cup", "<thing1> on a cup", "“cup” was read as a plain word; write <cup> to draw yours"),
        ("a cupboard and something12", "a cupboard and something12", None),
    ],
)
def test_what_a_prompt_means(prompt: str, understood: str, note: str | None) -> None:
    assert understand(prompt, WORDS, "desk") == (understood, [] if note is None else [note])


def test_a_bare_title_is_of_the_picture_at_hand_and_a_word_in_brackets_is_itself() -> None:
    assert understand("thing1", WORDS, "beach")[0] == "<beach-thing1>"
    assert understand("<thing1>", WORDS, "beach")[0] == "<thing1>"


def test_words_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"<dog> has not been learned; the words are <thing1>, <cup>"):
        understand("a <dog>", WORDS)
    with pytest.raises(ConfigError, match=r"several things are called 'thing1'; write <thing1> \(desk\) or <beach-"):
        understand("a thing1", WORDS, "garden")
    with pytest.raises(ConfigError, match="no words yet"):
        understand("a <cup>", ())
