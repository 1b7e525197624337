"""The run folder: what lies where, and that nothing else is ever touched."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from uce.core import Concepts, ConfigError, LearnedConcepts, RunFolderError
from uce.core.files.writing import write_bytes, write_picture, write_safetensors
from uce.core.runs.folder import RunFolder
from uce.core.runs.token_names import token_stem


@pytest.mark.parametrize("name", ["asset0", "cup", "0", "red-cup_2", "a" * 41])
def test_token_stem(name: str) -> None:
    assert token_stem(f"<{name}>") == name


@pytest.mark.parametrize(
    "token",
    ["", "<>", "cup", "<cup", "cup>", "<Cup>", "<../x>", "<a/b>", "<a\\b>", "<a.b>", "<.>", "<a b>", "<<cup>>",
     "<-cup>", "<" + "a" * 42 + ">", "<cup\n>", "<tasse-é>", "<con:1>", "<a\0>"],
)  # fmt: skip
def test_token_names_that_are_refused(token: str) -> None:
    with pytest.raises(ConfigError, match=r"is not allowed; use small letters, digits, '-' and '_', at most 41"):
        token_stem(token)


def fill(path: Path, *names: str) -> None:
    """Files of these names, each holding its name."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)


def listing(path: Path) -> set[str]:
    return {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}


RUN = ("run.json", "config.yaml", "concepts.json", "overlay.png", "input.png", "embeddings.safetensors", "history.csv",
       "masks/0.png", "masks/ball.png", "tokens/asset0.safetensors", "samples/all.png",
       "stages/extractor.safetensors", ".run.json.ab12_xyz.part", "masks/.0.png.ab12_xyz.part")  # fmt: skip
FOREIGN = ("masks/notes.txt", "masks/originals/0.png", "samples/best.jpg", "tokens/readme.md")


def test_an_empty_or_missing_folder_is_fine(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "a" / "b"):
        folder = RunFolder(path)
        folder.check(overwrite=False)
        folder.prepare(overwrite=False)
        assert path.is_dir() and not folder.is_run


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    fill(tmp_path, "out")
    with pytest.raises(RunFolderError, match="out is a file; give a folder with -o"):
        RunFolder(tmp_path / "out").check(overwrite=True)


def test_another_run_is_refused_unless_overwritten(tmp_path: Path) -> None:
    fill(tmp_path, *RUN)
    folder = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match="holds another run; continue it with --resume, replace it"):
        folder.prepare(overwrite=False)
    assert listing(tmp_path) == set(RUN)
    folder.prepare(overwrite=True)
    assert tmp_path.is_dir() and not list(tmp_path.iterdir())


def test_foreign_files_inside_a_run_stay(tmp_path: Path) -> None:
    fill(tmp_path, *RUN, *FOREIGN)
    RunFolder(tmp_path).prepare(overwrite=True)
    assert listing(tmp_path) == set(FOREIGN)


@pytest.mark.parametrize(
    "name", ["thesis.tex", "film.part", "input.png", "masks/0.png", "config.yaml", "samples/a.png"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_runs_is_refused_and_kept(tmp_path: Path, name: str, overwrite: bool) -> None:
    fill(tmp_path, name)
    with pytest.raises(RunFolderError, match=f"is not empty and holds '{name.split('/')[0]}', which is not a run's"):
        RunFolder(tmp_path).prepare(overwrite=overwrite)
    assert listing(tmp_path) == {name}


def test_a_run_with_a_foreign_file_beside_it_is_refused_and_kept(tmp_path: Path) -> None:
    fill(tmp_path, *RUN, "thesis.tex")
    with pytest.raises(RunFolderError, match=r"holds 'thesis\.tex'"):
        RunFolder(tmp_path).prepare(overwrite=True)
    assert listing(tmp_path) == {*RUN, "thesis.tex"}


def test_leftovers_of_a_failed_start_are_no_obstacle(tmp_path: Path) -> None:
    fill(tmp_path, "error.txt", ".run.json.ab12_xyz.part")
    RunFolder(tmp_path).prepare(overwrite=False)
    assert not list(tmp_path.iterdir())


def test_discard(tmp_path: Path) -> None:
    path = tmp_path / "out"
    fill(path, *RUN)
    RunFolder(path).discard()
    assert not path.exists()
    fill(path, *RUN, "error.txt")
    RunFolder(path).discard()
    assert listing(path) == {"error.txt"} and (path / "error.txt").read_text() == "error.txt"
    fill(path, *RUN, "masks/notes.txt")
    RunFolder(path).discard()
    assert listing(path) == {"error.txt", "masks/notes.txt"}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot use the folder"):
        RunFolder(tmp_path / "out").prepare(overwrite=False)


def test_sweep_removes_what_a_killed_write_left_and_nothing_else(tmp_path: Path) -> None:
    kept = ("film.part", ".thesis.tex.ab12_xyz.part", "masks/0.png", "run.json")
    fill(
        tmp_path, *kept, ".run.json.ab12_xyz.part", "masks/.0.png.ab12_xyz.part", "stages/.a.safetensors.ab12_xyz.part"
    )
    RunFolder(tmp_path).sweep()
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.bin"
    write_bytes(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        RunFolderError, match=r"cannot write .*file\.bin: No space left on device; choose another folder"
    ):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and listing(tmp_path) == {"deep/file.bin"}

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and listing(tmp_path) == {"deep/file.bin"}


def test_a_folder_in_the_way_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file.bin").mkdir()
    with pytest.raises(RunFolderError, match="cannot write"):
        write_bytes(tmp_path / "file.bin", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_written_files_can_be_read_by_others(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_boolean_pictures_are_black_and_white(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.array([[True, False, True]]))
    picture = Image.open(tmp_path / "a.png")
    assert picture.mode == "L" and np.asarray(picture).tolist() == [[255, 0, 255]]


def test_tensors_that_share_memory_are_written(tmp_path: Path) -> None:
    one = torch.arange(4.0)
    write_safetensors(tmp_path / "a", {"x": one, "y": one, "z": one[1:3], "t": one.reshape(2, 2).T})
    found = load_file(tmp_path / "a")
    assert (
        found["y"].tolist() == [0, 1, 2, 3]
        and found["z"].tolist() == [1, 2]
        and found["t"].tolist() == [[0, 2], [1, 3]]
    )


def two_concepts(labels: list[str] | None = None) -> Concepts:
    """On a picture of 5 x 4 pixels: columns 1 and 2 of rows 1 to 3, and the last pixel."""
    pixel_masks = torch.zeros(2, 4, 5, dtype=torch.bool)
    pixel_masks[0, 1:4, 1:3] = True
    pixel_masks[1, 3, 4] = True
    masks = torch.tensor([[[True, False]], [[False, True]]])
    return Concepts(masks, torch.full((2, 2), 0.5), torch.tensor([1.25, 0.5]), pixel_masks, labels)


def test_concepts_json_worked_out_by_hand(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_concepts(two_concepts(["cup", "cat"]), [0, 3], ["<asset0>", "<cat>"])
    assert json.loads((tmp_path / "concepts.json").read_text()) == {
        "image": {"width": 5, "height": 4},
        "concepts": [
            {"index": 0, "token": "<asset0>", "mask": "masks/0.png", "area": 6, "share": 0.3, "score": 1.25,
             "bbox": [1, 1, 3, 4], "label": "cup"},
            {"index": 3, "token": "<cat>", "mask": "masks/3.png", "area": 1, "share": 0.05, "score": 0.5,
             "bbox": [4, 3, 5, 4], "label": "cat"},
        ],
    }  # fmt: skip
    RunFolder(tmp_path).write_concepts(two_concepts(), [0, 1], ["<asset0>", "<asset1>"])
    assert [c["label"] for c in json.loads((tmp_path / "concepts.json").read_text())["concepts"]] == [None, None]


def test_masks_of_an_earlier_state_go(tmp_path: Path) -> None:
    folder, masks = RunFolder(tmp_path), two_concepts().pixel_masks
    assert masks is not None
    folder.write_masks(masks.numpy(), [0, 1])
    folder.write_masks(masks.numpy()[1:], [3])
    assert listing(tmp_path) == {"masks/3.png"}
    assert (np.asarray(Image.open(tmp_path / "masks" / "3.png")) == masks[1].numpy() * 255).all()


def test_token_files_of_one_text_encoder(tmp_path: Path) -> None:
    vectors = torch.arange(6.0).reshape(2, 1, 3)
    history = [{"update": 1, "phase": "split", "total": 1 / 3}, {"update": 2, "phase": "merged", "extra": 1e-9}]
    RunFolder(tmp_path).write_learned(LearnedConcepts(("<asset0>", "<cup>"), {"clip": vectors}, history=history))
    together = load_file(tmp_path / "embeddings.safetensors")
    assert {name: value.tolist() for name, value in together.items()} == {"<asset0>": [0, 1, 2], "<cup>": [3, 4, 5]}
    own = load_file(tmp_path / "tokens" / "cup.safetensors")
    assert {name: value.tolist() for name, value in own.items()} == {"<cup>": [[3, 4, 5]]}
    assert own["<cup>"].dtype == torch.float32
    assert (tmp_path / "history.csv").read_text().splitlines()[0] == "update,phase,total,extra"
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert rows[0] == {"update": "1", "phase": "split", "total": "0.33333333", "extra": ""}
    assert rows[1]["extra"] == "1e-09" and not (tmp_path / "weights.safetensors").exists()


def test_token_files_of_two_text_encoders(tmp_path: Path) -> None:
    same = torch.ones(1, 2, 3)
    weights = {"unet.lora_A": torch.zeros(2)}
    RunFolder(tmp_path).write_learned(LearnedConcepts(("<cup>",), {"clip_l": same, "clip_g": same}, weights=weights))
    assert set(load_file(tmp_path / "embeddings.safetensors")) == {"<cup>.clip_l", "<cup>.clip_g"}
    own = load_file(tmp_path / "tokens" / "cup.safetensors")
    assert set(own) == {"clip_l", "clip_g"} and own["clip_g"].shape == (2, 3)
    assert list(load_file(tmp_path / "weights.safetensors")) == ["unet.lora_A"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, r"run\.json is missing; .* is no run folder: make one with uce run IMAGE -o"),
        ("{", r"run\.json is not readable .*; run again with --overwrite"),
        ("[]", r"run\.json is not a run's; give a folder that uce run wrote"),
        ('{"format": "1"}', "is not a run's"),
        ('{"format": 99}', "has format 99, this uce reads up to 1; install a newer uce"),
    ],
)
def test_run_json_that_cannot_be_read(tmp_path: Path, content: str | None, text: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunFolderError, match=text):
        RunFolder(tmp_path).read_run()


def test_update_run_keeps_what_it_is_not_told(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.update_run(status="running", seed=3)
    folder.update_run(status="done")
    assert folder.read_run() == {"format": 1, "status": "done", "seed": 3}
