"""Things are called by what their masks show, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import uce
from uce.core import ModelError
from uce.core.files.tensors import save_tensors
from uce.core.model.measured import MEASURED
from uce.core.work.naming import appearance, confidences, cut_out, name_things, project
from uce.testing import tiny_backbone

COLOURS = {"cup": (220, 40, 30), "boat": (30, 60, 220), "": (30, 200, 60)}
SLOPES = (10.0, 10.0, -8.0)


def picture_of(*colours: tuple[int, int, int]) -> tuple[np.ndarray[Any, Any], torch.Tensor]:
    """Rectangles beside each other, and their masks."""
    original, masks = np.full((40, 90, 3), 120, np.uint8), np.zeros((len(colours), 40, 90), bool)
    for row, colour in enumerate(colours):
        masks[row, 8 + row : 30, 4 + 28 * row : 24 + 28 * row] = True
        original[masks[row]] = colour
    return original, torch.from_numpy(masks)


@pytest.fixture
def backbone(tmp_path: Path) -> Iterator[Any]:
    """The double, with measurements beside it: two words, and a thing without one."""
    found: Any = tiny_backbone()
    found.folder = tmp_path
    original, masks = picture_of(*COLOURS.values())
    rows = torch.stack([appearance(found, cut_out(original, m, found.picture_side)) for m in masks.numpy()])
    write(tmp_path, rows, shown=0.6)
    return found


def write(folder: Path, rows: torch.Tensor, **rule: Any) -> None:
    tensors = {"mean": rows.mean(0), "axes": torch.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:2].T}
    views = {"views": project(rows, tensors), "words": torch.tensor([0, 1, -1])}
    save_tensors(folder / MEASURED, tensors | views, {"names": {"words": ["cup", "boat"], "slopes": SLOPES, **rule}})


def test_a_thing_is_called_by_what_its_mask_shows(backbone: Any) -> None:
    found = name_things(backbone, *picture_of((30, 60, 220), (30, 200, 60), (222, 44, 33)))
    assert found is not None and [one.label for one in found] == ["boat", "", "cup"]
    assert found[0].words == ("boat", "cup") and found[0].confidences[0] > 0.9 > 0.5 > found[0].confidences[1]
    assert found[1].words and max(found[1].confidences) < 0.6, "the nearest words are listed all the same"


def test_below_the_threshold_nothing_has_a_name(backbone: Any, tmp_path: Path) -> None:
    known = json.loads(json.dumps({"words": ["cup", "boat"], "slopes": SLOPES, "shown": 1.0}))
    from uce.core.files.tensors import load_tensors

    loaded = load_tensors(tmp_path / MEASURED)
    assert loaded is not None
    save_tensors(tmp_path / MEASURED, loaded[0], {"names": known})
    found = name_things(backbone, *picture_of((30, 60, 220)))
    assert found is not None and found[0].label == "" and found[0].words[0] == "boat"


def test_a_model_of_which_nothing_was_measured_names_nothing(tmp_path: Path) -> None:
    bare: Any = tiny_backbone()
    assert name_things(bare, *picture_of((220, 40, 30))) is None
    bare.folder = tmp_path
    assert name_things(bare, *picture_of((220, 40, 30))) is None


def test_measurements_of_another_model_are_refused(backbone: Any, tmp_path: Path) -> None:
    write(tmp_path, torch.eye(3, 5), shown=0.6)
    with pytest.raises(ModelError, match=r"does not fit it .*; remove uce\.safetensors from its folder"):
        name_things(backbone, *picture_of((220, 40, 30)))


def test_confidence_rises_with_likeness_and_lead() -> None:
    likeness = torch.tensor([[0.9, 0.2, 0.1], [0.9, 0.89, 0.1], [0.5, 0.2, 0.1], [0.9, 0.2, 0.95]])
    sure = confidences(likeness, SLOPES)[:, 0].tolist()
    assert sure[0] > sure[1] and sure[0] > sure[2] and sure[0] > sure[3], "a thing without a word is a rival, too"


@pytest.mark.parametrize("steps", [1, 3])
def test_mini_makes_up_no_names_for_what_it_never_saw(tmp_path: Path, steps: int) -> None:
    """Neither thing of the first example is one of its words; the nearest ones are the same however long it learns."""
    if steps == 1:
        uce.localize("examples/beach.png", tmp_path / "run")
    else:
        options = {"optimizer.steps": steps, "run.samples": 0, "optimizer.merge_step": 0}
        uce.run("examples/beach.png", tmp_path / "run", set=options)
    concepts = uce.load(tmp_path / "run").concepts
    assert len(concepts) == 2 and all(concept.label is None for concept in concepts)
    assert all(len(concept.words) == 3 and max(concept.confidences) < 0.7 for concept in concepts)
    assert concepts[0].nearest.startswith(f"{concepts[0].words[0]} .")
    assert concepts[1].words == ("sunflower", "umbrella", "grapes")
    assert uce.load(tmp_path / "run").info["warnings"] == [], "a composed scene is no photograph"


def test_mini_knows_a_photograph_from_a_scene(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from skimage.data import coffee

    uce.localize(Image.fromarray(coffee()), tmp_path / "photo")
    (warning,) = uce.load(tmp_path / "photo").info["warnings"]
    assert warning.startswith("this looks like a photograph, and mini knows none") and "give --model a" in warning
    assert warning in caplog.text
