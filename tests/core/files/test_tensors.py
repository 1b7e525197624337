"""Tensors with a JSON header: back as they were, and None for whatever is no such file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from uce.core.files.tensors import load_tensors, save_tensors


def test_there_and_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).reshape(2, 3), "b": torch.tensor([True, False]), "c": torch.zeros(0)}
    values = {"kind": "Clusters", "number": 0.1, "list": [1, None]}
    save_tensors(tmp_path / "file", tensors, values)
    found = load_tensors(tmp_path / "file")
    assert found is not None and found[1] == values and found[0].keys() == tensors.keys()
    assert all(torch.equal(found[0][name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("header", [None, {"other": "{}"}, {"uce": "{"}, {"uce": "[]"}])
def test_a_file_without_our_header_is_none(tmp_path: Path, header: dict[str, str] | None) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "file", metadata=header)
    assert load_tensors(tmp_path / "file") is None


def test_missing_cut_and_foreign_files_are_none(tmp_path: Path) -> None:
    assert load_tensors(tmp_path / "missing") is None
    save_tensors(tmp_path / "file", {"a": torch.zeros(100)}, {})
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:-4])
    assert load_tensors(tmp_path / "file") is None
    (tmp_path / "file").write_bytes(b"\x80\x04pickle")
    assert load_tensors(tmp_path / "file") is None
