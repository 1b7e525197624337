"""Masks that people draw: disjoint, of the picture's size, and measured anew only where they changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_options import PICTURE, toy_options

from uce.core.errors import ConfigError, RunFolderError, StageInputError
from uce.core.flow.picture import read_picture
from uce.core.runs.folder import RunFolder
from uce.core.work.edited_masks import _masks, _masks_as_they_lie, given_masks, measured
from uce.core.work.localizing import find_concepts
from uce.core.work.opening import begin
from uce.core.work.pipeline import Work

SIZE = (40, 48)


def box(rows: slice, columns: slice) -> np.ndarray[Any, Any]:
    mask = np.zeros(SIZE, np.uint8)
    mask[rows, columns] = 255
    return mask


@pytest.fixture
def localized(tmp_path: Path) -> Work:
    work = begin(PICTURE, toy_options(), tmp_path / "run", resume=False, overwrite=False)
    find_concepts(work)
    return work


def draw(work: Work, name: str, mask: np.ndarray[Any, Any]) -> None:
    assert work.folder is not None
    Image.fromarray(mask).save(work.folder / "masks" / name)


def test_the_later_mask_keeps_the_pixels() -> None:
    found = given_masks([box(slice(0, 20), slice(0, 48)), box(slice(10, 40), slice(0, 48)) > 0], SIZE)
    assert found.dtype == torch.bool and found.shape == (2, *SIZE)
    assert found[0, :10].all() and not found[0, 10:].any() and found[1, 10:].all() and not found[1, :10].any()
    whole = torch.ones(1, *SIZE, dtype=torch.int64)
    assert torch.equal(given_masks(whole, SIZE), whole.bool())


@pytest.mark.parametrize(
    ("masks", "text"),
    [
        ([], "no mask is given; give one per thing"),
        ([np.ones(SIZE)], "mask 0 holds float64; compare it with a threshold first"),
        ([np.ones(SIZE[::-1], bool)], r"mask 0 must be \(40, 48\) as the picture is, found \(48, 40\)"),
        ([np.ones(SIZE, bool), np.zeros(SIZE, bool)], "mask 1 is empty or covered by later masks"),
        ([np.ones(SIZE, bool)] * 2, "mask 0 is empty or covered by later masks"),
    ],
)
def test_what_is_no_mask_is_refused(masks: Any, text: str) -> None:
    with pytest.raises(StageInputError, match=text):
        given_masks(masks, SIZE)


def test_untouched_files_keep_what_the_stages_found(localized: Work) -> None:
    concepts, indexes, tokens = find_concepts(localized)
    found, same, names, left_out = _masks_as_they_lie(localized)
    assert (same, names, left_out) == (indexes, tokens, []) == ([0, 1], ("<asset0>", "<asset1>"), [])
    assert torch.equal(found.masks, concepts.masks) and torch.equal(found.maps, concepts.maps)
    assert torch.equal(found.scores, concepts.scores)


def test_a_drawn_file_is_measured_and_named_after_itself(localized: Work) -> None:
    before, *_ = find_concepts(localized)
    draw(localized, "cup.png", box(slice(0, 6), slice(0, 48)))
    draw(localized, "1.png", box(slice(20, 30), slice(24, 40)))
    found, indexes, names, _ = _masks_as_they_lie(localized)
    assert (indexes, names) == ([0, 1, 2], ("<asset0>", "<asset1>", "<cup>"))
    assert torch.equal(found.maps[0], before.maps[0]) and not torch.equal(found.masks[1], before.masks[1])
    assert not (found.masks.sum(dim=0) > 1).any()


def test_chosen_masks_by_the_number_of_their_file(localized: Work) -> None:
    run = localized.config.run
    object.__setattr__(localized.config, "run", run.model_copy(update={"concepts": [1], "names": ["hat"]}))
    found, indexes, names, left_out = _masks_as_they_lie(localized)
    assert (len(found), indexes, names, left_out) == (1, [1], ("<hat>",), ["0"])
    object.__setattr__(localized.config, "run", run.model_copy(update={"concepts": [5]}))
    with pytest.raises(ConfigError, match=r"--concepts: there is no mask 5\.png; found 0, 1"):
        _masks_as_they_lie(localized)


def test_a_folder_without_masks_and_a_covered_one(localized: Work, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no PNG; draw a mask, or run uce localize again"):
        _masks(RunFolder(tmp_path / "none"), SIZE)
    draw(localized, "all.png", np.full(SIZE, 255, np.uint8))
    with pytest.raises(StageInputError, match=r"0\.png is empty or covered by later masks; delete it or draw"):
        _masks_as_they_lie(localized)


def test_a_mask_outside_of_what_the_model_sees(localized: Work) -> None:
    localized.image = read_picture(localized.picture.original, 32, "crop")
    with pytest.raises(StageInputError, match="mask number 1 shows nothing that the model sees; draw it larger"):
        measured(localized, given_masks([box(slice(10, 30), slice(4, 20)), box(slice(0, 40), slice(0, 2))], SIZE))
