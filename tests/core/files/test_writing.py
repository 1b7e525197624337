"""Files appear whole: the old bytes or all of the new ones, never a part, and nothing stays beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from uce.core.errors import RunFolderError
from uce.core.files.writing import (
    exists,
    write_bytes,
    write_json,
    write_picture,
    write_safetensors,
    write_text,
    write_traceback,
)


def test_a_file_that_is_being_read_keeps_its_bytes(tmp_path: Path) -> None:
    """The new bytes are another file under the old name: who has the old one open goes on reading it."""
    path = tmp_path / "run.json"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_bytes(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_bytes_are_written_beside_their_place_and_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same folder, since a rename across file systems is no rename; and whole before they are renamed."""
    seen: list[tuple[Path, Path, bytes]] = []
    replace = Path.replace

    def spied(self: Path, target: Path) -> Path:
        seen.append((self.parent, target, self.read_bytes()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spied)
    write_bytes(tmp_path / "deep" / "file", b"all of it")
    assert seen == [(tmp_path / "deep", tmp_path / "deep" / "file", b"all of it")]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt("stop")])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def failing(descriptor: int) -> None:
        raise fault

    monkeypatch.setattr(os, "fsync", failing)
    text = r"cannot write .*file: No space left on device; choose another folder|^stop$"
    with pytest.raises((RunFolderError, KeyboardInterrupt), match=text):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"cannot write .*; choose another folder with -o, or free space"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_names_that_no_path_can_have_do_not_exist(tmp_path: Path) -> None:
    assert exists(tmp_path) and not exists(tmp_path / "missing")
    assert not exists(Path("a" * 300)) and not exists(Path("nul\0l"))


def test_text_and_documents_are_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "é\n")
    write_json(tmp_path / "document", {"name": "é", "list": [1]})
    assert (tmp_path / "text").read_bytes() == "é\n".encode()
    assert json.loads((tmp_path / "document").read_text(encoding="utf-8")) == {"name": "é", "list": [1]}
    assert "é" in (tmp_path / "document").read_text(encoding="utf-8")


def test_pictures_and_masks(tmp_path: Path) -> None:
    mask = np.array([[True, False], [False, True]])
    write_picture(tmp_path / "mask.png", mask, {"Software": "uce é"})
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "L" and np.array_equal(np.asarray(picture), mask * 255)
        assert picture.info["Software"] == "uce é"


def test_tensors_that_share_memory_are_each_written(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    write_safetensors(tmp_path / "t.safetensors", {"a": base, "b": base[2:], "c": base.view(2, 3).T}, {"key": "value"})
    with safe_open(tmp_path / "t.safetensors", framework="pt") as file:
        assert file.metadata() == {"key": "value"}
        assert torch.equal(file.get_tensor("b"), base[2:]) and torch.equal(file.get_tensor("c"), base.view(2, 3).T)


def test_a_traceback_finds_a_place(tmp_path: Path) -> None:
    try:
        raise ValueError("what a mess")
    except ValueError:
        inside, aside = write_traceback(tmp_path), write_traceback(None)
    assert inside == tmp_path / "error.txt" and aside.name == "error.txt"
    assert all("ValueError: what a mess" in path.read_text() for path in (inside, aside))
