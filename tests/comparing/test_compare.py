"""The comparison of presets: what it measures, what it says, and the photographs it ships outlines for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uce.commands.doctor import sample_picture
from uce.comparing.compare import Comparison, Trial, compare
from uce.comparing.photographs import Photograph, shipped


def test_shipped_masks_fit_their_photographs() -> None:
    from PIL import Image

    found = shipped()
    assert [photograph.name for photograph in found] == ["coffee", "astronaut", "chelsea"]
    for photograph in found:
        masks = photograph.masks
        assert masks is not None and masks.dtype == np.bool_ and int(masks.sum(axis=0).max()) == 1, "disjoint"
        assert masks.shape[1:] == Image.open(photograph.path).size[::-1]
        assert all(0.01 < mask.mean() < 0.9 for mask in masks)


def test_outlines_lie_where_the_things_are() -> None:
    """The coffee's cup is pale and its saucer red; the suit of the astronaut is orange."""
    from PIL import Image

    by_name = {photograph.name: photograph for photograph in shipped()}
    coffee, astronaut = (np.asarray(Image.open(by_name[name].path)).astype(int) for name in ("coffee", "astronaut"))
    saucer, cup, _ = by_name["coffee"].masks  # type: ignore[misc]
    red, pale = coffee[saucer].mean(axis=0), coffee[cup].mean(axis=0)
    assert red[0] > 2 * red[1] and pale[2] > red[2]
    person = astronaut[by_name["astronaut"].masks[1]].mean(axis=0)  # type: ignore[index]
    assert person[0] > person[1] > person[2]


def trial(preset: str, iou: float | None, learned: float = 0.9, picture: str = "a") -> Trial:
    return Trial(preset, picture, 2, 2, iou, learned, 1.0, 0.95)


@pytest.mark.parametrize(
    ("trials", "text"),
    [
        ([trial("default", 0.5), trial("paper", 0.3)], "use --preset default: its masks fit best (IoU default 0.50"),
        ([trial("default", 0.5, 0.95), trial("paper", 0.5, 0.9)], "use --preset paper: masks are alike and its tokens"),
        ([trial("default", None, 0.8), trial("paper", None, 0.9)], "use --preset default: masks are alike and its"),
        ([trial("default", 0.6, 1.0), trial("paper", 0.1, 1.0)], "; its tokens hardly help the model, so look at"),
    ],
)
def test_the_verdict_follows_from_the_numbers(trials: list[Trial], text: str) -> None:
    assert text in Comparison(tuple(trials)).verdict


def test_presets_are_tried_with_a_model_and_resumed(tiny_pipeline: Path, tmp_path: Path) -> None:
    path = tmp_path / "things.png"
    sample_picture(96).save(path)
    masks = np.zeros((1, 96, 96), bool)
    masks[0, 30:65, 8:44] = True
    said: list[str] = []
    steps = ["optimizer.steps=2", "optimizer.merge_step=1", "refiner.saliency.threshold=0", "run.threads=1"]
    options = {"model": tiny_pipeline, "device": "cpu"}
    pictures = [Photograph("things", path, masks)]
    result = compare(pictures, tmp_path / "out", settings=steps, say=said.append, **options)
    assert said == ["default on things ...", "paper on things ..."]
    for one in result.trials:
        assert one.true == 1 and one.iou is not None and 0 <= one.iou <= 1
        if one.found:
            assert one.learned is not None and one.untrained is not None and one.word is not None
            assert min(one.learned, one.untrained, one.word) > 0
    assert result.verdict.startswith("use --preset ") and "things" in result.table()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("out/*/*/embeddings.safetensors")}
    again = compare(pictures, tmp_path / "out", settings=steps, **options)
    assert again == result and all(file.stat().st_mtime_ns == time for file, time in before.items())
