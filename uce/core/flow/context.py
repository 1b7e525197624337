"""What a stage may know about the run around it: seed, device, events, checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from uce.core.flow.sightings import Sighting


class Checkpoint(Protocol):
    """Where a stage keeps its state so that an interrupted run continues with the same bytes."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last saved (tensors on the CPU, plain JSON values), or None where there is none."""

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Replace the saved state; the file appears whole."""


class NoCheckpoint:
    """Keeps nothing: for `uce.localize` and bare maps."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return None

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        return None


@dataclass(frozen=True)
class Context:
    """Given to every stage.

    Attributes:
        seed: the run's seed.
        stage: the stage's name; each stage draws from a stream of its own, so that swapping one leaves others alone.
        device: torch device name, such as "cpu" or "cuda".
        checkpoint: where to keep state.
        checkpoint_every: optimiser updates between two saves; 0 never.
        micro_batch: prompts per UNet pass; 0 lets the stage choose by memory.
        emit: tells observers about an event of `uce.core.flow.events`.
        sightings: the same concepts in further pictures, for optimizers that say `several_pictures = True`.
    """

    seed: int = 0
    stage: str = ""
    device: str = "cpu"
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    checkpoint_every: int = 0
    micro_batch: int = 0
    emit: Callable[[Any], None] = lambda event: None
    sightings: Sequence[Sighting] = ()

    def derived_seed(self, salt: str = "") -> int:
        """A 63-bit seed from the run's seed, the stage and `salt`."""
        digest = hashlib.sha256(f"{self.seed}/{self.stage}/{salt}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def generator(self, device: str | None = None, salt: str = "") -> torch.Generator:
        """A fresh generator on `device` (default: the CPU, whose stream is the same everywhere), seeded for this
        stage and `salt`; the same arguments always start the same stream."""
        import torch

        generator = torch.Generator(device=device or "cpu")
        generator.manual_seed(self.derived_seed(salt))
        return generator
