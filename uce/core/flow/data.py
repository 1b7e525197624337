"""Frozen data between the stages, validated once, where it is made.

Legend: N cells of the grid, N = h * w, row-major (cell = row * w + column); K concepts; S split tokens;
n vectors per token; d width of a text encoder; H, W the original picture's pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.flow.arrays import as_booleans, as_floats, as_tensor, require_disjoint
from uce.faces import retired_field


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """What the extractor found.

    Attributes:
        affinity: float32 or float64 (N, N), each row a probability distribution: how much cell i attends to cell j.
        saliency: float (h, w) in [0, 1].
        foreground: bool (h, w), the cells that may belong to things, where the foreground step found some; other cells
            are unassigned whatever a clusterer says. None: all cells count.
        extracted: the affinity as the extractor read it, float (N, N), where the foreground step made another of it.

    Raises:
        StageInputError: a foreground without cells, foreground or extracted affinity of another grid, wrong axes,
            N != h * w, values not finite or negative, rows that do not sum to 1.
    """

    affinity: Tensor
    saliency: Tensor
    foreground: Tensor | None = None
    extracted: Tensor | None = None

    def __post_init__(self) -> None:
        affinity, saliency = as_floats(self.affinity, "affinity", 2), as_floats(self.saliency, "saliency", 2)
        num_cells = saliency.numel()
        if num_cells == 0:
            raise StageInputError(f"saliency is empty, found shape {tuple(saliency.shape)}; the grid needs cells")
        if tuple(affinity.shape) != (num_cells, num_cells):
            raise StageInputError(
                f"affinity must be ({num_cells}, {num_cells}) for a saliency of {tuple(saliency.shape)}, "
                f"found {tuple(affinity.shape)}"
            )
        if float(affinity.min()) < 0:
            raise StageInputError(f"affinity must not be negative, found {float(affinity.min()):.3g}")
        sums = affinity.sum(dim=1)
        worst = int((sums - 1).abs().argmax())
        if abs(float(sums[worst]) - 1) > 1e-3:
            raise StageInputError(
                f"affinity rows must sum to 1, row {worst} sums to {float(sums[worst]):.4g}; divide rows by their sums"
            )
        low, high = float(saliency.min()), float(saliency.max())
        if low < -1e-5 or high > 1 + 1e-5:
            raise StageInputError(f"saliency must lie in [0, 1], found [{low:.3g}, {high:.3g}]; normalise it first")
        object.__setattr__(self, "affinity", affinity)
        object.__setattr__(self, "saliency", saliency)
        if self.foreground is not None:
            foreground = as_booleans(self.foreground, "foreground", 2)
            if foreground.shape != saliency.shape or not foreground.any():
                raise StageInputError(
                    f"foreground must be {tuple(saliency.shape)} like the saliency and hold cells, found "
                    f"{int(foreground.sum())} cells of {tuple(foreground.shape)}"
                )
            object.__setattr__(self, "foreground", foreground)
        if self.extracted is not None:
            extracted = as_floats(self.extracted, "extracted", 2)
            if extracted.shape != affinity.shape:
                raise StageInputError(
                    f"extracted must be {tuple(affinity.shape)} like the affinity, found {tuple(extracted.shape)}"
                )
            object.__setattr__(self, "extracted", extracted)

    @property
    def raw(self) -> Tensor:
        """The affinity as the extractor read it, (N, N): for learning, and for clusterers with graphs of their own."""
        return self.affinity if self.extracted is None else self.extracted

    @property
    def backgrounds(self) -> int:
        """How many clusters of the affinity are background for sure: 1 where a foreground leaves cells out, else 0."""
        return int(self.foreground is not None and not bool(self.foreground.all()))

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w), the cells on which localisation works."""
        return int(self.saliency.shape[0]), int(self.saliency.shape[1])


@retired_field("words", "concept_labels", until="0.2")
@dataclass(frozen=True, eq=False)
class Clusters:
    """A label for every cell. These labels are numbers; a concept's label is a readable word.

    Attributes:
        labels: int64 (h, w), -1 where unassigned.
        merge_threshold: symmetric KL distance up to which touching clusters may be merged; None where the clusterer
            has no such notion.
        pixel_masks: bool (n, H, W) at the original picture's size, disjoint, entry k for label k, where the clusterer
            knows outlines finer than the grid; None: derived from the cells in the end.
        concept_labels: entry k is the readable word that the concept of label k gets; None for none.

    Raises:
        StageInputError: labels not integer or below -1, pixel masks not boolean or overlapping, or fewer pixel masks
            or words than labels.
    """

    labels: Tensor
    merge_threshold: float | None = None
    pixel_masks: Tensor | None = None
    concept_labels: list[str] | None = None

    def __post_init__(self) -> None:
        labels = as_tensor(self.labels, "labels", 2)
        if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype is torch.bool:
            raise StageInputError(f"labels must be integers, found {labels.dtype}; convert them with .long()")
        labels = labels.to(torch.int64)
        if labels.numel() and int(labels.min()) < -1:
            raise StageInputError(f"labels start at 0, -1 means unassigned; found {int(labels.min())}")
        object.__setattr__(self, "labels", labels)
        needed = int(labels.max()) + 1 if labels.numel() else 0
        if self.pixel_masks is not None:
            pixel_masks = as_booleans(self.pixel_masks, "pixel_masks", 3)
            require_disjoint(pixel_masks, "pixel_masks")
            object.__setattr__(self, "pixel_masks", pixel_masks)
        for name, value in (("pixel_masks", self.pixel_masks), ("concept_labels", self.concept_labels)):
            if value is not None and len(value) < needed:
                raise StageInputError(f"{name} must hold one for each of {needed} labels, found {len(value)}")

    @property
    def num_clusters(self) -> int:
        return int(torch.unique(self.labels[self.labels >= 0]).numel())


@dataclass(frozen=True, eq=False)
class Concepts:
    """Things found in the picture, most often the refiners' result.

    Attributes:
        masks: bool (K, h, w), disjoint.
        maps: float (K, N), the mean affinity row of each concept's cells.
        scores: float (K,), mean saliency inside over mean saliency of the picture (saliency refiner), or the maker's.
        pixel_masks: bool (K, H, W) at the original picture's size, disjoint, or None: then derived from `masks`.
        labels: a readable word per concept, or None.
        merge_threshold: carried over from the clusters for refiners that merge.

    Raises:
        StageInputError: shapes that do not agree, masks that are not boolean or overlap.
    """

    masks: Tensor
    maps: Tensor
    scores: Tensor
    pixel_masks: Tensor | None = None
    labels: list[str] | None = None
    merge_threshold: float | None = None

    def __post_init__(self) -> None:
        masks, maps = as_booleans(self.masks, "masks", 3), as_floats(self.maps, "maps", 2)
        scores = as_floats(self.scores, "scores", 1)
        num, height, width = masks.shape
        if tuple(maps.shape) != (num, height * width):
            raise StageInputError(f"maps must be ({num}, {height * width}), found {tuple(maps.shape)}")
        if scores.shape[0] != num:
            raise StageInputError(f"scores must hold {num} values, found {scores.shape[0]}")
        require_disjoint(masks, "masks")
        for name, value in (("masks", masks), ("maps", maps), ("scores", scores)):
            object.__setattr__(self, name, value)
        if self.pixel_masks is not None:
            pixel_masks = as_booleans(self.pixel_masks, "pixel_masks", 3)
            if pixel_masks.shape[0] != num:
                raise StageInputError(f"pixel_masks must hold {num} masks, found {pixel_masks.shape[0]}")
            require_disjoint(pixel_masks, "pixel_masks")
            object.__setattr__(self, "pixel_masks", pixel_masks)
        if self.labels is not None and len(self.labels) != num:
            raise StageInputError(f"labels must hold {num} words, found {len(self.labels)}")

    def __len__(self) -> int:
        return int(self.masks.shape[0])

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of `masks`."""
        return int(self.masks.shape[1]), int(self.masks.shape[2])

    def select(self, indexes: Sequence[int]) -> Concepts:
        """The concepts at `indexes`, in that order."""
        rows = torch.as_tensor(list(indexes), dtype=torch.int64)
        return Concepts(
            masks=self.masks[rows],
            maps=self.maps[rows],
            scores=self.scores[rows],
            pixel_masks=None if self.pixel_masks is None else self.pixel_masks[rows],
            labels=None if self.labels is None else [self.labels[i] for i in rows.tolist()],
            merge_threshold=self.merge_threshold,
        )


@dataclass(frozen=True, eq=False)
class TokenPlan:
    """What the initializer decided.

    Attributes:
        tokens: K concept tokens such as "<asset0>".
        starts: per text encoder float32 (K, S, d), the S split tokens each concept starts from (S = 1: no splitting);
            (K, S, n, d) where a concept has n vectors that stand in a row in its place.
        merge_step: the step before which split tokens train apart; 0 where S = 1.
        labels: a name per concept, to be shown as such ("" where there is none); None where the initializer knows none.
        nearest: words per concept that fit it best, best first, which may be wrong; None where it looks for none.

    Raises:
        StageInputError: shapes that do not agree between encoders and tokens, or words for other concepts.
    """

    tokens: tuple[str, ...]
    starts: Mapping[str, Tensor]
    merge_step: int = 0
    labels: tuple[str, ...] | None = None
    nearest: tuple[tuple[str, ...], ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        if self.nearest is not None:
            object.__setattr__(self, "nearest", tuple(map(tuple, self.nearest)))
            if len(self.nearest) != len(self.tokens):
                raise StageInputError(
                    f"nearest must hold words of {len(self.tokens)} concepts, found {len(self.nearest)}"
                )
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(self.labels))
            if len(self.labels) != len(self.tokens):
                raise StageInputError(f"labels must hold {len(self.tokens)} words, found {len(self.labels)}")
        starts = {
            encoder: as_floats(value, f"starts[{encoder!r}]", 4 if getattr(value, "ndim", 3) == 4 else 3).float()
            for encoder, value in self.starts.items()
        }
        if not starts:
            raise StageInputError("starts is empty; give one (K, S, d) tensor per text encoder")
        for encoder, value in starts.items():
            if value.shape[0] != len(self.tokens) or value.shape[1:-1] != next(iter(starts.values())).shape[1:-1]:
                raise StageInputError(
                    f"starts[{encoder!r}] must be ({len(self.tokens)}, S, d), or (.., n, d) for n vectors, with the "
                    f"same S and n everywhere, found {tuple(value.shape)}"
                )
        if self.merge_step < 0:
            raise StageInputError(f"merge_step must not be negative, found {self.merge_step}")
        object.__setattr__(self, "starts", starts)

    @property
    def num_splits(self) -> int:
        """S, the split tokens per concept."""
        return int(next(iter(self.starts.values())).shape[1])

    @property
    def num_vectors(self) -> int:
        """n, the vectors that stand in a row for one concept."""
        start = next(iter(self.starts.values()))
        return int(start.shape[2]) if start.ndim == 4 else 1


@dataclass(frozen=True, eq=False)
class LearnedConcepts:
    """What the optimizer learned.

    Attributes:
        tokens: K concept tokens.
        embeddings: per text encoder float32 (K, n, d).
        weights: LoRA or UNet tensors by name where a method trains more than tokens, else None.
        history: one mapping per optimiser update: "update", "phase" and every loss term.

    Raises:
        StageInputError: shapes that do not agree, or values that are not finite.
    """

    tokens: tuple[str, ...]
    embeddings: Mapping[str, Tensor]
    weights: Mapping[str, Tensor] | None = None
    history: Sequence[Mapping[str, float | int | str]] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        embeddings = {
            encoder: as_floats(value, f"embeddings[{encoder!r}]", 3).float().cpu()
            for encoder, value in self.embeddings.items()
        }
        if not embeddings:
            raise StageInputError("embeddings is empty; give one (K, n, d) tensor per text encoder")
        for encoder, value in embeddings.items():
            if value.shape[0] != len(self.tokens):
                raise StageInputError(
                    f"embeddings[{encoder!r}] must hold {len(self.tokens)} concepts, found {tuple(value.shape)}"
                )
        object.__setattr__(self, "embeddings", embeddings)
        object.__setattr__(self, "history", tuple(self.history))

    def of(self, index: int) -> dict[str, Tensor]:
        """Per text encoder the float32 (n, d) vectors of concept `index`."""
        return {encoder: value[index] for encoder, value in self.embeddings.items()}
