"""Settings that extractors share: the paper's by default."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from uce.core.model.map_settings import AttentionSettings


def test_the_defaults_are_the_papers() -> None:
    settings = AttentionSettings()
    assert (settings.cells, settings.own_size, settings.saliency_side) == (None, False, None)
    assert (settings.normalize, settings.queries) == ("end", "repeat")


@pytest.mark.parametrize("wrong", [{"cells": 1}, {"cells": 513}, {"saliency_side": 0}, {"normalize": "never"},
                                   {"queries": "guess"}])  # fmt: skip
def test_bad_values(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AttentionSettings(**wrong)  # type: ignore[arg-type]
