"""Embedding files of transformers: diffusers', ComfyUI's and OneTrainer's keys for T5, and vectors at outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from uce.core.errors import TokenFileError
from uce.core.files.token_files import read_token_file
from uce.core.runs.token_names import token_file, token_tensors

L, G, T5 = torch.ones(2, 768), torch.ones(2, 1280), torch.ones(2, 4096)


def read(folder: Path, tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    save_file(tensors, folder / "thing.safetensors")
    return {token.name: token.vectors for token in read_token_file(folder / "thing.safetensors")}


@pytest.mark.parametrize(
    ("tensors", "encoders"),
    [
        ({"clip_l": L, "t5": T5}, ["clip_l", "t5"]),
        ({"t5xxl": T5, "clip_l": L, "clip_g": G}, ["clip_l", "clip_g", "t5"]),
        ({"t5": T5}, ["t5"]),
        ({"t5_out": T5, "clip_l_out": L}, ["clip_l_out", "t5_out"]),
        ({"text_encoders_1": G, "text_encoders_0": L}, ["clip_l", "clip_g"]),
    ],
)
def test_keys_of_every_program(tmp_path: Path, tensors: dict[str, torch.Tensor], encoders: list[str]) -> None:
    assert {name: list(vectors) for name, vectors in read(tmp_path, tensors).items()} == {"thing": encoders}


def test_a_runs_own_file_of_several_tokens(tmp_path: Path) -> None:
    found = read(tmp_path, token_tensors("<a>", {"t5": T5}) | token_tensors("<b>", {"clip_l": L, "t5": 2 * T5}))
    assert {name: list(vectors) for name, vectors in found.items()} == {"<a>": ["t5"], "<b>": ["clip_l", "t5"]}


def test_names_are_kept_where_the_models_encoders_have_some() -> None:
    assert set(token_file("<a>", {"clip": L})) == {"<a>"}
    assert set(token_file("<a>", {"t5": T5})) == {"t5"}
    assert set(token_tensors("<a>", {"t5_out": T5})) == {"<a>.t5_out"}


def test_half_an_embedding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match=r"holds only clip_g; SDXL embeddings hold clip_l and clip_g"):
        read(tmp_path, {"clip_g": G})
    with pytest.raises(TokenFileError, match="another number of vectors per text encoder"):
        read(tmp_path, {"clip_l": L[:1], "t5": T5})
