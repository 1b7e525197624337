"""Start from words that the user chose: the usual textual inversion, with a word for every concept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone, Concepts, Context, TokenPlan


class WordsInitializer:
    """Starts every concept from a word of yours, which is its label too: when you can say what the things are."""

    name = "words"

    class Settings(BaseSettings):
        """Which words."""

        words: list[str] = Field(
            [], description="a word per concept, in order, such as `cup,toy cat`; a single word serves all concepts"
        )
        vectors: int = Field(
            1,
            ge=1,
            le=16,
            description="vectors per concept, which stand in a row in its place: all start from the word",
        )

        @field_validator("words", mode="before")
        @classmethod
        def _split(cls, value: Any) -> Any:
            """`cup,toy cat` is short for `[cup, toy cat]`."""
            return value.split(",") if isinstance(value, str) else value

        @field_validator("words")
        @classmethod
        def _some(cls, value: list[str]) -> list[str]:
            words = [" ".join(word.split()) for word in value]
            if not words or not all(words):
                raise ValueError("must name a word per concept, such as initializer.words=cup,toy cat")
            return words

    @hookimpl
    def uce_initialize_tokens(
        self, concepts: Concepts, backbone: Backbone, settings: Settings, context: Context
    ) -> TokenPlan:
        """Take the words' own embeddings; a word of several pieces starts from the mean of their vectors.

        Returns:
            starts float32 (K, 1, d), or (K, 1, n, d) for n vectors, per text encoder, for tokens
            "<asset0>", "<asset1>", ...; labels are the words.

        Raises:
            StageInputError: too few or too many words, or one that the model cannot read.

        Source: Gal et al., ICLR 2023 (textual inversion), where a token starts from a coarse word for its thing.
        """
        from uce.core import TokenPlan
        from uce.core.model import require_readable, word_vectors
        from uce.core.training import concept_tokens

        words = words_for(len(concepts), settings.words)
        require_readable(backbone, words)
        starts = {encoder: rows[:, None] for encoder, rows in word_vectors(backbone, words).items()}
        if settings.vectors > 1:
            starts = {e: rows[:, :, None].repeat(1, 1, settings.vectors, 1) for e, rows in starts.items()}
        return TokenPlan(tokens=concept_tokens(len(concepts)), starts=starts, labels=tuple(words))


def words_for(num_concepts: int, words: list[str]) -> list[str]:
    """One word per concept.

    Raises:
        StageInputError: another number of them.
    """
    from uce.core import StageInputError

    if len(words) == 1:
        return words * num_concepts
    if len(words) != num_concepts:
        raise StageInputError(
            f"initializer.words names {len(words)} words ({', '.join(words)}) for {num_concepts} concepts; give "
            f"{num_concepts}, one that serves all, or choose the concepts with --concepts"
        )
    return words
