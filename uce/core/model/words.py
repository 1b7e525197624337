"""Which words of the model's vocabulary are nearest to a learned token: an answer to "which token is which thing?".

Legend: K concepts; V words; d width of a text encoder.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.flow.data import Concepts, LearnedConcepts, TokenPlan
from uce.core.model.backbone import Backbone

_NEVER = """
about above after all also and any are before behind below beside between both but can each for from has have her here
his how into its more most near next not off one only other our out over own same she showing shows some such than
that the their them then there these they this those three two four five six seven eight nine ten zero under very was
were what when where which while who will with without you your black white grey gray red orange yellow green blue
teal purple pink brown violet golden silver dark bright light colour color colours colors colored photo photos
photograph photographs photography pic picture pictures image images painting paintings drawing drawings render
rendering rendition renders illustration style background foreground view close cropped clean dirty good nice cool
weird bad big small large little new old object objects thing things front top toy
"""
NEVER = frozenset(_NEVER.split())
"""Function words, colours and words about pictures: they are near to many tokens, and the name of none."""
SHORTEST = 3
"""Letters of a word that can be a label."""
NEAREST = 3
"""Words kept of each token."""


def nameable(words: Iterable[str]) -> list[str]:
    """Those words that can be names, in their order; function words, colours and words about pictures cannot."""
    return [word for word in words if word.lower() not in NEVER]


def label_words(backbone: Backbone) -> dict[str, int]:
    """Complete words of at least three letters and their ids for the first text encoder, in the vocabulary's order.

    None where the model does not know its words; nothing but labels depends on them.
    """
    words = backbone.words(backbone.encoders[0]) if hasattr(backbone, "words") else {}
    return {word: row for word, row in words.items() if len(word) >= SHORTEST}


@torch.no_grad()
def nearest_words(backbone: Backbone, learned: LearnedConcepts) -> list[list[str]]:
    """Of each token the words whose embeddings have the highest cosine with its (first) vector, best first.

    Words that are never names are left out. Empty where the vocabulary names no words.
    """
    known = label_words(backbone)
    words = {word: known[word] for word in nameable(known)}
    if not words:
        return [[] for _ in learned.tokens]
    encoder = backbone.encoders[0]
    rows = backbone.embedding_table(encoder)
    table_Vd = F.normalize(rows[torch.tensor(list(words.values()), device=rows.device)].float().cpu(), dim=1)
    tokens_Kd = F.normalize(learned.embeddings[encoder][:, 0], dim=1)
    order_KV = (tokens_Kd @ table_Vd.T).argsort(dim=1, descending=True, stable=True)
    names = list(words)
    return [[names[i] for i in row] for row in order_KV[:, :NEAREST].tolist()]


def labels_for(concepts: Concepts, plan: TokenPlan | None, named: Sequence[str] | None) -> list[str]:
    """A label per concept ("" for none): the initializer's, else a refiner's, else the model's own."""
    given: list[Sequence[str] | None] = [None if plan is None else plan.labels, concepts.labels, named]
    columns = [labels or [""] * len(concepts) for labels in given]
    return [next((label for label in row if label), "") for row in zip(*columns, strict=True)]


def vocabulary_words(backbone: Backbone, most: int) -> list[str]:
    """The first `most` words that can be labels, in the vocabulary's order.

    Byte-pair vocabularies such as CLIP's are ordered by frequency, so that these are the commonest.

    Raises:
        StageInputError: the model's vocabulary names none.
    """
    words = list(label_words(backbone))
    if not words:
        raise StageInputError(
            "this model's vocabulary names no words; use --initializer word-search, which needs none, or words"
        )
    return words[:most]


def word_vectors(backbone: Backbone, words: Sequence[str]) -> dict[str, Tensor]:
    """Per text encoder float32 (V, d): each word's embedding; the mean of its pieces where it has several."""
    found = {}
    for encoder in backbone.encoders:
        table_VD = backbone.embedding_table(encoder)
        found[encoder] = torch.zeros(len(words), table_VD.shape[1])
        for row, word in enumerate(words):
            pieces = torch.tensor(backbone.word_ids(word, encoder), device=table_VD.device)
            found[encoder][row] = table_VD[pieces].detach().float().mean(dim=0)
    return found


def require_readable(backbone: Backbone, words: Sequence[str]) -> None:
    """Refuse a word that falls to pieces of less than two letters on average: their embeddings mean nothing.

    Raises:
        StageInputError: such a word, with the nearest one that the model knows.
    """
    encoder = backbone.encoders[0]
    for phrase in words:
        for word in phrase.split():
            pieces = len(backbone.word_ids(word, encoder))
            if pieces < 2 or 2 * pieces <= len(word):
                continue
            near = difflib.get_close_matches(word.lower(), label_words(backbone), n=3)
            hint = f"; nearest that it knows: {', '.join(near)}" if near else ", such as object"
            raise StageInputError(
                f"the model does not know the word {word!r} and would spell it in {pieces} pieces; give another word "
                f"for the thing{hint}"
            )
