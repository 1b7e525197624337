"""Things in drawn pictures: found once, kept as labels; nothing found is no fault, what cannot be looked for is one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from uce.core.errors import ModelError, NothingFoundError
from uce.evaluation.things import find_things


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    path = tmp_path / "all-s0-abc.png"
    Image.new("RGB", (8, 8)).save(path)
    return path


def localise(monkeypatch: pytest.MonkeyPatch, result: Any) -> list[Any]:
    calls: list[Any] = []

    def localize(picture: Any, **options: Any) -> Any:
        calls.append(picture.shape)
        if isinstance(result, Exception):
            raise result
        return SimpleNamespace(pixel_masks=torch.from_numpy(result))

    monkeypatch.setattr("uce.evaluation.things.api.localize", localize)
    return calls


RUN: Any = SimpleNamespace(backbone=lambda device, plugin: None)


def test_masks_are_kept_beside_the_picture(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.zeros((2, 8, 8), bool)
    masks[0, :3], masks[1, 5:, 2:] = True, True
    calls = localise(monkeypatch, masks)
    for _ in range(2):
        np.testing.assert_array_equal(find_things(RUN, drawn, None, ()), masks)
    assert calls == [(8, 8, 3)] and drawn.with_name("things-all-s0-abc.png").is_file()


def test_nothing_found_is_kept_too(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = localise(monkeypatch, NothingFoundError("nothing is salient"))
    assert find_things(RUN, drawn, None, ()).shape == find_things(RUN, drawn, None, ()).shape == (0, 8, 8)
    assert len(calls) == 1


def test_a_model_that_cannot_localise_is_not_taken_for_an_empty_picture(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    localise(monkeypatch, ModelError("it gives no attention"))
    with pytest.raises(ModelError, match="it gives no attention"):
        find_things(RUN, drawn, None, ())
