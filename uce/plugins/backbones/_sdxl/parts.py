"""The loaded parts of a Stable Diffusion XL model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uce.plugins.backbones._sd.parts import Parts


@dataclass(frozen=True, eq=False, kw_only=True)
class XLParts(Parts):
    """A loaded model, still on the CPU.

    Attributes:
        zero_empty: classifier-free guidance leads away from zeros instead of from the empty text.
    """

    text_encoder_2: Any
    tokenizer_2: Any
    zero_empty: bool
