"""Pictures that are unlike all that a model knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from uce.core import ModelError
from uce.core.files.tensors import save_tensors
from uce.core.model.measured import MEASURED, measured, strangeness, warning_about
from uce.testing import tiny_backbone, tiny_picture


def test_a_picture_above_the_limit_is_warned_about(tmp_path: Path) -> None:
    backbone: Any = tiny_backbone()
    assert measured(backbone) is None and warning_about(backbone, tiny_picture()) == ""
    backbone.folder = tmp_path
    error = strangeness(backbone, tiny_picture(), 100)
    assert error > 0 and error == strangeness(backbone, tiny_picture(), 100), "the same noise every time"
    for limit, said in ((error * 1.01, ""), (error * 0.99, "use another")):
        rule = {"timestep": 100, "limit": limit, "warning": "use another"}
        save_tensors(tmp_path / MEASURED, {}, {"pictures": rule})
        assert warning_about(backbone, tiny_picture()) == said


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    backbone: Any = tiny_backbone()
    backbone.folder = tmp_path
    (tmp_path / MEASURED).write_bytes(b"no")
    with pytest.raises(ModelError, match=r"uce\.safetensors is damaged; copy the model's folder again, or remove"):
        warning_about(backbone, tiny_picture())
