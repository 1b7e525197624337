"""Layouts: boxes, masks and runs become places on a model's cells, and what is wrong with one is a sentence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import uce
from uce.core import ConfigError
from uce.tokens.layout import Places, placed, read_layout

MODEL: Any = SimpleNamespace(latent_side=8, picture_side=64)


def owned(run: Any, token: str, own: str) -> Any:
    return SimpleNamespace(token=token, own=own, run=run)


CUP = owned(SimpleNamespace(path=Path("elsewhere")), "<cup>", "<cup>")


def test_boxes_cover_cells_in_part() -> None:
    places = Places({"a": (0.0, 0.25, 0.5, 1.0), "b": (0.1, 0.0, 0.15, 1.0), "c": None})
    masks = places.on(MODEL).masks
    whole, thin = masks["a"], masks["b"]
    assert whole is not None and thin is not None and masks["c"] is None
    assert whole[2:, :4].min() == 1 and float(whole.sum()) == 24
    assert torch.allclose(thin[:, 0], torch.full((8,), 0.2)) and float(thin.sum()) == pytest.approx(8 * 0.4)


def test_a_file_names_boxes_and_masks_beside_it(tmp_path: Path) -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[:, 20:] = 255
    Image.fromarray(mask).save(tmp_path / "right.png")
    file = tmp_path / "layout.yaml"
    file.write_text("<cup>: [0, 0, 0.5, 1]\ncat: right.png\nlamp:\n")
    found = read_layout(file, ["<cup>", "<cat>"])
    assert found["<cup>"] == (0, 0, 0.5, 1) and found["lamp"] is None and set(found) == {"<cup>", "<cat>", "lamp"}
    cells = Places(found).on(MODEL).masks["<cat>"]
    assert cells is not None and cells[:, 4:].min() == 1 and float(cells.sum()) == 32
    file.write_text('{"<cup>": [0, 0, 0.5, 1]}')
    assert read_layout(file) == {"<cup>": (0, 0, 0.5, 1)}
    again = read_layout({"cat": mask > 0, "dog": Image.fromarray(mask)})
    assert np.array_equal(again["cat"], again["dog"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (
            {"cup": [0, 0, 0.5]},
            "the layout, cup is [0, 0, 0.5]; give a box [x0, y0, x1, y1], a mask's file, or nothing",
        ),
        ({"cup": [0, 0, 0.5, True]}, "give a box [x0, y0, x1, y1]"),
        ({"cup": 3}, "the layout, cup is 3; give a box"),
        ({"cup": [0.5, 0, 0.5, 1]}, "a box is [left, top, right, bottom] in parts of the picture, 0 to 1"),
        ({"cup": [0, 0, 40, 60]}, "in parts of the picture, 0 to 1"),
        ({"cup": [0, 0, float("nan"), 1]}, "in parts of the picture, 0 to 1"),
        ({"": [0, 0, 1, 1]}, "the layout has a place for nothing"),
        ({"cup": np.zeros((4, 4), bool)}, "the layout, cup: the mask shows nothing; paint white"),
        ({"cup": "missing.png"}, "the layout, cup: mask missing.png is not a readable picture"),
    ],
)
def test_places_that_are_none(layout: Any, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_layout(layout)
    assert text in str(error.value), error.value


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[1, 2]", "holds [1, 2]; write a line such as <cup>: [0, 0.2, 0.5, 0.9] per token"),
        (b"", "write a line such as"),
        (b"a: [", "write a line such as"),
        (b"\xff\xfe\x00", "it is no UTF-8 text; write a line"),
        (None, "No such file or directory; write a line"),
    ],
)
def test_files_that_are_no_layout(tmp_path: Path, content: bytes | None, text: str) -> None:
    file = tmp_path / "layout.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_layout(file)
    assert text in str(error.value) and str(error.value).startswith(f"--layout {file}"), error.value


def test_nothing_asked_and_every_token_takes_part() -> None:
    ask: dict[str, Any] = {"regions": False, "layout": None, "like": None}
    assert placed([CUP], ["a <cup>"], **ask) is None
    assert placed([CUP], ["a <cup>"], **(ask | {"regions": True})) == Places({"<cup>": None})
    found = placed([CUP], ["a dog and a <cup>"], **(ask | {"layout": {"dog": [0, 0, 1, 1]}}))
    assert found is not None and found.given == {"<cup>": None, "dog": (0, 0, 1, 1)}
    with pytest.raises(ConfigError, match=r"the places are for dog, and no prompt holds any of them; name one"):
        placed([CUP], ["a <cup>"], **(ask | {"layout": {"dog": [0, 0, 1, 1]}}))


def test_like_a_run_its_tokens_act_where_its_picture_has_them(tmp_path: Path, tiny_pipeline: Path) -> None:
    picture = np.full((60, 80, 3), 200, np.uint8)
    masks = np.zeros((2, 60, 80), bool)
    masks[0, :, :30], masks[1, :, 50:] = True, True
    settings = ["optimizer.steps=0", "run.sample_steps=1", "run.samples=0", "run.fit=stretch"]
    run = uce.learn(tmp_path / "run", image=picture, masks=masks, model=str(tiny_pipeline), set=settings)
    tokens = [owned(run, "<cup>", "<asset0>"), owned(run, "<asset1>", "<asset1>")]
    found = placed(tokens, ["<cup> and <asset1>"], regions=False, layout=None, like=run.path)
    assert found is not None
    cells = found.on(MODEL).masks
    cup, other = cells["<cup>"], cells["<asset1>"]
    assert cup is not None and other is not None
    assert float(cup[:, :3].min()) == 1 and float(cup[:, 4:].max()) == 0 and float(other[:, 5:].min()) == 1
    moved = placed(tokens, ["<cup>"], regions=False, layout={"cup": [0, 0, 1, 1]}, like=run)
    assert moved is not None and float(moved.on(MODEL).masks["<cup>"].min()) == 1, "a layout has the last word"  # type: ignore[union-attr]
