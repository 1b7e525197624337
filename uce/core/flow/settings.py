"""Base class of every plugin's settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A plugin's settings: a frozen pydantic model; unknown keys are refused and every field is described.

    A plugin declares `class Settings(uce.Settings)` inside itself; the description of a field is at once its help on
    the command line, its row in the docs and its entry in the JSON schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def input_files(self) -> Sequence[Path]:
        """Files beside the picture that the result depends on, such as masks that the user drew; most have none.

        A run asks before it loads a model: raise a `UceError` here for what is missing. The files' bytes are part of
        the stage's cache key.
        """
        return ()
