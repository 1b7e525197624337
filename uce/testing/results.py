"""What each stage's result must be, beyond what its own class checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from uce.core.flow.data import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
from uce.testing.cases import Arguments

Finding = tuple[str, str, str]  # rule, found, mend


def findings(stage: str, result: Any, given: Arguments, degenerate: bool) -> Iterator[Finding]:
    """Every rule that `result` breaks."""
    for path, tensor in _tensors(result):
        if tensor.device.type != "cpu":
            yield "same device", f"{path} is on {tensor.device}, the inputs were on the cpu", "return .cpu() tensors"
        if tensor.requires_grad:
            yield "no gradient", f"{path} still carries a gradient", "compute under torch.no_grad(), or .detach() it"
    checks: dict[str, Callable[[Any, Arguments, bool], Iterator[Finding]]] = {
        "extractor": _attention,
        "foreground": _foreground,
        "clusterer": _clusters,
        "refiner": _concepts,
        "initializer": _plan,
        "optimizer": _learned,
    }
    yield from checks[stage](result, given, degenerate)


def _tensors(result: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in vars(result).items():
        if isinstance(value, Tensor):
            yield key, value
        elif isinstance(value, dict):
            yield from ((f"{key}[{k!r}]", v) for k, v in value.items() if isinstance(v, Tensor))


def _attention(result: AttentionMaps, given: Arguments, degenerate: bool) -> Iterator[Finding]:
    if not degenerate and float((result.affinity - result.affinity[0]).abs().max()) < 1e-7:
        yield (
            "affinity of this picture",
            "every row of affinity is the same, though the picture holds two things",
            "let row i say how much cell i attends to each cell",
        )


def _foreground(result: AttentionMaps, given: Arguments, degenerate: bool) -> Iterator[Finding]:
    grid = given["attention"].grid
    if result.grid != grid:
        yield (
            "no cell forgotten",
            f"the maps are of {result.grid} cells, the grid has {grid}",
            "keep every cell of attention.grid, and say in `foreground`, bool (h, w), which count",
        )
        return
    given_rows = given["attention"].affinity
    if result.extracted is None and not torch.equal(result.affinity.to(given_rows.dtype), given_rows):
        yield (
            "what was read stays known",
            "the affinity is another than the one given, and `extracted` is None",
            "give the new maps extracted=attention.raw",
        )
    if result.extracted is not None and not torch.equal(result.extracted, given["attention"].raw):
        yield (
            "what was read stays known",
            "`extracted` is not the affinity that was given",
            "give the new maps extracted=attention.raw",
        )


def _clusters(result: Clusters, given: Arguments, degenerate: bool) -> Iterator[Finding]:
    grid = given["attention"].grid
    if tuple(result.labels.shape) != grid:
        yield (
            "no cell forgotten",
            f"labels are {tuple(result.labels.shape)}, the grid has {grid} cells",
            "give every cell of attention.grid a label (row-major: labels.reshape(attention.grid)), -1 for unassigned",
        )
    elif not degenerate and result.num_clusters == 0:
        yield "some cluster", "every cell is -1, though the maps hold two things", "assign at least one cell"
    yield from _pixel_size(result.pixel_masks, given["image"])
    threshold = result.merge_threshold
    if threshold is not None and not (isinstance(threshold, float | int) and math.isfinite(threshold)):
        yield "merge threshold", f"merge_threshold is {threshold!r}", "give a finite number, or None"


def _concepts(result: Concepts, given: Arguments, degenerate: bool) -> Iterator[Finding]:
    grid, picture = given["attention"].grid, given["image"]
    if result.grid != grid:
        yield (
            "same grid",
            f"masks are on a grid of {result.grid}, the attention's is {grid}",
            "keep masks on attention.grid; finer masks belong into pixel_masks",
        )
    yield from _pixel_size(result.pixel_masks, picture)
    if result.labels is not None and not all(isinstance(word, str) for word in result.labels):
        yield "words", f"labels are {result.labels!r}", "give one str per concept, or None"


def _pixel_size(pixel_masks: Tensor | None, picture: Any) -> Iterator[Finding]:
    if pixel_masks is not None and picture is not None and tuple(pixel_masks.shape[1:]) != picture.size:
        yield (
            "pixel masks at the picture's size",
            f"pixel_masks are {tuple(pixel_masks.shape[1:])}, the picture is {picture.size}",
            "make them at image.size (image.to_original does), not at the size that the model sees",
        )


def _plan(result: TokenPlan, given: Arguments, degenerate: bool) -> Iterator[Finding]:
    concepts, backbone = given["concepts"], given["backbone"]
    if len(result.tokens) != len(concepts):
        yield "a token per concept", f"{len(result.tokens)} tokens for {len(concepts)} concepts", "name every concept"
    if len(set(result.tokens)) != len(result.tokens) or not all(isinstance(t, str) for t in result.tokens):
        yield "a token per concept", f"tokens are {result.tokens!r}", "give each concept a word of its own"
    yield from _encoders("starts", result.starts, backbone)


def _encoders(what: str, tensors: Any, backbone: Any) -> Iterator[Finding]:
    if set(tensors) != set(backbone.encoders):
        yield (
            "every text encoder",
            f"{what} are for {sorted(tensors)}, the model's text encoders are {sorted(backbone.encoders)}",
            "loop over backbone.encoders",
        )
        return
    for encoder, tensor in tensors.items():
        width = backbone.embedding_table(encoder).shape[1]
        if tensor.shape[-1] != width or tensor.shape[1] < 1:
            yield (
                "vectors of the encoder's width",
                f"{what}[{encoder!r}] is {tuple(tensor.shape)}, the encoder's vectors have {width} numbers",
                "take the width from backbone.embedding_table(encoder)",
            )


def _learned(result: LearnedConcepts, given: Arguments, degenerate: bool) -> Iterator[Finding]:
    if result.tokens != given["plan"].tokens:
        yield "the plan's tokens", f"tokens are {result.tokens}, the plan's {given['plan'].tokens}", "keep plan.tokens"
    yield from _encoders("embeddings", result.embeddings, given["backbone"])
    for row in result.history:
        if not {"update", "phase"} <= set(row):
            yield (
                "history",
                f"a row of history has only {sorted(row)}",
                "each has 'update', 'phase' and its losses",
            )
            return
        wrong = [key for key, value in row.items() if not isinstance(value, int | float | str)]
        if wrong:
            yield "history", f"{wrong[0]!r} is a {type(row[wrong[0]]).__name__}", "store plain numbers: float(value)"
            return
    for name, tensor in (result.weights or {}).items():
        if not isinstance(tensor, Tensor) or not torch.isfinite(tensor).all():
            yield "weights", f"weights[{name!r}] is no tensor of finite numbers", "store the trained tensors by name"
            return
