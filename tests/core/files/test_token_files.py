"""Embedding files of every layout: what they hold is read and checked, and nothing in them is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from uce.core.errors import TokenFileError
from uce.core.files import token_files
from uce.core.files.token_files import MAX_VECTORS, MAX_WIDTH, read_token_file

ROW, TWO = torch.arange(4.0), torch.arange(8.0).reshape(2, 4)


def saved(path: Path, content: Any, metadata: dict[str, str] | None = None) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path, metadata)
    else:
        torch.save(content, path)
    return path


def read(path: Path) -> dict[str, dict[str, Tensor]]:
    return {token.name: token.vectors for token in read_token_file(path)}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"<cat>": ROW}, {"<cat>": ["clip"]}),
        ({"emb_params": TWO}, {"thing": ["clip"]}),
        ({"clip_l": ROW}, {"thing": ["clip"]}),
        ({"clip_g": TWO, "clip_l": TWO}, {"thing": ["clip_g", "clip_l"]}),
        ({"<a>": ROW, "<b>.clip_g": ROW, "<b>.clip_l": ROW}, {"<a>": ["clip"], "<b>": ["clip_g", "clip_l"]}),
        ({"bundle_emb.cat.emb_params": ROW, "lora_up.weight": ROW}, {"cat": ["clip"]}),
        ({"bundle_emb.cat.clip_l": ROW, "bundle_emb.cat.clip_g": ROW}, {"cat": ["clip_g", "clip_l"]}),
    ],
)
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_layouts(tmp_path: Path, content: dict[str, Tensor], names: dict[str, list[str]], ending: str) -> None:
    if ending == "bin":  # of a pickle everything is read
        content = {key: value for key, value in content.items() if not key.startswith("lora")}
    content = {key: value.clone() for key, value in content.items()}
    found = read(saved(tmp_path / f"thing.{ending}", content))
    assert {name: sorted(vectors) for name, vectors in found.items()} == names
    assert all(vector.ndim == 2 and vector.shape[1] == 4 for vectors in found.values() for vector in vectors.values())


def test_automatic1111s_file_has_its_own_name(tmp_path: Path) -> None:
    assert list(read(saved(tmp_path / "a.pt", {"string_to_param": {"*": TWO}, "name": "cat"}))) == ["cat"]
    assert list(read(saved(tmp_path / "a.pt", {"string_to_param": {"*": TWO}, "name": " "}))) == ["a"]


def test_vectors_are_float32_of_their_own_memory_and_facts_come_along(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors", {"emb_params": TWO.half()}, {"uce": '{"token": "<cup>"}'})
    (token,) = read_token_file(path)
    assert token.name == "<cup>" and token.facts == {"token": "<cup>"} and token.path == path
    assert token.vectors["clip"].dtype == torch.float32 and torch.equal(token.vectors["clip"], TWO)
    other = saved(tmp_path / "b.safetensors", {"x": ROW}, {"uce": "{", "modelspec.license": "MIT"})
    assert read_token_file(other)[0].facts == {"licence": "MIT"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "holds 0 entries, not tensors by name; give an embedding as"),
        ([ROW], "holds list, not tensors by name"),
        ({"a": "x"}, "'a' is text, not a tensor"),
        ({"a": torch.arange(3)}, "has numbers of type int64; embeddings are floats"),
        ({"a": torch.ones(1, 1, 3)}, r"has shape \(1, 1, 3\); embeddings are \(d,\) or \(n, d\)"),
        ({"a": torch.ones(0, 3)}, r"has shape \(0, 3\)"),
        ({"a": torch.ones(MAX_VECTORS + 1, 3)}, "at most 75 vectors of 2 to 16384 numbers make a token"),
        ({"a": torch.ones(MAX_WIDTH + 1)}, "at most 75 vectors"),
        ({"a": torch.ones(1, 1)}, "at most 75 vectors"),
        ({"a": torch.tensor([1.0, float("nan")])}, "holds values that are not finite"),
        ({"clip_l": TWO, "clip_g": ROW}, r"another number of vectors per text encoder \(clip_l: 2, clip_g: 1\)"),
        ({"clip_g": ROW}, "holds only clip_g; SDXL embeddings hold clip_l and clip_g"),
        ({"clip_l_out": ROW}, "holds only output embeddings"),
        ({"down.weight": ROW, "up.weight": ROW}, "is no token with its vectors; this looks like weights"),
        ({"bundle_emb.cat.clip_g": ROW}, "holds clip_g; SDXL's hold clip_l and clip_g"),
        ({"string_to_param": {}}, "string_to_param must hold one tensor, found 0 entries"),
    ],
)
def test_what_is_no_embedding_is_told(tmp_path: Path, content: Any, text: str) -> None:
    with pytest.raises(TokenFileError, match=text):
        read(saved(tmp_path / "a.bin", content))


def test_the_largest_that_is_read(tmp_path: Path) -> None:
    assert read(saved(tmp_path / "a.bin", {"a": torch.ones(MAX_VECTORS, 2)}))["a"]["clip"].shape == (75, 2)


def test_files_that_are_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"hello, I am a text")
    with pytest.raises(TokenFileError, match="is neither safetensors nor a torch file"):
        read(path)
    path.write_bytes((1000).to_bytes(8, "little") + b'{"a": 1}')
    with pytest.raises(TokenFileError, match="its header says 1000 bytes, the file has 16; get it again"):
        read(path)
    path.write_bytes(pickle.dumps({"a": Path("x")}, protocol=2))
    with pytest.raises(TokenFileError, match=r"is a pickle that holds more than plain tensors.*nothing in it was run"):
        read(path)
    with pytest.raises(TokenFileError, match="is a folder; give an embedding"):
        read(tmp_path)
    with pytest.raises(TokenFileError, match=r"cannot read .*gone: No such file or directory; check the path"):
        read(tmp_path / "gone")
    monkeypatch.setattr(token_files, "MAX_BYTES", 15)
    with pytest.raises(TokenFileError, match="MiB, embeddings have at most 0; is it a model"):
        read(path)
