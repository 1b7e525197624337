"""The base of every plugin's settings."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from uce.core.flow.settings import Settings


class Mine(Settings):
    steps: int = Field(3, ge=1, description="how many")


class WrongByDefault(Settings):
    steps: int = Field(0, ge=1, description="how many")


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="stepz"):
        Mine(stepz=4)  # type: ignore[call-arg]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Mine().steps = 4  # type: ignore[misc]


def test_a_default_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="steps"):
        WrongByDefault()


def test_most_settings_depend_on_no_file() -> None:
    assert list(Mine().input_files()) == []
