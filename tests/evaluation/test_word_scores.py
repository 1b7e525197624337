"""What is said of words over several runs, by hand; the lower bound; which encoders read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from uce.evaluation.pictures import RunPictures
from uce.evaluation.prompts import Prompt
from uce.evaluation.scores import RunFeatures, another_runs_tokens, pooled, score_runs
from uce.evaluation.word_scores import (
    ONCE,
    WordFeatures,
    encode_words,
    matrices,
    pooled_words,
    reads_texts,
    score_words,
)  # fmt: skip

EYE = np.eye(4)


def words(rows: list[int], **given: Any) -> WordFeatures:
    """A run with concepts in these directions; each thing stands on its own background and on another."""
    scenes = [np.stack([EYE[row], EYE[3 - row]]) for row in rows]
    return WordFeatures(EYE[rows], scenes, **given)


def drawn(*rows: list[int]) -> np.ndarray:
    return np.stack([EYE[row] for row in rows])


def test_scores_of_one_run_by_hand() -> None:
    """The second concept is drawn as the first in one of two pictures; of two pairs one shows both."""
    pairs = [((0, 1), EYE[[0, 1]]), ((0, 1), EYE[[0, 0]])]
    together = [((0, 1), EYE[[1]])]
    one = score_words(words([0, 1], pairs=pairs, recomposed=together), drawn([0, 0], [1, 0]))
    assert one.bleed is not None and one.bleed.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert one.both == [True, False] and one.recomposed == [False, True]
    assert one.leak == [1.0, 0.75]  # the third picture is as unlike the one as the other: a draw
    found = pooled_words([one])
    assert found == {
        "prompt_following": None, "prompt_groups": {}, "bled": 0.25, "both_recognised": 0.5, "recomposed": 0.5,
        "background_leak": 0.875, "background_right": None,
    }  # fmt: skip
    assert set(ONCE) < set(found)


def test_prompts_by_group() -> None:
    """One concept, three prompts in two groups, cosines 1, 0 and 1."""
    prompted = np.stack([EYE[[0]], EYE[[1]], EYE[[2]]])[None]
    features = words([0], groups=("background", "background", "colour"), prompted=prompted, texts=EYE[[0, 2, 2]])
    found = pooled_words([score_words(features, drawn([0]))])
    assert found["prompt_following"] == pytest.approx(2 / 3)
    assert found["prompt_groups"] == pytest.approx({"background": 0.5, "colour": 1.0})
    assert found["bled"] is None and found["both_recognised"] is None  # one concept has nothing to bleed into


def test_means_are_over_concepts_and_pairs_not_runs() -> None:
    first = score_words(words([0], background_right=1.0), drawn([0]))
    pairs = [((0, 1), EYE[[0, 1]])] * 3 + [((0, 1), EYE[[2]])]
    second = score_words(words([0, 1], pairs=pairs, background_right=0.5), drawn([1], [1]))
    found = pooled_words([first, second])
    assert found["bled"] == 0.5 and found["both_recognised"] == 0.75 and found["background_right"] == 0.75
    assert matrices(["a", "b"], [first, second]) == {"a": None, "b": [[0.0, 1.0], [0.0, 1.0]]}


def test_things_without_a_background_do_not_count() -> None:
    features = WordFeatures(EYE[[0, 1]], [np.zeros((0, 4)), EYE[[2, 1]]])
    assert score_words(features, drawn([0], [1])).leak == [0.0]


def test_the_lower_bound_shows_another_runs_words() -> None:
    own = words([0, 1], pairs=[((0, 1), EYE[[0, 1]])], recomposed=[((0, 1), EYE[[0, 1]])])
    donor = words([2], background_right=0.25)
    runs = [RunFeatures(EYE[0], EYE[[0, 1]], drawn([0], [1]), EYE[[0]], own),
            RunFeatures(EYE[2], EYE[[2]], drawn([2]), EYE[[2]], donor)]  # fmt: skip
    assert pooled(score_runs(runs))["bled"] == 0
    shown = another_runs_tokens(runs)
    assert shown[0].words is not None and list(shown[0].words.pairs) == []  # the donor has none
    assert shown[0].words.background_right == 0.25
    score = score_runs(shown)[0].words
    assert score is not None and score.bleed is not None and score.bleed.tolist() == [[0.5, 0.5], [0.5, 0.5]]


class Colours:
    """The mean colour of a picture."""

    description = "mean colours"

    def encode(self, pictures: Any) -> np.ndarray:
        return np.stack([picture.reshape(-1, 3).mean(axis=0) for picture in pictures]).astype(np.float32)


class Readers(Colours):
    def encode_texts(self, texts: Any) -> np.ndarray:
        self.texts = list(texts)
        return np.array([[255, 0, 0] if "red" in text else [0, 255, 0] for text in texts], np.float32)


def picture(red: int, green: int) -> np.ndarray:
    return np.full((4, 4, 3), (red, green, 0), np.uint8)


def test_texts_are_read_without_the_tokens_word() -> None:
    """Two prompts, one obeyed; who reads no texts says nothing of prompts."""
    prompts = (Prompt("colour", "a red {} there"), Prompt("colour", "a green {}"))
    shown = RunPictures(
        picture(1, 1), [picture(9, 0)], [[picture(9, 0)]], [picture(9, 0)], cropped=[picture(9, 0)],
        scenes=[[picture(9, 0), picture(0, 9)]], prompts=prompts, prompted=[[[picture(9, 0)], [picture(9, 0)]]],
    )  # fmt: skip
    reader = Readers()
    seen = encode_words(reader, shown)
    assert reader.texts == ["a red there", "a green"]
    assert seen.prompted is not None and seen.prompted.shape == (1, 2, 1, 3)
    scores = score_words(seen, reader.encode([picture(9, 0)])[None])
    assert scores.prompt_following is not None and scores.prompt_following.tolist() == [[1.0, 0.0]]
    assert encode_words(Colours(), shown).prompted is None
    assert reads_texts(reader) and not reads_texts(Colours())
