"""One token on its way to another program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uce.core.runs.facts import header

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core.runs.stored import StoredConcept


@dataclass(frozen=True, eq=False)
class TokenExport:
    """One token on its way to another program.

    Attributes:
        token: as it is to be called there, such as "<cup>".
        stem: its name for files, without angle brackets.
        vectors: per text encoder float32 (n, d).
        concept: what it was learned from.
        facts: what belongs into the header of every file that holds the token.
    """

    token: str
    stem: str
    vectors: Mapping[str, Tensor]
    concept: StoredConcept
    facts: Mapping[str, Any]

    @property
    def header(self) -> dict[str, str]:
        """Metadata for a safetensors file."""
        return header(self.facts)

    @property
    def two_encoders(self) -> bool:
        return len(self.vectors) > 1

    @property
    def named_encoders(self) -> bool:
        """Whether the model's text encoders have names, as in every model but Stable Diffusion 1.x and 2.x."""
        return set(self.vectors) != {"clip"}
