"""Where embeddings lie: a file stands for itself, a folder for what is in it, a picture for what it carries."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from uce.core.errors import TokenFileError
from uce.core.files.token_places import PNG_KEY, read_png, token_files


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def picture(path: Path, text: str | None) -> Path:
    info = PngInfo()
    if text is not None:
        info.add_text(PNG_KEY, text)
    Image.new("RGB", (4, 4)).save(path, pnginfo=info)
    return path


def packed(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def test_files_stand_for_themselves_in_the_order_given(tmp_path: Path) -> None:
    paths = [tmp_path / "b.pt", tmp_path / "missing.bin", tmp_path / "a.pt"]
    assert token_files(paths) == paths


def test_both_halves_of_an_sdxl_folder_and_safetensors_before_a_pickle(tmp_path: Path) -> None:
    touch(tmp_path, "learned_embeds.bin", "learned_embeds.safetensors", "learned_embeds_2.bin", "other.pt")
    assert [path.name for path in token_files([tmp_path])] == ["learned_embeds.safetensors", "learned_embeds_2.bin"]


def test_a_folder_of_folders_as_on_the_hub(tmp_path: Path) -> None:
    found = touch(tmp_path, "cat/learned_embeds.bin", "dog/learned_embeds.bin")
    touch(tmp_path, "loose.pt", "empty/readme.md")
    assert token_files([tmp_path]) == found


def test_else_every_embedding_but_loras(tmp_path: Path) -> None:
    found = touch(tmp_path, "a.PT", "b.safetensors")
    touch(tmp_path, "my_LoRA.safetensors", "notes.txt", "preview.png")
    assert token_files([tmp_path, tmp_path / "b.safetensors"]) == [*found, tmp_path / "b.safetensors"]


def test_a_folder_without_any_says_what_to_give(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(TokenFileError, match=r"holds no embedding; give a file, or a folder as the hub has it"):
        token_files([tmp_path])


def test_an_embedding_in_a_picture(tmp_path: Path) -> None:
    values = {"string_to_param": {"*": {"TORCHTENSOR": [[1, 2.5]]}}, "name": "cat"}
    found = read_png(picture(tmp_path / "a.png", packed(values)))
    assert found["name"] == "cat" and torch.equal(found["string_to_param"]["*"], torch.tensor([[1, 2.5]]))


@pytest.mark.parametrize(
    "text",
    ["not base64!", packed([]), packed({}), packed({"string_to_param": {"*": {"TORCHTENSOR": [[1], [2, 3]]}}}),
     packed({"string_to_param": {"*": {"TORCHTENSOR": "x"}}}), packed({"string_to_param": [1]})],
)  # fmt: skip
def test_a_damaged_embedding_in_a_picture(tmp_path: Path, text: str) -> None:
    with pytest.raises(TokenFileError, match=r"a\.png carries a damaged embedding; get it again"):
        read_png(picture(tmp_path / "a.png", text))


def test_pictures_that_carry_none(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match=r"is a picture that carries no embedding .no text sd-ti-embedding"):
        read_png(picture(tmp_path / "a.png", None))
    (tmp_path / "b.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(TokenFileError, match=r"b\.png is not a readable picture; get it again"):
        read_png(tmp_path / "b.png")
    with (tmp_path / "c.png").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(TokenFileError, match="is a picture of more than 16 MiB; embeddings' are smaller"):
        read_png(tmp_path / "c.png")
