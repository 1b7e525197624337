"""On which tiny inputs every stage is tried.

Ordinary inputs must give a result; degenerate ones a result or a `StageInputError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from uce.core.flow.data import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
from uce.core.model.backbone import Backbone
from uce.core.training.starts import concept_tokens
from uce.testing.doubles import tiny_attention, tiny_backbone, tiny_concepts, tiny_picture

Arguments = dict[str, Any]
RESULTS: dict[str, type] = {
    "extractor": AttentionMaps,
    "foreground": AttentionMaps,
    "clusterer": Clusters,
    "refiner": Concepts,
    "initializer": TokenPlan,
    "optimizer": LearnedConcepts,
}

# The built-in that a wrapper of a stage is tried around, and its settings.
INNER: dict[str, tuple[str, dict[str, Any]]] = {
    "extractor": ("uce.plugins.extractors.self_attention:SelfAttentionExtractor", {}),
    "foreground": ("uce.plugins.foregrounds.none:NoForeground", {}),
    "clusterer": ("uce.plugins.clusterers.finch:FinchClusterer", {}),
    "refiner": ("uce.plugins.refiners.none:NoRefiner", {}),
    "initializer": ("uce.plugins.initializers.random:RandomInitializer", {}),
    "optimizer": (
        "uce.plugins.optimizers.masked_denoising:MaskedDenoisingOptimizer",
        {"steps": 1, "merge_step": 1, "alignment_iterations": 10},
    ),
}


@dataclass(frozen=True)
class Case:
    """One input of a stage.

    Attributes:
        name: as it stands in messages.
        make: the hook's arguments but `settings` and `context`, made anew at every call.
        degenerate: a `StageInputError` is an answer too.
    """

    name: str
    make: Callable[[], Arguments]
    degenerate: bool = False


def cases(stage: str, backbone: Backbone | None) -> Iterator[Case]:
    """The inputs of `stage`; `backbone` stands in the place of the tiny models."""
    if stage in ("foreground", "clusterer"):
        yield from _clusterer_cases()
    elif stage == "refiner":
        yield from _refiner_cases()
    else:
        models: list[tuple[str, Callable[[], Backbone]]] = [
            ("a model with one text encoder", tiny_backbone),
            ("a model with two text encoders", lambda: tiny_backbone(("clip_l", "clip_g"))),
        ]
        if backbone is not None:
            models = [("the given model", lambda: backbone)]
        for name, model in models:
            yield from {"extractor": _extractor_cases, "initializer": _initializer_cases}.get(stage, _optimizer_cases)(
                name, model
            )


def _clusterer_cases() -> Iterator[Case]:
    yield Case("maps of two things", lambda: {"attention": tiny_attention(), "image": tiny_picture()})
    yield Case("bare maps (image is None)", lambda: {"attention": tiny_attention(), "image": None})
    yield Case("a 4 x 6 grid of three blocks of equal rows", lambda: {"attention": _blocks(), "image": None})
    yield Case("maps without structure", lambda: {"attention": tiny_attention(things=0), "image": None}, True)
    yield Case("a grid of one cell", lambda: {"attention": tiny_attention((1, 1), 0), "image": None}, True)


def _blocks() -> AttentionMaps:
    return tiny_attention((4, 6), noise=0.0)


def _refiner_cases() -> Iterator[Case]:
    def given(concepts: Concepts, attention: AttentionMaps, picture: bool) -> Arguments:
        return {"concepts": concepts, "attention": attention, "image": tiny_picture() if picture else None}

    def with_pixels() -> Arguments:
        concepts = tiny_concepts()
        pixel_masks = tiny_picture().to_original(concepts.masks)
        words = [f"word {k}" for k in range(len(concepts))]
        return given(replace(concepts, pixel_masks=pixel_masks, labels=words), tiny_attention(), True)

    yield Case("three concepts", lambda: given(tiny_concepts(), tiny_attention(), True))
    yield Case("three concepts on bare maps (image is None)", lambda: given(tiny_concepts(), tiny_attention(), False))
    yield Case("three concepts on a 4 x 6 grid", lambda: given(tiny_concepts((4, 6)), tiny_attention((4, 6)), True))
    yield Case("concepts with pixel masks and words", with_pixels)
    yield Case(
        "one concept that covers maps without structure",
        lambda: given(tiny_concepts(things=0), tiny_attention(things=0), True),
        True,
    )
    yield Case("no concepts", lambda: given(tiny_concepts().select([]), tiny_attention(), True), True)


def _extractor_cases(name: str, model: Callable[[], Backbone]) -> Iterator[Case]:
    def given(size: tuple[int, int]) -> Arguments:
        backbone = model()
        return {"backbone": backbone, "image": tiny_picture(size, backbone.picture_side)}

    yield Case(f"a picture of 48 x 40 pixels and {name}", lambda: given((40, 48)))
    yield Case(f"a picture of one pixel and {name}", lambda: given((1, 1)), True)


def _initializer_cases(name: str, model: Callable[[], Backbone]) -> Iterator[Case]:
    yield Case(f"three concepts and {name}", lambda: _learning(model(), tiny_concepts()))
    yield Case(f"one concept and {name}", lambda: _learning(model(), tiny_concepts(things=0)))
    yield Case(f"no concepts and {name}", lambda: _learning(model(), tiny_concepts().select([])), True)


def _optimizer_cases(name: str, model: Callable[[], Backbone]) -> Iterator[Case]:
    def given(concepts: Concepts, num_splits: int) -> Arguments:
        arguments = _learning(model(), concepts)
        return arguments | {"plan": tiny_plan(arguments["backbone"], len(concepts), num_splits)}

    yield Case(f"three concepts of two split tokens and {name}", lambda: given(tiny_concepts(), 2))
    yield Case(f"one concept and {name}", lambda: given(tiny_concepts(things=0), 1))
    yield Case(f"no concepts and {name}", lambda: given(tiny_concepts().select([]), 1), True)


def _learning(backbone: Backbone, concepts: Concepts) -> Arguments:
    picture = tiny_picture(side=backbone.picture_side)
    return {"concepts": concepts, "backbone": backbone, "image": picture}


def tiny_plan(backbone: Backbone, num_concepts: int, num_splits: int) -> TokenPlan:
    """Starting vectors from the model's own vocabulary."""
    starts = {}
    for encoder in backbone.encoders:
        table = backbone.embedding_table(encoder)
        rows = torch.arange(num_concepts * num_splits) % (len(table) - 3) + 3
        starts[encoder] = table[rows.to(table.device)].float().cpu().reshape(num_concepts, num_splits, table.shape[1])
    return TokenPlan(concept_tokens(num_concepts), starts, merge_step=1 if num_splits > 1 else 0)
