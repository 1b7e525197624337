"""A run folder, read: what lies there, what is missing, in the order of the model's text encoders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from uce.core import RunFolderError
from uce.core.runs.folder import RunFolder
from uce.core.runs.stored import StoredRun

FIXTURE = Path(__file__).parents[2] / "fixtures" / "run-format-1"


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    shutil.copytree(FIXTURE, tmp_path / "run")
    return StoredRun(RunFolder(tmp_path / "run"))


def test_concepts_are_as_they_were_written(run: StoredRun) -> None:
    first = run.concepts[0]
    assert len(run) == 2 and run.learned and run.has_picture
    assert (first.index, first.token, first.label, first.area) == (0, "<asset0>", "rose", 294)
    assert first.words == ("rose", "mug", "lamp") and first.bbox == (0, 6, 15, 26)
    assert first.mask.shape == (32, 40) and first.mask.sum() == 294
    assert repr(run) == f"StoredRun({str(run.path)!r})"


def test_vectors_are_one_or_several_per_encoder(run: StoredRun) -> None:
    d = run.concepts[0].embedding.shape[0]
    assert run.concepts[0].vectors["clip"].shape == (1, d)
    tensors = {"<asset0>.clip_g": torch.ones(2, 5), "<asset0>.clip_l": torch.zeros(2, 3), "<asset1>": torch.ones(3)}
    save_file(tensors, run.path / "embeddings.safetensors")
    again = StoredRun(RunFolder(run.path))
    assert list(again.concepts[0].vectors) == ["clip_l", "clip_g"], "as models have them"
    assert again.concepts[0].embedding.shape == (2, 3), "the first encoder's"
    assert again.tokens()["<asset1>"]["clip"].shape == (1, 3)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"<other>": torch.ones(3)}, "holds no <asset0>; learn again with uce learn"),
        ({"<asset0>": torch.ones(1, 1, 3)}, "<asset0> is no vector; learn again"),
        ({"<asset0>": torch.full((3,), float("inf"))}, "holds no numbers that can be used"),
    ],
)
def test_embeddings_that_cannot_be_used(run: StoredRun, tensors: dict[str, torch.Tensor], text: str) -> None:
    save_file(tensors, run.path / "embeddings.safetensors")
    with pytest.raises(RunFolderError, match=text):
        _ = StoredRun(RunFolder(run.path)).concepts[0].vectors


def test_what_was_not_learned_says_how(run: StoredRun) -> None:
    (run.path / "embeddings.safetensors").unlink()
    assert not run.learned and run.weights is None
    with pytest.raises(RunFolderError, match="holds no learned tokens yet; learn them with uce learn"):
        _ = run.concepts[0].vectors


def test_a_missing_mask_is_a_sentence(run: StoredRun) -> None:
    (run.path / "masks" / "1.png").unlink()
    with pytest.raises(RunFolderError, match=r"1\.png is not a readable picture"):
        _ = run.concepts[1].mask


def test_the_summary_is_what_json_prints(run: StoredRun) -> None:
    found = run.summary()
    assert found["folder"] == str(run.path) and found["status"] == "done" and len(found["concepts"]) == 2
    assert found["files"] == {"overlay": "overlay.png", "embeddings": "embeddings.safetensors"}


def test_a_mask_is_read_once(run: StoredRun) -> None:
    concept = run.concepts[0]
    mask = concept.mask
    Image.fromarray(np.zeros((32, 40), np.uint8)).save(run.path / "masks" / "0.png")
    assert concept.mask is mask
