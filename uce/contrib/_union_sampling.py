"""Union sampling and the attention loss of Break-A-Scene (see `uce.contrib.break_a_scene`).

Legend: K concepts; P pairs of a prompt and a token that it shows; n cells of the aligned layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from uce.core import Backbone, Concepts, Context, Prompt, TrainingOptions
from uce.core.training import Alignment, Update, resize_masks


@dataclass(frozen=True)
class UnionSampling:
    """Every update shows a random set of concepts in one prompt: first its size is drawn, then its members.

    Attributes:
        steps: updates.
        num_concepts: K.
        largest: most concepts that fit one prompt.
        context: where chance comes from; a set depends on its update's number only.
    """

    steps: int
    num_concepts: int
    largest: int
    context: Context

    @property
    def total(self) -> int:
        return self.steps

    def updates(self, done: int = 0) -> Iterator[Update]:
        for number in range(done + 1, self.steps + 1):
            generator = self.context.generator(salt=f"set {number}")
            size = int(torch.randint(1, self.largest + 1, (1,), generator=generator))
            members = torch.randperm(self.num_concepts, generator=generator)[:size]
            yield Update(number, number, "union", (tuple(sorted(members.tolist())),))


class MaskAttention(Alignment):
    """Mean squared error between each token's attention, divided by its maximum, and its concept's mask."""

    @classmethod
    def prepare(cls, backbone: Backbone, concepts: Concepts, probe: Prompt, options: TrainingOptions) -> Self:
        """As `Alignment.prepare`; the targets are the masks at the layers' side."""
        found = super().prepare(backbone, concepts, probe, options)
        masks_Kn = resize_masks(concepts.masks, found.grid).flatten(1).float()
        mirrored_Kn = resize_masks(concepts.masks.flip(-1), found.grid).flatten(1).float()
        return replace(found, targets=torch.stack([masks_Kn, mirrored_Kn]).to(found.targets.device))

    def distances(self, target_Pn: Tensor, attention_Pn: Tensor) -> Tensor:
        """(P,), in [0, 1]."""
        peaks = attention_Pn.amax(dim=1, keepdim=True).clamp_min(1e-12)
        return (attention_Pn / peaks - target_Pn).square().mean(dim=1)
