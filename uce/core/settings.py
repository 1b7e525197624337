"""Base class of every plugin's settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A plugin's settings: a frozen pydantic model; unknown keys are refused and every field is described.

    A plugin declares `class Settings(uce.Settings)` inside itself; the description of a field is at once its help on
    the command line, its row in the docs and its entry in the JSON schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
