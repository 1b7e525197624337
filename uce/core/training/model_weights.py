"""Tensors of the model that train beside (or after) the concept tokens, with their AdamW state."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.model.tuning import TrainedWeights
from uce.core.training.adamw import adamw, taken_gradients


@dataclass(eq=False)
class ModelWeights:
    """What `uce.core.training.loop.train` needs to train the model's weights.

    Attributes:
        trained: from `uce.core.model.abilities.train_weights`.
        learning_rate, weight_decay: of AdamW. The training's `cool_down` holds for this learning rate, too.
        clip: bound on the norm of the gradient over all these tensors; 0 for none.
    """

    trained: TrainedWeights
    learning_rate: float
    weight_decay: float = 1e-2
    clip: float = 1.0

    def __post_init__(self) -> None:
        self.num_updates = 0
        self.first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        return self.trained.parameters

    def digest(self) -> str:
        """Hash of the numbers and of which tensors they are for."""
        shapes = [(name, tuple(value.shape)) for name, value in self.parameters.items()]
        text = f"{self.learning_rate}/{self.weight_decay}/{self.clip}/{shapes}"
        return hashlib.sha256(text.encode()).hexdigest()

    def update(self, share: float, scale: float = 1.0) -> None:
        """One AdamW update from the tensors' gradients, which are then cleared.

        Args:
            share: what is left of the learning rate.
            scale: what the loss was multiplied by.
        """
        self.num_updates += 1
        grads = taken_gradients(self.parameters, self.clip, scale)
        for name, value in self.parameters.items():
            moments = self.first[name], self.second[name]
            adamw(value, grads[name], *moments, self.num_updates, self.learning_rate * share, self.weight_decay)

    def export(self) -> dict[str, Tensor]:
        """The trained tensors in the format of weights.safetensors.

        Raises:
            StageInputError: one is not finite.
        """
        tensors = self.trained.export()
        for name, value in tensors.items():
            if not torch.isfinite(value).all():
                raise StageInputError(
                    f"the trained weight {name} is not finite; try a lower learning rate or --precision float32"
                )
        return tensors

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint must hold, on the CPU."""
        groups = (("weights", self.parameters), ("weights first", self.first), ("weights second", self.second))
        return {f"{name}.{key}": x.detach().cpu().clone() for name, group in groups for key, x in group.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], num_updates: int) -> None:
        """Continue from `tensors()` after `num_updates`."""
        groups = (("weights", self.parameters), ("weights first", self.first), ("weights second", self.second))
        for name, group in groups:
            for key, value in group.items():
                value.copy_(tensors[f"{name}.{key}"])
        self.num_updates = num_updates
