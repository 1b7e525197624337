"""Start from the words of the model's own vocabulary that fit best, and list them.

First, many words share one prompt, and each is scored by how much more it is attended from inside a concept's mask than
from elsewhere: one pass of the UNet for dozens of words. The best of each concept are then put into a prompt of their
own and scored by the denoising error inside the mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core import Backbone, Concepts, Context, Picture, TokenPlan


class NearestWordsInitializer:
    """Starts every concept from the words of the model's vocabulary that fit it, and lists them to look at."""

    name = "nearest-words"

    class Settings(BaseSettings):
        """How words are found."""

        by: Literal["denoising", "attention"] = Field(
            "denoising",
            description="what ranks words: the denoising error inside the mask, after attention has narrowed them "
            "down, or attention alone (cheaper)",
        )
        split_tokens: int = Field(1, ge=1, le=64, description="best words per concept to start from; 1: no splitting")
        vectors: int = Field(
            1,
            ge=1,
            le=16,
            description="vectors per concept, which stand in a row in its place: the best words, one after the other",
        )
        candidates: int = Field(
            4096, ge=1, le=1_000_000, description="how many of the vocabulary's words to try, the commonest first"
        )
        shortlist: int = Field(
            24, ge=1, le=65_536, description="words per concept that attention leaves for denoising to rank"
        )
        noise_levels: int = Field(3, ge=1, le=64, description="noise levels at which each of these is denoised")
        template: str = Field("a photo of {}", description="the prompt; {} stands for the word")

        @field_validator("template")
        @classmethod
        def _one_place(cls, value: str) -> str:
            from uce.core.training import require_one_place

            return require_one_place(value)

    @hookimpl
    def uce_initialize_tokens(
        self, concepts: Concepts, backbone: Backbone, image: Picture, settings: Settings, context: Context
    ) -> TokenPlan:
        """Rank complete words of the vocabulary for every concept and take the best.

        Returns:
            starts float32 (K, S, d), or (K, S, n, d) for n vectors, per text encoder, for tokens
            "<asset0>", "<asset1>", ...; the best words are listed as nearest, not shown as names: a best word may
            still be wrong.

        Raises:
            StageInputError: no concepts, or a vocabulary that names no words.
        """
        import torch

        from uce.core import StageInputError, TokenPlan
        from uce.core.model import nameable, vocabulary_words, word_vectors
        from uce.core.training import concept_tokens, masked_errors, ranked_starts, word_attention

        if len(concepts) == 0:
            raise StageInputError("there is no concept to find words for; localise again with other settings")
        words = vocabulary_words(backbone, settings.candidates)
        vectors = word_vectors(backbone, words)
        order_KV = _best(word_attention(backbone, image.pixels, concepts.masks, vectors, context))
        num_vectors = min(settings.vectors, len(words))
        num_splits = min(settings.split_tokens, len(words) // num_vectors)
        if settings.by == "denoising":
            kept = torch.unique(order_KV[:, : max(settings.shortlist, num_splits * num_vectors)])
            few = {encoder: rows[kept] for encoder, rows in vectors.items()}
            errors_KV = masked_errors(
                backbone, image.pixels, concepts.masks, few, settings.noise_levels, settings.template, context
            )
            order_KV = kept[_best(-errors_KV.cpu())]
        nearest = tuple(tuple(nameable(words[i] for i in row)[:3]) for row in order_KV.tolist())
        starts = ranked_starts(vectors, order_KV, num_splits, num_vectors)
        return TokenPlan(tokens=concept_tokens(len(concepts)), starts=starts, nearest=nearest)


def _best(scores_KV: Tensor) -> Tensor:
    """Columns from the highest score to the lowest; equal ones in the vocabulary's order."""
    return scores_KV.argsort(dim=1, descending=True, stable=True)
