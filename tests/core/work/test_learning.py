"""From masks to tokens: what a folder holds afterwards, what is refused, and which pictures are drawn."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toy_options import PICTURE, TOY, toy_options

from uce.core.config.options import Options
from uce.core.errors import RunFolderError, StageInputError
from uce.core.files.tensors import load_tensors
from uce.core.runs.folder import RunFolder
from uce.core.runs.stored import StoredRun
from uce.core.work.learning import WORDS_FILE, draw_samples, keep_vectors, learn_folder, learn_masks, run_picture
from uce.core.work.localizing import localize_picture
from uce.testing import tiny_backbone

A12 = [f"a{k}" for k in range(12)]
STEPS = {"optimizer.steps": 1, "optimizer.attention_weight": 0, "run.samples": 0}


def options(**given: Any) -> Options:
    return toy_options(set=STEPS, **given)


def run(out: Path, resume: bool = False, overwrite: bool = False, **given: Any) -> StoredRun:
    run_picture(PICTURE, options(**given), out, resume=resume, overwrite=overwrite)
    return StoredRun(RunFolder(out))


def learn(out: Path, resume: bool = False, overwrite: bool = False, **given: Any) -> StoredRun:
    learn_folder(out, Options.of({"plugin": TOY, **given}), resume=resume, overwrite=overwrite)
    return StoredRun(RunFolder(out))


def embeddings(out: Path) -> bytes:
    return (out / "embeddings.safetensors").read_bytes()


def test_learning_a_localised_folder_gives_the_bytes_of_a_whole_run(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    localize_picture(PICTURE, options(), tmp_path / "parts", resume=False, overwrite=False)
    parts = learn(tmp_path / "parts")
    assert whole.tokens().keys() == parts.tokens().keys() == {"<asset0>", "<asset1>"}
    assert embeddings(tmp_path / "parts") == embeddings(tmp_path / "whole")
    assert parts.info["mode"] == "learn" and parts.info["status"] == "done"
    assert (tmp_path / "whole" / "stages" / WORDS_FILE).is_file() and not (
        tmp_path / "whole" / "stages" / "checkpoint.safetensors"
    ).exists()


def test_what_is_done_is_done_once_unless_asked(tmp_path: Path) -> None:
    run(tmp_path)
    before = embeddings(tmp_path)
    stamp = (tmp_path / "run.json").read_bytes()
    run(tmp_path, resume=True)
    learn(tmp_path, resume=True)
    assert (tmp_path / "run.json").read_bytes() == stamp
    with pytest.raises(RunFolderError, match="holds learned tokens already; learn them again with --overwrite"):
        learn(tmp_path)
    assert learn(tmp_path, overwrite=True, seed=8).info["seed"] == 8 and embeddings(tmp_path) != before


def test_given_masks_stand_in_the_place_of_stages_two_and_three(tmp_path: Path) -> None:
    masks = np.zeros((2, 40, 48), bool)
    masks[0, 10:30, 4:20] = masks[1, 14:32, 28:44] = True
    learn_masks(PICTURE, masks, options(names="cup"), tmp_path / "a", resume=False, overwrite=False)
    found = StoredRun(RunFolder(tmp_path / "a"))
    assert [one.token for one in found.concepts] == ["<cup>", "<asset1>"]
    assert all(np.array_equal(one.mask, mask) for one, mask in zip(found.concepts, masks, strict=True))
    with pytest.raises(StageInputError, match="mask 0 must be"):
        learn_masks(PICTURE, masks[:, 1:], options(), tmp_path / "b", resume=False, overwrite=False)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("samples", "count", "names"),
    [(1, 2, ["a0", "a1", "all"]), (2, 1, ["a0-0", "a0-1", "all"]), (1, 12, [*A12, "all-0", "all-1"])],
)  # fmt: skip
def test_a_picture_per_concept_and_one_of_all(tmp_path: Path, samples: int, count: int, names: list[str]) -> None:
    heard: list[Any] = []
    run_settings = SimpleNamespace(samples=samples, seed=3, sample_steps=1, guidance=1.0)
    work: Any = SimpleNamespace(
        config=SimpleNamespace(run=run_settings), folder=RunFolder(tmp_path), backbone=tiny_backbone(), seconds={},
        manager=SimpleNamespace(emit=heard.append),
    )  # fmt: skip
    draw_samples(work, {f"<a{k}>": {"clip": torch.full((1, 6), float(k))} for k in range(count)})
    assert {path.stem for path in (tmp_path / "samples").iterdir()} == set(names)
    assert heard[0].total == len(names) and work.seconds["samples"] == heard[1].seconds


def test_vectors_of_known_words_are_kept_once(tmp_path: Path) -> None:
    path, backbone = tmp_path / "w", tiny_backbone()
    keep_vectors(path, backbone, [["cup", "no-word"], ["tree", "cup"]])
    tensors, values = load_tensors(path) or ({}, {})
    rows = [backbone.words("clip")[word] for word in ("cup", "tree")]
    assert values["words"] == ["cup", "tree"] and torch.equal(
        tensors["vectors"], backbone.embedding_table("clip")[rows]
    )
    keep_vectors(path, backbone, [["no-word"]])
    assert not path.exists()
