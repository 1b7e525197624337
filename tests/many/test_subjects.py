"""Pictures under names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uce.core.errors import ConfigError, ImageError
from uce.many.subjects import Subject, read_subjects


def test_a_picture_is_known_by_its_stem_and_an_array_by_its_number(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4), "red").save(tmp_path / "scene.png")
    Image.fromarray(np.eye(4, 6, dtype=np.uint8)).save(tmp_path / "truth.png")
    one, two = read_subjects([tmp_path / "scene.png", np.zeros((5, 5, 3), np.uint8)], None)
    assert (one.name, one.file, one.facts[1:]) == ("scene", "scene.png", (4, 6))
    assert (two.name, two.file) == ("picture2", "ndarray") and two.truth is None
    assert one.original.shape == (4, 6, 3) and one.facts[0] != two.facts[0]
    (tmp_path / "masks").mkdir()
    (tmp_path / "truth.png").rename(tmp_path / "masks" / "scene.png")
    true = Subject("scene", tmp_path / "scene.png", tmp_path / "masks").truth
    assert true is not None and true.shape == (1, 4, 6) and true.sum() == 4


def test_what_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png' does not exist"):
        read_subjects([tmp_path / "none.png"], None)
    picture = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(ConfigError, match="unknown picture 'picture1'"):
        read_subjects([picture], tmp_path)
