"""The concept tokens' rows, the only parameters of most trainings, with their AdamW state.

A token row is one split of one concept, number s * K + k; its n vectors are the rows (s * n + j) * K + k of the tables.

Legend: K concepts; S split tokens; n vectors of a concept; V rows, S * n * K before the merge and n * K after;
D width of a text encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from uce.core.training.adamw import adamw, taken_gradients

if TYPE_CHECKING:
    from uce.core.training.word_axes import Coordinates


class TokenRows:
    """Learned vectors of every text encoder with their Adam moments.

    Attributes:
        vectors: per text encoder float32 (V, D).
        coordinates: per text encoder, the frame in which AdamW works; where there is none, number by number.
    """

    def __init__(self, starts: Mapping[str, Tensor], device: str, *, trained: bool = True) -> None:
        """`starts`: per text encoder float (K, S, D) or (K, S, n, D); without `trained` they take no gradient."""
        self.trained = trained
        start = next(iter(starts.values()))
        self.num_concepts, self.num_splits = start.shape[:2]
        self.num_vectors = start.shape[2] if start.ndim == 4 else 1
        self.vectors = {
            encoder: start.movedim(0, -2).reshape(-1, start.shape[-1]).to(device, torch.float32, copy=True)
            for encoder, start in starts.items()
        }
        self.first = {encoder: torch.zeros_like(rows) for encoder, rows in self.vectors.items()}
        self.second = {encoder: torch.zeros_like(rows) for encoder, rows in self.vectors.items()}
        self.num_updates = 0
        self.coordinates: Mapping[str, Coordinates] = {}
        for rows_VD in self.vectors.values():
            rows_VD.requires_grad_(trained)

    @property
    def num_rows(self) -> int:
        return int(next(iter(self.vectors.values())).shape[0])

    @property
    def merged_rows(self) -> int:
        """How many rows are left after the merge."""
        return self.num_concepts * self.num_vectors

    def slots(self, row: int) -> list[int]:
        """Where the vectors of a token row lie in the tables."""
        split, concept = divmod(row, self.num_concepts)
        return [(split * self.num_vectors + j) * self.num_concepts + concept for j in range(self.num_vectors)]

    def of_concepts(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Merged tables as (K, n, D) per text encoder."""
        return {
            e: x.reshape(self.num_vectors, self.num_concepts, -1).transpose(0, 1).contiguous() for e, x in rows.items()
        }

    @torch.no_grad()
    def update(self, learning_rate: float, weight_decay: float, clip: float, scale: float = 1.0) -> None:
        """One AdamW update from the gradients in `vectors`, which are then cleared.

        Args:
            clip: bound on the gradient's norm over all rows of all encoders; 0 leaves it as it is.
            scale: what the loss was multiplied by.
        """
        self.num_updates += 1
        grads = taken_gradients(self.vectors, clip, scale)
        for key, rows_VD in self.vectors.items():
            frame, grad, values = self.coordinates.get(key), grads[key], rows_VD
            if frame is not None:
                values, grad = frame.from_vectors(rows_VD), frame.gradient(grad)
                if self.num_updates == 1:
                    self.first[key], self.second[key] = torch.zeros_like(values), torch.zeros_like(values)
            adamw(values, grad, self.first[key], self.second[key], self.num_updates, learning_rate, weight_decay)
            if frame is not None:
                rows_VD.copy_(frame.to_vectors(values))

    @torch.no_grad()
    def limit(self, norms: Mapping[str, float]) -> None:
        """Shorten rows that are longer than their encoder's entry in `norms`."""
        for encoder, rows_VD in self.vectors.items():
            if encoder in norms:
                rows_VD.mul_((norms[encoder] / rows_VD.norm(dim=1, keepdim=True)).clamp(max=1.0))

    @torch.no_grad()
    def averages(self) -> dict[str, Tensor]:
        """Per text encoder (n * K, D): each concept's split tokens averaged, vector by vector."""
        return {e: rows.reshape(-1, self.merged_rows, rows.shape[1]).mean(dim=0) for e, rows in self.vectors.items()}

    @torch.no_grad()
    def merge(self) -> None:
        """Average each concept's split tokens. As in the paper's code the moments of its first split live on."""
        for encoder, merged_VD in self.averages().items():
            self.vectors[encoder] = merged_VD.requires_grad_(self.trained)
            self.first[encoder] = self.first[encoder][: self.merged_rows].clone()
            self.second[encoder] = self.second[encoder][: self.merged_rows].clone()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint must hold, on the CPU."""
        groups = (("vectors", self.vectors), ("first", self.first), ("second", self.second))
        return {f"{name}.{key}": x.detach().cpu().clone() for name, group in groups for key, x in group.items()}

    def restore(self, tensors: Mapping[str, Tensor], num_updates: int) -> None:
        """Continue from `tensors()` after `num_updates`."""
        for encoder, rows_VD in list(self.vectors.items()):
            vectors, first, second = (
                tensors[f"{name}.{encoder}"].to(rows_VD.device, copy=True) for name in ("vectors", "first", "second")
            )
            self.vectors[encoder] = vectors.requires_grad_(self.trained)
            self.first[encoder], self.second[encoder] = first, second
        self.num_updates = num_updates
