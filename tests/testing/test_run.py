"""The tiny run is one that everything else reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import uce
from uce.testing import tiny_run
from uce.testing.exporters import contents


def test_it_is_read_as_any_run(tmp_path: Path) -> None:
    tiny_run(tmp_path / "run")
    run = uce.load(tmp_path / "run")
    assert [(concept.token, concept.label) for concept in run.concepts] == [("<asset0>", "cup"), ("<asset1>", "tree")]
    assert run.concepts[0].mask.shape == (40, 48) and run.concepts[0].mask.any()
    assert run.concepts[1].embedding.shape == (6,) and run.concepts[1].embedding.dtype is torch.float32


@pytest.mark.parametrize(("encoders", "vectors"), [(("clip",), 3), (("clip_l", "clip_g"), 2)])
def test_text_encoders_and_vectors(tmp_path: Path, encoders: tuple[str, ...], vectors: int) -> None:
    run = tiny_run(tmp_path, encoders, vectors)
    assert {e: tuple(v.shape) for e, v in run.concepts[0].vectors.items()} == {
        encoder: (vectors, 6 + 4 * i) for i, encoder in enumerate(encoders)
    }


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    tiny_run(tmp_path / "one")
    tiny_run(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
