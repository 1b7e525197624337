"""Many small pictures on one, and a thing cut out of its picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uce.core import RunFolderError
from uce.core.runs.contact_sheet import GAP, SIDE, Tile, contact_sheet, cut_out, run_tiles
from uce.core.runs.folder import RunFolder
from uce.core.runs.stored import StoredRun

FIXTURE = Path(__file__).parents[2] / "fixtures" / "run-format-1"


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    shutil.copytree(FIXTURE, tmp_path / "run")
    return StoredRun(RunFolder(tmp_path / "run"))


def test_rows_and_columns_of_equal_tiles() -> None:
    red = Image.new("RGB", (10, 20), (255, 0, 0))
    rows = [("", [Tile(red, ""), Tile(red, "")]), ("", [Tile(None, "")])]
    sheet = contact_sheet(rows)
    assert sheet.width == GAP + 2 * (SIDE + GAP)
    pixels = np.asarray(sheet)
    assert (pixels[GAP + SIDE // 2, GAP + SIDE // 2] == (255, 0, 0)).all(), "fitted into the middle of its tile"
    assert (pixels[GAP + SIDE // 2, GAP + 5] == 255).all(), "a tall picture leaves its sides white"
    assert (pixels[-SIDE // 2, GAP + SIDE // 4] != (255, 0, 0)).any()


def test_a_title_takes_room_and_long_ones_are_cut() -> None:
    plain, titled = contact_sheet([("", [Tile(None, "")])]), contact_sheet([("word " * 200, [Tile(None, "")])])
    assert titled.height > plain.height and titled.width == plain.width
    assert titled.height - plain.height < 120, "three lines at most"


def test_a_thing_alone_on_white(run: StoredRun) -> None:
    concept = run.concepts[0]
    picture = np.asarray(cut_out(concept, margin=0.0))
    left, top, right, bottom = concept.bbox
    mask = concept.mask[top:bottom, left:right]
    original = np.asarray(Image.open(run.path / "input.png").convert("RGB"))[top:bottom, left:right]
    assert picture.shape[:2] == mask.shape
    assert np.array_equal(picture[mask], original[mask]) and (picture[~mask] == 255).all()
    assert cut_out(concept, margin=10.0).size == (40, 32), "never more than the picture"


def test_files_of_different_size_are_a_sentence(run: StoredRun) -> None:
    Image.new("RGB", (8, 8)).save(run.path / "input.png")
    with pytest.raises(RunFolderError, match=r"input\.png are not of one size; run again"):
        cut_out(run.concepts[0])


def test_a_drawn_sample_stands_beside_its_thing(run: StoredRun) -> None:
    assert [tile.caption for tile in run_tiles(run, "mine")] == ["mine:asset0", "mine:asset1"]
    (run.path / "samples").mkdir()
    Image.new("RGB", (8, 8)).save(run.path / "samples" / "asset1.png")
    assert [tile.caption for tile in run_tiles(run, "mine")] == ["mine:asset0", "mine:asset1", "drawn"]
